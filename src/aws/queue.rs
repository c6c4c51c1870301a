//! A queue of SQS: messages received, kept from others while they are worked on, deleted. In: batches of ten. Out: the
//! texts of messages. Knows nothing of what they say.

use super::credentials::Found;
use super::options::Access;
use crate::error::{Error, ErrorKind, Result};
use aws_config::Region;
use aws_config::identity::IdentityCache;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
};
use chrono::TimeDelta;
use tokio::sync::OnceCell;
use url::Url;

/// Messages that SQS takes or gives in one request.
pub const QUEUE_BATCH: usize = 10;
/// Region where nothing names one, such as on other servers than AWS.
const REGION: &str = "us-east-1";

/// A queue. Nothing is read or asked before its first request.
#[derive(Debug)]
pub struct Queue {
    url: String,
    endpoint_url: String,
    region: Option<String>,
    access: Access,
    client: OnceCell<Client>,
}

/// What is set for a queue, as far as a reader of notifications cares, and how much is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueAttributes {
    /// About how many messages wait.
    pub waiting: u64,
    /// About how many were given to readers that have not deleted them.
    pub held: u64,
    /// How long each message is held back before anybody is given it.
    pub delay: TimeDelta,
    /// How long a message is kept.
    pub retention: TimeDelta,
    /// Whether a policy lets others than its owner do anything.
    pub has_policy: bool,
    /// How often a message is given to readers before it is moved to the queue of dead letters; none: for ever.
    pub receives_max: Option<u64>,
}

/// A message that was received: nobody else is given it for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// What it is deleted or kept by; of this receipt alone.
    pub receipt: String,
    /// Its text.
    pub body: String,
}

impl Queue {
    /// Names a queue by its URL. It is asked at `endpoint_url`, else where its URL says; by the region of `access`, else
    /// the one in its URL.
    ///
    /// # Errors
    /// `Invalid` if the URL cannot be read.
    pub fn new(url: &str, endpoint_url: Option<&str>, access: Access) -> Result<Queue> {
        let refused = || {
            Error::invalid(format!("{url:?} is not the URL of a queue")).with_hint(
                "write it as `aws sqs get-queue-url` tells it: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
            )
        };
        let parsed = Url::parse(url).map_err(|error| refused().with_source(error))?;
        let is_named = parsed.path_segments().is_some_and(|mut parts| parts.any(|part| !part.is_empty()));
        if !matches!(parsed.scheme(), "https" | "http") || !is_named {
            return Err(refused());
        }
        let region = access.region.clone().or_else(|| region_of(&parsed));
        let endpoint_url = endpoint_url.map_or_else(|| parsed.origin().ascii_serialization(), str::to_owned);
        Ok(Queue { url: url.to_owned(), endpoint_url, region, access, client: OnceCell::new() })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its ARN, as far as its URL tells region, account and name; `partition` is `aws`, `aws-cn` or `aws-us-gov`.
    pub fn arn(&self, partition: &str) -> String {
        let mut parts = self.url.trim_end_matches('/').rsplit('/');
        let (name, account) = (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
        format!("arn:{partition}:sqs:{}:{account}:{name}", self.region.as_deref().unwrap_or("*"))
    }

    /// Waits up to `wait` (at most 20 seconds) for messages, and takes up to `count_max` of them, ten at the most. They
    /// are given to nobody else for `visibility`.
    ///
    /// # Errors
    /// What SQS says: `Invalid` where it refuses, `Unavailable` where it does not answer.
    pub async fn receive(&self, count_max: usize, wait: TimeDelta, visibility: TimeDelta) -> Result<Vec<Message>> {
        let request = self.client().await.receive_message().queue_url(&self.url);
        let received = request
            .max_number_of_messages(i32::try_from(count_max.clamp(1, QUEUE_BATCH)).unwrap_or(1))
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(visibility))
            .send()
            .await
            .map_err(|error| self.failed("receive messages of", error))?;
        let message = |message: aws_sdk_sqs::types::Message| {
            let id = message.message_id.unwrap_or_default();
            Some(Message { id, receipt: message.receipt_handle?, body: message.body.unwrap_or_default() })
        };
        Ok(received.messages.unwrap_or_default().into_iter().filter_map(message).collect())
    }

    /// Keeps up to ten messages from others for another `visibility`; returns how many could not be.
    ///
    /// # Errors
    /// As [`Queue::receive`].
    pub async fn extend(&self, receipts: &[String], visibility: TimeDelta) -> Result<usize> {
        let entry = |(number, receipt): (usize, &String)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(number.to_string());
            entry.receipt_handle(receipt).visibility_timeout(seconds(visibility)).build().ok()
        };
        let entries = receipts.iter().enumerate().filter_map(entry).collect();
        let request = self.client().await.change_message_visibility_batch().queue_url(&self.url);
        let changed = request.set_entries(Some(entries)).send().await;
        changed.map(|changed| changed.failed.len()).map_err(|error| self.failed("keep messages of", error))
    }

    /// Deletes up to ten messages; returns how many could not be.
    ///
    /// # Errors
    /// As [`Queue::receive`].
    pub async fn delete(&self, receipts: &[String]) -> Result<usize> {
        let entry = |(number, receipt): (usize, &String)| {
            DeleteMessageBatchRequestEntry::builder().id(number.to_string()).receipt_handle(receipt).build().ok()
        };
        let entries = receipts.iter().enumerate().filter_map(entry).collect();
        let request = self.client().await.delete_message_batch().queue_url(&self.url);
        let deleted = request.set_entries(Some(entries)).send().await;
        deleted.map(|deleted| deleted.failed.len()).map_err(|error| self.failed("delete messages of", error))
    }

    /// How the queue is set up; `None` if the caller may not know.
    ///
    /// # Errors
    /// As [`Queue::receive`].
    pub async fn attributes(&self) -> Result<Option<QueueAttributes>> {
        let request = self.client().await.get_queue_attributes().queue_url(&self.url);
        let found = match request.attribute_names(QueueAttributeName::All).send().await {
            Ok(found) => found.attributes.unwrap_or_default(),
            Err(error) if error.code().is_some_and(|code| code.contains("AccessDenied")) => return Ok(None),
            Err(error) => return Err(self.failed("read the attributes of", error)),
        };
        let number = |name| found.get(&name).and_then(|text| text.parse::<u32>().ok()).unwrap_or_default();
        let span = |name| TimeDelta::seconds(number(name).into());
        Ok(Some(QueueAttributes {
            waiting: number(QueueAttributeName::ApproximateNumberOfMessages).into(),
            held: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).into(),
            delay: span(QueueAttributeName::DelaySeconds),
            retention: span(QueueAttributeName::MessageRetentionPeriod),
            has_policy: found.get(&QueueAttributeName::Policy).is_some_and(|text| !text.is_empty()),
            receives_max: found.get(&QueueAttributeName::RedrivePolicy).and_then(|text| receives_max(text)),
        }))
    }

    /// Tries what a reader does: keeps and deletes a message that there is not, and receives one, which is at once there for
    /// others again. That counts as received once more, so it is left out unless `receive` says so.
    ///
    /// # Errors
    /// As [`Queue::receive`].
    pub async fn probe(&self, receive: bool) -> Result<()> {
        let nobodys = ["flowdiff-check".to_owned()];
        self.extend(&nobodys, TimeDelta::zero()).await?;
        self.delete(&nobodys).await?;
        if receive {
            self.receive(1, TimeDelta::zero(), TimeDelta::zero()).await?;
        }
        Ok(())
    }

    async fn client(&self) -> &Client {
        let open = || async {
            let found = Found::look_up(&self.access).await;
            let region = self.region.clone().or_else(|| found.region.clone()).unwrap_or_else(|| REGION.to_owned());
            let config = aws_sdk_sqs::config::Builder::from(found.sdk())
                .credentials_provider(found.provider())
                .identity_cache(IdentityCache::lazy().build())
                .region(Region::new(region))
                .endpoint_url(&self.endpoint_url);
            Client::from_conf(config.build())
        };
        self.client.get_or_init(open).await
    }

    fn failed<E, R>(&self, doing: &str, error: SdkError<E, R>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let is_refusal = matches!(&error, SdkError::ServiceError(_)) && !is_throttled(error.code());
        let kind = if is_refusal { ErrorKind::Invalid } else { ErrorKind::Unavailable };
        let why = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => DisplayErrorContext(&error).to_string(),
        };
        let is_missing = error.code().is_some_and(|code| code.contains("NonExistent") || code.contains("DoesNotExist"));
        Error::new(kind, format!("{doing} queue {}: {why}", self.url)).with_hint(match is_missing {
            true => "correct notifications.queue_url: aws sqs get-queue-url --queue-name NAME tells it",
            false => "the reader needs sqs:ReceiveMessage, sqs:ChangeMessageVisibility and sqs:DeleteMessage on it",
        })
    }
}

/// How often a message is received before it is a dead letter, by the text of a redrive policy. It is a number, or a number
/// in quotes.
fn receives_max(policy: &str) -> Option<u64> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let most = &policy["maxReceiveCount"];
    most.as_u64().or_else(|| most.as_str()?.parse().ok())
}

fn is_throttled(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.contains("Throttl") || code.contains("InternalError") || code.contains("Unavailable"))
}

/// The region that the host of a queue's URL names.
fn region_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let labels = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    // sqs.REGION, REGION.queue, ID.sqs.REGION.vpce
    let is_region = |label: &&str| label.split('-').count() >= 3 && !label.starts_with("vpce-");
    labels.split('.').find(is_region).map(str::to_owned)
}

fn seconds(time: TimeDelta) -> i32 {
    i32::try_from(time.num_seconds().max(0)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_queue_tells_region_and_endpoint() {
        for (url, endpoint, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/1/q", "https://sqs.eu-west-1.amazonaws.com", Some("eu-west-1")),
            (
                "https://us-gov-west-1.queue.amazonaws.com/1/q",
                "https://us-gov-west-1.queue.amazonaws.com",
                Some("us-gov-west-1"),
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/1/q",
                "https://sqs.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            (
                "https://vpce-0a-1b.sqs.us-east-2.vpce.amazonaws.com/1/q",
                "https://vpce-0a-1b.sqs.us-east-2.vpce.amazonaws.com",
                Some("us-east-2"),
            ),
            ("http://127.0.0.1:9324/1/q", "http://127.0.0.1:9324", None),
        ] {
            let queue = Queue::new(url, None, Access::default()).unwrap();
            assert_eq!((queue.endpoint_url.as_str(), queue.region.as_deref()), (endpoint, region), "{url}");
        }
        let access = Access { region: Some("eu-north-1".to_owned()), ..Access::default() };
        let queue = Queue::new("https://sqs.eu-west-1.amazonaws.com/1/q", Some("http://here"), access).unwrap();
        assert_eq!((queue.endpoint_url.as_str(), queue.region.as_deref()), ("http://here", Some("eu-north-1")));
        assert_eq!(queue.arn("aws"), "arn:aws:sqs:eu-north-1:1:q");
    }

    #[test]
    fn a_redrive_policy_tells_how_often_a_message_comes() {
        for (policy, most) in [
            (r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:1:dead","maxReceiveCount":5}"#, Some(5)),
            (r#"{"maxReceiveCount":"10"}"#, Some(10)),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(receives_max(policy), most, "{policy}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_queue_is_refused() {
        for url in ["", "queue", "arn:aws:sqs:eu-west-1:1:q", "https://sqs.eu-west-1.amazonaws.com", "ftp://host/1/q"] {
            assert!(Queue::new(url, None, Access::default()).is_err(), "{url}");
        }
    }
}

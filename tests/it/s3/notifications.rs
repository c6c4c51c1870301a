//! Notifications of S3 from a queue, on the emulator: received, kept while they are worked on, deleted when that is done.

use super::server::{Server, emulator, run};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use chrono::TimeDelta;
use flowdiff::aws::{Access, Bucket, Queue};
use flowdiff::source::notify::{Notifications, Options, Place};
use flowdiff::source::{self, Selection, Source};
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const FILE: &str = "123456789012_vpcflowlogs_eu-west-1_fl-0123456789abcdef0_20261120T1205Z_0a1b2c3d.log.gz";
const SOON: Duration = Duration::from_secs(30);

/// A bucket that notifies a queue, and somebody who looks into the queue.
pub(super) struct Notified {
    pub(super) server: &'static Server,
    pub(super) bucket: Bucket,
    client: Client,
    pub(super) queue_url: String,
}

impl Notified {
    pub(super) async fn start() -> Option<Notified> {
        let server = emulator()?;
        let credentials = aws_credential_types::Credentials::new("AKIABASE", "basesecret", None, None, "test");
        let tls = aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        );
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(server.region.clone()))
            .endpoint_url(&server.url)
            .credentials_provider(credentials)
            .http_client(aws_smithy_http_client::Builder::new().tls_provider(tls).build_https());
        let client = Client::from_conf(config.build());
        let name = format!("q-{}", uuid::Uuid::new_v4());
        let queue_url = client.create_queue().queue_name(&name).send().await.unwrap().queue_url.unwrap();
        let bucket = server.bucket();
        let (region, id) = (&server.region, "123456789012");
        let xml = format!(
            "<NotificationConfiguration><QueueConfiguration><Id>created</Id><Queue>arn:aws:sqs:{region}:{id}:{name}</Queue>\
             <Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>"
        );
        server.put(&format!("{}?notification", bucket.name()), xml.as_bytes());
        Some(Notified { server, bucket, client, queue_url })
    }

    fn source(&self) -> Source {
        let url = format!("s3://{}/archive", self.bucket.name());
        Source { store: Arc::new(self.bucket.clone()), root: Key::from("archive"), url }
    }

    fn notifications(&self, options: Options) -> Notifications {
        let access = Access { region: Some(self.server.region.clone()), ..self.server.access() };
        let queue = Queue::new(&self.queue_url, None, access).unwrap();
        let (bucket, root) = (self.bucket.name().to_owned(), Key::from("archive"));
        let place = Place { bucket, root, listing: source::Options::default() };
        Notifications::new(queue, place, &options).unwrap()
    }

    async fn put(&self, key: &str) {
        self.bucket.put(&Key::from(key), "version\n".into()).await.unwrap();
    }

    async fn send(&self, body: &str) {
        self.client.send_message().queue_url(&self.queue_url).message_body(body).send().await.unwrap();
    }

    /// Messages in the queue, those included that somebody holds.
    pub(super) async fn messages(&self) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(&self.queue_url);
        let found = request.set_attribute_names(Some(names.to_vec())).send().await.unwrap().attributes.unwrap();
        names.iter().map(|name| found[name].parse::<u64>().unwrap()).sum()
    }
}

fn brief() -> Options {
    Options { visibility_timeout: TimeDelta::seconds(2), poll_wait: TimeDelta::seconds(1), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_told_as_a_listing_tells_it_and_its_message_goes_when_it_is_done() {
    let Some(notified) = Notified::start().await else { return };
    let notifications = notified.notifications(brief());
    let key = format!("archive/my logs+more/AWSLogs/{FILE}");
    notified.put(&key).await;
    let mut received = timeout(SOON, notifications.next()).await.unwrap();
    assert_eq!(received.len(), 1);
    let received = received.remove(0);
    let listed = notified.source().list(&Selection::default(), &source::Options::default()).await.unwrap();
    assert_eq!(received.objects, listed.objects);
    assert_eq!(notified.messages().await, 1, "the test event is gone, this one is held");
    received.ack.done();
    let figures = timeout(SOON, notifications.close()).await.unwrap();
    assert_eq!((figures.objects, figures.other_events, figures.deleted, figures.failures), (1, 1, 2, 0));
    assert_eq!(notified.messages().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_let_go_comes_again_and_one_that_is_worked_on_does_not() {
    let Some(notified) = Notified::start().await else { return };
    let (working, other) = (notified.notifications(brief()), notified.notifications(brief()));
    notified.put(&format!("archive/{FILE}")).await;
    let received = timeout(SOON, working.next()).await.unwrap();
    assert!(timeout(Duration::from_secs(6), other.next()).await.is_err(), "it is kept for much longer than 2 s");
    drop(received);
    let again = timeout(SOON, other.next()).await.unwrap();
    assert_eq!(again.len(), 1);
    again.into_iter().for_each(|received| received.ack.done());
    assert_eq!(other.close().await.deleted, 1);
    assert_eq!(notified.messages().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_stays_and_what_is_not_wanted_goes() {
    let Some(notified) = Notified::start().await else { return };
    let notifications = notified.notifications(brief());
    notified.send("not a notification").await;
    notified.put(&format!("elsewhere/{FILE}")).await;
    notified.put("archive/notes.txt").await;
    // No listing of its time finds it.
    notified.put(&format!("archive/AWSLogs/123456789012/vpcflowlogs/us-east-1/2020/01/01/{FILE}")).await;
    let foreign = include_str!("../../data/notifications/eventbridge.json");
    notified.send(foreign).await;
    assert!(timeout(Duration::from_secs(8), notifications.next()).await.is_err(), "nothing is wanted");
    let figures = notifications.close().await;
    assert_eq!((figures.foreign, figures.other_keys, figures.misfiled, figures.objects), (2, 1, 1, 0));
    assert!(figures.malformed >= 2, "it comes again and again: {figures:?}");
    assert_eq!(figures.deleted, 5);
    assert_eq!(notified.messages().await, 1, "the redrive policy will take it");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_messages_are_held_than_may_be() {
    let Some(notified) = Notified::start().await else { return };
    let notifications = notified.notifications(Options { queue_messages_max: 2, ..brief() });
    for n in 0..5 {
        notified.put(&format!("archive/{n}/{FILE}")).await;
    }
    let mut held = Vec::new();
    while held.len() < 2 {
        held.extend(timeout(SOON, notifications.next()).await.unwrap());
    }
    assert_eq!(held.len(), 2);
    assert!(timeout(Duration::from_secs(3), notifications.next()).await.is_err(), "it waits");
    held.pop().unwrap().ack.done();
    assert_eq!(timeout(SOON, notifications.next()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_there_is_asked_again_and_ends_at_once() {
    let Some(notified) = Notified::start().await else { return };
    let queue = Queue::new(&format!("{}-gone", notified.queue_url), None, notified.server.access()).unwrap();
    let place = Place { bucket: "b".to_owned(), root: Key::default(), listing: source::Options::default() };
    let options = Options { backoff_max: TimeDelta::milliseconds(100), ..brief() };
    let notifications = Notifications::new(queue, place, &options).unwrap();
    assert!(timeout(Duration::from_secs(2), notifications.next()).await.is_err());
    let figures = timeout(Duration::from_secs(1), notifications.close()).await.unwrap();
    assert!(figures.failures >= 2, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_is_wrong_with_a_queue_and_takes_nothing_from_it() {
    let Some(notified) = Notified::start().await else { return };
    notified.put(&format!("archive/{FILE}")).await;
    let before = notified.messages().await;
    let folder = tempfile::tempdir().unwrap();
    let check = |queue_url: &str, code: i32| {
        let url = &notified.server.url;
        let settings = format!("[notifications]\nqueue_url = {queue_url:?}\nqueue_endpoint_url = {url:?}\n");
        std::fs::write(folder.path().join("check.toml"), settings).unwrap();
        let mut command = notified.server.command_with_keys(folder.path());
        let source = format!("s3://{}/archive", notified.bucket.name());
        run(command.args(["check", "--config", "check.toml", "--source", &source, "--store", "store"]), code).0
    };
    let said = check(&notified.queue_url, 0);
    for words in [
        &format!(
            "ok      notifications: {} for {}: may receive, keep and delete; 2 ",
            notified.queue_url,
            notified.bucket.name()
        ),
        "better  notifications: it has no redrive policy: a message that cannot be read comes again and again for 4 days\n",
        "        hint: give it a queue of dead letters",
        "better  notifications: it has no policy: neither S3 nor SNS",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let dead =
        notified.client.create_queue().queue_name(format!("dead-{}", uuid::Uuid::new_v4())).send().await.unwrap();
    let dead = dead.queue_url.unwrap();
    let arn = format!("arn:aws:sqs:{}:123456789012:{}", notified.server.region, dead.rsplit('/').next().unwrap());
    let set = async |name: QueueAttributeName, text: &str| {
        let request = notified.client.set_queue_attributes().queue_url(&notified.queue_url);
        request.attributes(name, text).send().await.unwrap();
    };
    let redrive = |most: u64| format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":{most}}}");
    set(QueueAttributeName::RedrivePolicy, &redrive(1)).await;
    set(QueueAttributeName::DelaySeconds, "7").await;
    let said = check(&notified.queue_url, 0);
    assert!(said.contains("takes a message away that was received 1 times"), "{said}");
    assert!(said.contains("it holds each message back for 7 s"), "{said}");
    assert_eq!(notified.messages().await, before, "none was taken, none became a dead letter");

    set(QueueAttributeName::RedrivePolicy, &redrive(5)).await;
    set(QueueAttributeName::DelaySeconds, "0").await;
    let allowed = serde_json::json!({"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
                                     "Action": "sqs:SendMessage", "Resource": "*"});
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [allowed]});
    set(QueueAttributeName::Policy, &policy.to_string()).await;
    let said = check(&notified.queue_url, 0);
    assert!(said.contains("ok      notifications") && !said.contains("better"), "{said}");

    let said = check(&format!("{}-gone", notified.queue_url), 2);
    assert!(said.contains("failed  notifications: ") && said.contains("aws sqs get-queue-url"), "{said}");
}

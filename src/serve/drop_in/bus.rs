//! The queue that posts jobs to an event bus by HTTP, as the earlier services did; the bus posts them to the routes of
//! a worker.

use super::ask::write_payload;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::jobs::{self, Job, Posted, Queue, own_queue};
use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use chrono::TimeDelta;
use reqwest::{Client, StatusCode, Url, header, redirect};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Where jobs are posted that other processes are to work on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The bus, `http://` or `https://`; `{kind}` in it becomes `digest`, `graph` or `diff`. No default: jobs wait in this
    /// process and in the store.
    pub url: Option<String>,
    /// How long one try may take, its answer included; default 10 seconds.
    #[serde(with = "crate::config::duration")]
    pub timeout: TimeDelta,
    /// How often a job is posted again after 500, 502, 503, a broken connection or a timeout; default 3. Pauses double
    /// from 50 milliseconds to 2 seconds, and are random.
    pub retries_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { url: None, timeout: TimeDelta::seconds(10), retries_max: 3 }
    }
}

/// First pause before a retry; the earlier services always waited so long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// What stands for the kind of a job in the URL.
const KIND: &str = "{kind}";

/// An event bus. 200 says that it has a job and will bring it to a worker; any other answer is an error.
#[derive(Clone, Debug)]
pub struct Bus {
    url: String,
    client: Client,
    backoff: ExponentialBuilder,
    /// Where jobs go that the bus brings to this process.
    own: Arc<dyn Queue>,
}

impl Bus {
    /// The bus at `url`, with the limits of `options`; what it brings here waits as `jobs` says. It is reached directly,
    /// without a proxy; redirects are not followed.
    ///
    /// # Errors
    /// `Invalid` if it is no URL of HTTP.
    pub fn new(url: &str, options: &Options, jobs: &jobs::Options) -> Result<Bus> {
        // The one provider of the process: a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(options.timeout.to_std().unwrap_or_default())
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::internal("no HTTP client for the event bus").with_source(error))?;
        let backoff = ExponentialBuilder::new()
            .with_min_delay(BACKOFF_MIN)
            .with_max_delay(BACKOFF_MAX)
            .with_max_times(options.retries_max)
            .with_jitter();
        let bus = Bus { url: url.to_owned(), client, backoff, own: own_queue(jobs) };
        bus.url("digest")?;
        Ok(bus)
    }

    fn url(&self, kind: &str) -> Result<Url> {
        let url = Url::parse(&self.url.replace(KIND, kind)).ok();
        url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host()).ok_or_else(|| {
            Error::invalid("bus.url is no http:// or https:// URL")
                .with_hint("it is where jobs are posted, such as http://bus.example.com/flowdiff")
        })
    }

    async fn send(&self, url: &Url, body: &[u8]) -> std::result::Result<(), Failure> {
        let request = self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/octet-stream");
        match request.body(body.to_vec()).send().await {
            Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
            Ok(answer) => Err(Failure::Answered(answer.status())),
            // The URL may hold a password.
            Err(error) => Err(Failure::Unreached(error.without_url())),
        }
    }
}

#[async_trait]
impl Queue for Bus {
    async fn post(&self, job: &Job) -> Result<Posted> {
        let url = self.url(job.kind().name())?;
        let body = write_payload(job).to_string();
        let posted = (|| self.send(&url, body.as_bytes())).retry(self.backoff).when(Failure::may_pass).await;
        posted.map(|()| Posted::Accepted).map_err(|failure| failure.of(job, &url))
    }

    async fn bring(&self, job: &Job) -> Result<Posted> {
        self.own.bring(job).await
    }

    async fn take(&self) -> Job {
        self.own.take().await
    }
}

/// Why a job is not on its way.
#[derive(Debug)]
enum Failure {
    Answered(StatusCode),
    Unreached(reqwest::Error),
}

impl Failure {
    /// Whether the next try may do better.
    fn may_pass(&self) -> bool {
        match self {
            Failure::Answered(status) => matches!(status.as_u16(), 500 | 502 | 503),
            Failure::Unreached(_) => true,
        }
    }

    fn of(self, job: &Job, url: &Url) -> Error {
        let host = url.host_str().unwrap_or_default();
        let message = format!("{job} could not be posted to the event bus at {host}");
        match self {
            Failure::Answered(status) => {
                Error::new(ErrorKind::Unavailable, format!("{message}: it answered {status}, not 200"))
            }
            Failure::Unreached(error) => Error::new(ErrorKind::Unavailable, message).with_source(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::pipeline::jobs::Kind;
    use crate::window::Window;
    use axum::Router;
    use axum::extract::{Path, State};
    use axum::http::HeaderMap;
    use std::sync::{Arc, Mutex};

    /// What a bus received, and what it answers next; 200 when that is used up.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<(Vec<String>, Vec<u16>)>>);

    async fn receive(
        Path(topic): Path<String>,
        seen: State<Seen>,
        headers: HeaderMap,
        body: String,
    ) -> impl axum::response::IntoResponse {
        let mut seen = seen.0.0.lock().unwrap();
        seen.0.push(format!("{topic} {} {body}", headers["content-type"].to_str().unwrap()));
        let status = if seen.1.is_empty() { 200 } else { seen.1.remove(0) };
        (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")])
    }

    async fn bus(answers: &[u16]) -> (Bus, Seen) {
        let seen = Seen(Arc::new(Mutex::new((Vec::new(), answers.to_vec()))));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/{{kind}}", listener.local_addr().unwrap());
        let router = Router::new().route("/{topic}", axum::routing::post(receive)).with_state(seen.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        (Bus::new(&url, &Options::default(), &jobs::Options::default()).unwrap(), seen)
    }

    fn job(kind: Kind, windows: &[&str]) -> Job {
        let windows = windows.iter().map(|text| Window::parse(text, Timestamp::UNIX_EPOCH).unwrap()).collect();
        Job::new(kind, windows).unwrap()
    }

    #[tokio::test]
    async fn a_job_is_posted_as_the_earlier_queuers_did() {
        let (bus, seen) = bus(&[]).await;
        let (graph, diff) =
            (job(Kind::Graph, &["2026-11-20T12"]), job(Kind::Diff, &["2026-11-20T12", "2026-11-20T13"]));
        for job in [&graph, &diff] {
            assert_eq!(bus.post(job).await.unwrap(), Posted::Accepted);
        }
        let expected = [
            format!(
                r#"graph application/octet-stream {{"id":"{}","start":"2026-11-20T12:00:00Z","stop":"2026-11-20T13:00:00Z"}}"#,
                graph.id()
            ),
            format!(
                r#"diff application/octet-stream {{"id":"{}","nextStart":"2026-11-20T13:00:00Z","nextStop":"2026-11-20T14:00:00Z","previousStart":"2026-11-20T12:00:00Z","previousStop":"2026-11-20T13:00:00Z"}}"#,
                diff.id()
            ),
        ];
        assert_eq!(seen.0.lock().unwrap().0, expected);
    }

    #[tokio::test]
    async fn what_the_bus_brings_here_stays_here() {
        let (bus, seen) = bus(&[]).await;
        let hour = job(Kind::Digest, &["2026-11-20T12"]);
        bus.bring(&hour).await.unwrap();
        assert_eq!(bus.take().await, hour);
        assert!(seen.0.lock().unwrap().0.is_empty());
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_no_longer_than_told() {
        let hour = job(Kind::Digest, &["2026-11-20T12"]);
        let (passing, seen) = bus(&[500, 502, 503]).await;
        passing.post(&hour).await.unwrap();
        assert_eq!(seen.0.lock().unwrap().0.len(), 4);
        let (failing, seen) = bus(&[503; 9]).await;
        let error = failing.post(&hour).await.unwrap_err();
        assert_eq!((error.kind(), seen.0.lock().unwrap().0.len()), (ErrorKind::Unavailable, 4));
        assert!(error.to_string().contains("it answered 503"), "{error}");
    }

    #[tokio::test]
    async fn anything_but_200_is_an_error_and_no_redirect_is_followed() {
        for status in [201, 202, 204, 302, 307, 400, 404, 429, 501, 504] {
            let (bus, seen) = bus(&[status]).await;
            let error = bus.post(&job(Kind::Digest, &["2026-11-20T12"])).await.unwrap_err();
            assert!(error.to_string().contains(&format!("it answered {status}")), "{error}");
            assert_eq!(seen.0.lock().unwrap().0.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_unavailable_and_its_password_untold() {
        let options = Options { retries_max: 0, ..Options::default() };
        let bus = Bus::new("http://user:hush@127.0.0.1:9/?key=hush", &options, &jobs::Options::default()).unwrap();
        let error = bus.post(&job(Kind::Digest, &["2026-11-20T12"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.copy().to_string().contains("hush"), "{}", error.copy());
        for url in ["", "bus", "ftp://bus/", "http://"] {
            let bus = Bus::new(url, &options, &jobs::Options::default());
            assert_eq!(bus.unwrap_err().kind(), ErrorKind::Invalid, "{url}");
        }
    }
}

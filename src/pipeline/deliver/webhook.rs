//! Sends messages over HTTP: signed, tried a few times, to nobody but the host that was named. In: a body. Out: whether it
//! was taken, and if not, whether the receiver is down or refuses.

use super::destination::Envelope;
use super::guard;
use super::options::{Body, Options, Report};
use crate::clock::Timestamp;
use crate::diff::printable;
use crate::error::{Error, ErrorKind, Result};
use crate::meters;
use backon::BackoffBuilder;
use chrono::TimeDelta;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, redirect};
use ring::hmac;
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Characters of a refusal that are told.
const REASON_CHARS: usize = 200;
/// Longest pause that a receiver is granted.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// First pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// A receiver.
pub(super) struct Webhook {
    report: String,
    client: Client,
    url: Url,
    secret: Option<hmac::Key>,
    body: Body,
    attempts_max: usize,
    backoff_max: Duration,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether the receiver takes nothing at present, this message or another.
    pub(super) is_down: bool,
    /// For how long it wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { is_down: error.kind() == ErrorKind::Unavailable, error, retry_after: None }
    }
}

impl Webhook {
    /// The receiver of a report at `url`; messages are signed if there is a secret.
    ///
    /// # Errors
    /// `Invalid` if nothing may be sent there; the URL is not repeated, since it may be a secret.
    pub(super) fn new(url: &str, secret: Option<&[u8]>, report: &Report, options: &Options) -> Result<Webhook> {
        let url = Url::parse(url).map_err(|error| Error::invalid(format!("the URL cannot be read: {error}")))?;
        guard::check(&url)?;
        // The first of all who use TLS sets it; all of them set the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("flowdiff/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(guard::Resolver)
            .timeout(duration(options.timeout))
            .build()
            .map_err(|error| Error::internal("no HTTP client").with_source(error))?;
        let secret = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        let (attempts_max, backoff_max) = (options.attempts_max, duration(options.backoff_max));
        let (report, body) = (report.name.clone(), report.body);
        Ok(Webhook { report, client, url, secret, body, attempts_max, backoff_max })
    }

    /// The addresses that messages go to.
    ///
    /// # Errors
    /// As [`guard::addresses`].
    pub(super) async fn addresses(&self) -> Result<Vec<IpAddr>> {
        guard::addresses(&self.url).await
    }

    /// Whether messages are signed.
    pub(super) fn is_signed(&self) -> bool {
        self.secret.is_some()
    }

    /// Sends a message until it is taken, refused, or was sent often enough; once more at the most after `stop`.
    pub(super) async fn send(
        &self,
        message: &Envelope,
        now: impl Fn() -> Timestamp,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let pauses = backon::ExponentialBuilder::default().with_jitter().with_min_delay(PAUSE.min(self.backoff_max));
        let mut pauses =
            pauses.with_max_delay(self.backoff_max).with_max_times(self.attempts_max.saturating_sub(1)).build();
        loop {
            let failure = match self.send_once(message, now()).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let wanted = failure.retry_after.unwrap_or_default();
            match pauses.next() {
                Some(pause) if failure.is_down && wanted <= self.backoff_max => {
                    tracing::debug!(to = %self, error = failure.error.copy().to_string(), "a message is sent again");
                    if stop.run_until_cancelled(tokio::time::sleep(pause.max(wanted))).await.is_none() {
                        return Err(failure);
                    }
                    meters::delivery_retried(&self.report);
                }
                _ => return Err(failure),
            }
        }
    }

    async fn send_once(&self, message: &Envelope, now: Timestamp) -> Result<(), Failure> {
        let content_type = match self.body {
            Body::Event => "application/octet-stream",
            _ => "application/json",
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, content_type)
            .header("flowdiff-id", message.id.to_string())
            .header("flowdiff-revision", message.revision);
        if let Some(secret) = &self.secret {
            request = request.header("flowdiff-signature", signature(secret, now, &message.body));
        }
        let answer = match request.body(message.body.clone()).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let why = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
                let error =
                    Error::new(ErrorKind::Unavailable, format!("{self} {why}")).with_source(error.without_url());
                return Err(Failure { error, is_down: true, retry_after: None });
            }
        };
        let status = answer.status();
        if self.is_taken(status) {
            return Ok(());
        }
        let (is_down, retry_after) = (self.is_down(status), retry_after(answer.headers(), now));
        let kind = if is_down { ErrorKind::Unavailable } else { ErrorKind::Invalid };
        let mut error = Error::new(kind, format!("{self} answers {status}{}", reason(answer).await));
        if status.is_redirection() {
            error = error.with_hint("redirects are not followed: name the place itself");
        }
        Err(Failure { error, is_down, retry_after })
    }

    fn is_taken(&self, status: StatusCode) -> bool {
        match self.body {
            Body::Event => status == StatusCode::OK,
            _ => status.is_success(),
        }
    }

    /// Whether it makes sense to send the same again.
    fn is_down(&self, status: StatusCode) -> bool {
        match (self.body, status.as_u16()) {
            (Body::Event, code) => matches!(code, 500 | 502 | 503),
            (_, code) => matches!(code, 408 | 425 | 429 | 500..),
        }
    }
}

impl fmt::Display for Webhook {
    /// Writes whom it sends to, without what may be secret in the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({self})")
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over the time, a point and the body, so that an old message cannot be sent again as new.
fn signature(secret: &hmac::Key, now: Timestamp, body: &[u8]) -> String {
    let seconds = now.timestamp();
    let mut signed = hmac::Context::with_key(secret);
    signed.update(format!("{seconds}.").as_bytes());
    signed.update(body);
    let mut text = format!("t={seconds},v1=");
    for byte in signed.sign().as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Seconds, or an HTTP date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse::<u64>().ok().map(Duration::from_secs);
    let date = || chrono::DateTime::parse_from_rfc2822(text).ok()?.to_utc().signed_duration_since(now).to_std().ok();
    seconds.or_else(date).map(|wanted| wanted.min(RETRY_AFTER_MAX))
}

/// The beginning of what a receiver says about its refusal.
async fn reason(mut answer: reqwest::Response) -> String {
    let Ok(Some(chunk)) = answer.chunk().await else { return String::new() };
    let text: String = String::from_utf8_lossy(&chunk).chars().take(REASON_CHARS).collect();
    match text.trim() {
        "" => String::new(),
        text => format!(": {}", printable(text)),
    }
}

fn duration(time: TimeDelta) -> Duration {
    time.to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_others_compute() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec");
        let now = chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        // python3: hmac.new(b"whsec", b'1795000000.{"a":1}', "sha256").hexdigest()
        let hex = "8205b9d3605c8c7b5dffc3c3ea22e9e20b0cf8ecb0e5bbfa43fb79c63f934fe3";
        assert_eq!(signature(&key, now, b"{\"a\":1}"), format!("t=1795000000,v1={hex}"));
    }

    #[test]
    fn receivers_say_how_long_they_want_to_be_left_alone() {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let asked = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, reqwest::header::HeaderValue::from_static(text))]), now)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Fri, 20 Nov 2026 12:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(asked("Fri, 20 Nov 2026 11:00:00 GMT"), None);
        assert_eq!(asked("18446744073709551615"), Some(RETRY_AFTER_MAX));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn nothing_secret_of_a_receiver_is_shown() {
        let url = "https://user:pass@hooks.example/services/T0/B0/secret";
        let webhook = Webhook::new(url, Some(b"key"), &Report::default(), &Options::default()).unwrap();
        assert_eq!(format!("{webhook} {webhook:?}"), "https://hooks.example Webhook(https://hooks.example)");
        let url = "https://hooks.example:port/secret";
        let error = Webhook::new(url, None, &Report::default(), &Options::default()).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
    }
}

//! What is told besides comparisons: objects that came too late, and silence. In: what happened. Out: the same bodies that
//! comparisons have. A notice is told when it happens and tried like any message, but not written down: one that nobody
//! took is logged and gone.

use super::destination::Envelope;
use super::options::{Body, Report};
use super::webhook::Failure;
use super::{Deliveries, record};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::meters;
use crate::window::{Window, format_time};
use chrono::{SecondsFormat, TimeDelta};
use futures::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;
use tokio_util::sync::CancellationToken;

/// How long Alertmanager shows a notice.
const LASTS: TimeDelta = TimeDelta::hours(1);

/// Something to be told besides comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Objects arrived that belong to a window beyond the horizon: no digest takes them up by itself.
    Late {
        /// The window.
        window: Window,
        /// How many objects.
        objects: u64,
    },
    /// No new object has arrived for a long time.
    Canary {
        /// When the last one was seen.
        since: Timestamp,
    },
    /// Somebody looks whether messages arrive.
    Test,
}

/// A notice in our own shape.
#[derive(Debug, Serialize)]
struct Told<'a> {
    format_version: u32,
    id: uuid::Uuid,
    revision: u64,
    state: &'static str,
    report: &'a str,
    notice: &'static str,
    text: String,
    made: Timestamp,
}

impl Notice {
    fn name(&self) -> &'static str {
        match self {
            Notice::Late { .. } => "late",
            Notice::Canary { .. } => "canary",
            Notice::Test => "test",
        }
    }

    fn text(&self) -> String {
        match self {
            Notice::Late { window, objects } => format!(
                "{objects} objects of {window} came too late to be taken up: flowdiff backfill --only-late takes them"
            ),
            Notice::Canary { since } => format!("no new object since {}", format_time(*since)),
            Notice::Test => "this is a test message: what this report tells arrives here".to_owned(),
        }
    }

    /// The notice as a report tells it; nothing in the shape of the earlier services' events, which know none.
    pub(super) fn envelope(&self, report: &Report, now: Timestamp) -> Result<Option<Envelope>> {
        let (name, text) = (self.name(), self.text());
        let id = record::notice_id(&report.name, name, &text);
        let json = match report.body {
            Body::Event => return Ok(None),
            Body::Slack => json!({"text": format!("flowdiff {}: {text}", report.name)}),
            Body::Alertmanager => {
                let time = |time: Timestamp| time.to_rfc3339_opts(SecondsFormat::Secs, true);
                json!([{
                    "labels": {"alertname": "FlowdiffNotice", "report": report.name, "notice": name},
                    "annotations": {"summary": text},
                    "startsAt": time(now),
                    "endsAt": time(now + LASTS),
                }])
            }
            Body::Flowdiff => {
                let (format_version, report) = (super::message::FORMAT_VERSION, report.name.as_str());
                let (revision, state, notice) = (1, "notice", name);
                serde_json::to_value(Told { format_version, id, revision, state, report, notice, text, made: now })?
            }
        };
        Ok(Some(Envelope { id, revision: 1, body: serde_json::to_vec::<Value>(&json)? }))
    }
}

impl Deliveries {
    /// Tells those reports of a notice that want any.
    ///
    /// # Errors
    /// `Unavailable`, naming the reports whose receivers did not take it.
    pub async fn notice(&self, notice: &Notice) -> Result<()> {
        let (clock, never) = (self.parts.clock, &CancellationToken::new());
        let tell = self.lines.iter().filter(|line| line.report.notices).map(|line| async move {
            let told: Result<bool, Failure> = async {
                let Some(envelope) = notice.envelope(&line.report, clock.now())? else { return Ok(false) };
                line.destination.deliver(&envelope, clock, never).await.map(|()| true)
            }
            .await;
            match told {
                Ok(is_told) => {
                    if is_told {
                        meters::delivery(&line.report.name, "notice");
                    }
                    self.counts.told.fetch_add(u64::from(is_told), Relaxed);
                    None
                }
                Err(failure) => {
                    self.counts.failed.fetch_add(1, Relaxed);
                    meters::delivery(&line.report.name, "failed");
                    Some(format!("{}: {}", line.report.name, failure.error.copy()))
                }
            }
        });
        let failed: Vec<String> = join_all(tell).await.into_iter().flatten().collect();
        match failed.is_empty() {
            true => Ok(()),
            false => {
                Err(Error::new(ErrorKind::Unavailable, format!("a notice was not taken by {}", failed.join("; "))))
            }
        }
    }
}

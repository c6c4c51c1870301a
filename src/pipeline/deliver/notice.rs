//! What is told besides comparisons: objects that came too late, and silence. In: what happened. Out: the same bodies that
//! comparisons have. A notice is written down before anybody counts on it, and told until it is taken, as comparisons are;
//! but it is told once, since nothing can amend it.

use super::destination::Envelope;
use super::options::{Body, Compare, Report};
use super::record::{self, Claim, Item, Telling};
use super::round::Outcome;
use super::webhook::Failure;
use super::{Deliveries, Line};
use crate::catalog::Entry;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::meters;
use crate::window::{Window, format_time};
use chrono::{SecondsFormat, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long Alertmanager shows a notice.
const LASTS: TimeDelta = TimeDelta::hours(1);
/// How long a missing digest is waited for before that is told.
const GAP_REST: Duration = Duration::from_secs(600);
/// Windows before one that is missing among which a digest is looked for: two days of hours.
const GAP_WINDOWS_MAX: usize = 48;

/// Something to be told besides comparisons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Objects arrived that belong to windows beyond the horizon: no digest takes them up by itself.
    Late {
        /// First instant of the first window.
        start: Timestamp,
        /// First instant after the last window.
        stop: Timestamp,
        /// How many objects.
        objects: u64,
        /// Tells them from others that are late in the same windows.
        tag: String,
    },
    /// A window has nothing to be compared with: there was no object of the one before, though there were some earlier.
    Gap {
        /// First instant of which there is no digest.
        start: Timestamp,
        /// First instant after the window that is missing.
        stop: Timestamp,
        /// First instant of the window that would be compared.
        after_start: Timestamp,
        /// First instant after it.
        after_stop: Timestamp,
    },
    /// No new object has arrived for a long time.
    Canary {
        /// Since when.
        since: Timestamp,
        /// Whether the source, or the store, could not be looked at.
        #[serde(default)]
        is_blind: bool,
    },
    /// Somebody looks whether messages arrive.
    Test,
}

/// A notice for one report, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoticeRecord {
    report: String,
    notice: Notice,
    /// When it was written down.
    made: Timestamp,
    /// Whether the receiver took it.
    told: bool,
    /// Who is at it.
    claim: Option<Claim>,
}

/// A notice in our own shape.
#[derive(Debug, Serialize)]
struct Told<'a> {
    format_version: u32,
    id: Uuid,
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
            Notice::Gap { .. } => "gap",
            Notice::Canary { .. } => "canary",
            Notice::Test => "test",
        }
    }

    fn text(&self) -> Result<String> {
        Ok(match self {
            Notice::Late { start, stop, objects, .. } => format!(
                "{objects} objects of {} came too late to be taken up: flowdiff backfill --only-late takes them",
                Window::new(*start, *stop)?
            ),
            Notice::Gap { start, stop, after_start, after_stop } => format!(
                "no digest of {}: {} has nothing to be compared with",
                Window::new(*start, *stop)?,
                Window::new(*after_start, *after_stop)?
            ),
            Notice::Canary { since, is_blind } => silence(*since, *is_blind),
            Notice::Test => "this is a test message: what this report tells arrives here".to_owned(),
        })
    }

    /// The id under which a report tells it: the same whenever the same is found out again.
    fn id(&self, report: &str) -> Uuid {
        let facts = match self {
            Notice::Late { start, stop, objects, tag } => {
                format!("{}/{}\n{objects}\n{tag}", start.timestamp(), stop.timestamp())
            }
            Notice::Gap { stop, after_start, after_stop, .. } => {
                let [stop, after_start, after_stop] = [stop, after_start, after_stop].map(Timestamp::timestamp);
                format!("{stop}\n{after_start}/{after_stop}")
            }
            Notice::Canary { since, .. } => since.timestamp().to_string(),
            Notice::Test => String::new(),
        };
        record::notice_id(report, self.name(), &facts)
    }

    /// The window whose digest is missing, if that is what it tells.
    fn missing(&self) -> Result<Option<Window>> {
        let Notice::Gap { stop, after_start, after_stop, .. } = self else { return Ok(None) };
        Window::new(*stop - (*after_stop - *after_start), *stop).map(Some)
    }
}

/// Says that no object has come.
pub(crate) fn silence(since: Timestamp, is_blind: bool) -> String {
    let why = if is_blind { ": the source or the store cannot be looked at; the follower's log says why" } else { "" };
    format!("no new object since {}{why}", format_time(since))
}

impl NoticeRecord {
    /// The record of a notice that nobody has been told of.
    pub(super) fn new(report: &Report, notice: Notice, made: Timestamp) -> NoticeRecord {
        NoticeRecord { report: report.name.clone(), notice, made, told: false, claim: None }
    }

    fn id(&self) -> Uuid {
        self.notice.id(&self.report)
    }

    /// The notice as its report tells it.
    pub(super) fn envelope(&self, body: Body, now: Timestamp) -> Result<Envelope> {
        let NoticeRecord { report, notice, made, .. } = self;
        let (id, name, text) = (self.id(), notice.name(), notice.text()?);
        let json = match body {
            Body::Slack => json!({"text": format!("flowdiff {report}: {text}")}),
            Body::Alertmanager => {
                let time = |time: Timestamp| time.to_rfc3339_opts(SecondsFormat::Secs, true);
                json!([{
                    "labels": {"alertname": "FlowdiffNotice", "report": report, "notice": name},
                    "annotations": {"summary": text},
                    "startsAt": time(*made),
                    "endsAt": time(now + LASTS),
                }])
            }
            Body::Flowdiff | Body::Event => {
                let (format_version, made) = (super::message::FORMAT_VERSION, *made);
                let (revision, state, notice) = (1, "notice", name);
                serde_json::to_value(Told { format_version, id, revision, state, report, notice, text, made })?
            }
        };
        Ok(Envelope { id, revision: 1, body: serde_json::to_vec::<Value>(&json)? })
    }
}

impl Telling for NoticeRecord {
    fn report(&self) -> &str {
        &self.report
    }

    fn is_due(&self) -> bool {
        !self.told
    }

    fn age(&self) -> Timestamp {
        self.made
    }

    fn dated(&self) -> Timestamp {
        self.made
    }

    /// Windows close side by side: what is missing may be on its way.
    fn rest(&self) -> Duration {
        match self.notice {
            Notice::Gap { .. } => GAP_REST,
            _ => Duration::ZERO,
        }
    }

    fn claimed(&self) -> Option<Claim> {
        self.claim
    }

    fn with_claim(&self, claim: Option<Claim>) -> NoticeRecord {
        NoticeRecord { claim, ..self.clone() }
    }
}

impl Deliveries {
    /// Takes up a notice: when this returns, it is written down for those reports that want any. Called again with the same
    /// one, it changes nothing.
    ///
    /// # Errors
    /// What the store says; it is to be called again then.
    pub async fn notice(&self, notice: &Notice) -> Result<()> {
        for line in self.lines.iter().filter(|line| line.report.notices) {
            self.note_notice(line, notice).await?;
        }
        Ok(())
    }

    async fn note_notice(&self, line: &Line, notice: &Notice) -> Result<()> {
        let record = NoticeRecord::new(&line.report, notice.clone(), self.parts.clock.now());
        let first = |known: Option<&NoticeRecord>| known.is_none().then(|| record.clone());
        self.want(line, Item::Notice(record.id()), first).await
    }

    /// Takes up that there is no digest of `missing`, with which `after` would be compared, unless there is none of the time
    /// before either: then nothing is missing, it is where the digests begin.
    ///
    /// # Errors
    /// As [`Deliveries::notice`].
    pub(super) async fn note_gap(&self, line: &Line, missing: &Window, after: &Window) -> Result<()> {
        let mut first = *missing;
        for _ in 0..GAP_WINDOWS_MAX {
            let Some(before) = Compare::Previous.before(&first) else { break };
            if self.parts.catalog.latest(&before).await?.is_some() {
                let (start, stop, after_start, after_stop) =
                    (first.start(), missing.stop(), after.start(), after.stop());
                return self.note_notice(line, &Notice::Gap { start, stop, after_start, after_stop }).await;
            }
            first = before;
        }
        Ok(())
    }

    /// Tells a notice, unless another process is at it.
    pub(super) async fn tell_notice(
        &self,
        line: &Line,
        item: Item,
        stop: &CancellationToken,
    ) -> Result<Outcome, Failure> {
        let (me, clock, lease) = (self.holder, self.parts.clock, self.parts.options.lease);
        let claimed = self.update(item, |record: Option<&NoticeRecord>| record?.claim(me, clock.now(), lease));
        let Some(Entry { value: record, .. }) = claimed.await? else {
            return self.left::<NoticeRecord>(item).await;
        };
        if let Err(failure) = self.send_notice(line, &record, stop).await {
            self.release::<NoticeRecord>(item).await;
            return Err(failure);
        }
        self.finish(item, |record: &NoticeRecord| NoticeRecord { told: true, ..record.released() }).await
    }

    /// Sends a notice, unless what it says is missing is there by now.
    async fn send_notice(&self, line: &Line, record: &NoticeRecord, stop: &CancellationToken) -> Result<(), Failure> {
        let clock = self.parts.clock;
        if let Some(missing) = record.notice.missing()?
            && self.parts.catalog.latest(&missing).await?.is_some()
        {
            self.counts.silent.fetch_add(1, Relaxed);
            meters::delivery(&line.report.name, "silent");
            return Ok(());
        }
        let envelope = record.envelope(line.report.body, clock.now())?;
        line.destination.deliver(&envelope, clock, stop).await?;
        self.counts.told.fetch_add(1, Relaxed);
        meters::delivery(&line.report.name, "notice");
        Ok(())
    }
}

//! What is known of one delivery: which versions must be told, which were, and who is telling them. In: facts. Out: the
//! next state. Pure: no store, no clock.
//!
//! The states of an id follow one another in a journal of the store, each created only if nobody else created it, so that
//! of several processes one tells:
//!
//! ```text
//! due ──► claimed ──► told nothing (what was compared is as it was told before, or there is nothing to tell)
//!  ▲         │
//!  │         └──────► attempt r written ──► sent: told r
//!  │                         │
//!  └──── newer versions ─────┴──► failed, or died: attempt r may have arrived
//! ```
//! - A revision is written before it is sent, with the versions that it tells: the same revision always tells the same.
//! - A receiver that has been told something, or may have been, is told when it is no longer so.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::pipeline::bounds::is_over;
use crate::window::Window;
use chrono::TimeDelta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// Under which the ids of deliveries are made (UUIDv5).
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0a_6a3e_3d55_4c0e_9d0b_3c1f_8a52_71e4);

/// Something to be told, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Item {
    /// What came of a comparison.
    Comparison(Uuid),
    /// Something that happened.
    Notice(Uuid),
}

impl Item {
    pub(super) fn id(self) -> Uuid {
        match self {
            Item::Comparison(id) | Item::Notice(id) => id,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id().fmt(f)
    }
}

/// What the states of all items have in common.
pub(super) trait Telling: Sized + Serialize + DeserializeOwned {
    /// Name of the report that tells it.
    fn report(&self) -> &str;

    /// Whether something may have to be told.
    fn is_due(&self) -> bool;

    /// The oldest is told first.
    fn age(&self) -> Timestamp;

    /// From when on it is counted how long it is kept.
    fn dated(&self) -> Timestamp;

    /// How long it is left alone at first.
    fn rest(&self) -> Duration {
        Duration::ZERO
    }

    fn claimed(&self) -> Option<Claim>;

    fn with_claim(&self, claim: Option<Claim>) -> Self;

    /// Takes it to tell it; `None` if nothing is due, or somebody else is at it.
    fn claim(&self, by: Uuid, now: Timestamp, lease: TimeDelta) -> Option<Self> {
        let name = || format!("delivery of report {}, dated {}", self.report(), self.dated().to_rfc3339());
        let is_taken = self.claimed().is_some_and(|claim| claim.by != by && !is_over(claim.until, now, name));
        (self.is_due() && !is_taken).then(|| self.with_claim(Some(Claim { by, until: now + lease })))
    }

    /// Whether `by` has it.
    fn is_claimed_by(&self, by: Uuid) -> bool {
        self.claimed().is_some_and(|claim| claim.by == by)
    }

    /// It could not be sent.
    fn released(&self) -> Self {
        self.with_claim(None)
    }
}

/// The comparison of two windows for one report, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Name of the report.
    pub(super) report: String,
    /// The earlier window.
    pub(super) before: Span,
    /// The later window.
    pub(super) after: Span,
    /// Versions that must be told.
    pub(super) wanted: Versions,
    /// Versions that were compared last, and told where there was something to tell.
    pub(super) done: Option<Versions>,
    /// The message that was sent last, or was about to be.
    pub(super) attempt: Option<Attempt>,
    /// What the receiver took last.
    pub(super) told: Option<Told>,
    /// Who is at it.
    pub(super) claim: Option<Claim>,
}

/// A window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    pub(super) start: Timestamp,
    pub(super) stop: Timestamp,
}

impl Span {
    pub(super) fn of(window: &Window) -> Span {
        Span { start: window.start(), stop: window.stop() }
    }

    pub(super) fn window(&self) -> Result<Window> {
        Window::new(self.start, self.stop)
    }
}

/// Versions of the digests of both windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Versions {
    pub(super) before: u64,
    pub(super) after: u64,
}

impl Versions {
    /// Whether neither is older than in `other`.
    pub(super) fn cover(&self, other: &Versions) -> bool {
        self.before >= other.before && self.after >= other.after
    }

    fn newest(&self, other: &Versions) -> Versions {
        Versions { before: self.before.max(other.before), after: self.after.max(other.after) }
    }
}

/// A message that was sent, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attempt {
    /// 1 for the first message of an id, then one more for each that tells something else.
    pub(super) revision: u64,
    pub(super) versions: Versions,
    pub(super) contents: Contents,
}

/// What a message tells, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents {
    /// Rows, those left out of the message included.
    pub(super) rows: u64,
    /// SHA-256 over all of them, hexadecimal.
    pub(super) checksum: String,
}

/// What the receiver took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    pub(super) revision: u64,
    pub(super) contents: Contents,
}

/// Who is telling, and until when nobody else may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    pub(super) by: Uuid,
    pub(super) until: Timestamp,
}

/// The id of a delivery: the same for everybody who delivers the same report of the same windows.
pub(super) fn id(report: &str, before: &Span, after: &Span) -> Uuid {
    let [a, b, c, d] = [before.start, before.stop, after.start, after.stop].map(|time| time.timestamp());
    Uuid::new_v5(&NAMESPACE, format!("{report}\n{a}/{b}\n{c}/{d}").as_bytes())
}

/// The id of a notice: the same for the same `facts`.
pub(super) fn notice_id(report: &str, name: &str, facts: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{report}\n{name}\n{facts}").as_bytes())
}

impl Telling for Record {
    fn report(&self) -> &str {
        &self.report
    }

    fn is_due(&self) -> bool {
        self.done.is_none_or(|done| !done.cover(&self.wanted))
    }

    fn age(&self) -> Timestamp {
        self.after.start
    }

    fn dated(&self) -> Timestamp {
        self.after.stop
    }

    fn claimed(&self) -> Option<Claim> {
        self.claim
    }

    fn with_claim(&self, claim: Option<Claim>) -> Record {
        Record { claim, ..self.clone() }
    }
}

impl Record {
    pub(super) fn new(report: &str, before: Span, after: Span, wanted: Versions) -> Record {
        let report = report.to_owned();
        Record { report, before, after, wanted, done: None, attempt: None, told: None, claim: None }
    }

    pub(super) fn id(&self) -> Uuid {
        id(&self.report, &self.before, &self.after)
    }

    /// Asks for `versions` to be told; `None` if they are known already.
    pub(super) fn want(&self, versions: &Versions) -> Option<Record> {
        let is_known = self.wanted.cover(versions);
        (!is_known).then(|| Record { wanted: self.wanted.newest(versions), ..self.clone() })
    }

    /// Whether `contents` need to be told: they are not what the receiver knows for certain, and not nothing to one who
    /// never was told anything (unless he wants to be told of nothing, too).
    pub(super) fn must_tell(&self, contents: &Contents, empty: bool) -> bool {
        let last = self.attempt.as_ref().map(|attempt| attempt.revision);
        match &self.told {
            Some(told) if Some(told.revision) == last => told.contents != *contents,
            _ if last.is_none() => contents.rows > 0 || empty,
            _ => true,
        }
    }

    /// Writes down what is about to be sent: under the revision of the last attempt if that told the same, else the next.
    pub(super) fn attempt(&self, versions: Versions, contents: Contents, by: Uuid, until: Timestamp) -> Record {
        let revision = match &self.attempt {
            Some(last) if last.versions == versions && last.contents == contents => last.revision,
            Some(last) => last.revision + 1,
            None => 1,
        };
        let attempt = Some(Attempt { revision, versions, contents });
        Record { attempt, claim: Some(Claim { by, until }), ..self.clone() }
    }

    /// It was sent, or there was nothing to tell: `told` is what the receiver knows then.
    pub(super) fn finished(&self, versions: Versions, told: Option<Told>) -> Record {
        Record { done: Some(versions), told: told.or_else(|| self.told.clone()), claim: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::minutes(minute)
    }

    fn versions(before: u64, after: u64) -> Versions {
        Versions { before, after }
    }

    fn contents(rows: u64) -> Contents {
        Contents { rows, checksum: rows.to_string() }
    }

    fn record() -> Record {
        let span = |hour: i64| Span { start: at(60 * hour), stop: at(60 * hour + 60) };
        Record::new("all", span(0), span(1), versions(1, 1))
    }

    fn sent(record: &Record, versions: Versions, contents: Contents) -> Record {
        let attempt = record.attempt(versions, contents.clone(), Uuid::nil(), at(2));
        let revision = attempt.attempt.as_ref().unwrap().revision;
        attempt.finished(versions, Some(Told { revision, contents }))
    }

    #[test]
    fn an_id_is_that_of_report_and_windows() {
        let record = record();
        assert_eq!(record.id(), record.clone().id());
        assert_eq!(record.id().to_string(), "1a28474c-2378-5fb7-976d-905a67d9b3aa", "a receiver drops repeats by it");
        let other = Record { report: "others".to_owned(), ..record.clone() };
        let turned = Record { before: record.after, after: record.before, ..record.clone() };
        assert_ne!(record.id(), other.id());
        assert_ne!(record.id(), turned.id());
        assert_eq!(Record { wanted: versions(9, 9), ..record.clone() }.id(), record.id());
    }

    #[test]
    fn one_process_has_it_until_its_lease_ends() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let claimed = record().claim(one, at(0), TimeDelta::minutes(2)).unwrap();
        assert!(claimed.claim(other, at(1), TimeDelta::minutes(2)).is_none());
        assert!(claimed.claim(other, at(2), TimeDelta::minutes(2)).is_some());
        let ahead = record().claim(one, at(3_000_000), TimeDelta::minutes(2)).unwrap();
        assert!(ahead.claim(other, at(1), TimeDelta::minutes(2)).is_some(), "a wrong clock holds nobody up");
        assert!(claimed.released().claim(other, at(1), TimeDelta::minutes(2)).is_some());
        assert!(claimed.finished(versions(1, 1), None).claim(other, at(9), TimeDelta::minutes(2)).is_none());
    }

    #[test]
    fn versions_are_due_until_they_are_told() {
        let told = sent(&record(), versions(1, 1), contents(3));
        assert!(!told.is_due());
        assert_eq!(told.want(&versions(1, 1)), None);
        let due = told.want(&versions(2, 1)).unwrap();
        assert!(due.is_due());
        assert_eq!(due.want(&versions(1, 2)).unwrap().wanted, versions(2, 2));
        assert!(!sent(&due, versions(2, 2), contents(3)).is_due(), "newer ones than wanted were told");
    }

    #[test]
    fn a_change_has_the_next_revision_and_a_repetition_the_same() {
        let first = record().attempt(versions(1, 1), contents(3), Uuid::nil(), at(2));
        assert_eq!(first.attempt.as_ref().unwrap().revision, 1);
        let again = first.released().attempt(versions(1, 1), contents(3), Uuid::nil(), at(9));
        assert_eq!(again.attempt.as_ref().unwrap().revision, 1);
        let amended = first.attempt(versions(1, 2), contents(4), Uuid::nil(), at(9));
        assert_eq!(amended.attempt.as_ref().unwrap().revision, 2);
    }

    #[test]
    fn nothing_is_told_only_to_one_who_was_told_something() {
        let record = record();
        assert!(!record.must_tell(&contents(0), false));
        assert!(record.must_tell(&contents(0), true));
        assert!(record.must_tell(&contents(3), false));
        let told = sent(&record, versions(1, 1), contents(3));
        assert!(!told.must_tell(&contents(3), true), "the same is not told twice");
        assert!(told.must_tell(&contents(0), false), "it is taken back");
        let silent = record.finished(versions(1, 1), None);
        assert!(!silent.must_tell(&contents(0), false));
    }

    #[test]
    fn what_may_have_arrived_is_taken_back_too() {
        let uncertain = record().attempt(versions(1, 1), contents(3), Uuid::nil(), at(2)).released();
        assert!(uncertain.must_tell(&contents(0), false));
        let told = sent(&record(), versions(1, 1), contents(3));
        let uncertain = told.attempt(versions(1, 2), contents(0), Uuid::nil(), at(2)).released();
        assert!(uncertain.must_tell(&contents(3), false), "the receiver may have been told that it is gone");
    }
}

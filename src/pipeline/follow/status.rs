//! How a follower is doing: the same facts for a terminal, for metrics and for whoever asks.

use crate::clock::Timestamp;
use crate::meters;
use crate::scan::Figures;
use chrono::TimeDelta;
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The facts at one instant. Counts are since the follower began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Whether it works; else it stands by, or cannot know whether it may.
    pub leads: bool,
    /// Why it does nothing at all: the store does not say who is to work, or the last round was broken off.
    pub trouble: Option<String>,
    /// Rounds done.
    pub rounds: u64,
    /// Objects read.
    pub objects: u64,
    /// Records decoded.
    pub records: u64,
    /// LIST requests.
    pub list_requests: u64,
    /// GET requests.
    pub get_requests: u64,
    /// Objects that arrived after a window was closed that they reach, each once.
    pub late_objects: u64,
    /// Versions published.
    pub published: u64,
    /// Windows that may still change.
    pub open_windows: u64,
    /// Windows that could not be built at the last try.
    pub failed_windows: u64,
    /// Windows handed over, to be delivered.
    pub handed_over: u64,
    /// Windows of which something is still to be handed over.
    pub undelivered: u64,
    /// When it began.
    pub began: Option<Timestamp>,
    /// File time of the newest object.
    pub newest_object: Option<Timestamp>,
    /// The watermark.
    pub watermark: Option<Timestamp>,
}

impl Facts {
    /// Counts the facts in the metrics.
    pub fn count(&self, now: Timestamp) {
        let seconds = |span: TimeDelta| span.num_seconds() as f64;
        meters::following(
            &[
                (meters::FOLLOW_ROUNDS, self.rounds),
                (meters::FOLLOW_OBJECTS, self.objects),
                (meters::FOLLOW_RECORDS, self.records),
                (meters::FOLLOW_LISTS, self.list_requests),
                (meters::FOLLOW_GETS, self.get_requests),
                (meters::FOLLOW_PUBLISHED, self.published),
                (meters::FOLLOW_LATE, self.late_objects),
                (meters::FOLLOW_DELIVERED, self.handed_over),
            ],
            &[
                (meters::FOLLOW_LEADS, Some(f64::from(u8::from(self.leads)))),
                (meters::FOLLOW_FAILING, Some(f64::from(u8::from(self.trouble.is_some())))),
                (meters::FOLLOW_OPEN, Some(self.open_windows as f64)),
                (meters::FOLLOW_FAILED, Some(self.failed_windows as f64)),
                (meters::FOLLOW_UNDELIVERED, Some(self.undelivered as f64)),
                (meters::FOLLOW_LAG, self.behind(now).map(seconds)),
                (meters::FOLLOW_WATERMARK_LAG, self.watermark.map(|watermark| seconds(now - watermark))),
            ],
        );
    }

    /// [`Facts::lag`], and while there is no object, for how long there has been none: one that never comes is seen, too.
    pub fn behind(&self, now: Timestamp) -> Option<TimeDelta> {
        self.lag(now).or_else(|| self.began.map(|began| now - began))
    }

    /// How far the newest object is behind the clock.
    pub fn lag(&self, now: Timestamp) -> Option<TimeDelta> {
        self.newest_object.map(|newest| (now - newest).max(TimeDelta::zero()))
    }
}

/// The facts as they change.
#[derive(Debug, Default)]
pub struct Status(Mutex<Facts>);

impl Status {
    /// The facts now.
    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.lock();
        change(&mut facts);
    }

    /// Takes note of what was read so far, and of how far behind that is.
    pub(super) fn read(&self, figures: &Figures) {
        self.update(|facts| {
            facts.objects = figures.read;
            facts.records = figures.totals.records;
            facts.list_requests = figures.list_requests;
            facts.get_requests = figures.get_requests;
        });
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_falls_behind_though_no_object_was_ever_seen() {
        let minute = |minute: i64| chrono::DateTime::from_timestamp(minute * 60, 0).unwrap();
        let mut facts = Facts { began: Some(minute(0)), ..Facts::default() };
        assert_eq!((facts.behind(minute(40)), facts.lag(minute(40))), (Some(TimeDelta::minutes(40)), None));
        facts.newest_object = Some(minute(35));
        assert_eq!(facts.behind(minute(40)), Some(TimeDelta::minutes(5)));
    }
}

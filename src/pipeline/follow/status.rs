//! How a follower is doing: the same facts for a terminal, for metrics and for whoever asks.

use crate::clock::Timestamp;
use crate::scan::Figures;
use chrono::TimeDelta;
use metrics::{counter, gauge};
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The facts at one instant. Counts are since the follower began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Whether it works; else it stands by.
    pub leads: bool,
    /// Rounds done.
    pub rounds: u64,
    /// Objects read.
    pub objects: u64,
    /// Records decoded.
    pub records: u64,
    /// Objects that arrived after their window was closed.
    pub late_objects: u64,
    /// Versions published.
    pub published: u64,
    /// Windows that may still change.
    pub open_windows: u64,
    /// Windows that could not be built at the last try.
    pub failed_windows: u64,
    /// Deliveries made.
    pub delivered: u64,
    /// Windows of which something is still to be delivered.
    pub undelivered: u64,
    /// File time of the newest object.
    pub newest_object: Option<Timestamp>,
    /// The watermark.
    pub watermark: Option<Timestamp>,
}

impl Facts {
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
        counter!("flowdiff_follow_rounds_total").absolute(facts.rounds);
        counter!("flowdiff_follow_published_total").absolute(facts.published);
        counter!("flowdiff_follow_late_objects_total").absolute(facts.late_objects);
        counter!("flowdiff_follow_deliveries_total").absolute(facts.delivered);
        gauge!("flowdiff_follow_leads").set(f64::from(u8::from(facts.leads)));
        gauge!("flowdiff_follow_open_windows").set(facts.open_windows as f64);
        gauge!("flowdiff_follow_failed_windows").set(facts.failed_windows as f64);
        gauge!("flowdiff_follow_undelivered_windows").set(facts.undelivered as f64);
    }

    /// Takes note of what was read so far, and of how far behind that is.
    pub(super) fn read(&self, figures: &Figures, now: Timestamp) {
        self.update(|facts| {
            facts.objects = figures.read;
            facts.records = figures.totals.records;
        });
        let facts = self.lock();
        counter!("flowdiff_follow_objects_total").absolute(facts.objects);
        counter!("flowdiff_follow_records_total").absolute(facts.records);
        counter!("flowdiff_follow_list_requests_total").absolute(figures.list_requests);
        counter!("flowdiff_follow_get_requests_total").absolute(figures.get_requests);
        let seconds = |span: TimeDelta| span.num_seconds() as f64;
        if let Some(lag) = facts.lag(now) {
            gauge!("flowdiff_follow_lag_seconds").set(seconds(lag));
        }
        if let Some(watermark) = facts.watermark {
            gauge!("flowdiff_follow_watermark_lag_seconds").set(seconds(now - watermark));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Settings of jobs.

use crate::pipeline::bounds::LEASE_MAX;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How windows that were asked for and are not built yet are built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Jobs that this process works on at once; default 2, which share the session's memory and threads. 0: none, other
    /// processes on the same store do.
    pub workers: usize,
    /// Jobs that may wait; default 64. More are refused until some are done. Where other processes work, those waiting
    /// in the store count, else those of this process.
    pub queue_max: usize,
    /// How often the store is looked through for jobs that nobody works on; default 10 seconds. Each look is one LIST
    /// for a thousand entries, and a GET for each job that changed. A try that failed is repeated after it at the
    /// earliest.
    #[serde(with = "crate::config::duration")]
    pub poll: TimeDelta,
    /// How long a job is its worker's without a sign of life; default 60 seconds, at least 5, at most an hour. The sign
    /// comes three times as often. The clocks of machines that share a store must agree to a third of it.
    #[serde(with = "crate::config::duration")]
    pub lease: TimeDelta,
    /// Tries of a job, those of workers that crashed included, before it counts as failed; default 3.
    pub attempts_max: u32,
    /// How long a failure is told to those who ask for what a job was to make, before it is tried again for them; default
    /// 5 minutes. Asking for the job itself tries at once.
    #[serde(with = "crate::config::duration")]
    pub failed_for: TimeDelta,
    /// How long the records of jobs that ended are kept; default 7 days.
    #[serde(with = "crate::config::duration")]
    pub kept_for: TimeDelta,
    /// How long jobs under way may take to end once the process was told to stop, before they are handed back; default 20
    /// seconds.
    #[serde(with = "crate::config::duration")]
    pub stop_grace: TimeDelta,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            workers: 2,
            queue_max: 64,
            poll: TimeDelta::seconds(10),
            lease: TimeDelta::seconds(60),
            attempts_max: 3,
            failed_for: TimeDelta::minutes(5),
            kept_for: TimeDelta::days(7),
            stop_grace: TimeDelta::seconds(20),
        }
    }
}

impl Options {
    /// The lease, never so short that the second to which clocks are cut would matter, nor so long that it would be taken
    /// for that of a wrong clock.
    pub(super) fn lease(&self) -> TimeDelta {
        self.lease.clamp(LEASE_MIN, LEASE_MAX)
    }
}

const LEASE_MIN: TimeDelta = TimeDelta::seconds(5);

/// A span of settings as timers take it; these refuse zero.
pub(super) fn timer(span: TimeDelta) -> Duration {
    span.to_std().unwrap_or_default().max(Duration::from_millis(1))
}

//! Settings of following.

use crate::error::Result;
use crate::pipeline::bounds::{self, HORIZON_MAX, KEPT_MAX, LEASE_MAX, LEASE_MIN, PAUSE_MAX};
use crate::pipeline::superseded::KEPT_MIN;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// How recent windows are followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Width of the windows; default 1 hour.
    #[serde(with = "crate::config::duration")]
    pub width: TimeDelta,
    /// Between the beginnings of two rounds: how long an object may wait to be read, and how often an open window may get
    /// a new version; default 30 seconds.
    #[serde(with = "crate::config::duration")]
    pub publish_every: TimeDelta,
    /// With notifications, how often recent times are listed all the same; default 5 minutes. Without, every round lists.
    #[serde(with = "crate::config::duration")]
    pub list_every: TimeDelta,
    /// How often all times within the horizon are listed, for objects that come late; default 15 minutes.
    #[serde(with = "crate::config::duration")]
    pub reconcile_every: TimeDelta,
    /// How late an object may be and still be taken up, counted from its file time; default 2 days. Later ones, up to twice
    /// as late, are reported once a day, and left to `backfill --only-late`; still later ones are reported if a notification
    /// names them.
    #[serde(with = "crate::config::duration")]
    pub horizon: TimeDelta,
    /// A flow log that has delivered nothing stamped within this time holds no window open; default 30 minutes. Longer
    /// than AWS takes to deliver.
    #[serde(with = "crate::config::duration")]
    pub idle: TimeDelta,
    /// Reports that no new object has arrived for so long; default: never.
    #[serde(with = "crate::config::optional_duration")]
    pub canary: Option<TimeDelta>,
    /// Objects whose counts are remembered, so that a window which they merely reach need not read them again; default
    /// 400,000, some 75 bytes each. Once there are more, the older half of them goes at once.
    pub remembered_max: usize,
    /// How long a follower that works may be silent before another one takes over; default 1 minute.
    #[serde(with = "crate::config::duration")]
    pub lease: TimeDelta,
    /// How long a provisional version stays after a newer one took its place, so that who reads it is not cut off; default
    /// 1 hour, at least a minute. Then it is removed.
    #[serde(with = "crate::config::duration")]
    pub keep_superseded: TimeDelta,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            width: TimeDelta::hours(1),
            publish_every: TimeDelta::seconds(30),
            list_every: TimeDelta::minutes(5),
            reconcile_every: TimeDelta::minutes(15),
            horizon: TimeDelta::days(2),
            idle: TimeDelta::minutes(30),
            canary: None,
            remembered_max: 400_000,
            lease: TimeDelta::minutes(1),
            keep_superseded: TimeDelta::hours(1),
        }
    }
}

impl Options {
    /// Checks what can be checked without the other settings.
    pub(super) fn check(&self) -> Result<()> {
        let none = TimeDelta::zero();
        let mut settings = vec![
            ("follow.publish_every", self.publish_every, none, PAUSE_MAX),
            ("follow.list_every", self.list_every, none, PAUSE_MAX),
            ("follow.reconcile_every", self.reconcile_every, none, PAUSE_MAX),
            ("follow.horizon", self.horizon, none, HORIZON_MAX),
            ("follow.idle", self.idle, none, PAUSE_MAX),
            ("follow.lease", self.lease, LEASE_MIN, LEASE_MAX),
            ("follow.keep_superseded", self.keep_superseded, KEPT_MIN, KEPT_MAX),
        ];
        settings.extend(self.canary.map(|canary| ("follow.canary", canary, none, PAUSE_MAX)));
        bounds::check(&settings)
    }
}

//! Where "now" comes from. Stages take a [`Clock`] as an argument; only `main` makes the real one.

use chrono::{DateTime, SubsecRound, Utc};

/// An instant in UTC.
pub type Timestamp = DateTime<Utc>;

/// Tells the time: the system's, or one that a test holds still.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Option<Timestamp>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Clock(None)
    }

    /// A clock that always answers `instant`.
    pub fn fixed(instant: Timestamp) -> Self {
        Clock(Some(instant))
    }

    /// The present instant, cut to the second.
    pub fn now(&self) -> Timestamp {
        self.0.unwrap_or_else(Utc::now).trunc_subsecs(0)
    }
}

//! How long spans of settings may be, and when what somebody holds for a while is over. In: spans, instants. Out: errors
//! that name the setting and its bounds. Pure: no store, no clock.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use chrono::TimeDelta;

/// A setting, its value, and the least and the most that it may be.
pub(super) type Bound = (&'static str, TimeDelta, TimeDelta, TimeDelta);

/// The shortest lease: clocks are cut to the second.
pub(super) const LEASE_MIN: TimeDelta = TimeDelta::seconds(2);
/// The longest lease: what a process that dies leaves behind waits for so long.
pub(super) const LEASE_MAX: TimeDelta = TimeDelta::hours(1);
/// The longest time that may be looked back for what is late.
pub(super) const HORIZON_MAX: TimeDelta = TimeDelta::days(366);
/// The longest pause.
pub(super) const PAUSE_MAX: TimeDelta = TimeDelta::days(31);
/// The longest time for which something is kept.
pub(super) const KEPT_MAX: TimeDelta = TimeDelta::days(3660);
/// How far apart the clocks of processes on one store may be.
const SKEW_MAX: TimeDelta = TimeDelta::minutes(10);

/// Checks settings.
///
/// # Errors
/// `Invalid`, naming the first that is out of its bounds.
pub(super) fn check(settings: &[Bound]) -> Result<()> {
    match settings.iter().find(|(_, value, least, most)| !(*least..=*most).contains(value)) {
        None => Ok(()),
        Some((name, value, least, most)) => {
            let [value, least, most] = [value, least, most].map(crate::config::duration::format);
            Err(Error::invalid(format!("{name} is {value}, not {least} to {most}")))
        }
    }
}

/// Whether what is held until an instant is free now: its time is over, or is further ahead than any lease may be. Then it
/// was written down by a clock that is wrong, or this one is; that is logged by the name of `entry`.
pub(super) fn is_over(until: Timestamp, now: Timestamp, entry: impl FnOnce() -> String) -> bool {
    let is_absurd = until.signed_duration_since(now) > LEASE_MAX + SKEW_MAX;
    if is_absurd {
        let (entry, until, now) = (entry(), until.to_rfc3339(), now.to_rfc3339());
        tracing::warn!(
            entry,
            until,
            now,
            "held for longer than any lease: the clock of who wrote it is wrong, or this machine's; it counts as free"
        );
    }
    is_absurd || now >= until
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_its_bounds_is_named_with_them() {
        let hour = TimeDelta::hours(1);
        assert!(check(&[("follow.lease", hour, LEASE_MIN, LEASE_MAX)]).is_ok());
        let error =
            check(&[("follow.idle", hour, LEASE_MIN, LEASE_MAX), ("follow.lease", hour * 25, LEASE_MIN, LEASE_MAX)]);
        assert_eq!(error.unwrap_err().to_string(), "follow.lease is 25h, not 2s to 1h");
    }

    #[test]
    fn a_lease_is_over_after_its_end_and_if_no_lease_can_be_so_long() {
        let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let is_over = |minutes| is_over(now + TimeDelta::minutes(minutes), now, || "a".to_owned());
        assert_eq!([-1, 0, 1, 60, 70, 71, 3_000_000].map(is_over), [true, true, false, false, false, true, true]);
    }
}

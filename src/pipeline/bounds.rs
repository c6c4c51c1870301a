//! How long spans of settings may be. In: spans. Out: errors that name the setting and its bounds. Pure: no store, no
//! clock.

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
}

//! Time arithmetic: windows and how people write them. No I/O; "now" is an argument.

mod parse;

pub use parse::{parse_duration, parse_time};

pub use crate::clock::Timestamp;
use crate::error::{Error, Result};
use chrono::{DurationRound, SecondsFormat, TimeDelta, Utc};
use std::fmt;

/// A half-open interval `[start, stop)` in UTC, of whole minutes.
///
/// Invariants:
/// - `start < stop`.
/// - Both fall on a minute: a finer instant is refused, not rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    start: Timestamp,
    stop: Timestamp,
}

impl Window {
    /// Makes the window `[start, stop)`.
    ///
    /// # Errors
    /// `Invalid` if it is empty, runs backwards, or does not fall on whole minutes.
    pub fn new(start: Timestamp, stop: Timestamp) -> Result<Window> {
        if start >= stop {
            return Err(Error::invalid(format!("window {}/{} is empty", format_time(start), format_time(stop)))
                .with_hint("a window is START/STOP with START before STOP"));
        }
        for instant in [start, stop] {
            let minute = TimeDelta::minutes(1);
            if instant.duration_trunc(minute).ok() != Some(instant) {
                return Err(Error::invalid(format!("{} is not a whole minute", format_time(instant)))
                    .with_hint("windows begin and end on whole minutes"));
            }
        }
        Ok(Window { start, stop })
    }

    /// Reads a window as people write it: `2026-11-20T12:00Z/2026-11-20T13:00Z`, `2026-11-20T12:00Z/PT1H`,
    /// `PT1H/now`, or a single date or hour (`2026-11-20`, `2026-11-20T12`), which means all of it.
    ///
    /// # Errors
    /// `Invalid`, quoting the part that cannot be read.
    pub fn parse(text: &str, now: Timestamp) -> Result<Window> {
        parse::parse_window(text, now)
    }

    /// First instant of the window.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// First instant after the window.
    pub fn stop(&self) -> Timestamp {
        self.stop
    }

    /// Length of the window.
    pub fn width(&self) -> TimeDelta {
        self.stop - self.start
    }

    /// Whether the window contains `instant`: its start yes, its stop no.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.start <= instant && instant < self.stop
    }

    /// The window of the same width that ends where this one begins.
    pub fn previous(&self) -> Window {
        Window { start: self.start - self.width(), stop: self.start }
    }
}

impl fmt::Display for Window {
    /// Writes `2026-11-20T12:00Z/2026-11-20T13:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", format_time(self.start), format_time(self.stop))
    }
}

/// Writes an instant as briefly as it is exact: `2026-11-20T12:00Z`, or with seconds where it has any.
pub fn format_time(instant: Timestamp) -> String {
    if instant.timestamp() % 60 == 0 && instant.timestamp_subsec_nanos() == 0 {
        instant.format("%Y-%m-%dT%H:%MZ").to_string()
    } else {
        instant.to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

/// Which file times can hold flows of a window, by both rules that AWS has had for the time in a file's name.
///
/// The stamp is the start of the five minutes that end times fall in (since May 2021) or their end (before); late
/// records come in later files. So objects are read from ten minutes before the window to `lateness` after it.
/// Source: "Flow log files", Amazon VPC User Guide, and its history.
pub fn file_times(window: &Window, lateness: TimeDelta) -> std::ops::Range<Timestamp> {
    let end = window.stop.checked_add_signed(lateness).unwrap_or(chrono::DateTime::<Utc>::MAX_UTC);
    window.start - FILE_TIME_EARLY..end
}

/// How far before the first `end` in it a file may be stamped (two five-minute slots).
pub const FILE_TIME_EARLY: TimeDelta = TimeDelta::minutes(10);

/// How far `start` may lie before `end`: the longest aggregation interval that AWS offers.
pub const AGGREGATION_MAX: TimeDelta = TimeDelta::minutes(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_contains_its_start_and_not_its_stop() {
        let window = Window::new(time("2026-11-20T12:00:00Z"), time("2026-11-20T13:00:00Z")).unwrap();
        assert!(window.contains(window.start()));
        assert!(!window.contains(window.stop()));
        assert_eq!(window.to_string(), "2026-11-20T12:00Z/2026-11-20T13:00Z");
        assert_eq!(window.previous().to_string(), "2026-11-20T11:00Z/2026-11-20T12:00Z");
    }

    #[test]
    fn empty_backward_and_ragged_windows_are_refused() {
        let (a, b) = (time("2026-11-20T12:00:00Z"), time("2026-11-20T13:00:00Z"));
        assert!(Window::new(a, a).is_err());
        assert!(Window::new(b, a).is_err());
        assert!(Window::new(a, b + TimeDelta::seconds(30)).is_err());
    }

    #[test]
    fn file_times_reach_over_midnight() {
        let window = Window::new(time("2026-11-20T00:00:00Z"), time("2026-11-20T01:00:00Z")).unwrap();
        let times = file_times(&window, TimeDelta::minutes(30));
        assert_eq!(times.start, time("2026-11-19T23:50:00Z"));
        assert_eq!(times.end, time("2026-11-20T01:30:00Z"));
    }
}

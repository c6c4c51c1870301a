//! Time arithmetic: windows, how people write them, and how they tile a range. No I/O; "now" is an argument.

mod parse;
mod tile;
mod watermark;

pub use parse::{parse_duration, parse_time, parse_written_time};
pub use tile::{Prefer, Tiling, join, split, tile};
pub use watermark::Watermark;

pub use crate::clock::Timestamp;
use crate::error::{Error, Result};
use chrono::{SecondsFormat, TimeDelta, Utc};
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
    /// `Invalid` if it is empty, runs backwards, does not fall on whole minutes, or leaves the years that nanoseconds
    /// since 1970 reach in 64 bits (1677 to 2262): SQL compares times in these.
    pub fn new(start: Timestamp, stop: Timestamp) -> Result<Window> {
        if start >= stop {
            let fault = if start == stop { "is empty" } else { "runs backwards" };
            return Err(Error::invalid(format!("window {}/{} {fault}", format_time(start), format_time(stop)))
                .with_hint("a window is START/STOP with START before STOP"));
        }
        for instant in [start, stop] {
            if instant.timestamp_nanos_opt().is_none() {
                return Err(Error::invalid(format!("{} is out of range", format_time(instant)))
                    .with_hint("times lie between 1677-09-22 and 2262-04-11"));
            }
            if instant.timestamp() % 60 != 0 || instant.timestamp_subsec_nanos() != 0 {
                let said = match instant.timestamp_subsec_nanos() {
                    0 => format_time(instant),
                    _ => instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
                };
                return Err(Error::invalid(format!("{said} is not a whole minute"))
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

    /// The window in Unix seconds.
    pub fn seconds(&self) -> std::ops::Range<i64> {
        self.start.timestamp()..self.stop.timestamp()
    }

    /// Whether the window contains `instant`: its start yes, its stop no.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.start <= instant && instant < self.stop
    }

    /// The time from the first instant of both windows to the last.
    pub fn hull(&self, other: &Window) -> Window {
        Window { start: self.start.min(other.start), stop: self.stop.max(other.stop) }
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
        assert!(Window::new(a, a).unwrap_err().to_string().ends_with("is empty"));
        assert!(Window::new(b, a).unwrap_err().to_string().ends_with("runs backwards"));
        assert!(Window::new(a, b + TimeDelta::seconds(30)).is_err());
    }

    #[test]
    fn what_is_said_of_a_far_window_is_that_it_is_out_of_range() {
        for (start, stop) in
            [("2300-01-01T00:00:00Z", "2300-01-01T01:00:00Z"), ("1600-01-01T00:00:00Z", "2026-01-01T00:00:00Z")]
        {
            let error = Window::new(time(start), time(stop)).unwrap_err();
            assert!(error.to_string().ends_with("is out of range"), "{error}");
            assert!(error.hint().unwrap().contains("2262"));
        }
        let error = Window::new(time("2026-11-20T12:00:00Z"), time("2026-11-20T12:00:30Z")).unwrap_err();
        assert_eq!(error.to_string(), "2026-11-20T12:00:30Z is not a whole minute");
        let error = Window::new(time("2026-11-20T12:00:00.5Z"), time("2026-11-20T13:00:00Z")).unwrap_err();
        assert_eq!(error.to_string(), "2026-11-20T12:00:00.500Z is not a whole minute");
    }

    #[test]
    fn file_times_reach_over_midnight() {
        let window = Window::new(time("2026-11-20T00:00:00Z"), time("2026-11-20T01:00:00Z")).unwrap();
        let times = file_times(&window, TimeDelta::minutes(30));
        assert_eq!(times.start, time("2026-11-19T23:50:00Z"));
        assert_eq!(times.end, time("2026-11-20T01:30:00Z"));
    }
}

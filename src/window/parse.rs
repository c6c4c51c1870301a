//! How people write instants, durations and windows.

use super::{Timestamp, Window};
use crate::error::{Error, Result};
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// Reads an instant: RFC 3339 (seconds may be left out), `2026-11-20T12` (an hour), a date (its midnight), `now`, or a
/// time ago (`-7d`, `-90m`). Without an offset the time is UTC.
///
/// # Errors
/// `Invalid`, quoting the text and listing the forms.
pub fn parse_time(text: &str, now: Timestamp) -> Result<Timestamp> {
    parse_point(text, now).map(|point| point.start)
}

/// Reads an instant that does not depend on now: as [`parse_time`], without `now` and times ago.
///
/// # Errors
/// `Invalid`, quoting the text and listing the forms.
pub fn parse_written_time(text: &str) -> Result<Timestamp> {
    written_point(text).map(|point| point.start).ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a time"))
            .with_hint("write 2026-11-20T12:00Z, 2026-11-20T12 or a date; a time ago is now() - INTERVAL '7 days'")
    })
}

/// Reads a duration: ISO 8601 (`PT1H`, `P1DT12H`) or short (`90s`, `15m`, `1h`, `7d`, `2w`, `3y`; a year has 365 days).
///
/// # Errors
/// `Invalid` if it cannot be read or is not positive.
pub fn parse_duration(text: &str) -> Result<TimeDelta> {
    let parsed = match text.strip_prefix(['P', 'p']) {
        Some(iso) => parse_iso_duration(iso),
        None => parse_units(text, &['y', 'w', 'd', 'h', 'm', 's']),
    };
    parsed.filter(|duration| *duration > TimeDelta::zero()).ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a duration")).with_hint("write PT1H, P1D, 15m, 1h or 7d")
    })
}

pub(super) fn parse_window(text: &str, now: Timestamp) -> Result<Window> {
    let Some((left, right)) = text.split_once('/') else {
        const HINT: &str = "write 2026-11-20T12 (an hour), 2026-11-20 (a day), START/STOP, START/PT1H or PT1H/now";
        let point =
            parse_point(text, now).map_err(|_| Error::invalid(format!("{text:?} is not a window")).with_hint(HINT))?;
        let width = point
            .precision
            .ok_or_else(|| Error::invalid(format!("{text:?} is an instant, not a window")).with_hint(HINT))?;
        return Window::new(point.start, point.start + width);
    };
    let is_duration = |part: &str| part.starts_with(['P', 'p']) || parse_duration(part).is_ok();
    let (start, stop) = match (is_duration(left), is_duration(right)) {
        (false, false) => (parse_time(left, now)?, parse_time(right, now)?),
        (false, true) => {
            let start = parse_time(left, now)?;
            (start, after(start, parse_duration(right)?, text)?)
        }
        (true, false) => {
            let stop = parse_time(right, now)?;
            (after(stop, -parse_duration(left)?, text)?, stop)
        }
        (true, true) => {
            return Err(Error::invalid(format!("window {text:?} has two durations and no instant")));
        }
    };
    Window::new(start, stop)
}

fn after(instant: Timestamp, duration: TimeDelta, text: &str) -> Result<Timestamp> {
    instant
        .checked_add_signed(duration)
        .ok_or_else(|| Error::invalid(format!("window {text:?} leaves the range of time")))
}

/// An instant and, if it was written as a date or an hour, how long that lasts.
struct Point {
    start: Timestamp,
    precision: Option<TimeDelta>,
}

fn parse_point(text: &str, now: Timestamp) -> Result<Point> {
    let minute = |instant: Timestamp| {
        let seconds = instant.timestamp();
        DateTime::from_timestamp(seconds - seconds.rem_euclid(60), 0)
    };
    let exact = |start| Point { start, precision: None };
    let parsed = if text == "now" {
        minute(now).map(exact)
    } else if let Some(ago) = text.strip_prefix('-') {
        now.checked_sub_signed(parse_duration(ago)?).and_then(minute).map(exact)
    } else {
        written_point(text)
    };
    parsed.ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a time"))
            .with_hint("write 2026-11-20T12:00Z, a date, now, or a time ago such as -7d")
    })
}

/// A date, an hour or an instant.
fn written_point(text: &str) -> Option<Point> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        let start = date.and_hms_opt(0, 0, 0)?.and_utc();
        Some(Point { start, precision: Some(TimeDelta::days(1)) })
    } else if let Some(start) = parse_hour(text) {
        Some(Point { start, precision: Some(TimeDelta::hours(1)) })
    } else {
        parse_instant(text).map(|start| Point { start, precision: None })
    }
}

/// `2026-11-20T12` or `2026-11-20T12Z`.
fn parse_hour(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, hour) = text.split_once(['T', ' '])?;
    if hour.len() != 2 {
        return None;
    }
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(hour.parse().ok()?, 0, 0)?.and_utc())
}

fn parse_instant(text: &str) -> Option<Timestamp> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.with_timezone(&Utc));
    }
    for format in ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%d %H:%M%:z"] {
        if let Ok(instant) = DateTime::parse_from_str(text, format) {
            return Some(instant.with_timezone(&Utc));
        }
    }
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y%m%dT%H%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|instant| instant.and_utc())
}

/// The part of an ISO 8601 duration after `P`: weeks and days, then `T` and hours, minutes, seconds.
fn parse_iso_duration(text: &str) -> Option<TimeDelta> {
    let text = text.to_ascii_lowercase();
    let (days, time) = text.split_once('t').map_or((text.as_str(), None), |(days, time)| (days, Some(time)));
    let days_part = if days.is_empty() { TimeDelta::zero() } else { parse_units(days, &['w', 'd'])? };
    let time_part = time.map_or(Some(TimeDelta::zero()), |time| parse_units(time, &['h', 'm', 's']))?;
    days_part.checked_add(&time_part)
}

/// A run of numbers with units, each unit at most once and in the order of `units`.
fn parse_units(mut text: &str, units: &[char]) -> Option<TimeDelta> {
    let mut total = TimeDelta::zero();
    let mut units = units.iter();
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = text[..digits].parse().ok()?;
        let unit = text[digits..].chars().next()?;
        units.find(|&&known| known == unit)?;
        total = total.checked_add(&match unit {
            'y' => TimeDelta::try_days(count.checked_mul(365)?)?,
            'w' => TimeDelta::try_weeks(count)?,
            'd' => TimeDelta::try_days(count)?,
            'h' => TimeDelta::try_hours(count)?,
            'm' => TimeDelta::try_minutes(count)?,
            _ => TimeDelta::try_seconds(count)?,
        })?;
        text = &text[digits + unit.len_utf8()..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-11-21T09:30:42Z".parse().unwrap()
    }

    fn window(text: &str) -> String {
        Window::parse(text, now()).unwrap().to_string()
    }

    #[test]
    fn every_spelling_of_one_hour_is_that_hour() {
        let hour = "2026-11-20T12:00Z/2026-11-20T13:00Z";
        for text in [
            hour,
            "2026-11-20T12:00Z/PT1H",
            "2026-11-20T12:00:00Z/PT60M",
            "PT1H/2026-11-20T13:00Z",
            "2026-11-20T12:00Z/1h",
            "60m/2026-11-20T13",
            "2026-11-20T12",
            "2026-11-20T12Z",
            "2026-11-20T13:00+01:00/PT1H",
            "2026-11-20 12:00/2026-11-20 13:00",
            "20261120T1200Z/20261120T1300Z",
        ] {
            assert_eq!(window(text), hour, "{text}");
        }
    }

    #[test]
    fn a_date_is_its_day_and_now_is_cut_to_the_minute() {
        assert_eq!(window("2026-11-20"), "2026-11-20T00:00Z/2026-11-21T00:00Z");
        assert_eq!(window("PT1H/now"), "2026-11-21T08:30Z/2026-11-21T09:30Z");
        assert_eq!(window("-2h/-1h"), "2026-11-21T07:30Z/2026-11-21T08:30Z");
    }

    #[test]
    fn what_cannot_be_read_is_quoted() {
        for text in ["", "noon", "2026-11-20T12:00Z", "2026-13-01", "PT1H/PT1H", "2026-11-20T12:00Z/PT", "a/b"] {
            let error = Window::parse(text, now()).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Invalid, "{text}");
        }
        assert!(parse_time("noon", now()).unwrap_err().to_string().contains("\"noon\""));
    }

    #[test]
    fn durations_are_positive_and_in_order() {
        assert_eq!(parse_duration("P1DT12H").unwrap(), TimeDelta::hours(36));
        assert_eq!(parse_duration("1h30m").unwrap(), TimeDelta::minutes(90));
        assert_eq!(parse_duration("3y").unwrap(), TimeDelta::days(1095));
        for text in ["0s", "PT0S", "m", "1m1h", "1x", "-1h", "99999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_window_reads_back_as_it_is_written(start in -60_000_000i64..60_000_000, minutes in 1i64..1_000_000) {
            let start = DateTime::from_timestamp(start * 60, 0).unwrap();
            let window = Window::new(start, start + TimeDelta::minutes(minutes)).unwrap();
            prop_assert_eq!(Window::parse(&window.to_string(), now()).unwrap(), window);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = Window::parse(&text, now());
        }
    }
}

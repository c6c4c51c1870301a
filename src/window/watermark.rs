//! How far the flow logs of a source have come, all together. In: the file times of the objects seen, by flow log.
//! Out: the instant before which no more objects are expected. Pure: "now" is an argument.

use super::Timestamp;
use chrono::TimeDelta;
use std::collections::HashMap;

/// The newest file time of each flow log.
///
/// A flow log delivers its files in the order of their times, or nearly: what is stamped before its newest file is
/// there. The watermark is therefore the newest file time of the flow log that is furthest behind. One that has
/// delivered nothing stamped within `idle` of the clock holds nobody up; where none has, the watermark is `idle` behind
/// the clock.
///
/// It rests on file times and on the clock alone, so a process that lists the same objects later has the same
/// watermark. It may go back, when a flow log begins or wakes: what is closed stays closed, and what that flow log brings
/// is late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    idle: TimeDelta,
    newest: HashMap<String, Timestamp>,
}

impl Watermark {
    /// Of no flow log yet.
    pub fn new(idle: TimeDelta) -> Watermark {
        Watermark { idle, newest: HashMap::new() }
    }

    /// Takes note of an object of `flow_log` stamped `file_time`. Order and repetition do not matter.
    pub fn observe(&mut self, flow_log: &str, file_time: Timestamp) {
        match self.newest.get_mut(flow_log) {
            Some(newest) => *newest = file_time.max(*newest),
            None => {
                self.newest.insert(flow_log.to_owned(), file_time);
            }
        }
    }

    /// The watermark at `now`; never after it.
    pub fn at(&self, now: Timestamp) -> Timestamp {
        let idle = now - self.idle;
        let active = self.newest.values().filter(|newest| **newest > idle);
        active.min().map_or(idle, |newest| (*newest).min(now))
    }

    /// Flow logs that do not hold the watermark at `now`, in no order.
    pub fn idle(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let idle = now - self.idle;
        self.newest.iter().filter(move |(_, newest)| **newest <= idle).map(|(flow_log, _)| flow_log.as_str())
    }

    /// The newest file time of all flow logs.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest.values().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn minute(minute: i64) -> Timestamp {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn watermark(files: &[(u8, i64)]) -> Watermark {
        let mut watermark = Watermark::new(TimeDelta::minutes(30));
        files.iter().for_each(|(flow_log, time)| watermark.observe(&flow_log.to_string(), minute(*time)));
        watermark
    }

    #[test]
    fn the_slowest_flow_log_holds_the_watermark_until_it_is_idle() {
        let watermark = watermark(&[(1, 100), (2, 80), (2, 70), (1, 90)]);
        assert_eq!(watermark.at(minute(105)), minute(80));
        assert_eq!(watermark.at(minute(109)), minute(80));
        assert_eq!(watermark.at(minute(110)), minute(100));
        assert_eq!(watermark.idle(minute(110)).collect::<Vec<_>>(), ["2"]);
        assert_eq!(watermark.at(minute(200)), minute(170));
        assert_eq!(watermark.newest(), Some(minute(100)));
    }

    #[test]
    fn without_flow_logs_it_follows_the_clock() {
        assert_eq!(watermark(&[]).at(minute(100)), minute(70));
    }

    #[test]
    fn a_file_from_the_future_does_not_run_ahead_of_the_clock() {
        assert_eq!(watermark(&[(1, 500)]).at(minute(100)), minute(100));
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            files in prop::collection::vec((0u8..4, 0i64..200), 0..40),
            shuffled in any::<prop::sample::Index>(),
            now in 0i64..300,
        ) {
            let mut other = files.clone();
            other.rotate_left(shuffled.index(files.len().max(1)));
            other.extend(files.iter().rev().take(5));
            prop_assert_eq!(watermark(&files).at(minute(now)), watermark(&other).at(minute(now)));
        }

        #[test]
        fn it_lies_between_the_idle_bound_and_the_clock_and_never_goes_back_with_it(
            files in prop::collection::vec((0u8..4, 0i64..200), 0..40),
            now in 0i64..300,
            later in 0i64..100,
        ) {
            let watermark = watermark(&files);
            let (at, then) = (watermark.at(minute(now)), watermark.at(minute(now + later)));
            prop_assert!(minute(now - 30) <= at && at <= minute(now));
            prop_assert!(at <= then);
        }

        #[test]
        fn no_flow_log_that_is_not_idle_is_behind_it(
            files in prop::collection::vec((0u8..4, 0i64..200), 0..40),
            now in 0i64..300,
        ) {
            let watermark = watermark(&files);
            let at = watermark.at(minute(now));
            for log in 0u8..4 {
                let newest = files.iter().filter(|(other, _)| *other == log).map(|(_, time)| *time).max();
                prop_assert!(newest.is_none_or(|newest| newest <= now - 30 || at <= minute(newest)));
            }
        }
    }
}

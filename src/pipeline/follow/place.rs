//! Where a follower is: what it looks at next, and which windows it leaves alone for a while. Everything here can be lost:
//! a follower that begins looks at everything.

use super::Options;
use super::beyond::Late;
use crate::clock::Timestamp;
use crate::digest::{Cadences, LOOKBACK};
use crate::source::Object;
use crate::window::Window;
use chrono::{NaiveDate, TimeDelta};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a round lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All times within the horizon.
    Horizon,
    /// Those that open windows reach.
    Recent,
}

/// The longest pause before a window that fails is tried again.
const PAUSE_MAX: TimeDelta = TimeDelta::minutes(15);

#[derive(Debug)]
pub(super) struct Place {
    /// No window that begins before this changes by itself any more.
    pub(super) open_from: Timestamp,
    horizon_due: Timestamp,
    list_due: Timestamp,
    /// When to look beyond the horizon again.
    pub(super) beyond_due: Timestamp,
    /// What was too late when that was last done, by the day of the file times; `None` if it was not done yet.
    pub(super) late: Option<BTreeMap<NaiveDate, Late>>,
    /// How often flow logs deliver, by all that was stamped `known_from` or later.
    cadences: Arc<Cadences>,
    known_from: Timestamp,
    /// When windows that failed are tried again, and how often they have failed.
    failures: BTreeMap<Window, (Timestamp, i32)>,
    news: News,
}

/// Whether objects come.
#[derive(Debug)]
struct News {
    /// Since when it is looked.
    began: Timestamp,
    /// When a new object was last seen; while none was, file time of the newest one; before the first look, nothing.
    seen: Option<Timestamp>,
    /// Whether it was reported that none comes.
    is_told: bool,
}

impl Place {
    pub(super) fn new(now: Timestamp) -> Place {
        let due = Timestamp::MIN_UTC;
        let news = News { began: now, seen: None, is_told: false };
        Place {
            open_from: now,
            horizon_due: due,
            list_due: due,
            beyond_due: due,
            late: None,
            cadences: Arc::default(),
            known_from: Timestamp::MAX_UTC,
            failures: BTreeMap::new(),
            news,
        }
    }

    /// What to list now, if anything: a follower that is told of objects lists seldom.
    pub(super) fn look(&self, now: Timestamp, is_told: bool) -> Option<Look> {
        match now >= self.horizon_due {
            true => Some(Look::Horizon),
            false => (!is_told || now >= self.list_due).then_some(Look::Recent),
        }
    }

    /// From where on to list for windows that objects reach from `reached` on: from earlier, unless it is known how often
    /// flow logs delivered before.
    pub(super) fn list_from(&self, reached: Timestamp) -> Timestamp {
        let before = reached - LOOKBACK;
        if self.known_from <= before { reached } else { before }
    }

    /// Takes note of all objects from `start` on, listed for windows that objects reach from `reached` on. Returns how
    /// often flow logs deliver.
    pub(super) fn listed(&mut self, start: Timestamp, reached: Timestamp, objects: &[Arc<Object>]) -> Arc<Cadences> {
        let cadences = Arc::make_mut(&mut self.cadences);
        objects.iter().for_each(|object| cadences.observe(&object.name));
        let before = reached - LOOKBACK;
        cadences.forget(before);
        self.known_from = self.known_from.min(start).max(before);
        self.cadences.clone()
    }

    /// A listing is done, and what came of it published; it began at `now`.
    pub(super) fn looked(&mut self, look: Look, now: Timestamp, options: &Options) {
        if look == Look::Horizon {
            self.horizon_due = now + options.reconcile_every;
        }
        self.list_due = now + options.list_every;
    }

    /// Lets the next round list the source.
    pub(super) fn list_next(&mut self) {
        self.list_due = Timestamp::MIN_UTC;
    }

    /// Whether a window failed a short while ago.
    pub(super) fn is_paused(&self, window: &Window, now: Timestamp) -> bool {
        self.failures.get(window).is_some_and(|(until, _)| now < *until)
    }

    /// Takes note of how the building of a window ended; the pause doubles from one round to [`PAUSE_MAX`].
    pub(super) fn ended(&mut self, window: Window, is_built: bool, now: Timestamp, options: &Options) {
        if is_built {
            self.failures.remove(&window);
            return;
        }
        let (until, failures) = self.failures.entry(window).or_insert((now, 0));
        let pause = options.publish_every.checked_mul(1 << *failures).map_or(PAUSE_MAX, |pause| pause.min(PAUSE_MAX));
        (*until, *failures) = (now + pause, (*failures + 1).min(12));
    }

    /// Windows that failed at the last try.
    pub(super) fn failed(&self) -> u64 {
        self.failures.len() as u64
    }

    /// Forgets what was of windows before an instant.
    pub(super) fn forget(&mut self, before: Timestamp) {
        self.failures.retain(|window, _| window.start() >= before);
    }

    /// Takes note that there was a new object, or none, or that nobody could look; `newest` is the file time of the newest of
    /// all. Returns since when there is none, once, if that is too long.
    ///
    /// A follower that begins does not know when it came: its file time stands for that, so that a silence is reported
    /// however often followers begin anew, and as since the same time. One that could never look knows only since when.
    pub(super) fn news(
        &mut self,
        is_new: Option<bool>,
        newest: Option<Timestamp>,
        now: Timestamp,
        canary: Option<TimeDelta>,
    ) -> Option<Timestamp> {
        let News { began, seen, is_told } = &mut self.news;
        *seen = match (*seen, is_new) {
            (None, Some(_)) => Some(newest.map_or(*began, |newest| newest.min(now))),
            (Some(_), Some(true)) => Some(now),
            (seen, _) => seen,
        };
        *is_told &= is_new != Some(true);
        let is_due = !*is_told && canary.is_some_and(|canary| now - seen.unwrap_or(*began) >= canary);
        *is_told |= is_due;
        is_due.then(|| seen.and(newest).or(*seen).unwrap_or(*began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    #[test]
    fn the_horizon_is_looked_at_first_and_then_now_and_again() {
        let (mut place, options) = (Place::new(minute(0)), Options::default());
        assert_eq!(place.look(minute(0), true), Some(Look::Horizon));
        place.looked(Look::Horizon, minute(0), &options);
        assert_eq!(place.look(minute(1), false), Some(Look::Recent));
        assert_eq!(place.look(minute(4), true), None);
        assert_eq!(place.look(minute(5), true), Some(Look::Recent));
        place.looked(Look::Recent, minute(5), &options);
        assert_eq!(place.look(minute(9), true), None);
        place.list_next();
        assert_eq!(place.look(minute(9), true), Some(Look::Recent));
        assert_eq!(place.look(minute(15), true), Some(Look::Horizon));
    }

    #[test]
    fn what_flow_logs_delivered_before_is_listed_once() {
        let mut place = Place::new(minute(0));
        assert_eq!(place.list_from(minute(100)), minute(40), "nothing is known");
        place.listed(minute(40), minute(100), &[]);
        assert_eq!(place.list_from(minute(100)), minute(100));
        place.listed(minute(100), minute(100), &[]);
        assert_eq!(place.list_from(minute(110)), minute(110));
        assert_eq!(place.list_from(minute(90)), minute(30), "a window of before is open again");
        place.listed(minute(110), minute(110), &[]);
        assert_eq!(place.list_from(minute(100)), minute(40), "what no window needed is forgotten");
    }

    #[test]
    fn a_window_that_fails_is_left_alone_for_longer_and_longer() {
        let (mut place, options) = (Place::new(minute(0)), Options::default());
        let window = Window::new(minute(0), minute(60)).unwrap();
        let mut now = minute(60);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            place.ended(window, false, now, &options);
            let began = now;
            while place.is_paused(&window, now) {
                now += TimeDelta::seconds(30);
            }
            pauses.push((now - began).num_seconds());
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900, 900]);
        place.ended(window, true, now, &options);
        assert!(!place.is_paused(&window, now) && place.failed() == 0);
    }

    #[test]
    fn a_silence_is_reported_once() {
        let mut place = Place::new(minute(0));
        let canary = Some(TimeDelta::minutes(10));
        let mut news =
            |is_new, newest, now, canary| place.news(Some(is_new), Some(minute(newest)), minute(now), canary);
        assert_eq!(news(true, -2, 0, canary), None);
        assert_eq!(news(false, -2, 7, canary), None);
        assert_eq!(news(false, -2, 8, canary), Some(minute(-2)));
        assert_eq!(news(false, -2, 30, canary), None);
        assert_eq!(news(true, 25, 31, canary), None, "it came just now");
        assert_eq!(news(false, 25, 40, canary), None);
        assert_eq!(news(false, 25, 41, canary), Some(minute(25)));
        assert_eq!(news(false, 25, 500, None), None);
    }

    #[test]
    fn a_silence_is_reported_though_followers_begin_anew() {
        let canary = Some(TimeDelta::minutes(10));
        let silent = |now| Place::new(minute(now)).news(Some(true), Some(minute(-2)), minute(now), canary);
        assert_eq!([0, 4, 8, 12].map(silent), [None, None, Some(minute(-2)), Some(minute(-2))]);
        let mut place = Place::new(minute(0));
        assert_eq!(place.news(Some(false), None, minute(0), canary), None, "nothing was ever there");
        assert_eq!(place.news(Some(false), None, minute(10), canary), Some(minute(0)));
    }

    #[test]
    fn a_silence_is_reported_though_nobody_can_look() {
        let canary = Some(TimeDelta::minutes(10));
        let mut place = Place::new(minute(0));
        assert_eq!(place.news(Some(true), Some(minute(-2)), minute(0), canary), None);
        assert_eq!(place.news(Some(true), Some(minute(1)), minute(3), canary), None);
        assert_eq!(place.news(None, Some(minute(1)), minute(12), canary), None);
        assert_eq!(place.news(None, Some(minute(1)), minute(13), canary), Some(minute(1)));
        assert_eq!(place.news(None, Some(minute(1)), minute(30), canary), None, "once");
        let mut place = Place::new(minute(0));
        assert_eq!(place.news(None, None, minute(9), canary), None);
        assert_eq!(place.news(None, Some(minute(-60)), minute(10), canary), Some(minute(0)), "others may have looked");
        let mut place = Place::new(minute(0));
        assert_eq!(place.news(None, None, minute(1), canary), None);
        let found = place.news(Some(true), Some(minute(-60)), minute(2), canary);
        assert_eq!(found, Some(minute(-60)), "what is found at last may be old");
    }
}

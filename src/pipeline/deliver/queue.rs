//! What is due, in memory: which deliveries of each report wait, and for how long those wait that failed, with their
//! messages as far as there is room. In: ids. Out: the next one. What is due for good is in the store; this is found again
//! from there.

use super::message::Message;
use super::record::{Item, Versions};
use crate::clock::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// First pause of a delivery or a receiver that failed; doubled after each further failure.
const PAUSE: Duration = Duration::from_secs(5);
/// What messages that were not taken may occupy, of one report: some hundreds of 100 rows each.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// The deliveries of one report that are due.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By their age: the oldest is told first.
    due: BTreeMap<(Timestamp, Item), Due>,
    /// Of the receiver.
    down: Pause,
    /// Why it did not take a message, as it was told last; none since it took one.
    reason: Option<String>,
}

#[derive(Debug)]
struct Due {
    /// Since when it waits.
    since: Instant,
    /// When it was last begun.
    tried: Option<Instant>,
    pause: Pause,
    /// Why it was not taken.
    reason: Option<String>,
    kept: Option<Arc<Kept>>,
    /// Whether it was added since it was begun: then it is not told by what is told now.
    is_renewed: bool,
}

/// A message that was made and not taken.
#[derive(Debug)]
pub(super) struct Kept {
    /// What was compared for it.
    pub(super) versions: Versions,
    pub(super) message: Message,
    /// About how much memory it occupies.
    pub(super) bytes: usize,
}

/// Until when somebody is left alone, after so many failures in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    until: Option<Instant>,
    failures: u32,
}

impl Pause {
    fn after_failure(self, longest: Duration, wanted: Option<Duration>) -> Pause {
        let until = Instant::now().checked_add(self.length(longest, wanted));
        Pause { until, failures: self.failures.saturating_add(1) }
    }

    fn length(self, longest: Duration, wanted: Option<Duration>) -> Duration {
        PAUSE.saturating_mul(2u32.saturating_pow(self.failures)).min(longest).max(wanted.unwrap_or_default())
    }
}

impl Due {
    fn after(rest: Duration) -> Due {
        let pause = Pause { until: Instant::now().checked_add(rest), failures: 0 };
        Due { since: Instant::now(), tried: None, pause, reason: None, kept: None, is_renewed: true }
    }
}

impl Queue {
    /// Puts a delivery in its place; if it is a new one, it is left alone for `rest` first.
    pub(super) fn add(&self, time: Timestamp, item: Item, rest: Duration) {
        self.lock().due.entry((time, item)).or_insert_with(|| Due::after(rest)).is_renewed = true;
        self.added.notify_one();
    }

    /// Begins to tell a delivery.
    pub(super) fn begin(&self, time: Timestamp, item: Item) {
        if let Some(due) = self.lock().due.get_mut(&(time, item)) {
            due.is_renewed = false;
            due.tried = Some(Instant::now());
        }
    }

    /// Takes out a delivery that was told, or is no more; unless it was added again meanwhile.
    pub(super) fn remove(&self, time: Timestamp, item: Item) {
        let mut state = self.lock();
        (state.down, state.reason) = (Pause::default(), None);
        match state.due.get_mut(&(time, item)) {
            Some(due) if due.is_renewed => *due = Due::after(Duration::ZERO),
            _ => drop(state.due.remove(&(time, item))),
        }
    }

    /// Leaves a delivery alone for a while, and the receiver if it is down. When that is over another delivery is tried,
    /// the one that was not for the longest time: whether the receiver is down or takes one message alone badly, nobody
    /// knows before.
    pub(super) fn pause(
        &self,
        time: Timestamp,
        item: Item,
        is_down: bool,
        longest: Duration,
        wanted: Option<Duration>,
    ) {
        let mut state = self.lock();
        state.down = match is_down {
            true => state.down.after_failure(longest, wanted),
            false => Pause::default(),
        };
        if let Some(due) = state.due.get_mut(&(time, item)) {
            due.pause = due.pause.after_failure(longest, wanted.filter(|_| !is_down));
        }
    }

    /// Leaves a delivery alone for so long that was not sent.
    pub(super) fn postpone(&self, time: Timestamp, item: Item, pause: Duration) {
        if let Some(due) = self.lock().due.get_mut(&(time, item)) {
            due.pause.until = Instant::now().checked_add(pause);
        }
    }

    /// Likewise for longer each time.
    pub(super) fn postpone_longer(&self, time: Timestamp, item: Item, longest: Duration) {
        if let Some(due) = self.lock().due.get_mut(&(time, item)) {
            due.pause = due.pause.after_failure(longest, None);
        }
    }

    /// Keeps a message that was not taken, if there is room for it.
    pub(super) fn keep(&self, time: Timestamp, item: Item, kept: Kept) {
        let mut state = self.lock();
        let others = state.due.iter().filter(|(place, _)| **place != (time, item));
        let occupied: usize = others.filter_map(|(_, due)| due.kept.as_ref()).map(|kept| kept.bytes).sum();
        if let Some(due) = state.due.get_mut(&(time, item)) {
            due.kept = (occupied.saturating_add(kept.bytes) <= KEPT_BYTES_MAX).then(|| Arc::new(kept));
        }
    }

    /// The message of a delivery that was not taken, if it was kept.
    pub(super) fn kept(&self, time: Timestamp, item: Item) -> Option<Arc<Kept>> {
        self.lock().due.get(&(time, item))?.kept.clone()
    }

    /// Takes note of why a delivery was not taken. Returns whether that is news: neither was this one refused for the same
    /// reason before, nor did the receiver give it last.
    pub(super) fn is_news(&self, time: Timestamp, item: Item, reason: &str) -> bool {
        let mut state = self.lock();
        let Some(due) = state.due.get_mut(&(time, item)) else { return true };
        let is_known = due.reason.replace(reason.to_owned()).is_some_and(|before| before == reason);
        let is_news = !is_known && state.reason.as_deref() != Some(reason);
        if is_news {
            state.reason = Some(reason.to_owned());
        }
        is_news
    }

    /// How many are due.
    pub(super) fn len(&self) -> usize {
        self.lock().due.len()
    }

    /// For how long the one has been due that waits longest.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        self.lock().due.values().map(|due| due.since).min().map(|since| since.elapsed())
    }

    /// All that are due, the oldest first.
    pub(super) fn all(&self) -> Vec<(Timestamp, Item)> {
        self.lock().due.keys().copied().collect()
    }

    /// Waits for the next that may be told.
    pub(super) async fn next(&self) -> (Timestamp, Item) {
        loop {
            let wake = {
                let state = self.lock();
                let now = Instant::now();
                let is_reached = |until: &Option<Instant>| until.is_none_or(|until| until <= now);
                let is_ready = |due: &Due| is_reached(&due.pause.until.max(state.down.until));
                // Those that failed come after those that were not tried, the one that was tried last at the end.
                let ready = state.due.iter().filter(|(_, due)| is_ready(due)).map(|(place, due)| (due.tried, *place));
                if let Some((_, place)) = ready.min() {
                    return place;
                }
                state.due.values().filter_map(|due| due.pause.until.max(state.down.until)).min()
            };
            let sleep = async {
                match wake {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.added.notified() => {}
                () = sleep => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(hour: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(hour * 3600, 0).unwrap()
    }

    #[tokio::test]
    async fn the_oldest_window_goes_first_and_one_that_is_refused_lets_others_pass() {
        let queue = Queue::default();
        let id = |id| Item::Comparison(Uuid::from_u128(id));
        queue.add(at(2), id(2), Duration::ZERO);
        queue.add(at(1), id(1), Duration::ZERO);
        assert_eq!(queue.next().await, (at(1), id(1)));
        queue.pause(at(1), id(1), false, Duration::from_secs(60), None);
        assert_eq!(queue.next().await, (at(2), id(2)));
        queue.begin(at(2), id(2));
        queue.add(at(2), id(2), Duration::ZERO);
        queue.remove(at(2), id(2));
        assert_eq!(queue.next().await, (at(2), id(2)), "it became due again while it was told");
        queue.begin(at(2), id(2));
        queue.remove(at(2), id(2));
        let next = std::pin::pin!(queue.next());
        assert!(futures::poll!(next).is_pending());
        assert_eq!(queue.len(), 1);
    }

    #[tokio::test]
    async fn a_delivery_waits_from_when_it_is_due_until_it_is_told() {
        let queue = Queue::default();
        assert_eq!(queue.longest_wait(), None);
        let (one, other) = (Item::Comparison(Uuid::from_u128(1)), Item::Notice(Uuid::from_u128(2)));
        let (short, first) = (Duration::from_millis(20), Instant::now());
        queue.add(at(1), one, Duration::ZERO);
        tokio::time::sleep(short).await;
        let second = Instant::now();
        queue.add(at(2), other, Duration::ZERO);
        queue.add(at(1), one, Duration::ZERO);
        let wait = queue.longest_wait().unwrap();
        assert!(wait >= short && wait <= first.elapsed(), "it was due before");
        queue.begin(at(1), one);
        queue.remove(at(1), one);
        assert!(queue.longest_wait().unwrap() <= second.elapsed());
        tokio::time::sleep(short).await;
        queue.begin(at(2), other);
        let third = Instant::now();
        queue.add(at(2), other, Duration::ZERO);
        queue.remove(at(2), other);
        assert!(queue.longest_wait().unwrap() <= third.elapsed(), "what waits became due while it was told");
    }

    #[tokio::test]
    async fn where_the_receiver_is_down_all_wait() {
        let queue = Queue::default();
        let (one, other) = (Item::Comparison(Uuid::from_u128(1)), Item::Notice(Uuid::from_u128(2)));
        queue.add(at(1), one, Duration::ZERO);
        queue.add(at(2), other, Duration::ZERO);
        queue.pause(at(1), one, true, Duration::from_secs(60), None);
        assert!(futures::poll!(std::pin::pin!(queue.next())).is_pending());
        queue.begin(at(1), one);
        queue.remove(at(1), one);
        assert_eq!(queue.next().await, (at(2), other), "it took one after all");
    }

    #[tokio::test]
    async fn while_the_receiver_is_down_each_is_tried_in_turn() {
        let queue = Queue::default();
        let item = |id| (at(id), Item::Comparison(Uuid::from_u128(id as u128)));
        for id in 1..=3 {
            queue.add(item(id).0, item(id).1, Duration::ZERO);
        }
        let mut tried = Vec::new();
        for _ in 0..7 {
            let (time, item) = queue.next().await;
            queue.begin(time, item);
            queue.pause(time, item, true, Duration::from_millis(2), None);
            tried.push(time.timestamp() / 3600);
        }
        assert_eq!(tried, [1, 2, 3, 1, 2, 3, 1]);
    }

    #[test]
    fn a_reason_is_news_until_it_is_told() {
        let queue = Queue::default();
        let item = |id| (at(id), Item::Comparison(Uuid::from_u128(id as u128)));
        for id in 1..=3 {
            queue.add(item(id).0, item(id).1, Duration::ZERO);
        }
        let is_news = |id, reason| queue.is_news(item(id).0, item(id).1, reason);
        assert!(is_news(1, "404") && !is_news(2, "404") && !is_news(1, "404"));
        assert!(is_news(1, "500") && !is_news(1, "500"));
        queue.begin(item(3).0, item(3).1);
        queue.remove(item(3).0, item(3).1);
        assert!(!is_news(1, "500"), "it took another one, and this one still not");
        queue.add(item(3).0, item(3).1, Duration::ZERO);
        assert!(is_news(3, "500"));
    }

    #[test]
    fn pauses_grow_up_to_the_longest_or_as_long_as_is_wanted() {
        let longest = Duration::from_secs(30);
        let mut pause = Pause::default();
        for (wanted, seconds) in [(None, 5), (None, 10), (Some(90), 90), (None, 30), (None, 30)] {
            assert_eq!(pause.length(longest, wanted.map(Duration::from_secs)).as_secs(), seconds);
            pause = pause.after_failure(longest, None);
        }
    }
}

//! S3's event notifications from a queue: which objects have just been created. In: messages of SQS. Out: flow-log
//! objects of one source, each with the handle that lets its message go.
//!
//! Notifications only lower the delay: they come late, twice, or not at all, and a listing behind them finds what they
//! did not tell. So nothing here fails for good: trouble is logged, counted, and tried again.
//!
//! A message is deleted once its [`Ack`] says that what its objects did is durable. One that tells of nothing wanted (test
//! events, removals, other buckets, keys that are no flow logs) is counted and deleted. One that cannot be read is counted,
//! logged by its id and left: it comes again until the queue's redrive policy takes it away.

mod event;
mod held;

pub use held::Ack;

use super::{Object, ObjectName, Options as Listing, Selection};
use crate::aws::{Message, QUEUE_BATCH, Queue};
use crate::error::{Error, Result};
use crate::meters;
use chrono::TimeDelta;
use event::Created;
use held::Held;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long an empty queue is asked: one that is not asked to wait answers for some of its servers alone, see "Short and long
/// polling", Amazon SQS Developer Guide.
const EMPTY_WAIT: TimeDelta = TimeDelta::seconds(1);

/// Where notifications come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// URL of the queue; without one the source is only listed.
    pub queue_url: Option<String>,
    /// Region of the queue; default: as its URL says, else as configured for AWS.
    pub queue_region: Option<String>,
    /// Where SQS is asked; default: the server that the queue's URL names.
    pub queue_endpoint_url: Option<String>,
    /// Messages received and not let go yet, at the most; default 1000.
    pub queue_messages_max: usize,
    /// How long the queue gives a message to nobody else, extended while its objects are worked on; default 5 minutes. One
    /// whose holder died comes again after it.
    #[serde(with = "crate::config::duration")]
    pub visibility_timeout: TimeDelta,
    /// How long a request waits for messages; default and most 20 seconds. Shorter ones cost more requests.
    #[serde(with = "crate::config::duration")]
    pub poll_wait: TimeDelta,
    /// Longest pause after a failed request; default 1 minute. Pauses are random and grow up to it.
    #[serde(with = "crate::config::duration")]
    pub backoff_max: TimeDelta,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            queue_url: None,
            queue_region: None,
            queue_endpoint_url: None,
            queue_messages_max: 1000,
            visibility_timeout: TimeDelta::minutes(5),
            poll_wait: TimeDelta::seconds(20),
            backoff_max: TimeDelta::minutes(1),
        }
    }
}

impl Options {
    /// Checks what can be checked without asking the queue.
    ///
    /// # Errors
    /// `Invalid`, naming the setting that is out of its range.
    pub fn check(&self) -> Result<()> {
        let range = |name: &str, value: TimeDelta, least: i64, most: TimeDelta| {
            if (TimeDelta::seconds(least)..=most).contains(&value) {
                return Ok(());
            }
            let most = most.num_seconds();
            Err(Error::invalid(format!("notifications.{name} is {} s, not {least} to {most} s", value.num_seconds())))
        };
        range("visibility_timeout", self.visibility_timeout, 2, TimeDelta::hours(12))?;
        range("poll_wait", self.poll_wait, 0, TimeDelta::seconds(20))?;
        range("backoff_max", self.backoff_max, 0, TimeDelta::hours(1))?;
        match self.queue_messages_max {
            0 => Err(Error::invalid("notifications.queue_messages_max is 0").with_hint("give it a positive number")),
            _ => Ok(()),
        }
    }
}

/// Objects that one message tells of, and what lets the message go.
#[derive(Debug)]
pub struct Received {
    /// The flow-log objects of the source, at least one.
    pub objects: Vec<Arc<Object>>,
    /// To be called once what they do is durable. Dropped, the message comes again.
    pub ack: Ack,
}

/// What was received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages received, those that came again included.
    pub messages: u64,
    /// Flow-log objects of the source that they told of.
    pub objects: u64,
    /// Events of other kinds than the creation of an object.
    pub other_events: u64,
    /// Objects in other buckets or outside of the source's prefix, accounts and regions.
    pub foreign: u64,
    /// Keys that are no flow-log keys.
    pub other_keys: u64,
    /// Objects in the folder of another day or hour than the time in their name: no listing of their time finds them.
    pub misfiled: u64,
    /// Messages that could not be read, counted each time they come.
    pub malformed: u64,
    /// Messages that were let go.
    pub deleted: u64,
    /// Requests to the queue that failed.
    pub failures: u64,
}

impl Figures {
    /// Counts them in the metrics.
    pub fn count(&self) {
        let Figures { messages, objects, other_events, foreign, other_keys, misfiled, malformed, deleted, failures } =
            *self;
        let events = &[
            ("taken", objects),
            ("foreign", foreign),
            ("other_key", other_keys),
            ("misfiled", misfiled),
            ("other_event", other_events),
            ("malformed", malformed),
        ];
        meters::notified(&meters::Notified { messages, events, deleted, failures });
    }
}

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    objects: AtomicU64,
    other_events: AtomicU64,
    foreign: AtomicU64,
    other_keys: AtomicU64,
    misfiled: AtomicU64,
    malformed: AtomicU64,
    deleted: AtomicU64,
    failures: AtomicU64,
}

/// The place whose objects are wanted.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its bucket.
    pub bucket: String,
    /// Prefix of its keys; empty for the whole bucket.
    pub root: Path,
    /// Which accounts and regions are looked at.
    pub listing: Listing,
}

/// The notifications of one source.
#[derive(Debug)]
pub struct Notifications {
    queue: Arc<Queue>,
    place: Place,
    options: Options,
    counts: Arc<Counts>,
    slots: Arc<Semaphore>,
    held: Held,
}

impl Notifications {
    /// Takes the notifications of `queue` that tell of objects in `place`. Nothing is asked yet.
    ///
    /// # Errors
    /// `Invalid` if an option is out of its range.
    pub fn new(queue: Queue, place: Place, options: &Options) -> Result<Notifications> {
        options.check()?;
        let (queue, counts) = (Arc::new(queue), Arc::<Counts>::default());
        let slots = Arc::new(Semaphore::new(options.queue_messages_max.min(Semaphore::MAX_PERMITS)));
        let held = Held::new(queue.clone(), options.visibility_timeout, counts.clone());
        Ok(Notifications { queue, place, options: options.clone(), counts, slots, held })
    }

    /// Waits for messages that tell of objects that are wanted; while as many are held as may be, until one is let go.
    ///
    /// It may be dropped at any time: what had been received then comes again. It does not fail: where the queue cannot be
    /// asked, that is logged, and tried again after a while.
    pub async fn next(&self) -> Vec<Received> {
        let mut pauses = Pauses::new(self.options.backoff_max);
        loop {
            // One is waited for, up to nine more are taken if there is room.
            let first = self.slots.clone().acquire_owned().await.ok();
            let slots = self.free_slots(first);
            let received = match self.receive(slots, self.options.poll_wait).await {
                Ok((_, received)) => received,
                Err(error) => {
                    self.failed(&error);
                    tokio::time::sleep(pauses.next()).await;
                    continue;
                }
            };
            pauses = Pauses::new(self.options.backoff_max);
            if !received.is_empty() {
                return received;
            }
        }
    }

    /// What is in the queue now: all until an answer is empty, or until as many messages are held as may be. If the queue
    /// cannot be asked, that is logged.
    pub async fn waiting(&self) -> Vec<Received> {
        let mut waiting = Vec::new();
        loop {
            let slots = self.free_slots(None);
            if slots.is_empty() {
                return waiting;
            }
            match self.receive(slots, EMPTY_WAIT).await {
                Ok((0, _)) => return waiting,
                Ok((_, received)) => waiting.extend(received),
                Err(error) => {
                    self.failed(&error);
                    return waiting;
                }
            }
        }
    }

    /// Deletes the messages that were let go.
    pub async fn flush(&self) {
        self.held.flush().await;
    }

    /// Deletes the messages that were let go, and returns what was received in all. Those that are still held come again.
    pub async fn close(self) -> Figures {
        self.flush().await;
        self.figures()
    }

    /// What was received so far.
    pub fn figures(&self) -> Figures {
        let Counts { messages, objects, other_events, foreign, other_keys, misfiled, malformed, deleted, failures } =
            &*self.counts;
        let count = |count: &AtomicU64| count.load(Relaxed);
        Figures {
            messages: count(messages),
            objects: count(objects),
            other_events: count(other_events),
            foreign: count(foreign),
            other_keys: count(other_keys),
            misfiled: count(misfiled),
            malformed: count(malformed),
            deleted: count(deleted),
            failures: count(failures),
        }
    }

    fn failed(&self, error: &Error) {
        self.counts.failures.fetch_add(1, Relaxed);
        tracing::warn!(error = error.copy().to_string(), "no notifications; the source is listed still");
    }

    /// Room for a batch of messages, as far as there is any, `first` included.
    fn free_slots(&self, first: Option<OwnedSemaphorePermit>) -> Vec<OwnedSemaphorePermit> {
        let mut slots: Vec<_> = first.into_iter().collect();
        while slots.len() < QUEUE_BATCH
            && let Ok(slot) = self.slots.clone().try_acquire_owned()
        {
            slots.push(slot);
        }
        slots
    }

    /// Asks once for as many messages as there are slots; returns how many came, and those that are wanted.
    async fn receive(&self, slots: Vec<OwnedSemaphorePermit>, wait: TimeDelta) -> Result<(usize, Vec<Received>)> {
        let messages = self.queue.receive(slots.len(), wait, self.options.visibility_timeout).await?;
        let count = messages.len();
        self.counts.messages.fetch_add(messages.len() as u64, Relaxed);
        let mut received = Vec::new();
        for (message, slot) in messages.into_iter().zip(slots) {
            match self.read(&message) {
                Ok(objects) if objects.is_empty() => self.held.hold(message.receipt, slot).done(),
                Ok(objects) => received.push(Received { objects, ack: self.held.hold(message.receipt, slot) }),
                Err(why) => {
                    self.counts.malformed.fetch_add(1, Relaxed);
                    tracing::warn!(
                        message = message.id,
                        queue = self.queue.url(),
                        why,
                        "a message that cannot be read"
                    );
                }
            }
        }
        Ok((count, received))
    }

    fn read(&self, message: &Message) -> Result<Vec<Arc<Object>>, String> {
        let notice = event::parse(&message.body)?;
        self.counts.other_events.fetch_add(notice.others, Relaxed);
        let objects: Vec<_> =
            notice.created.into_iter().filter_map(|created| self.wanted(created)).map(Arc::new).collect();
        self.counts.objects.fetch_add(objects.len() as u64, Relaxed);
        Ok(objects)
    }

    fn wanted(&self, Created { bucket, key, size, etag }: Created) -> Option<Object> {
        let Place { bucket: wanted_bucket, root, listing } = &self.place;
        let count = |count: &AtomicU64| {
            count.fetch_add(1, Relaxed);
            None
        };
        let Some(location) = Path::parse(&key).ok().filter(|_| bucket == *wanted_bucket) else {
            return count(if bucket == *wanted_bucket { &self.counts.other_keys } else { &self.counts.foreign });
        };
        if !location.prefix_matches(root) {
            return count(&self.counts.foreign);
        }
        match ObjectName::parse(location.as_ref()) {
            None => count(&self.counts.other_keys),
            Some(name) if !Selection::default().within(listing).wants(&name) => count(&self.counts.foreign),
            Some(name) if name.is_misdated(location.as_ref()) => {
                tracing::warn!(%location, "an object in the folder of another time is not taken up");
                count(&self.counts.misfiled)
            }
            Some(name) => Some(Object { location, size, etag, name }),
        }
    }
}

/// Random pauses that grow up to a longest one.
struct Pauses(backon::ExponentialBackoff);

impl Pauses {
    fn new(longest: TimeDelta) -> Pauses {
        use backon::BackoffBuilder;
        let longest = longest.to_std().unwrap_or_default();
        let builder = backon::ExponentialBuilder::default().with_jitter().without_max_times();
        Pauses(builder.with_min_delay(Duration::from_secs(1).min(longest)).with_max_delay(longest).build())
    }

    fn next(&mut self) -> Duration {
        self.0.next().unwrap_or_default()
    }
}

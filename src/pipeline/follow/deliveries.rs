//! Which windows something is to be delivered of, and that it is: at least once for the newest final version of each,
//! whatever ends in between. What was delivered is known from a journal in the store.

use super::Tell;
use super::event::{Event, Sink};
use super::status::Status;
use crate::catalog::{Catalog, Journal, State};
use crate::clock::Timestamp;
use crate::error::{ErrorKind, Result};
use crate::window::Window;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause after the first failure; doubled after each further one.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Events that are told once and may wait for it.
const NOTICES_MAX: usize = 64;

/// An entry of the journal `closings`, one line for each window: the version that was delivered last.
#[derive(Debug, Serialize, Deserialize)]
struct Delivered {
    version: u64,
}

/// What is still to be delivered.
pub(super) struct Deliveries {
    catalog: Catalog,
    journal: Journal,
    sink: Arc<dyn Sink>,
    tell: Tell,
    status: Arc<Status>,
    waiting: Mutex<Waiting>,
    added: Notify,
}

/// Invariant: `delivered` holds windows within the horizon alone, see [`Deliveries::forget`].
#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Event>,
    /// When each window is due, and how often it has failed.
    windows: BTreeMap<Window, (Option<Instant>, u32)>,
    /// Versions known to be delivered.
    delivered: BTreeMap<Window, u64>,
}

impl Deliveries {
    pub(super) fn new(catalog: &Catalog, sink: Arc<dyn Sink>, tell: Tell, status: Arc<Status>) -> Deliveries {
        let (catalog, journal) = (catalog.clone(), Journal::new(catalog, "closings"));
        Deliveries { catalog, journal, sink, tell, status, waiting: Mutex::default(), added: Notify::new() }
    }

    /// Sees to it that the final version of a window is delivered, unless it is known to be.
    pub(super) fn add(&self, window: Window, version: u64) {
        let mut waiting = self.lock();
        if waiting.delivered.get(&window) != Some(&version) {
            waiting.windows.entry(window).or_default();
            self.count(&waiting);
            self.added.notify_one();
        }
    }

    /// Tells the sink of an event once. If too many wait, the oldest is dropped, and that is logged.
    pub(super) fn notice(&self, event: Event) {
        let mut waiting = self.lock();
        if waiting.notices.len() == NOTICES_MAX {
            let dropped = waiting.notices.pop_front();
            tracing::warn!(?dropped, "too many events wait for delivery");
        }
        waiting.notices.push_back(event);
        self.added.notify_one();
    }

    /// Forgets what was delivered of windows before an instant: nobody asks again.
    pub(super) fn forget(&self, before: Timestamp) {
        self.lock().delivered.retain(|window, _| window.start() >= before);
    }

    /// Delivers, the oldest window first, until `done`.
    pub(super) async fn run(&self, done: &CancellationToken) {
        while !done.is_cancelled() {
            self.notices().await;
            let due = self.lock().windows.iter().map(|(window, (due, _))| (*due, *window)).min();
            match due {
                Some((due, window)) if due.is_none_or(|due| due <= Instant::now()) => self.try_deliver(window).await,
                due => {
                    let wake = async {
                        match due.and_then(|(due, _)| due) {
                            Some(due) => tokio::time::sleep_until(due).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = done.cancelled() => {}
                        () = self.added.notified() => {}
                        () = wake => {}
                    }
                }
            }
        }
    }

    /// Tries everything that waits once; returns how many windows are left.
    pub(super) async fn settle(&self) -> usize {
        self.notices().await;
        let windows: Vec<Window> = self.lock().windows.keys().copied().collect();
        for window in windows {
            self.try_deliver(window).await;
        }
        self.lock().windows.len()
    }

    async fn notices(&self) {
        loop {
            let Some(event) = self.lock().notices.pop_front() else { break };
            if let Err(error) = self.sink.deliver(&event).await {
                tracing::warn!(?event, error = error.copy().to_string(), "an event could not be delivered");
            }
        }
    }

    async fn try_deliver(&self, window: Window) {
        let delivered = self.deliver(&window).await;
        let (start, stop) = (window.start(), window.stop());
        let mut waiting = self.lock();
        match delivered {
            Ok(version) => {
                waiting.windows.remove(&window);
                if let Some((version, is_new)) = version {
                    waiting.delivered.insert(window, version);
                    if is_new {
                        self.status.update(|facts| facts.delivered += 1);
                        (self.tell)(&Event::Delivered { start, stop, version });
                    }
                }
            }
            Err(error) => {
                let (due, failures) = waiting.windows.entry(window).or_default();
                *due = Some(Instant::now() + PAUSE_MAX.min(PAUSE * 2u32.saturating_pow(*failures)));
                *failures = (*failures + 1).min(16);
                (self.tell)(&Event::Undelivered { start, stop, reason: error.copy().to_string() });
            }
        }
        self.count(&waiting);
    }

    /// Delivers the newest version of a window if it is final and was not delivered. Returns the version that is
    /// delivered, and whether it was now.
    async fn deliver(&self, window: &Window) -> Result<Option<(u64, bool)>> {
        let newest = self.catalog.latest(window).await?.filter(|manifest| manifest.state == State::Final);
        let Some(manifest) = newest.map(Box::new) else { return Ok(None) };
        let id = format!("{}-{}", window.start().format(TIME), window.stop().format(TIME));
        let before = self.journal.newest::<Delivered>(&id).await?;
        let version = manifest.version;
        let event = match &before {
            Some(entry) if entry.value.version >= version => return Ok(Some((entry.value.version, false))),
            Some(entry) => Event::Amended { manifest, previous: entry.value.version },
            None => Event::Closed { manifest },
        };
        self.sink.deliver(&event).await?;
        match self.journal.append(&id, before.map_or(0, |entry| entry.number), &Delivered { version }).await {
            Ok(_) => Ok(Some((version, true))),
            // Another follower has delivered it, too; which version it was is looked at next time.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn count(&self, waiting: &Waiting) {
        let undelivered = waiting.windows.len() as u64;
        self.status.update(|facts| facts.undelivered = undelivered);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How instants are written in the names of journals' lines.
const TIME: &str = "%Y%m%dT%H%MZ";

//! Which windows something is to be delivered of, and that it is: at least once for the newest final version of each,
//! whatever ends in between. What was delivered is known from a journal in the store, for as long as a follower looks back.

use super::Tell;
use super::event::{Event, Sink};
use super::status::Status;
use crate::catalog::{Catalog, Journal, State};
use crate::clock::Timestamp;
use crate::error::{ErrorKind, Result};
use crate::window::Window;
use chrono::{NaiveDateTime, TimeDelta};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause after the first failure; doubled after each further one.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);

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

/// Invariants:
/// - `delivered` holds windows within the horizon alone, see [`Deliveries::forget`].
/// - `notices` holds the newest event of each window that is open, and of none: no more than there are such windows.
#[derive(Debug, Default)]
struct Waiting {
    notices: BTreeMap<Option<Window>, Event>,
    /// When they are tried again, and how often they have failed.
    notices_due: (Option<Instant>, u32),
    windows: BTreeMap<Window, Due>,
    /// Versions known to be delivered.
    delivered: BTreeMap<Window, u64>,
}

/// A window that waits.
#[derive(Debug, Default)]
struct Due {
    /// When it is tried next, and how often it has failed.
    until: Option<Instant>,
    failures: u32,
    /// Whether it was added since it was begun: then there may be a version that is not the one handed over now.
    is_renewed: bool,
}

impl Waiting {
    /// Puts a window in its place, unless this version of it is known to be delivered.
    fn add(&mut self, window: Window, version: u64) -> bool {
        let is_new = self.delivered.get(&window) != Some(&version);
        if is_new {
            self.windows.entry(window).or_default().is_renewed = true;
        }
        is_new
    }

    /// Begins to hand a window over.
    fn begin(&mut self, window: &Window) {
        if let Some(due) = self.windows.get_mut(window) {
            due.is_renewed = false;
        }
    }

    /// Takes out a window that was handed over, unless it was added again meanwhile.
    fn finish(&mut self, window: Window, version: Option<u64>) {
        match self.windows.get_mut(&window) {
            Some(due) if due.is_renewed => *due = Due { is_renewed: true, ..Due::default() },
            _ => drop(self.windows.remove(&window)),
        }
        self.delivered.extend(version.map(|version| (window, version)));
    }
}

impl Deliveries {
    pub(super) fn new(catalog: &Catalog, sink: Arc<dyn Sink>, tell: Tell, status: Arc<Status>) -> Deliveries {
        let (catalog, journal) = (catalog.clone(), Journal::new(catalog, "closings"));
        let (waiting, added) = Default::default();
        Deliveries { catalog, journal, sink, tell, status, waiting, added }
    }

    /// Sees to it that the final version of a window is delivered, unless it is known to be.
    pub(super) fn add(&self, window: Window, version: u64) {
        let mut waiting = self.lock();
        if waiting.add(window, version) {
            self.count(&waiting);
            self.added.notify_one();
        }
    }

    /// Sees to it that a provisional version or a silence is handed over. It takes the place of an older version of the
    /// same window, or of an earlier silence, that still waits.
    pub(super) fn notice(&self, event: Event) {
        let window = match &event {
            Event::Published { manifest } => manifest.window().ok(),
            _ => None,
        };
        let mut waiting = self.lock();
        waiting.notices.insert(window, event);
        waiting.notices_due = (None, 0);
        self.added.notify_one();
    }

    /// Hands an event over at once: when this returns without an error, what it calls for is durable.
    ///
    /// # Errors
    /// What the sink says; whoever found out what happened must find it out again then.
    pub(super) async fn hand_over(&self, event: &Event) -> Result<()> {
        self.sink.deliver(event).await
    }

    /// Forgets what was delivered of windows before an instant: nobody asks again.
    pub(super) fn forget(&self, before: Timestamp) {
        self.lock().delivered.retain(|window, _| window.start() >= before);
    }

    /// Forgets it in the store, too, of windows of this width that stop at an instant or before: no follower looks back so
    /// far.
    ///
    /// # Errors
    /// What the store says; called again it goes on.
    pub(super) async fn sweep(&self, before: Timestamp, width: TimeDelta) -> Result<()> {
        for (id, head) in self.journal.heads().await? {
            let is_old = |window: &Window| window.stop() <= before && window.width() == width;
            let is_done = |window: &Window| !self.lock().windows.contains_key(window);
            if window_of(&id).is_some_and(|window| is_old(&window) && is_done(&window)) {
                self.journal.remove(&id, head.number).await?;
            }
        }
        Ok(())
    }

    /// Delivers, the oldest window first, until `done`.
    pub(super) async fn run(&self, done: &CancellationToken) {
        let is_reached = |due: Option<Instant>| due.is_none_or(|due| due <= Instant::now());
        while !done.is_cancelled() {
            let (notices, windows) = {
                let waiting = self.lock();
                let notices = (!waiting.notices.is_empty()).then_some(waiting.notices_due.0);
                (notices, waiting.windows.iter().map(|(window, due)| (due.until, *window)).min())
            };
            if notices.is_some_and(is_reached) {
                self.hand_over_notices().await;
                continue;
            }
            match windows {
                Some((due, window)) if is_reached(due) => self.try_deliver(window).await,
                _ => {
                    // What is left is not due yet.
                    let due = [notices.flatten(), windows.and_then(|(due, _)| due)].into_iter().flatten().min();
                    let wake = async {
                        match due {
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

    /// Tries everything that waits once; returns how many windows and other events are left.
    pub(super) async fn settle(&self) -> usize {
        self.hand_over_notices().await;
        let windows: Vec<Window> = self.lock().windows.keys().copied().collect();
        for window in windows {
            self.try_deliver(window).await;
        }
        let waiting = self.lock();
        waiting.windows.len() + waiting.notices.len()
    }

    /// Hands over what waits besides windows. What fails is tried again later, unless something newer takes its place.
    async fn hand_over_notices(&self) {
        let waiting: Vec<Option<Window>> = self.lock().notices.keys().copied().collect();
        for window in waiting {
            let Some(event) = self.lock().notices.remove(&window) else { continue };
            let Err(error) = self.sink.deliver(&event).await else { continue };
            tracing::warn!(?event, error = error.copy().to_string(), "an event could not be delivered");
            let mut waiting = self.lock();
            let failures = waiting.notices_due.1;
            waiting.notices_due = (Some(after_failures(failures)), (failures + 1).min(16));
            waiting.notices.entry(window).or_insert(event);
        }
    }

    async fn try_deliver(&self, window: Window) {
        self.lock().begin(&window);
        let delivered = self.deliver(&window).await;
        let (start, stop) = (window.start(), window.stop());
        let mut waiting = self.lock();
        match delivered {
            Ok(version) => {
                waiting.finish(window, version.map(|(version, _)| version));
                if let Some((version, true)) = version {
                    self.status.update(|facts| facts.handed_over += 1);
                    (self.tell)(&Event::HandedOver { start, stop, version });
                }
            }
            Err(error) => {
                let due = waiting.windows.entry(window).or_default();
                due.until = Some(after_failures(due.failures));
                due.failures = (due.failures + 1).min(16);
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
        let id = id_of(window);
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

/// The name of a window's line.
fn id_of(window: &Window) -> String {
    format!("{}-{}", window.start().format(TIME), window.stop().format(TIME))
}

/// Reads a name as [`id_of`] writes it.
fn window_of(id: &str) -> Option<Window> {
    let (start, stop) = id.split_once('-')?;
    let [start, stop] = [start, stop].map(|text| NaiveDateTime::parse_from_str(text, TIME).ok());
    Window::new(start?.and_utc(), stop?.and_utc()).ok()
}

fn after_failures(failures: u32) -> Instant {
    Instant::now() + PAUSE_MAX.min(PAUSE * 2u32.saturating_pow(failures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_noted_while_an_older_one_is_handed_over_waits() {
        let window = Window::parse("2026-11-20T12", Timestamp::UNIX_EPOCH).unwrap();
        let mut waiting = Waiting::default();
        assert!(waiting.add(window, 1));
        waiting.begin(&window);
        assert!(waiting.add(window, 2));
        waiting.finish(window, Some(1));
        assert!(waiting.windows.contains_key(&window));
        waiting.begin(&window);
        waiting.finish(window, Some(2));
        assert!(waiting.windows.is_empty() && !waiting.add(window, 2));
    }
}

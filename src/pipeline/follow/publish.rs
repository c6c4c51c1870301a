//! Builds windows, and tells what came of them, of what is too late, and of silence.

use super::Follower;
use super::event::Event;
use super::round::Round;
use crate::catalog::{Manifest, State};
use crate::digest::{Built, Ended, Objects, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::window::Window;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use tokio::sync::mpsc;

/// Windows whose end may wait to be told.
const ENDED_WAITING: usize = 16;
/// Windows with late objects that are told of at once.
const LATE_AT_ONCE: usize = 16;

impl Follower {
    /// Builds `targets` and tells what comes of them: returns the states of those that are built. `late` says how many
    /// late objects count in each.
    pub(super) async fn build(
        &mut self,
        targets: Vec<Target>,
        objects: &Objects,
        late: &BTreeMap<Window, u64>,
        stop: &AtomicBool,
    ) -> Result<(Round, BTreeMap<Window, State>)> {
        let (mut round, mut states) = (Round { left: targets.len() as u64, ..Round::default() }, BTreeMap::new());
        if targets.is_empty() {
            return Ok((round, states));
        }
        let (sender, mut receiver) = mpsc::channel::<Ended>(ENDED_WAITING);
        let (builder, report) = (self.builder.clone(), self.report.clone());
        let listen = async {
            while let Some(Ended { window, result }) = receiver.recv().await {
                round.left -= 1;
                match self.ended(window, result, late.get(&window).copied().unwrap_or_default()) {
                    Some((state, is_new)) => {
                        round.published += u64::from(is_new);
                        states.insert(window, state);
                    }
                    None => round.failed += 1,
                }
            }
        };
        let (read, ()) = tokio::join!(builder.build_range(targets, objects, stop, &report, sender), listen);
        read.map(|()| (round, states))
    }

    /// Takes note of how the building of a window ended; returns its state and whether it was published just now.
    fn ended(&mut self, window: Window, result: Result<Built>, late: u64) -> Option<(State, bool)> {
        let now = self.builder.clock.now();
        let result = match result {
            // Its objects were deleted since they were listed: there is nothing to build.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        };
        self.place.ended(window, result.is_ok(), now, &self.options);
        match result {
            Ok(Some(Built { manifest, is_new })) => {
                let state = manifest.state;
                if state == State::Final {
                    self.deliver(&manifest);
                }
                self.status.update(|facts| {
                    facts.published += u64::from(is_new);
                    facts.late_objects += late;
                });
                self.status.read(&self.report.figures());
                if is_new {
                    let event = Event::Published { manifest: Box::new(manifest) };
                    match state {
                        State::Provisional => self.notice(event),
                        State::Final => (self.tell)(&event),
                    }
                }
                Some((state, is_new))
            }
            Ok(None) => Some((State::Provisional, false)),
            Err(error) => {
                let (start, stop) = (window.start(), window.stop());
                (self.tell)(&Event::Failed { start, stop, reason: error.copy().to_string() });
                None
            }
        }
    }

    /// Sees to it that a final digest is delivered.
    pub(super) fn deliver(&self, manifest: &Manifest) {
        if let (Some(deliveries), Ok(window)) = (&self.deliveries, manifest.window()) {
            deliveries.add(window, manifest.version);
        }
    }

    /// Tells of objects that are too late, with how many of them were not told of before. Returns whether all of it is
    /// durable; if not, they are to be found again.
    pub(super) async fn tell_late(&self, late: Vec<(Event, u64)>) -> bool {
        let told = stream::iter(late).map(Ok).try_for_each_concurrent(LATE_AT_ONCE, |(event, new)| async move {
            if let Some(deliveries) = &self.deliveries {
                deliveries.hand_over(&event).await?;
            }
            (self.tell)(&event);
            self.status.update(|facts| facts.late_objects += new);
            Ok::<(), Error>(())
        });
        let told = told.await;
        if let Err(error) = &told {
            tracing::warn!(error = error.copy().to_string(), "late objects could not be told of; they are found again");
        }
        told.is_ok()
    }

    /// Reports that no new object has come for too long; `has_news` says whether one has, if anybody could look.
    pub(super) fn canary(&mut self, has_news: Option<bool>) {
        let (now, newest) = (self.builder.clock.now(), self.status.facts().newest_object);
        if let Some(since) = self.place.news(has_news, newest, now, self.options.canary) {
            self.notice(Event::Canary { since, is_blind: has_news.is_none() });
        }
    }

    fn notice(&self, event: Event) {
        (self.tell)(&event);
        if let Some(deliveries) = &self.deliveries {
            deliveries.notice(event);
        }
    }
}

/// That a window has objects which are too late, told from others by `tag`.
pub(super) fn late_event(window: &Window, objects: u64, tag: String) -> Event {
    Event::Late { start: window.start(), stop: window.stop(), objects, tag }
}

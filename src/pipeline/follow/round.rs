//! One round: what is to be looked at, what is new there, and which windows are to be built for it.

use super::Follower;
use super::arrivals::Arrival;
use super::place::Look;
use super::publish::late_event;
use crate::catalog::State;
use crate::clock::Timestamp;
use crate::digest::{Objects, Target, is_open};
use crate::error::Result;
use crate::pipeline::survey::{Found, survey};
use crate::source::Object;
use crate::window::{FILE_TIME_EARLY, Watermark, Window, split};
use chrono::TimeDelta;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use uuid::Uuid;

/// What came of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Versions that it published.
    pub published: u64,
    /// Windows that could not be built, or wait because they failed a short while ago.
    pub failed: u64,
    /// Windows that were not begun because it was told to stop.
    pub left: u64,
}

impl Round {
    pub(super) fn add(&mut self, other: Round) {
        self.published += other.published;
        self.failed += other.failed;
        self.left += other.left;
    }
}

/// What came of looking at some windows.
#[derive(Debug, Default)]
struct Pass {
    round: Round,
    /// Windows that were to be built and are not.
    undone: BTreeSet<Window>,
    /// Windows that may still change by themselves.
    unsettled: BTreeSet<Window>,
}

impl Follower {
    /// One round: lists what is due, takes up what is new, and what `told` tells of, and publishes. What is told is
    /// acknowledged once it is in published digests. Once `stop` is set no further window is begun.
    ///
    /// It may be dropped at any time; the follower must then be dropped, too.
    ///
    /// # Errors
    /// What the source says if it is not there or cannot be listed, and what the store says. Windows that fail are no error: they are
    /// told, and tried again.
    pub async fn round(&mut self, told: Vec<Arrival>, stop: &AtomicBool) -> Result<Round> {
        let ended = self.look_and_take(told, stop).await;
        if ended.is_err() {
            self.canary(None);
        }
        ended
    }

    async fn look_and_take(&mut self, told: Vec<Arrival>, stop: &AtomicBool) -> Result<Round> {
        if let Some(check) = &self.check {
            check()?;
        }
        let now = self.builder.clock.now();
        let mut round = Round::default();
        if let Some(look) = self.place.look(now, self.arrivals.is_some()) {
            round.add(self.look(look, now, stop).await?);
            if look == Look::Horizon {
                round.add(self.look_beyond(now, stop).await?);
            }
        }
        if !told.is_empty() {
            round.add(self.take(told, now, stop).await?);
        }
        let failed = self.place.failed();
        self.status.update(|facts| {
            facts.rounds += 1;
            facts.failed_windows = failed;
        });
        self.status.read(&self.report.figures());
        Ok(round)
    }

    /// Lists the times of a look and brings their windows up to date.
    async fn look(&mut self, look: Look, now: Timestamp, stop: &AtomicBool) -> Result<Round> {
        let horizon = self.horizon(now);
        let read = self.report.figures().read;
        let mut watermark = Watermark::new(self.options.idle);
        let (windows, objects) = match look {
            Look::Horizon => (self.windows(horizon, now)?, Objects::Source),
            Look::Recent => {
                let windows = self.windows(self.place.open_from.max(horizon), now)?;
                let reached = windows.first().map_or(now, |first| self.builder.reach(first).start);
                let start = self.place.list_from(reached).min(now - self.options.idle);
                let stop = windows.last().map_or(now, |last| self.builder.reach(last).end);
                let mut listing = self.builder.list_times(start..stop, &self.report).await?;
                for name in listing.objects.iter().map(|object| &object.name) {
                    watermark.observe(&name.flow_log_path(), name.file_time);
                }
                let cadences = self.place.listed(start, reached, &listing.objects);
                listing.objects.retain(|object| object.name.file_time >= reached);
                (windows, Objects::Listed(listing.objects.into(), cadences))
            }
        };
        let pass = self.pass(&windows, &objects, Some(&mut watermark), stop).await?;
        let newest = watermark.newest().map(|newest| newest.min(now));
        let has_news = self.report.figures().read > read || newest > self.status.facts().newest_object;
        self.status.update(|facts| {
            facts.open_windows = pass.unsettled.len() as u64;
            facts.newest_object = newest.max(facts.newest_object);
            facts.watermark = Some(watermark.at(now));
        });
        self.place.open_from = pass.unsettled.first().map_or(now, |first| first.start());
        self.canary(Some(has_news));
        // What was left is looked at again as soon as may be.
        if pass.round.left == 0 {
            self.place.looked(look, now, &self.options);
        }
        self.place.forget(horizon);
        if let Some(deliveries) = &self.deliveries {
            deliveries.forget(horizon);
        }
        Ok(pass.round)
    }

    /// Takes up the objects that it is told of, and acknowledges them.
    async fn take(&mut self, told: Vec<Arrival>, now: Timestamp, stop: &AtomicBool) -> Result<Round> {
        let mut objects: Vec<Arc<Object>> = told.iter().flat_map(|arrival| &arrival.objects).cloned().collect();
        objects.sort_by(|a, b| (a.name.file_time, &a.location).cmp(&(b.name.file_time, &b.location)));
        objects.dedup_by(|a, b| a.location == b.location);
        let times: BTreeSet<Timestamp> = objects.iter().map(|object| object.name.file_time).collect();
        let mut windows = self.windows(self.horizon(now), now)?;
        let first = windows.first().map_or(now, |first| self.builder.reach(first).start);
        let last = windows.last().map_or(now, |last| self.builder.reach(last).end);
        if let Some(object) = objects.last().filter(|object| object.name.file_time >= last) {
            tracing::warn!(key = %object.location, "told of an object whose time has not come: it is left to come again");
        }
        let mut late = BTreeMap::<Window, Vec<&str>>::new();
        for object in objects.iter().filter(|object| object.name.file_time < first) {
            late.entry(self.window_of(object.name.file_time)?).or_default().push(object.location.as_ref());
        }
        let late = late.into_iter().map(|(window, keys)| {
            let tag = Uuid::new_v5(&Uuid::NAMESPACE_URL, keys.join("\n").as_bytes());
            let new = keys.len() as u64;
            (late_event(&window, new, tag.to_string()), new)
        });
        let is_told = self.tell_late(late.collect()).await;
        windows.retain(|window| times.range(self.builder.reach(window)).next().is_some());
        let read = self.report.figures().read;
        let pass = self.pass(&windows, &Objects::Told(objects.into()), None, stop).await?;
        let newest = times.last().map(|newest| (*newest).min(now));
        self.status.update(|facts| facts.newest_object = newest.max(facts.newest_object));
        if let Some(first) = pass.unsettled.first() {
            self.place.open_from = self.place.open_from.min(first.start());
        }
        if !pass.undone.is_empty() {
            self.place.list_next();
        }
        self.canary(Some(self.report.figures().read > read));
        for Arrival { objects, receipt } in told {
            let is_undone = |object: &Arc<Object>| {
                (!is_told && object.name.file_time < first)
                    || object.name.file_time >= last
                    || pass.undone.iter().any(|window| self.builder.reach(window).contains(&object.name.file_time))
            };
            if !objects.iter().any(is_undone) {
                receipt.acknowledge();
            }
        }
        Ok(pass.round)
    }

    /// Brings windows up to date with `objects`. Closes those that the watermark has passed; without one, none.
    async fn pass(
        &mut self,
        windows: &[Window],
        objects: &Objects,
        mut watermark: Option<&mut Watermark>,
        stop: &AtomicBool,
    ) -> Result<Pass> {
        let now = self.builder.clock.now();
        let candidates = self.targets(windows).await?;
        let is_final = |target: &&Target| target.before.as_ref().is_some_and(|before| before.state == State::Final);
        let closed: BTreeSet<Window> = candidates.iter().filter(is_final).map(|target| target.window).collect();
        // An object makes a new version of all closed windows that it reaches, and is late once: in the first of them.
        let mut late = BTreeMap::<Window, u64>::new();
        let found = survey(&self.builder, candidates, objects, &self.report, |object, _, unknown| {
            if let Some(watermark) = &mut watermark {
                watermark.observe(&object.flow_log, object.file_time);
            }
            if let Some(first) = unknown.iter().find(|window| closed.contains(window)) {
                *late.entry(*first).or_default() += 1;
            }
        });
        let found = found.await?;
        let reached = watermark.map(|watermark| watermark.at(now));
        let options = self.builder.options.clone();
        let has_passed = |window: &Window| {
            let closes = window.stop() + options.lateness;
            !is_open(window, &options, now) && reached.is_some_and(|reached| reached >= closes)
        };
        let mut pass = Pass::default();
        let (mut targets, mut states) = (Vec::new(), BTreeMap::new());
        for Found { mut target, unknown, news, is_replaced, .. } in found {
            let window = target.window;
            let state = target.before.as_ref().map(|before| before.state);
            if let Some(before) = target.before.as_ref().filter(|before| before.state == State::Final) {
                self.deliver(before);
            }
            // A window of which there is nothing settles as it is.
            states.insert(window, state.or((unknown == 0 && has_passed(&window)).then_some(State::Final)));
            let is_due = match state {
                Some(State::Final) => unknown > 0,
                Some(State::Provisional) => news > 0 || has_passed(&window),
                None => news > 0 || (unknown > 0 && has_passed(&window)),
            };
            if !is_due && !is_replaced {
                continue;
            }
            pass.undone.insert(window);
            if self.place.is_paused(&window, now) {
                pass.round.failed += 1;
                continue;
            }
            target.force = is_replaced;
            target.hold = state != Some(State::Final) && !has_passed(&window);
            targets.push(target);
        }
        // What was replaced is built from all objects, not only from those that are given.
        let objects = if targets.iter().any(|target| target.force) { &Objects::Source } else { objects };
        let (round, built) = self.build(targets, objects, &late, stop).await?;
        pass.round.add(round);
        pass.undone.retain(|window| !built.contains_key(window));
        states.extend(built.into_iter().map(|(window, state)| (window, Some(state))));
        let is_unsettled =
            |(window, state): &(Window, Option<State>)| *state != Some(State::Final) || pass.undone.contains(window);
        pass.unsettled = states.into_iter().filter(is_unsettled).map(|(window, _)| window).collect();
        Ok(pass)
    }

    /// The first instant of which windows are followed at `now`: all objects of theirs are within the horizon.
    pub(super) fn horizon(&self, now: Timestamp) -> Timestamp {
        let first = now - self.options.horizon + FILE_TIME_EARLY;
        first - TimeDelta::seconds(first.timestamp().rem_euclid(60)) + TimeDelta::minutes(1)
    }

    /// The window that contains `instant`.
    fn window_of(&self, instant: Timestamp) -> Result<Window> {
        let width = self.options.width.num_seconds();
        let start = instant - TimeDelta::seconds(instant.timestamp().rem_euclid(width));
        Window::new(start, start + self.options.width)
    }

    /// The windows that begin at `from` or later, and not after `to`.
    pub(super) fn windows(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Window>> {
        let stop = self.window_of(to)?.stop();
        match from < stop {
            true => Ok(split(&Window::new(from, stop)?, self.options.width)?.collect()),
            false => Ok(Vec::new()),
        }
    }

    /// What is published of windows, given in order.
    pub(super) async fn targets(&self, windows: &[Window]) -> Result<Vec<Target>> {
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Ok(Vec::new()) };
        let manifests = self.builder.catalog.list_within(&Window::new(first.start(), last.stop())?).await?;
        let mut published = BTreeMap::new();
        for manifest in manifests {
            published.insert(manifest.window()?, manifest);
        }
        let target = |window: &Window| Target { before: published.remove(window), ..Target::new(*window) };
        Ok(windows.iter().map(target).collect())
    }
}

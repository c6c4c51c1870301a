//! Beyond the horizon: objects that came too late are reported, and windows that were left open are closed. In: the
//! windows of as long a time before the horizon as there is behind it. Out: one event for each day of objects that no
//! digest has.
//!
//! It is done once a day, and reaches further back by the time since it was last done, by whichever follower. So whatever
//! comes up to twice the horizon late is found, though it is older than that by the time. What comes later still is not
//! looked at.

use super::Follower;
use super::publish::late_event;
use super::round::Round;
use crate::catalog::{Journal, State};
use crate::clock::Timestamp;
use crate::digest::Objects;
use crate::error::{ErrorKind, Result};
use crate::pipeline::survey::{Found, survey};
use crate::window::Window;
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use uuid::Uuid;

/// How often times beyond the horizon are looked at.
const EVERY: TimeDelta = TimeDelta::days(1);
/// How far they reach back besides at the most, where nobody followed for long.
const MISSED_MAX: TimeDelta = TimeDelta::days(31);

/// An entry of the journal `followers`: when somebody looked beyond the horizon, and told what there was.
#[derive(Debug, Serialize, Deserialize)]
struct Looked {
    at: Timestamp,
}

/// Objects stamped on one day that windows lack which nobody takes them into by himself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Late {
    /// From the first of these windows to the last.
    windows: Window,
    objects: u64,
    /// Sum of the checksums of their keys: tells them from others.
    keys: u128,
}

impl Follower {
    /// Looks beyond the horizon if it is time to.
    ///
    /// # Errors
    /// What the source says if it cannot be listed, and what the store says.
    pub(super) async fn look_beyond(&mut self, now: Timestamp, stop: &AtomicBool) -> Result<Round> {
        if now < self.place.beyond_due {
            return Ok(Round::default());
        }
        let journal = Journal::new(&self.builder.catalog, "followers");
        let id = format!("{}s-beyond", self.options.width.num_seconds());
        let newest = journal.newest::<Looked>(&id).await?;
        // What a clock that was ahead has written down is worth nothing.
        let looked = newest.as_ref().map(|entry| entry.value.at).filter(|at| *at <= now);
        if let Some(due) = looked.map(|at| at + EVERY).filter(|due| now < *due && self.place.late.is_none()) {
            self.place.beyond_due = due;
            return Ok(Round::default());
        }
        let missed = looked.map_or(TimeDelta::zero(), |at| (now - at).min(MISSED_MAX));
        let to = self.horizon(now);
        // Whole days, so that of a day the same is found as long as nothing comes.
        let from = self.horizon(now - self.options.horizon - missed).date_naive().and_time(NaiveTime::MIN).and_utc();
        let mut targets = self.targets(&self.windows(from, to)?).await?;
        targets.retain(|target| target.window.start() < to);
        let is_open = |state: Option<State>| state == Some(State::Provisional);
        let open: BTreeSet<Window> = targets
            .iter()
            .filter(|target| is_open(target.before.as_ref().map(|before| before.state)))
            .map(|target| target.window)
            .collect();
        let mut late = BTreeMap::<NaiveDate, Late>::new();
        let found = survey(&self.builder, targets, &Objects::Source, &self.report, |object, _, unknown| {
            let mut lacking = unknown.iter().filter(|window| !open.contains(window));
            if let (Some(first), true) = (lacking.next(), object.file_time >= from) {
                let windows = lacking.fold(*first, |all, window| all.hull(window));
                let day = late.entry(object.file_time.date_naive()).or_insert(Late { windows, objects: 0, keys: 0 });
                day.windows = day.windows.hull(&windows);
                day.objects += 1;
                day.keys = day.keys.wrapping_add(object.content.key.number());
            }
        });
        let mut found = found.await?;
        found.retain(|Found { target, .. }| open.contains(&target.window));
        let open = found.into_iter().map(|found| found.target).collect();
        let mut told = Vec::new();
        for (day, late) in &late {
            let before = self.place.late.as_ref().and_then(|late| late.get(day));
            if before != Some(late) {
                let counted = before.map_or(0, |before| before.objects);
                let tag = Uuid::from_u128(late.keys).to_string();
                told.push((late_event(&late.windows, late.objects, tag), late.objects.saturating_sub(counted)));
            }
        }
        let is_told = self.tell_late(told).await;
        let (round, _) = self.build(open, &Objects::Source, &BTreeMap::new(), stop).await?;
        if !is_told {
            return Ok(round);
        }
        self.place.late = Some(late);
        self.place.beyond_due = now + EVERY;
        if round.left == 0 {
            match journal.append(&id, newest.map_or(0, |entry| entry.number), &Looked { at: now }).await {
                // Another follower has looked, too.
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
        Ok(round)
    }
}

//! What a backfill has to do, from the catalog and the listings alone: no object is read.

use super::survey::{Found, survey};
use crate::catalog::State;
use crate::digest::{Builder, Objects, Target};
use crate::error::Result;
use crate::scan::Report;
use crate::window::{Window, split};
use chrono::TimeDelta;
use std::collections::BTreeMap;

/// What a backfill is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Width of the windows.
    pub width: TimeDelta,
    /// Builds windows that are published and final again.
    pub force: bool,
    /// Takes up the objects that no digest has: in windows that are published, and in those that are not because there was
    /// no object of them. Leaves open windows alone of which there is nothing new.
    pub only_late: bool,
}

/// What a backfill will do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The windows to build, in order.
    pub targets: Vec<Target>,
    /// Windows in the range.
    pub windows: usize,
    /// Windows that are published and need nothing.
    pub done: usize,
    /// Windows of which the source has no object: nothing is built of them.
    pub empty: usize,
    /// Objects to read, each once.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// LIST requests of the run: those of the plan once more.
    pub list_requests: u64,
}

impl Plan {
    /// GET requests of the run.
    pub fn get_requests(&self) -> u64 {
        self.objects
    }

    /// PUT requests of the run: four files for each window; large ones take more.
    pub fn put_requests(&self) -> u64 {
        4 * self.targets.len() as u64
    }
}

/// Looks what there is to do in `range`.
///
/// # Errors
/// `Invalid` if the width does not fit into days; what the store and the source say.
pub async fn plan(builder: &Builder, range: &Window, options: &Options) -> Result<Plan> {
    let mut published: BTreeMap<Window, _> = BTreeMap::new();
    for manifest in builder.catalog.list_within(range).await? {
        published.insert(manifest.window()?, manifest);
    }
    let mut plan = Plan::default();
    let mut candidates = Vec::new();
    for window in split(range, options.width)? {
        let before = published.remove(&window);
        plan.windows += 1;
        let is_final = before.as_ref().is_some_and(|manifest| manifest.state == State::Final);
        match options.only_late || options.force || !is_final {
            true => candidates.push(Target { before, force: options.force, ..Target::new(window) }),
            false => plan.done += 1,
        }
    }
    let report = Report::new();
    let found = survey(builder, candidates, &Objects::Source, &report, |object, unread, _| {
        if unread > 0 {
            plan.objects += 1;
            plan.bytes += object.size;
        }
    });
    for Found { target, unread, .. } in found.await? {
        let is_provisional = target.before.as_ref().is_some_and(|manifest| manifest.state == State::Provisional);
        if unread > 0 || (is_provisional && !options.only_late) {
            plan.targets.push(target);
        } else if target.before.is_some() {
            plan.done += 1;
        } else {
            plan.empty += 1;
        }
    }
    plan.list_requests = report.figures().list_requests;
    Ok(plan)
}

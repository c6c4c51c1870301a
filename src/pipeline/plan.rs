//! What a backfill has to do, from the catalog and the listings alone: no object is read.

use crate::catalog::State;
use crate::digest::{Builder, Taken, Target};
use crate::error::Result;
use crate::scan::Report;
use crate::source::Object;
use crate::window::{Window, split};
use chrono::TimeDelta;
use std::collections::{BTreeMap, VecDeque};

/// What a backfill is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Width of the windows.
    pub width: TimeDelta,
    /// Builds windows that are published and final again.
    pub force: bool,
    /// Takes up the objects that arrived after a window was published, and builds no window that is not.
    pub only_late: bool,
}

/// What a backfill will do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The windows to build, in order.
    pub targets: Vec<Target>,
    /// Windows in the range; if only late objects are wanted, those that are published.
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
        if options.only_late && before.is_none() {
            continue;
        }
        plan.windows += 1;
        let is_final = before.as_ref().is_some_and(|manifest| manifest.state == State::Final);
        match options.only_late || options.force || !is_final {
            true => candidates.push(Target { window, before, force: options.force }),
            false => plan.done += 1,
        }
    }
    let report = Report::new();
    let mut count = Count { builder, plan, open: VecDeque::new(), only_late: options.only_late };
    let mut ahead: VecDeque<Target> = candidates.clone().into();
    for times in builder.file_times(&candidates) {
        for object in builder.list_times(times, &report).await?.objects {
            let reaches = |target: &mut Target| builder.reach(&target.window).start <= object.name.file_time;
            while let Some(target) = ahead.pop_front_if(reaches) {
                count.begin(target).await?;
            }
            count.meet(&object);
        }
    }
    // No object is left that could reach them.
    for target in ahead {
        count.begin(target).await?;
    }
    let mut plan = count.end();
    plan.list_requests = report.figures().list_requests;
    Ok(plan)
}

/// Counts objects as they go by in the order of their file times.
struct Count<'a> {
    builder: &'a Builder,
    plan: Plan,
    open: VecDeque<(Target, Taken, u64)>,
    only_late: bool,
}

impl Count<'_> {
    async fn begin(&mut self, target: Target) -> Result<()> {
        let taken = match &target.before {
            Some(manifest) if !target.force => self.builder.taken(manifest).await?,
            _ => Taken::default(),
        };
        self.open.push_back((target, taken, 0));
        Ok(())
    }

    fn meet(&mut self, object: &Object) {
        let time = object.name.file_time;
        while let Some(passed) = self.open.pop_front_if(|(target, ..)| self.builder.reach(&target.window).end <= time) {
            self.close(passed);
        }
        let mut is_wanted = false;
        for (target, taken, objects) in &mut self.open {
            if self.builder.reach(&target.window).contains(&time) && !taken.holds(object) {
                *objects += 1;
                is_wanted = true;
            }
        }
        if is_wanted {
            self.plan.objects += 1;
            self.plan.bytes += object.size;
        }
    }

    fn close(&mut self, (target, _, objects): (Target, Taken, u64)) {
        let is_provisional = target.before.as_ref().is_some_and(|manifest| manifest.state == State::Provisional);
        if objects > 0 || (is_provisional && !self.only_late) {
            self.plan.targets.push(target);
        } else if target.before.is_some() {
            self.plan.done += 1;
        } else {
            self.plan.empty += 1;
        }
    }

    fn end(mut self) -> Plan {
        while let Some(open) = self.open.pop_front() {
            self.close(open);
        }
        self.plan
    }
}

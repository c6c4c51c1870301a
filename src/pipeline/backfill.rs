//! Runs a plan: oldest window first, each object once; and makes wider digests of what is published.

use super::plan::Plan;
use crate::digest::{Builder, Built, Ended, Objects};
use crate::error::{Error, ErrorKind, Result};
use crate::scan::Report;
use crate::window::{Window, split};
use chrono::TimeDelta;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Windows that fail one after the other before the run stops: by then it is not the window.
const FAILURES_MAX: usize = 10;
/// Windows whose end may wait to be told.
const ENDED_WAITING: usize = 16;

/// What a run tells while it runs: the end of a window, and how many are left.
#[derive(Debug)]
pub struct Event<'a> {
    /// The window.
    pub window: Window,
    /// Its digest, or why there is none.
    pub result: &'a Result<Built>,
    /// Windows that are still to do.
    pub left: usize,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Windows that this run published.
    pub published: usize,
    /// Windows that were published already, by another process or with the same contents.
    pub unchanged: usize,
    /// Windows of which the source had no object, or that cannot be rolled up yet.
    pub empty: usize,
    /// Windows of a roll-up that hold no narrower digest, in order: there is nothing to merge.
    pub bare: Vec<Window>,
    /// Windows that failed, and why.
    pub failed: Vec<(Window, Error)>,
    /// Windows that were not begun, because the run was told to stop or too many failed.
    pub left: usize,
}

impl Summary {
    fn add(&mut self, window: Window, result: Result<Built>) {
        match result {
            Ok(built) if built.is_new => self.published += 1,
            Ok(_) => self.unchanged += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => self.empty += 1,
            Err(error) => self.failed.push((window, error)),
        }
    }

    fn ended(&self) -> usize {
        self.published + self.unchanged + self.empty + self.failed.len()
    }
}

/// Builds the windows of a plan. Once `stop` is set, those under way are finished and no other is begun. What is read
/// counts in `report`.
///
/// # Errors
/// What the source says if it cannot be listed. Windows that fail are no error: the summary has them.
pub async fn backfill(
    builder: &Builder,
    plan: Plan,
    stop: &AtomicBool,
    report: &Arc<Report>,
    mut tell: impl FnMut(Event<'_>),
) -> Result<Summary> {
    let windows = plan.targets.len();
    let mut summary = Summary::default();
    let (sender, mut receiver) = mpsc::channel::<Ended>(ENDED_WAITING);
    let listen = async {
        let mut failures = 0;
        while let Some(Ended { window, result }) = receiver.recv().await {
            let left = windows - summary.ended() - 1;
            tell(Event { window, result: &result, left });
            failures = if result.is_err() { failures + 1 } else { 0 };
            summary.add(window, result);
            if failures >= FAILURES_MAX {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    let (built, ()) = tokio::join!(builder.build_range(plan.targets, &Objects::Source, stop, report, sender), listen);
    built?;
    summary.left = windows - summary.ended();
    Ok(summary)
}

/// Makes the digests of `width` in `range` from narrower ones, reading no object. Windows that final digests do not
/// cover whole are left for later, those without any are not looked into: one listing tells which they are.
///
/// # Errors
/// `Invalid` if the width does not fit into days.
pub async fn roll_up(
    builder: &Builder,
    range: &Window,
    width: TimeDelta,
    stop: &AtomicBool,
    mut tell: impl FnMut(Event<'_>),
) -> Result<Summary> {
    let windows = split(range, width)?;
    let published: BTreeSet<Window> = builder.catalog.windows_within(range).await?.into_iter().collect();
    let mut summary = Summary::default();
    let mut targets = Vec::new();
    for window in windows {
        let mut near = published.range(window.previous()..).take_while(|other| other.start() < window.stop());
        if near.any(|other| other.width() < width && window.start() <= other.start() && other.stop() <= window.stop()) {
            targets.push(window);
        } else if published.contains(&window) {
            summary.unchanged += 1;
        } else {
            summary.bare.push(window);
        }
    }
    summary.left = targets.len();
    for window in targets {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let result = builder.roll_up(&window).await;
        summary.left -= 1;
        tell(Event { window, result: &result, left: summary.left });
        summary.add(window, result);
    }
    Ok(summary)
}

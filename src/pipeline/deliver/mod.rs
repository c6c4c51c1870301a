//! Deliveries: for each window that closes, the comparisons that are configured, and their results to those who want them.
//! In: manifests of published digests. Out: messages, each at least once, with an id by which repeats are dropped. Knows
//! neither how windows close nor what a message's reader does with it.
//!
//! What must be told is written to the store before [`Deliveries::note`] returns, and what was told after it was taken
//! (`record` has the states): after a crash the rest goes out. Results are not stored, they are compared again: digests do
//! not change. A late object makes a new version of a digest; the result is then told again under the same id, or taken back.
//!
//! Each report has its own queue and its own task, so that a receiver that is down holds up neither the windows nor other
//! receivers.

mod alertmanager;
mod check;
mod destination;
mod filter;
mod found;
mod guard;
mod message;
mod notice;
mod options;
mod queue;
mod record;
mod round;
mod row;
mod slack;
mod webhook;

pub use check::check;
pub use destination::Lines;
pub use notice::Notice;
pub(crate) use notice::silence;
pub use options::{Body, Change, Compare, Ignore, Options, Report};

use crate::aws::Access;
use crate::catalog::{Catalog, Entry, Journal, Manifest, State};
use crate::clock::{Clock, Timestamp};
use crate::diff;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::meters;
use crate::session::Session;
use crate::window::Window;
use chrono::TimeDelta;
use destination::Destination;
use queue::Queue;
use record::{Item, Record, Span, Telling, Versions};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// The journals of comparisons, of notices, and of the reports' beginnings.
const MESSAGES: &str = "messages";
const NOTICES: &str = "notices";
const REPORTS: &str = "reports";
/// How often a state is written anew where others write it at the same time.
const TRIES: usize = 16;

/// What deliveries are made with.
#[derive(Clone)]
pub struct Parts {
    /// Where the digests are, and what was told of them.
    pub catalog: Catalog,
    /// Memory and threads of comparisons.
    pub session: Session,
    /// Tells the time.
    pub clock: Clock,
    /// How digests are compared where a report does not say.
    pub diff: diff::Options,
    /// The settings.
    pub options: Options,
    /// The environment, for secrets.
    pub environment: BTreeMap<String, String>,
    /// As whom buckets are written that reports name.
    pub access: Access,
    /// Where lines go.
    pub lines: Lines,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("catalog", &self.catalog.url).finish_non_exhaustive()
    }
}

/// What became of messages so far, in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages taken by their receivers, those that amend and retract included.
    pub told: u64,
    /// Among them, those that amend an earlier one.
    pub amended: u64,
    /// Among them, those that take back an earlier one.
    pub retracted: u64,
    /// Comparisons that left nothing to tell.
    pub silent: u64,
    /// Messages that were not taken, counted each round.
    pub failed: u64,
    /// Comparisons that wait.
    pub pending: u64,
}

/// The deliveries of a store.
#[derive(Debug)]
pub struct Deliveries {
    parts: Parts,
    messages: Journal,
    notices: Journal,
    lines: Vec<Line>,
    /// Who this process is to others.
    holder: Uuid,
    counts: Counts,
    /// Entries that were seen to hold nothing that is due: they are not read again.
    seen: Mutex<HashMap<Item, Seen>>,
}

/// An entry of which nothing is due.
#[derive(Clone, Copy, Debug)]
struct Seen {
    number: u64,
    /// From when on it is counted how long it is kept.
    dated: Timestamp,
}

/// A report at work.
#[derive(Debug)]
struct Line {
    report: Report,
    destination: Destination,
    queue: Queue,
    /// When it began: what ended before is not told.
    since: Timestamp,
}

#[derive(Debug, Default)]
struct Counts {
    told: AtomicU64,
    amended: AtomicU64,
    retracted: AtomicU64,
    silent: AtomicU64,
    failed: AtomicU64,
}

/// When a report began.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Began {
    since: Timestamp,
}

impl Deliveries {
    /// Opens the destinations of all reports, and writes down when those begin that are new to the store. No receiver is
    /// asked yet.
    ///
    /// # Errors
    /// `Invalid`, naming the report, if one contradicts itself, lacks its secret, or names a place where nothing may be
    /// sent; what the store says.
    pub async fn open(parts: Parts) -> Result<Deliveries> {
        parts.options.check()?;
        let mut lines = Vec::new();
        for report in &parts.options.reports {
            let doing = || format!("open report {}", report.name);
            let Parts { options, environment, access, lines: stdout, diff, .. } = &parts;
            found::diff_options(report, diff).check().context(doing)?;
            let destination = Destination::open(report, options, environment, access, stdout).context(doing)?;
            let since = since(&parts, report).await.context(doing)?;
            lines.push(Line { report: report.clone(), destination, queue: Queue::default(), since });
        }
        Ok(Deliveries {
            messages: Journal::new(&parts.catalog, MESSAGES),
            notices: Journal::new(&parts.catalog, NOTICES),
            lines,
            holder: Uuid::new_v4(),
            counts: Counts::default(),
            seen: Mutex::default(),
            parts,
        })
    }

    /// Takes up a published version of a window: what must be told of it is written down when this returns. Called again
    /// with the same version, or an older one, it changes nothing.
    ///
    /// The window is compared with the one before it, and the one after it with this one, as far as they are published.
    /// A window that ended before a report was first configured is not told, unless the report asks for it.
    ///
    /// # Errors
    /// What the store says; it is to be called again then.
    pub async fn note(&self, manifest: &Manifest) -> Result<()> {
        let window = manifest.window()?;
        for line in &self.lines {
            let compare = line.report.compare;
            if !line.takes(manifest) {
                continue;
            }
            for (before, after) in [(compare.before(&window), Some(window)), (Some(window), compare.after(&window))] {
                let (Some(before), Some(after)) = (before, after) else { continue };
                if !line.reaches(&after) {
                    continue;
                }
                let other = if before == window { &after } else { &before };
                let Some(other) = self.parts.catalog.latest(other).await?.filter(|other| line.takes(other)) else {
                    if after == window && manifest.state == State::Final && line.report.notices {
                        self.note_gap(line, &before, &after).await?;
                    }
                    continue;
                };
                let (before_version, after_version) = match before == window {
                    true => (manifest.version, other.version),
                    false => (other.version, manifest.version),
                };
                let versions = Versions { before: before_version, after: after_version };
                let (before, after) = (Span::of(&before), Span::of(&after));
                let item = Item::Comparison(record::id(&line.report.name, &before, &after));
                let wanted = |record: Option<&Record>| match record {
                    Some(record) => record.want(&versions),
                    None => Some(Record::new(&line.report.name, before, after, versions)),
                };
                self.want(line, item, wanted).await?;
            }
        }
        Ok(())
    }

    /// What became of messages so far.
    pub fn figures(&self) -> Figures {
        let Counts { told, amended, retracted, silent, failed } = &self.counts;
        let [told, amended, retracted, silent, failed] =
            [told, amended, retracted, silent, failed].map(|count| count.load(Relaxed));
        let pending = self.lines.iter().map(|line| line.queue.len() as u64).sum();
        Figures { told, amended, retracted, silent, failed, pending }
    }

    /// Counts in the metrics what waits for each report.
    pub fn count(&self) {
        for Line { report, queue, .. } in &self.lines {
            meters::deliveries_pending(&report.name, queue.len(), queue.longest_wait().unwrap_or_default());
        }
    }

    /// Follows the state of an item with the one that `next` makes of it; what is due then is told.
    async fn want<T: Telling>(&self, line: &Line, item: Item, next: impl Fn(Option<&T>) -> Option<T>) -> Result<()> {
        let newest = match self.update(item, next).await? {
            Some(entry) => Some(entry),
            None => self.journal(item).newest::<T>(&item.to_string()).await?,
        };
        if let Some(record) = newest.map(|entry| entry.value).filter(T::is_due) {
            line.queue.add(record.age(), item, record.rest());
        }
        Ok(())
    }

    /// Follows the newest state of an item with the one that `next` makes of it, if it makes one. Returns what was written.
    ///
    /// # Errors
    /// What the store says, and `Unavailable` if others write all the time.
    async fn update<T: Telling>(&self, item: Item, next: impl Fn(Option<&T>) -> Option<T>) -> Result<Option<Entry<T>>> {
        let (journal, id) = (self.journal(item), item.to_string());
        for _ in 0..TRIES {
            let newest = journal.newest::<T>(&id).await?;
            let Some(value) = next(newest.as_ref().map(|entry| &entry.value)) else { return Ok(None) };
            match journal.append(&id, newest.map_or(0, |entry| entry.number), &value).await {
                Ok(number) => return Ok(Some(Entry { number, value })),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("the state of message {id} changes faster than it can be written"),
        ))
    }

    fn journal(&self, item: Item) -> &Journal {
        match item {
            Item::Comparison(_) => &self.messages,
            Item::Notice(_) => &self.notices,
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Item, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a report began: at its first use with this store.
async fn since(parts: &Parts, report: &Report) -> Result<Timestamp> {
    let journal = Journal::new(&parts.catalog, REPORTS);
    if let Some(entry) = journal.newest::<Began>(&report.name).await? {
        return Ok(entry.value.since);
    }
    let since = parts.clock.now();
    match journal.append(&report.name, 0, &Began { since }).await {
        Ok(_) => Ok(since),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let entry = journal.newest::<Began>(&report.name).await?;
            entry.map(|entry| entry.value.since).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

impl Line {
    /// Whether it tells of digests in this state.
    fn takes(&self, manifest: &Manifest) -> bool {
        self.report.provisional || manifest.state == State::Final
    }

    /// Whether it tells of a window, by when that ended.
    fn reaches(&self, window: &Window) -> bool {
        self.report.history || window.stop() > self.since
    }
}

/// A span of time as timers have it.
fn duration(time: TimeDelta) -> std::time::Duration {
    time.to_std().unwrap_or_default()
}

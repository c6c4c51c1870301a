//! Windows that somebody asked for and that are not built yet. In: jobs. Out: their records, in the store; workers that
//! build. Knows nothing of HTTP.
//!
//! A job lives in the journal `v1/jobs/` of the store, so every process on the store sees the same one: identical requests
//! share it, a worker that crashes loses it to another, and whoever asks sees how far it is. The queue only brings it
//! to a worker sooner than the next look at the store.
//!
//! ```text
//! queued ──► running ──► done
//!   ▲          │ │
//!   └──────────┘ └────► failed           at any time: cancelled
//!  a try failed, its worker stopped or crashed
//! ```

mod job;
mod lease;
mod options;
mod queue;
mod record;
#[cfg(test)]
mod tests;
mod worker;

pub use job::{Job, Kind};
pub use options::Options;
pub use queue::{Posted, Queue};
pub use record::{Failure, Progress, Record, Status};
pub use worker::{Build, Worker};

use crate::catalog::{Catalog, Entry, Head, Journal, State};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::scan;
use futures::{StreamExt, TryStreamExt, stream};
use queue::{Elsewhere, Embedded};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Name of the journal.
const JOURNAL: &str = "jobs";
/// Records read at once.
const CONCURRENCY: usize = 16;
/// Records that are remembered, some 500 bytes each; more are read anew at each look.
const SEEN_MAX: usize = 10_000;
/// Different jobs that can be asked for at once.
const TURNS: usize = 16;
/// How often a change is tried again where somebody else was faster.
const TRIES: usize = 5;

/// The jobs of a store. Clones share them.
#[derive(Clone, Debug)]
pub struct Jobs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    catalog: Catalog,
    journal: Journal,
    queue: Arc<dyn Queue>,
    options: Options,
    clock: Clock,
    /// Whoever asks for a job that is not there yet waits for its turn: of many who ask at once, one writes and posts.
    turns: [tokio::sync::Mutex<()>; TURNS],
    /// Jobs that this process works on.
    held: Mutex<HashMap<Uuid, Held>>,
    /// Records of the last look: an entry never changes.
    seen: Mutex<HashMap<Uuid, (Head, Record)>>,
}

/// What a request for a job came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one for each request, and it is taken apart at once")]
pub enum Requested {
    /// The job, as it is now: new, or asked for before.
    Accepted(Record),
    /// Too many jobs wait.
    Full,
}

/// Who asks decides what a job that ended means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Somebody who wants the job done: one that failed or was cancelled begins anew.
    Job,
    /// Somebody who wants what it makes: a fresh failure is told.
    Result,
    /// A bus that brings it here: one that was cancelled meanwhile stays so.
    Delivery,
}

impl Jobs {
    /// The jobs of the store of `catalog`, with a queue within this process; if it has no workers, with none.
    pub fn new(catalog: Catalog, clock: Clock, options: Options) -> Jobs {
        let queue = own_queue(&options);
        Jobs::with_queue(catalog, clock, options, queue)
    }

    /// The same with another queue.
    pub fn with_queue(catalog: Catalog, clock: Clock, options: Options, queue: Arc<dyn Queue>) -> Jobs {
        let journal = Journal::new(&catalog, JOURNAL);
        let (turns, held, seen) = Default::default();
        Jobs { inner: Arc::new(Inner { catalog, journal, queue, options, clock, turns, held, seen }) }
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Asks for a job.
    ///
    /// One that waits or runs is returned as it is, and so is one that is done if its digests are final; else it is queued,
    /// with all its tries before it.
    ///
    /// # Errors
    /// What the store and the queue say.
    pub async fn request(&self, job: Job) -> Result<Requested> {
        self.ask(job, Asked::Job).await
    }

    /// Asks for what a job makes, because it is not there. As [`Jobs::request`], but a job that failed or was cancelled
    /// stays so for [`Options::failed_for`]: who asks is told why, and does not try the same again each time.
    ///
    /// # Errors
    /// What the store and the queue say.
    pub async fn want(&self, job: Job) -> Result<Requested> {
        self.ask(job, Asked::Result).await
    }

    /// Takes a job that a bus has brought to this process: one that waits goes into the queue of this process.
    ///
    /// # Errors
    /// What the store and the queue say.
    pub async fn deliver(&self, job: Job) -> Result<Requested> {
        self.ask(job, Asked::Delivery).await
    }

    /// A job by its id; `None` if it was never asked for, or was forgotten since it ended.
    ///
    /// # Errors
    /// `Data` if its record cannot be read, and what the store says.
    pub async fn find(&self, id: Uuid) -> Result<Option<Record>> {
        Ok(self.newest(id).await?.map(|entry| self.with_progress(entry.value)))
    }

    /// All jobs, those asked for last first. A record that cannot be read is passed over with a warning.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<Record>> {
        let mut records: Vec<Record> =
            self.entries().await?.into_iter().map(|entry| self.with_progress(entry.value)).collect();
        records.sort_by_key(|record| (std::cmp::Reverse(record.created), record.job.id()));
        Ok(records)
    }

    /// Calls a job off. One that ended already is returned as it is; `None` if there is none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn cancel(&self, id: Uuid) -> Result<Option<Record>> {
        for _ in 0..TRIES {
            let Some(entry) = self.newest(id).await? else { return Ok(None) };
            if entry.value.status.is_ended() {
                return Ok(Some(entry.value));
            }
            let record = self.with_progress(entry.value).with_status(Status::Cancelled, self.inner.clock.now());
            match self.inner.journal.append(&id.to_string(), entry.number, &record).await {
                Ok(_) => {
                    if let Some(held) = lock(&self.inner.held).get(&id) {
                        held.cancelled.cancel();
                    }
                    tracing::info!(job = %id, "cancelled: {}", record.job);
                    return Ok(Some(record));
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.busy(id))
    }

    async fn ask(&self, job: Job, asked: Asked) -> Result<Requested> {
        let newest = self.newest(job.id()).await?;
        if let Some(answer) = self.standing(newest.as_ref(), asked).await? {
            return Ok(answer);
        }
        let turn = job.id().as_u128() % TURNS as u128;
        let _turn = self.inner.turns[turn as usize].lock().await;
        for _ in 0..TRIES {
            let newest = self.newest(job.id()).await?;
            if let Some(answer) = self.standing(newest.as_ref(), asked).await? {
                return Ok(answer);
            }
            if self.is_full().await? {
                return Ok(Requested::Full);
            }
            match self.queue_after(&job, newest, asked).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                answer => return answer,
            }
        }
        Err(self.busy(job.id()))
    }

    /// The answer if nothing has to be written: the job is under way, or what is known of it stands.
    async fn standing(&self, newest: Option<&Entry<Record>>, asked: Asked) -> Result<Option<Requested>> {
        let Some(Entry { value: record, .. }) = newest else { return Ok(None) };
        let now = self.inner.clock.now();
        let stands = match record.status {
            Status::Queued | Status::Running => {
                let waits = !record.is_held(now);
                if asked == Asked::Delivery && waits && self.inner.queue.bring(&record.job).await? == Posted::Full {
                    return Ok(Some(Requested::Full));
                }
                true
            }
            Status::Done => self.is_final(&record.job).await?,
            Status::Failed | Status::Cancelled => match asked {
                Asked::Job => false,
                Asked::Result => now < record.updated + self.inner.options.failed_for,
                Asked::Delivery => record.status == Status::Cancelled,
            },
        };
        Ok(stands.then(|| Requested::Accepted(self.with_progress(record.clone()))))
    }

    /// Writes that a job waits, then posts it; if that fails, it is as it was before.
    async fn queue_after(&self, job: &Job, before: Option<Entry<Record>>, asked: Asked) -> Result<Requested> {
        let Inner { journal, queue, clock, .. } = &*self.inner;
        let id = job.id().to_string();
        let record = Record::queued(job.clone(), clock.now());
        let number = journal.append(&id, before.as_ref().map_or(0, |entry| entry.number), &record).await?;
        let posted = match asked {
            Asked::Delivery => queue.bring(job).await,
            Asked::Job | Asked::Result => queue.post(job).await,
        };
        if let Ok(Posted::Accepted) = posted {
            tracing::info!(job = %id, "queued: {job}");
            return Ok(Requested::Accepted(record));
        }
        let withdrawn = match before {
            Some(before) => journal.append(&id, number, &before.value).await.map(drop),
            None => journal.remove(&id, number).await,
        };
        // A worker may have found it meanwhile: then it runs, and whoever asks again is told so.
        if let Err(error) = withdrawn
            && error.kind() != ErrorKind::Conflict
        {
            tracing::warn!(job = id, error = error.copy().to_string(), "a job without room could not be withdrawn");
        }
        posted.map(|_| Requested::Full)
    }

    /// Whether there is no room for another job.
    async fn is_full(&self) -> Result<bool> {
        let Inner { queue, options, .. } = &*self.inner;
        if queue.is_full() || options.workers > 0 {
            return Ok(queue.is_full());
        }
        let entries = self.entries().await?;
        Ok(entries.iter().filter(|entry| entry.value.status == Status::Queued).count() >= options.queue_max)
    }

    /// Whether every window of a job is published and will only change for a late object.
    async fn is_final(&self, job: &Job) -> Result<bool> {
        for window in job.windows() {
            let newest = self.inner.catalog.latest(window).await?;
            if newest.is_none_or(|manifest| manifest.state != State::Final) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn newest(&self, id: Uuid) -> Result<Option<Entry<Record>>> {
        self.inner.journal.newest(&id.to_string()).await
    }

    /// The newest entry of every job; only what changed since the last look is read.
    async fn entries(&self) -> Result<Vec<Entry<Record>>> {
        let heads = self.inner.journal.heads().await?;
        let heads = heads.into_iter().filter_map(|(id, head)| Some((Uuid::try_parse(&id).ok()?, head)));
        let looks: Vec<_> = {
            let seen = lock(&self.inner.seen);
            let known = |id: &Uuid, head: &Head| seen.get(id).filter(|(seen, _)| seen == head).map(|(_, r)| r.clone());
            heads.map(|(id, head)| (id, known(&id, &head), head)).collect()
        };
        let found: Vec<(Uuid, Head, Record)> = stream::iter(looks)
            .map(|(id, known, head)| async move {
                let record = match known {
                    Some(record) => Some(record),
                    None => self.read(id, head.number).await?,
                };
                Ok::<_, Error>(record.map(|record| (id, head, record)))
            })
            .buffer_unordered(CONCURRENCY)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await?;
        // Without a tag there is no telling whether the number was used again.
        let lasting = found.iter().filter(|(_, head, _)| head.etag.is_some()).take(SEEN_MAX);
        *lock(&self.inner.seen) = lasting.map(|(id, head, record)| (*id, (head.clone(), record.clone()))).collect();
        Ok(found.into_iter().map(|(_, head, value)| Entry { number: head.number, value }).collect())
    }

    /// One entry; `None` if it is gone or cannot be read, which is told.
    async fn read(&self, id: Uuid, number: u64) -> Result<Option<Record>> {
        match self.inner.journal.read(&id.to_string(), number).await {
            Ok(entry) => Ok(entry.map(|entry| entry.value)),
            Err(error) if error.kind() == ErrorKind::Data => {
                tracing::warn!(job = %id, error = error.copy().to_string(), "the record of a job is passed over");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// With the counters of this moment, if this process works on it.
    fn with_progress(&self, record: Record) -> Record {
        let held = lock(&self.inner.held);
        match held.get(&record.job.id()).filter(|_| record.status == Status::Running) {
            Some(held) => Record { progress: Progress::of(&held.progress), ..record },
            None => record,
        }
    }

    /// Marks a job as worked on by this process, as long as the result lives; `None` if it is already.
    fn hold(&self, id: Uuid, progress: Arc<scan::Progress>) -> Option<Hold> {
        let mut held = lock(&self.inner.held);
        if held.contains_key(&id) {
            return None;
        }
        let cancelled = CancellationToken::new();
        held.insert(id, Held { cancelled: cancelled.clone(), progress });
        Some(Hold { jobs: self.clone(), id, cancelled })
    }

    fn busy(&self, id: Uuid) -> Error {
        Error::new(ErrorKind::Unavailable, format!("job {id} changes too fast"))
    }
}

/// A job that this process works on.
#[derive(Debug)]
struct Held {
    cancelled: CancellationToken,
    progress: Arc<scan::Progress>,
}

/// See [`Jobs::hold`].
struct Hold {
    jobs: Jobs,
    id: Uuid,
    /// Set when somebody in this process calls the job off.
    cancelled: CancellationToken,
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.jobs.inner.held).remove(&self.id);
    }
}

/// The queue within a process; if it has no workers, none: others look at the store.
pub fn own_queue(options: &Options) -> Arc<dyn Queue> {
    match options.workers {
        0 => Arc::new(Elsewhere),
        _ => Arc::new(Embedded::new(options.queue_max)),
    }
}

/// What a thread that panicked left behind is whole: every change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

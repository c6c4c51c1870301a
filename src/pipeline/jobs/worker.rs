//! Builds what jobs ask for. In: the queue, and looks at the store for jobs that nobody works on. Out: digests, records.

use super::lease::Lease;
use super::options::timer;
use super::record::{Failure, Progress, Status};
use super::{Hold, Job, Jobs};
use crate::digest::Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::meters;
use crate::scan::Report;
use crate::window::Window;
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// How long handing jobs back may take at the end: then the lease runs out by itself.
const HAND_BACK_MAX: Duration = Duration::from_secs(5);
/// A lease is made longer so many times before it would run out.
const RENEWALS: i32 = 3;

/// Makes the digest of a window. A program that embeds the crate may bring its own way.
#[async_trait]
pub trait Build: Send + Sync {
    /// Builds and publishes the digest of `window` unless it is there. How far it is goes to `report`. Dropped, it stops.
    ///
    /// # Errors
    /// `Invalid`, `NotFound` and `Data` end the job; anything else is tried again.
    async fn build(&self, window: &Window, report: &Arc<Report>) -> Result<()>;
}

#[async_trait]
impl Build for Builder {
    async fn build(&self, window: &Window, report: &Arc<Report>) -> Result<()> {
        Builder::build(self, window, false, report).await.map(drop)
    }
}

/// Works on jobs.
#[derive(Clone)]
pub struct Worker {
    jobs: Jobs,
    build: Arc<dyn Build>,
    name: Arc<str>,
    /// Set when jobs under way must be handed back.
    handed_back: CancellationToken,
}

/// How the work on a job ended.
enum End {
    /// By itself.
    Worked(Result<Result<()>, JoinError>),
    /// Somebody called it off.
    Cancelled,
    /// The worker has to stop.
    HandedBack,
    /// Another worker has the job, or may have.
    Lost(Error),
}

impl Worker {
    /// A worker on `jobs` that builds with `build`, such as a [`Builder`].
    pub fn new(jobs: Jobs, build: Arc<dyn Build>) -> Worker {
        let name = format!("{}-{}", std::process::id(), Uuid::new_v4().simple());
        Worker { jobs, build, name: name.into(), handed_back: CancellationToken::new() }
    }

    /// Works on jobs until `stop` is set; then takes no other, waits [`super::Options::stop_grace`] for those under way, and
    /// hands back what is not done. Returns at once if the settings ask for no workers.
    pub async fn run(self, stop: CancellationToken) {
        let options = &self.jobs.inner.options;
        if options.workers == 0 {
            return;
        }
        let (sender, mut found) = mpsc::channel(1);
        let looking = AbortOnDropHandle::new(tokio::spawn(self.clone().look(sender)));
        let mut running = JoinSet::new();
        loop {
            let has_room = running.len() < options.workers;
            let job = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = running.join_next() => {
                    tell(ended);
                    continue;
                }
                job = self.jobs.inner.queue.take(), if has_room => job,
                Some(job) = found.recv(), if has_room => job,
            };
            running.spawn(self.clone().work(job));
        }
        drop(looking);
        if timeout(timer(options.stop_grace), finish(&mut running)).await.is_err() {
            tracing::info!(jobs = running.len(), "handing back jobs that are not done");
            self.handed_back.cancel();
            if timeout(HAND_BACK_MAX, finish(&mut running)).await.is_err() {
                tracing::warn!(jobs = running.len(), "jobs could not be handed back: others take them over");
            }
        }
    }

    /// Looks through the store again and again: jobs to work on go to `found`, those that ended long ago are forgotten.
    async fn look(self, found: mpsc::Sender<Job>) {
        let mut ticks = interval(timer(self.jobs.inner.options.poll));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let open = match self.jobs.clean().await {
                Ok(open) => open,
                Err(error) => {
                    tracing::warn!(error = error.copy().to_string(), "the store could not be looked through for jobs");
                    continue;
                }
            };
            meters::jobs_queued(open.len());
            for job in open {
                if found.send(job).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn work(self, job: Job) {
        let id = job.id();
        let report = Report::new();
        report.progress.windows_total.store(job.windows().len() as u64, Ordering::Relaxed);
        let Some(hold) = self.jobs.hold(id, report.progress.clone()) else { return };
        match Lease::claim(&self.jobs, &job, &self.name).await {
            Ok(None) => {}
            Ok(Some(lease)) => {
                tracing::info!(job = %id, attempt = lease.record().attempt, "working on {job}");
                if let Err(error) = self.carry_out(lease, &hold, &report).await {
                    tracing::warn!(job = %id, error = error.copy().to_string(), "the end of a job could not be recorded");
                }
            }
            Err(error) => tracing::warn!(job = %id, error = error.copy().to_string(), "a job could not be taken"),
        }
    }

    async fn carry_out(&self, mut lease: Lease, hold: &Hold, report: &Arc<Report>) -> Result<()> {
        let job = lease.record().job.clone();
        let (id, kind) = (job.id(), job.kind().name());
        let running = meters::JobRunning::begin(kind);
        let mut work = AbortOnDropHandle::new(tokio::spawn(build(self.build.clone(), job, report.clone())));
        let end = self.watch(&mut work, &mut lease, hold, report).await;
        if !matches!(end, End::Worked(_)) {
            work.abort();
            // A panic on the way out is told by the runtime; the work is over either way.
            let _ = (&mut work).await;
        }
        let progress = Progress::of(&report.progress);
        let attempts_max = self.jobs.inner.options.attempts_max;
        match end {
            End::Worked(Ok(Ok(()))) => {
                tracing::info!(job = %id, "done");
                running.end(Status::Done.name());
                lease.end(Status::Done, progress, None).await
            }
            End::Worked(Ok(Err(error))) => {
                let may_mend = !matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Data);
                let again = may_mend && lease.record().attempt < attempts_max;
                let failure = Failure::from(&error);
                tracing::warn!(job = %id, attempt = lease.record().attempt, again, error = failure.message, "failed");
                let status = if again { Status::Queued } else { Status::Failed };
                if status.is_ended() {
                    running.end(status.name());
                }
                lease.end(status, progress, Some(failure)).await
            }
            End::Worked(Err(broken)) => {
                let failure = Failure::from(&panicked(broken));
                tracing::error!(job = %id, error = failure.message, "failed");
                running.end(Status::Failed.name());
                lease.end(Status::Failed, progress, Some(failure)).await
            }
            End::Cancelled => {
                tracing::info!(job = %id, "stopped: it was cancelled");
                running.end(Status::Cancelled.name());
                Ok(())
            }
            End::HandedBack => lease.hand_back().await,
            End::Lost(error) => {
                tracing::warn!(job = %id, error = error.copy().to_string(), "stopped: the job is no longer ours");
                Ok(())
            }
        }
    }

    /// Waits for the end of the work, and keeps the lease meanwhile.
    async fn watch(
        &self,
        work: &mut AbortOnDropHandle<Result<()>>,
        lease: &mut Lease,
        hold: &Hold,
        report: &Report,
    ) -> End {
        let span = timer(self.jobs.inner.options.lease() / RENEWALS);
        let mut renewals = interval_at(Instant::now() + span, span);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = &mut *work => return End::Worked(ended),
                () = hold.cancelled.cancelled() => return End::Cancelled,
                () = self.handed_back.cancelled() => return End::HandedBack,
                _ = renewals.tick() => {}
            }
            let error = match timeout(span, lease.renew(Progress::of(&report.progress))).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => Error::new(ErrorKind::Unavailable, "the store does not answer in time"),
            };
            if error.kind() == ErrorKind::Conflict || lease.has_expired() {
                return End::Lost(error);
            }
            tracing::warn!(job = %hold.id, error = error.copy().to_string(), "a lease could not be renewed yet");
        }
    }
}

impl Jobs {
    /// Forgets the jobs that ended long ago, and returns those that nobody works on, the oldest first.
    pub(super) async fn clean(&self) -> Result<Vec<Job>> {
        let (now, kept_for) = (self.inner.clock.now(), self.inner.options.kept_for);
        let mut open = Vec::new();
        for entry in self.entries().await? {
            let record = entry.value;
            let id = record.job.id();
            if !record.status.is_ended() && !record.is_held(now) && !super::lock(&self.inner.held).contains_key(&id) {
                open.push(record);
            } else if record.status.is_ended() && record.updated + kept_for < now {
                self.inner.journal.remove(&id.to_string(), entry.number).await?;
            }
        }
        open.sort_by_key(|record| (record.created, record.job.id()));
        Ok(open.into_iter().map(|record| record.job).collect())
    }
}

/// Builds the windows of a job one after the other: each takes all threads.
async fn build(build: Arc<dyn Build>, job: Job, report: Arc<Report>) -> Result<()> {
    for window in job.windows() {
        build.build(window, &report.part()).await?;
        report.progress.windows_done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn panicked(broken: JoinError) -> Error {
    let Ok(panic) = broken.try_into_panic() else { return Error::internal("the work was broken off") };
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("the work panicked: {}", text.unwrap_or("without a message")))
        .with_hint("this is a defect of flowdiff: please report it")
}

async fn finish(running: &mut JoinSet<()>) {
    while let Some(ended) = running.join_next().await {
        tell(ended);
    }
}

/// What a job's task does not catch ends with it alone.
fn tell(ended: Result<(), JoinError>) {
    if let Err(broken) = ended {
        let error = panicked(broken);
        tracing::error!(error = error.to_string(), "a worker's task broke off");
    }
}

//! The right to work on a job: got by creating its next entry, kept by creating more, lost to whoever creates one first.

use super::record::{Failure, Progress, Record, Status};
use super::{Job, Jobs};
use crate::error::{ErrorKind, Result};
use crate::window::format_time;
use tokio::time::Instant;

/// A job that a worker holds.
#[derive(Debug)]
pub(super) struct Lease {
    jobs: Jobs,
    /// The newest entry that is known to be ours.
    number: u64,
    record: Record,
    /// When the lease was last made longer, before the store was asked.
    renewed: Instant,
}

impl Lease {
    /// Takes a job for `worker`; `None` if there is nothing to do: another holds it, it ended, or it had its tries.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn claim(jobs: &Jobs, job: &Job, worker: &str) -> Result<Option<Lease>> {
        let (now, options, renewed) = (jobs.inner.clock.now(), &jobs.inner.options, Instant::now());
        // A job without a record was withdrawn.
        let Some(entry) = jobs.newest(job.id()).await? else { return Ok(None) };
        let mut record = entry.value;
        if record.status.is_ended() || record.is_held(now) {
            return Ok(None);
        }
        if record.status == Status::Running {
            let failure = silence(&record);
            tracing::warn!(job = %job.id(), "{}", failure.message);
            record.error = Some(failure);
        }
        let has_tries = record.attempt < options.attempts_max.max(1);
        let record = match has_tries {
            true => record.taken(worker, options.lease(), now),
            false => record.with_status(Status::Failed, now),
        };
        match jobs.inner.journal.append(&job.id().to_string(), entry.number, &record).await {
            Ok(number) => Ok(has_tries.then(|| Lease { jobs: jobs.clone(), number, record, renewed })),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The job as this lease wrote it last.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the lease was not made longer in time, so that others may have taken the job.
    pub(super) fn has_expired(&self) -> bool {
        self.renewed.elapsed() >= super::options::timer(self.jobs.inner.options.lease())
    }

    /// Makes the lease longer and tells how far the job is.
    ///
    /// # Errors
    /// `Conflict` if it is lost; what the store says otherwise, and the lease runs on as long as it was.
    pub(super) async fn renew(&mut self, progress: Progress) -> Result<()> {
        let (now, renewed) = (self.jobs.inner.clock.now(), Instant::now());
        let lease_until = Some(now + self.jobs.inner.options.lease());
        self.advance(Record { lease_until, updated: now, progress, ..self.record.clone() }).await?;
        self.renewed = renewed;
        Ok(())
    }

    /// Gives the job up as `status`, with the reason of a failure.
    ///
    /// # Errors
    /// As [`Lease::renew`].
    pub(super) async fn end(mut self, status: Status, progress: Progress, error: Option<Failure>) -> Result<()> {
        let record = self.record.clone().with_status(status, self.jobs.inner.clock.now());
        self.advance(Record { progress, error, ..record }).await
    }

    /// Gives the job back unfinished: another worker goes on, and this try does not count.
    ///
    /// # Errors
    /// As [`Lease::renew`].
    pub(super) async fn hand_back(mut self) -> Result<()> {
        let record = self.record.clone().with_status(Status::Queued, self.jobs.inner.clock.now());
        self.advance(Record { attempt: record.attempt.saturating_sub(1), ..record }).await
    }

    async fn advance(&mut self, record: Record) -> Result<()> {
        let id = record.job.id();
        loop {
            let error = match self.jobs.inner.journal.append(&id.to_string(), self.number, &record).await {
                Ok(number) => {
                    (self.number, self.record) = (number, record);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict => error,
                Err(error) => return Err(error),
            };
            // It may be an entry of our own that we gave up waiting for.
            match self.jobs.newest(id).await? {
                Some(entry) if entry.number > self.number && self.is_ours(&entry.value) => self.number = entry.number,
                _ => return Err(error),
            }
        }
    }

    fn is_ours(&self, record: &Record) -> bool {
        let Record { status, worker, attempt, .. } = &self.record;
        (record.status, &record.worker, record.attempt) == (*status, worker, *attempt)
    }
}

/// Why a try whose lease ran out failed; with the failure before it, which may say more.
fn silence(record: &Record) -> Failure {
    let worker = record.worker.as_deref().unwrap_or("unknown");
    let (attempt, since) = (record.attempt, format_time(record.updated));
    let before = record.error.as_ref().map(|error| format!("; before: {}", error.message)).unwrap_or_default();
    let message = format!("worker {worker} gave no sign of life since {since}, in try {attempt}{before}");
    Failure { kind: ErrorKind::Internal, message, hint: Some("look at the worker's log of that time".to_owned()) }
}

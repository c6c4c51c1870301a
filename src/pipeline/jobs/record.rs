//! What is known of a job: the entry of its journal, which is also what clients are answered.

use super::job::Job;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::pipeline::bounds::is_over;
use crate::scan;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use utoipa::ToSchema;

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JobStatus)]
pub enum Status {
    /// It waits for a worker.
    Queued,
    /// A worker holds it.
    Running,
    /// Its windows are built.
    Done,
    /// It cannot be done; `error` says why.
    Failed,
    /// Somebody called it off.
    Cancelled,
}

impl Status {
    /// Whether nobody will work on it any more unless it is asked for again.
    pub fn is_ended(self) -> bool {
        matches!(self, Status::Done | Status::Failed | Status::Cancelled)
    }

    /// Name in records and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Running => "running",
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }
}

/// A job and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobRecord)]
pub struct Record {
    /// What is to be done.
    #[serde(flatten)]
    pub job: Job,
    /// Where it is.
    pub status: Status,
    /// Tries so far, the present one included.
    pub attempt: u32,
    /// The worker that holds it, or held it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When others may take it over, unless the worker gives a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub lease_until: Option<Timestamp>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When this was written.
    #[schema(value_type = String, format = DateTime)]
    pub updated: Timestamp,
    /// How far it is.
    pub progress: Progress,
    /// Why it failed, or why the last try did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = JobProgress)]
pub struct Progress {
    /// Windows to build.
    pub windows: u64,
    /// Windows that are built.
    pub windows_done: u64,
    /// Objects to read, as far as they are known.
    pub objects: u64,
    /// Objects done with.
    pub objects_read: u64,
    /// Their stored bytes.
    pub bytes_read: u64,
    /// Records decoded.
    pub records: u64,
}

/// Why a job, or a try of it, failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobFailure)]
pub struct Failure {
    /// What kind of error it is: `invalid`, `not_found`, `conflict`, `unavailable`, `data` or `internal`.
    #[schema(value_type = String)]
    pub kind: ErrorKind,
    /// What went wrong, with its causes.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Record {
    /// A job that is asked for at `now`.
    pub(super) fn queued(job: Job, now: Timestamp) -> Record {
        let progress = Progress { windows: job.windows().len() as u64, ..Progress::default() };
        let (status, attempt) = (Status::Queued, 0);
        Record {
            job,
            status,
            attempt,
            worker: None,
            lease_until: None,
            created: now,
            updated: now,
            progress,
            error: None,
        }
    }

    /// The same job with another status, held by nobody.
    pub(super) fn with_status(self, status: Status, now: Timestamp) -> Record {
        Record { status, lease_until: None, updated: now, ..self }
    }

    /// The next try of the same job, by `worker`.
    pub(super) fn taken(self, worker: &str, lease: TimeDelta, now: Timestamp) -> Record {
        let progress = Progress { windows: self.progress.windows, ..Progress::default() };
        let (attempt, worker, lease_until) = (self.attempt.saturating_add(1), worker.to_owned(), now + lease);
        Record {
            status: Status::Running,
            attempt,
            worker: Some(worker),
            lease_until: Some(lease_until),
            updated: now,
            progress,
            ..self
        }
    }

    /// Whether a worker holds the job at `now`.
    pub fn is_held(&self, now: Timestamp) -> bool {
        let name = || format!("job {}", self.job.id());
        self.status == Status::Running && self.lease_until.is_some_and(|until| !is_over(until, now, name))
    }
}

impl Progress {
    /// What the counters of a scan say.
    pub(super) fn of(counters: &scan::Progress) -> Progress {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            windows: read(&counters.windows_total),
            windows_done: read(&counters.windows_done),
            objects: read(&counters.objects_total),
            objects_read: read(&counters.objects_done),
            bytes_read: read(&counters.bytes_done),
            records: read(&counters.records),
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        let (kind, message) = (error.kind(), error.copy().to_string());
        Failure { kind, message, hint: error.hint().map(str::to_owned) }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let error = Error::new(failure.kind, failure.message);
        match failure.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

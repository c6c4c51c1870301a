//! The way of a job to a worker. Jobs lie in the store; a queue only brings them to a worker sooner than its next look.

use super::job::Job;
use crate::error::Result;
use async_trait::async_trait;
use std::fmt::Debug;
use tokio::sync::mpsc;

/// What became of a job that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It is on its way.
    Accepted,
    /// There is no room: ask again later.
    Full,
}

/// Brings jobs to workers. A program that embeds the crate may bring its own.
///
/// A job that is lost on the way is found by a worker's look at the store, one that comes twice is worked on once.
#[async_trait]
pub trait Queue: Debug + Send + Sync {
    /// Whether a post would be refused now. Asked before anything is written; may be wrong a moment later.
    fn is_full(&self) -> bool {
        false
    }

    /// Posts a job.
    ///
    /// # Errors
    /// If nobody can be told of the job: it is not asked for then.
    async fn post(&self, job: &Job) -> Result<Posted>;

    /// Posts a job that somebody brought to this process: it stays here, also where this process posts to others.
    ///
    /// # Errors
    /// As [`Queue::post`].
    async fn bring(&self, job: &Job) -> Result<Posted> {
        self.post(job).await
    }

    /// The next job for this process. A queue that brings jobs to others never has one.
    async fn take(&self) -> Job {
        std::future::pending().await
    }
}

/// A queue within the process, with a bound.
#[derive(Debug)]
pub(super) struct Embedded {
    sender: mpsc::Sender<Job>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Job>>,
}

impl Embedded {
    /// A queue of at most `jobs_max` jobs; 0 counts as 1.
    pub(super) fn new(jobs_max: usize) -> Embedded {
        let (sender, receiver) = mpsc::channel(jobs_max.clamp(1, tokio::sync::Semaphore::MAX_PERMITS));
        Embedded { sender, receiver: receiver.into() }
    }
}

#[async_trait]
impl Queue for Embedded {
    fn is_full(&self) -> bool {
        self.sender.capacity() == 0
    }

    async fn post(&self, job: &Job) -> Result<Posted> {
        Ok(self.sender.try_send(job.clone()).map_or(Posted::Full, |()| Posted::Accepted))
    }

    async fn take(&self) -> Job {
        match self.receiver.lock().await.recv().await {
            Some(job) => job,
            // Never: the queue itself holds a sender.
            None => std::future::pending().await,
        }
    }
}

/// No queue: workers of other processes find the jobs in the store.
#[derive(Debug)]
pub(super) struct Elsewhere;

#[async_trait]
impl Queue for Elsewhere {
    async fn post(&self, _: &Job) -> Result<Posted> {
        Ok(Posted::Accepted)
    }
}

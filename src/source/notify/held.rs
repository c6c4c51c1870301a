//! Messages that are held: kept from others while they are worked on, deleted once they are done, each ten to a request.
//!
//! One task looks after all of them. It ends with the [`Held`] that started it; what was held then comes again.

use super::Counts;
use crate::aws::{QUEUE_BATCH, Queue};
use chrono::TimeDelta;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::JoinHandle;

/// The messages that are held.
#[derive(Debug)]
pub(super) struct Held {
    table: Arc<Table>,
    task: JoinHandle<()>,
}

/// What lets a message go. Dropped without a word, it is no longer kept from others and comes again.
#[derive(Debug)]
pub struct Ack {
    table: Arc<Table>,
    number: u64,
}

#[derive(Debug)]
struct Table {
    queue: Arc<Queue>,
    visibility: TimeDelta,
    counts: Arc<Counts>,
    numbers: AtomicU64,
    working: Mutex<HashMap<u64, Entry>>,
    done: Mutex<Vec<Entry>>,
    /// Rung for each message that is done.
    bell: Notify,
    /// Held while messages are deleted, so that a flush waits for those under way.
    deleting: tokio::sync::Mutex<()>,
}

/// A message, and its share of how many may be held: given back once it is deleted.
#[derive(Debug)]
struct Entry {
    receipt: String,
    _slot: OwnedSemaphorePermit,
}

impl Held {
    pub(super) fn new(queue: Arc<Queue>, visibility: TimeDelta, counts: Arc<Counts>) -> Held {
        let table = Arc::new(Table {
            queue,
            visibility,
            counts,
            numbers: AtomicU64::default(),
            working: Mutex::default(),
            done: Mutex::default(),
            bell: Notify::new(),
            deleting: tokio::sync::Mutex::default(),
        });
        let task = tokio::spawn(look_after(table.clone()));
        Held { table, task }
    }

    pub(super) fn hold(&self, receipt: String, slot: OwnedSemaphorePermit) -> Ack {
        let number = self.table.numbers.fetch_add(1, Relaxed);
        lock(&self.table.working).insert(number, Entry { receipt, _slot: slot });
        Ack { table: self.table.clone(), number }
    }

    /// Deletes what is done.
    pub(super) async fn flush(&self) {
        self.table.delete().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ack {
    /// Lets the message go: it is deleted soon, with others.
    pub fn done(self) {
        let entry = lock(&self.table.working).remove(&self.number);
        lock(&self.table.done).extend(entry);
        self.table.bell.notify_one();
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        lock(&self.table.working).remove(&self.number);
    }
}

impl Table {
    /// A deletion that fails is not repeated: the message comes again, tells of objects that are taken, and goes then.
    async fn delete(&self) {
        let _deleting = self.deleting.lock().await;
        loop {
            let batch: Vec<Entry> = {
                let mut done = lock(&self.done);
                let count = done.len().min(QUEUE_BATCH);
                done.drain(..count).collect()
            };
            if batch.is_empty() {
                return;
            }
            let receipts: Vec<String> = batch.iter().map(|entry| entry.receipt.clone()).collect();
            let failed = match self.queue.delete(&receipts).await {
                Ok(failed) => failed,
                Err(error) => {
                    tracing::warn!(error = error.copy().to_string(), "messages stay in the queue and come again");
                    self.counts.failures.fetch_add(1, Relaxed);
                    receipts.len()
                }
            };
            self.counts.deleted.fetch_add(receipts.len().saturating_sub(failed) as u64, Relaxed);
        }
    }

    async fn extend(&self) {
        let receipts: Vec<String> = lock(&self.working).values().map(|entry| entry.receipt.clone()).collect();
        for batch in receipts.chunks(QUEUE_BATCH) {
            match self.queue.extend(batch, self.visibility).await {
                Ok(0) => {}
                Ok(failed) => tracing::warn!(failed, "messages that are worked on may come again"),
                Err(error) => {
                    tracing::warn!(error = error.copy().to_string(), "messages that are worked on may come again");
                    self.counts.failures.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

/// Deletes what is done as soon as it is, and extends what is worked on when half of its time has passed.
async fn look_after(table: Arc<Table>) {
    let half = (table.visibility / 2).to_std().unwrap_or_default();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + half, half);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = table.bell.notified() => table.delete().await,
            _ = ticks.tick() => table.extend().await,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Merges two edge files in parallel, by ranges of the key. In: two Parquet files sorted by the edge key. Out: one
//! stream in key order, the same rows for any number of threads.
//!
//! The key space is cut where row groups begin, as their statistics tell. A cut need not be exact: each range reads
//! the row groups that may hold its keys and drops the rows outside of it. Files without statistics make one range.
//! Memory: per running range one batch of each side, one compressed row group of each side, and a few finished batches.

use super::edge_file::{EdgeFile, Range, RowGroup};
use super::merge::{BATCHES_WAITING, merge};
use super::rows::Plan;
use crate::error::Error;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Ranges for each thread: enough that threads end together, few enough that the row groups which two ranges share
/// (about one a range and side) stay a small part.
const RANGES_PER_THREAD: usize = 6;

/// Row groups of both files that a range has at least, for the same reason.
const RANGE_ROW_GROUPS_MIN: usize = 8;

/// Merges two edge files with `threads` ranges at work at once.
///
/// The stream stops its tasks when it is dropped.
pub(super) fn merge_files(
    before: EdgeFile,
    after: EdgeFile,
    plan: Arc<Plan>,
    threads: usize,
) -> SendableRecordBatchStream {
    let mut stream = RecordBatchReceiverStreamBuilder::new(plan.schema.clone(), BATCHES_WAITING);
    let sender = stream.tx();
    let (queue, mut queued) = mpsc::channel(threads);
    // Starts the ranges in key order, so that the one which the reader waits for is always at work or done.
    stream.spawn(async move {
        let running = Arc::new(Semaphore::new(threads));
        for range in ranges(&before, &after, threads) {
            let permit = running.clone().acquire_owned().await.expect("the semaphore is never closed");
            let sides = (before.side(range.clone()), after.side(range));
            let (results, received) = mpsc::channel(BATCHES_WAITING);
            let plan = plan.clone();
            let task = SpawnedTask::spawn(async move {
                let result = merge(sides.0, sides.1, plan, results).await;
                drop(permit);
                result
            });
            if queue.send((received, task)).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    stream.spawn(async move {
        while let Some((mut received, task)) = queued.recv().await {
            while let Some(batch) = received.recv().await {
                if sender.send(batch).await.is_err() {
                    return Ok(());
                }
            }
            task.join_unwind().await.map_err(|error| Error::internal("a merge was stopped").with_source(error))??;
        }
        Ok(())
    });
    stream.build()
}

/// Cuts the key space into ranges of about equally many rows of both files.
fn ranges(before: &EdgeFile, after: &EdgeFile, threads: usize) -> Vec<Range> {
    let mut groups: Vec<&RowGroup> = before.row_groups.iter().chain(&after.row_groups).collect();
    groups.sort_by(|a, b| a.first.cmp(&b.first));
    let count = match threads {
        1 => 1,
        _ => (threads * RANGES_PER_THREAD).min(groups.len() / RANGE_ROW_GROUPS_MIN).max(1),
    };
    let rows: u64 = groups.iter().map(|group| group.rows).sum();
    let (mut ranges, mut from, mut passed) = (Vec::with_capacity(count), None, 0);
    for group in groups {
        let due = passed * count as u64 > rows * (ranges.len() as u64 + 1) - 1;
        if due && !group.first.is_empty() && from.as_ref() != Some(&group.first) {
            let to = Some(group.first.clone());
            ranges.push(Range { from, to: to.clone() });
            from = to;
        }
        passed += group.rows;
    }
    ranges.push(Range { from, to: None });
    ranges
}

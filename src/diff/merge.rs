//! Merges two sorted tables into what differs. In: two streams of batches, each sorted by the key of the grain and
//! unique in it. Out: the rows of the diff, in key order, a batch at a time. Holds one batch of each side.

use super::rows::{BATCH_ROWS, Output, Plan, Rows};
use crate::error::{Context, Error, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::cmp::Ordering;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Rows compared column by column at a time. Long enough to pay for the turn, short enough that little is compared
/// in vain where one row in fifty differs.
const RUN_ROWS: usize = 64;

/// Batches of one side of a merge.
pub(super) type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Finished batches that wait in front of a slow reader.
pub(super) const BATCHES_WAITING: usize = 4;

/// Merges two sorted tables on a task of its own, which ends when the stream is dropped.
pub(super) fn merge_sides(before: Side, after: Side, plan: Arc<Plan>) -> SendableRecordBatchStream {
    let mut stream = RecordBatchReceiverStreamBuilder::new(plan.schema.clone(), BATCHES_WAITING);
    let sender = stream.tx();
    stream.spawn(async move { Ok(merge(before, after, plan, sender).await?) });
    stream.build()
}

/// Merges `before` and `after` and sends the diff to `sender`, until done or until nobody listens any more.
///
/// # Errors
/// Those of the streams; `Data` if a batch lacks a column, or does not go on where the batch before it ended. Order
/// is checked from batch to batch and between the ends of each: a row out of place inside a batch is not found.
pub(super) async fn merge(
    before: Side,
    after: Side,
    plan: Arc<Plan>,
    sender: Sender<datafusion::error::Result<RecordBatch>>,
) -> Result<()> {
    let (mut before, mut after) = (before, after);
    let mut output = Output::new(plan.clone());
    // The first rows are sent as soon as there are some: somebody may wait for them.
    let mut due = 1;
    loop {
        before.fill(&plan).await?;
        after.fill(&plan).await?;
        match (&before.rows, &after.rows) {
            (None, None) => break,
            (Some(rows), None) => {
                (before.next..rows.len).for_each(|row| output.removed(rows, row));
                before.next = rows.len;
            }
            (None, Some(rows)) => {
                (after.next..rows.len).for_each(|row| output.added(rows, row));
                after.next = rows.len;
            }
            (Some(old), Some(new)) => {
                (before.next, after.next) = merge_rows((old, before.next), (new, after.next), &plan, &mut output);
            }
        }
        if output.len() >= due {
            due = BATCH_ROWS;
            if sender.send(Ok(output.finish()?)).await.is_err() {
                return Ok(());
            }
            // Reading and merging may never wait, and the reader was woken on this thread: let it have its turn.
            tokio::task::yield_now().await;
        }
    }
    if output.len() > 0 {
        // Nobody left to read the last rows is no failure.
        let _ = sender.send(Ok(output.finish()?)).await;
    }
    Ok(())
}

/// Merges until one side is used up or the output is full; returns how far each side came.
fn merge_rows(before: (&Rows, usize), after: (&Rows, usize), plan: &Plan, output: &mut Output) -> (usize, usize) {
    let ((before, mut old), (after, mut new)) = (before, after);
    let (bytes_before, bytes_after) = (before.bytes(), after.bytes());
    while old < before.len && new < after.len && output.len() < BATCH_ROWS {
        let limit = RUN_ROWS.min(before.len - old).min(after.len - new);
        let run = before.keys.equal_run(old, &after.keys, new, limit);
        for at in 0..run {
            if plan.options.moved(bytes_before[old + at], bytes_after[new + at]) {
                output.changed(before, old + at, after, new + at);
            }
        }
        (old, new) = (old + run, new + run);
        if run < limit {
            match before.keys.compare(old, &after.keys, new) {
                Ordering::Less => {
                    output.removed(before, old);
                    old += 1;
                }
                Ordering::Greater => {
                    output.added(after, new);
                    new += 1;
                }
                Ordering::Equal => unreachable!("the run ended at a row that differs"),
            }
        }
    }
    (old, new)
}

/// One side of a merge: its batches, and how far it has come.
pub(super) struct Side {
    name: Arc<str>,
    batches: Batches,
    rows: Option<Rows>,
    next: usize,
}

impl Side {
    /// A side that starts before its first batch; `name` is for messages.
    pub(super) fn new(name: impl Into<Arc<str>>, batches: Batches) -> Side {
        Side { name: name.into(), batches, rows: None, next: 0 }
    }

    /// Loads the next batch once this one is used up; afterwards `rows` is empty only at the end.
    async fn fill(&mut self, plan: &Plan) -> Result<()> {
        while self.rows.as_ref().is_none_or(|rows| self.next == rows.len) {
            let Some(batch) = self.batches.next().await else {
                self.rows = None;
                return Ok(());
            };
            let batch = batch.context(|| format!("read {}", self.name))?;
            if batch.num_rows() == 0 {
                continue;
            }
            let rows = Rows::new(&batch, plan.options.by).context(|| format!("read {}", self.name))?;
            let last = |rows: &Rows| rows.len - 1;
            let follows = self.rows.as_ref().is_none_or(|old| old.keys.compare(last(old), &rows.keys, 0).is_lt());
            if !follows || (rows.len > 1 && rows.keys.compare(0, &rows.keys, last(&rows)).is_ge()) {
                return Err(Error::data(format!("{} is not sorted by its key", self.name))
                    .with_hint("rebuild the digest with --force"));
            }
            (self.rows, self.next) = (Some(rows), 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::Evidence;
    use super::super::{Grain, Options};
    use super::*;
    use datafusion::arrow::array::{
        ArrayRef, BooleanArray, Int64Array, StringViewArray, TimestampMillisecondArray, UInt8Array,
    };
    use futures::stream;

    fn hosts(addresses: &[&str]) -> RecordBatch {
        let texts = || Arc::new(StringViewArray::from_iter_values(addresses)) as ArrayRef;
        let counters = || Arc::new(Int64Array::from(vec![1; addresses.len()])) as ArrayRef;
        let times = || Arc::new(TimestampMillisecondArray::from(vec![0; addresses.len()])) as ArrayRef;
        let columns: [(&str, ArrayRef); 9] = [
            ("srcaddr", texts()),
            ("dstaddr", texts()),
            ("flows", counters()),
            ("packets", counters()),
            ("bytes", counters()),
            ("first_seen", times()),
            ("last_seen", times()),
            ("tcp_flags", Arc::new(UInt8Array::from(vec![0; addresses.len()]))),
            ("observed", Arc::new(BooleanArray::from(vec![true; addresses.len()]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[tokio::test]
    async fn the_first_rows_are_there_before_all_is_read() {
        let plan = Plan::new(&Options { by: Grain::Host, ..Options::default() }, Evidence::default());
        let first_then_nothing =
            |addresses: &[&str]| stream::iter([Ok(hosts(addresses))]).chain(stream::pending()).boxed();
        let before = Side::new("before", first_then_nothing(&["10.0.0.1", "10.0.0.3"]));
        let after = Side::new("after", first_then_nothing(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]));
        let mut rows = merge_sides(before, after, Arc::new(plan));
        assert_eq!(rows.next().await.unwrap().unwrap().num_rows(), 1);
    }
}

//! Merges sorted runs of edges, those on disk and those in memory: edges of one key become one. Memory: a batch of each
//! run; where even that is too much, DataFusion merges some of the runs on disk first.

use super::room::Room;
use crate::flow::{EDGE_KEY, Edge, edges_schema};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, RecordBatch, TimestampMillisecondArray, UInt8Array,
    UInt64Array,
};
use datafusion::arrow::compute::{concat_batches, partition, take};
use datafusion::arrow::datatypes::{ArrowPrimitiveType, Int64Type, TimestampMillisecondType, UInt8Type};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::{SortedSpillFile, StreamingMergeBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use std::ops::Range;
use std::sync::Arc;

const BATCH_ROWS: usize = 8192;

/// The edges of `runs` and of `rest`, each sorted by the edge key: sorted, each key once.
pub(super) fn merge(
    room: &Room,
    runs: Vec<SortedSpillFile>,
    rest: SendableRecordBatchStream,
) -> Result<SendableRecordBatchStream> {
    let schema = edges_schema();
    let key = EDGE_KEY.iter().map(|name| Ok(PhysicalSortExpr::new_default(col(name, &schema)?)));
    let key = LexOrdering::new(key.collect::<Result<Vec<_>>>()?).expect("an edge has a key");
    let memory = MemoryConsumer::new("merge of spilled edges").with_can_spill(true);
    let sorted = StreamingMergeBuilder::new()
        .with_sorted_spill_files(runs)
        .with_streams(vec![rest])
        .with_spill_manager(room.spills.clone())
        .with_schema(schema.clone())
        .with_expressions(&key)
        .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
        .with_batch_size(BATCH_ROWS)
        .with_reservation(memory.register(&room.runtime.memory_pool))
        .build()?;
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, fold_sorted(sorted))))
}

/// Folds equal neighbours. The last edge of a batch waits for the next batch, which may go on with it.
fn fold_sorted(sorted: SendableRecordBatchStream) -> impl futures::Stream<Item = Result<RecordBatch>> {
    let state = (sorted, None::<RecordBatch>, false);
    futures::stream::try_unfold(state, |(mut sorted, last, ended)| async move {
        if ended {
            return Ok(None);
        }
        let Some(batch) = sorted.try_next().await? else {
            return Ok(last.map(|last| (last, (sorted, None, true))));
        };
        let batch = match &last {
            Some(last) => concat_batches(&edges_schema(), [last, &batch])?,
            None => batch,
        };
        let edges = fold_equal(&batch)?;
        let whole = edges.num_rows().saturating_sub(1);
        let last = one_row(&edges, whole)?;
        Ok(Some((edges.slice(0, whole), (sorted, Some(last), false))))
    })
    .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
    .boxed()
}

/// A row by itself, which keeps nothing of its batch alive.
fn one_row(batch: &RecordBatch, row: usize) -> Result<RecordBatch> {
    let alone = batch.slice(row, batch.num_rows().min(1));
    let columns = alone.columns().iter().map(|column| match column.as_string_view_opt() {
        Some(text) => Arc::new(text.gc()) as ArrayRef,
        None => column.clone(),
    });
    Ok(RecordBatch::try_new(alone.schema(), columns.collect())?)
}

/// Folds the rows of each key of a sorted batch into one.
fn fold_equal(batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = partition(&batch.columns()[..EDGE_KEY.len()])?.ranges();
    if rows.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    let columns = Measures::of(batch);
    let edges: Vec<Edge> = rows.iter().cloned().map(|rows| columns.fold(rows)).collect();
    let firsts = UInt64Array::from_iter_values(rows.iter().map(|rows| rows.start as u64));
    let mut folded = batch.columns()[..EDGE_KEY.len()]
        .iter()
        .map(|column| Ok(take(column, &firsts, None)?))
        .collect::<Result<Vec<ArrayRef>>>()?;
    let counter = |of: fn(&Edge) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(edges.iter().map(of))) };
    let time = |of: fn(&Edge) -> i64| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter_values(edges.iter().map(of)).with_timezone("UTC"))
    };
    folded.extend([
        counter(|edge| edge.flows),
        counter(|edge| edge.packets),
        counter(|edge| edge.bytes),
        time(|edge| edge.first_seen),
        time(|edge| edge.last_seen),
        Arc::new(UInt8Array::from_iter(edges.iter().map(|edge| u8::try_from(edge.tcp_flags).ok()))),
    ]);
    Ok(RecordBatch::try_new(batch.schema(), folded)?)
}

/// The measures of a batch of edges; times in milliseconds.
struct Measures<'a> {
    counters: [&'a [i64]; 3],
    first_seen: &'a [i64],
    last_seen: &'a [i64],
    tcp_flags: &'a UInt8Array,
}

impl<'a> Measures<'a> {
    fn of(batch: &'a RecordBatch) -> Measures<'a> {
        fn values<T: ArrowPrimitiveType>(column: &ArrayRef) -> &PrimitiveArray<T> {
            column.as_primitive::<T>()
        }
        let measures = &batch.columns()[EDGE_KEY.len()..];
        Measures {
            counters: [0, 1, 2].map(|column| &**values::<Int64Type>(&measures[column]).values()),
            first_seen: values::<TimestampMillisecondType>(&measures[3]).values(),
            last_seen: values::<TimestampMillisecondType>(&measures[4]).values(),
            tcp_flags: values::<UInt8Type>(&measures[5]),
        }
    }

    fn fold(&self, rows: Range<usize>) -> Edge {
        let edge = |row: usize| Edge {
            flows: self.counters[0][row],
            packets: self.counters[1][row],
            bytes: self.counters[2][row],
            first_seen: self.first_seen[row],
            last_seen: self.last_seen[row],
            tcp_flags: if self.tcp_flags.is_valid(row) { self.tcp_flags.value(row).into() } else { -1 },
        };
        let mut folded = edge(rows.start);
        (rows.start + 1..rows.end).for_each(|row| folded.merge(&edge(row)));
        folded
    }
}

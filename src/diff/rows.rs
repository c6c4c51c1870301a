//! What goes into a merge and what comes out: typed views of the input batches, builders for the rows of a diff.

use super::evidence::{Evidence, Interfaces};
use super::keys::{KeyColumn, Keys};
use super::{Grain, Options};
use crate::error::{Error, Result};
use crate::flow::edges_schema;
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, Int64Builder, RecordBatch, StringViewBuilder, TimestampMillisecondArray,
    TimestampMillisecondBuilder, UInt8Array, UInt8Builder, UInt16Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Rows of a batch that a merge reads or writes.
pub(super) const BATCH_ROWS: usize = 8192;

/// Column of the coarser grains: whether an interface that reported the row was observed in the other digest.
const OBSERVED: &str = "observed";

/// Schema of a diff: `change`, `evidence`, the key of the grain, the measures, the counters of `before`.
fn diff_schema(by: Grain) -> SchemaRef {
    let edges = edges_schema();
    let of_edge = |name: &&str| edges.field_with_name(name).cloned().expect("a column of the edge schema");
    let mut columns =
        vec![Field::new("change", DataType::Utf8View, false), Field::new("evidence", DataType::Utf8View, false)];
    columns.extend(by.key().iter().map(of_edge));
    columns.extend(["flows", "packets", "bytes", "first_seen", "last_seen", "tcp_flags"].iter().map(of_edge));
    columns
        .extend(["flows_before", "packets_before", "bytes_before"].map(|name| Field::new(name, DataType::Int64, true)));
    Arc::new(Schema::new(columns))
}

/// What one merge compares by, and how it judges.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: Options,
    pub(super) evidence: Evidence,
    pub(super) schema: SchemaRef,
}

impl Plan {
    pub(super) fn new(options: &Options, evidence: Evidence) -> Plan {
        Plan { options: options.clone(), evidence, schema: diff_schema(options.by) }
    }
}

/// One batch of one side of a merge.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) keys: Keys,
    pub(super) len: usize,
    flows: Int64Array,
    packets: Int64Array,
    bytes: Int64Array,
    first_seen: TimestampMillisecondArray,
    last_seen: TimestampMillisecondArray,
    tcp_flags: UInt8Array,
    observed: Option<BooleanArray>,
}

impl Rows {
    /// Takes the columns of a batch apart.
    ///
    /// # Errors
    /// `Data`, naming the column that is missing, is of another type, or holds a null where none may be.
    pub(super) fn new(batch: &RecordBatch, by: Grain) -> Result<Rows> {
        fn typed<T: Array + Clone + 'static>(batch: &RecordBatch, name: &str) -> Result<T> {
            let array = batch.column_by_name(name).ok_or_else(|| Error::data(format!("column {name} is missing")))?;
            if array.null_count() > 0 && name != "tcp_flags" {
                return Err(Error::data(format!("column {name} holds a null")));
            }
            array
                .as_any()
                .downcast_ref::<T>()
                .cloned()
                .ok_or_else(|| Error::data(format!("column {name} is {}, not as edges have it", array.data_type())))
        }
        Ok(Rows {
            keys: Keys::new(batch, by.key())?,
            len: batch.num_rows(),
            flows: typed(batch, "flows")?,
            packets: typed(batch, "packets")?,
            bytes: typed(batch, "bytes")?,
            first_seen: typed(batch, "first_seen")?,
            last_seen: typed(batch, "last_seen")?,
            tcp_flags: typed(batch, "tcp_flags")?,
            observed: if by == Grain::Edge { None } else { Some(typed(batch, OBSERVED)?) },
        })
    }

    /// The counter that decides whether a row changed.
    pub(super) fn bytes(&self) -> &[i64] {
        self.bytes.values()
    }
}

/// Builds the rows of a diff. Copies what it is given, so that no batch holds on to the pages it came from.
#[derive(Debug)]
pub(super) struct Output {
    plan: Arc<Plan>,
    change: StringViewBuilder,
    evidence: StringViewBuilder,
    keys: Vec<KeyBuilder>,
    counters: [Int64Builder; 3],
    seen: [TimestampMillisecondBuilder; 2],
    tcp_flags: UInt8Builder,
    counters_before: [Int64Builder; 3],
    len: usize,
}

#[derive(Debug)]
enum KeyBuilder {
    Text(StringViewBuilder),
    Port(UInt16Builder),
    Number(UInt8Builder),
}

impl Output {
    pub(super) fn new(plan: Arc<Plan>) -> Output {
        let key = |name: &&str| match plan.schema.field_with_name(name).expect("a column of the schema").data_type() {
            DataType::UInt16 => KeyBuilder::Port(UInt16Builder::new()),
            DataType::UInt8 => KeyBuilder::Number(UInt8Builder::new()),
            _ => KeyBuilder::Text(StringViewBuilder::new()),
        };
        let seen = || TimestampMillisecondBuilder::new().with_timezone("UTC");
        Output {
            keys: plan.options.by.key().iter().map(key).collect(),
            plan,
            change: StringViewBuilder::new(),
            evidence: StringViewBuilder::new(),
            counters: Default::default(),
            seen: [seen(), seen()],
            tcp_flags: UInt8Builder::new(),
            counters_before: Default::default(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a row that only `after` has.
    pub(super) fn added(&mut self, after: &Rows, row: usize) {
        let evidence =
            if self.observed(after, row, &self.plan.evidence.observed_before) { "new" } else { "unobserved_before" };
        self.push("added", evidence, after, row, None);
    }

    /// Adds a row that only `before` has.
    pub(super) fn removed(&mut self, before: &Rows, row: usize) {
        let evidence =
            if self.observed(before, row, &self.plan.evidence.whole_after) { "gone" } else { "unobserved_after" };
        self.push("removed", evidence, before, row, Some((before, row)));
    }

    /// Adds a row that both have and whose measure moved.
    pub(super) fn changed(&mut self, before: &Rows, before_row: usize, after: &Rows, after_row: usize) {
        self.push("changed", "volume", after, after_row, Some((before, before_row)));
    }

    /// Whether the other digest observed the row's interface, or one of those that reported it.
    fn observed(&self, rows: &Rows, row: usize, interfaces: &Interfaces) -> bool {
        match &rows.observed {
            Some(observed) => observed.value(row),
            None => match (rows.keys.text(0, row), rows.keys.text(1, row)) {
                (Some(account), Some(interface)) => interfaces.contains(account, interface),
                _ => false,
            },
        }
    }

    fn push(&mut self, change: &str, evidence: &str, rows: &Rows, row: usize, before: Option<(&Rows, usize)>) {
        self.change.append_value(change);
        self.evidence.append_value(evidence);
        for (builder, column) in self.keys.iter_mut().zip(rows.keys.columns()) {
            match (builder, column) {
                (KeyBuilder::Text(builder), KeyColumn::Text(column)) => builder.append_value(column.value(row)),
                (KeyBuilder::Port(builder), KeyColumn::Port(column)) => builder.append_value(column.value(row)),
                (KeyBuilder::Number(builder), KeyColumn::Number(column)) => builder.append_value(column.value(row)),
                _ => unreachable!("the builders follow the schema that the columns were checked against"),
            }
        }
        for (builder, column) in self.counters.iter_mut().zip([&rows.flows, &rows.packets, &rows.bytes]) {
            builder.append_value(column.value(row));
        }
        for (builder, column) in self.seen.iter_mut().zip([&rows.first_seen, &rows.last_seen]) {
            builder.append_value(column.value(row));
        }
        self.tcp_flags.append_option(rows.tcp_flags.is_valid(row).then(|| rows.tcp_flags.value(row)));
        let before =
            before.map(|(rows, row)| [&rows.flows, &rows.packets, &rows.bytes].map(|column| column.value(row)));
        for (column, builder) in self.counters_before.iter_mut().enumerate() {
            builder.append_option(before.map(|counters| counters[column]));
        }
        self.len += 1;
    }

    /// Takes the rows built so far as one batch.
    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.change.finish()), Arc::new(self.evidence.finish())];
        columns.extend(self.keys.iter_mut().map(|builder| -> ArrayRef {
            match builder {
                KeyBuilder::Text(builder) => Arc::new(builder.finish()),
                KeyBuilder::Port(builder) => Arc::new(builder.finish()),
                KeyBuilder::Number(builder) => Arc::new(builder.finish()),
            }
        }));
        columns.extend(self.counters.iter_mut().map(|builder| -> ArrayRef { Arc::new(builder.finish()) }));
        columns.extend(self.seen.iter_mut().map(|builder| -> ArrayRef { Arc::new(builder.finish()) }));
        columns.push(Arc::new(self.tcp_flags.finish()));
        columns.extend(self.counters_before.iter_mut().map(|builder| -> ArrayRef { Arc::new(builder.finish()) }));
        self.len = 0;
        Ok(RecordBatch::try_new(self.plan.schema.clone(), columns)?)
    }
}

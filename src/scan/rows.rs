//! Records to Arrow: the columns of `flows` that a query asks for, in batches.

use super::object::Sink;
use super::record::Record;
use crate::flow::{AddressText, Field, Kind, flows_schema};
use crate::source::Object;
use datafusion::arrow::array::{
    ArrayRef, Int16Builder, Int64Array, Int64Builder, PrimitiveArray, RecordBatch, RecordBatchOptions, StringViewArray,
    StringViewBuilder, TimestampSecondArray, TimestampSecondBuilder, UInt8Builder, UInt16Builder,
};
use datafusion::arrow::datatypes::{DataType, Field as Column, Schema, SchemaRef};
use datafusion::error::Result;
use std::sync::Arc;

/// Schema of `flows` with the unknown fields that the scan keeps, as nullable text behind the others.
pub(super) fn schema_with(extras: &[String]) -> SchemaRef {
    let known = flows_schema();
    let extras = extras.iter().map(|name| Column::new(name.replace('-', "_"), DataType::Utf8View, true));
    Arc::new(Schema::new(known.fields().iter().map(|field| field.as_ref().clone()).chain(extras).collect::<Vec<_>>()))
}

/// Builds batches of the projected columns and gives each to `send`, which answers whether more is wanted.
pub(super) struct Rows<'o, F> {
    schema: SchemaRef,
    object: &'o Object,
    builders: Vec<Builder>,
    rows: usize,
    batch_rows: usize,
    send: F,
}

enum Builder {
    Text(Field, StringViewBuilder),
    Address(Field, StringViewBuilder),
    Small(Field, Int16Builder),
    Octet(Field, UInt8Builder),
    Port(Field, UInt16Builder),
    Count(Field, Int64Builder),
    Time(Field, TimestampSecondBuilder),
    Extra(usize, StringViewBuilder),
    Line(Int64Builder),
    ObjectKey,
    FlowLogId,
    FileTime,
}

impl<'o, F: FnMut(Result<RecordBatch>) -> bool> Rows<'o, F> {
    /// `columns` are positions in `schema`, the whole table's.
    pub(super) fn new(
        schema: &Schema,
        columns: &[usize],
        object: &'o Object,
        batch_rows: usize,
        send: F,
    ) -> Result<Self> {
        let fields = Field::ALL.len();
        let builders = columns
            .iter()
            .map(|&column| match column.checked_sub(fields) {
                None => Builder::of(Field::ALL[column]),
                Some(0) => Builder::ObjectKey,
                Some(1) => Builder::Line(Int64Builder::new()),
                Some(2) => Builder::FlowLogId,
                Some(3) => Builder::FileTime,
                Some(behind) => Builder::Extra(behind - 4, StringViewBuilder::new()),
            })
            .collect();
        Ok(Rows { schema: Arc::new(schema.project(columns)?), object, builders, rows: 0, batch_rows, send })
    }

    /// Sends what is left.
    pub(super) fn finish(mut self) {
        if self.rows > 0 {
            self.flush();
        }
    }

    fn flush(&mut self) -> bool {
        let rows = std::mem::take(&mut self.rows);
        let columns = self.builders.iter_mut().map(|builder| builder.finish(self.object, rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        (self.send)(batch.map_err(Into::into))
    }
}

impl<F: FnMut(Result<RecordBatch>) -> bool> Sink for Rows<'_, F> {
    #[inline]
    fn take(&mut self, record: &Record<'_>, line: u64) -> bool {
        for builder in &mut self.builders {
            builder.append(record, line);
        }
        self.rows += 1;
        self.rows < self.batch_rows || self.flush()
    }
}

impl Builder {
    fn of(field: Field) -> Builder {
        match field.kind() {
            Kind::Text => Builder::Text(field, StringViewBuilder::new()),
            Kind::Address => Builder::Address(field, StringViewBuilder::new()),
            Kind::Small => Builder::Small(field, Int16Builder::new()),
            Kind::Octet => Builder::Octet(field, UInt8Builder::new()),
            Kind::Port => Builder::Port(field, UInt16Builder::new()),
            Kind::Count => Builder::Count(field, Int64Builder::new()),
            Kind::Time => Builder::Time(field, TimestampSecondBuilder::new()),
        }
    }

    /// Ranges were checked when the record was decoded, so no number is cut here.
    #[inline]
    fn append(&mut self, record: &Record<'_>, line: u64) {
        // Text was checked to be UTF-8 when the line was.
        let utf8 = |text| std::str::from_utf8(text).ok();
        match self {
            Builder::Text(field, builder) => builder.append_option(record.text(*field).and_then(utf8)),
            Builder::Extra(index, builder) => builder.append_option(record.extra(*index).and_then(utf8)),
            Builder::Address(field, builder) => match record.address(*field) {
                Some(address) => builder.append_value(AddressText::of(address).as_str()),
                None => builder.append_null(),
            },
            Builder::Small(field, builder) => builder.append_option(record.number(*field).map(|n| n as i16)),
            Builder::Octet(field, builder) => builder.append_option(record.number(*field).map(|n| n as u8)),
            Builder::Port(field, builder) => builder.append_option(record.number(*field).map(|n| n as u16)),
            Builder::Count(field, builder) => builder.append_option(record.number(*field)),
            Builder::Time(field, builder) => builder.append_option(record.number(*field)),
            Builder::Line(builder) => builder.append_value(line as i64),
            Builder::ObjectKey | Builder::FlowLogId | Builder::FileTime => {}
        }
    }

    fn finish(&mut self, object: &Object, rows: usize) -> ArrayRef {
        let constant = |text: &str| Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(text, rows)));
        match self {
            Builder::Text(_, builder) | Builder::Address(_, builder) | Builder::Extra(_, builder) => {
                Arc::new(builder.finish())
            }
            Builder::Small(_, builder) => Arc::new(builder.finish()),
            Builder::Octet(_, builder) => Arc::new(builder.finish()),
            Builder::Port(_, builder) => Arc::new(builder.finish()),
            Builder::Count(_, builder) => Arc::new(builder.finish()),
            Builder::Time(_, builder) => Arc::new(builder.finish().with_timezone("UTC")),
            Builder::Line(builder) => {
                let lines: Int64Array = builder.finish();
                Arc::new(lines)
            }
            Builder::ObjectKey => constant(object.location.as_ref()),
            Builder::FlowLogId => constant(&object.name.flow_log),
            Builder::FileTime => {
                let times: TimestampSecondArray = PrimitiveArray::from_value(object.name.file_time.timestamp(), rows);
                Arc::new(times.with_timezone("UTC"))
            }
        }
    }
}

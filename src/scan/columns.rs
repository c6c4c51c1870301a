//! Parquet objects: columns united by name with the table of fields. In: the file's bytes. Out: records.
//! Null, `-`, and empty text are missing; integers of any width and numbers as text are read.

use super::TRANSIT_GATEWAY;
use super::object::{Decoder, Sink};
use super::record::{Record, Refusal, Slot};
use crate::flow::TRANSIT_GATEWAY_FIELDS;
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use std::collections::BTreeSet;

const BATCH_ROWS: usize = 8192;

/// Feeds the rows of a Parquet object to the decoder.
///
/// A file that fits the limit of whole objects is decoded before its first row is handed on; a larger one is read
/// twice: once to its end to see that it is sound, once for its rows.
pub(super) fn decode<S: Sink>(decoder: &mut Decoder<'_, S>, body: &Bytes) -> Result<(), String> {
    if body.is_empty() {
        return Ok(());
    }
    let metadata = ArrowReaderMetadata::load(body, Default::default()).map_err(damaged)?;
    let names: Vec<String> = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
    check_names(&names)?;
    let size: i64 = metadata.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum();
    let size = size.max(0) as u64;
    let limits = decoder.spec.limits;
    if size > limits.bytes_max || size > (body.len() as u64).saturating_mul(limits.ratio_max) {
        return Err(super::inflate::Damage::Limit.reason().to_owned());
    }
    decoder.tally.bytes = size;
    let slots: Vec<Slot> = names.iter().map(|name| Slot::of(name, &decoder.spec.extras)).collect();
    decoder.tally.unknown_fields = names.iter().filter(|name| crate::flow::Field::find(name).is_none()).count() as u64;
    let batches = || {
        ParquetRecordBatchReaderBuilder::new_with_metadata(body.clone(), metadata.clone())
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(damaged)
    };
    if size <= limits.whole_bytes_max as u64 {
        let whole = batches()?.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        for batch in whole {
            if !rows(decoder, &batch, &slots)? {
                break;
            }
        }
        return Ok(());
    }
    for batch in batches()? {
        batch.map_err(damaged)?;
    }
    for batch in batches()? {
        if !rows(decoder, &batch.map_err(damaged)?, &slots)? {
            break;
        }
    }
    Ok(())
}

fn damaged(error: impl std::fmt::Display) -> String {
    format!("damaged Parquet: {error}")
}

fn check_names(names: &[String]) -> Result<(), String> {
    if names.iter().any(|name| TRANSIT_GATEWAY_FIELDS.contains(&name.replace('_', "-").as_str())) {
        return Err(TRANSIT_GATEWAY.to_owned());
    }
    if !names.iter().any(|name| crate::flow::Field::find(name).is_some()) {
        return Err("no column is named as a flow log field".to_owned());
    }
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.replace('_', "-"))) {
        Some(twice) => Err(format!("two columns are named {twice}")),
        None => Ok(()),
    }
}

/// A column, read as its slot wants it.
enum Column {
    Text(StringViewArray),
    Number(Int64Array),
}

fn rows<S: Sink>(decoder: &mut Decoder<'_, S>, batch: &RecordBatch, slots: &[Slot]) -> Result<bool, String> {
    let columns = slots
        .iter()
        .zip(batch.columns())
        .filter(|(slot, _)| **slot != Slot::Skip)
        .map(|(slot, column)| Ok((*slot, convert(*slot, column)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let mut record = Record::new(decoder.spec.extras.len());
    for row in 0..batch.num_rows() {
        record.begin();
        let decoded = columns.iter().try_for_each(|(slot, column)| put(*slot, column, row, &mut record));
        if !decoder.row(&mut record, decoded) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn convert(slot: Slot, column: &ArrayRef) -> Result<Column, String> {
    let cast = |target: &DataType| {
        cast_with_options(column, target, &CastOptions { safe: false, ..Default::default() }).map_err(damaged)
    };
    let numeric = matches!(slot, Slot::Number { .. } | Slot::Time(_));
    let number = match column.data_type() {
        DataType::Timestamp(unit, zone) if numeric => {
            let seconds = if *unit == TimeUnit::Second {
                column.clone()
            } else {
                cast(&DataType::Timestamp(TimeUnit::Second, zone.clone()))?
            };
            cast_with_options(&seconds, &DataType::Int64, &CastOptions::default()).map_err(damaged)?
        }
        other if numeric && other.is_integer() => cast(&DataType::Int64)?,
        _ => return Ok(Column::Text(cast(&DataType::Utf8View)?.as_string_view().clone())),
    };
    Ok(Column::Number(number.as_primitive::<Int64Type>().clone()))
}

#[inline]
fn put<'a>(slot: Slot, column: &'a Column, row: usize, record: &mut Record<'a>) -> Result<(), Refusal> {
    match column {
        Column::Number(numbers) => slot.put_number(record, (!numbers.is_null(row)).then(|| numbers.value(row))),
        Column::Text(texts) => {
            let text = if texts.is_null(row) { "-" } else { texts.value(row) };
            slot.put(record, if text.is_empty() { b"-" } else { text.as_bytes() })
        }
    }
}

//! Edges as version 2 log lines: what the earlier digester answered, and what its readers split at spaces.
//!
//! One line an edge, in the order of AWS's default format, without a header; the port judged ephemeral is 0, `start` and
//! `end` are the edge's own first and last seconds, the log status is always `OK`.

use crate::diff::printable;
use crate::error::{Context, Error, Result};
use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use std::borrow::Cow;
use std::io::Write;

/// The columns of a line between its version and its status.
const COLUMNS: [&str; 12] = [
    "account_id",
    "interface_id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "first_seen",
    "last_seen",
    "action",
];

/// Writes `edges` to `out`.
///
/// # Errors
/// What the stream and the writer say; `Invalid` if a column is missing.
pub(super) async fn write_lines(mut edges: SendableRecordBatchStream, out: &mut (dyn Write + Send)) -> Result<()> {
    while let Some(batch) = edges.next().await {
        let batch = batch?;
        let columns = COLUMNS.iter().map(|name| column(&batch, name)).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            write!(out, "2")?;
            for column in &columns {
                write!(out, " {}", field(column.is_valid(row).then(|| column.value(row))))?;
            }
            writeln!(out, " OK")?;
        }
    }
    Ok(())
}

/// A column as text; times as Unix seconds.
fn column(batch: &RecordBatch, name: &str) -> Result<StringViewArray> {
    let array = batch.column_by_name(name).ok_or_else(|| Error::invalid(format!("edges lack column {name}")))?;
    let text = || {
        let array = match array.data_type() {
            DataType::Timestamp(_, zone) => {
                cast(&cast(array, &DataType::Timestamp(TimeUnit::Second, zone.clone()))?, &DataType::Int64)?
            }
            _ => array.clone(),
        };
        cast(&array, &DataType::Utf8View)
    };
    Ok(text().context(|| format!("write column {name} as text"))?.as_string_view().clone())
}

/// A field that cannot be taken for two, nor for the end of a line; nothing is `-`.
fn field(text: Option<&str>) -> Cow<'_, str> {
    match text.unwrap_or_default() {
        "" => Cow::Borrowed("-"),
        text if text.bytes().all(|byte| byte.is_ascii_graphic()) => Cow::Borrowed(text),
        text => printable(text).replace(' ', "\\u{20}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_stays_one_field_whatever_it_holds() {
        assert_eq!(field(Some("eni-0123456789abcdef0")), "eni-0123456789abcdef0");
        assert_eq!(field(Some("ü")), "ü");
        assert_eq!(field(Some("a b\nc\t")), r"a\u{20}b\u{a}c\u{9}");
        assert_eq!((field(None), field(Some(""))), (Cow::Borrowed("-"), Cow::Borrowed("-")));
    }
}

//! Rows to people and programs: every output format, streamed. In: record batches. Out: bytes to a writer.

use crate::error::{Error, Result};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table};
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use std::io::Write;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; the default on a terminal. At most [`TABLE_ROWS_MAX`] rows.
    Table,
    /// A JSON object a line; the default on a pipe.
    Ndjson,
    /// One JSON array.
    Json,
    /// CSV with a header.
    Csv,
    /// Parquet.
    Parquet,
    /// Arrow IPC stream.
    Arrow,
    /// Graphviz; edges and diffs only.
    Dot,
    /// GraphML; edges and diffs only.
    Graphml,
    /// Mermaid flowchart; edges and diffs only.
    Mermaid,
    /// Cytoscape JSON; edges and diffs only.
    Cytoscape,
}

/// Rows that a table holds at most: it is laid out in memory.
pub const TABLE_ROWS_MAX: usize = 10_000;

/// Writes all rows of `stream`; returns how many there were.
///
/// # Errors
/// What the stream and the writer say; `Invalid` for a graph format, which needs edges.
pub async fn write_rows(
    mut stream: SendableRecordBatchStream,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64> {
    let mut writer = Rows::new(stream.schema(), format, out)?;
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await? {
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.finish()?;
    Ok(rows)
}

#[allow(clippy::large_enum_variant)] // one exists per command
enum Rows<'w> {
    Table { schema: SchemaRef, batches: Vec<RecordBatch>, rows: usize, out: &'w mut (dyn Write + Send) },
    Ndjson(datafusion::arrow::json::LineDelimitedWriter<&'w mut (dyn Write + Send)>),
    Json(datafusion::arrow::json::ArrayWriter<&'w mut (dyn Write + Send)>),
    Csv(datafusion::arrow::csv::Writer<&'w mut (dyn Write + Send)>),
    Parquet(Box<ArrowWriter<&'w mut (dyn Write + Send)>>),
    Arrow(StreamWriter<&'w mut (dyn Write + Send)>),
}

const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";

impl<'w> Rows<'w> {
    fn new(schema: SchemaRef, format: Format, out: &'w mut (dyn Write + Send)) -> Result<Self> {
        Ok(match format {
            Format::Table => Rows::Table { schema, batches: Vec::new(), rows: 0, out },
            Format::Ndjson => Rows::Ndjson(datafusion::arrow::json::LineDelimitedWriter::new(out)),
            Format::Json => Rows::Json(datafusion::arrow::json::ArrayWriter::new(out)),
            Format::Csv => {
                let mut writer = datafusion::arrow::csv::WriterBuilder::new()
                    .with_header(true)
                    .with_timestamp_tz_format(TIME.to_owned())
                    .build(out);
                // The header comes even where no row does.
                writer.write(&RecordBatch::new_empty(schema))?;
                Rows::Csv(writer)
            }
            Format::Parquet => Rows::Parquet(Box::new(ArrowWriter::try_new(out, schema, None)?)),
            Format::Arrow => Rows::Arrow(StreamWriter::try_new(out, &schema)?),
            Format::Dot | Format::Graphml | Format::Mermaid | Format::Cytoscape => {
                return Err(Error::invalid("graph formats are for edges and diffs, not for rows of SQL")
                    .with_hint("use `flowdiff graph` or `flowdiff diff`, or --format table"));
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Rows::Table { batches, rows, .. } => {
                if *rows < TABLE_ROWS_MAX {
                    batches.push(batch.slice(0, batch.num_rows().min(TABLE_ROWS_MAX - *rows)));
                }
                *rows += batch.num_rows();
            }
            Rows::Ndjson(writer) => writer.write(batch)?,
            Rows::Json(writer) => writer.write(batch)?,
            Rows::Csv(writer) => writer.write(batch)?,
            Rows::Parquet(writer) => writer.write(batch)?,
            Rows::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self {
            Rows::Table { schema, batches, rows, out } => {
                write_table(&schema, &batches, out)?;
                if rows > TABLE_ROWS_MAX {
                    writeln!(out, "... {} more rows; use --format csv or ndjson for all", rows - TABLE_ROWS_MAX)?;
                }
            }
            Rows::Ndjson(mut writer) => writer.finish()?,
            Rows::Json(mut writer) => writer.finish()?,
            Rows::Csv(_) => {}
            Rows::Parquet(writer) => {
                writer.close()?;
            }
            Rows::Arrow(mut writer) => writer.finish()?,
        }
        Ok(())
    }
}

fn write_table(schema: &SchemaRef, batches: &[RecordBatch], out: &mut (dyn Write + Send)) -> Result<()> {
    let mut table = Table::new();
    // Nothing but a line below the header.
    table.load_preset("     ─             ");
    table.set_header(schema.fields().iter().map(|field| field.name()));
    let options = FormatOptions::default().with_timestamp_tz_format(Some(TIME));
    for batch in batches {
        let columns =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = |(formatter, column): (&ArrayFormatter<'_>, &std::sync::Arc<dyn Array>)| {
                if column.is_null(row) { String::new() } else { visible(&formatter.value(row).to_string()) }
            };
            table.add_row(columns.iter().zip(batch.columns()).map(cell));
        }
    }
    for (column, field) in table.column_iter_mut().zip(schema.fields()) {
        column.set_padding((0, 1));
        if field.data_type().is_numeric() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Text with its control characters escaped: a log line must not steer a terminal.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Int64Array, StringArray, TimestampSecondArray};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use std::sync::Arc;

    async fn written(format: Format, rows: usize) -> String {
        let times = TimestampSecondArray::from(vec![Some(0), None][..rows].to_vec()).with_timezone("UTC");
        let batch = RecordBatch::try_from_iter([
            ("text", Arc::new(StringArray::from(vec!["a,\"b\"", "\u{1b}[31m"][..rows].to_vec())) as Arc<dyn Array>),
            ("number", Arc::new(Int64Array::from(vec![1, 22][..rows].to_vec()))),
            ("time", Arc::new(times)),
        ])
        .unwrap();
        let stream = futures::stream::iter([Ok(batch.clone())]);
        let stream = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), stream));
        let mut out = Vec::new();
        assert_eq!(write_rows(stream, format, &mut out).await.unwrap(), rows as u64);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[tokio::test]
    async fn csv_and_json_escape_and_write_utc() {
        let csv = written(Format::Csv, 1).await;
        assert_eq!(csv, "text,number,time\n\"a,\"\"b\"\"\",1,1970-01-01T00:00:00Z\n");
        let json = written(Format::Ndjson, 1).await;
        assert_eq!(json, "{\"text\":\"a,\\\"b\\\"\",\"number\":1,\"time\":\"1970-01-01T00:00:00Z\"}\n");
    }

    #[tokio::test]
    async fn no_rows_are_still_a_whole_document() {
        assert_eq!(written(Format::Json, 0).await, "[]");
        assert_eq!(written(Format::Csv, 0).await, "text,number,time\n");
        assert_eq!(written(Format::Ndjson, 0).await, "");
    }

    #[tokio::test]
    async fn a_table_shows_control_characters_and_does_not_obey_them() {
        let table = written(Format::Table, 2).await;
        assert!(table.contains("\\u{1b}[31m"), "{table}");
        assert!(!table.contains('\u{1b}'));
        assert!(table.contains("1970-01-01T00:00:00Z"));
    }

    #[tokio::test]
    async fn rows_of_sql_are_no_graph() {
        let batch = RecordBatch::new_empty(Arc::new(datafusion::arrow::datatypes::Schema::empty()));
        let stream = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter([Ok(batch)])));
        assert!(write_rows(stream, Format::Dot, &mut Vec::new()).await.is_err());
    }
}

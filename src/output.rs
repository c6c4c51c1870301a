//! Writes the rows of a query in the format that the user asked for.
//!
//! In: a stream of record batches and a writer. Out: bytes, and how much was written. Every format but the table
//! streams: memory holds one batch (Parquet: one row group), whatever the number of rows. Knows nothing of where the
//! rows come from.

mod chunks;
mod file;
mod pipe;
mod table;

pub use chunks::{ChunkWriter, chunks, chunks_at_once, chunks_by};
pub use file::OutputFile;
pub use pipe::Pipe;

use crate::diff::{GraphFormat, RenderOptions, render};
use crate::error::{Error, Result};
use clap::ValueEnum;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::writer::{JsonFormat, LineDelimited, Writer, WriterBuilder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Rows that a table shows unless told otherwise: more than anybody reads, little enough to hold in memory.
pub const TABLE_ROWS_MAX: usize = 10_000;
/// Rows in a row group of Parquet output: what memory holds, and what a reader can skip at once.
const ROW_GROUP_ROWS: usize = 122_880;
/// Stored bytes of a row group at the most, so that rows with long texts stay bounded too.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// How times without a zone are written: all times of flowdiff are UTC.
const UTC_TIME: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; the default on a terminal. At most 10,000 rows.
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

impl Format {
    /// The format that the extension of a file's name stands for, in either case, if it stands for one.
    pub fn of_file(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "ndjson" | "jsonl" => Format::Ndjson,
            "json" => Format::Json,
            "csv" => Format::Csv,
            "parquet" => Format::Parquet,
            "arrow" | "arrows" => Format::Arrow,
            "dot" | "gv" => Format::Dot,
            "graphml" => Format::Graphml,
            "mmd" | "mermaid" => Format::Mermaid,
            _ => return None,
        })
    }

    /// The name that `--format` takes.
    pub fn name(&self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Limits of what is written.
#[derive(Clone, Debug)]
pub struct OutputOptions {
    /// Rows of a table; the rest is left out, and [`Written::end`] says so. Default [`TABLE_ROWS_MAX`].
    pub table_rows_max: usize,
    /// Columns of the terminal, that a table keeps to by wrapping texts; as wide as it likes if none.
    pub width: Option<u16>,
    /// Limits of a graph.
    pub graph: RenderOptions,
}

impl Default for OutputOptions {
    fn default() -> Self {
        OutputOptions { table_rows_max: TABLE_ROWS_MAX, width: None, graph: RenderOptions::default() }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Rows (of a graph: edges).
    pub rows: u64,
    /// Why it ended.
    pub end: End,
}

/// Why writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything is written.
    Complete,
    /// The format has a limit and there was more: the user should be told.
    Cut,
    /// The reader went away (`| head`): nothing to say, and no failure.
    ReaderGone,
}

/// Writes `stream` to `writer` as `format`.
///
/// Null is an empty cell in tables and CSV and `null` in JSON. Times are RFC 3339 in UTC with `Z`. Whatever the rows
/// hold, text formats stay valid; tables show control characters escaped, so that no text can steer a terminal, and CSV
/// puts a `'` before what a spreadsheet would take for a formula.
///
/// # Errors
/// What the stream says; `Invalid` if a format that names its columns gets two of one name, or a graph other rows than
/// edges; `Unavailable` if the writer fails. A reader that went away is no error but [`End::ReaderGone`].
pub async fn write_rows(
    stream: SendableRecordBatchStream,
    format: Format,
    writer: &mut (dyn Write + Send),
    options: &OutputOptions,
) -> Result<Written> {
    let mut pipe = Pipe::new(writer);
    let mut rows = 0;
    let end = match write_format(stream, format, &mut pipe, options, &mut rows).await {
        Err(_) if pipe.is_reader_gone() => End::ReaderGone,
        other => other?,
    };
    Ok(Written { rows, end })
}

async fn write_format(
    mut stream: SendableRecordBatchStream,
    format: Format,
    pipe: &mut Pipe<'_>,
    options: &OutputOptions,
    rows: &mut u64,
) -> Result<End> {
    let schema = stream.schema();
    if matches!(format, Format::Ndjson | Format::Json | Format::Parquet) {
        refuse_twin_columns(&schema)?;
    }
    let mut sink: Box<dyn Sink + Send + '_> = match format {
        Format::Table => return table::write_table(stream, pipe, options, rows).await,
        Format::Dot => return write_graph(stream, GraphFormat::Dot, pipe, options, rows).await,
        Format::Graphml => return write_graph(stream, GraphFormat::Graphml, pipe, options, rows).await,
        Format::Mermaid => return write_graph(stream, GraphFormat::Mermaid, pipe, options, rows).await,
        Format::Cytoscape => return write_graph(stream, GraphFormat::Cytoscape, pipe, options, rows).await,
        Format::Csv => Box::new(CsvSink::new(pipe, &schema)?),
        Format::Ndjson => Box::new(json_writer::<LineDelimited>(pipe)),
        Format::Json => Box::new(json_writer::<Lines>(pipe)),
        Format::Parquet => Box::new(ParquetSink::new(pipe, &schema)?),
        Format::Arrow => Box::new(StreamWriter::try_new(pipe, &schema)?),
    };
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        sink.take(&batch)?;
        *rows += batch.num_rows() as u64;
    }
    sink.finish()?;
    Ok(End::Complete)
}

async fn write_graph(
    stream: SendableRecordBatchStream,
    format: GraphFormat,
    pipe: &mut Pipe<'_>,
    options: &OutputOptions,
    rows: &mut u64,
) -> Result<End> {
    let rendered = render(stream, format, pipe, &options.graph).await?;
    *rows = rendered.edges;
    Ok(if rendered.left_out > 0 { End::Cut } else { End::Complete })
}

/// A format that takes batches as they come. After each, what was taken has left for the reader where the format
/// allows it, so that somebody who follows a slow query sees its rows.
trait Sink {
    fn take(&mut self, batch: &RecordBatch) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<()>;
}

impl<F: JsonFormat> Sink for Writer<&mut Pipe<'_>, F> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        self.write(batch)?;
        Ok(self.get_mut().flush()?)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        Writer::finish(&mut self)?;
        Ok(self.get_mut().flush()?)
    }
}

fn json_writer<'a, 'b, F: JsonFormat>(pipe: &'a mut Pipe<'b>) -> Writer<&'a mut Pipe<'b>, F> {
    WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format(UTC_TIME.to_owned()).build(pipe)
}

/// One JSON array, a row a line.
#[derive(Debug, Default)]
struct Lines;

impl JsonFormat for Lines {
    fn start_stream<W: Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        Ok(writer.write_all(b"[")?)
    }

    fn start_row<W: Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        Ok(writer.write_all(if is_first_row { b"" } else { b",\n" })?)
    }

    fn end_stream<W: Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        Ok(writer.write_all(b"]\n")?)
    }
}

/// CSV, its header written even if no row follows.
struct CsvSink<'a, 'b>(csv::Writer<&'a mut Pipe<'b>>);

impl<'a, 'b> CsvSink<'a, 'b> {
    fn new(pipe: &'a mut Pipe<'b>, schema: &SchemaRef) -> Result<Self> {
        let mut sink = CsvSink(csv::WriterBuilder::new().with_timestamp_format(UTC_TIME.to_owned()).build(pipe));
        sink.take(&RecordBatch::new_empty(schema.clone()))?;
        Ok(sink)
    }
}

impl Sink for CsvSink<'_, '_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.0.write(&csv_cells(batch)?)?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(self.0.into_inner().flush()?)
    }
}

/// Cells as CSV can hold them: lists and structs as the text that a table shows, formulas made harmless.
fn csv_cells(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let column = if field.data_type().is_nested() {
            let formatter = ArrayFormatter::try_new(column, &cell_format())?;
            let text = |row| column.is_valid(row).then(|| formatter.value(row).try_to_string()).transpose();
            Arc::new((0..batch.num_rows()).map(text).collect::<Result<StringArray, _>>()?)
        } else {
            without_formulas(column)?
        };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Puts a `'` before each text that a spreadsheet would run as a formula, which makes it text there.
///
/// No address, identifier or time begins so; `-` alone is AWS's word for nothing and stays.
/// Source: OWASP, "CSV Injection".
fn without_formulas(column: &ArrayRef) -> Result<ArrayRef> {
    let is_text = match column.data_type() {
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string(),
    };
    if !is_text {
        return Ok(column.clone());
    }
    let texts = cast(column, &DataType::Utf8View)?;
    let texts = texts.as_string_view();
    let is_formula = |text: &str| text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text != "-";
    if !texts.iter().flatten().any(is_formula) {
        return Ok(column.clone());
    }
    let harmless =
        texts.iter().map(|text| text.map(|text| if is_formula(text) { format!("'{text}") } else { text.into() }));
    Ok(Arc::new(harmless.collect::<StringArray>()))
}

/// Parquet. It has no times in whole seconds, and would keep them as bare numbers: they are written in milliseconds.
struct ParquetSink<'a, 'b> {
    writer: ArrowWriter<&'a mut Pipe<'b>>,
    schema: SchemaRef,
}

impl<'a, 'b> ParquetSink<'a, 'b> {
    fn new(pipe: &'a mut Pipe<'b>, schema: &Schema) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Timestamp(TimeUnit::Second, zone) => {
                field.as_ref().clone().with_data_type(DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))
            }
            _ => field.as_ref().clone(),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(pipe, schema.clone(), Some(properties))?;
        Ok(ParquetSink { writer, schema })
    }
}

impl Sink for ParquetSink<'_, '_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
        Ok(self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let pipe = self.writer.into_inner()?;
        Ok(pipe.flush()?)
    }
}

impl Sink for StreamWriter<&mut Pipe<'_>> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        self.write(batch)?;
        Ok(self.flush()?)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        StreamWriter::finish(&mut self)?;
        Ok(self.flush()?)
    }
}

/// Where columns are found by name, the second of two of one name would be lost.
fn refuse_twin_columns(schema: &Schema) -> Result<()> {
    let mut names = HashSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name())) {
        None => Ok(()),
        Some(twin) => Err(Error::invalid(format!("two columns are named {:?}", twin.name()))
            .with_hint("name one of them otherwise with AS, or take table or csv")),
    }
}

/// How cells are written as text: null as nothing, times in UTC with `Z`.
fn cell_format() -> FormatOptions<'static> {
    FormatOptions::new().with_display_error(false).with_timestamp_format(Some(UTC_TIME))
}

#[cfg(test)]
mod tests;

//! Rows as aligned columns for people.
//!
//! In: a stream. Out: a header, a rule, one line a row (more where a text is wrapped to the terminal's width). Numbers
//! stand to the right; times, numbers and addresses are never wrapped. The last columns are left out, by name, where the
//! terminal has no room for them.

use super::{End, OutputOptions, Pipe, cell_format};
use crate::diff::printable;
use crate::error::Result;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::util::display::ArrayFormatter;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use std::io::Write;

/// Characters of one cell; longer texts are cut, so that a row has a bounded size.
const CELL_CHARS_MAX: usize = 1_000;
/// Texts up to this width are kept on one line: room for every address, interface id and time.
const UNBROKEN_WIDTH: u16 = 40;
/// Spaces between columns.
const PADDING: usize = 2;
/// comfy-table's preset: no lines but one under the header.
const STYLE: &str = "     ─             ";

pub(super) async fn write_table(
    mut stream: SendableRecordBatchStream,
    pipe: &mut Pipe<'_>,
    options: &OutputOptions,
    rows: &mut u64,
) -> Result<End> {
    let schema = stream.schema();
    let mut table = new_table(&schema, options);
    let mut room = options.table_rows_max;
    let mut end = End::Complete;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let shown = batch.num_rows().min(room);
        add_rows(&mut table, &batch.slice(0, shown))?;
        room -= shown;
        *rows += shown as u64;
        if shown < batch.num_rows() {
            end = End::Cut;
            break;
        }
    }
    set_constraints(&mut table, &schema);
    let hidden = options.width.map_or(0, |width| hide_beyond(&mut table, width.into()));
    for line in table.lines() {
        writeln!(pipe, "{}", line.trim_end())?;
    }
    if hidden > 0 {
        let fields = &schema.fields()[schema.fields().len() - hidden..];
        let names = fields.iter().map(|field| printable(field.name())).collect::<Vec<_>>().join(", ");
        writeln!(pipe, "not shown, the terminal is too narrow: {names}")?;
    }
    pipe.flush()?;
    Ok(end)
}

fn new_table(schema: &Schema, options: &OutputOptions) -> Table {
    let mut table = Table::new();
    table.load_preset(STYLE);
    if let Some(width) = options.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(schema.fields().iter().map(|field| Cell::new(printable(field.name()))));
    for (column, field) in table.column_iter_mut().zip(schema.fields()) {
        column.set_padding((0, PADDING as u16));
        if is_number(field.data_type()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn add_rows(table: &mut Table, batch: &RecordBatch) -> Result<()> {
    let format = cell_format();
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &format)).collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        let mut cells = Vec::with_capacity(columns.len());
        for column in &columns {
            cells.push(Cell::new(cell(&column.value(row).try_to_string()?)));
        }
        table.add_row(cells);
    }
    Ok(())
}

/// The text of a cell, bounded and without control characters.
fn cell(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", printable(&text[..cut])),
        None => printable(text).into_owned(),
    }
}

/// Hides the last columns that do not fit into `width`, and says how many; the first one stays.
fn hide_beyond(table: &mut Table, width: usize) -> usize {
    let widths = table.column_max_content_widths();
    let mut end = 0;
    let fits = |content: &&u16| {
        end += usize::from((**content).min(UNBROKEN_WIDTH)) + PADDING;
        // The rule under the header goes on below the last column's padding.
        end <= width
    };
    let shown = widths.iter().take_while(fits).count().max(1);
    for column in table.column_iter_mut().skip(shown) {
        column.set_constraint(ColumnConstraint::Hidden);
    }
    widths.len() - shown
}

/// Only long texts may be wrapped.
fn set_constraints(table: &mut Table, schema: &Schema) {
    let widths = table.column_max_content_widths();
    for ((column, field), width) in table.column_iter_mut().zip(schema.fields()).zip(widths) {
        if is_number(field.data_type()) || width <= UNBROKEN_WIDTH {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

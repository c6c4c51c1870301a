//! The forms of rows on stdout and in files.

use super::*;
use clap::ValueEnum;
use datafusion::arrow::array::{
    Float64Array, Int64Array, ListArray, StringViewArray, TimestampMillisecondArray, TimestampSecondArray,
};
use datafusion::arrow::datatypes::Int32Type;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

/// 2026-11-20T12:00:00Z.
const NOON: i64 = 1_795_176_000;

fn batch(names: &[Option<&str>]) -> RecordBatch {
    let bytes = Int64Array::from_iter(names.iter().enumerate().map(|(row, name)| name.map(|_| 1_234_567 * row as i64)));
    let seen = TimestampMillisecondArray::from_value(NOON * 1_000, names.len()).with_timezone("UTC");
    RecordBatch::try_from_iter_with_nullable([
        ("name", Arc::new(StringViewArray::from_iter(names.iter().copied())) as ArrayRef, true),
        ("bytes", Arc::new(bytes), true),
        ("seen", Arc::new(seen), false),
    ])
    .unwrap()
}

/// Every format that takes any rows.
fn rows_formats() -> impl Iterator<Item = Format> {
    let graphs = [Format::Dot, Format::Graphml, Format::Mermaid, Format::Cytoscape];
    Format::value_variants().iter().copied().filter(move |format| !graphs.contains(format))
}

fn stream(batches: Vec<Result<RecordBatch, DataFusionError>>) -> SendableRecordBatchStream {
    let schema = batches[0].as_ref().unwrap().schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)))
}

fn write_all(batches: Vec<RecordBatch>, format: Format, options: &OutputOptions) -> Result<(Vec<u8>, Written)> {
    let mut bytes = Vec::new();
    let stream = stream(batches.into_iter().map(Ok).collect());
    let written = futures::executor::block_on(write_rows(stream, format, &mut bytes, options))?;
    Ok((bytes, written))
}

fn text(batches: Vec<RecordBatch>, format: Format) -> String {
    String::from_utf8(write_all(batches, format, &OutputOptions::default()).unwrap().0).unwrap()
}

fn two_batches() -> Vec<RecordBatch> {
    vec![batch(&[Some("a"), Some("two, \"words\"")]), batch(&[None])]
}

#[test]
fn columns_that_a_terminal_has_no_room_for_are_left_out_and_named() {
    let expected = "\
name  bytes
─────────────
a         0
not shown, the terminal is too narrow: seen
";
    let options = OutputOptions { width: Some(13), ..OutputOptions::default() };
    let (bytes, _) = write_all(vec![batch(&[Some("a")])], Format::Table, &options).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn a_table_aligns_numbers_to_the_right_and_leaves_null_empty() {
    let expected = "\
name            bytes  seen
─────────────────────────────────────────────
a                   0  2026-11-20T12:00:00Z
two, \"words\"  1234567  2026-11-20T12:00:00Z
                       2026-11-20T12:00:00Z
";
    assert_eq!(text(two_batches(), Format::Table), expected);
}

#[test]
fn a_table_shows_hostile_text_escaped() {
    let table = text(vec![batch(&[Some("\u{1b}[2J\nroot\u{202e}")])], Format::Table);
    assert!(table.contains(r"\u{1b}[2J\u{a}root\u{202e}"), "{table}");
    assert!(!table.contains('\u{1b}'));
}

#[test]
fn a_table_is_cut_where_it_grows_too_long_and_says_so() {
    let options = OutputOptions { table_rows_max: 2, ..OutputOptions::default() };
    let (_, written) = write_all(two_batches(), Format::Table, &options).unwrap();
    assert_eq!(written, Written { rows: 2, end: End::Cut });
    let options = OutputOptions { table_rows_max: 3, ..OutputOptions::default() };
    let (_, written) = write_all(two_batches(), Format::Table, &options).unwrap();
    assert_eq!(written, Written { rows: 3, end: End::Complete });
}

#[test]
fn a_table_wraps_long_texts_to_the_terminal_and_nothing_else() {
    let long = "word ".repeat(40);
    let options = OutputOptions { width: Some(80), ..OutputOptions::default() };
    let (bytes, _) = write_all(vec![batch(&[Some(&long)])], Format::Table, &options).unwrap();
    let table = String::from_utf8(bytes).unwrap();
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.contains("2026-11-20T12:00:00Z"), "{table}");
}

#[test]
fn ndjson_has_one_object_a_line_with_nulls() {
    let expected = r#"{"name":"a","bytes":0,"seen":"2026-11-20T12:00:00Z"}
{"name":"two, \"words\"","bytes":1234567,"seen":"2026-11-20T12:00:00Z"}
{"name":null,"bytes":null,"seen":"2026-11-20T12:00:00Z"}
"#;
    assert_eq!(text(two_batches(), Format::Ndjson), expected);
}

#[test]
fn json_is_one_array_with_a_row_a_line() {
    let expected = r#"[{"name":"a","bytes":0,"seen":"2026-11-20T12:00:00Z"},
{"name":null,"bytes":null,"seen":"2026-11-20T12:00:00Z"}]
"#;
    assert_eq!(text(vec![batch(&[Some("a")]), batch(&[None])], Format::Json), expected);
}

#[test]
fn csv_quotes_what_needs_it() {
    let expected = "name,bytes,seen\na,0,2026-11-20T12:00:00Z\n\"two, \"\"words\"\"\",1234567,2026-11-20T12:00:00Z\n,,2026-11-20T12:00:00Z\n";
    assert_eq!(text(two_batches(), Format::Csv), expected);
}

#[test]
fn no_rows_are_still_a_whole_document() {
    let none = || vec![batch(&[])];
    assert_eq!(text(none(), Format::Csv), "name,bytes,seen\n");
    assert_eq!(text(none(), Format::Json), "[]\n");
    assert_eq!(text(none(), Format::Ndjson), "");
    assert!(text(none(), Format::Table).starts_with("name"));
    for format in [Format::Parquet, Format::Arrow] {
        assert!(!write_all(none(), format, &OutputOptions::default()).unwrap().0.is_empty());
    }
}

#[test]
fn parquet_and_arrow_give_the_rows_back() {
    let (bytes, written) = write_all(two_batches(), Format::Parquet, &OutputOptions::default()).unwrap();
    assert_eq!(written, Written { rows: 3, end: End::Complete });
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap().build().unwrap();
    let rows: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(rows[0].slice(0, 2), two_batches()[0]);

    let (bytes, _) = write_all(two_batches(), Format::Arrow, &OutputOptions::default()).unwrap();
    let rows: Vec<RecordBatch> = StreamReader::try_new(bytes.as_slice(), None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, two_batches());
}

#[test]
fn whole_seconds_are_times_in_parquet_too() {
    let column = TimestampSecondArray::from_value(NOON, 1).with_timezone("UTC");
    let batch = RecordBatch::try_from_iter([("end", Arc::new(column) as ArrayRef)]).unwrap();
    let (bytes, _) = write_all(vec![batch], Format::Parquet, &OutputOptions::default()).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    let column = reader.parquet_schema().column(0);
    assert!(column.logical_type_ref().is_some(), "{column:?}");
}

#[test]
fn csv_makes_formulas_harmless_and_leaves_everything_else() {
    let names = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-2+3", "\ta", "-", "::1", "10.0.0.1", "a=b"];
    let batch = RecordBatch::try_from_iter([
        ("name", Arc::new(StringViewArray::from_iter_values(names)) as ArrayRef),
        ("bytes", Arc::new(Int64Array::from_value(-1, names.len()))),
    ])
    .unwrap();
    let csv = text(vec![batch.clone()], Format::Csv);
    let cells: Vec<&str> = csv.lines().skip(1).map(|line| line.strip_suffix(",-1").unwrap()).collect();
    assert_eq!(cells, ["'=cmd|' /C calc'!A0", "'@SUM(1)", "'+1", "'-2+3", "'\ta", "-", "::1", "10.0.0.1", "a=b"]);
    assert!(text(vec![batch], Format::Ndjson).contains("\"name\":\"-2+3\""), "JSON is not for spreadsheets");
}

#[test]
fn lists_and_odd_numbers_have_a_text() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)])]);
    let batch = RecordBatch::try_from_iter([
        ("list", Arc::new(list) as ArrayRef),
        ("ratio", Arc::new(Float64Array::from(vec![f64::INFINITY]))),
        ("naive", Arc::new(TimestampSecondArray::from(vec![NOON]))),
    ])
    .unwrap();
    assert_eq!(text(vec![batch.clone()], Format::Csv), "list,ratio,naive\n\"[1, 2]\",inf,2026-11-20T12:00:00Z\n");
    let json = text(vec![batch], Format::Ndjson);
    assert_eq!(json, "{\"list\":[1,2],\"ratio\":null,\"naive\":\"2026-11-20T12:00:00Z\"}\n");
}

#[test]
fn two_columns_of_one_name_are_refused_where_one_would_be_lost() {
    let column = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("a", column()), ("a", column())]).unwrap();
    for format in [Format::Json, Format::Ndjson, Format::Parquet] {
        let error = write_all(vec![batch.clone()], format, &OutputOptions::default()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    }
    assert_eq!(text(vec![batch], Format::Csv), "a,a\n1,1\n");
}

/// Takes some bytes, then has no reader.
struct Head(usize);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 => Err(std::io::ErrorKind::BrokenPipe.into()),
            taken => {
                self.0 -= taken;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for format in rows_formats() {
        for taken in [0, 3, 20] {
            let stream = stream(vec![Ok(batch(&[Some("a"); 9]))]);
            let mut head = Head(taken);
            let options = OutputOptions::default();
            let written = write_rows(stream, format, &mut head, &options);
            let written = futures::executor::block_on(written).unwrap();
            assert_eq!(written.end, End::ReaderGone, "{format:?} after {taken} bytes");
        }
    }
}

#[test]
fn a_failure_of_the_stream_is_told() {
    for format in rows_formats() {
        let failing = vec![Ok(batch(&[Some("a")])), Err(Error::data("object x: truncated").into())];
        let (mut bytes, options) = (Vec::new(), OutputOptions::default());
        let written = write_rows(stream(failing), format, &mut bytes, &options);
        let error = futures::executor::block_on(written).unwrap_err();
        assert_eq!(error.to_string(), "object x: truncated");
    }
}

#[test]
fn rows_that_are_no_edges_are_no_graph() {
    let error = write_all(two_batches(), Format::Dot, &OutputOptions::default()).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    assert!(error.hint().unwrap().contains("--format table"));
}

proptest! {
    #[test]
    fn no_text_breaks_json_or_a_table(name in any::<String>()) {
        let json = text(vec![batch(&[Some(&name)])], Format::Json);
        let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(rows[0]["name"].as_str(), Some(name.as_str()));
        prop_assert_eq!(text(vec![batch(&[Some(&name)])], Format::Ndjson).lines().count(), 1);
        let table = text(vec![batch(&[Some(&name)])], Format::Table);
        prop_assert_eq!(table.lines().count(), 3, "{}", table);
        prop_assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "{}", table);
    }
}

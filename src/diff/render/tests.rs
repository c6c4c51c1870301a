//! Golden files under `tests/data/render/` (written anew when `UPDATE_GOLDEN` is set: look at the difference), and
//! what no text may break.

use super::*;
use crate::flow::edges_schema;
use datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, StringViewArray, TimestampMillisecondArray, UInt8Array, UInt16Array,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use proptest::prelude::*;
use std::collections::{HashMap as StdHashMap, HashSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// 2026-11-20T12:00:00Z in milliseconds.
const NOON: i64 = 1_795_176_000_000;
const ENI: &str = "eni-0123456789abcdef0";
/// Everything that some format could take for its own.
const HOSTILE: &str = "\"a\\\" b]]>\n} -> <script>alert(1)</script> --> %% #quot; &amp; `c` \u{1b}[31m\\";

/// Interface, source, destination, ports, protocol, action, bytes.
type Row<'a> = (&'a str, &'a str, &'a str, u16, u16, u8, &'a str, i64);

fn edges(rows: &[Row<'_>]) -> RecordBatch {
    let text =
        |get: fn(&Row<'_>) -> String| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(rows.iter().map(get))) };
    let count = |get: fn(&Row<'_>) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(get))) };
    let port = |get: fn(&Row<'_>) -> u16| -> ArrayRef { Arc::new(UInt16Array::from_iter_values(rows.iter().map(get))) };
    let time = |secs: i64| -> ArrayRef {
        let times = TimestampMillisecondArray::from_value(NOON + secs * 1_000, rows.len());
        Arc::new(times.with_timezone("UTC"))
    };
    let columns = vec![
        text(|_| "012345678901".to_owned()),
        text(|row| row.0.to_owned()),
        text(|row| row.1.to_owned()),
        text(|row| row.2.to_owned()),
        port(|row| row.3),
        port(|row| row.4),
        Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.5))),
        text(|row| row.6.to_owned()),
        count(|_| 2),
        count(|row| 1 + row.7 / 1_000),
        count(|row| row.7),
        time(3),
        time(3_598),
        Arc::new(UInt8Array::from_iter(rows.iter().map(|row| (row.5 == 6).then_some(19)))),
    ];
    RecordBatch::try_new(edges_schema(), columns).unwrap()
}

fn small_graph() -> RecordBatch {
    edges(&[
        (ENI, "10.0.1.5", "10.0.2.9", 0, 5432, 6, "ACCEPT", 12_345),
        (ENI, "10.0.2.9", "10.0.1.5", 5432, 0, 6, "ACCEPT", 9_876_543),
        (ENI, "10.0.1.5", "10.0.0.53", 0, 53, 17, "ACCEPT", 710),
        (ENI, "2001:db8::1", "2001:db8::2", 0, 0, 58, "ACCEPT", 104),
        (ENI, "10.0.0.53", "10.0.1.5", 0, 0, 1, "ACCEPT", 84),
        (ENI, "198.51.100.200", "10.0.1.5", 0, 3389, 6, "REJECT", 40),
        (ENI, "198.51.100.201", "10.0.1.5", 4000, 3001, 6, "REJECT", 40),
        (ENI, "10.0.2.9", "10.0.2.10", 0, 0, 254, "-", 0),
    ])
}

fn hostile_graph() -> RecordBatch {
    edges(&[(HOSTILE, HOSTILE, "10.0.2.9", 0, 5432, 6, HOSTILE, 1), (ENI, "10.0.2.9", HOSTILE, 0, 0, 1, "ACCEPT", 1)])
}

/// A diff by link: no account and no interface.
fn small_diff() -> RecordBatch {
    let text = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let count = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    RecordBatch::try_from_iter([
        ("change", text(vec!["added", "added", "removed", "removed", "changed"])),
        ("evidence", text(vec!["new", "unobserved_before", "gone", "unobserved_after", "volume"])),
        ("srcaddr", text(vec!["10.0.1.5", "10.0.1.6", "10.0.1.7", "10.0.1.8", "10.0.2.9"])),
        ("dstaddr", text(vec!["198.51.100.77", "10.0.2.9", "10.0.2.9", "10.0.2.9", "10.0.1.5"])),
        ("srcport", Arc::new(UInt16Array::from(vec![0, 0, 0, 0, 5432]))),
        ("dstport", Arc::new(UInt16Array::from(vec![4444, 5432, 5432, 22, 0]))),
        ("protocol", Arc::new(UInt8Array::from(vec![6, 6, 6, 6, 6]))),
        ("action", text(vec!["ACCEPT", "ACCEPT", "ACCEPT", "REJECT", "ACCEPT"])),
        ("packets", count(vec![Some(60), Some(2), None, None, Some(4_000)])),
        ("bytes", count(vec![Some(61_000), Some(900), None, None, Some(4_800_000)])),
        ("packets_before", count(vec![None, None, Some(70), Some(1), Some(100)])),
        ("bytes_before", count(vec![None, None, Some(52_000), Some(40), Some(120_000)])),
    ])
    .unwrap()
}

fn stream(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let schema = batches[0].schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok))))
}

fn try_draw(batch: RecordBatch, format: GraphFormat, options: &RenderOptions) -> Result<(String, Rendered)> {
    let mut bytes = Vec::new();
    let rendered = futures::executor::block_on(render(stream(vec![batch]), format, &mut bytes, options))?;
    Ok((String::from_utf8(bytes).unwrap(), rendered))
}

fn draw(batch: RecordBatch, format: GraphFormat) -> String {
    try_draw(batch, format, &RenderOptions::default()).unwrap().0
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/render").join(name)
}

#[test]
fn graphs_are_drawn_as_the_golden_files_say() {
    for (name, batch) in [("edges", small_graph()), ("diff", small_diff()), ("hostile", hostile_graph())] {
        for (format, extension) in [
            (GraphFormat::Dot, "dot"),
            (GraphFormat::Graphml, "graphml"),
            (GraphFormat::Mermaid, "mmd"),
            (GraphFormat::Cytoscape, "json"),
        ] {
            check_golden(&format!("{name}.{extension}"), &draw(batch.clone(), format));
        }
        check_golden(&format!("{name}.lines.dot"), &draw_lines(batch));
    }
}

/// DOT as the earlier services wrote it.
fn draw_lines(batch: RecordBatch) -> String {
    let options = RenderOptions { dot_lines: true, ..RenderOptions::default() };
    try_draw(batch, GraphFormat::Dot, &options).unwrap().0
}

fn check_golden(name: &str, drawn: &str) {
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, drawn).unwrap();
    }
    assert_eq!(drawn, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
}

#[test]
fn graphviz_reads_the_golden_files() {
    for (name, expected) in [
        ("edges.dot", 8),
        ("diff.dot", 6),
        ("hostile.dot", 2),
        ("edges.lines.dot", 8),
        ("diff.lines.dot", 6),
        ("hostile.lines.dot", 2),
    ] {
        let Ok(output) = Command::new("dot").arg("-Tsvg").arg(golden(name)).output() else {
            eprintln!("SKIPPED: Graphviz is not installed, so nobody checked that it reads our DOT");
            return;
        };
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {complaint}");
        assert!(!complaint.contains("syntax error"), "{name}: {complaint}");
        let drawn = String::from_utf8(output.stdout).unwrap();
        let nodes = drawn.matches("class=\"node\"").count();
        assert_eq!(nodes, expected, "{name}");
    }
}

#[test]
fn an_interface_graph_joins_accounts_and_interfaces() {
    let batch = RecordBatch::try_from_iter([
        ("account_id", Arc::new(StringArray::from(vec!["012345678901"])) as ArrayRef),
        ("interface_id", Arc::new(StringArray::from(vec![ENI]))),
        ("bytes", Arc::new(Int64Array::from(vec![1_000]))),
    ])
    .unwrap();
    let drawn = draw(batch, GraphFormat::Dot);
    assert!(drawn.contains(&format!("\"012345678901\" -> \"{ENI}\" [")), "{drawn}");
    assert!(drawn.contains("label=\"1.0 kB\""), "{drawn}");
}

#[test]
fn columns_that_make_no_graph_are_refused() {
    let batch = RecordBatch::try_from_iter([("bytes", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let error = try_draw(batch, GraphFormat::Dot, &RenderOptions::default()).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    assert!(error.to_string().contains("srcaddr"));
}

#[test]
fn a_graph_without_edges_is_still_a_graph() {
    for format in [GraphFormat::Dot, GraphFormat::Graphml, GraphFormat::Mermaid, GraphFormat::Cytoscape] {
        let drawn = draw(small_graph().slice(0, 0), format);
        assert!(!drawn.is_empty());
        if format == GraphFormat::Cytoscape {
            let json: serde_json::Value = serde_json::from_str(&drawn).unwrap();
            assert_eq!(json, serde_json::json!({ "elements": { "nodes": [], "edges": [] } }));
        }
    }
}

#[test]
fn too_many_nodes_are_an_error_that_names_the_limit() {
    let options = RenderOptions { nodes_max: 3, ..RenderOptions::default() };
    let error = try_draw(small_graph(), GraphFormat::Dot, &options).unwrap_err();
    assert!(error.to_string().contains("more than 3 nodes (limit nodes_max)"), "{error}");
}

#[test]
fn mermaid_leaves_out_what_it_could_not_draw_and_says_so() {
    let options = RenderOptions { mermaid_edges_max: 3, ..RenderOptions::default() };
    let (drawn, rendered) = try_draw(small_graph(), GraphFormat::Mermaid, &options).unwrap();
    assert_eq!((rendered.edges, rendered.left_out), (3, 5));
    assert!(drawn.contains("%% 5 more edges left out"), "{drawn}");
}

#[test]
fn a_reader_that_splits_dot_lines_at_spaces_finds_every_attribute() {
    let drawn = draw(small_graph(), GraphFormat::Dot);
    let line = drawn.lines().find(|line| line.contains("->")).unwrap();
    let parts: Vec<&str> = line.splitn(4, ' ').collect();
    assert_eq!(parts[..3], ["\"10.0.1.5\"", "->", "\"10.0.2.9\""]);
    let attributes: StdHashMap<&str, &str> =
        parts[3].trim_matches(['[', ']']).split(' ').filter_map(|attribute| attribute.split_once('=')).collect();
    assert_eq!(attributes["govpc_accountID"], "\"012345678901\"");
    assert_eq!(attributes["govpc_dstPort"], "\"5432\"");
    assert_eq!(attributes["govpc_start"], "\"1795176003\"");
    assert_eq!(attributes["color"], "green");
}

/// Reads a quoted DOT string from the start of `text`; returns the rest.
fn skip_quoted(text: &str) -> Option<&str> {
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()?),
            '"' => return Some(&text[at + 2..]),
            _ => {}
        }
    }
    None
}

/// Whether a line is one edge statement: two quoted names and attributes with quoted or bare values.
fn is_edge_statement(line: &str) -> bool {
    let read = || {
        let rest = skip_quoted(line)?.strip_prefix(" -> ")?;
        let mut rest = skip_quoted(rest)?.strip_prefix(" [")?;
        while rest != "]" {
            let (name, value) = rest.split_once('=')?;
            let known = name.starts_with("govpc_") || ["color", "style", "label"].contains(&name);
            let after = if value.starts_with('"') { skip_quoted(value)? } else { &value[value.find([' ', ']'])?..] };
            rest = after.strip_prefix(' ').unwrap_or(after);
            known.then_some(())?;
        }
        Some(())
    };
    read().is_some()
}

proptest! {
    #[test]
    fn no_text_breaks_a_graph(action in any::<String>(), interface in any::<String>(), name in any::<String>()) {
        let rows = [(interface.as_str(), name.as_str(), "10.0.0.1", 0, 443, 6, action.as_str(), 1)];
        let dot = draw(edges(&rows), GraphFormat::Dot);
        // Head, three defaults, a node or two, the edge, the end.
        let nodes = if name == "10.0.0.1" { 1 } else { 2 };
        prop_assert_eq!(dot.lines().count(), 4 + nodes + 2, "{}", dot);
        prop_assert!(is_edge_statement(dot.lines().nth(4 + nodes).unwrap()), "{}", dot);

        // Of the line for programs, every word between the brackets is an attribute.
        let lines = draw_lines(edges(&rows));
        let line = lines.lines().find(|line| line.contains(" -> ")).unwrap();
        prop_assert!(lines.lines().count() == 1 + nodes + 2 && is_edge_statement(line), "{}", lines);
        let attributes = line.splitn(4, ' ').nth(3).unwrap().trim_start_matches('[').split(' ');
        prop_assert!(attributes.clone().all(|attribute| attribute.contains('=')) && attributes.count() == 11, "{}", line);

        let json: serde_json::Value = serde_json::from_str(&draw(edges(&rows), GraphFormat::Cytoscape)).unwrap();
        prop_assert_eq!(json["elements"]["edges"][0]["data"]["interface_id"].as_str(), Some(interface.as_str()));
        let ids: HashSet<&str> =
            json["elements"]["nodes"].as_array().unwrap().iter().filter_map(|node| node["data"]["id"].as_str()).collect();
        prop_assert!(ids.contains(json["elements"]["edges"][0]["data"]["source"].as_str().unwrap()));

        let mermaid = draw(edges(&rows), GraphFormat::Mermaid);
        let colored = usize::from(action == "ACCEPT" || action == "REJECT");
        prop_assert_eq!(mermaid.lines().count(), 1 + nodes + 1 + colored, "{}", mermaid);

        let graphml = draw(edges(&rows), GraphFormat::Graphml);
        prop_assert!(!graphml.contains(|c: char| c.is_control() && c != '\n'), "{}", graphml);
        prop_assert_eq!(graphml.matches("<node ").count(), nodes);
        prop_assert_eq!(graphml.matches("<edge ").count(), 1);
    }
}

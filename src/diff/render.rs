//! Edges and diffs as graphs. In: a stream of rows. Out: DOT, GraphML, Mermaid or Cytoscape JSON, written as it streams.
//! Node identity is the address itself; every format escapes what hostile text could break out with.

use crate::error::{Error, Result};
use crate::flow::protocol_name;
use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

/// A rendering of edges as nodes and links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphFormat {
    /// Graphviz, one statement a line, with the `govpc_*` attributes of the earlier services.
    Dot,
    /// GraphML.
    Graphml,
    /// Mermaid flowchart, cut at [`MERMAID_EDGES_MAX`].
    Mermaid,
    /// Cytoscape JSON elements.
    Cytoscape,
}

/// Nodes that a graph may have: their names are held to write each once.
pub const NODES_MAX: usize = 1_000_000;
/// Links that Mermaid lays out by default.
pub const MERMAID_EDGES_MAX: usize = 500;

/// One link, as text.
struct Link {
    source: String,
    target: String,
    attributes: Vec<(&'static str, String)>,
    label: String,
    change: String,
    rejected: bool,
}

/// Writes the rows of `stream` as a graph; returns how many links there were.
///
/// # Errors
/// `Invalid` if there are more than [`NODES_MAX`] nodes, and what the stream and the writer say.
pub async fn render(
    mut stream: SendableRecordBatchStream,
    format: GraphFormat,
    out: &mut (dyn Write + Send),
) -> Result<u64> {
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    let mut links = 0u64;
    write!(out, "{}", begin(format))?;
    while let Some(batch) = stream.try_next().await? {
        for link in links_of(&batch)? {
            for node in [&link.source, &link.target] {
                if !nodes.contains_key(node) {
                    if nodes.len() == NODES_MAX {
                        return Err(Error::invalid(format!("the graph has more than {NODES_MAX} nodes"))
                            .with_hint("narrow it, or take --format ndjson"));
                    }
                    nodes.insert(node.clone(), nodes.len());
                }
            }
            let text = match format {
                GraphFormat::Dot => dot(&link),
                GraphFormat::Graphml => graphml(&link, links),
                GraphFormat::Cytoscape => cytoscape(&link, links),
                GraphFormat::Mermaid if links < MERMAID_EDGES_MAX as u64 => mermaid(&link, &nodes),
                GraphFormat::Mermaid => String::new(),
            };
            write!(out, "{text}")?;
            links += 1;
        }
    }
    end(format, &nodes, links, out)?;
    Ok(links)
}

fn begin(format: GraphFormat) -> String {
    match format {
        GraphFormat::Dot => "digraph flows {\nrankdir=LR\nnode [shape=box fontname=\"sans-serif\"]\n".to_owned(),
        GraphFormat::Graphml => {
            let keys = ["label", "change", "action", "account_id", "interface_id", "srcport", "dstport", "protocol"];
            let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                <graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n"
                .to_owned();
            for key in keys {
                let _ = writeln!(text, "<key id=\"{key}\" for=\"edge\" attr.name=\"{key}\" attr.type=\"string\"/>");
            }
            for key in ["packets", "bytes"] {
                let _ = writeln!(text, "<key id=\"{key}\" for=\"edge\" attr.name=\"{key}\" attr.type=\"long\"/>");
            }
            text + "<graph edgedefault=\"directed\">\n"
        }
        GraphFormat::Mermaid => "flowchart LR\n".to_owned(),
        GraphFormat::Cytoscape => "{\"elements\":{\"edges\":[".to_owned(),
    }
}

fn end(format: GraphFormat, nodes: &BTreeMap<String, usize>, links: u64, out: &mut (dyn Write + Send)) -> Result<()> {
    match format {
        GraphFormat::Dot => {
            for node in nodes.keys() {
                writeln!(out, "{} [label={}]", quoted(node), quoted(node))?;
            }
            writeln!(out, "}}")?;
        }
        GraphFormat::Graphml => {
            for node in nodes.keys() {
                writeln!(out, "<node id=\"{}\"/>", xml(node))?;
            }
            writeln!(out, "</graph>\n</graphml>")?;
        }
        GraphFormat::Mermaid => {
            for (node, number) in nodes {
                writeln!(out, "  n{number}[\"{}\"]", mermaid_text(node))?;
            }
            if links > MERMAID_EDGES_MAX as u64 {
                writeln!(out, "%% {} more links are left out", links - MERMAID_EDGES_MAX as u64)?;
            }
        }
        GraphFormat::Cytoscape => {
            write!(out, "],\"nodes\":[")?;
            for (index, node) in nodes.keys().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(out, "{comma}{}", serde_json::json!({"data": {"id": node, "label": node}}))?;
            }
            writeln!(out, "]}}}}")?;
        }
    }
    Ok(())
}

fn dot(link: &Link) -> String {
    let mut text = format!("{} -> {} [", quoted(&link.source), quoted(&link.target));
    for (name, value) in &link.attributes {
        if let Some(govpc) = govpc_name(name) {
            let _ = write!(text, "{govpc}={} ", quoted(value));
        }
    }
    if !link.change.is_empty() {
        let _ = write!(text, "govpc_diff={} ", quoted(&link.change.to_uppercase()));
        let style = match link.change.as_str() {
            "added" => "bold",
            "removed" => "dashed",
            _ => "solid",
        };
        let _ = write!(text, "style={style} ");
    }
    let color = if link.rejected { "red" } else { "green" };
    let _ = writeln!(text, "color={color} label={}]", quoted(&link.label));
    text
}

/// Names that readers of the earlier services' DOT know.
fn govpc_name(column: &str) -> Option<&'static str> {
    Some(match column {
        "account_id" => "govpc_accountID",
        "interface_id" => "govpc_eniID",
        "srcport" => "govpc_srcPort",
        "dstport" => "govpc_dstPort",
        "protocol" => "govpc_protocol",
        "packets" => "govpc_packets",
        "bytes" => "govpc_bytes",
        "first_seen" => "govpc_start",
        "last_seen" => "govpc_end",
        _ => return None,
    })
}

fn graphml(link: &Link, number: u64) -> String {
    let mut text = format!("<edge id=\"e{number}\" source=\"{}\" target=\"{}\">", xml(&link.source), xml(&link.target));
    for (name, value) in &link.attributes {
        if !matches!(*name, "first_seen" | "last_seen") {
            let _ = write!(text, "<data key=\"{name}\">{}</data>", xml(value));
        }
    }
    let _ = writeln!(
        text,
        "<data key=\"change\">{}</data><data key=\"label\">{}</data></edge>",
        xml(&link.change),
        xml(&link.label)
    );
    text
}

fn cytoscape(link: &Link, number: u64) -> String {
    let mut data = serde_json::Map::new();
    data.insert("id".to_owned(), format!("e{number}").into());
    data.insert("source".to_owned(), link.source.clone().into());
    data.insert("target".to_owned(), link.target.clone().into());
    data.insert("label".to_owned(), link.label.clone().into());
    data.insert("change".to_owned(), link.change.clone().into());
    for (name, value) in &link.attributes {
        data.insert((*name).to_owned(), value.clone().into());
    }
    let comma = if number > 0 { "," } else { "" };
    format!("{comma}{}", serde_json::json!({ "data": data }))
}

fn mermaid(link: &Link, nodes: &BTreeMap<String, usize>) -> String {
    let arrow = if link.change == "removed" { "-.->" } else { "-->" };
    let change = if link.change.is_empty() { String::new() } else { format!("{} ", link.change) };
    format!("  n{} {arrow}|\"{change}{}\"| n{}\n", nodes[&link.source], mermaid_text(&link.label), nodes[&link.target])
}

/// A DOT string: no quote, backslash or line end of the text is left to act.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn xml(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => "\u{fffd}".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

fn mermaid_text(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | ':' | '/' | '-' | '_' | ',');
    text.chars().map(|c| if is_plain(c) { c.to_string() } else { format!("#{};", c as u32) }).collect()
}

/// The columns that become attributes, in the order that readers of the earlier services' DOT expect.
const ATTRIBUTES: [&str; 10] = [
    "account_id",
    "interface_id",
    "srcport",
    "dstport",
    "protocol",
    "action",
    "packets",
    "bytes",
    "first_seen",
    "last_seen",
];

fn links_of(batch: &RecordBatch) -> Result<Vec<Link>> {
    let text = |name: &str| -> Result<Option<StringViewArray>> {
        let Some(column) = batch.column_by_name(name) else { return Ok(None) };
        let column = match column.data_type() {
            // Unix seconds, as the earlier services wrote them.
            DataType::Timestamp(..) => {
                let millis = cast(column, &DataType::Int64)?;
                let seconds =
                    millis.as_primitive::<Int64Type>().unary::<_, Int64Type>(|millis| millis.div_euclid(1000));
                cast(&seconds, &DataType::Utf8View)?
            }
            _ => cast(column, &DataType::Utf8View)?,
        };
        Ok(Some(column.as_string_view().clone()))
    };
    let columns: Vec<(&'static str, StringViewArray)> = ATTRIBUTES
        .iter()
        .filter_map(|name| text(name).transpose().map(|c| c.map(|c| (*name, c))))
        .collect::<Result<_>>()?;
    // Interfaces have no addresses: their accounts are the other end.
    let (source, target) = match (text("srcaddr")?, text("dstaddr")?) {
        (Some(source), Some(target)) => (Some(source), Some(target)),
        _ => (text("account_id")?, text("interface_id")?),
    };
    let (Some(source), Some(target)) = (source, target) else {
        return Err(Error::internal("a graph needs addresses or interfaces"));
    };
    let (change, before) = (text("change")?, text("bytes_before")?);
    let link = |row: usize| {
        let get = |name: &str| columns.iter().find(|(column, _)| *column == name).map(|(_, values)| values.value(row));
        let change = change.as_ref().map_or("", |change| change.value(row));
        let before = before.as_ref().filter(|before| change == "changed" && !before.is_null(row));
        Link {
            source: source.value(row).to_owned(),
            target: target.value(row).to_owned(),
            attributes: columns.iter().map(|(name, values)| (*name, values.value(row).to_owned())).collect(),
            label: label(&get, before.map(|before| before.value(row))),
            change: change.to_owned(),
            rejected: get("action") == Some("REJECT"),
        }
    };
    Ok((0..batch.num_rows()).map(link).collect())
}

/// `tcp/443 1.2 MB`, or `1.2 MB -> 40 MB` where the volume moved.
fn label<'a>(get: &impl Fn(&str) -> Option<&'a str>, before: Option<&str>) -> String {
    let mut label = String::new();
    if let Some(protocol) = get("protocol") {
        let name = protocol.parse().ok().and_then(protocol_name).map_or_else(|| protocol.to_owned(), str::to_owned);
        let port = [get("srcport"), get("dstport")].into_iter().flatten().find(|port| *port != "0");
        label += &name;
        if let Some(port) = port {
            let _ = write!(label, "/{port}");
        }
        label.push(' ');
    }
    if let Some(before) = before {
        let _ = write!(label, "{} -> ", human_bytes(before));
    }
    label + &human_bytes(get("bytes").unwrap_or("0"))
}

fn human_bytes(bytes: &str) -> String {
    let bytes: f64 = bytes.parse().unwrap_or(0.0);
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let step = (bytes.max(1.0).log10() / 3.0).floor().min(5.0);
    if step < 1.0 {
        format!("{bytes} B")
    } else {
        format!("{:.1} {}", bytes / 1000f64.powf(step), units[step as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::edges_schema;
    use datafusion::arrow::array::*;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn edges(rows: &[(&str, &str, &str, u8)]) -> SendableRecordBatchStream {
        let n = rows.len();
        let text =
            |of: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringViewArray::from_iter_values((0..n).map(of))) };
        let count = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value; n])) };
        let time = || -> ArrayRef { Arc::new(TimestampMillisecondArray::from(vec![1_500; n]).with_timezone("UTC")) };
        let batch = RecordBatch::try_new(
            edges_schema(),
            vec![
                text(&|_| "123456789012".to_owned()),
                text(&|_| "eni-1".to_owned()),
                text(&|i| rows[i].0.to_owned()),
                text(&|i| rows[i].1.to_owned()),
                Arc::new(UInt16Array::from(vec![0; n])),
                Arc::new(UInt16Array::from(vec![443; n])),
                Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.3))),
                text(&|i| rows[i].2.to_owned()),
                count(1),
                count(2),
                count(12_345),
                time(),
                time(),
                Arc::new(UInt8Array::from(vec![None; n])),
            ],
        )
        .unwrap();
        Box::pin(RecordBatchStreamAdapter::new(edges_schema(), futures::stream::iter([Ok(batch)])))
    }

    fn rendered(rows: &[(&str, &str, &str, u8)], format: GraphFormat) -> String {
        let mut out = Vec::new();
        futures::executor::block_on(render(edges(rows), format, &mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dot_is_one_statement_a_line_with_the_names_that_readers_know() {
        let dot = rendered(
            &[("10.0.0.1", "2001:db8::1", "ACCEPT", 6), ("10.0.0.2", "10.0.0.1", "REJECT", 17)],
            GraphFormat::Dot,
        );
        insta::assert_snapshot!(dot, @r#"
        digraph flows {
        rankdir=LR
        node [shape=box fontname="sans-serif"]
        "10.0.0.1" -> "2001:db8::1" [govpc_accountID="123456789012" govpc_eniID="eni-1" govpc_srcPort="0" govpc_dstPort="443" govpc_protocol="6" govpc_packets="2" govpc_bytes="12345" govpc_start="1" govpc_end="1" color=green label="tcp/443 12.3 kB"]
        "10.0.0.2" -> "10.0.0.1" [govpc_accountID="123456789012" govpc_eniID="eni-1" govpc_srcPort="0" govpc_dstPort="443" govpc_protocol="17" govpc_packets="2" govpc_bytes="12345" govpc_start="1" govpc_end="1" color=red label="udp/443 12.3 kB"]
        "10.0.0.1" [label="10.0.0.1"]
        "10.0.0.2" [label="10.0.0.2"]
        "2001:db8::1" [label="2001:db8::1"]
        }
        "#);
    }

    proptest! {
        #[test]
        fn hostile_text_breaks_no_format(text in ".{0,20}") {
            let rows = [(text.as_str(), "10.0.0.1", text.as_str(), 6)];
            let json: serde_json::Value = serde_json::from_str(&rendered(&rows, GraphFormat::Cytoscape)).unwrap();
            prop_assert_eq!(&json["elements"]["edges"][0]["data"]["source"], &serde_json::Value::from(text.as_str()));
            prop_assert_eq!(rendered(&rows, GraphFormat::Dot).lines().count(), 6 + usize::from(text != "10.0.0.1"));
            let tags = |text: &str| rendered(&[(text, "10.0.0.1", text, 6)], GraphFormat::Graphml).matches('<').count();
            prop_assert_eq!(tags(&text), tags(if text == "10.0.0.1" { "10.0.0.1" } else { "x" }));
            prop_assert!(rendered(&rows, GraphFormat::Mermaid).lines().count() >= 3);
        }
    }
}

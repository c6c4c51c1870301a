//! Cytoscape.js elements as JSON, `{"elements": {"edges": [...], "nodes": [...]}}`, one element a line.
//!
//! Edges come first, because they stream; their nodes are kept until the end. The id of a node is its address.

use super::link::{Link, Value};
use super::{Rendered, Renderer};
use crate::error::Result;
use serde_json::{Map, json};
use std::io::Write;

/// The names of the nodes, and how many edges are written.
#[derive(Default)]
pub(super) struct Cytoscape {
    nodes: Vec<Box<str>>,
    edges: u64,
}

impl Renderer for Cytoscape {
    fn begin(&mut self, out: &mut dyn Write) -> Result<()> {
        write!(out, r#"{{"elements": {{"edges": ["#)?;
        Ok(())
    }

    fn node(&mut self, _out: &mut dyn Write, name: &str, _number: usize) -> Result<()> {
        self.nodes.push(name.into());
        Ok(())
    }

    fn edge(&mut self, out: &mut dyn Write, link: &Link<'_>, _from: usize, _to: usize) -> Result<()> {
        let (from, to) = link.ends();
        let mut data = Map::new();
        data.insert("id".to_owned(), json!(format!("e{}", self.edges)));
        data.insert("source".to_owned(), json!(node_id(from)));
        data.insert("target".to_owned(), json!(node_id(to)));
        for (name, value) in link.attributes() {
            match value {
                Value::Text(Some(text)) => data.insert(name.to_owned(), json!(text)),
                Value::Number(Some(number)) => data.insert(name.to_owned(), json!(number)),
                Value::Text(None) | Value::Number(None) => None,
            };
        }
        write!(out, "{}\n{}", if self.edges == 0 { "" } else { "," }, json!({ "data": data }))?;
        self.edges += 1;
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, _rendered: &Rendered) -> Result<()> {
        write!(out, "\n], \"nodes\": [")?;
        for (number, name) in self.nodes.iter().enumerate() {
            let element = json!({ "data": { "id": node_id(name), "label": name } });
            write!(out, "{}\n{element}", if number == 0 { "" } else { "," })?;
        }
        writeln!(out, "\n]}}}}")?;
        Ok(())
    }
}

/// Nodes and edges share one space of ids: a node's has a prefix that no edge's has.
fn node_id(name: &str) -> String {
    format!("n:{name}")
}

//! Graphviz DOT, one statement a line, fields apart by one space: readers of the earlier services' DOT split lines so.
//!
//! The name of a node is its address. Edges carry the attributes of those services (`govpc_*`) where the stream has
//! the column.

use super::link::{Change, Link};
use super::text::{label, printable};
use super::{Rendered, Renderer};
use crate::error::Result;
use std::fmt::Display;
use std::io::Write;

/// DOT as it is written: it keeps nothing.
pub(super) struct Dot;

impl Renderer for Dot {
    fn begin(&mut self, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "digraph {{")?;
        writeln!(out, "graph [rankdir=\"LR\" ranksep=\"2.0\" nodesep=\"0.4\"]")?;
        writeln!(out, "node [shape=\"box\" style=\"rounded\" fontname=\"Helvetica\" fontsize=\"11\"]")?;
        writeln!(out, "edge [fontname=\"Helvetica\" fontsize=\"9\" arrowsize=\"0.7\"]")?;
        Ok(())
    }

    fn node(&mut self, out: &mut dyn Write, name: &str, _number: usize) -> Result<()> {
        writeln!(out, "{} [label={}]", value(name), text(name))?;
        Ok(())
    }

    fn edge(&mut self, out: &mut dyn Write, link: &Link<'_>, _from: usize, _to: usize) -> Result<()> {
        let (from, to) = link.ends();
        write!(out, "{} -> {} [", value(from), value(to))?;
        attribute(out, "govpc_accountID", link.account_id.map(value))?;
        attribute(out, "govpc_eniID", link.interface_id.map(value))?;
        attribute(out, "govpc_srcPort", link.srcport.map(value))?;
        attribute(out, "govpc_dstPort", link.dstport.map(value))?;
        attribute(out, "govpc_protocol", link.protocol.map(value))?;
        attribute(out, "govpc_packets", link.packets.or(link.packets_before).map(value))?;
        attribute(out, "govpc_bytes", link.bytes.or(link.bytes_before).map(value))?;
        attribute(out, "govpc_start", link.first_seen.map(value))?;
        attribute(out, "govpc_end", link.last_seen.map(value))?;
        attribute(out, "govpc_diff", link.change.map(|change| value(change.name().to_uppercase())))?;
        // Without quotes, as those services wrote it.
        attribute(out, "color", link.color())?;
        if let Some(style) = link.change.and_then(style) {
            attribute(out, "style", Some(value(style)))?;
        }
        // The label comes last: its spaces part no other attribute from its name.
        writeln!(out, "label={}]", text(&label(link)))?;
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, _rendered: &Rendered) -> Result<()> {
        writeln!(out, "}}")?;
        Ok(())
    }
}

fn style(change: Change) -> Option<&'static str> {
    match change {
        Change::Added => Some("bold"),
        Change::Removed => Some("dashed"),
        Change::Changed => None,
    }
}

fn attribute(out: &mut dyn Write, name: &str, value: Option<impl Display>) -> Result<()> {
    if let Some(value) = value {
        write!(out, "{name}={value} ")?;
    }
    Ok(())
}

/// A quoted name or attribute. It has no spaces, so that it cannot be taken for two.
pub(super) fn value(value: impl Display) -> String {
    format!("\"{}\"", word(value))
}

/// What stands between the quotes.
pub(super) fn word(value: impl Display) -> String {
    escape(&value.to_string()).replace(' ', "\\\\u{20}")
}

/// Quoted text for people: Graphviz reads HTML entities in it, even in quotes.
pub(super) fn text(text: &str) -> String {
    format!("\"{}\"", escape(text)).replace('&', "&amp;")
}

/// What stands between quotes: DOT knows `\"`, and a label reads `\\` as one backslash.
fn escape(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('"', "\\\"")
}

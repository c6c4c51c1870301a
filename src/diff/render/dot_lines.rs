//! DOT as the earlier services wrote it and as programs that split lines read it: no statement but edges and nodes, no
//! space within an attribute, the label in the words of the attributes, the difference behind the label.
//!
//! Only the names of nodes are other ones: those services took the dots and colons out of an address, so that
//! `10.0.11.1` and `10.0.1.11` were one node; here a name is the address.

use super::dot::{text, value, word};
use super::link::Link;
use super::{Rendered, Renderer};
use crate::error::Result;
use std::io::Write;

/// DOT as it is written: it keeps nothing.
pub(super) struct DotLines;

impl Renderer for DotLines {
    fn begin(&mut self, out: &mut dyn Write) -> Result<()> {
        Ok(writeln!(out, "digraph {{")?)
    }

    fn node(&mut self, out: &mut dyn Write, name: &str, _number: usize) -> Result<()> {
        Ok(writeln!(out, "{} [label={}]", value(name), text(name))?)
    }

    fn edge(&mut self, out: &mut dyn Write, link: &Link<'_>, _from: usize, _to: usize) -> Result<()> {
        let (from, to) = link.ends();
        let change = link.change.map(|change| change.name().to_uppercase());
        let color =
            if link.action.is_some_and(|action| action.eq_ignore_ascii_case("REJECT")) { "red" } else { "green" };
        write!(out, "{} -> {} [", value(from), value(to))?;
        let mut label = Vec::new();
        for (name, field) in fields(link) {
            write!(out, "govpc_{name}=\"{field}\" ")?;
            label.push(format!("{name}={field}"));
        }
        label.extend(change.iter().map(|change| format!("diff={change}")));
        // `\n` breaks the lines of a label.
        write!(out, "color={color} label=\"{}\"", label.join("\\n").replace('&', "&amp;"))?;
        if let Some(change) = change {
            write!(out, " govpc_diff=\"{change}\"")?;
        }
        Ok(writeln!(out, "]")?)
    }

    fn end(&mut self, out: &mut dyn Write, _rendered: &Rendered) -> Result<()> {
        Ok(writeln!(out, "}}")?)
    }
}

/// The fields of an edge in their order, those that it has, each as one word.
fn fields<'a>(link: &Link<'a>) -> impl Iterator<Item = (&'static str, String)> + use<'a> {
    [
        ("accountID", link.account_id.map(word)),
        ("eniID", link.interface_id.map(word)),
        ("srcPort", link.srcport.map(word)),
        ("dstPort", link.dstport.map(word)),
        ("protocol", link.protocol.map(word)),
        ("packets", link.packets.or(link.packets_before).map(word)),
        ("bytes", link.bytes.or(link.bytes_before).map(word)),
        ("start", link.first_seen.map(word)),
        ("end", link.last_seen.map(word)),
    ]
    .into_iter()
    .filter_map(|(name, field)| Some((name, field?)))
}

//! GraphML with typed keys. Nodes stand before the first edge that touches them, which GraphML allows.

use super::link::{Link, Value};
use super::text::printable;
use super::{Rendered, Renderer};
use crate::error::Result;
use std::io::Write;

/// GraphML as it is written: it keeps nothing.
pub(super) struct GraphMl;

impl Renderer for GraphMl {
    fn begin(&mut self, out: &mut dyn Write) -> Result<()> {
        writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
        writeln!(out, r#"<graphml xmlns="http://graphml.graphdrawing.org/xmlns">"#)?;
        writeln!(out, r#"<key id="name" for="node" attr.name="label" attr.type="string"/>"#)?;
        for (name, value) in Link::default().attributes() {
            let kind = match value {
                Value::Text(_) => "string",
                Value::Number(_) => "long",
            };
            writeln!(out, r#"<key id="{name}" for="edge" attr.name="{name}" attr.type="{kind}"/>"#)?;
        }
        writeln!(out, r#"<graph edgedefault="directed">"#)?;
        Ok(())
    }

    fn node(&mut self, out: &mut dyn Write, name: &str, _number: usize) -> Result<()> {
        let name = escape(name);
        writeln!(out, r#"<node id="{name}"><data key="name">{name}</data></node>"#)?;
        Ok(())
    }

    fn edge(&mut self, out: &mut dyn Write, link: &Link<'_>, _from: usize, _to: usize) -> Result<()> {
        let (from, to) = link.ends();
        write!(out, r#"<edge source="{}" target="{}">"#, escape(from), escape(to))?;
        for (name, value) in link.attributes() {
            match value {
                Value::Text(Some(text)) => write!(out, r#"<data key="{name}">{}</data>"#, escape(&text))?,
                Value::Number(Some(number)) => write!(out, r#"<data key="{name}">{number}</data>"#)?,
                Value::Text(None) | Value::Number(None) => {}
            }
        }
        writeln!(out, "</edge>")?;
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, _rendered: &Rendered) -> Result<()> {
        writeln!(out, "</graph>\n</graphml>")?;
        Ok(())
    }
}

/// Text for XML 1.0, which has no way to write control characters: they are shown as `\u{...}`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

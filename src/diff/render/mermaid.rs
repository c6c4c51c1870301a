//! Mermaid flowchart. Nodes are `n1`, `n2`, ...: Mermaid's ids take no colons. Thick links are added, dotted removed.

use super::link::{Change, Link};
use super::text::{label, printable};
use super::{Rendered, Renderer};
use crate::error::Result;
use std::io::Write;

/// How many links are written: colors go by their numbers.
#[derive(Default)]
pub(super) struct Mermaid {
    links: u64,
}

impl Renderer for Mermaid {
    fn begin(&mut self, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "flowchart LR")?;
        Ok(())
    }

    fn node(&mut self, out: &mut dyn Write, name: &str, number: usize) -> Result<()> {
        writeln!(out, "    n{}[\"{}\"]", number + 1, escape(name))?;
        Ok(())
    }

    fn edge(&mut self, out: &mut dyn Write, link: &Link<'_>, from: usize, to: usize) -> Result<()> {
        let arrow = match link.change {
            Some(Change::Added) => "==>",
            Some(Change::Removed) => "-.->",
            Some(Change::Changed) | None => "-->",
        };
        write!(out, "    n{} {arrow}", from + 1)?;
        let label = label(link);
        if !label.is_empty() {
            write!(out, "|\"{}\"|", escape(&label))?;
        }
        writeln!(out, " n{}", to + 1)?;
        if let Some(color) = link.color() {
            writeln!(out, "    linkStyle {} stroke:{color}", self.links)?;
        }
        self.links += 1;
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, rendered: &Rendered) -> Result<()> {
        if rendered.left_out > 0 {
            writeln!(out, "    %% {} more edges left out: Mermaid draws no larger flowcharts", rendered.left_out)?;
        }
        Ok(())
    }
}

/// Text inside quotes: what Mermaid, Markdown or HTML could read as their own becomes an entity of Mermaid's (`#35;`).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '"' | '#' | '&' | '<' | '>' | '`' | '\\' | ';' | '|' | '*' | '_' | '%' | '{' | '}' => {
                escaped.push_str(&format!("#{};", u32::from(character)));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

//! Edges, or what differs, as a graph in the format of other tools. A rendering, no storage of its own.
//!
//! In: a stream of edges, or of a diff, at any grain. Out: text, written as the stream comes. Memory holds one batch
//! and the names of the nodes, up to [`RenderOptions::nodes_max`]. Columns are found by name; what a grain lacks is
//! left out. Knows nothing of windows and digests.

mod cytoscape;
mod dot;
mod dot_lines;
mod graphml;
mod link;
mod mermaid;
mod text;

pub use text::printable;

use crate::error::{Error, Result};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use hashbrown::HashMap;
use link::{Link, Links};
use std::io::Write;

/// A format of graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphFormat {
    /// Graphviz.
    Dot,
    /// GraphML: Gephi, yEd, NetworkX.
    Graphml,
    /// Mermaid flowchart: Markdown pages.
    Mermaid,
    /// Cytoscape.js elements, JSON.
    Cytoscape,
}

/// Limits of a rendering.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// Nodes of a graph at the most, default 1,000,000 (some 100 MB of memory); one more is an error.
    pub nodes_max: usize,
    /// Edges of a Mermaid flowchart, default 500, above which Mermaid refuses to draw (its `maxEdges`). The rest is
    /// left out, and a comment and [`Rendered::left_out`] say how many. Other formats have no limit.
    pub mermaid_edges_max: u64,
    /// DOT as the earlier services wrote it, for the programs that read it; default: DOT to be looked at.
    pub dot_lines: bool,
}

impl Default for RenderOptions {
    fn default() -> Self {
        RenderOptions { nodes_max: 1_000_000, mermaid_edges_max: 500, dot_lines: false }
    }
}

/// What was rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Nodes written.
    pub nodes: u64,
    /// Edges written.
    pub edges: u64,
    /// Edges left out because the format has a limit.
    pub left_out: u64,
}

/// Writes `stream` to `writer` as a graph.
///
/// The stream has the columns of [`crate::flow::edges_schema`], or those of a diff: `change`, `evidence`, the key, the
/// measures and those of before. Nodes are addresses; where there are none (grain `interface`), accounts and
/// interfaces. Every text is escaped: whatever a flow log held, the graph is well-formed.
///
/// # Errors
/// `Invalid` if the columns make no graph or the nodes pass [`RenderOptions::nodes_max`]; what the stream and the
/// writer say.
pub async fn render(
    mut stream: SendableRecordBatchStream,
    format: GraphFormat,
    writer: &mut (dyn Write + Send),
    options: &RenderOptions,
) -> Result<Rendered> {
    Links::check(&stream.schema())?;
    let mut renderer: Box<dyn Renderer> = match format {
        GraphFormat::Dot if options.dot_lines => Box::new(dot_lines::DotLines),
        GraphFormat::Dot => Box::new(dot::Dot),
        GraphFormat::Graphml => Box::new(graphml::GraphMl),
        GraphFormat::Mermaid => Box::new(mermaid::Mermaid::default()),
        GraphFormat::Cytoscape => Box::new(cytoscape::Cytoscape::default()),
    };
    let edges_max = if format == GraphFormat::Mermaid { options.mermaid_edges_max } else { u64::MAX };
    let mut nodes = Nodes { numbers: HashMap::new(), max: options.nodes_max };
    let mut rendered = Rendered { nodes: 0, edges: 0, left_out: 0 };
    renderer.begin(writer)?;
    while let Some(batch) = stream.next().await {
        let batch = Links::of(&batch?)?;
        for row in 0..batch.rows() {
            if rendered.edges == edges_max {
                rendered.left_out += (batch.rows() - row) as u64;
                break;
            }
            let link = batch.link(row);
            let (from, to) = link.ends();
            let from = nodes.number(from, renderer.as_mut(), writer)?;
            let to = nodes.number(to, renderer.as_mut(), writer)?;
            renderer.edge(writer, &link, from, to)?;
            rendered.edges += 1;
        }
    }
    rendered.nodes = nodes.numbers.len() as u64;
    renderer.end(writer, &rendered)?;
    writer.flush()?;
    Ok(rendered)
}

/// One format. Calls come in this order: `begin`; each node before the first edge that touches it, once; `end`.
trait Renderer: Send {
    fn begin(&mut self, out: &mut dyn Write) -> Result<()>;
    /// `number` counts nodes from 0.
    fn node(&mut self, out: &mut dyn Write, name: &str, number: usize) -> Result<()>;
    fn edge(&mut self, out: &mut dyn Write, link: &Link<'_>, from: usize, to: usize) -> Result<()>;
    fn end(&mut self, out: &mut dyn Write, rendered: &Rendered) -> Result<()>;
}

/// The nodes seen so far, each with its number.
struct Nodes {
    numbers: HashMap<Box<str>, usize>,
    max: usize,
}

impl Nodes {
    fn number(&mut self, name: &str, renderer: &mut dyn Renderer, out: &mut dyn Write) -> Result<usize> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let number = self.numbers.len();
        if number == self.max {
            return Err(Error::invalid(format!("graph has more than {} nodes (limit nodes_max)", self.max))
                .with_hint("narrow it with a filter or a coarser grain, or raise the limit"));
        }
        self.numbers.insert(name.into(), number);
        renderer.node(out, name, number)?;
        Ok(number)
    }
}

#[cfg(test)]
mod tests;

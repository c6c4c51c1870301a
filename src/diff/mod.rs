//! Two digests to what differs: added, removed and changed edges, each with its evidence. In: two manifests. Out: a
//! stream of rows in key order. The queries `by_*.sql` and `diff.sql` say what every row means; edges are merged as
//! they lie in the files, coarser grains as their query folds them.

mod edge_file;
mod evidence;
mod fold;
mod keys;
mod merge;
mod ranges;
mod render;
mod rows;

pub use fold::edges_by;
pub use render::{GraphFormat, RenderOptions, Rendered, printable, render};

use crate::catalog::{Catalog, FileKind, Manifest, read_file};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::flow::EDGE_KEY;
use crate::session::Session;
use clap::ValueEnum;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use edge_file::EdgeFile;
use evidence::Interfaces;
use futures::{StreamExt, TryStreamExt};
use merge::Side;
use rows::Plan;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// What edges are folded to before they are compared or drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// The edge key.
    #[default]
    Edge,
    /// Addresses, ports, protocol and action; an edge that both ends report counts once, as the larger report.
    Link,
    /// Addresses.
    Host,
    /// Account and interface.
    Interface,
}

impl Grain {
    fn query(self) -> &'static str {
        match self {
            Grain::Edge => "by_edge",
            Grain::Link => "by_link",
            Grain::Host => "by_host",
            Grain::Interface => "by_interface",
        }
    }

    /// The columns of the edge key that the grain has, in their order: what its rows are sorted by.
    pub fn key(self) -> &'static [&'static str] {
        match self {
            Grain::Edge => &EDGE_KEY,
            Grain::Link => &EDGE_KEY[2..],
            Grain::Host => &EDGE_KEY[2..4],
            Grain::Interface => &EDGE_KEY[..2],
        }
    }
}

/// The smallest ratio: a counter moved, however little.
pub const RATIO_MIN: f64 = 1.0;

/// How digests are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What is compared.
    pub by: Grain,
    /// An edge in both is changed if its bytes moved by at least this ratio, up or down; default 2.
    pub ratio: f64,
    /// And by at least so many bytes; default 1,000,000.
    pub min_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { by: Grain::default(), ratio: 2.0, min_bytes: 1_000_000 }
    }
}

impl Options {
    /// Whether they make sense together.
    ///
    /// # Errors
    /// `Invalid` for a ratio below 1, and for one that is infinite or no number.
    pub fn check(&self) -> Result<()> {
        if self.ratio >= RATIO_MIN && self.ratio.is_finite() {
            return Ok(());
        }
        let fault = if self.ratio < RATIO_MIN { "is below 1" } else { "is not finite" };
        Err(Error::invalid(format!("ratio {} {fault}", self.ratio))
            .with_hint("a ratio of 2 shows edges whose bytes doubled or halved"))
    }

    /// Whether a counter moved enough to speak of a change. From or to 0 is more than any ratio.
    fn moved(&self, before: i64, after: i64) -> bool {
        let moved = before.abs_diff(after);
        moved > 0 && moved >= self.min_bytes && before.max(after) as f64 >= self.ratio * before.min(after) as f64
    }
}

/// Compares two digests of one store.
///
/// Columns: `change` (`added`, `removed`, `changed`), `evidence` (`new`, `unobserved_before`, `gone`,
/// `unobserved_after`, `volume`), the key of the grain, the measures (those of `after`; of `before` for a removed
/// edge), then `flows_before`, `packets_before`, `bytes_before`, null for an added edge. Rows are in key order, and the
/// same for any number of threads. Edges stream with memory that does not grow with their number; coarser grains are
/// folded first, within the memory of the session. Both digests are opened before this returns; of edges, rows are read
/// after it.
///
/// # Errors
/// `Invalid` for a ratio below 1; `Data` for a file that is not sorted or lacks a column; what the store says.
pub async fn diff(
    session: &Session,
    catalog: &Catalog,
    before: &Manifest,
    after: &Manifest,
    options: &Options,
    now: Timestamp,
) -> Result<SendableRecordBatchStream> {
    options.check()?;
    let comparison = Comparison { session, catalog, now };
    let evidence = comparison.evidence(before, after);
    if options.by == Grain::Edge {
        let threads = session.context().copied_config().target_partitions();
        let (evidence, before, after) = tokio::try_join!(evidence, comparison.edges(before), comparison.edges(after))?;
        return Ok(ranges::merge_files(before, after, Arc::new(Plan::new(options, evidence)), threads));
    }
    let evidence = evidence.await?;
    let before = comparison.folded("before", before, &evidence.whole_after, options.by).await?;
    let after = comparison.folded("after", after, &evidence.observed_before, options.by).await?;
    Ok(merge::merge_sides(before, after, Arc::new(Plan::new(options, evidence))))
}

struct Comparison<'a> {
    session: &'a Session,
    catalog: &'a Catalog,
    now: Timestamp,
}

impl Comparison<'_> {
    fn file(&self, manifest: &Manifest, kind: FileKind) -> Result<DataFrame> {
        read_file(self.session.context(), self.catalog, manifest, kind)
    }

    async fn edges(&self, manifest: &Manifest) -> Result<EdgeFile> {
        let path = self.catalog.file_path(manifest, FileKind::Edges)?;
        let size = manifest.file(FileKind::Edges).map_or(0, |file| file.size);
        EdgeFile::open(self.catalog.store.clone(), path, size).await
    }

    /// The edges of a digest at a grain, each with whether an interface of `seen` reported it.
    async fn folded(&self, name: &'static str, manifest: &Manifest, seen: &Interfaces, by: Grain) -> Result<Side> {
        let rows = async {
            let rows = fold::fold(self.session, self.catalog, manifest, seen, by, self.now).await?;
            Ok(rows.execute_stream().await?)
        };
        let rows = rows.await.map_err(|error: Error| error.context(format!("fold digest {name}")))?;
        Ok(Side::new(name, rows.map_err(Error::from).boxed()))
    }
}

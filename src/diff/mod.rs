//! Two digests to what differs: added, removed and changed edges, each with its evidence. In: two manifests. Out: a
//! stream of rows in key order. The queries `by_*.sql` and `diff.sql` say what every row means.

mod render;

pub use render::{GraphFormat, RenderOptions, Rendered, printable, render};

use crate::catalog::{Catalog, FileKind, Manifest, State, read_file};
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::session::{Params, Session, queries};
use clap::ValueEnum;
use datafusion::arrow::array::{RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What edges are folded to before they are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
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

    /// The columns of the edge key that the grain does not have.
    fn absent(self) -> &'static [&'static str] {
        match self {
            Grain::Edge => &[],
            Grain::Link => &["account_id", "interface_id"],
            Grain::Host => &["account_id", "interface_id", "srcport", "dstport", "protocol", "action"],
            Grain::Interface => &["srcaddr", "dstaddr", "srcport", "dstport", "protocol", "action"],
        }
    }
}

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

/// Compares two digests of one store.
///
/// Columns: `change`, `evidence`, the key of the grain, the measures (those of `after`; of `before` for a removed
/// edge), then `flows_before`, `packets_before`, `bytes_before`, null for an added edge. Rows are in key order.
///
/// # Errors
/// `Invalid` for a ratio below 1, and what the store says.
pub async fn diff(
    session: &Session,
    catalog: &Catalog,
    before: &Manifest,
    after: &Manifest,
    options: &Options,
    now: Timestamp,
) -> Result<SendableRecordBatchStream> {
    if !(options.ratio >= 1.0 && options.ratio.is_finite()) {
        return Err(crate::error::Error::invalid(format!("ratio {} is below 1", options.ratio))
            .with_hint("a ratio of 2 shows edges whose bytes doubled or halved"));
    }
    let comparison = Comparison { session, catalog, now };
    let observed_before = comparison.observed(before).await?;
    let whole_after = comparison.whole(after).await?;
    let both = session.without_tables(Vec::new())?;
    for (name, manifest, seen) in [("before", before, whole_after), ("after", after, observed_before)] {
        let edges = comparison.folded(manifest, seen, options.by).await.context(|| format!("read digest {name}"))?;
        both.register_table(name, edges.into_view())?;
    }
    let params = Params::from([
        ("ratio".to_owned(), options.ratio.to_string()),
        ("min_bytes".to_owned(), options.min_bytes.to_string()),
    ]);
    let frame = both.plan_query(&queries::load("diff", None)?, &params, now).await?;
    Ok(frame.drop_columns(options.by.absent())?.execute_stream().await?)
}

struct Comparison<'a> {
    session: &'a Session,
    catalog: &'a Catalog,
    now: Timestamp,
}

impl Comparison<'_> {
    async fn file(&self, manifest: &Manifest, kind: FileKind) -> Result<DataFrame> {
        read_file(self.session.context(), self.catalog, manifest, kind)
    }

    /// The interfaces that a digest observed.
    async fn observed(&self, manifest: &Manifest) -> Result<DataFrame> {
        Ok(self.file(manifest, FileKind::Interfaces).await?.select_columns(&["account_id", "interface_id"])?)
    }

    /// The interfaces that a digest observed and whose coverage is whole; none while the digest may still change.
    async fn whole(&self, manifest: &Manifest) -> Result<DataFrame> {
        let session = self.session.without_tables(Vec::new())?;
        session.register_table("interfaces", self.file(manifest, FileKind::Interfaces).await?.into_view())?;
        session.register_table("objects", self.file(manifest, FileKind::Objects).await?.into_view())?;
        session.register_table("silent", Arc::new(silent(manifest)?))?;
        let frame = session.plan_query(&queries::load("whole_interfaces", None)?, &Params::new(), self.now).await?;
        Ok(if manifest.state == State::Provisional { frame.limit(0, Some(0))? } else { frame })
    }

    /// The edges of a digest at a grain, each with whether an interface of `seen` reported it.
    async fn folded(&self, manifest: &Manifest, seen: DataFrame, by: Grain) -> Result<DataFrame> {
        let session = self.session.without_tables(Vec::new())?;
        session.register_table("edges", self.file(manifest, FileKind::Edges).await?.into_view())?;
        session.register_table("seen", seen.into_view())?;
        session.plan_query(&queries::load(by.query(), None)?, &Params::new(), self.now).await
    }
}

/// Accounts and regions of the flow logs that fell silent.
fn silent(manifest: &Manifest) -> Result<MemTable> {
    let parts = |index: usize| {
        let logs = manifest.coverage.silent_flow_logs.iter();
        Arc::new(StringViewArray::from_iter(logs.map(|log| log.split('/').nth(index))))
    };
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    let schema = Arc::new(Schema::new(vec![text("account_id"), text("region")]));
    let batch = RecordBatch::try_new(schema.clone(), vec![parts(0), parts(1)])?;
    Ok(MemTable::try_new(schema, vec![vec![batch]])?)
}

//! The edges of one digest at a grain, as `by_*.sql` fold them. In: a manifest. Out: rows in the order of the grain's key.

use super::Grain;
use super::evidence::Interfaces;
use crate::catalog::{Catalog, FileKind, Manifest, read_edges, read_file};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::flow::{EDGE_KEY, edges_schema};
use crate::session::{Params, Session, queries};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use std::sync::Arc;

/// The edges of a digest at a grain: the key of the grain, then the measures, in the order of the key.
///
/// Edges stream as they lie in the file; coarser grains are folded first, within the memory of the session.
///
/// # Errors
/// `Data` for a file that is missing or lacks a column; what the store says.
pub async fn edges_by(
    session: &Session,
    catalog: &Catalog,
    manifest: &Manifest,
    by: Grain,
    now: Timestamp,
) -> Result<SendableRecordBatchStream> {
    if by == Grain::Edge {
        return Ok(read_edges(session.context(), catalog, manifest)?.execute_stream().await?);
    }
    let schema = edges_schema();
    let measures = schema.fields()[EDGE_KEY.len()..].iter().map(|field| field.name().as_str());
    let columns: Vec<&str> = by.key().iter().copied().chain(measures).collect();
    let rows = fold(session, catalog, manifest, &Interfaces::default(), by, now).await?;
    Ok(rows.select_columns(&columns)?.execute_stream().await?)
}

/// The whole edge key and the measures at a grain, and whether an interface of `seen` reported it (`observed`).
pub(super) async fn fold(
    session: &Session,
    catalog: &Catalog,
    manifest: &Manifest,
    seen: &Interfaces,
    by: Grain,
    now: Timestamp,
) -> Result<DataFrame> {
    let edges = read_file(session.context(), catalog, manifest, FileKind::Edges)?;
    let session = session.without_tables(Vec::new())?;
    session.register_table("edges", edges.into_view())?;
    session.register_table("seen", Arc::new(seen.to_table()?))?;
    session.plan_query(&queries::load(by.query(), None)?, &Params::new(), now).await
}

//! The catalog as SQL sees it: the tables `edges`, `interfaces`, `objects` and `windows`.
//!
//! The first three are the Parquet files of the newest version of every published window, with the window added as
//! [`COLUMNS`]; `windows` has one row for each of these versions. What is published is looked up when a query is
//! planned, so a session sees new digests without being told.
//!
//! **Nothing counts twice.** A store may hold windows that overlap, such as an hour and its day. Of these `edges`,
//! `interfaces` and `objects` read one:
//! 1. Predicates that speak of the columns of the window alone choose among the published windows.
//! 2. Of those that remain and overlap, the choice that covers most time is read, of equal choices the finest.
//!
//! So a day all of whose hours are published is seen as its hours, and one that lacks an hour as the day: never less
//! than is published. `window_width = 86400` asks for days and `window_width = 3600` for hours, whatever else there is.
//! A predicate that leaves an hour out lets its day in: ask for the width besides. The table `windows` shows every window,
//! those that the others pass over too.

mod digest;
mod prune;
mod windows;

use super::{Catalog, FileKind, Manifest};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::flow::edges_schema;
use crate::window::Window;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{DataFrame, SessionContext};
use digest::DigestTable;
use std::sync::Arc;
use windows::WindowsTable;

/// Adds the four tables of `catalog` to a session.
///
/// # Errors
/// `Internal` if the session has no place for tables.
pub fn register(ctx: &SessionContext, catalog: &Catalog) -> Result<()> {
    register_store(&ctx.runtime_env(), catalog)?;
    for kind in FileKind::ALL {
        ctx.register_table(kind.name(), Arc::new(DigestTable::published(catalog.clone(), kind)))?;
    }
    ctx.register_table("windows", Arc::new(WindowsTable::new(catalog.clone())))?;
    Ok(())
}

/// One file of one version of a digest, with the columns of the table of its kind, sorted as the file is.
///
/// # Errors
/// `Data` if the manifest does not name the file.
pub fn read_file(ctx: &SessionContext, catalog: &Catalog, manifest: &Manifest, kind: FileKind) -> Result<DataFrame> {
    register_store(&ctx.runtime_env(), catalog)?;
    let table = DigestTable::of(catalog.clone(), kind, manifest.clone())?;
    Ok(ctx.read_table(Arc::new(table))?)
}

/// The edges of one version of a digest, as they were folded: without the columns of the window.
///
/// # Errors
/// As [`read_file`].
pub fn read_edges(ctx: &SessionContext, catalog: &Catalog, manifest: &Manifest) -> Result<DataFrame> {
    let schema = edges_schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    Ok(read_file(ctx, catalog, manifest, FileKind::Edges)?.select_columns(&columns)?)
}

fn register_store(runtime: &RuntimeEnv, catalog: &Catalog) -> Result<()> {
    let url = store_url(catalog)?;
    runtime.register_object_store(url.as_ref(), Arc::clone(&catalog.store));
    Ok(())
}

/// The name of the catalog's store within a session: its address, which is nobody else's while the session holds it.
fn store_url(catalog: &Catalog) -> Result<ObjectStoreUrl> {
    let address = Arc::as_ptr(&catalog.store).cast::<()>() as usize;
    Ok(ObjectStoreUrl::parse(format!("flowdiff-store://{address:x}"))?)
}

/// The columns that tell a row's window.
///
/// The width is a number of seconds. An interval would read better and compare worse: SQL holds `INTERVAL '1 day'` and
/// `INTERVAL '24 hours'` for different, and neither Parquet nor Athena knows intervals. A number prunes, divides
/// (`bytes / window_width` is a rate) and is the same in every tool.
const COLUMNS: [&str; 3] = ["window_start", "window_stop", "window_width"];

/// The fields of these columns.
fn window_columns() -> [FieldRef; 3] {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let types = [time.clone(), time, DataType::Int64];
    std::array::from_fn(|index| Arc::new(Field::new(COLUMNS[index], types[index].clone(), false)))
}

/// The values of these columns for a window.
fn window_values(window: &Window) -> [ScalarValue; 3] {
    let time =
        |instant: Timestamp| ScalarValue::TimestampMillisecond(Some(instant.timestamp_millis()), Some("UTC".into()));
    [time(window.start()), time(window.stop()), ScalarValue::Int64(Some(window.width().num_seconds()))]
}

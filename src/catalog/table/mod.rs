//! The catalog as SQL sees it: the tables `edges`, `interfaces`, `objects` and `windows`.
//!
//! The first three are the Parquet files of the newest version of every published window, with the window's bounds
//! added as `window_start` and `window_stop`; `windows` has one row for each of these versions. What is published is
//! looked up when a query is planned, so a session sees new digests without being told.

mod digest;
mod prune;
mod windows;

use super::{Catalog, FileKind, Manifest};
use crate::error::Result;
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

/// The columns `window_start` and `window_stop`.
fn window_columns() -> [FieldRef; 2] {
    let column =
        |name| Arc::new(Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false));
    prune::COLUMNS.map(column)
}

/// The values of these columns for a window.
fn window_values(window: &Window) -> [ScalarValue; 2] {
    [window.start(), window.stop()]
        .map(|instant| ScalarValue::TimestampMillisecond(Some(instant.timestamp_millis()), Some("UTC".into())))
}

//! `check`: settings, source and store, one line each with what is wrong and how to mend it.

use super::setup::Setup;
use crate::error::{Context, Error, Result};
use crate::session::Location;
use indicatif::HumanBytes;
use object_store::ObjectStoreExt;
use std::collections::BTreeSet;

/// Bytes that are read of one object.
const READ_BYTES_MAX: u64 = 64 << 10;

/// Checks everything; returns the exit code of the first thing that failed.
pub(super) async fn run(setup: &Setup) -> Result<u8> {
    let (mut lines, mut code) = (format!("ok      settings: {}\n", settings(setup)), 0);
    let mut tell = |what: &str, result: Result<String>| match result {
        Ok(detail) => lines += &format!("ok      {what}: {detail}\n"),
        Err(error) => {
            if code == 0 {
                code = error.kind().exit_code();
            }
            lines += &format!("failed  {what}: {}\n", told(&error));
        }
    };
    for (side, location) in [("source", setup.source_location()), ("store", setup.store_location(true))] {
        if let Ok(Location { bucket: Some(bucket), .. }) = location {
            let identity = bucket.identity().await;
            let told = identity.map(|(caller, region)| format!("{caller}, {bucket} in {region}"));
            tell(&format!("{side} identity"), told);
        }
    }
    tell("source", source(setup).await);
    tell("store", store(setup).await);
    setup.print(&lines)?;
    Ok(code)
}

/// An error, its causes and its hint as lines below each other.
fn told(error: &Error) -> String {
    let lines = super::failure::lines(error);
    let lines = lines.iter().enumerate().map(|(index, (label, text))| match index {
        0 => text.clone(),
        _ => format!("        {label}: {text}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn settings(setup: &Setup) -> String {
    let origins: BTreeSet<&str> = setup.loaded.origins.values().map(String::as_str).collect();
    match origins.is_empty() {
        true => "all defaults".to_owned(),
        false => format!("from {}", origins.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

async fn source(setup: &Setup) -> Result<String> {
    let source = setup.source()?;
    let (newest, requests) = source.newest(&setup.config().source.listing()).await?;
    let Some(object) = newest else {
        return Err(Error::not_found(format!("no flow-log object below {} ({requests} LIST requests)", source.url))
            .with_hint("objects are named ACCOUNT_vpcflowlogs_REGION_FLOWLOG_TIME_HASH.log.gz or .log.parquet"));
    };
    let range = 0..object.size.min(READ_BYTES_MAX);
    let bytes = match range.is_empty() {
        true => 0,
        false => {
            let read = source.store.get_range(&object.location, range).await;
            read.context(|| format!("read {} of {}", object.location, source.url))?.len()
        }
    };
    Ok(format!(
        "{}: {requests} LIST requests found {}; read {} of it",
        source.url,
        object.location,
        HumanBytes(bytes as u64)
    ))
}

async fn store(setup: &Setup) -> Result<String> {
    let catalog = setup.catalog(true)?;
    let single_writer = setup.config().store.single_writer;
    let conditional = catalog.probe().await?;
    if !conditional && !single_writer {
        return Err(Error::invalid(format!("store {} ignores put-if-absent", catalog.url)).with_hint(
            "several writers would overwrite each other: use another store, or say --single-writer if there is but one",
        ));
    }
    let windows = catalog.list(None).await?.len();
    let writers = if conditional { "honours put-if-absent" } else { "ignores put-if-absent, one writer" };
    Ok(format!("{}: {writers}; {windows} windows published", catalog.url))
}

//! `check`: settings, source and store, one line each with what is wrong and how to mend it.

use super::setup::Setup;
use crate::error::{Context, Error, Result};
use crate::source::ObjectName;
use futures::TryStreamExt;
use indicatif::HumanBytes;
use object_store::ObjectStoreExt;
use std::collections::BTreeSet;

/// Keys that are looked at: a check of a large bucket ends as soon as that of a small one.
const KEYS_MAX: usize = 1000;
/// Bytes that are read of one object.
const READ_BYTES_MAX: u64 = 64 << 10;

/// Checks everything; returns the exit code of the first thing that failed.
pub(super) async fn run(setup: &Setup) -> Result<u8> {
    let (mut lines, mut code) = (format!("ok      settings: {}\n", settings(setup)), 0);
    for (what, result) in [("source", source(setup).await), ("store", store(setup).await)] {
        match result {
            Ok(detail) => lines += &format!("ok      {what}: {detail}\n"),
            Err(error) => {
                if code == 0 {
                    code = error.kind().exit_code();
                }
                lines += &format!("failed  {what}: {}\n", told(&error));
            }
        }
    }
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
    let prefix = Some(&source.root).filter(|root| !root.as_ref().is_empty());
    let (mut keys, mut objects, mut first) = (0, 0, None);
    let mut listed = source.store.list(prefix);
    while keys < KEYS_MAX
        && let Some(meta) = listed.try_next().await.context(|| format!("list {}", source.url))?
    {
        keys += 1;
        if ObjectName::parse(meta.location.as_ref()).is_some() {
            objects += 1;
            first.get_or_insert(meta);
        }
    }
    let Some(object) = first else {
        return Err(Error::not_found(format!("no flow-log object among the first {keys} keys of {}", source.url))
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
        "{}: {objects} flow-log objects among the first {keys} keys; read {} of {}",
        source.url,
        HumanBytes(bytes as u64),
        object.location
    ))
}

async fn store(setup: &Setup) -> Result<String> {
    let catalog = setup.catalog(true)?;
    let single_writer = setup.config().store.single_writer;
    let conditional = catalog.probe().await?;
    if !conditional && !single_writer {
        return Err(Error::invalid(format!("store {} ignores put-if-absent", catalog.url)).with_hint(
            "several writers would overwrite each other: use another store, or store.single_writer = true",
        ));
    }
    let windows = catalog.list(None).await?.len();
    let writers = if conditional { "honours put-if-absent" } else { "ignores put-if-absent, one writer" };
    Ok(format!("{}: {writers}; {windows} windows published", catalog.url))
}

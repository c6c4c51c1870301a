//! `check`: settings, source and store, one line each with what is wrong and how to mend it.

use super::setup::Setup;
use crate::aws::Bucket;
use crate::error::{Error, Result};
use crate::session::Location;
use object_store::ObjectStoreExt;

/// Checks everything; returns the exit code of the first thing that failed.
pub(super) async fn run(setup: &Setup) -> Result<u8> {
    let mut lines = String::from("ok      settings\n");
    let mut code = 0;
    let mut tell = |what: &str, result: Result<String>| match result {
        Ok(detail) => lines += &format!("ok      {what}: {detail}\n"),
        Err(error) => {
            if code == 0 {
                code = error.kind().exit_code();
            }
            lines += &format!("failed  {what}: {}\n", in_full(&error));
            if let Some(hint) = error.hint() {
                lines += &format!("        hint: {hint}\n");
            }
        }
    };
    for (side, location) in [("source", setup.source_location()), ("store", setup.store_location(true))] {
        if let Ok(Location { bucket: Some(bucket), .. }) = location {
            tell(&format!("{side} identity"), identity(setup, &bucket).await);
        }
    }
    tell("source", source(setup).await);
    tell("store", store(setup).await);
    setup.print(&lines)?;
    Ok(code)
}

/// An error with those of its causes that are ours too: they name what it was about.
fn in_full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(ours) = cause.and_then(|cause| cause.downcast_ref::<Error>()) {
        text += &format!(": {ours}");
        cause = std::error::Error::source(ours);
    }
    text
}

/// Whom AWS takes us for. Other servers than AWS need not know.
async fn identity(setup: &Setup, bucket: &Bucket) -> Result<String> {
    match bucket.identity().await {
        Ok((caller, region)) => Ok(format!("{caller}, {bucket} in {region}")),
        Err(error) if setup.config().aws.endpoint_url.is_some() => Ok(format!("not told: {error}")),
        Err(error) => Err(error),
    }
}

async fn source(setup: &Setup) -> Result<String> {
    let source = setup.source()?;
    let (newest, requests) = source.newest(&setup.config().source.listing()).await?;
    let Some(object) = newest else {
        return Err(Error::not_found(format!("no flow-log object below {} ({requests} LIST requests)", source.url))
            .with_hint("flow-log objects are named ACCOUNT_vpcflowlogs_REGION_FLOWLOG_TIME_HASH.log.gz"));
    };
    let bytes = source.store.get(&object.location).await.map_err(Error::from)?.bytes().await.map_err(Error::from)?;
    Ok(format!("{requests} LIST requests found {} ({} bytes read)", object.location, bytes.len()))
}

async fn store(setup: &Setup) -> Result<String> {
    let catalog = setup.catalog(true)?;
    let single = setup.config().store.single_writer;
    let honoured = catalog.probe().await?;
    if !honoured && !single {
        return Err(Error::invalid(format!("store {} ignores put-if-absent", catalog.url)).with_hint(
            "several writers would overwrite each other: use another store, or say --single-writer if there is but one",
        ));
    }
    let windows = catalog.list(None).await?.len();
    let promise = if honoured { "honours put-if-absent" } else { "ignores put-if-absent, one writer is promised" };
    Ok(format!("{} {promise}, {windows} windows published", catalog.url))
}

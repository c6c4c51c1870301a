//! `check`: settings, source and store, one line each with what is wrong and how to mend it.

use super::setup::Setup;
use crate::error::{Error, Result};
use crate::source::Selection;
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
            lines += &format!("failed  {what}: {error}\n");
            if let Some(hint) = error.hint() {
                lines += &format!("        hint: {hint}\n");
            }
        }
    };
    tell("source", source(setup).await);
    tell("store", store(setup).await);
    setup.print(&lines)?;
    Ok(code)
}

async fn source(setup: &Setup) -> Result<String> {
    let source = setup.source()?;
    let listing = source.list(&Selection::default(), &setup.listing()).await?;
    let Some(object) = listing.objects.last() else {
        return Err(Error::not_found(format!("no flow-log object below {} ({} other keys)", source.url, listing.others))
            .with_hint("flow-log objects are named ACCOUNT_vpcflowlogs_REGION_FLOWLOG_TIME_HASH.log.gz"));
    };
    let bytes = source.store.get(&object.location).await.map_err(Error::from)?.bytes().await.map_err(Error::from)?;
    Ok(format!(
        "{} flow-log objects in {} LIST requests, newest {} ({} bytes read)",
        listing.objects.len(),
        listing.requests,
        object.location,
        bytes.len()
    ))
}

async fn store(setup: &Setup) -> Result<String> {
    let catalog = setup.catalog(true)?;
    if !catalog.probe().await? {
        return Err(Error::invalid(format!("store {} ignores put-if-absent", catalog.url))
            .with_hint("several writers would overwrite each other: use another store, or store.single_writer = true"));
    }
    let windows = catalog.list(None).await?.len();
    Ok(format!("{} honours put-if-absent, {windows} windows published", catalog.url))
}

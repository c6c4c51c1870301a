//! `retain`: which digests are old, and their removal.

use super::setup::Setup;
use crate::error::{Error, Result};
use crate::pipeline::{self, Policy};
use crate::window::parse_duration;
use indicatif::HumanBytes;
use std::fmt::Write as _;

/// Tells which digests the policy lets go; removes them if `apply`.
pub(super) async fn run(setup: &Setup, hours: Option<String>, days: Option<String>, apply: bool) -> Result<()> {
    let kept = |text: Option<String>| text.as_deref().map(parse_duration).transpose();
    let policy = Policy { hours: kept(hours)?, days: kept(days)? };
    if policy.hours.is_none() && policy.days.is_none() {
        return Err(Error::invalid("nothing says how long digests are kept")
            .with_hint("flowdiff retain --hours 90d --days 3y tells which are older"));
    }
    let catalog = setup.catalog(false)?;
    let expired = pipeline::expired(&catalog, &policy, setup.clock.now()).await?;
    let mut text = String::new();
    for old in &expired {
        let alone = if old.is_rolled_up { "" } else { ", in no wider digest" };
        let _ = writeln!(text, "{} {}{alone}", old.window, HumanBytes(old.bytes));
    }
    setup.print(&text)?;
    let alone = expired.iter().filter(|old| !old.is_rolled_up).count();
    let bytes = HumanBytes(expired.iter().map(|old| old.bytes).sum());
    if apply {
        pipeline::remove(&catalog, expired.iter().map(|old| old.window)).await?;
        setup.note(&format!("removed {} digests ({bytes})", expired.len()));
    } else {
        setup.note(&format!(
            "{} digests ({bytes}) are old enough, {alone} of them in no wider digest; --apply removes them",
            expired.len()
        ));
    }
    Ok(())
}

//! `retain`: which digests are old, and their removal.

use super::setup::Setup;
use crate::error::{Error, Result};
use crate::pipeline::{self, Expiry, Policy};
use indicatif::HumanBytes;
use std::fmt::Write as _;

/// Tells which digests the policy lets go; removes them if `apply`.
pub(super) async fn run(setup: &Setup, policy: Policy, apply: bool) -> Result<()> {
    if policy.hours.is_none() && policy.days.is_none() {
        return Err(Error::invalid("nothing says how long digests are kept")
            .with_hint("flowdiff retain --hours 90d --days 3y tells which are older"));
    }
    let catalog = setup.catalog(false)?;
    let Expiry { expired, referred_to } = pipeline::expired(&catalog, &policy, setup.clock.now()).await?;
    let mut text = String::new();
    for old in &expired {
        let alone = if old.is_rolled_up { "" } else { ", in no wider digest that stays" };
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
            "{} digests ({bytes}) are old enough, {alone} of them in no wider digest that stays; --apply removes them",
            expired.len()
        ));
    }
    if referred_to > 0 {
        let hint = if policy.rolled_up { "" } else { "; --rolled-up lets those of finished digests go" };
        setup.note(&format!("{referred_to} more are what wider digests were made from, and stay{hint}"));
    }
    Ok(())
}

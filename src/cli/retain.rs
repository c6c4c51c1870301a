//! `retain`: which digests are old and which versions superseded, and their removal.

use super::setup::Setup;
use crate::error::Result;
use crate::pipeline::{self, Expiry, Policy};
use chrono::TimeDelta;
use indicatif::HumanBytes;
use std::fmt::Write as _;

/// Tells which digests the policy lets go, and which versions were superseded longer than `kept` ago; removes them if `apply`.
pub(super) async fn run(setup: &Setup, policy: Policy, kept: TimeDelta, apply: bool) -> Result<()> {
    let (catalog, now) = (setup.catalog(false)?, setup.clock.now());
    let Expiry { expired, referred_to } = match policy.hours.or(policy.days) {
        Some(_) => pipeline::expired(&catalog, &policy, now).await?,
        None => Expiry::default(),
    };
    let mut superseded = pipeline::superseded(&catalog, None, kept, now).await?;
    // They go with their windows.
    expired.iter().for_each(|old| drop(superseded.remove(&old.window)));
    let mut text = String::new();
    for old in &expired {
        let alone = if old.is_rolled_up { "" } else { ", in no wider digest that stays" };
        let _ = writeln!(text, "{} {}{alone}", old.window, HumanBytes(old.bytes));
    }
    for (window, old) in superseded.iter().filter(|(_, old)| !old.versions.is_empty()) {
        let bytes = HumanBytes(old.versions.values().sum());
        let _ = writeln!(text, "{window} {bytes} in {} superseded versions", old.versions.len());
    }
    setup.print(&text)?;
    let alone = expired.iter().filter(|old| !old.is_rolled_up).count();
    let bytes = HumanBytes(expired.iter().map(|old| old.bytes).sum());
    let versions: usize = superseded.values().map(|old| old.versions.len()).sum();
    let versions_bytes = HumanBytes(superseded.values().flat_map(|old| old.versions.values()).sum());
    let digests = expired.len();
    if apply {
        pipeline::remove_superseded(&catalog, &superseded).await?;
        pipeline::remove(&catalog, expired.iter().map(|old| old.window)).await?;
        setup.note(&format!(
            "removed {digests} digests ({bytes}) and {versions} superseded versions ({versions_bytes})"
        ));
    } else {
        setup.note(&format!(
            "{digests} digests ({bytes}) are old enough, {alone} of them in no wider digest that stays; {versions} versions \
             ({versions_bytes}) are superseded; --apply removes them"
        ));
    }
    if policy.hours.or(policy.days).is_none() {
        setup.note(
            "nothing says how long digests are kept; flowdiff retain --hours 90d --days 3y tells which are older",
        );
    }
    if referred_to > 0 {
        let hint = if policy.rolled_up { "" } else { "; --rolled-up lets those of finished digests go" };
        setup.note(&format!("{referred_to} more are what wider digests were made from, and stay{hint}"));
    }
    Ok(())
}

//! Which digests are old enough to be removed, and their removal.

use crate::catalog::{Catalog, Origin, State};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::window::Window;
use chrono::TimeDelta;
use std::collections::HashSet;

/// How long digests are kept, counted from the stop of their windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Digests of windows narrower than a day; absent: for ever.
    pub hours: Option<TimeDelta>,
    /// Digests of a day and wider; absent: for ever.
    pub days: Option<TimeDelta>,
}

/// A digest that the policy lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its window.
    pub window: Window,
    /// Bytes of the newest version.
    pub bytes: u64,
    /// Whether the newest digest of a wider window was made from it, so that its edges remain in that one.
    pub is_rolled_up: bool,
}

/// The digests of `catalog` that `policy` lets go at `now`, oldest first.
///
/// One that a provisional digest was made from stays: the wider window is not finished, and is made from it again.
///
/// # Errors
/// What the store says.
pub async fn expired(catalog: &Catalog, policy: &Policy, now: Timestamp) -> Result<Vec<Expired>> {
    let manifests = catalog.list(None).await?;
    let origins = |state: State| {
        let wider = manifests.iter().filter(|manifest| manifest.state == state);
        wider.flat_map(|manifest| manifest.made_from.iter().cloned()).collect::<HashSet<Origin>>()
    };
    let (in_work, rolled_up) = (origins(State::Provisional), origins(State::Final));
    let mut expired = Vec::new();
    for manifest in &manifests {
        let (window, origin) = (manifest.window()?, Origin::of(manifest));
        let kept = if window.width() < TimeDelta::days(1) { policy.hours } else { policy.days };
        if kept.is_some_and(|kept| manifest.stop + kept <= now) && !in_work.contains(&origin) {
            let bytes = manifest.files.iter().map(|file| file.size).sum();
            expired.push(Expired { window, bytes, is_rolled_up: rolled_up.contains(&origin) });
        }
    }
    Ok(expired)
}

/// Removes every version of the digests of `windows`, and what lost races for them left behind.
///
/// # Errors
/// What the store says; run it again then: what is removed is gone whole or still there whole.
pub async fn remove(catalog: &Catalog, windows: impl IntoIterator<Item = Window>) -> Result<()> {
    for window in windows {
        catalog.remove(&window).await?;
    }
    Ok(())
}

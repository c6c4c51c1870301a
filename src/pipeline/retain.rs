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
    /// Lets go also what a final wider digest was made from: that one has its edges in files of its own.
    pub rolled_up: bool,
}

/// A digest that the policy lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its window.
    pub window: Window,
    /// Bytes of the newest version.
    pub bytes: u64,
    /// Whether a final wider digest was made from it, so that its edges remain in that one.
    pub is_rolled_up: bool,
}

/// What a policy makes of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// The digests to let go, by window.
    pub expired: Vec<Expired>,
    /// Digests that are old enough and stay, because a digest that stays was made from them.
    pub referred_to: usize,
}

/// The digests of `catalog` that `policy` lets go at `now`.
///
/// None that the manifest of a digest that stays refers to, unless the policy says so; and never one that a provisional
/// digest was made from: the wider window is not finished, and is made from it again.
///
/// # Errors
/// What the store says.
pub async fn expired(catalog: &Catalog, policy: &Policy, now: Timestamp) -> Result<Expiry> {
    let mut manifests = catalog.list(None).await?;
    // The widest first: when a digest is judged, those that could have been made from it are.
    manifests.sort_by_key(|manifest| manifest.start - manifest.stop);
    let (mut unfinished, mut finished) = (HashSet::new(), HashSet::new());
    let mut expiry = Expiry::default();
    for manifest in manifests {
        let (window, origin) = (manifest.window()?, Origin::of(&manifest));
        let kept = if window.width() < TimeDelta::days(1) { policy.hours } else { policy.days };
        let is_old = kept.is_some_and(|kept| manifest.stop + kept <= now);
        let is_rolled_up = finished.contains(&origin);
        if is_old && !unfinished.contains(&origin) && (policy.rolled_up || !is_rolled_up) {
            let bytes = manifest.files.iter().map(|file| file.size).sum();
            expiry.expired.push(Expired { window, bytes, is_rolled_up });
            continue;
        }
        expiry.referred_to += usize::from(is_old);
        match manifest.state {
            State::Provisional => unfinished.extend(manifest.made_from),
            State::Final => finished.extend(manifest.made_from),
        }
    }
    expiry.expired.sort_by_key(|expired| expired.window);
    Ok(expiry)
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

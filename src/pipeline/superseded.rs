//! Which versions of digests are no more than litter, and their removal: provisional ones that a newer version of the same
//! window has long taken the place of.

use crate::catalog::{Catalog, Manifest, Origin, State, Versions};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::window::Window;
use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

/// The shortest time that a superseded version stays: between looking for the newest version and reading it.
pub(super) const KEPT_MIN: TimeDelta = TimeDelta::minutes(1);
/// Windows that are looked at at once.
const CONCURRENCY: usize = 16;

/// Versions of a window that newer ones took the place of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Superseded {
    /// The versions, and the bytes of the files of each; none if there are only files that a removal has left behind, or a
    /// publication that came too late.
    pub versions: BTreeMap<u64, u64>,
}

/// The superseded versions of the windows of `catalog` that overlap `range` (of all windows without one) at `now`: those that
/// are provisional, and that a newer version took the place of `kept` ago or earlier, so that whoever read one then is done.
///
/// Never the newest version, a final one, or one that a digest of another window was made from. (A version also names the
/// one before it as what it was made from; it has that one's edges in files of its own.)
///
/// Memory: two manifests for each of a few windows at a time, and the numbers of all versions.
///
/// # Errors
/// `Invalid` if `kept` is less than a minute, and what the store says.
pub async fn superseded(
    catalog: &Catalog,
    range: Option<&Range<Timestamp>>,
    kept: TimeDelta,
    now: Timestamp,
) -> Result<BTreeMap<Window, Superseded>> {
    if kept < KEPT_MIN {
        return Err(Error::invalid("superseded versions are kept for less than a minute")
            .with_hint("a version that a reader has just found must stay until it is read"));
    }
    let windows = catalog.all_versions(range).await?;
    let candidates = windows.iter().filter(|(_, versions)| versions.published.len() > 1 || versions.has_litter());
    let looks: Vec<_> = candidates.map(|(window, versions)| look(catalog, window, versions, now - kept)).collect();
    let mut found: BTreeMap<Window, Superseded> =
        stream::iter(looks).buffer_unordered(CONCURRENCY).try_collect().await?;
    for origin in referred_to(catalog, &windows, &found).await? {
        if let Some(old) = found.get_mut(&Window::new(origin.start, origin.stop)?) {
            old.versions.remove(&origin.version);
        }
    }
    found.retain(|window, old| !old.versions.is_empty() || windows.get(window).is_some_and(Versions::has_litter));
    Ok(found)
}

/// The versions of a window that newer ones took the place of at `before` or earlier.
async fn look(
    catalog: &Catalog,
    window: &Window,
    versions: &Versions,
    before: Timestamp,
) -> Result<(Window, Superseded)> {
    let mut old = Superseded::default();
    let mut next: Option<Manifest> = None;
    for version in versions.published.iter().rev() {
        let Some(manifest) = read(catalog, window, *version).await? else { continue };
        let is_old = next.is_some_and(|next| next.published <= before);
        if is_old && manifest.state == State::Provisional {
            old.versions.insert(manifest.version, manifest.files.iter().map(|file| file.size).sum());
        }
        next = Some(manifest);
    }
    Ok((*window, old))
}

/// Removes what [`superseded`] found.
///
/// # Errors
/// What the store says; run it again then. Each version is published whole or not at all, whenever it ends.
pub async fn remove_superseded(catalog: &Catalog, found: &BTreeMap<Window, Superseded>) -> Result<()> {
    for (window, Superseded { versions }) in found {
        catalog.remove_versions(window, &versions.keys().copied().collect::<BTreeSet<u64>>()).await?;
    }
    Ok(())
}

/// What the digests of those windows were made from that hold another one with superseded versions.
async fn referred_to(
    catalog: &Catalog,
    windows: &BTreeMap<Window, Versions>,
    found: &BTreeMap<Window, Superseded>,
) -> Result<HashSet<Origin>> {
    let holds = |window: &Window| {
        let near = found.range(window.previous()..).map(|(other, _)| other);
        let is_within = |other: &Window| window.start() <= other.start() && other.stop() <= window.stop();
        near.take_while(|other| other.start() < window.stop()).any(|other| other != window && is_within(other))
    };
    let looks: Vec<_> = windows
        .iter()
        .filter(|(window, _)| holds(window))
        .map(|(window, versions)| async move {
            let mut origins = HashSet::new();
            for version in &versions.published {
                let made_from = read(catalog, window, *version).await?.map(|manifest| manifest.made_from);
                let others = |origin: &Origin| (origin.start, origin.stop) != (window.start(), window.stop());
                origins.extend(made_from.unwrap_or_default().into_iter().filter(others));
            }
            Ok(origins)
        })
        .collect();
    stream::iter(looks).buffer_unordered(CONCURRENCY).try_concat().await
}

/// A version; `None` if somebody has removed it since it was listed.
async fn read(catalog: &Catalog, window: &Window, version: u64) -> Result<Option<Manifest>> {
    match catalog.manifest(window, version).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

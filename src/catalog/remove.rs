//! Removes digests, or versions of one that newer ones took the place of. Manifests go first, then files, so that a version
//! is published whole or not at all, whenever the removal breaks off; what it leaves behind goes with the next one.
//!
//! The newest version of a window goes last, and never where only superseded ones are removed: the number of the next
//! version is told by it.

use super::layout::{self, Entry};
use super::{Catalog, find};
use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::meters;
use crate::window::Window;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How many objects are deleted at once.
const CONCURRENCY: usize = 16;

/// The versions of a window that a store has something of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Those that are published.
    pub published: BTreeSet<u64>,
    /// Those that there are files of.
    with_files: BTreeSet<u64>,
}

impl Versions {
    /// Whether there are files of earlier versions than the newest that are not published, or no more.
    pub fn has_litter(&self) -> bool {
        self.with_files.iter().any(|version| self.is_litter(*version))
    }

    fn is_litter(&self, version: u64) -> bool {
        self.published.last().is_some_and(|newest| version < *newest) && !self.published.contains(&version)
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Manifest(version) => self.published.insert(version),
            Entry::File(name) => self.with_files.insert(name.version),
        };
    }
}

impl Catalog {
    /// What there is of every window that overlaps `range` (of all windows without one), from the keys alone.
    ///
    /// # Errors
    /// What the store says.
    pub async fn all_versions(&self, range: Option<&Range<Timestamp>>) -> Result<BTreeMap<Window, Versions>> {
        let mut windows = BTreeMap::<Window, Versions>::new();
        let starts = range.map(|range| find::reach_back(range.start)..=range.end);
        let keys = self.each_key(starts, |window, entry| {
            if range.is_none_or(|range| window.start() < range.end && range.start < window.stop()) {
                windows.entry(window).or_default().add(entry);
            }
        });
        keys.await?;
        Ok(windows)
    }

    /// Removes every version of a window's digest, the newest last, so that it is published whole until it is not published
    /// at all; and files that no manifest ever named.
    ///
    /// # Errors
    /// What the store says. Called again it goes on.
    pub async fn remove(&self, window: &Window) -> Result<()> {
        let (manifests, files) = self.keys(window).await?;
        for key in manifests.values() {
            self.delete(key, window).await?;
        }
        self.delete_all(files.into_iter().map(|(_, key)| key), window).await
    }

    /// Removes some versions of a window's digest, but never the newest; and files of earlier versions that are not
    /// published.
    ///
    /// # Errors
    /// What the store says. Called again it goes on.
    pub async fn remove_versions(&self, window: &Window, versions: &BTreeSet<u64>) -> Result<()> {
        let (mut manifests, files) = self.keys(window).await?;
        let Some((newest, _)) = manifests.pop_last() else { return Ok(()) };
        let removed: Vec<u64> = manifests.keys().copied().filter(|version| versions.contains(version)).collect();
        let keys: Vec<Path> = removed.iter().filter_map(|version| manifests.remove(version)).collect();
        self.delete_all(keys, window).await?;
        meters::superseded_removed(removed.len());
        let mut litter = BTreeSet::from_iter(removed);
        let with_files: BTreeSet<u64> = files.iter().map(|(version, _)| *version).collect();
        for version in with_files.range(..newest).filter(|version| !manifests.contains_key(version)) {
            // A listing may be of more than one instant, and have missed a manifest.
            if !litter.contains(version) && !self.is_published(window, *version).await? {
                litter.insert(*version);
            }
        }
        self.delete_all(files.into_iter().filter(|(version, _)| litter.contains(version)).map(|(_, key)| key), window)
            .await
    }

    /// The manifests of a window by version, and its files with the version of each.
    async fn keys(&self, window: &Window) -> Result<(BTreeMap<u64, Path>, Vec<(u64, Path)>)> {
        let (mut manifests, mut files) = (BTreeMap::new(), Vec::new());
        let folder = layout::window_path(&self.root, window)?;
        let mut listed = self.store.list(Some(&folder));
        while let Some(object) = listed.try_next().await.context(|| format!("list {folder} of {}", self.url))? {
            match layout::parse_key(&self.root, &object.location) {
                Some((_, Entry::Manifest(version))) => drop(manifests.insert(version, object.location)),
                Some((_, Entry::File(name))) => files.push((name.version, object.location)),
                None => {}
            }
        }
        Ok((manifests, files))
    }

    async fn is_published(&self, window: &Window, version: u64) -> Result<bool> {
        let path = layout::manifest_path(&self.root, window, version)?;
        match self.store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::from(error).context(format!("look at manifest {path} of {}", self.url))),
        }
    }

    async fn delete_all(&self, keys: impl IntoIterator<Item = Path>, window: &Window) -> Result<()> {
        let keys: Vec<Path> = keys.into_iter().collect();
        stream::iter(keys)
            .map(|key| async move { self.delete(&key, window).await })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn delete(&self, key: &Path, window: &Window) -> Result<()> {
        match self.store.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => {
                let error = Error::from(error).context(format!("delete {key}"));
                Err(error.context(format!("remove versions of window {window} from {}", self.url)))
            }
        }
    }
}

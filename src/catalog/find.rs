//! Finds published digests. In: a window or a range of time. Out: manifests, read and checked.
//!
//! The keys alone tell which versions of which windows exist, so a search lists the date folders that can matter and
//! reads only the manifests that it returns. A manifest is checked against its key before anything trusts it.

use super::layout::{self, Entry, FileName};
use super::{Catalog, FORMAT_VERSION, FileKind, Manifest, WIDTH_MAX};
use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::window::Window;
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStoreExt, Result as StoreResult};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

/// How many requests a search has under way.
const CONCURRENCY: usize = 16;
/// Largest JSON file that is read: far more than a manifest of thousands of silent flow logs.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How many windows [`Catalog::not_found`] names.
const NEAREST_MAX: usize = 3;

impl Catalog {
    /// The newest version of a window's digest, if any is published.
    ///
    /// # Errors
    /// `Data` if its manifest cannot be read, and what the store says.
    pub async fn latest(&self, window: &Window) -> Result<Option<Manifest>> {
        match self.version_numbers(window).await?.last() {
            Some(&version) => self.manifest(window, version).await.map(Some),
            None => Ok(None),
        }
    }

    /// Every version of a window's digest, oldest first.
    ///
    /// # Errors
    /// As [`Catalog::latest`].
    pub async fn versions(&self, window: &Window) -> Result<Vec<Manifest>> {
        let versions = self.version_numbers(window).await?;
        self.manifests(versions.into_iter().map(|version| (*window, version))).await
    }

    /// The newest version of each window that overlaps `range` (of all windows without one), by start, then stop.
    ///
    /// # Errors
    /// `Data`, naming the manifest, if one cannot be read, and what the store says.
    pub async fn list(&self, range: Option<Range<Timestamp>>) -> Result<Vec<Manifest>> {
        let starts = range.as_ref().map(|range| reach_back(range.start)..=range.end);
        let newest = self.newest(starts).await?.into_iter().filter(|(window, _)| {
            range.as_ref().is_none_or(|range| window.start() < range.end && window.stop() > range.start)
        });
        self.manifests(newest).await
    }

    /// The newest version of each window that lies wholly within `range`, by start, then stop.
    ///
    /// # Errors
    /// As [`Catalog::list`].
    pub async fn list_within(&self, range: &Window) -> Result<Vec<Manifest>> {
        self.manifests(self.newest_within(range).await?).await
    }

    /// The published windows that lie wholly within `range`, by start, then stop; no manifest is read.
    ///
    /// # Errors
    /// What the store says.
    pub async fn windows_within(&self, range: &Window) -> Result<Vec<Window>> {
        Ok(self.newest_within(range).await?.map(|(window, _)| window).collect())
    }

    /// One version of a window's digest; one that was read before is not read again.
    ///
    /// # Errors
    /// `NotFound` if it is not published; `Data` if the manifest cannot be read or speaks of something else.
    pub async fn manifest(&self, window: &Window, version: u64) -> Result<Manifest> {
        if let Some(manifest) = self.cache.get(window, version) {
            return Ok(manifest);
        }
        // In a task of its own: a reader that nobody polls must not hold the turn that others wait for.
        let (catalog, window) = (self.clone(), *window);
        let read = tokio::spawn(async move {
            let _turn = catalog.cache.turn(&window).lock().await;
            if let Some(manifest) = catalog.cache.get(&window, version) {
                return Ok(manifest);
            }
            let path = layout::manifest_path(&catalog.root, &window, version)?;
            let found = catalog.read_manifest(&path, &window, version).await?;
            found.ok_or_else(|| Error::not_found(format!("no version {version} of window {window} in {}", catalog.url)))
        });
        read.await.map_err(|error| Error::internal("the read of a manifest broke off").with_source(error))?
    }

    /// The published windows that are nearest to `window`, the nearest first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn nearest(&self, window: &Window) -> Result<Vec<Window>> {
        let mut published: Vec<Window> = self.newest(None).await?.into_keys().collect();
        published.sort_by_key(|other| (other.start() - window.start()).abs() + (other.stop() - window.stop()).abs());
        published.truncate(NEAREST_MAX);
        Ok(published)
    }

    /// The error for a window that is not published: it names the nearest ones that are.
    pub async fn not_found(&self, window: &Window) -> Error {
        match self.nearest(window).await {
            Ok(nearest) => self.not_published(window, &nearest),
            Err(error) => error,
        }
    }

    /// Likewise, where the nearest ones are known.
    pub fn not_published(&self, window: &Window, nearest: &[Window]) -> Error {
        let nearest: Vec<String> = nearest.iter().map(Window::to_string).collect();
        let known = match nearest.is_empty() {
            true => "nothing is published there yet".to_owned(),
            false => format!("nearest: {}", nearest.join(", ")),
        };
        Error::not_found(format!("window {window} is not published in {}; {known}", self.url))
            .with_hint(format!("flowdiff digest {window} builds it"))
    }

    /// Path of one of a digest's files.
    ///
    /// # Errors
    /// `Data` if the manifest names no such file, or by a name that is not one of ours.
    pub fn file_path(&self, manifest: &Manifest, kind: FileKind) -> Result<Path> {
        let window = manifest.window()?;
        let name = manifest.file(kind).and_then(|file| FileName::parse(&file.name).filter(|name| name.kind == kind));
        let Some(name) = name else {
            let (version, kind) = (manifest.version, kind.name());
            return Err(Error::data(format!(
                "version {version} of window {window} in {} has no {kind} file",
                self.url
            )));
        };
        Ok(layout::window_path(&self.root, &window)?.join(name.to_string()))
    }

    /// Checks that the three files of a digest are there, each with the size that the manifest says.
    ///
    /// # Errors
    /// `Data`, naming the file, if one is missing or of another size, and what the store says.
    pub async fn verify(&self, manifest: &Manifest) -> Result<()> {
        for file in &manifest.files {
            let path = self.file_path(manifest, file.kind)?;
            let found = match self.store.head(&path).await {
                Ok(meta) if meta.size == file.size => continue,
                Ok(meta) => format!("has {} bytes, the manifest says {}", meta.size, file.size),
                Err(object_store::Error::NotFound { .. }) => "is missing".to_owned(),
                Err(error) => return Err(Error::from(error).context(format!("look at file {path} of {}", self.url))),
            };
            return Err(Error::data(format!("file {path} of {} {found}", self.url))
                .with_hint(format!("flowdiff digest {} --force builds the window again", manifest.window()?)));
        }
        Ok(())
    }

    /// The newest version of every window that starts on one of the days of `starts`, from the keys alone.
    pub(super) async fn newest(&self, starts: Option<RangeInclusive<Timestamp>>) -> Result<BTreeMap<Window, u64>> {
        let mut newest = BTreeMap::new();
        let keys = self.each_key(starts, |window, entry| {
            if let Entry::Manifest(version) = entry {
                let known = newest.entry(window).or_insert(version);
                *known = version.max(*known);
            }
        });
        keys.await?;
        Ok(newest)
    }

    /// The newest version of every window that lies wholly within `range`, from the keys alone.
    async fn newest_within(&self, range: &Window) -> Result<impl Iterator<Item = (Window, u64)> + use<>> {
        let range = *range;
        let newest = self.newest(Some(range.start()..=range.stop())).await?;
        let within = move |window: &Window| range.start() <= window.start() && window.stop() <= range.stop();
        Ok(newest.into_iter().filter(move |(window, _)| within(window)))
    }

    /// Calls `meet` with every key of the windows that start on one of the days of `starts`.
    pub(super) async fn each_key(
        &self,
        starts: Option<RangeInclusive<Timestamp>>,
        mut meet: impl FnMut(Window, Entry),
    ) -> Result<()> {
        let folders = self.date_folders(starts).await.context(|| format!("list digests of {}", self.url))?;
        let mut keys =
            stream::iter(folders).map(|folder| self.store.list(Some(&folder))).flatten_unordered(CONCURRENCY);
        let mut others = Others::default();
        while let Some(object) = keys.next().await {
            let key = object.context(|| format!("list digests of {}", self.url))?.location;
            match layout::parse_key(&self.root, &key) {
                Some((window, entry)) => meet(window, entry),
                None => others.add(key),
            }
        }
        others.warn(&self.url);
        Ok(())
    }

    /// Reads manifests, in the order given.
    pub(super) async fn manifests(&self, versions: impl IntoIterator<Item = (Window, u64)>) -> Result<Vec<Manifest>> {
        let reads: Vec<_> = versions.into_iter().collect();
        stream::iter(reads)
            .map(|(window, version)| async move { self.manifest(&window, version).await })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// Reads the manifest at `path` if there is one.
    pub(super) async fn read_manifest(&self, path: &Path, window: &Window, version: u64) -> Result<Option<Manifest>> {
        let Some((manifest, bytes)) = self.read_json::<Manifest>(path, "manifest").await? else {
            return Ok(None);
        };
        let is_ours = |kind| {
            let name = manifest.file(kind).and_then(|file| FileName::parse(&file.name));
            name.is_some_and(|name| name.kind == kind && name.version == version)
        };
        let found = match () {
            () if manifest.window().ok() != Some(*window) || manifest.version != version => "speaks of another digest",
            () if manifest.files.len() != FileKind::ALL.len() || !FileKind::ALL.into_iter().all(is_ours) => {
                "does not name the three files of its version"
            }
            () => {
                self.cache.insert(window, &manifest, bytes);
                return Ok(Some(manifest));
            }
        };
        Err(self.unreadable(path, "manifest", found))
    }

    /// Reads a JSON file of the store and its size, if it exists, once its format version is known to be ours.
    pub(super) async fn read_json<T: DeserializeOwned>(&self, path: &Path, what: &str) -> Result<Option<(T, u64)>> {
        #[derive(Deserialize)]
        struct Format {
            format_version: u32,
        }
        let doing = || format!("read {what} {path} of {}", self.url);
        let found = match self.store.get(path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::from(error).context(doing())),
        };
        if found.meta.size > JSON_BYTES_MAX {
            return Err(self.unreadable(path, what, &format!("has {} bytes, too many for one", found.meta.size)));
        }
        let bytes = found.bytes().await.context(doing)?;
        let format: Format = serde_json::from_slice(&bytes)
            .map_err(|error| self.unreadable(path, what, "cannot be read").with_source(error))?;
        if format.format_version != FORMAT_VERSION {
            let other = format.format_version;
            let found = format!("is of format {other}, this flowdiff reads format {FORMAT_VERSION}");
            return Err(self.unreadable(path, what, &found).with_hint("use the flowdiff that wrote it"));
        }
        serde_json::from_slice(&bytes)
            .map(|value| Some((value, bytes.len() as u64)))
            .map_err(|error| self.unreadable(path, what, "cannot be read").with_source(error))
    }

    /// Version numbers of a window, ascending.
    async fn version_numbers(&self, window: &Window) -> Result<Vec<u64>> {
        let folder = layout::window_path(&self.root, window)?;
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .context(|| format!("list versions of window {window} in {}", self.url))?;
        let mut versions: Vec<u64> = listed
            .iter()
            .filter_map(|object| match layout::parse_key(&self.root, &object.location)?.1 {
                Entry::Manifest(version) => Some(version),
                Entry::File(_) => None,
            })
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    async fn date_folders(&self, starts: Option<RangeInclusive<Timestamp>>) -> StoreResult<Vec<Path>> {
        let dates = starts.map(|starts| starts.start().date_naive()..=starts.end().date_naive());
        let is_wanted = |date: NaiveDate| dates.as_ref().is_none_or(|dates| dates.contains(&date));
        let listed = self.store.list_with_delimiter(Some(&layout::digests_path(&self.root))).await?;
        let wanted = |folder: &Path| layout::parse_date(folder).is_some_and(is_wanted);
        Ok(listed.common_prefixes.into_iter().filter(wanted).collect())
    }

    fn unreadable(&self, path: &Path, what: &str, found: &str) -> Error {
        Error::data(format!("{what} {path} of {} {found}", self.url))
            .with_hint("restore the file; a manifest may also be deleted, then the version before it counts")
    }
}

/// The earliest start that a window reaching to `instant` can have.
pub(super) fn reach_back(instant: Timestamp) -> Timestamp {
    instant.checked_sub_signed(WIDTH_MAX).unwrap_or(Timestamp::MIN_UTC)
}

/// Keys among the digests that are none of ours: passed over, but not in silence.
#[derive(Default)]
struct Others {
    count: u64,
    sample: Option<Path>,
}

impl Others {
    fn add(&mut self, key: Path) {
        self.count += 1;
        self.sample.get_or_insert(key);
    }

    fn warn(&self, url: &str) {
        if let Some(sample) = &self.sample {
            tracing::warn!(url, count = self.count, %sample, "keys among the digests that flowdiff did not write");
        }
    }
}

//! Publishes digests: the files first, then the manifest, which is created only if nobody else has created it.
//!
//! Files are named by their checksums, so writing one again does no harm; a manifest is never overwritten. Until the
//! manifest exists nothing is published, and files that no manifest names are merely litter.
//!
//! Versions that were superseded are removed (see `remove`), and with them the proof that a number was taken. So who creates
//! a manifest looks whether later ones are there that are older than it.

use super::layout::{self, Entry, FileName};
use super::{Catalog, Cost, Coverage, FORMAT_VERSION, FileKind, Manifest, Origin, PublishedFile, Rules, State, Totals};
use crate::clock::Timestamp;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::window::Window;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode};
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Bytes of one part of a large upload; smaller files go up in one request. S3 takes 10,000 parts, so files of 80 GB.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// Parts of an upload under way: together with the one being read they bound its memory to 40 MiB.
const PARTS_MAX: usize = 4;

/// A digest that is ready to be published.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its window.
    pub window: Window,
    /// The version to create: 1, or one more than `previous`.
    pub version: u64,
    /// The version that it follows.
    pub previous: Option<u64>,
    /// Whether objects may still arrive.
    pub state: State,
    /// The present instant.
    pub published: Timestamp,
    /// The rules it was built by.
    pub rules: Rules,
    /// The three files, one of each kind.
    pub files: Vec<DraftFile>,
    /// Sums over the edge file.
    pub totals: Totals,
    /// What was seen and not seen.
    pub coverage: Coverage,
    /// What the build cost.
    pub cost: Cost,
    /// The published digests that it was merged from.
    pub made_from: Vec<Origin>,
}

/// A finished file of a digest, still on the local disk.
#[derive(Clone, Debug)]
pub struct DraftFile {
    /// Which file.
    pub kind: FileKind,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
    /// SHA-256 of its bytes, lower-case hexadecimal.
    pub checksum: String,
}

impl Catalog {
    /// Publishes `draft` and returns its manifest.
    ///
    /// If the version exists already with the very same files and state (a reply was lost, or two processes built the
    /// same), that is the result, and its manifest is returned. The local files stay where they are.
    ///
    /// # Errors
    /// `Conflict` if somebody else published another digest under this version (read it with [`Catalog::latest`], then
    /// merge or stop), or if the store has other rules; `Invalid` if the window is wider than a store takes; `Internal`
    /// if the draft contradicts itself; and what the store says.
    pub async fn publish(&self, draft: Draft) -> Result<Manifest> {
        let window = draft.window;
        let folder = layout::window_path(&self.root, &window)?;
        let mut files = draft.files.clone();
        files.sort_by_key(|file| file.kind);
        let manifest = draft.into_manifest(&files)?;
        let doing = || format!("publish version {} of window {window} in {}", manifest.version, self.url);
        self.adopt_rules(&manifest.rules).await.context(doing)?;
        for (local, published) in files.iter().zip(&manifest.files) {
            let to = folder.clone().join(published.name.as_str());
            self.upload(local, &to).await.context(|| format!("upload {to}")).context(doing)?;
        }
        let manifest = self.create(&window, &manifest).await.context(doing)?;
        match self.is_overtaken(&window, manifest.version).await.context(doing)? {
            false => Ok(manifest),
            true => {
                let message = "it is not the newest any more: its number was taken and free again".to_owned();
                let hint = "run it again: it then builds on what was published";
                Err(Error::new(ErrorKind::Conflict, message).with_hint(hint).context(doing()))
            }
        }
    }

    /// Whether the store refuses to create what exists already, on which publishing by several processes rests.
    ///
    /// Writes an object of its own twice, and deletes it.
    ///
    /// # Errors
    /// What the store says if it cannot be written at all.
    pub async fn probe(&self) -> Result<bool> {
        use object_store::Error as Store;
        let path = layout::probe_path(&self.root, &uuid::Uuid::new_v4().to_string());
        let create = || self.store.put_opts(&path, Bytes::from_static(b"probe").into(), PutMode::Create.into());
        match create().await {
            Ok(_) | Err(Store::AlreadyExists { .. }) => {}
            Err(Store::NotImplemented { .. } | Store::NotSupported { .. }) => return Ok(false),
            Err(error) => {
                let mut error = Error::from(error);
                if error.hint().is_none() {
                    error = error.with_hint("the store must be writable here; `flowdiff check` looks again");
                }
                return Err(error.context(format!("write probe {path} to {}", self.url)));
            }
        }
        let second = create().await;
        if let Err(error) = self.store.delete(&path).await {
            tracing::warn!(url = self.url, %path, %error, "a probe could not be deleted");
        }
        match second {
            Ok(_) => Ok(false),
            Err(Store::AlreadyExists { .. } | Store::Precondition { .. }) => Ok(true),
            Err(error) => Err(Error::from(error).context(format!("write probe {path} to {} again", self.url))),
        }
    }

    /// Creates the manifest; if that fails, what is there now tells whether it is ours after all.
    async fn create(&self, window: &Window, manifest: &Manifest) -> Result<Manifest> {
        let path = layout::manifest_path(&self.root, window, manifest.version)?;
        let json = to_json(manifest)?;
        let Err(error) = self.store.put_opts(&path, json.into(), PutMode::Create.into()).await else {
            return Ok(manifest.clone());
        };
        let error = Error::from(error).context(format!("create manifest {path}"));
        match self.read_manifest(&path, window, manifest.version).await {
            Ok(Some(winner)) if winner.files == manifest.files && winner.state == manifest.state => Ok(winner),
            Ok(Some(winner)) => Err(Error::new(
                ErrorKind::Conflict,
                format!("another digest was published at {} under this version", winner.published.to_rfc3339()),
            )
            .with_hint("run it again: it then builds on what was published")
            .with_source(error)),
            Err(unreadable) if error.kind() == ErrorKind::Conflict => Err(unreadable),
            Ok(None) | Err(_) => Err(error),
        }
    }

    /// Whether a later version than the one that was created just now is older than it: then the number was used before,
    /// and what was created does not follow what it was built on. By the times of the store, which are those of its own
    /// clock.
    async fn is_overtaken(&self, window: &Window, version: u64) -> Result<bool> {
        let (mut own, mut later) = (None, None);
        // Manifests sort after files.
        let before = layout::manifest_path(&self.root, window, version.saturating_sub(1))?;
        let mut listed = self.store.list_with_offset(Some(&layout::window_path(&self.root, window)?), &before);
        while let Some(object) = listed.try_next().await? {
            match layout::parse_key(&self.root, &object.location) {
                Some((_, Entry::Manifest(number))) if number == version => own = Some(object.last_modified),
                Some((_, Entry::Manifest(number))) if number > version => {
                    later = later.into_iter().chain([object.last_modified]).min();
                }
                _ => {}
            }
        }
        Ok(own.zip(later).is_some_and(|(own, later)| later < own))
    }

    async fn upload(&self, file: &DraftFile, to: &Path) -> Result<()> {
        let local = File::open(&file.path).context(|| format!("open {}", file.path.display()))?;
        let mut parts = Parts { local: Some(local), file, sent: 0 };
        if file.size < PART_BYTES {
            let whole = parts.next().await?.unwrap_or_default();
            self.store.put(to, whole.into()).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(to).await?;
        let sent = match send(upload.as_mut(), parts).await {
            Ok(()) => upload.complete().await.map(drop).map_err(Error::from),
            Err(error) => Err(error),
        };
        if sent.is_err()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(url = self.url, path = %to, %error, "the parts of a failed upload could not be deleted");
        }
        sent
    }
}

impl Draft {
    fn into_manifest(self, files: &[DraftFile]) -> Result<Manifest> {
        let contradiction = |what: &str| {
            let Draft { version, window, .. } = &self;
            Error::internal(format!("the draft of version {version} of window {window} {what}"))
        };
        if self.version != self.previous.map_or(1, |previous| previous.saturating_add(1)) {
            return Err(contradiction("does not follow the version before"));
        }
        if !files.iter().map(|file| file.kind).eq(FileKind::ALL) {
            return Err(contradiction("does not have one file of each kind"));
        }
        let published = |file: &DraftFile| {
            let name = FileName::new(self.version, file.kind, &file.checksum)
                .ok_or_else(|| contradiction("has a checksum that is no SHA-256 in lower-case hexadecimal"))?;
            let (kind, size, rows, checksum) = (file.kind, file.size, file.rows, file.checksum.clone());
            Ok(PublishedFile { kind, name: name.to_string(), size, rows, checksum })
        };
        Ok(Manifest {
            files: files.iter().map(published).collect::<Result<_>>()?,
            format_version: FORMAT_VERSION,
            start: self.window.start(),
            stop: self.window.stop(),
            version: self.version,
            previous: self.previous,
            state: self.state,
            published: self.published,
            rules: self.rules,
            totals: self.totals,
            coverage: self.coverage,
            cost: self.cost,
            made_from: self.made_from,
        })
    }
}

/// The bytes of a local file, part by part, held to the size that the draft says.
struct Parts<'a> {
    local: Option<File>,
    file: &'a DraftFile,
    sent: u64,
}

impl Parts<'_> {
    /// The next part; `None` after the last. Reads off the runtime's threads.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(mut local) = self.local.take() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || {
            let mut part = Vec::new();
            (&mut local).take(PART_BYTES).read_to_end(&mut part).map(|_| (local, part))
        });
        let doing = || format!("read {}", self.file.path.display());
        let (local, part) =
            read.await.map_err(|error| Error::internal(error.to_string())).context(doing)?.context(doing)?;
        self.sent += part.len() as u64;
        if part.len() as u64 == PART_BYTES && self.sent <= self.file.size {
            self.local = Some(local);
        } else if self.sent != self.file.size {
            let (path, size, sent) = (self.file.path.display(), self.file.size, self.sent);
            return Err(Error::internal(format!("file {path} has {sent} bytes and not {size} as when it was written")));
        }
        Ok(Some(part).filter(|part| !part.is_empty()).map(Bytes::from))
    }
}

/// Sends all parts, a few at a time.
async fn send(upload: &mut dyn MultipartUpload, mut parts: Parts<'_>) -> Result<()> {
    let mut under_way = FuturesUnordered::new();
    while let Some(part) = parts.next().await? {
        if under_way.len() == PARTS_MAX
            && let Some(sent) = under_way.next().await
        {
            sent?;
        }
        under_way.push(upload.put_part(part.into()));
    }
    while let Some(sent) = under_way.next().await {
        sent?;
    }
    Ok(())
}

/// Writes JSON as people read it.
pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut json =
        serde_json::to_vec_pretty(value).map_err(|error| Error::internal("write JSON").with_source(error))?;
    json.push(b'\n');
    Ok(json)
}

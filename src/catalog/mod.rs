//! The published digests of a store: where they lie, what their manifests say, how one is published and found.
//! Knows nothing of how a digest was made.
//!
//! A store may hold windows that overlap, such as an hour and its day. Each is a digest of its own; the tables of SQL
//! read one of them, so that a sum never counts the same flows twice (`table` says which).

mod cache;
mod find;
mod journal;
mod layout;
mod manifest;
mod publish;
mod remove;
mod rules;
mod table;

pub use journal::{Entry, Head, Journal};
pub use layout::DIGESTS;
pub use manifest::{Cost, Coverage, FORMAT_VERSION, FileKind, Manifest, Origin, PublishedFile, Rules, State, Totals};
pub use publish::{Draft, DraftFile};
pub use remove::Versions;
pub use table::{read_edges, read_file, register};

use cache::ManifestCache;
use chrono::TimeDelta;
use object_store::{ObjectStore, path::Path};
use std::sync::Arc;

/// The widest window that a store takes. It bounds how far back a search by time looks for a window that reaches into
/// the time asked for, and so how many date folders it lists.
pub const WIDTH_MAX: TimeDelta = TimeDelta::days(31);

/// What manifests may take in memory, unless [`Catalog::with_manifest_cache`] says otherwise: some 25,000 of them, three
/// years of hours.
pub const MANIFEST_CACHE_BYTES: u64 = 64 << 20;

/// A store of digests: a folder or a bucket, and a prefix in it.
///
/// Clones share the manifests that they have read.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The store that holds the digests.
    pub store: Arc<dyn ObjectStore>,
    /// Prefix of everything; empty for the whole store.
    pub root: Path,
    /// The place as the user wrote it, for messages.
    pub url: String,
    cache: Arc<ManifestCache>,
}

impl Catalog {
    /// The digests below `root` in `store`, which messages call `url`.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, url: impl Into<String>) -> Catalog {
        Catalog { store, root, url: url.into(), cache: Arc::new(ManifestCache::new(MANIFEST_CACHE_BYTES)) }
    }

    /// The same catalog, which remembers manifests of `bytes_max` together, by the size of their JSON; 0: none.
    pub fn with_manifest_cache(self, bytes_max: u64) -> Catalog {
        Catalog { cache: Arc::new(ManifestCache::new(bytes_max)), ..self }
    }
}

//! The published digests of a store: where they lie, what their manifests say, how one is published.
//! Knows nothing of how a digest was made.

mod manifest;

pub use manifest::{Cost, Coverage, FileKind, Manifest, PublishedFile, Rules, State, Totals};

use object_store::{ObjectStore, path::Path};
use std::sync::Arc;

/// A store of digests: a folder or a bucket, and a prefix in it.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The store that holds the digests.
    pub store: Arc<dyn ObjectStore>,
    /// Prefix of everything; empty for the whole store.
    pub root: Path,
    /// The place as the user wrote it, for messages.
    pub url: String,
}

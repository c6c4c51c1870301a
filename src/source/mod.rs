//! Which objects hold the flows of a time range. In: a store and a selection. Out: objects, by their keys alone.
//! Knows nothing of what is in an object.

mod key;

pub use key::{Format, ObjectName};

use crate::clock::Timestamp;
use crate::error::Result;
use object_store::{ObjectStore, path::Path};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// A place where flow-log objects are: a folder or a bucket, and a prefix in it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The store that holds the objects.
    pub store: Arc<dyn ObjectStore>,
    /// Prefix below which objects are looked for; empty for the whole store.
    pub root: Path,
    /// The place as the user wrote it, for messages.
    pub url: String,
}

/// One stored flow-log object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where it is in the store.
    pub location: Path,
    /// Its stored size, bytes.
    pub size: u64,
    /// The store's tag of this content; absent on stores that have none.
    pub etag: Option<String>,
    /// What its key says.
    pub name: ObjectName,
}

/// Which objects are wanted. `Default` wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// File times, half-open.
    pub file_times: Option<Range<Timestamp>>,
    /// Accounts in the key.
    pub accounts: Option<BTreeSet<String>>,
    /// Regions in the key.
    pub regions: Option<BTreeSet<String>>,
    /// Flow log ids in the key.
    pub flow_logs: Option<BTreeSet<String>>,
}

/// What a listing found, and what it passed over.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The objects wanted, by file time and then key.
    pub objects: Vec<Object>,
    /// Flow-log objects seen that the selection does not want. Folders that were never listed are not in it.
    pub pruned: u64,
    /// Keys that are no flow-log keys.
    pub others: u64,
    /// A few of those.
    pub other_samples: Vec<String>,
    /// Objects whose folder names another day or hour than their file name; the file name wins.
    pub misfiled: u64,
    /// LIST requests made.
    pub requests: u64,
}

impl Source {
    /// Lists the objects that `selection` wants.
    ///
    /// # Errors
    /// `NotFound` if a local folder does not exist, and what the store says otherwise.
    pub async fn list(&self, _selection: &Selection) -> Result<Listing> {
        Ok(Listing::default())
    }
}

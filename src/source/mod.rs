//! Which objects hold the flows of a time range. In: a store and a selection. Out: objects, by their keys alone.
//! Knows nothing of what is in an object.

mod content;
mod day;
mod key;
mod list;
pub mod notify;

pub use content::{Checksum, Content};
pub use key::{Format, Layout, ObjectName};

use crate::clock::Timestamp;
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

/// How sources are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// LIST requests under way at once; default 16, 0 counts as 1. More helps where a range spans many accounts,
    /// regions and days; S3 answers thousands a second for each prefix.
    pub listing_concurrency: usize,
    /// Accounts that are looked at; all if empty. Goes with what a selection wants.
    pub accounts: Vec<String>,
    /// Regions that are looked at; all if empty.
    pub regions: Vec<String>,
    /// Whether the store lists keys in their order, as S3 does: then what lies between is passed over in long days.
    pub in_key_order: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { listing_concurrency: 16, accounts: Vec::new(), regions: Vec::new(), in_key_order: false }
    }
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

impl Selection {
    /// Whether an object of this name is wanted.
    pub fn wants(&self, name: &ObjectName) -> bool {
        let among = |wanted: &Option<BTreeSet<String>>, value| wanted.as_ref().is_none_or(|set| set.contains(value));
        self.file_times.as_ref().is_none_or(|times| times.contains(&name.file_time))
            && among(&self.accounts, &name.account)
            && among(&self.regions, &name.region)
            && among(&self.flow_logs, &name.flow_log)
    }

    /// What both this selection and the accounts and regions of `options` want.
    fn within(&self, options: &Options) -> Selection {
        let both = |wanted: &Option<BTreeSet<String>>, only: &[String]| match wanted {
            _ if only.is_empty() => wanted.clone(),
            None => Some(only.iter().cloned().collect()),
            Some(wanted) => Some(only.iter().filter(|value| wanted.contains(*value)).cloned().collect()),
        };
        Selection {
            accounts: both(&self.accounts, &options.accounts),
            regions: both(&self.regions, &options.regions),
            ..self.clone()
        }
    }

    /// Whether it contradicts itself: no object can be wanted, and nothing needs to be listed.
    pub fn is_empty(&self) -> bool {
        let none = |wanted: &Option<BTreeSet<String>>| wanted.as_ref().is_some_and(BTreeSet::is_empty);
        self.file_times.as_ref().is_some_and(Range::is_empty)
            || none(&self.accounts)
            || none(&self.regions)
            || none(&self.flow_logs)
    }
}

/// What a listing found, and what it passed over.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The objects wanted, by file time and then key.
    pub objects: Vec<Arc<Object>>,
    /// How many they are.
    pub wanted: u64,
    /// Flow-log objects seen that the selection does not want. Folders that were never listed are not in it.
    pub pruned: u64,
    /// Keys that are no flow-log keys. Empty ones are left out: they are the markers of folders.
    pub others: u64,
    /// The first few of those, by key.
    pub other_samples: Vec<String>,
    /// Objects seen whose folder names another account, region, day or hour than their file name, which wins.
    pub misfiled: u64,
    /// LIST requests made, as S3 counts them: one for each folder, and one for each further 1000 entries in it.
    pub requests: u64,
}

//! The table `flows`: raw flow-log objects as rows. In: a source and filters. Out: a plan that reads the objects which
//! the filters leave. Knows nothing of digests.

mod columns;
mod fetch;
mod fold;
mod inflate;
mod object;
mod plain;
mod progress;
pub mod prune;
mod record;
mod remembered;
mod report;
mod rows;
mod source;
mod table;
mod text;
mod token;

pub use fold::{FoldFlows, FoldRules, InterfaceFacts, Job, Pass, WindowFold};
pub use object::{Tally, is_other_log};
pub use progress::Progress;
pub use record::Refusal;
pub use report::{Figures, Outcome, Outcomes, Place, Report};
pub use table::FlowsTable;

use serde::{Deserialize, Serialize};

/// Reason for which a transit gateway object is set aside.
const TRANSIT_GATEWAY: &str = "transit gateway flow log: no VPC flows in it";

/// Settings of the scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Stored bytes of objects that are fetched ahead. One more object per thread may be held.
    #[serde(with = "crate::config::byte_size")]
    pub prefetch_bytes_max: u64,
    /// Objects that are fetched ahead.
    pub prefetch_objects_max: usize,
    /// Stored size above which an object is set aside.
    #[serde(with = "crate::config::byte_size")]
    pub object_bytes_max: u64,
    /// Decompressed size above which an object is set aside.
    #[serde(with = "crate::config::byte_size")]
    pub decompressed_bytes_max: u64,
    /// Decompressed over stored size above which an object is set aside; deflate reaches 1032.
    pub decompressed_ratio_max: u64,
    /// Decompressed size up to which a thread holds an object whole; larger ones are read twice, in pieces.
    #[serde(with = "crate::config::byte_size")]
    pub whole_bytes_max: u64,
    /// Names of fields that flowdiff does not know, to be read as text columns.
    pub extra_fields: Vec<String>,
    /// Whether a predicate on `account_id` passes over objects of other accounts. Turn it off where VPCs are shared:
    /// there a record's account may differ from its object's.
    pub prune_accounts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            prefetch_bytes_max: 64 << 20,
            prefetch_objects_max: 16,
            object_bytes_max: 1 << 30,
            decompressed_bytes_max: 4 << 30,
            decompressed_ratio_max: 1100,
            whole_bytes_max: 64 << 20,
            extra_fields: Vec::new(),
            prune_accounts: true,
        }
    }
}

impl Options {
    fn limits(&self) -> inflate::Limits {
        inflate::Limits {
            bytes_max: self.decompressed_bytes_max,
            ratio_max: self.decompressed_ratio_max,
            whole_bytes_max: usize::try_from(self.whole_bytes_max).unwrap_or(usize::MAX),
        }
    }
}

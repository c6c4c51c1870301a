//! The grammar of flow-log keys: the only place that knows it.

use crate::clock::Timestamp;

/// What kind of file an object is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text, gzipped or plain.
    Text,
    /// Parquet.
    Parquet,
}

/// What the name of a flow-log object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// Account that owns the flow log: text, leading zeros kept.
    pub account: String,
    /// Region of the flow log.
    pub region: String,
    /// Id of the flow log, `fl-...`.
    pub flow_log: String,
    /// The time in the name, UTC; see [`crate::window::file_times`] for what it means.
    pub file_time: Timestamp,
    /// Text or Parquet.
    pub format: Format,
}

//! The manifest of one version of a digest: the JSON file whose existence publishes it.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::flow::{self, AddressRule, PortRule};
use crate::window::Window;
use chrono::TimeDelta;
use datafusion::arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

/// Version of the layout and of the files' schemas.
pub const FORMAT_VERSION: u32 = 1;

/// What one version of a window's digest holds and how it came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout: [`FORMAT_VERSION`].
    pub format_version: u32,
    /// First instant of the window.
    pub start: Timestamp,
    /// First instant after the window.
    pub stop: Timestamp,
    /// 1 for the first digest of the window, then one more for each that takes late objects in.
    pub version: u64,
    /// The version that this one follows.
    pub previous: Option<u64>,
    /// Whether objects may still arrive.
    pub state: State,
    /// When it was published.
    pub published: Timestamp,
    /// The rules it was built by; the same for every digest of a store.
    pub rules: Rules,
    /// The three files.
    pub files: Vec<PublishedFile>,
    /// Sums over the edge file.
    pub totals: Totals,
    /// What was seen and not seen.
    pub coverage: Coverage,
    /// What the build cost.
    pub cost: Cost,
    /// The published digests that it was merged from; none if it was built from objects alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_from: Vec<Origin>,
}

/// One version of a window's digest, as another digest refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// First instant of its window.
    pub start: Timestamp,
    /// First instant after its window.
    pub stop: Timestamp,
    /// Its version.
    pub version: u64,
}

impl Origin {
    /// Refers to the digest of `manifest`.
    pub fn of(manifest: &Manifest) -> Origin {
        Origin { start: manifest.start, stop: manifest.stop, version: manifest.version }
    }
}

/// Whether a digest may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Objects of the window may still arrive.
    Provisional,
    /// The window closed before every listed object was read.
    Final,
}

impl State {
    /// Name in manifests and in the table `windows`.
    pub fn name(self) -> &'static str {
        match self {
            State::Provisional => "provisional",
            State::Final => "final",
        }
    }
}

/// What makes digests of one store merge and compare: all of them are built by the same rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Version of the layout: [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Which port is ephemeral.
    pub port_rule: PortRule,
    /// Whose addresses count.
    pub addresses: AddressRule,
    /// SHA-256 of `queries/edges.sql`, hexadecimal.
    pub query_checksum: String,
}

/// Which of a digest's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// The edges, sorted by [`crate::flow::EDGE_KEY`].
    Edges,
    /// The interfaces, sorted by account and interface.
    Interfaces,
    /// The objects taken, sorted by key.
    Objects,
}

impl FileKind {
    /// The three files, in the order of a manifest.
    pub const ALL: [FileKind; 3] = [FileKind::Edges, FileKind::Interfaces, FileKind::Objects];

    /// Name in file names, and of the table over the files of this kind.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Edges => "edges",
            FileKind::Interfaces => "interfaces",
            FileKind::Objects => "objects",
        }
    }

    /// The columns that a file is sorted by; no two of its rows have the same.
    pub fn key(self) -> &'static [&'static str] {
        match self {
            FileKind::Edges => &flow::EDGE_KEY,
            FileKind::Interfaces => &["account_id", "interface_id"],
            FileKind::Objects => &["object_key"],
        }
    }

    /// Schema of a file of this kind.
    pub fn schema(self) -> SchemaRef {
        match self {
            FileKind::Edges => flow::edges_schema(),
            FileKind::Interfaces => flow::interfaces_schema(),
            FileKind::Objects => flow::objects_schema(),
        }
    }
}

/// One file of a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFile {
    /// Which file.
    pub kind: FileKind,
    /// Its name in the folder of the window.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub checksum: String,
}

/// Sums over the edge file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Edges.
    pub edges: u64,
    /// Records folded into them.
    pub flows: i64,
    /// Packets.
    pub packets: i64,
    /// Octets.
    pub bytes: i64,
}

/// What a digest saw and did not see. All counts are of this window alone, but for the lines and objects refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Flow-log objects that the listing gave.
    pub objects_listed: u64,
    /// Objects read to their end.
    pub objects_read: u64,
    /// Objects set aside, by reason in the object file.
    pub objects_set_aside: u64,
    /// Keys in the listing that are no flow-log keys.
    pub other_keys: u64,
    /// Objects whose folder names another time than their file name.
    pub misfiled: u64,
    /// Records in the window, whatever their status.
    pub records: u64,
    /// Records that say that there was no traffic.
    pub nodata: u64,
    /// Records that say that flows were lost.
    pub skipdata: u64,
    /// Lines refused, all reasons.
    pub lines_refused: u64,
    /// The first few refused lines: object key, line number, reason.
    pub refused_samples: Vec<String>,
    /// Interfaces observed.
    pub interfaces: u64,
    /// Latest `end` of a record in the window, whatever its status; absent where there is none, and in manifests that were
    /// written before it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Flow logs that fell silent against their own cadence: account, region and id, joined by `/`.
    pub silent_flow_logs: Vec<String>,
}

/// What building a digest cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// LIST requests.
    pub list_requests: u64,
    /// GET requests.
    pub get_requests: u64,
    /// Bytes fetched.
    pub bytes_read: u64,
    /// Bytes after decompression.
    pub bytes_decompressed: u64,
    /// Wall clock of the build.
    pub wall_seconds: f64,
    /// CPU time of the process during the build; absent where the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// Highest resident memory of the process so far; absent where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
}

impl Cost {
    /// Adds what another part of the work cost.
    pub fn add(&mut self, other: &Cost) {
        self.list_requests += other.list_requests;
        self.get_requests += other.get_requests;
        self.bytes_read += other.bytes_read;
        self.bytes_decompressed += other.bytes_decompressed;
        self.wall_seconds += other.wall_seconds;
        self.cpu_seconds = self.cpu_seconds.into_iter().chain(other.cpu_seconds).reduce(|a, b| a + b);
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
    }
}

impl Manifest {
    /// The window.
    ///
    /// # Errors
    /// `Invalid` if the file holds instants that make no window.
    pub fn window(&self) -> Result<Window> {
        Window::new(self.start, self.stop)
    }

    /// How far it was behind when it was made. Final: behind the window's stop, so this is how long after its stop the
    /// window was final, with all that this version holds. Provisional: behind the newest record that it holds; `None`
    /// if it holds none, or does not say. Never negative, whatever the clocks.
    pub fn lag(&self) -> Option<TimeDelta> {
        let reached = match self.state {
            State::Final => Some(self.stop),
            State::Provisional => self.coverage.last_seen,
        };
        reached.map(|reached| (self.published - reached).max(TimeDelta::zero()))
    }

    /// The file of `kind`, which every manifest that was read from a store has.
    pub fn file(&self, kind: FileKind) -> Option<&PublishedFile> {
        self.files.iter().find(|file| file.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"format_version":1,"start":"2026-11-20T12:00:00Z","stop":"2026-11-20T13:00:00Z","version":1,
        "previous":null,"state":"final","published":"2026-11-20T13:31:00Z","rules":{"format_version":1,
        "port_rule":"service","addresses":"packet","query_checksum":""},"files":[],"totals":{"edges":0,"flows":0,
        "packets":0,"bytes":0},"coverage":{"objects_listed":0,"objects_read":0,"objects_set_aside":0,"other_keys":0,
        "misfiled":0,"records":0,"nodata":0,"skipdata":0,"lines_refused":0,"refused_samples":[],"interfaces":0,
        "silent_flow_logs":[]},"cost":{"list_requests":0,"get_requests":0,"bytes_read":0,"bytes_decompressed":0,
        "wall_seconds":0.0,"cpu_seconds":null,"peak_memory_bytes":null}}"#;

    #[test]
    fn a_window_lags_behind_its_newest_record_while_it_is_open_and_behind_its_stop_from_then_on() {
        // As it was written before it held its newest record.
        let mut manifest: Manifest = serde_json::from_str(TEXT).unwrap();
        assert_eq!(serde_json::to_value(&manifest).unwrap(), serde_json::from_str::<serde_json::Value>(TEXT).unwrap());
        assert_eq!(manifest.lag(), Some(TimeDelta::minutes(31)));
        manifest.state = State::Provisional;
        assert_eq!(manifest.lag(), None, "it does not say");
        manifest.published = "2026-11-20T12:20:00Z".parse().unwrap();
        manifest.coverage.last_seen = Some("2026-11-20T12:13:30Z".parse().unwrap());
        assert_eq!(manifest.lag(), Some(TimeDelta::seconds(390)));
        manifest.published = manifest.start;
        assert_eq!(manifest.lag(), Some(TimeDelta::zero()), "records of a clock that is ahead");
    }
}

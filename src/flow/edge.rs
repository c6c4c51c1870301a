//! The shapes of the tables: flows, and the three files of a digest (edges, interfaces, objects).

use super::address::ipv4_text_rank;
use super::{Field, text_order};
use datafusion::arrow::datatypes::{DataType, Field as Column, Schema, SchemaRef, TimeUnit};
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

/// Key columns of an edge, in the order that sorts the edge files.
pub const EDGE_KEY: [&str; 8] =
    ["account_id", "interface_id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "action"];

/// What an edge is besides its account and interface: the part of the key that packs into 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Source: the packet's address where the format has it (see [`super::AddressRule`]).
    pub srcaddr: IpAddr,
    /// Destination, likewise.
    pub dstaddr: IpAddr,
    /// Source port; 0 if it was judged ephemeral.
    pub srcport: u16,
    /// Destination port; 0 if it was judged ephemeral.
    pub dstport: u16,
    /// IANA protocol number; 255 ("reserved") where the format has none.
    pub protocol: u8,
    /// Number of the action's text in a table that the holder of the key keeps.
    pub action: u8,
}

impl EdgeKey {
    /// A number that orders edges between IPv4 addresses as the texts of both addresses do; `None` for others.
    #[inline]
    pub fn ipv4_rank(&self) -> Option<u64> {
        match (self.srcaddr, self.dstaddr) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Some(u64::from(ipv4_text_rank(source)) << 32 | u64::from(ipv4_text_rank(destination)))
            }
            _ => None,
        }
    }

    /// Compares as the columns of the edge file compare; `actions` gives the text of each action number.
    pub fn file_order(&self, other: &EdgeKey, actions: &[impl AsRef<str>]) -> Ordering {
        text_order(self.srcaddr, other.srcaddr)
            .then_with(|| text_order(self.dstaddr, other.dstaddr))
            .then_with(|| self.srcport.cmp(&other.srcport))
            .then_with(|| self.dstport.cmp(&other.dstport))
            .then_with(|| self.protocol.cmp(&other.protocol))
            .then_with(|| {
                let text = |key: &EdgeKey| actions[usize::from(key.action)].as_ref();
                text(self).cmp(text(other))
            })
    }
}

/// The measures of an edge: sums, minima, maxima and ors, so that edges merge in any order.
///
/// Sums stop at 2^63-1; no counter is negative, so the order of the additions does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Records folded into the edge.
    pub flows: i64,
    /// Packets; a record without the counter adds 0.
    pub packets: i64,
    /// Octets; a record without the counter adds 0.
    pub bytes: i64,
    /// Earliest `start` (`end` where a record has no start), Unix seconds.
    pub first_seen: i64,
    /// Latest `end`, Unix seconds.
    pub last_seen: i64,
    /// Bit-or of the TCP flags; -1 if no record had them.
    pub tcp_flags: i16,
}

impl Edge {
    /// Folds another edge of the same key into this one.
    #[inline]
    pub fn merge(&mut self, other: &Edge) {
        self.flows = self.flows.saturating_add(other.flows);
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.tcp_flags = match (self.tcp_flags, other.tcp_flags) {
            (flags, -1) | (-1, flags) => flags,
            (a, b) => a | b,
        };
    }
}

fn text(name: &str, nullable: bool) -> Column {
    Column::new(name, DataType::Utf8View, nullable)
}

fn count(name: &str) -> Column {
    Column::new(name, DataType::Int64, false)
}

/// Times in files are milliseconds: Parquet has no type for seconds.
fn time(name: &str, nullable: bool) -> Column {
    Column::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), nullable)
}

/// Column of a field in `flows`: nullable, named and typed as [`Field`] says.
pub fn flows_column(field: Field) -> Column {
    Column::new(field.column(), field.kind().data_type(), true)
}

/// Schema of the table `flows`: the 54 fields in AWS's order, then `object_key`, `line` (1-based), `flow_log_id` and
/// `file_time`, which come from the object and not from the record.
pub fn flows_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut columns: Vec<Column> = Field::ALL.into_iter().map(flows_column).collect();
        columns.push(text("object_key", false));
        columns.push(count("line"));
        columns.push(text("flow_log_id", true));
        columns.push(Column::new("file_time", DataType::Timestamp(TimeUnit::Second, Some("UTC".into())), true));
        Arc::new(Schema::new(columns))
    });
    SCHEMA.clone()
}

/// Schema of an edge file: the key (sorted by it, unique), then the measures.
pub fn edges_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            text("account_id", false),
            text("interface_id", false),
            text("srcaddr", false),
            text("dstaddr", false),
            Column::new("srcport", DataType::UInt16, false),
            Column::new("dstport", DataType::UInt16, false),
            Column::new("protocol", DataType::UInt8, false),
            text("action", false),
            count("flows"),
            count("packets"),
            count("bytes"),
            time("first_seen", false),
            time("last_seen", false),
            Column::new("tcp_flags", DataType::UInt8, true),
        ]))
    });
    SCHEMA.clone()
}

/// Schema of an interface file: one row per account and interface seen in the window, sorted by these two.
///
/// `region` to `interface_type` are the smallest value that any record of the window carried, null if none did. `ok`,
/// `nodata` and `skipdata` count records by log status (a record without the field, or with another status, is `ok`).
pub fn interfaces_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            text("account_id", false),
            text("interface_id", false),
            text("region", true),
            text("vpc_id", true),
            text("subnet_id", true),
            text("instance_id", true),
            text("interface_type", true),
            count("ok"),
            count("nodata"),
            count("skipdata"),
            time("first_seen", false),
            time("last_seen", false),
        ]))
    });
    SCHEMA.clone()
}

/// Schema of an object file: one row per object taken, sorted by `object_key`.
///
/// `records` to `last_end` speak of the whole object; `in_window`, `ok`, `nodata`, `skipdata` only of its records in
/// the window. `refused_*` count lines by reason; `set_aside` says why no record of the object was taken, else null.
pub fn objects_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut columns = vec![
            text("object_key", false),
            text("etag", true),
            count("size"),
            time("file_time", false),
            text("account_id", false),
            text("region", false),
            text("flow_log_id", false),
            text("set_aside", true),
        ];
        columns.extend(
            [
                "records",
                "in_window",
                "ok",
                "nodata",
                "skipdata",
                "refused_fields",
                "refused_encoding",
                "refused_address",
                "refused_number",
                "refused_range",
                "no_time",
                "milliseconds",
                "spaces",
                "headers",
                "unknown_fields",
                "odd_actions",
            ]
            .map(count),
        );
        columns.push(time("first_end", true));
        columns.push(time("last_end", true));
        Arc::new(Schema::new(columns))
    });
    SCHEMA.clone()
}

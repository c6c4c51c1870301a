//! A row of a diff, as deliveries look at it. In: batches of `diff::diff`, of every grain. Out: rows, borrowed to be judged
//! and owned to be told.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use chrono::DateTime;
use datafusion::arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{ArrowPrimitiveType, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type};
use serde::Serialize;

/// A row of a diff. What the grain does not have is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row<T> {
    pub(super) change: T,
    pub(super) evidence: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface_id: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) srcaddr: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dstaddr: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) srcport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dstport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<T>,
    pub(super) flows: i64,
    pub(super) packets: i64,
    pub(super) bytes: i64,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tcp_flags: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flows_before: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) packets_before: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_before: Option<i64>,
}

impl<T: AsRef<str>> Row<T> {
    /// The same row, its texts its own.
    pub(super) fn to_owned(&self) -> Row<String> {
        let text = |text: &T| text.as_ref().to_owned();
        let optional = |value: &Option<T>| value.as_ref().map(text);
        Row {
            change: text(&self.change),
            evidence: text(&self.evidence),
            account_id: optional(&self.account_id),
            interface_id: optional(&self.interface_id),
            srcaddr: optional(&self.srcaddr),
            dstaddr: optional(&self.dstaddr),
            srcport: self.srcport,
            dstport: self.dstport,
            protocol: self.protocol,
            action: optional(&self.action),
            flows: self.flows,
            packets: self.packets,
            bytes: self.bytes,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            tcp_flags: self.tcp_flags,
            flows_before: self.flows_before,
            packets_before: self.packets_before,
            bytes_before: self.bytes_before,
        }
    }

    /// Octets that appeared, disappeared, or came or went.
    pub(super) fn moved_bytes(&self) -> u64 {
        match (self.change.as_ref(), self.bytes_before) {
            ("changed", Some(before)) => self.bytes.abs_diff(before),
            _ => self.bytes.unsigned_abs(),
        }
    }

    /// Whether it may only have been out of sight before or after.
    pub(super) fn is_unobserved(&self) -> bool {
        self.evidence.as_ref().starts_with("unobserved")
    }

    /// Its addresses, where the grain has them.
    pub(super) fn addresses(&self) -> [Option<&str>; 2] {
        [&self.srcaddr, &self.dstaddr].map(|address| address.as_ref().map(AsRef::as_ref))
    }

    /// Its ports that were kept; 0 stands for one that was judged ephemeral.
    pub(super) fn ports(&self) -> [Option<u16>; 2] {
        [self.srcport, self.dstport].map(|port| port.filter(|port| *port != 0))
    }
}

/// A batch of a diff, its columns found.
pub(super) struct Rows<'a> {
    change: &'a StringViewArray,
    evidence: &'a StringViewArray,
    texts: [Option<&'a StringViewArray>; 5],
    ports: [Option<&'a PrimitiveArray<UInt16Type>>; 2],
    protocol: Option<&'a PrimitiveArray<UInt8Type>>,
    counters: [&'a PrimitiveArray<Int64Type>; 3],
    seen: [&'a PrimitiveArray<TimestampMillisecondType>; 2],
    tcp_flags: &'a PrimitiveArray<UInt8Type>,
    counters_before: [&'a PrimitiveArray<Int64Type>; 3],
    len: usize,
}

impl<'a> Rows<'a> {
    /// Finds the columns of a batch.
    ///
    /// # Errors
    /// `Internal` if one is missing or of another type: diffs have them.
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Rows<'a>> {
        let lacking = |name: &str| Error::internal(format!("a diff without a column {name} of its type"));
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_view_opt());
        fn numbers<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Option<&'a PrimitiveArray<T>> {
            batch.column_by_name(name).and_then(|column| column.as_primitive_opt())
        }
        let counter = |name: &str| numbers::<Int64Type>(batch, name).ok_or_else(|| lacking(name));
        let time = |name: &str| numbers::<TimestampMillisecondType>(batch, name).ok_or_else(|| lacking(name));
        Ok(Rows {
            change: text("change").ok_or_else(|| lacking("change"))?,
            evidence: text("evidence").ok_or_else(|| lacking("evidence"))?,
            texts: ["account_id", "interface_id", "srcaddr", "dstaddr", "action"].map(text),
            ports: ["srcport", "dstport"].map(|name| numbers(batch, name)),
            protocol: numbers(batch, "protocol"),
            counters: [counter("flows")?, counter("packets")?, counter("bytes")?],
            seen: [time("first_seen")?, time("last_seen")?],
            tcp_flags: numbers(batch, "tcp_flags").ok_or_else(|| lacking("tcp_flags"))?,
            counters_before: [counter("flows_before")?, counter("packets_before")?, counter("bytes_before")?],
            len: batch.num_rows(),
        })
    }

    /// Its rows, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Row<&'a str>> + '_ {
        (0..self.len).map(|at| {
            let [account_id, interface_id, srcaddr, dstaddr, action] = self.texts.map(|text| Some(text?.value(at)));
            let [srcport, dstport] = self.ports.map(|ports| Some(ports?.value(at)));
            let [flows, packets, bytes] = self.counters.map(|counter| counter.value(at));
            let [flows_before, packets_before, bytes_before] =
                self.counters_before.map(|counter| counter.is_valid(at).then(|| counter.value(at)));
            let [first_seen, last_seen] =
                self.seen.map(|times| DateTime::from_timestamp_millis(times.value(at)).unwrap_or_default());
            Row {
                change: self.change.value(at),
                evidence: self.evidence.value(at),
                account_id,
                interface_id,
                srcaddr,
                dstaddr,
                srcport,
                dstport,
                protocol: self.protocol.map(|protocol| protocol.value(at)),
                action,
                flows,
                packets,
                bytes,
                first_seen,
                last_seen,
                tcp_flags: self.tcp_flags.is_valid(at).then(|| self.tcp_flags.value(at)),
                flows_before,
                packets_before,
                bytes_before,
            }
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A new edge of 1,200 bytes to port 443.
    pub(in super::super) fn row() -> Row<&'static str> {
        Row {
            change: "added",
            evidence: "new",
            account_id: Some("123456789012"),
            interface_id: Some("eni-0123456789abcdef0"),
            srcaddr: Some("10.1.2.3"),
            dstaddr: Some("198.51.100.7"),
            srcport: Some(0),
            dstport: Some(443),
            protocol: Some(6),
            action: Some("ACCEPT"),
            flows: 2,
            packets: 9,
            bytes: 1200,
            first_seen: "2026-11-20T12:01:00Z".parse().unwrap(),
            last_seen: "2026-11-20T12:59:00Z".parse().unwrap(),
            tcp_flags: Some(3),
            flows_before: None,
            packets_before: None,
            bytes_before: None,
        }
    }

    #[test]
    fn what_is_absent_is_not_told() {
        let row = Row { account_id: None, interface_id: None, tcp_flags: None, ..row() };
        let json = serde_json::to_string(&row.to_owned()).unwrap();
        assert!(!json.contains("account_id") && !json.contains("_before") && !json.contains("null"), "{json}");
        assert_eq!(row.moved_bytes(), 1200);
        assert_eq!(row.ports(), [None, Some(443)]);
    }
}

//! Folded edges as sorted batches of the edge schema.

use super::{Group, InterfaceFacts};
use crate::flow::{AddressText, Edge, EdgeKey, edges_schema};
use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, Int64Array, RecordBatch, StringViewArray, StringViewBuilder, TimestampMillisecondArray,
    UInt8Array, UInt8Builder, UInt16Array, UInt32Array,
};
use datafusion::arrow::compute::take;
use datafusion::error::Result;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// Edges that one thread sorts and builds at a time.
const PART_EDGES: usize = 1 << 16;

/// Cuts groups into consecutive parts of about [`PART_EDGES`] edges.
pub(super) fn parts(mut groups: impl Iterator<Item = Group>) -> impl Iterator<Item = Vec<Group>> {
    std::iter::from_fn(move || {
        let (mut part, mut edges) = (Vec::new(), 0);
        while edges < PART_EDGES
            && let Some(group) = groups.next()
        {
            edges += group.edges.len();
            part.push(group);
        }
        (!part.is_empty()).then_some(part)
    })
}

/// Sorts the edges of consecutive groups and builds their batches.
pub(super) fn batches(groups: Vec<Group>, actions: &[String]) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    let mut rows = Rows::new();
    let (mut edges, mut order) = (Vec::new(), Vec::new());
    for group in groups {
        edges.extend(group.edges);
        order.extend(edges.iter().enumerate().map(|(index, (key, _))| (key.ipv4_rank(), index)));
        // Ranks tell most pairs apart; texts are compared only where IPv6 takes part.
        order.sort_unstable_by(|(a_rank, a), (b_rank, b)| match (a_rank, b_rank) {
            (Some(a_rank), Some(b_rank)) if a_rank != b_rank => a_rank.cmp(b_rank),
            _ => edges[*a].0.file_order(&edges[*b].0, actions),
        });
        rows.begin(&group.facts);
        for (_, index) in order.drain(..) {
            let (key, edge) = &edges[index];
            rows.push(key, edge);
            if rows.flows.len() == BATCH_ROWS {
                batches.push(rows.finish(actions)?);
                rows = Rows::new();
                rows.begin(&group.facts);
            }
        }
        edges.clear();
    }
    if !rows.flows.is_empty() {
        batches.push(rows.finish(actions)?);
    }
    Ok(batches)
}

/// The columns of a batch under construction.
struct Rows {
    account: Repeated,
    interface: Repeated,
    srcaddr: Addresses,
    dstaddr: Addresses,
    srcport: Vec<u16>,
    dstport: Vec<u16>,
    protocol: Vec<u8>,
    action: Vec<u32>,
    flows: Vec<i64>,
    packets: Vec<i64>,
    bytes: Vec<i64>,
    first_seen: Vec<i64>,
    last_seen: Vec<i64>,
    tcp_flags: UInt8Builder,
}

impl Rows {
    fn new() -> Rows {
        fn numbers<T>() -> Vec<T> {
            Vec::with_capacity(BATCH_ROWS)
        }
        Rows {
            account: Repeated::new(),
            interface: Repeated::new(),
            srcaddr: Addresses::new(),
            dstaddr: Addresses::new(),
            srcport: numbers(),
            dstport: numbers(),
            protocol: numbers(),
            action: numbers(),
            flows: numbers(),
            packets: numbers(),
            bytes: numbers(),
            first_seen: numbers(),
            last_seen: numbers(),
            tcp_flags: UInt8Builder::with_capacity(BATCH_ROWS),
        }
    }

    /// Begins the edges of another interface.
    fn begin(&mut self, facts: &InterfaceFacts) {
        self.account.begin(&facts.account);
        self.interface.begin(&facts.interface);
    }

    fn push(&mut self, key: &EdgeKey, edge: &Edge) {
        self.account.push();
        self.interface.push();
        self.srcaddr.push(key.srcaddr);
        self.dstaddr.push(key.dstaddr);
        self.srcport.push(key.srcport);
        self.dstport.push(key.dstport);
        self.protocol.push(key.protocol);
        self.action.push(u32::from(key.action));
        self.flows.push(edge.flows);
        self.packets.push(edge.packets);
        self.bytes.push(edge.bytes);
        self.first_seen.push(edge.first_seen.saturating_mul(1000));
        self.last_seen.push(edge.last_seen.saturating_mul(1000));
        self.tcp_flags.append_option(u8::try_from(edge.tcp_flags).ok());
    }

    fn finish(mut self, actions: &[String]) -> Result<RecordBatch> {
        let counter = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        let time =
            |millis: Vec<i64>| -> ArrayRef { Arc::new(TimestampMillisecondArray::from(millis).with_timezone("UTC")) };
        let columns: Vec<ArrayRef> = vec![
            self.account.finish()?,
            self.interface.finish()?,
            self.srcaddr.finish(),
            self.dstaddr.finish(),
            Arc::new(UInt16Array::from(self.srcport)),
            Arc::new(UInt16Array::from(self.dstport)),
            Arc::new(UInt8Array::from(self.protocol)),
            pick(&StringViewArray::from_iter_values(actions), self.action)?,
            counter(self.flows),
            counter(self.packets),
            counter(self.bytes),
            time(self.first_seen),
            time(self.last_seen),
            Arc::new(self.tcp_flags.finish()),
        ];
        Ok(RecordBatch::try_new(edges_schema(), columns)?)
    }
}

/// The texts at these indices, each stored once.
fn pick(texts: &StringViewArray, indices: Vec<u32>) -> Result<ArrayRef> {
    Ok(take(texts, &UInt32Array::from(indices), None)?)
}

/// A column of text that stays the same for many rows.
struct Repeated {
    texts: StringViewBuilder,
    indices: Vec<u32>,
    last: u32,
}

impl Repeated {
    fn new() -> Repeated {
        Repeated { texts: StringViewBuilder::new(), indices: Vec::with_capacity(BATCH_ROWS), last: 0 }
    }

    fn begin(&mut self, text: &str) {
        self.last = self.texts.len() as u32;
        self.texts.append_value(text);
    }

    fn push(&mut self) {
        self.indices.push(self.last);
    }

    fn finish(mut self) -> Result<ArrayRef> {
        pick(&self.texts.finish(), self.indices)
    }
}

/// A column of addresses; the text of one that repeats is written once.
struct Addresses {
    /// The texts, one behind the other, and where each row's is.
    text: Vec<u8>,
    rows: Vec<Range<usize>>,
    last: Option<IpAddr>,
}

impl Addresses {
    fn new() -> Addresses {
        Addresses { text: Vec::with_capacity(16 * BATCH_ROWS), rows: Vec::with_capacity(BATCH_ROWS), last: None }
    }

    fn push(&mut self, address: IpAddr) {
        let row = match self.rows.last() {
            Some(row) if self.last == Some(address) => row.clone(),
            _ => {
                let start = self.text.len();
                self.text.extend_from_slice(AddressText::of(address).as_bytes());
                self.last = Some(address);
                start..self.text.len()
            }
        };
        self.rows.push(row);
    }

    /// All texts are checked at once: one by one, that would take longer than writing them.
    fn finish(self) -> ArrayRef {
        let text = String::from_utf8(self.text).expect("addresses are written in ASCII");
        let mut column = StringViewBuilder::with_capacity(self.rows.len());
        self.rows.into_iter().for_each(|row| column.append_value(&text[row]));
        Arc::new(column.finish())
    }
}

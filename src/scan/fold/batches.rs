//! Folded edges as sorted batches of the edge schema.

use super::{Group, InterfaceFacts};
use crate::flow::{AddressText, Edge, EdgeKey, edges_schema};
use datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringViewBuilder, TimestampMillisecondArray, UInt8Array, UInt8Builder,
    UInt16Array,
};
use datafusion::arrow::buffer::Buffer;
use datafusion::error::Result;
use std::net::IpAddr;
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
            rows.push(key, edge, actions);
            if rows.flows.len() == BATCH_ROWS {
                batches.push(rows.finish()?);
                rows = Rows::new();
                rows.begin(&group.facts);
            }
        }
        edges.clear();
    }
    if !rows.flows.is_empty() {
        batches.push(rows.finish()?);
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
    action: StringViewBuilder,
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
            action: StringViewBuilder::with_capacity(BATCH_ROWS),
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

    fn push(&mut self, key: &EdgeKey, edge: &Edge, actions: &[String]) {
        self.account.push();
        self.interface.push();
        self.srcaddr.push(key.srcaddr);
        self.dstaddr.push(key.dstaddr);
        self.srcport.push(key.srcport);
        self.dstport.push(key.dstport);
        self.protocol.push(key.protocol);
        self.action.append_value(&actions[usize::from(key.action)]);
        self.flows.push(edge.flows);
        self.packets.push(edge.packets);
        self.bytes.push(edge.bytes);
        self.first_seen.push(edge.first_seen.saturating_mul(1000));
        self.last_seen.push(edge.last_seen.saturating_mul(1000));
        self.tcp_flags.append_option(u8::try_from(edge.tcp_flags).ok());
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let counter = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        let time =
            |millis: Vec<i64>| -> ArrayRef { Arc::new(TimestampMillisecondArray::from(millis).with_timezone("UTC")) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.account.builder.finish()),
            Arc::new(self.interface.builder.finish()),
            Arc::new(self.srcaddr.builder.finish()),
            Arc::new(self.dstaddr.builder.finish()),
            Arc::new(UInt16Array::from(self.srcport)),
            Arc::new(UInt16Array::from(self.dstport)),
            Arc::new(UInt8Array::from(self.protocol)),
            Arc::new(self.action.finish()),
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

/// A column of text that stays the same for many rows: it is stored once for them.
struct Repeated {
    builder: StringViewBuilder,
    block: u32,
    length: u32,
}

impl Repeated {
    fn new() -> Repeated {
        Repeated { builder: StringViewBuilder::with_capacity(BATCH_ROWS), block: 0, length: 0 }
    }

    fn begin(&mut self, text: &str) {
        self.block = self.builder.append_block(Buffer::from(text.as_bytes()));
        self.length = text.len() as u32;
    }

    fn push(&mut self) {
        self.builder.try_append_view(self.block, 0, self.length).expect("the block holds the whole text");
    }
}

/// A column of addresses; the text of one that repeats is written once.
struct Addresses {
    builder: StringViewBuilder,
    last: Option<(IpAddr, AddressText)>,
}

impl Addresses {
    fn new() -> Addresses {
        Addresses { builder: StringViewBuilder::with_capacity(BATCH_ROWS), last: None }
    }

    fn push(&mut self, address: IpAddr) {
        let (_, text) = match self.last {
            Some(last) if last.0 == address => last,
            _ => *self.last.insert((address, AddressText::of(address))),
        };
        self.builder.append_value(text.as_str());
    }
}

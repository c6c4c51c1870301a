//! Folded edges as sorted batches of the edge schema.

use super::Group;
use crate::flow::{Edge, EdgeKey, edges_schema};
use datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringViewBuilder, TimestampMillisecondArray, UInt8Array, UInt16Array,
};
use datafusion::error::Result;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// Sorts the edges of consecutive groups and builds their batches.
pub(super) fn batches(groups: Vec<Group>, actions: &[String]) -> Result<Vec<RecordBatch>> {
    let mut sorted: Vec<(usize, EdgeKey, Edge)> = Vec::new();
    let mut names = Vec::with_capacity(groups.len());
    for (index, group) in groups.into_iter().enumerate() {
        let from = sorted.len();
        sorted.extend(group.edges.into_iter().map(|(key, edge)| (index, key, edge)));
        sorted[from..].sort_unstable_by(|(_, a, _), (_, b, _)| a.file_order(b, actions));
        names.push((group.facts.account, group.facts.interface));
    }
    sorted.chunks(BATCH_ROWS).map(|rows| batch(rows, &names, actions)).collect()
}

fn batch(rows: &[(usize, EdgeKey, Edge)], names: &[(String, String)], actions: &[String]) -> Result<RecordBatch> {
    let mut account = Texts::default();
    let mut interface = Texts::default();
    let (mut srcaddr, mut dstaddr, mut action) = (Texts::default(), Texts::default(), Texts::default());
    for (group, key, _) in rows {
        let (account_id, interface_id) = &names[*group];
        account.builder.append_value(account_id);
        interface.builder.append_value(interface_id);
        srcaddr.append(key.srcaddr);
        dstaddr.append(key.dstaddr);
        action.builder.append_value(&actions[usize::from(key.action)]);
    }
    let counter = |of: fn(&Edge) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, _, edge)| of(edge)))) };
    let port = |of: fn(&EdgeKey) -> u16| -> ArrayRef { Arc::new(UInt16Array::from_iter_values(rows.iter().map(|(_, key, _)| of(key)))) };
    let time = |of: fn(&Edge) -> i64| -> ArrayRef {
        let millis = rows.iter().map(|(_, _, edge)| of(edge).saturating_mul(1000));
        Arc::new(TimestampMillisecondArray::from_iter_values(millis).with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        account.finish(),
        interface.finish(),
        srcaddr.finish(),
        dstaddr.finish(),
        port(|key| key.srcport),
        port(|key| key.dstport),
        Arc::new(UInt8Array::from_iter_values(rows.iter().map(|(_, key, _)| key.protocol))),
        action.finish(),
        counter(|edge| edge.flows),
        counter(|edge| edge.packets),
        counter(|edge| edge.bytes),
        time(|edge| edge.first_seen),
        time(|edge| edge.last_seen),
        Arc::new(UInt8Array::from_iter(rows.iter().map(|(_, _, edge)| u8::try_from(edge.tcp_flags).ok()))),
    ];
    Ok(RecordBatch::try_new(edges_schema(), columns)?)
}

/// A column of text; the text of an address that repeats is written once.
#[derive(Default)]
struct Texts {
    builder: StringViewBuilder,
    last: Option<IpAddr>,
    text: String,
}

impl Texts {
    fn append(&mut self, address: IpAddr) {
        if self.last != Some(address) {
            self.text.clear();
            write!(self.text, "{address}").expect("writing to a string does not fail");
            self.last = Some(address);
        }
        self.builder.append_value(&self.text);
    }

    fn finish(mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

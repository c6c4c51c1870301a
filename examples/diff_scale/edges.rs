//! Makes digests of many edges, hour by hour, always the same for the same numbers: the first two differ by 1 % each way,
//! each later one has 1 % of new edges.

#[path = "../../tests/it/diff/published.rs"]
mod published;
#[path = "../../tests/it/random.rs"]
mod random;

use chrono::{DateTime, TimeDelta};
use datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringViewArray, StringViewBuilder, TimestampMillisecondArray, UInt8Array,
    UInt16Array, new_null_array,
};
use datafusion::arrow::datatypes::SchemaRef;
use flowdiff::catalog::{Catalog, Manifest, State};
use flowdiff::flow;
use flowdiff::window::Window;
use published::{Contents, publish};
use random::Random;
use std::sync::Arc;

const START_MILLIS: i64 = 1_795_176_000_000;
const HOUR_MILLIS: i64 = 3_600_000;
const EDGES_PER_INTERFACE: u64 = 2_000;
const ACCOUNTS: u64 = 4;

/// The window of a digest, by its number.
pub fn window(number: usize) -> Window {
    let start = DateTime::from_timestamp_millis(START_MILLIS + number as i64 * HOUR_MILLIS).unwrap();
    Window::new(start, start + TimeDelta::hours(1)).unwrap()
}

/// Publishes so many digests, of about `edges` edges each.
pub async fn publish_hours(catalog: &Catalog, edges: u64, digests: usize) -> Vec<Manifest> {
    let interfaces = edges.div_ceil(EDGES_PER_INTERFACE);
    let mut manifests = Vec::new();
    for number in 0..digests {
        let contents = Contents {
            edges: (0..interfaces).map(|interface| edges_of(interface, number, digests)),
            interfaces: interface_rows(interfaces),
            objects: RecordBatch::new_empty(flow::objects_schema()),
            state: State::Final,
            silent_flow_logs: vec![],
            row_group_rows: 131_072,
        };
        manifests.push(publish(catalog, &window(number).to_string(), contents).await);
    }
    manifests
}

/// The edges of one interface in one digest: what it serves to clients, and what it asks of servers. An edge is in all of
/// them but for one in a hundred that is only in the first, and one for each later digest that begins there.
fn edges_of(interface: u64, number: usize, digests: usize) -> RecordBatch {
    let mut random = Random(interface);
    let own = private_address(interface);
    let mut edges: Vec<_> = (0..EDGES_PER_INTERFACE + EDGES_PER_INTERFACE / 100)
        .map(|_| {
            let peer = if random.below(4) == 0 {
                public_address(random.next())
            } else {
                private_address(random.below(40_000))
            };
            let port = [443, 443, 443, 80, 53, 22, 3306, 5432, 6379, 9092, 8080, 123][random.below(12) as usize];
            let protocol = if port == 53 || port == 123 { 17u8 } else { 6 };
            let action = if random.below(20) == 0 { "REJECT" } else { "ACCEPT" };
            let (source, destination, ports) = match random.below(4) {
                0 => (own.clone(), peer, (0, port)),
                1 => (peer, own.clone(), (0, port)),
                2 => (own.clone(), peer, (port, 0)),
                _ => (peer, own.clone(), (port, 0)),
            };
            let chance = random.below(101);
            let flows = 1 + random.below(60) as i64;
            let bytes = flows * (60 + random.below(20_000) as i64) * if chance == 2 && number == 1 { 50 } else { 1 };
            let first = random.below(3_000_000) as i64 / 1000 * 1000;
            ((source, destination, ports.0 as u16, ports.1 as u16, protocol, action), (chance, flows, bytes, first))
        })
        .collect();
    edges.sort_unstable();
    edges.dedup_by(|a, b| a.0 == b.0);
    edges.retain(|(_, (chance, ..))| match *chance as usize {
        0 => number >= 1,
        1 => number == 0,
        chance => number >= chance || chance >= digests,
    });
    let account = format!("{:012}", 111_111_111_111 * (1 + account_of(interface)));
    let id = interface_id(interface);
    let text = |pick: &dyn Fn(usize) -> String| -> ArrayRef {
        let mut builder = StringViewBuilder::new();
        (0..edges.len()).for_each(|row| builder.append_value(pick(row)));
        Arc::new(builder.finish())
    };
    let measure = |pick: &dyn Fn(usize) -> i64| Int64Array::from_iter_values((0..edges.len()).map(pick));
    let time = |pick: &dyn Fn(usize) -> i64| -> ArrayRef {
        let begin = START_MILLIS + number as i64 * HOUR_MILLIS;
        let values = (0..edges.len()).map(|row| begin + pick(row));
        Arc::new(TimestampMillisecondArray::from_iter_values(values).with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|_| account.clone()),
        text(&|_| id.clone()),
        text(&|row| edges[row].0.0.clone()),
        text(&|row| edges[row].0.1.clone()),
        Arc::new(UInt16Array::from_iter_values(edges.iter().map(|edge| edge.0.2))),
        Arc::new(UInt16Array::from_iter_values(edges.iter().map(|edge| edge.0.3))),
        Arc::new(UInt8Array::from_iter_values(edges.iter().map(|edge| edge.0.4))),
        text(&|row| edges[row].0.5.to_owned()),
        Arc::new(measure(&|row| edges[row].1.1)),
        Arc::new(measure(&|row| edges[row].1.2 / 700 + 1)),
        Arc::new(measure(&|row| edges[row].1.2)),
        time(&|row| edges[row].1.3),
        time(&|row| edges[row].1.3 + 599_000),
        Arc::new(UInt8Array::from_iter_values(edges.iter().map(|edge| if edge.0.4 == 6 { 19 } else { 0 }))),
    ];
    RecordBatch::try_new(flow::edges_schema(), columns).unwrap()
}

fn interface_rows(interfaces: u64) -> RecordBatch {
    let schema: SchemaRef = flow::interfaces_schema();
    let rows = interfaces as usize;
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "account_id" => Arc::new(StringViewArray::from_iter_values(
                (0..interfaces).map(|interface| format!("{:012}", 111_111_111_111 * (1 + account_of(interface)))),
            )),
            "interface_id" => Arc::new(StringViewArray::from_iter_values((0..interfaces).map(interface_id))),
            "ok" | "nodata" | "skipdata" => Arc::new(Int64Array::from(vec![0; rows])),
            "first_seen" | "last_seen" => {
                Arc::new(TimestampMillisecondArray::from(vec![START_MILLIS; rows]).with_timezone("UTC"))
            }
            _ => new_null_array(field.data_type(), rows),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// Interfaces are made in the order of the file: account by account, their ids ascending.
fn account_of(interface: u64) -> u64 {
    (interface / 700).min(ACCOUNTS - 1)
}

fn interface_id(interface: u64) -> String {
    format!("eni-0{:05x}{:011x}", interface, Random(interface).next() & 0xfff_ffff_ffff)
}

fn private_address(host: u64) -> String {
    format!("10.{}.{}.{}", host >> 14 & 255, host >> 7 & 127, host & 127)
}

fn public_address(value: u64) -> String {
    format!("198.{}.{}.{}", 18 + (value & 1), value >> 8 & 15, value >> 16 & 255)
}

//! The diff against a naive reference (plain maps, plain text) and against its definition in SQL, on generated digests.
//! Row groups of a few rows make the merge cut its ranges in all places.

pub mod published;

use datafusion::arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray, UInt8Array, UInt16Array,
    new_null_array,
};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use flowdiff::catalog::{Catalog, FileKind, Manifest, State, read_file};
use flowdiff::diff::{Grain, Options, diff, edges_by};
use flowdiff::session::{self, Params, Session, queries};
use flowdiff::{ErrorKind, Timestamp, flow};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use proptest::prelude::*;
use published::{Contents, publish};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const GRAINS: [Grain; 4] = [Grain::Edge, Grain::Link, Grain::Host, Grain::Interface];
const ACCOUNTS: [&str; 3] = ["111111111111", "222222222222", "unknown"];
const INTERFACES: [&str; 3] = ["eni-0123456789abcdef0", "eni-0123456789abcdef1", "eni-1"];
const REGIONS: [&str; 2] = ["eu-central-1", "us-east-1"];
const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.0.10", "2001:db8:1234:a100::1", "2001:db8:1234:a100::2"];
const PORTS: [u16; 3] = [0, 53, 443];
const ACTIONS: [&str; 2] = ["ACCEPT", "REJECT"];

type EdgeKey = (&'static str, &'static str, &'static str, &'static str, u16, u16, u8, &'static str);

/// Flows, packets, bytes, first and last seen, TCP flags.
#[derive(Clone, Debug)]
struct Measures {
    counters: [i64; 3],
    seen: [i64; 2],
    tcp_flags: Option<u8>,
}

#[derive(Clone, Debug)]
struct Interface {
    region: Option<&'static str>,
    skipdata: i64,
}

#[derive(Clone, Debug)]
struct Object {
    account: &'static str,
    region: &'static str,
    set_aside: Option<&'static str>,
    refused: i64,
}

#[derive(Clone, Debug)]
struct Digest {
    edges: BTreeMap<EdgeKey, Measures>,
    interfaces: BTreeMap<(&'static str, &'static str), Interface>,
    objects: Vec<Object>,
    silent: Option<&'static str>,
    is_final: bool,
}

fn edges() -> impl Strategy<Value = BTreeMap<EdgeKey, Measures>> {
    use prop::sample::select;
    let key = (
        select(&ACCOUNTS[..]),
        select(&INTERFACES[..]),
        select(&ADDRESSES[..]),
        select(&ADDRESSES[..]),
        select(&PORTS[..]),
        select(&PORTS[..]),
        select(&[6u8, 17][..]),
        select(&ACTIONS[..]),
    );
    let counter = select(&[0i64, 1, 2, 3, 900_000, 1_000_000, 1_900_000, 2_000_000, 4_000_000][..]);
    let measures = (1i64..4, 0i64..3, counter, 0i64..50, 50i64..99, prop::option::of(0u8..32)).prop_map(
        |(flows, packets, bytes, first, last, tcp_flags)| Measures {
            counters: [flows, packets, bytes],
            seen: [first, last],
            tcp_flags,
        },
    );
    prop::collection::btree_map(key, measures, 0..120)
}

fn digest() -> impl Strategy<Value = Digest> {
    use prop::sample::select;
    let interface = (prop::option::of(select(&REGIONS[..])), prop_oneof![4 => Just(0i64), 1 => Just(2)])
        .prop_map(|(region, skipdata)| Interface { region, skipdata });
    let reason = prop_oneof![
        8 => Just(None),
        1 => Just(Some("no header line")),
        1 => Just(Some("transit gateway records"))
    ];
    let object = (select(&ACCOUNTS[..2]), select(&REGIONS[..]), reason, prop_oneof![6 => Just(0i64), 1 => Just(3)])
        .prop_map(|(account, region, set_aside, refused)| Object { account, region, set_aside, refused });
    let interfaces = prop::collection::btree_map((select(&ACCOUNTS[..]), select(&INTERFACES[..])), interface, 0..10);
    let silent = prop_oneof![4 => Just(None), 1 => Just(Some("111111111111/eu-central-1/fl-1"))];
    (edges(), interfaces, prop::collection::vec(object, 0..5), silent, prop::bool::weighted(0.9)).prop_map(
        |(edges, interfaces, objects, silent, is_final)| Digest { edges, interfaces, objects, silent, is_final },
    )
}

// The reference.

impl Digest {
    fn observed(&self) -> BTreeSet<(&'static str, &'static str)> {
        self.interfaces.keys().copied().collect()
    }

    fn whole(&self) -> BTreeSet<(&'static str, &'static str)> {
        let is_blind = |object: &&Object| {
            object.refused > 0 || object.set_aside.is_some_and(|reason| !reason.starts_with("transit gateway"))
        };
        let mut blind: Vec<(&str, &str)> =
            self.objects.iter().filter(is_blind).map(|object| (object.account, object.region)).collect();
        blind.extend(self.silent.map(|_| ("111111111111", "eu-central-1")));
        let is_whole = |(account, _): &(&'static str, &'static str), interface: &Interface| {
            let owns = self.objects.iter().any(|object| object.account == *account);
            let touches = |place: &(&str, &str)| {
                !owns || place.0 == *account && interface.region.is_none_or(|region| region == place.1)
            };
            self.is_final && interface.skipdata == 0 && !blind.iter().any(touches)
        };
        self.interfaces.iter().filter(|(key, interface)| is_whole(key, interface)).map(|(key, _)| *key).collect()
    }
}

/// Rows of a grain: the key as values that sort as the columns do; the measures; whether `seen` has a reporter.
type Folded = BTreeMap<Vec<Value>, (Measures, bool)>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(&'static str),
    Number(u16),
}

fn fold(digest: &Digest, by: Grain, seen: &BTreeSet<(&'static str, &'static str)>) -> Folded {
    use Value::{Number, Text};
    let link =
        |key: &EdgeKey| vec![Text(key.2), Text(key.3), Number(key.4), Number(key.5), Number(key.6.into()), Text(key.7)];
    let reports = digest.edges.iter().map(|(key, measures)| (key, measures.clone(), seen.contains(&(key.0, key.1))));
    let mut folded = Folded::new();
    match by {
        Grain::Edge => folded.extend(reports.map(|(key, measures, observed)| {
            ([vec![Text(key.0), Text(key.1)], link(key)].concat(), (measures, observed))
        })),
        Grain::Interface => {
            for (key, measures, observed) in reports {
                add(&mut folded, vec![Text(key.0), Text(key.1)], measures, observed);
            }
        }
        Grain::Link => {
            for (key, measures, observed) in reports {
                let larger = |old: &Measures| {
                    let [flows, packets, bytes] = measures.counters;
                    (bytes, packets, flows) > (old.counters[2], old.counters[1], old.counters[0])
                };
                let row = folded.entry(link(key)).or_insert((measures.clone(), observed));
                if larger(&row.0) {
                    row.0 = measures;
                }
                row.1 |= observed;
            }
        }
        Grain::Host => {
            for (key, (measures, observed)) in fold(digest, Grain::Link, seen) {
                add(&mut folded, key[..2].to_vec(), measures, observed);
            }
            // Times and flags are those of every report.
            for (key, measures, _) in reports {
                let row = &mut folded.get_mut(&link(key)[..2]).unwrap().0;
                merge_sightings(row, &measures);
            }
        }
    }
    folded
}

fn add(folded: &mut Folded, key: Vec<Value>, measures: Measures, observed: bool) {
    match folded.get_mut(&key) {
        None => drop(folded.insert(key, (measures, observed))),
        Some((sum, any)) => {
            (0..3).for_each(|counter| sum.counters[counter] += measures.counters[counter]);
            merge_sightings(sum, &measures);
            *any |= observed;
        }
    }
}

fn merge_sightings(row: &mut Measures, other: &Measures) {
    row.seen = [row.seen[0].min(other.seen[0]), row.seen[1].max(other.seen[1])];
    row.tcp_flags = match (row.tcp_flags, other.tcp_flags) {
        (Some(a), Some(b)) => Some(a | b),
        (a, b) => a.or(b),
    };
}

/// The key and the measures of a row as text.
fn folded_cells(key: &[Value], measures: &Measures) -> Vec<String> {
    let mut cells: Vec<String> = Vec::new();
    cells.extend(key.iter().map(|value| match value {
        Value::Text(text) => (*text).to_owned(),
        Value::Number(number) => number.to_string(),
    }));
    cells.extend(measures.counters.iter().chain(&measures.seen).map(i64::to_string));
    cells.push(measures.tcp_flags.map_or(String::new(), |flags| flags.to_string()));
    cells
}

/// The diff as text, by the table of definitions.
fn reference(before: &Digest, after: &Digest, options: &Options) -> Vec<String> {
    let old = fold(before, options.by, &after.whole());
    let new = fold(after, options.by, &before.observed());
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let row = |key: &Vec<Value>| {
        let (change, evidence, measures) = match (old.get(key), new.get(key)) {
            (None, Some((measures, seen))) => ("added", if *seen { "new" } else { "unobserved_before" }, measures),
            (Some((measures, seen)), None) => ("removed", if *seen { "gone" } else { "unobserved_after" }, measures),
            (Some((a, _)), Some((b, _))) => {
                let (least, most) = (a.counters[2].min(b.counters[2]), a.counters[2].max(b.counters[2]));
                let moved = (most - least) as u64;
                if moved == 0 || moved < options.min_bytes || (most as f64) < options.ratio * least as f64 {
                    return None;
                }
                ("changed", "volume", b)
            }
            (None, None) => unreachable!(),
        };
        let mut cells = vec![change.to_owned(), evidence.to_owned()];
        cells.extend(folded_cells(key, measures));
        let before = |counter: usize| old.get(key).map_or(String::new(), |row| row.0.counters[counter].to_string());
        cells.extend((0..3).map(before));
        Some(cells.join(" "))
    };
    keys.into_iter().filter_map(row).collect()
}

// Publishing what was generated, and reading the diff as text.

fn column(field: &str, data_type: &DataType, rows: usize, values: impl Fn(usize) -> Option<String>) -> ArrayRef {
    let number = |row| values(row).map(|value| value.parse::<i64>().unwrap());
    match data_type {
        DataType::Utf8View => Arc::new((0..rows).map(&values).collect::<StringViewArray>()),
        DataType::Int64 => Arc::new((0..rows).map(|row| number(row).or(Some(0))).collect::<Int64Array>()),
        DataType::UInt16 => Arc::new((0..rows).map(|row| number(row).map(|n| n as u16)).collect::<UInt16Array>()),
        DataType::UInt8 => Arc::new((0..rows).map(|row| number(row).map(|n| n as u8)).collect::<UInt8Array>()),
        DataType::Timestamp(..) if !field.ends_with("_end") => Arc::new(
            (0..rows).map(|row| number(row).or(Some(0))).collect::<TimestampMillisecondArray>().with_timezone("UTC"),
        ),
        _ => new_null_array(data_type, rows),
    }
}

fn batch(schema: &SchemaRef, rows: usize, value: impl Fn(usize, &str) -> Option<String>) -> RecordBatch {
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(field.name(), field.data_type(), rows, |row| value(row, field.name())));
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

fn edge_batch(edges: &[(EdgeKey, Measures)]) -> RecordBatch {
    batch(&flow::edges_schema(), edges.len(), |row, name| {
        let (key, measures) = &edges[row];
        Some(match name {
            "account_id" => key.0.to_owned(),
            "interface_id" => key.1.to_owned(),
            "srcaddr" => key.2.to_owned(),
            "dstaddr" => key.3.to_owned(),
            "srcport" => key.4.to_string(),
            "dstport" => key.5.to_string(),
            "protocol" => key.6.to_string(),
            "action" => key.7.to_owned(),
            "flows" => measures.counters[0].to_string(),
            "packets" => measures.counters[1].to_string(),
            "bytes" => measures.counters[2].to_string(),
            "first_seen" => measures.seen[0].to_string(),
            "last_seen" => measures.seen[1].to_string(),
            _ => return measures.tcp_flags.map(|flags| flags.to_string()),
        })
    })
}

async fn published(catalog: &Catalog, window: &str, digest: &Digest, row_group_rows: usize) -> Manifest {
    let edges: Vec<_> = digest.edges.iter().map(|(key, measures)| (*key, measures.clone())).collect();
    let interfaces: Vec<_> = digest.interfaces.iter().collect();
    let contents = Contents {
        edges: [edge_batch(&edges)],
        interfaces: batch(&flow::interfaces_schema(), interfaces.len(), |row, name| match name {
            "account_id" => Some(interfaces[row].0.0.to_owned()),
            "interface_id" => Some(interfaces[row].0.1.to_owned()),
            "region" => interfaces[row].1.region.map(str::to_owned),
            "skipdata" => Some(interfaces[row].1.skipdata.to_string()),
            _ => None,
        }),
        objects: batch(&flow::objects_schema(), digest.objects.len(), |row, name| match name {
            "object_key" => Some(format!("key-{row}")),
            "account_id" => Some(digest.objects[row].account.to_owned()),
            "region" => Some(digest.objects[row].region.to_owned()),
            "flow_log_id" => Some("fl-1".to_owned()),
            "set_aside" => digest.objects[row].set_aside.map(str::to_owned),
            "refused_number" => Some(digest.objects[row].refused.to_string()),
            _ => None,
        }),
        state: if digest.is_final { State::Final } else { State::Provisional },
        silent_flow_logs: digest.silent.into_iter().map(str::to_owned).collect(),
        row_group_rows,
    };
    publish(catalog, window, contents).await
}

fn text(batches: &[RecordBatch], skip: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .filter(|(field, _)| !skip.contains(&field.name().as_str()))
            .map(|(field, column)| match field.data_type() {
                DataType::Timestamp(..) => datafusion::arrow::compute::cast(column, &DataType::Int64).unwrap(),
                _ => column.clone(),
            })
            .collect();
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| match column.is_null(row) {
                true => String::new(),
                false => array_value_to_string(column, row).unwrap(),
            });
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    rows
}

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn session(threads: usize) -> Session {
    Session::new(&session::Options { threads, ..session::Options::default() }).unwrap()
}

/// A store with two digests.
struct Pair {
    catalog: Catalog,
    before: Manifest,
    after: Manifest,
}

impl Pair {
    async fn publish(before: &Digest, after: &Digest, row_group_rows: usize) -> Pair {
        let catalog = Catalog::new(Arc::new(InMemory::new()), object_store::path::Path::default(), "memory");
        let before = published(&catalog, "2026-11-20T12:00Z/PT1H", before, row_group_rows).await;
        let after = published(&catalog, "2026-11-20T13:00Z/PT1H", after, row_group_rows + 1).await;
        Pair { catalog, before, after }
    }

    async fn diff(&self, options: &Options, threads: usize) -> Vec<String> {
        let stream = diff(&session(threads), &self.catalog, &self.before, &self.after, options, now()).await.unwrap();
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        assert!(batches.iter().all(|batch| batch.schema() == schema && batch.num_rows() > 0));
        text(&batches, &[])
    }

    /// What `queries/` defines, run as it stands on the edges of both digests folded by `by`.
    async fn defined(&self, query: &str, by: &str, params: &Params) -> Vec<RecordBatch> {
        let session = session(2);
        let file = |manifest, kind| read_file(session.context(), &self.catalog, manifest, kind).unwrap();
        let both = session.without_tables(Vec::new()).unwrap();
        for (name, manifest, other) in [("before", &self.before, &self.after), ("after", &self.after, &self.before)] {
            let one = session.without_tables(Vec::new()).unwrap();
            one.register_table("edges", file(manifest, FileKind::Edges).into_view()).unwrap();
            // Every interface that the other digest saw at all: evidence is compared with the reference only.
            one.register_table("seen", file(other, FileKind::Interfaces).into_view()).unwrap();
            let folded = one.plan_query(&queries::load(by, None).unwrap(), &Params::new(), now()).await.unwrap();
            let schema = Arc::new(folded.schema().as_arrow().clone());
            let rows = MemTable::try_new(schema, vec![folded.collect().await.unwrap()]).unwrap();
            both.register_table(name, Arc::new(rows) as Arc<dyn TableProvider>).unwrap();
        }
        let frame = both.plan_query(&queries::load(query, None).unwrap(), params, now()).await.unwrap();
        frame.collect().await.unwrap()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn options() -> impl Strategy<Value = Options> {
    let floors = prop::sample::select(&[0u64, 1, 1_000_000][..]);
    (prop::sample::select(&[1.0, 2.0, 4.0][..]), floors).prop_map(|(ratio, min_bytes)| Options {
        ratio,
        min_bytes,
        ..Options::default()
    })
}

fn is_change(change: &str) -> impl Fn(&&String) -> bool {
    let prefix = format!("{change} ");
    move |row| row.starts_with(&prefix)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_grain_equals_the_reference_for_any_number_of_threads(
        before in digest(),
        after in digest(),
        options in options(),
        row_group_rows in 1usize..9,
    ) {
        block_on(async {
            let pair = Pair::publish(&before, &after, row_group_rows).await;
            for by in GRAINS {
                let options = Options { by, ..options.clone() };
                let expected = reference(&before, &after, &options);
                // Coarser grains are folded by SQL and merged on one task, whatever the threads.
                let threads: &[usize] = if by == Grain::Edge { &[1, 2, 4] } else { &[2] };
                for &threads in threads {
                    assert_eq!(pair.diff(&options, threads).await, expected, "{by:?}, {threads} threads");
                }
            }
        });
    }

    #[test]
    fn the_edges_of_a_digest_at_every_grain_equal_the_reference(digest in digest(), row_group_rows in 1usize..9) {
        block_on(async {
            let catalog = Catalog::new(Arc::new(InMemory::new()), object_store::path::Path::default(), "memory");
            let manifest = published(&catalog, "2026-11-20T12:00Z/PT1H", &digest, row_group_rows).await;
            for by in GRAINS {
                let rows = edges_by(&session(2), &catalog, &manifest, by, now()).await.unwrap();
                let expected = fold(&digest, by, &BTreeSet::new());
                let expected: Vec<_> = expected.iter().map(|(key, row)| folded_cells(key, &row.0).join(" ")).collect();
                assert_eq!(text(&rows.try_collect::<Vec<_>>().await.unwrap(), &[]), expected, "{by:?}");
            }
        });
    }

    #[test]
    fn the_merge_equals_the_full_join_and_the_anti_joins(
        before in digest(),
        after in digest(),
        options in options(),
        row_group_rows in 1usize..9,
    ) {
        block_on(async {
            let pair = Pair::publish(&before, &after, row_group_rows).await;
            let params = Params::from([
                ("ratio".to_owned(), options.ratio.to_string()),
                ("min_bytes".to_owned(), options.min_bytes.to_string()),
            ]);
            let joined = text(&pair.defined("diff", "by_edge", &params).await, &["evidence"]);
            let merged = pair.diff(&options, 3).await;
            let without_evidence = |row: &String| {
                let (change, rest) = row.split_once(' ').unwrap();
                format!("{change} {}", rest.split_once(' ').unwrap().1)
            };
            assert_eq!(merged.iter().map(without_evidence).collect::<Vec<_>>(), joined);
            for (query, change) in [("diff_added", "added"), ("diff_removed", "removed")] {
                let defined = text(&pair.defined(query, "by_edge", &Params::new()).await, &[]);
                // The key and the counters, without change, evidence, times, flags and the counters of before.
                let rows = merged.iter().filter(is_change(change)).map(|row| {
                    row.split(' ').skip(2).take(11).collect::<Vec<_>>().join(" ")
                });
                assert_eq!(rows.collect::<Vec<_>>(), defined, "{query}");
            }
        });
    }

    #[test]
    fn a_digest_does_not_differ_from_itself(digest in digest(), row_group_rows in 1usize..9) {
        block_on(async {
            let pair = Pair::publish(&digest, &digest, row_group_rows).await;
            for by in GRAINS {
                let options = Options { by, ratio: 1.0, min_bytes: 0 };
                assert!(pair.diff(&options, 4).await.is_empty(), "{by:?}");
            }
        });
    }
}

/// An edge of the second account; `n` makes it one of many.
fn edge(n: u16) -> (EdgeKey, Measures) {
    let key = (ACCOUNTS[1], INTERFACES[2], ADDRESSES[0], ADDRESSES[1], n, 443, 6, ACTIONS[0]);
    (key, Measures { counters: [1, 1, 60], seen: [0, 1], tcp_flags: None })
}

fn plain(edges: impl IntoIterator<Item = (EdgeKey, Measures)>) -> Digest {
    Digest {
        edges: edges.into_iter().collect(),
        interfaces: BTreeMap::new(),
        objects: Vec::new(),
        silent: None,
        is_final: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_of_many_rows_comes_in_bounded_batches_and_in_order() {
    let (before, after) = (plain((0..30_000).map(edge)), plain((20_000..60_000).map(edge)));
    let pair = Pair::publish(&before, &after, 1_000).await;
    let stream = diff(&session(4), &pair.catalog, &pair.before, &pair.after, &Options::default(), now()).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 2 * 8192));
    assert_eq!(text(&batches, &[]), reference(&before, &after, &Options::default()));
}

#[tokio::test]
async fn a_ratio_that_every_edge_would_reach_is_refused() {
    let pair = Pair::publish(&plain([]), &plain([]), 1).await;
    for ratio in [0.5, f64::NAN, f64::INFINITY] {
        let options = Options { ratio, ..Options::default() };
        let refused = diff(&session(1), &pair.catalog, &pair.before, &pair.after, &options, now()).await;
        assert_eq!(refused.err().unwrap().kind(), ErrorKind::Invalid, "{ratio}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_sorted_is_named() {
    let catalog = Catalog::new(Arc::new(InMemory::new()), object_store::path::Path::default(), "memory");
    let after = published(&catalog, "2026-11-20T13:00Z/PT1H", &plain([edge(1)]), 4).await;
    let empty = |schema: SchemaRef| RecordBatch::new_empty(schema);
    let contents = Contents {
        edges: [edge_batch(&[edge(7), edge(1)])],
        interfaces: empty(flow::interfaces_schema()),
        objects: empty(flow::objects_schema()),
        state: State::Final,
        silent_flow_logs: vec![],
        row_group_rows: 4,
    };
    let before = publish(&catalog, "2026-11-20T12:00Z/PT1H", contents).await;
    let stream = diff(&session(1), &catalog, &before, &after, &Options::default(), now()).await.unwrap();
    let error = flowdiff::Error::from(stream.try_collect::<Vec<_>>().await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Data);
    let path = catalog.file_path(&before, FileKind::Edges).unwrap();
    assert_eq!(error.to_string(), format!("{path} is not sorted by its key"));
}

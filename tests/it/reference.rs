//! Digests and diffs against a naive reference: plain maps over plain lines, no DataFusion, no packed keys.

use crate::corpora::{builder, edges_of, write_object};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use flowdiff::catalog::{Catalog, FileKind, Manifest, State, read_file};
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::diff::{Grain, Options};
use flowdiff::digest::Builder;
use flowdiff::flow::{AddressRule, PortRule};
use flowdiff::scan::Report;
use flowdiff::window::Window;
use futures::TryStreamExt;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

const START: i64 = 1_732_104_000; // 2024-11-20T12:00:00Z
const HOUR: Range<i64> = START..START + 3600;

/// One generated record of the custom format below.
#[derive(Clone, Debug)]
pub struct Line {
    interface: u8,
    src: u8,
    dst: u8,
    pkt_src: Option<u8>,
    srcport: u16,
    dstport: u16,
    protocol: u8,
    packets: Option<u32>,
    bytes: Option<i64>,
    start: i64,
    end: i64,
    action: Option<bool>,
    flags: Option<u8>,
    status: u8,
}

/// The header of the lines.
pub const HEADER: &str = "interface-id account-id srcaddr dstaddr pkt-srcaddr srcport dstport protocol packets bytes start end action tcp-flags log-status";

fn address(n: u8) -> String {
    if n.is_multiple_of(4) { format!("2001:db8::{:x}", n + 1) } else { format!("10.0.0.{n}") }
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

impl Line {
    /// The line of an object.
    pub fn text(&self) -> String {
        let status = ["OK", "OK", "OK", "NODATA", "SKIPDATA"][usize::from(self.status % 5)];
        format!(
            "eni-{} 123456789012 {} {} {} {} {} {} {} {} {} {} {} {} {status}",
            self.interface % 3,
            address(self.src),
            address(self.dst),
            or_dash(self.pkt_src.map(address)),
            self.srcport,
            self.dstport,
            self.protocol,
            or_dash(self.packets),
            or_dash(self.bytes),
            self.start,
            self.end,
            or_dash(self.action.map(|accepted| if accepted { "ACCEPT" } else { "REJECT" })),
            or_dash(self.flags),
        )
    }
}

/// Any line, about half of them in the window of this module.
pub fn line() -> impl Strategy<Value = Line> {
    let ports = || prop_oneof![Just(443u16), Just(5432), Just(0), 1000u16..1100, 32700u16..32800];
    let bytes = prop_oneof![8 => (0i64..5_000_000).prop_map(Some), 1 => Just(None), 1 => Just(Some(i64::MAX))];
    let place = (0u8..3, 0u8..12, 0u8..12, prop::option::of(0u8..12), ports(), ports());
    let what = (prop_oneof![Just(6u8), Just(17), Just(1)], prop::option::of(0u32..100), bytes);
    let when = (START - 700..START + 3_700, 0i64..600);
    let rest =
        (prop::option::of(any::<bool>()), prop::option::of(prop_oneof![Just(2u8), Just(18), Just(0), Just(1)]), 0u8..5);
    (place, what, when, rest).prop_map(|(place, what, (end, length), rest)| Line {
        interface: place.0,
        src: place.1,
        dst: place.2,
        pkt_src: place.3,
        srcport: place.4,
        dstport: place.5,
        protocol: what.0,
        packets: what.1,
        bytes: what.2,
        start: end - length,
        end,
        action: rest.0,
        flags: rest.1,
        status: rest.2,
    })
}

/// An edge as text: the key, then the measures.
pub type Edges = BTreeMap<Vec<String>, (i64, i64, i64)>;

/// The digest by the words of DESIGN's data model.
pub fn reference(lines: &[Line], window: Range<i64>, port_rule: PortRule, addresses: AddressRule) -> Edges {
    let mut edges = Edges::new();
    for line in lines.iter().filter(|line| line.status % 5 < 3 && window.contains(&line.end)) {
        let src = match addresses {
            AddressRule::Packet => line.pkt_src.unwrap_or(line.src),
            AddressRule::Interface => line.src,
        };
        let (srcport, dstport) =
            port_rule.keep(line.protocol, line.srcport, line.dstport, line.flags, line.action == Some(false));
        let action = line.action.map_or("-", |accepted| if accepted { "ACCEPT" } else { "REJECT" });
        let key = vec![
            "123456789012".to_owned(),
            format!("eni-{}", line.interface % 3),
            address(src),
            address(line.dst),
            format!("{srcport:05}"),
            format!("{dstport:05}"),
            format!("{:03}", line.protocol),
            action.to_owned(),
        ];
        let edge = edges.entry(key).or_default();
        edge.0 += 1;
        edge.1 = edge.1.saturating_add(line.packets.unwrap_or(0).into());
        edge.2 = edge.2.saturating_add(line.bytes.unwrap_or(0));
    }
    edges
}

/// The rows of an edge file in the form of the reference, in file order.
pub fn rows(batches: &[RecordBatch]) -> Vec<(Vec<String>, (i64, i64, i64))> {
    let mut rows = Vec::new();
    for batch in batches {
        let text = |name: &str| {
            datafusion::arrow::compute::cast(
                batch.column_by_name(name).unwrap(),
                &datafusion::arrow::datatypes::DataType::Utf8,
            )
            .unwrap()
        };
        let keys: Vec<_> = flowdiff::flow::EDGE_KEY.iter().map(|name| (name, text(name))).collect();
        let count = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (flows, packets, bytes) = (count("flows"), count("packets"), count("bytes"));
        for row in 0..batch.num_rows() {
            let key = keys.iter().map(|(name, column)| {
                let value = column.as_string::<i32>().value(row);
                match **name {
                    "srcport" | "dstport" => format!("{:0>5}", value),
                    "protocol" => format!("{:0>3}", value),
                    _ => value.to_owned(),
                }
            });
            rows.push((key.collect(), (flows.value(row), packets.value(row), bytes.value(row))));
        }
    }
    rows
}

fn window() -> Window {
    Window::parse("2024-11-20T12:00Z/PT1H", now()).unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn write_lines(folder: &Path, lines: &[Line], parts: usize) {
    for (part, chunk) in lines.chunks(lines.len().div_ceil(parts).max(1)).enumerate() {
        let text: String =
            std::iter::once(HEADER.to_owned()).chain(chunk.iter().map(Line::text)).map(|l| l + "\n").collect();
        write_object(folder, &format!("20241120T12{:02}Z", part * 5), text.as_bytes());
    }
}

async fn built(folder: &Path, store: &str, change: impl FnOnce(&mut Builder)) -> (Manifest, Vec<RecordBatch>, Catalog) {
    let mut builder = builder(&folder.join("logs"), &folder.join(store));
    builder.clock = Clock::fixed(now());
    change(&mut builder);
    let manifest = builder.build(&window(), false, &Report::of_objects()).await.unwrap().manifest;
    let edges = edges_of(&builder, &manifest).await;
    (manifest, edges, builder.catalog)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn folded_and_aggregated_digests_equal_the_reference_to_the_byte(
        lines in prop::collection::vec(line(), 1..120),
        parts in 1usize..4,
        lower in any::<bool>(),
        interface in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        write_lines(&folder.path().join("logs"), &lines, parts);
        let port_rule = if lower { PortRule::Lower } else { PortRule::Service };
        let addresses = if interface { AddressRule::Interface } else { AddressRule::Packet };
        let set = |fold: bool, threads: usize| move |builder: &mut Builder| {
            builder.options.port_rule = port_rule;
            builder.options.addresses = addresses;
            builder.options.fold = fold;
            builder.session = flowdiff::session::Session::new(&flowdiff::session::Options { threads, ..Default::default() }).unwrap();
        };
        let (folded, edges, _) = block_on(built(folder.path(), "folded", set(true, 3)));
        let (aggregated, _, _) = block_on(built(folder.path(), "aggregated", set(false, 1)));
        let expected: Vec<_> = reference(&lines, HOUR, port_rule, addresses).into_iter().collect();
        prop_assert_eq!(rows(&edges), expected.clone());
        prop_assert_eq!(folded.totals.edges as usize, expected.len());
        prop_assert_eq!(folded.totals.flows, expected.iter().map(|(_, edge)| edge.0).sum::<i64>());
        for kind in FileKind::ALL {
            prop_assert_eq!(&folded.file(kind).unwrap().checksum, &aggregated.file(kind).unwrap().checksum, "{:?}", kind);
        }
    }

    #[test]
    fn diffs_keep_their_laws_at_every_grain(
        first in prop::collection::vec(line(), 1..60),
        second in prop::collection::vec(line(), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        for (name, lines) in [("a", &first), ("b", &second)] {
            write_lines(&folder.path().join(name).join("logs"), lines, 1);
        }
        block_on(async {
            let (a, _, catalog_a) = built(&folder.path().join("a"), "store", |_| ()).await;
            let (b, _, catalog_b) = built(&folder.path().join("b"), "store", |_| ()).await;
            let session = flowdiff::session::Session::new(&Default::default()).unwrap();
            // One store holds both: the second hour stands in for another window of the first.
            let catalog = joined(&folder.path().join("joined"), &catalog_a, &a, &catalog_b, &b);
            for by in [Grain::Edge, Grain::Link, Grain::Host, Grain::Interface] {
                let options = Options { by, ..Options::default() };
                let keys = |x: &Manifest, y: &Manifest, change: &str| {
                    let (session, catalog, options, change) = (session.clone(), catalog.clone(), options.clone(), change.to_owned());
                    let (x, y) = (x.clone(), y.clone());
                    async move { changed_keys(&session, &catalog, &x, &y, &options, &change).await }
                };
                assert!(keys(&a, &a, "").await.is_empty(), "diff(a, a) at {by:?}");
                assert_eq!(keys(&a, &b, "added").await, keys(&b, &a, "removed").await, "{by:?}");
                assert_eq!(keys(&a, &b, "changed").await, keys(&b, &a, "changed").await, "{by:?}");
            }
            let options = Options::default();
            let removed = changed_keys(&session, &catalog, &a, &b, &options, "removed").await;
            let added = changed_keys(&session, &catalog, &a, &b, &options, "added").await;
            let rule = (PortRule::Service, AddressRule::Packet);
            let (before, after) = (reference(&first, HOUR, rule.0, rule.1), reference(&second, HOUR, rule.0, rule.1));
            assert_eq!(removed.len(), before.keys().filter(|key| !after.contains_key(*key)).count());
            assert_eq!(added.len(), after.keys().filter(|key| !before.contains_key(*key)).count());
        });
    }
}

/// A store that holds the files of both digests.
fn joined(folder: &Path, a: &Catalog, before: &Manifest, b: &Catalog, after: &Manifest) -> Catalog {
    for (catalog, manifest) in [(a, before), (b, after)] {
        for kind in FileKind::ALL {
            let path = catalog.file_path(manifest, kind).unwrap();
            let from = Path::new(&catalog.url).join(path.as_ref());
            let to = folder.join(path.as_ref());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        }
    }
    flowdiff::session::open_location(folder.to_str().unwrap(), false, &Default::default()).unwrap().into()
}

async fn changed_keys(
    session: &flowdiff::session::Session,
    catalog: &Catalog,
    before: &Manifest,
    after: &Manifest,
    options: &Options,
    change: &str,
) -> Vec<String> {
    let stream = flowdiff::diff::diff(session, catalog, before, after, options, now()).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let mut keys = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .zip(batch.columns())
            .filter(|(field, _)| *field.name() == "change" || flowdiff::flow::EDGE_KEY.contains(&field.name().as_str()))
            .map(|(_, column)| {
                datafusion::arrow::compute::cast(column, &datafusion::arrow::datatypes::DataType::Utf8).unwrap()
            })
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<&str> = columns.iter().map(|column| column.as_string::<i32>().value(row)).collect();
            if change.is_empty() || values[0] == change {
                keys.push(values[1..].join(" "));
            }
        }
    }
    keys
}

#[tokio::test]
async fn a_window_that_may_still_change_is_provisional_and_becomes_final() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("{HEADER}\neni-1 123456789012 10.0.0.1 10.0.0.2 - 40000 443 6 1 60 {START} {START} ACCEPT 2 OK\n");
    write_object(&folder.path().join("logs"), "20241120T1200Z", text.as_bytes());
    let mut builder = builder(&folder.path().join("logs"), &folder.path().join("store"));
    let build = async |builder: &Builder| builder.build(&window(), false, &Report::of_objects()).await.unwrap();

    builder.clock = Clock::fixed("2024-11-20T13:10:00Z".parse().unwrap());
    let first = build(&builder).await;
    assert_eq!((first.manifest.version, first.manifest.state), (1, State::Provisional));
    assert!(!build(&builder).await.is_new, "the same objects give nothing new");

    builder.clock = Clock::fixed("2024-11-20T13:30:00Z".parse().unwrap());
    let second = build(&builder).await;
    assert_eq!((second.manifest.version, second.manifest.state), (2, State::Final));
    assert_eq!(second.manifest.previous, Some(1));
    assert!(!build(&builder).await.is_new, "a final digest is not built again");
    let edges = builder.catalog.latest(&window()).await.unwrap().unwrap();
    assert_eq!(edges.file(FileKind::Edges).unwrap().rows, 1);
    let frame = read_file(builder.session.context(), &builder.catalog, &edges, FileKind::Objects).unwrap();
    assert_eq!(frame.count().await.unwrap(), 1);
}

#[tokio::test]
async fn another_port_rule_in_one_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_object(&folder.path().join("logs"), "20241120T1200Z", b"version srcaddr\n");
    let mut builder = builder(&folder.path().join("logs"), &folder.path().join("store"));
    builder.build(&window(), false, &Report::of_objects()).await.unwrap();
    builder.options.port_rule = PortRule::Lower;
    let error = builder.build(&window(), false, &Report::of_objects()).await.unwrap_err();
    assert_eq!(error.kind(), flowdiff::ErrorKind::Conflict);
}

#[tokio::test]
async fn the_fold_is_visible_in_the_plan_and_can_be_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    write_object(&folder.path().join("logs"), "20241120T1200Z", b"version srcaddr\n");
    let mut builder = builder(&folder.path().join("logs"), &folder.path().join("store"));
    assert!(builder.explain(&window()).await.unwrap().contains("FoldExec"));
    builder.options.fold = false;
    let plan = builder.explain(&window()).await.unwrap();
    assert!(plan.contains("AggregateExec") && !plan.contains("FoldExec"), "{plan}");
}

#[tokio::test]
async fn edges_that_do_not_fit_the_memory_are_aggregated_with_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let record = |n: u32| {
        format!(
            "eni-1 123456789012 10.{}.{}.{} 10.0.0.2 - 40000 443 6 1 60 {START} {START} ACCEPT 2 OK\n",
            n >> 16,
            n >> 8 & 255,
            n & 255
        )
    };
    let text: String = std::iter::once(format!("{HEADER}\n")).chain((0..120_000).map(record)).collect();
    write_object(&folder.path().join("logs"), "20241120T1200Z", text.as_bytes());
    let memory = |memory_bytes| {
        move |builder: &mut Builder| {
            builder.session = flowdiff::session::Session::new(&flowdiff::session::Options {
                memory_bytes,
                threads: 1,
                ..Default::default()
            })
            .unwrap();
        }
    };
    let (roomy, _, _) = built(folder.path(), "roomy", memory(1 << 30)).await;
    // Less than the fold's 120,000 edges of 88 bytes and more.
    let (tight, _, _) = built(folder.path(), "tight", memory(20 << 20)).await;
    assert_eq!(roomy.files, tight.files);
    assert_eq!(roomy.coverage, tight.coverage);
}

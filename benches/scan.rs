//! Scans: bytes of text a second, one thread. `decode` reads plain objects: lines to records, and to rows of few and of
//! all columns; `scan` reads gzip, so that `scan/count` less `decode/default` is decompression.

#![allow(missing_docs, clippy::unwrap_used)]

mod logs;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use flowdiff::scan::{FlowsTable, Report};
use flowdiff::session::{self, Params, Session};
use std::sync::Arc;

const OBJECTS: u64 = 4;
const RECORDS: u64 = 25_000;

/// Measures a query over objects of a format.
fn query(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, format: &str, gzip: bool, sql: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (source, bytes) = runtime.block_on(logs::source(format, OBJECTS, RECORDS, gzip));
    let session = Session::new(&session::Options { threads: 1, ..session::Options::default() }).unwrap();
    let lateness = chrono::TimeDelta::minutes(30);
    let table = FlowsTable::new(source, &Default::default(), &Default::default(), lateness, Report::new());
    session.register_table("flows", Arc::new(table)).unwrap();
    group.throughput(Throughput::Bytes(bytes)).bench_function(name, |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let now = "2026-11-21T00:00:00Z".parse().unwrap();
                session.plan(sql, &Params::new(), now).await.unwrap().collect().await.unwrap()
            })
        });
    });
}

const COUNT: &str = "SELECT count(*) FROM flows";

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.sample_size(20);
    query(&mut group, "default", logs::DEFAULT, false, COUNT);
    query(&mut group, "version 5", logs::VERSION_5, false, COUNT);
    query(&mut group, "version 5, one column", logs::VERSION_5, false, "SELECT max(bytes) FROM flows");
    query(&mut group, "version 5, all columns", logs::VERSION_5, false, "SELECT * FROM flows");
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    group.sample_size(20);
    query(&mut group, "count", logs::DEFAULT, true, COUNT);
    query(&mut group, "two columns", logs::DEFAULT, true, "SELECT sum(bytes), max(packets) FROM flows");
    let talkers = "SELECT srcaddr, sum(bytes) FROM flows GROUP BY srcaddr ORDER BY 2 DESC LIMIT 10";
    query(&mut group, "talkers", logs::DEFAULT, true, talkers);
}

criterion_group!(benches, decode, scan);
criterion_main!(benches);

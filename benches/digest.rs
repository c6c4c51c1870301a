//! Digests of 200,000 records, from gzip to published files in memory: records a second.

#![allow(missing_docs, clippy::unwrap_used)]

mod logs;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowdiff::Clock;
use flowdiff::catalog::Catalog;
use flowdiff::digest::Builder;
use flowdiff::scan::Report;
use flowdiff::session::{self, Session};
use flowdiff::window::Window;
use object_store::memory::InMemory;
use std::sync::Arc;

const OBJECTS: u64 = 8;
const RECORDS: u64 = 25_000;

fn digests(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    let window = Window::parse("2026-11-20T12:00Z/PT1H", now).unwrap();
    let mut group = criterion.benchmark_group("digest");
    group.sample_size(10).throughput(Throughput::Elements(OBJECTS * RECORDS));
    for (name, format, threads) in
        [("1 thread", logs::DEFAULT, 1), ("4 threads", logs::DEFAULT, 4), ("version 5", logs::VERSION_5, 1)]
    {
        let (source, _) = runtime.block_on(logs::source(format, OBJECTS, RECORDS, true));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let store = Arc::new(InMemory::new());
                let builder = Builder {
                    source: source.clone(),
                    catalog: Catalog::new(store, object_store::path::Path::default(), "memory"),
                    session: Session::new(&session::Options { threads, ..session::Options::default() }).unwrap(),
                    scan: Default::default(),
                    listing: Default::default(),
                    options: Default::default(),
                    clock: Clock::fixed(now),
                };
                runtime.block_on(builder.build(&window, false, &Report::of_objects())).unwrap()
            });
        });
    }
}

criterion_group!(benches, digests);
criterion_main!(benches);

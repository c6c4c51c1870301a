//! Diffs of two digests of 200,000 edges, by grain: records a second of both together. `examples/diff_scale` measures the
//! same at the scale of the budget.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../examples/diff_scale/edges.rs"]
mod edges;

use clap::ValueEnum;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowdiff::catalog::Catalog;
use flowdiff::diff::{Grain, Options, diff};
use flowdiff::session::{self, Session};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use std::sync::Arc;

const EDGES: u64 = 200_000;

fn diffs(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let catalog = Catalog::new(Arc::new(InMemory::new()), object_store::path::Path::default(), "memory");
    let pair = runtime.block_on(edges::publish_hours(&catalog, EDGES, 2));
    let session = Session::new(&session::Options { threads: 1, ..session::Options::default() }).unwrap();
    let mut group = criterion.benchmark_group("diff");
    group.sample_size(10).throughput(Throughput::Elements(2 * EDGES));
    for by in Grain::value_variants() {
        let options = Options { by: *by, ..Options::default() };
        group.bench_function(by.to_possible_value().unwrap().get_name(), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let now = pair[1].published;
                    let rows = diff(&session, &catalog, &pair[0], &pair[1], &options, now).await.unwrap();
                    rows.try_fold(0, async |count, batch| Ok(count + batch.num_rows())).await.unwrap()
                })
            });
        });
    }
}

criterion_group!(benches, diffs);
criterion_main!(benches);

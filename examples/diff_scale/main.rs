//! Measures at scale. `write DIR EDGES [DIGESTS]` publishes hours of so many edges, two of them unless told: these differ
//! by 1 % each way, and each later one has 1 % of new edges. `run DIR [THREADS] [GRAIN]` compares the first two and counts
//! the rows by change; queries over all are run by `flowdiff` itself. `benches/README.md` has figures.

#![allow(clippy::unwrap_used)]

mod edges;

use clap::ValueEnum;
use datafusion::arrow::array::AsArray;
use flowdiff::Timestamp;
use flowdiff::catalog::{Catalog, Manifest};
use flowdiff::diff::{Grain, Options, diff};
use flowdiff::session::{self, Session};
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use std::collections::BTreeMap;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["write", folder, edges] => write(folder, edges.parse().unwrap(), 2),
        ["write", folder, edges, digests] => write(folder, edges.parse().unwrap(), digests.parse().unwrap()),
        ["run", folder, ref rest @ ..] => {
            let threads = rest.first().map_or(0, |threads| threads.parse().unwrap());
            let by = rest.get(1).map_or(Grain::Edge, |by| Grain::from_str(by, true).unwrap());
            run(folder, threads, by);
        }
        _ => panic!("usage: diff_scale write DIR EDGES [DIGESTS] | run DIR [THREADS] [GRAIN]"),
    }
}

fn catalog(folder: &str) -> Catalog {
    let store = LocalFileSystem::new_with_prefix(folder).unwrap();
    Catalog::new(Arc::new(store), object_store::path::Path::default(), folder)
}

#[tokio::main]
async fn write(folder: &str, edges: u64, digests: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for manifest in edges::publish_hours(&catalog(folder), edges, digests).await {
        println!("{}: {} edges", manifest.window().unwrap(), manifest.totals.edges);
    }
}

fn run(folder: &str, threads: usize, by: Grain) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build().unwrap().block_on(async {
        let catalog = catalog(folder);
        let session = Session::new(&session::Options { threads, ..session::Options::default() }).unwrap();
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let latest =
            async |number: usize| -> Manifest { catalog.latest(&edges::window(number)).await.unwrap().unwrap() };
        let (before, after) = (latest(0).await, latest(1).await);
        let options = Options { by, ..Options::default() };
        let mut rows = diff(&session, &catalog, &before, &after, &options, now).await.unwrap();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        while let Some(batch) = rows.try_next().await.unwrap() {
            for change in batch.column(0).as_string_view().iter().flatten() {
                match counts.get_mut(change) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(change.to_owned(), 1)),
                }
            }
        }
        println!("{counts:?}");
    });
}

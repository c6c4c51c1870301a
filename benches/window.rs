//! Tiling three years: 26,280 hours, their days among them, in order and shuffled. The budget is one millisecond.

#![allow(missing_docs, clippy::unwrap_used)]

use chrono::TimeDelta;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowdiff::window::{Prefer, Window, split, tile};
use std::hint::black_box;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn tilings(criterion: &mut Criterion) {
    let years = Window::parse("2023-11-20/2026-11-19", "2026-11-20T00:00:00Z".parse().unwrap()).unwrap();
    let hours: Vec<Window> = split(&years, TimeDelta::hours(1)).unwrap().collect();
    let mixed: Vec<Window> = hours.iter().copied().chain(split(&years, TimeDelta::days(1)).unwrap()).collect();
    // Steps of a prime that does not divide their number meet each once.
    let shuffled: Vec<Window> = (0..mixed.len()).map(|index| mixed[index * 7919 % mixed.len()]).collect();
    let mut group = criterion.benchmark_group("window");
    for (name, windows) in [("hours", &hours), ("hours and days", &mixed), ("shuffled", &shuffled)] {
        group.throughput(Throughput::Elements(windows.len() as u64));
        group.bench_function(format!("tile 3 years of {name}"), |bencher| {
            bencher.iter(|| tile(black_box(&years), black_box(windows), Prefer::Fewest));
        });
    }
    group.throughput(Throughput::Elements(hours.len() as u64));
    group.bench_function("split 3 years into hours", |bencher| {
        bencher.iter(|| split(black_box(&years), TimeDelta::hours(1)).unwrap().map(black_box).count());
    });
    group.finish();
}

criterion_group!(benches, tilings);
criterion_main!(benches);

//! The write half as a seeded simulation: writers digest windows into one store while objects arrive, requests fail,
//! replies are lost, listings lag behind, writers are killed at any request, and two writers race for one window. After
//! every attempt the store must be sound; in the end every window must hold every object, once.
//!
//! `cargo test` runs a fixed number of seeds. `FLOWDIFF_SIMULATION_SEED=N` replays one, `FLOWDIFF_SIMULATION_MINUTES=N`
//! runs on from a seed that it prints.

mod follow;
mod store;

use crate::random::Random;
use crate::reference::{Line, line, reference, rows};
use datafusion::arrow::array::{Array, AsArray};
use flowdiff::ErrorKind;
use flowdiff::catalog::{Catalog, FileKind, Manifest, State, read_file};
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::digest::Builder;
use flowdiff::flow::{AddressRule, PortRule};
use flowdiff::scan::Report;
use flowdiff::session::{Options, Session};
use flowdiff::source::Source;
use flowdiff::window::{Window, file_times};
use futures::future::{Either, select};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Faults, Faulty, Stop};

const SEEDS: u64 = 12;
const STEPS: u64 = 8;
const WINDOWS: [&str; 3] = ["2024-11-20T12:00Z/PT1H", "2024-11-20T12:00Z/PT30M", "2024-11-20T12:20Z/PT1H"];

impl Random {
    fn one_in(&mut self, rarity: u64) -> bool {
        rarity > 0 && self.below(rarity) == 0
    }
}

struct Simulation {
    random: Random,
    lines: TestRunner,
    session: Session,
    logs: Arc<InMemory>,
    digests: Arc<InMemory>,
    /// The file time and the records of every object that has arrived, by key.
    arrived: BTreeMap<String, (Timestamp, Vec<Line>)>,
    /// What writers were told that they published, by window and version.
    published: BTreeMap<(Timestamp, Timestamp, u64), String>,
    now: Timestamp,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Simulation {
            random: Random(seed),
            lines: TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)),
            session: Session::new(&Options { threads: 1, ..Options::default() }).unwrap(),
            logs: Arc::default(),
            digests: Arc::default(),
            arrived: BTreeMap::new(),
            published: BTreeMap::new(),
            now: start() + chrono::TimeDelta::minutes(10),
        }
    }

    async fn run(mut self) {
        for _ in 0..STEPS {
            for _ in 0..self.random.below(4) {
                self.deliver().await;
            }
            self.now += chrono::TimeDelta::minutes(self.random.below(25) as i64);
            self.attempt().await;
            self.check_store().await;
        }
        self.now += chrono::TimeDelta::days(1);
        for text in WINDOWS {
            let times = file_times(&window(text), lateness());
            let in_reach =
                self.arrived.iter().filter(|(_, (time, _))| times.contains(time)).map(|(key, _)| key.clone());
            let in_reach: BTreeSet<String> = in_reach.collect();
            let built = self.writer(0, None, Arc::default()).build(&window(text), true, &Report::of_objects()).await;
            if in_reach.is_empty() {
                assert_eq!(built.unwrap_err().kind(), ErrorKind::NotFound);
                continue;
            }
            let manifest = built.unwrap().manifest;
            assert_eq!(manifest.state, State::Final);
            let (_, taken) = self.contents(&manifest).await;
            assert_eq!(
                taken.into_iter().collect::<BTreeSet<_>>(),
                in_reach,
                "window {text} does not hold what arrived"
            );
        }
        self.check_store().await;
    }

    /// Puts an object into the source; now and then it comes late.
    async fn deliver(&mut self) {
        let lines = proptest::collection::vec(line(), 1..12).new_tree(&mut self.lines).unwrap().current();
        let minute = self.random.below(14) * 5;
        let time = start() + chrono::TimeDelta::minutes(minute as i64);
        let stamp = time.format("%Y%m%dT%H%MZ");
        let hash = self.random.next() as u32;
        let key = format!(
            "AWSLogs/123456789012/vpcflowlogs/us-east-1/2024/11/20/\
             123456789012_vpcflowlogs_us-east-1_fl-0123456789abcdef0_{stamp}_{hash:08x}.log"
        );
        let text: String = std::iter::once(crate::reference::HEADER.to_owned())
            .chain(lines.iter().map(Line::text))
            .map(|line| line + "\n")
            .collect();
        self.logs.put(&Path::from(key.as_str()), text.into_bytes().into()).await.unwrap();
        self.arrived.insert(key, (time, lines));
    }

    /// One writer, or two that race, digest a window; a writer may be killed.
    async fn attempt(&mut self) {
        let rarity = [0, 40, 12][self.random.below(3) as usize];
        let window = window(WINDOWS[self.random.below(WINDOWS.len() as u64) as usize]);
        let (stops_at, stop) = (Some(self.random.below(25)), Arc::new(Stop::default()));
        let first = self.writer(rarity, stops_at, stop.clone());
        let second = self.writer(rarity, None, Arc::default());
        let reports = [Report::of_objects(), Report::of_objects()];
        let mut building = pin!(first.build(&window, self.random.one_in(3), &reports[0]));
        let reached = pin!(stop.reached.notified());
        // Errors are what faults look like to a writer; what matters is what they leave behind.
        let mut built = Vec::new();
        match select(building.as_mut(), reached).await {
            Either::Left((first, _)) => built.push(first),
            Either::Right(_) if self.random.one_in(3) => {}
            Either::Right(_) => {
                built.push(second.build(&window, self.random.one_in(3), &reports[1]).await);
                stop.resumed.notify_one();
                built.push(building.await);
            }
        }
        for manifest in built.into_iter().flatten().map(|built| built.manifest) {
            self.remember(&manifest);
        }
    }

    /// A version that anybody has seen published never changes.
    fn remember(&mut self, manifest: &Manifest) {
        let key = (manifest.start, manifest.stop, manifest.version);
        // The cost is left out: its fractions lose a bit on their way through JSON.
        let text = format!("{:?} {:?} {:?}", manifest.state, manifest.files, manifest.coverage);
        let known = self.published.entry(key).or_insert_with(|| text.clone());
        assert_eq!(*known, text, "a published version changed");
    }

    fn writer(&mut self, rarity: u64, stops_at: Option<u64>, stop: Arc<Stop>) -> Builder {
        let (faults, requests) = (Faults { seed: self.random.next(), rarity }, Arc::default());
        let view = |inner: &Arc<InMemory>| {
            Arc::new(Faulty {
                inner: inner.clone(),
                faults,
                stops_at,
                stop: stop.clone(),
                requests: Arc::clone(&requests),
            })
        };
        Builder {
            source: Source { store: view(&self.logs), root: Path::default(), url: "simulation://logs".to_owned() },
            catalog: Catalog::new(view(&self.digests), Path::default(), "simulation://digests"),
            session: self.session.clone(),
            scan: flowdiff::scan::Options { prefetch_objects_max: 1, ..Default::default() },
            listing: flowdiff::source::Options { listing_concurrency: 1, ..Default::default() },
            options: flowdiff::digest::Options { lateness: lateness(), ..Default::default() },
            clock: Clock::fixed(self.now),
        }
    }

    /// What must hold after every attempt, whatever went wrong.
    async fn check_store(&mut self) {
        let catalog = self.catalog();
        for text in WINDOWS {
            let versions = catalog.versions(&window(text)).await.unwrap();
            let numbers: BTreeSet<u64> = versions.iter().map(|manifest| manifest.version).collect();
            assert_eq!(numbers, (1..=versions.len() as u64).collect(), "versions of {text} have gaps");
            for manifest in &versions {
                self.remember(manifest);
                catalog.verify(manifest).await.unwrap();
                let (edges, objects) = self.contents(manifest).await;
                let once: BTreeSet<&String> = objects.iter().collect();
                assert_eq!(once.len(), objects.len(), "an object counts twice in {text}");
                let lines: Vec<Line> = objects.iter().flat_map(|key| self.arrived[key].1.clone()).collect();
                assert_eq!(edges, self.expected(&lines, text), "version {} of {text}", manifest.version);
                assert_eq!(manifest.totals.flows, edges.iter().map(|(_, sums)| sums.0).sum::<i64>());
            }
        }
    }

    fn catalog(&self) -> Catalog {
        Catalog::new(self.digests.clone(), Path::default(), "simulation://digests")
    }

    /// The edges of a version, and the keys of the objects that it was made from.
    async fn contents(&self, manifest: &Manifest) -> (Rows, Vec<String>) {
        let read = async |kind| {
            let session = self.session.without_tables(Vec::new()).unwrap();
            read_file(session.context(), &self.catalog(), manifest, kind).unwrap().collect().await.unwrap()
        };
        let objects = read(FileKind::Objects).await;
        let keys = objects.iter().flat_map(|batch| {
            let column = batch.column_by_name("object_key").unwrap().as_string_view().clone();
            (0..column.len()).map(move |row| column.value(row).to_owned()).collect::<Vec<_>>()
        });
        (rows(&read(FileKind::Edges).await), keys.collect())
    }

    fn expected(&self, lines: &[Line], text: &str) -> Rows {
        let window = window(text);
        let range = window.start().timestamp()..window.stop().timestamp();
        reference(lines, range, PortRule::Service, AddressRule::Packet).into_iter().collect()
    }
}

type Rows = Vec<(Vec<String>, (i64, i64, i64))>;

/// 2024-11-20T12:00Z, when the first window begins.
fn start() -> Timestamp {
    window(WINDOWS[0]).start()
}

fn lateness() -> chrono::TimeDelta {
    chrono::TimeDelta::minutes(20)
}

fn window(text: &str) -> Window {
    Window::parse(text, Timestamp::default()).unwrap()
}

fn simulate(seed: u64) {
    eprintln!("FLOWDIFF_SIMULATION_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Simulation::new(seed).run());
}

/// Runs the seeds that the environment asks for, else so many.
fn seeds(count: u64, simulate: fn(u64)) {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = setting("FLOWDIFF_SIMULATION_SEED") {
        return simulate(seed);
    }
    (0..count).for_each(simulate);
    if let Some(minutes) = setting("FLOWDIFF_SIMULATION_MINUTES") {
        let started = Instant::now();
        let first = u64::from(std::process::id()) << 32;
        (first..).take_while(|_| started.elapsed() < Duration::from_secs(60 * minutes)).for_each(simulate);
    }
}

#[test]
fn the_store_stays_sound_whatever_goes_wrong() {
    seeds(SEEDS, simulate);
}

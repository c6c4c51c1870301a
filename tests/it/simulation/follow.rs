//! Following as a seeded simulation: objects arrive in any order, late, twice, with other contents; notifications are
//! lost, repeated and early; requests fail; followers are dropped at any request or at any await, two of them work at once
//! without a lease, and sweep meanwhile. No final version and no newest one may ever vanish. In the end every window must have the bytes that a backfill gives it, and of every window the
//! newest version must be what was delivered last.

use super::store::{Faults, Faulty, Stop};
use super::{Random, lateness, start};
use crate::reference::{HEADER, line};
use async_trait::async_trait;
use chrono::TimeDelta;
use flowdiff::catalog::{Catalog, State};
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::digest::Builder;
use flowdiff::pipeline::follow::{Arrival, Event, Follower, Options, Receipt, Sink};
use flowdiff::pipeline::{self, backfill, plan};
use flowdiff::scan::Report;
use flowdiff::session::Session;
use flowdiff::source::{Object, ObjectName, Source};
use flowdiff::window::Window;
use flowdiff::{Error, ErrorKind, Result};
use futures::future::{Either, select};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

const SEEDS: u64 = 6;
const STEPS: u64 = 10;

/// What a receiver knows of a window: the versions in the order in which they came, with the checksums of the files.
type Delivered = BTreeMap<Window, Vec<(u64, Vec<String>)>>;

/// A receiver that now and then does not answer, or answers and is not heard.
#[derive(Debug, Default)]
struct Receiver {
    delivered: Mutex<Delivered>,
    seed: AtomicU64,
    rarity: u64,
}

#[async_trait]
impl Sink for Receiver {
    async fn deliver(&self, event: &Event) -> Result<()> {
        tokio::task::yield_now().await;
        let mut random = Random(self.seed.fetch_add(1, Ordering::SeqCst));
        let fault = Error::new(ErrorKind::Unavailable, "no answer");
        if random.one_in(self.rarity) {
            return Err(fault);
        }
        let (Event::Closed { manifest } | Event::Amended { manifest, .. }) = event else { return Ok(()) };
        assert_eq!(manifest.state, State::Final);
        let checksums = manifest.files.iter().map(|file| file.checksum.clone()).collect();
        let window = manifest.window().unwrap();
        let mut delivered = self.delivered.lock().unwrap();
        let versions = delivered.entry(window).or_default();
        if let Event::Amended { previous, .. } = event {
            assert!(versions.iter().any(|(version, _)| version == previous), "{window} amends what was not delivered");
        }
        versions.push((manifest.version, checksums));
        if random.one_in(self.rarity) { Err(fault) } else { Ok(()) }
    }
}

/// A notification whose acknowledgement is remembered.
#[derive(Debug)]
struct Handle(Arc<AtomicBool>);

impl Receipt for Handle {
    fn acknowledge(self: Box<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Simulation {
    random: Random,
    lines: TestRunner,
    session: Session,
    logs: Arc<InMemory>,
    digests: Arc<InMemory>,
    receiver: Arc<Receiver>,
    keys: Vec<String>,
    /// Notifications in the queue, and whether they are acknowledged.
    queue: Vec<(Object, Arc<AtomicBool>)>,
    /// Versions that nobody may remove: the newest of each window, and the final ones.
    kept: BTreeMap<Window, (u64, BTreeSet<u64>)>,
    now: Timestamp,
}

/// A follower, and the request before which it stops.
struct Process {
    follower: Follower,
    stop: Arc<Stop>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let options = flowdiff::session::Options { threads: 1, ..Default::default() };
        Simulation {
            random: Random(seed),
            lines: TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)),
            session: Session::new(&options).unwrap(),
            logs: Arc::default(),
            digests: Arc::default(),
            receiver: Arc::new(Receiver { seed: AtomicU64::new(seed), rarity: 6, ..Receiver::default() }),
            keys: Vec::new(),
            queue: Vec::new(),
            kept: BTreeMap::new(),
            now: start() + TimeDelta::minutes(10),
        }
    }

    async fn run(mut self) {
        let mut processes = [self.begin(), self.begin()];
        for _ in 0..STEPS {
            for _ in 0..self.random.below(5) {
                self.arrive().await;
            }
            self.now += TimeDelta::minutes(self.random.below(25) as i64);
            let [first, second] = &mut processes;
            let (first, second) = if self.random.one_in(2) { (first, second) } else { (second, first) };
            if !self.step(first, second).await {
                *first = self.begin();
            }
            self.check_versions().await;
        }
        self.now += TimeDelta::hours(2);
        let mut last = self.follower(self.view(0, None, Arc::default()));
        let told = self.receive();
        last.round(told, &AtomicBool::new(false)).await.unwrap();
        while last.settle().await > 0 {}
        self.check_versions().await;
        last.set_clock(Clock::fixed(self.now + TimeDelta::hours(1)));
        last.sweep().await.unwrap();
        let left = self.check_versions().await;
        assert!(left.iter().all(|state| *state == State::Final), "what was superseded is left");
        self.check().await;
        assert!(self.queue.iter().all(|(_, is_done)| is_done.load(Ordering::SeqCst)), "a notification is left");
    }

    /// Puts an object into the source, mostly one of now; tells of it, twice, later or not at all.
    async fn arrive(&mut self) {
        let lines = proptest::collection::vec(line(), 1..8).new_tree(&mut self.lines).unwrap().current();
        let slots = ((self.now - start()).num_minutes() / 5 + 1) as u64;
        let age = if self.random.one_in(4) { self.random.below(slots) } else { self.random.below(slots.min(4)) };
        let time = start() + TimeDelta::minutes(5 * (slots - 1 - age) as i64);
        let (flow_log, hash) = (self.random.below(2), self.random.next() as u32);
        let key = match self.random.one_in(8) && !self.keys.is_empty() {
            true => self.keys[self.random.below(self.keys.len() as u64) as usize].clone(),
            false => format!(
                "AWSLogs/123456789012/vpcflowlogs/us-east-1/2024/11/20/123456789012_vpcflowlogs_us-east-1_\
                 fl-0123456789abcdef{flow_log}_{}_{hash:08x}.log",
                time.format("%Y%m%dT%H%MZ")
            ),
        };
        let text: String = std::iter::once(HEADER.to_owned())
            .chain(lines.iter().map(|line| line.text()))
            .map(|line| line + "\n")
            .collect();
        let (location, size) = (Path::from(key.as_str()), text.len() as u64);
        let put = self.logs.put(&location, text.into_bytes().into()).await.unwrap();
        let name = ObjectName::parse(&key).unwrap();
        for _ in 0..[0, 1, 1, 2][self.random.below(4) as usize] {
            let object = Object { location: location.clone(), size, etag: put.e_tag.clone(), name: name.clone() };
            self.queue.push((object, Arc::default()));
        }
        self.keys.push(key);
    }

    /// Notifications that are not acknowledged, in any order; some are held back.
    fn receive(&mut self) -> Vec<Arrival> {
        self.queue.retain(|(_, is_done)| !is_done.load(Ordering::SeqCst));
        let mut arrivals: Vec<Arrival> = Vec::new();
        for (object, is_done) in &self.queue {
            let arrival =
                Arrival { objects: vec![Arc::new(object.clone())], receipt: Box::new(Handle(is_done.clone())) };
            let place = self.random.below(arrivals.len() as u64 + 1) as usize;
            arrivals.insert(place, arrival);
        }
        arrivals
    }

    /// A round of one follower; it may be dropped on the way, or another one may have a round meanwhile. Returns whether
    /// it lives.
    async fn step(&mut self, first: &mut Process, second: &mut Process) -> bool {
        let goes_on = AtomicBool::new(false);
        first.follower.set_clock(Clock::fixed(self.now));
        second.follower.set_clock(Clock::fixed(self.now));
        let told = if self.random.one_in(2) { self.receive() } else { Vec::new() };
        let polls = if self.random.one_in(3) { self.random.below(400) } else { u64::MAX };
        let is_raced = self.random.one_in(2);
        let sweeps = [self.random.one_in(3), self.random.one_in(3)];
        let stop = first.stop.clone();
        let work = async {
            // Errors are what faults look like to a follower; what matters is what they leave behind.
            let _ = first.follower.round(told, &goes_on).await;
            if sweeps[0] {
                let _ = first.follower.sweep().await;
            }
            first.follower.settle().await;
        };
        let mut work = pin!(polled(polls, work));
        let reached = pin!(stop.reached.notified());
        match select(work.as_mut(), reached).await {
            Either::Left((ended, _)) => ended.is_some(),
            Either::Right(_) if is_raced => {
                // It does not stop itself.
                second.stop.resumed.notify_one();
                let _ = second.follower.round(Vec::new(), &goes_on).await;
                if sweeps[1] {
                    let _ = second.follower.sweep().await;
                }
                second.follower.settle().await;
                stop.resumed.notify_one();
                work.await.is_some()
            }
            Either::Right(_) => false,
        }
    }

    fn begin(&mut self) -> Process {
        let rarity = [0, 60, 20][self.random.below(3) as usize];
        let (stops_at, stop) = (self.random.below(150), Arc::new(Stop::default()));
        let follower = self.follower(self.view(rarity, Some(stops_at), stop.clone()));
        Process { follower, stop }
    }

    fn view(
        &self,
        rarity: u64,
        stops_at: Option<u64>,
        stop: Arc<Stop>,
    ) -> impl Fn(&Arc<InMemory>) -> Arc<dyn ObjectStore> {
        let (faults, requests) = (Faults { seed: Random(self.random.0).next(), rarity }, Arc::<AtomicU64>::default());
        move |inner| {
            let (inner, stop, requests) = (inner.clone(), stop.clone(), requests.clone());
            Arc::new(Faulty { inner, faults, stops_at, stop, requests })
        }
    }

    fn follower(&self, view: impl Fn(&Arc<InMemory>) -> Arc<dyn ObjectStore>) -> Follower {
        let (width, horizon, keep_superseded) = (TimeDelta::minutes(30), TimeDelta::hours(12), TimeDelta::minutes(1));
        let options = Options { width, horizon, keep_superseded, ..Options::default() };
        let builder = self.builder(view(&self.logs), view(&self.digests));
        Follower::new(builder, options, Arc::new(|_| {})).unwrap().with_sink(self.receiver.clone())
    }

    fn builder(&self, logs: Arc<dyn ObjectStore>, digests: Arc<dyn ObjectStore>) -> Builder {
        Builder {
            source: Source { store: logs, root: Path::default(), url: "simulation://logs".to_owned() },
            catalog: Catalog::new(digests, Path::default(), "simulation://digests"),
            session: self.session.clone(),
            scan: flowdiff::scan::Options { prefetch_objects_max: 1, ..Default::default() },
            listing: flowdiff::source::Options { listing_concurrency: 1, ..Default::default() },
            options: flowdiff::digest::Options { lateness: lateness(), ..Default::default() },
            clock: Clock::fixed(self.now),
        }
    }

    /// Every version is whole, none that must stay has vanished. Returns the states of all.
    async fn check_versions(&mut self) -> Vec<State> {
        let catalog = self.builder(self.logs.clone(), self.digests.clone()).catalog;
        let mut states = Vec::new();
        for window in catalog.all_versions(None).await.unwrap().into_keys() {
            let versions = catalog.versions(&window).await.unwrap();
            let (newest, finals) = self.kept.entry(window).or_default();
            for manifest in &versions {
                catalog.verify(manifest).await.unwrap();
                states.push(manifest.state);
                *newest = manifest.version.max(*newest);
            }
            let numbers =
                |state| versions.iter().filter(move |m| Some(m.state) == state || state.is_none()).map(|m| m.version);
            assert!(*newest == 0 || numbers(None).any(|version| version == *newest), "the newest of {window} is gone");
            let there: BTreeSet<u64> = numbers(Some(State::Final)).collect();
            assert!(finals.is_subset(&there), "a final version of {window} is gone");
            *finals = there;
        }
        states
    }

    async fn check(&self) {
        let followed = self.builder(self.logs.clone(), self.digests.clone());
        let filled = self.builder(self.logs.clone(), Arc::new(InMemory::new()));
        let range = Window::new(start() - TimeDelta::hours(2), start() + TimeDelta::hours(8)).unwrap();
        let options = pipeline::Options { width: TimeDelta::minutes(30), force: false, only_late: false };
        let todo = plan(&filled, &range, &options).await.unwrap();
        backfill(&filled, todo, &AtomicBool::new(false), &Report::new(), |_| {}).await.unwrap();
        let (followed, filled) = (published(&followed).await, published(&filled).await);
        assert_eq!(followed.keys().collect::<Vec<_>>(), filled.keys().collect::<Vec<_>>());
        let delivered = self.receiver.delivered.lock().unwrap();
        for (window, (version, state, checksums)) in &followed {
            assert_eq!(*state, State::Final, "{window} is not closed");
            assert_eq!(*checksums, filled[window].2, "{window} is not what a backfill makes of it");
            let last = delivered.get(window).and_then(|versions| versions.last());
            assert_eq!(last, Some(&(*version, checksums.clone())), "the newest version of {window} was delivered last");
        }
    }
}

async fn published(builder: &Builder) -> BTreeMap<Window, (u64, State, Vec<String>)> {
    let manifests = builder.catalog.list(None).await.unwrap();
    let known = manifests.iter().map(|manifest| {
        let checksums = manifest.files.iter().map(|file| file.checksum.clone()).collect();
        (manifest.window().unwrap(), (manifest.version, manifest.state, checksums))
    });
    known.collect()
}

/// Drives a future for so many polls, then drops it.
async fn polled<T>(mut polls: u64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

fn simulate(seed: u64) {
    eprintln!("FLOWDIFF_SIMULATION_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Simulation::new(seed).run());
}

#[test]
fn what_is_followed_has_the_bytes_of_a_backfill_whatever_goes_wrong() {
    super::seeds(SEEDS, simulate);
}

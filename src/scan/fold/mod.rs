//! Folds flows into edges while they are decoded: what `queries/edges.sql` and `queries/interfaces.sql` define, in one
//! pass, without a row in between. In: records. Out: the edges and the interfaces of one window, or of several.
//!
//! Edges are kept by interface, because objects hold runs of one interface's records and because the edge files are
//! sorted by it: a run is folded under one lock into a table that fits the cache, and sorting is local. Where the edges
//! of the open windows outgrow the memory, the largest fold writes its edges to disk as a sorted run and begins anew.

mod batches;
mod folder;
mod merge;
mod pass;
mod plan;
mod room;

pub use pass::{Job, Pass, WindowFold};
pub use plan::FoldFlows;

use crate::flow::{AddressRule, Edge, EdgeKey, PortRule, edges_schema};
use batches::{batches, parts};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::sorts::streaming_merge::SortedSpillFile;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use foldhash::fast::RandomState;
use futures::{StreamExt, TryStreamExt};
use hashbrown::{HashMap, HashTable};
use room::{Held, Room};
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By which rules flows become edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldRules {
    /// Event times of the window, Unix seconds, half-open.
    pub window: Range<i64>,
    /// Which port is ephemeral.
    pub port_rule: PortRule,
    /// Whose addresses count.
    pub addresses: AddressRule,
}

/// What the records of a window say of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Account, `-` if no record names one.
    pub account: String,
    /// Interface, `-` likewise.
    pub interface: String,
    /// `region`, `vpc_id`, `subnet_id`, `instance_id`, `interface_type`: of each the smallest value seen.
    pub attributes: [Option<String>; folder::ATTRIBUTES.len()],
    /// Records by status.
    pub ok: i64,
    /// Records that say that there was no traffic.
    pub nodata: i64,
    /// Records that say that flows were lost.
    pub skipdata: i64,
    /// Earliest `start` (`end` where a record has none), Unix seconds.
    pub first_seen: i64,
    /// Latest `end`, Unix seconds.
    pub last_seen: i64,
}

impl InterfaceFacts {
    fn merge(&mut self, other: &InterfaceFacts) {
        self.ok += other.ok;
        self.nodata += other.nodata;
        self.skipdata += other.skipdata;
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// One interface: its facts and its edges.
#[derive(Debug, Default)]
struct Group {
    facts: InterfaceFacts,
    edges: HashTable<(EdgeKey, Edge)>,
}

/// Interfaces by account and interface, parted by a zero byte.
type Groups = HashMap<Box<[u8]>, Arc<Mutex<Group>>>;

/// The edges of all interfaces, folded by several threads at once.
struct Fold {
    rules: FoldRules,
    groups: Mutex<Groups>,
    actions: Mutex<Vec<String>>,
    hasher: RandomState,
    room: Arc<Room>,
    /// Bytes of `room` that the tables hold.
    bytes: AtomicUsize,
    /// What was written to disk, each sorted by the edge key.
    runs: Mutex<Vec<SortedSpillFile>>,
}

/// What a fold came to.
struct Folded {
    interfaces: Vec<InterfaceFacts>,
    edges: SendableRecordBatchStream,
}

/// Most different texts in `action`: their number is part of a packed key. AWS has two.
const ACTIONS_MAX: usize = 256;
/// Rows of a batch on disk: small, because a merge holds several of each run.
const SPILL_ROWS: usize = 1024;
/// Numbers of the actions that every fold knows.
const MISSING: u8 = 0;
const ACCEPT: u8 = 1;
const REJECT: u8 = 2;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fold {
    fn new(rules: FoldRules, room: &Arc<Room>) -> Arc<Fold> {
        let actions = ["-", "ACCEPT", "REJECT"].map(str::to_owned).to_vec();
        let fold = Arc::new(Fold {
            rules,
            groups: Mutex::default(),
            actions: Mutex::new(actions),
            hasher: RandomState::default(),
            room: room.clone(),
            bytes: AtomicUsize::new(0),
            runs: Mutex::default(),
        });
        room.enter(&fold);
        fold
    }

    fn group(&self, name: &[u8], account: &[u8], interface: &[u8]) -> Arc<Mutex<Group>> {
        let mut groups = lock(&self.groups);
        if let Some(group) = groups.get(name) {
            return group.clone();
        }
        let facts = InterfaceFacts {
            account: String::from_utf8_lossy(account).into_owned(),
            interface: String::from_utf8_lossy(interface).into_owned(),
            first_seen: i64::MAX,
            last_seen: i64::MIN,
            ..InterfaceFacts::default()
        };
        let group = Arc::new(Mutex::new(Group { facts, edges: HashTable::new() }));
        groups.insert(name.into(), group.clone());
        group
    }

    fn action(&self, text: &[u8]) -> Result<u8> {
        let mut actions = lock(&self.actions);
        let number = actions.iter().position(|action| action.as_bytes() == text).unwrap_or(actions.len());
        if number == actions.len() {
            if number == ACTIONS_MAX {
                let message = format!("more than {ACTIONS_MAX} different values of the field action");
                return Err(crate::error::Error::data(message).into());
            }
            actions.push(String::from_utf8_lossy(text).into_owned());
        }
        Ok(number as u8)
    }

    /// Folds a run of one interface's flows into its table. `Room::make` is due afterwards, when the group is free.
    fn fold(&self, group: &mut Group, run: &mut Vec<(EdgeKey, Edge)>) {
        let size = group.edges.allocation_size();
        for (key, edge) in run.drain(..) {
            let hash = self.hash(&key);
            match group.edges.find_mut(hash, |(other, _)| *other == key) {
                Some((_, folded)) => folded.merge(&edge),
                None => {
                    group.edges.insert_unique(hash, (key, edge), |(key, _)| self.hash(key));
                }
            }
        }
        let grown = group.edges.allocation_size() - size;
        if grown > 0 {
            self.bytes.fetch_add(grown, Ordering::Relaxed);
            self.room.grow(grown);
        }
    }

    /// A keyed hash, so that nobody can send flows that collide.
    #[inline]
    fn hash(&self, key: &EdgeKey) -> u64 {
        let words = |address| match address {
            IpAddr::V4(address) => (u64::from(address.to_bits()), 4),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                (bits as u64, (bits >> 64) as u64 ^ 6)
            }
        };
        let ((a, b), (c, d)) = (words(key.srcaddr), words(key.dstaddr));
        let rest = u64::from(key.srcport)
            | u64::from(key.dstport) << 16
            | u64::from(key.protocol) << 32
            | u64::from(key.action) << 40;
        let mut hasher = self.hasher.build_hasher();
        [a, b, c, d, rest].into_iter().for_each(|word| hasher.write_u64(word));
        hasher.finish()
    }

    /// The groups by account and interface.
    fn sorted(&self) -> Vec<Arc<Mutex<Group>>> {
        let mut groups: Vec<_> = lock(&self.groups).iter().map(|(name, group)| (name.clone(), group.clone())).collect();
        // A zero byte parts account and interface, so names compare as the two do.
        groups.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// Writes all edges to disk as a sorted run, while other threads may fold on.
    fn spill(&self) -> Result<()> {
        let mut runs = lock(&self.runs);
        let mut file = self.room.spills.create_in_progress_file("edges")?;
        let mut batch_bytes_max = 0;
        for groups in parts(self.sorted().iter().map(|group| {
            let mut group = lock(group);
            let facts = &group.facts;
            let named = |facts: &InterfaceFacts| InterfaceFacts {
                account: facts.account.clone(),
                interface: facts.interface.clone(),
                ..InterfaceFacts::default()
            };
            Group { facts: named(facts), edges: std::mem::take(&mut group.edges) }
        })) {
            let bytes = groups.iter().map(|group| group.edges.allocation_size()).sum();
            // Taken after the edges: an action that they use is among them.
            let actions = lock(&self.actions).clone();
            for batch in batches(groups, &actions)? {
                for start in (0..batch.num_rows()).step_by(SPILL_ROWS) {
                    let rows = batch.slice(start, SPILL_ROWS.min(batch.num_rows() - start));
                    batch_bytes_max = file.append_batch(&rows)?.max(batch_bytes_max);
                }
            }
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.room.shrink(bytes);
        }
        let file = file.finish()?;
        runs.extend(file.map(|file| SortedSpillFile { file, max_record_batch_memory: batch_bytes_max }));
        Ok(())
    }

    /// The interfaces, and the edges sorted by their key, once nobody folds any more. Built on `threads` threads.
    fn finish(&self, threads: usize) -> Result<Folded> {
        let mut runs = lock(&self.runs);
        let groups: Vec<Group> = self.sorted().iter().map(|group| std::mem::take(&mut *lock(group))).collect();
        let interfaces = groups.iter().map(|group| group.facts.clone()).collect();
        let held = Held::new(&self.room, self.bytes.swap(0, Ordering::Relaxed));
        let actions = Arc::new(lock(&self.actions).clone());
        let parts: Vec<Vec<Group>> = parts(groups.into_iter()).collect();
        let built = futures::stream::iter(parts).map(move |part| {
            let actions = actions.clone();
            // On the runtime's own threads: those for blocking calls may be many, and each would keep memory of its own.
            let built = SpawnedTask::spawn(async move { batches(part, &actions) });
            async move { built.join().await.map_err(panicked)? }
        });
        // The memory is held as long as the stream: groups are given back part by part.
        let batches = built.buffered(threads).map_ok(move |batches| {
            let _held = &held;
            futures::stream::iter(batches.into_iter().map(Ok))
        });
        let edges = Box::pin(RecordBatchStreamAdapter::new(edges_schema(), batches.try_flatten()));
        let edges = if runs.is_empty() { edges } else { merge::merge(&self.room, std::mem::take(&mut runs), edges)? };
        Ok(Folded { interfaces, edges })
    }
}

impl Drop for Fold {
    fn drop(&mut self) {
        self.room.shrink(*self.bytes.get_mut());
    }
}

fn panicked(error: tokio::task::JoinError) -> DataFusionError {
    DataFusionError::Internal(format!("a folding thread ended: {error}"))
}

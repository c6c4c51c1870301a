//! Folds flows into edges while they are decoded: what `queries/edges.sql` and `queries/interfaces.sql` define, in one
//! pass, without a row in between. In: records. Out: the edges and the interfaces of one window.
//!
//! Edges are kept by interface, because objects hold runs of one interface's records and because the edge files are
//! sorted by it: a run is folded under one lock into a table that fits the cache, and sorting is local.

mod batches;
mod plan;

pub use plan::FoldFlows;

use super::object::{Sink, Status};
use super::record::Record;
use crate::flow::{AddressRule, Edge, EdgeKey, Field, PortRule};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::ops::Range;
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
    pub attributes: [Option<String>; ATTRIBUTES.len()],
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

/// The fields of [`InterfaceFacts::attributes`].
const ATTRIBUTES: [Field; 5] = [Field::Region, Field::VpcId, Field::SubnetId, Field::InstanceId, Field::InterfaceType];

/// One interface: its facts and its edges.
#[derive(Debug, Default)]
struct Group {
    facts: InterfaceFacts,
    edges: HashTable<(EdgeKey, Edge)>,
}

/// Interfaces by account and interface, parted by a zero byte.
type Groups = HashMap<Box<[u8]>, Arc<Mutex<Group>>>;

/// The edges of all interfaces, folded by several threads at once.
pub(super) struct Fold {
    rules: FoldRules,
    groups: Mutex<Groups>,
    actions: Mutex<Vec<String>>,
    hasher: RandomState,
    memory: MemoryReservation,
}

/// Most different texts in `action`: their number is part of a packed key. AWS has two.
const ACTIONS_MAX: usize = 256;
/// Numbers of the actions that every fold knows.
const MISSING: u8 = 0;
const ACCEPT: u8 = 1;
const REJECT: u8 = 2;
/// Records of one interface that are folded under one lock.
const RUN_MAX: usize = 256;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fold {
    pub(super) fn new(rules: FoldRules, memory: MemoryReservation) -> Fold {
        let actions = ["-", "ACCEPT", "REJECT"].map(str::to_owned).to_vec();
        Fold { rules, groups: Mutex::default(), actions: Mutex::new(actions), hasher: RandomState::default(), memory }
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

    /// Folds a run of one interface's flows into its table.
    fn fold(&self, group: &mut Group, run: &mut Vec<(EdgeKey, Edge)>) -> Result<()> {
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
        match group.edges.allocation_size() - size {
            0 => Ok(()),
            grown => self.memory.try_grow(grown),
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

    /// The groups by account and interface, and the texts of the actions.
    fn finish(self) -> (Vec<Group>, Vec<String>, MemoryReservation) {
        let groups = self.groups.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut groups: Vec<Group> = groups.into_values().map(|group| std::mem::take(&mut *lock(&group))).collect();
        groups.sort_unstable_by(|a, b| {
            (&a.facts.account, &a.facts.interface).cmp(&(&b.facts.account, &b.facts.interface))
        });
        (groups, self.actions.into_inner().unwrap_or_else(PoisonError::into_inner), self.memory)
    }
}

/// Takes the records of objects, one object after the other, into a fold. One per thread.
pub(super) struct Folder<'f> {
    fold: &'f Fold,
    groups: Groups,
    /// Account and interface of the run, parted by a zero byte.
    name: Vec<u8>,
    account_length: usize,
    group: Option<Arc<Mutex<Group>>>,
    run: Vec<(EdgeKey, Edge)>,
    attributes: [Option<Vec<u8>>; ATTRIBUTES.len()],
    facts: InterfaceFacts,
    error: Option<DataFusionError>,
}

impl<'f> Folder<'f> {
    pub(super) fn new(fold: &'f Fold) -> Self {
        Folder {
            fold,
            groups: HashMap::new(),
            name: Vec::new(),
            account_length: 0,
            group: None,
            run: Vec::with_capacity(RUN_MAX),
            attributes: Default::default(),
            facts: InterfaceFacts::default(),
            error: None,
        }
    }

    /// Folds the last run in.
    ///
    /// # Errors
    /// `ResourcesExhausted` if the edges do not fit the memory; the fold must not be used then.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush();
        self.error.map_or(Ok(()), Err)
    }

    fn flush(&mut self) {
        if let Some(group) = &self.group {
            let mut group = lock(group);
            group.facts.merge(&self.facts);
            for (slot, attribute) in group.facts.attributes.iter_mut().zip(&self.attributes) {
                let text = attribute.as_deref().map(String::from_utf8_lossy);
                if let Some(text) = text.filter(|text| slot.as_deref().is_none_or(|old| text.as_ref() < old)) {
                    *slot = Some(text.into_owned());
                }
            }
            if let Err(error) = self.fold.fold(&mut group, &mut self.run) {
                self.error.get_or_insert(error);
            }
        }
        self.facts = InterfaceFacts { first_seen: i64::MAX, last_seen: i64::MIN, ..InterfaceFacts::default() };
    }

    /// Begins the run of another interface.
    fn switch(&mut self, account: &[u8], interface: &[u8]) {
        self.flush();
        self.name.clear();
        self.name.extend_from_slice(account);
        self.name.push(0);
        self.name.extend_from_slice(interface);
        self.account_length = account.len();
        self.attributes = Default::default();
        let known = self.groups.get(self.name.as_slice()).cloned();
        self.group = Some(known.unwrap_or_else(|| {
            let group = self.fold.group(&self.name, account, interface);
            self.groups.insert(self.name.as_slice().into(), group.clone());
            group
        }));
    }

    #[inline]
    fn is_current(&self, account: &[u8], interface: &[u8]) -> bool {
        self.group.is_some()
            && self.account_length == account.len()
            && self.name[..account.len()] == *account
            && self.name[account.len() + 1..] == *interface
    }

    #[inline]
    fn flow(&mut self, record: &Record<'_>, end: i64) -> Result<()> {
        let rules = &self.fold.rules;
        let pick = |packet, interface| match rules.addresses {
            AddressRule::Packet => record.address(packet).or_else(|| record.address(interface)),
            AddressRule::Interface => record.address(interface),
        };
        let (Some(srcaddr), Some(dstaddr)) =
            (pick(Field::PktSrcaddr, Field::Srcaddr), pick(Field::PktDstaddr, Field::Dstaddr))
        else {
            return Ok(());
        };
        let number = |field| record.number(field);
        let protocol = number(Field::Protocol).map_or(u8::MAX, |number| number as u8);
        let flags = number(Field::TcpFlags).map(|flags| flags as u8);
        let port = |field| number(field).map_or(0, |port| port as u16);
        let action = match record.text(Field::Action) {
            None => MISSING,
            Some(b"ACCEPT") => ACCEPT,
            Some(b"REJECT") => REJECT,
            Some(other) => self.fold.action(other)?,
        };
        let (srcport, dstport) =
            rules.port_rule.keep(protocol, port(Field::Srcport), port(Field::Dstport), flags, action == REJECT);
        let edge = Edge {
            flows: 1,
            packets: number(Field::Packets).unwrap_or(0),
            bytes: number(Field::Bytes).unwrap_or(0),
            first_seen: number(Field::Start).unwrap_or(end),
            last_seen: end,
            tcp_flags: flags.map_or(-1, i16::from),
        };
        self.run.push((EdgeKey { srcaddr, dstaddr, srcport, dstport, protocol, action }, edge));
        Ok(())
    }
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

impl Sink for Folder<'_> {
    #[inline]
    fn take(&mut self, record: &Record<'_>, _line: u64) -> bool {
        let Some(end) = record.number(Field::End).filter(|end| self.fold.rules.window.contains(end)) else {
            return true;
        };
        let account = record.text(Field::AccountId).unwrap_or(b"-");
        let interface = record.text(Field::InterfaceId).unwrap_or(b"-");
        if !self.is_current(account, interface) {
            self.switch(account, interface);
        }
        for (slot, field) in self.attributes.iter_mut().zip(ATTRIBUTES) {
            if let Some(text) = record.text(field)
                && slot.as_deref().is_none_or(|old| text < old)
            {
                *slot = Some(text.to_vec());
            }
        }
        self.facts.first_seen = self.facts.first_seen.min(record.number(Field::Start).unwrap_or(end));
        self.facts.last_seen = self.facts.last_seen.max(end);
        match Status::of(record) {
            Status::NoData => self.facts.nodata += 1,
            Status::SkipData => self.facts.skipdata += 1,
            Status::Ok => {
                self.facts.ok += 1;
                if let Err(error) = self.flow(record, end) {
                    self.error.get_or_insert(error);
                }
                if self.run.len() >= RUN_MAX {
                    self.flush();
                }
            }
        }
        self.error.is_none()
    }
}

//! Takes the records of objects into the fold of one window, a run of one interface's records at a time.

use super::{ACCEPT, Fold, Group, Groups, InterfaceFacts, MISSING, REJECT, lock};
use crate::flow::{AddressRule, Edge, EdgeKey, Field};
use crate::scan::object::{Counts, Status};
use crate::scan::record::Record;
use datafusion::error::{DataFusionError, Result};
use hashbrown::HashMap;
use std::sync::{Arc, Mutex};

/// The fields of [`InterfaceFacts::attributes`].
pub(super) const ATTRIBUTES: [Field; 5] =
    [Field::Region, Field::VpcId, Field::SubnetId, Field::InstanceId, Field::InterfaceType];

/// Records of one interface that are folded under one lock.
const RUN_MAX: usize = 256;

/// Takes records of one object, or of several one after the other, into the fold of one window.
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
    counts: Counts,
    /// What the texts of the last record said: its status and, if that is `OK`, the number of its action.
    texts: (Status, u8),
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
            counts: Counts::default(),
            texts: (Status::Ok, MISSING),
            error: None,
        }
    }

    /// Folds the last run in; returns how many records were taken.
    ///
    /// # Errors
    /// What the spill folder says if the edges do not fit the memory; the fold must not be used then.
    pub(super) fn finish(mut self) -> Result<Counts> {
        self.flush();
        self.error.map_or(Ok(self.counts), Err)
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
            self.fold.fold(&mut group, &mut self.run);
        }
        if let Err(error) = self.fold.room.make() {
            self.error.get_or_insert(error);
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
    fn flow(&mut self, record: &Record<'_>, end: i64, action: u8) {
        let rules = &self.fold.rules;
        let pick = |packet, interface| match rules.addresses {
            AddressRule::Packet => record.address(packet).or_else(|| record.address(interface)),
            AddressRule::Interface => record.address(interface),
        };
        let (Some(srcaddr), Some(dstaddr)) =
            (pick(Field::PktSrcaddr, Field::Srcaddr), pick(Field::PktDstaddr, Field::Dstaddr))
        else {
            return;
        };
        let number = |field| record.number(field);
        let protocol = number(Field::Protocol).map_or(u8::MAX, |number| number as u8);
        let flags = number(Field::TcpFlags).map(|flags| flags as u8);
        let port = |field| number(field).map_or(0, |port| port as u16);
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
    }

    /// Takes a record of the window; `end` is when it ends. `same_texts` says that its texts are those of the record that
    /// was taken last.
    #[inline]
    pub(super) fn take(&mut self, record: &Record<'_>, end: i64, same_texts: bool) {
        if !same_texts && let Err(error) = self.read_texts(record) {
            self.error.get_or_insert(error);
            return;
        }
        self.facts.first_seen = self.facts.first_seen.min(record.number(Field::Start).unwrap_or(end));
        self.facts.last_seen = self.facts.last_seen.max(end);
        match self.texts {
            (Status::NoData, _) => {
                self.counts.nodata += 1;
                self.facts.nodata += 1;
            }
            (Status::SkipData, _) => {
                self.counts.skipdata += 1;
                self.facts.skipdata += 1;
            }
            (Status::Ok, action) => {
                self.counts.ok += 1;
                self.facts.ok += 1;
                self.flow(record, end, action);
                if self.run.len() >= RUN_MAX {
                    self.flush();
                }
            }
        }
    }

    /// Reads what a record says in texts: whose it is, its interface's attributes, its status and its action.
    fn read_texts(&mut self, record: &Record<'_>) -> Result<()> {
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
        let status = Status::of(record);
        let action = match record.text(Field::Action) {
            Some(b"ACCEPT") => ACCEPT,
            Some(b"REJECT") => REJECT,
            // Only flows have an action; what others carry there must not fill the table.
            Some(other) if status == Status::Ok => self.fold.action(other)?,
            _ => MISSING,
        };
        self.texts = (status, action);
        Ok(())
    }
}

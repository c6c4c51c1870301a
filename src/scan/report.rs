//! What a scan saw and did not see, collected over its tasks: nothing that it passes over goes in silence.

use super::fold::InterfaceFacts;
use super::object::{Counts, Tally};
use super::progress::Progress;
use super::remembered::Remembered;
use crate::source::{Checksum, Content, Listing, Object};
use object_store::{ObjectMeta, path::Path};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How the reading of one object ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was read.
    Read(Arc<Tally>),
    /// No record of it was taken, for this reason.
    SetAside(String),
}

impl Outcome {
    /// The same, with what is in one window. Objects that windows merely reach are many: they share their counts.
    pub(super) fn within(&self, counts: Counts) -> Outcome {
        match self {
            Outcome::Read(tally) if tally.counts() != counts => Outcome::Read(Arc::new(tally.within(counts))),
            same => same.clone(),
        }
    }
}

/// The outcomes of objects by the checksums of their keys.
pub type Outcomes = HashMap<Checksum, Outcome>;

/// Shared by the tasks of a scan and by whoever asked for it.
#[derive(Debug, Default)]
pub struct Report {
    /// How far the scan is.
    pub progress: Arc<Progress>,
    keep_objects: bool,
    inner: Mutex<Inner>,
}

/// The figures of a report at one instant.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Flow-log objects that the listings gave.
    pub listed: u64,
    /// Objects passed over by their keys.
    pub pruned: u64,
    /// Keys that are no flow-log keys, and a few of them.
    pub others: u64,
    /// A few of those keys.
    pub other_samples: Vec<String>,
    /// Objects whose folder names another time than their file name.
    pub misfiled: u64,
    /// LIST requests.
    pub list_requests: u64,
    /// GET requests.
    pub get_requests: u64,
    /// Stored bytes fetched.
    pub bytes_read: u64,
    /// Objects read.
    pub read: u64,
    /// Objects set aside because they are damaged or no flow logs.
    pub set_aside: u64,
    /// The first of these with their reasons.
    pub set_aside_samples: Vec<String>,
    /// The first refused lines: object, line, reason.
    pub refused_samples: Vec<String>,
    /// Sums over all objects read.
    pub totals: Tally,
    /// The same by account and region of the objects' keys.
    pub places: BTreeMap<(String, String), Place>,
    /// The objects that took longest to decode, the slowest first; only a pass over many windows measures them.
    pub slowest: Vec<(Duration, Path)>,
}

/// What was seen of one account in one region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Objects read.
    pub read: u64,
    /// Objects set aside.
    pub set_aside: u64,
    /// Records decoded.
    pub records: u64,
    /// Lines refused.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Inner {
    figures: Figures,
    outcomes: Outcomes,
    /// Tags and sizes as they were read of objects that were overwritten since they were listed.
    overwritten: BTreeMap<Path, (Option<String>, u64)>,
    remembered: Remembered,
    interfaces: Vec<InterfaceFacts>,
}

const SAMPLES_MAX: usize = 10;
const SLOWEST_MAX: usize = 5;

impl Report {
    /// A report of figures alone: its size does not grow with the objects.
    pub fn new() -> Arc<Report> {
        Arc::default()
    }

    /// A report that also keeps the outcome of each object.
    pub fn of_objects() -> Arc<Report> {
        Arc::new(Report { keep_objects: true, ..Report::default() })
    }

    /// A report that keeps the outcomes of objects, for a part of what this one shows the progress of.
    pub fn part(&self) -> Arc<Report> {
        Arc::new(Report { progress: self.progress.clone(), keep_objects: true, ..Report::default() })
    }

    /// A report of figures that outlives many passes: what was in the newest of `objects_max` objects, at least half as
    /// many, is remembered, and they are not read again for windows that they hold nothing of, nor if they were set aside.
    pub fn remembering(objects_max: usize) -> Arc<Report> {
        let inner = Inner { remembered: Remembered::new(objects_max), ..Inner::default() };
        Arc::new(Report { inner: Mutex::new(inner), ..Report::default() })
    }

    /// What came of an object, if this very content of it was read not long ago.
    pub(super) fn remembered(&self, content: &Content) -> Option<Outcome> {
        self.lock().remembered.get(content)
    }

    /// Whether an object is known to hold nothing that an open window needs to tell of: no record of it, and no line that
    /// was refused.
    pub fn holds_nothing(&self, content: &Content, window: &Range<i64>) -> bool {
        let misses =
            |outcome| matches!(outcome, Outcome::Read(tally) if tally.misses(window) && tally.refused_all() == 0);
        self.remembered(content).is_some_and(misses)
    }

    pub(super) fn remember(&self, object: &Object, outcome: &Outcome) {
        self.lock().remembered.put(object.content(), outcome);
    }

    /// The figures so far.
    pub fn figures(&self) -> Figures {
        self.lock().figures.clone()
    }

    /// Outcome of each object; empty unless the report keeps them. They are kept no longer.
    pub fn take_outcomes(&self) -> Outcomes {
        std::mem::take(&mut self.lock().outcomes)
    }

    /// `objects` as they were read: with the tag and the size of what a store gave where it is no longer what was
    /// listed. Known only to a report that keeps the outcome of each object.
    pub fn as_read(&self, objects: &[Arc<Object>]) -> Vec<Arc<Object>> {
        let inner = self.lock();
        let as_read = |object: &Arc<Object>| match inner.overwritten.get(&object.location) {
            Some((etag, size)) => Arc::new(Object { etag: etag.clone(), size: *size, ..Object::clone(object) }),
            None => object.clone(),
        };
        objects.iter().map(as_read).collect()
    }

    /// Whether an object was read as it was listed. Known only to a report that keeps the outcome of each object.
    pub(super) fn is_as_listed(&self, object: &Object) -> bool {
        !self.lock().overwritten.contains_key(&object.location)
    }

    /// The interfaces that a fold observed, by account and interface; empty if the scan did not fold.
    pub fn take_interfaces(&self) -> Vec<InterfaceFacts> {
        std::mem::take(&mut self.lock().interfaces)
    }

    pub(super) fn set_interfaces(&self, interfaces: Vec<InterfaceFacts>) {
        self.lock().interfaces = interfaces;
    }

    /// Adds what a listing found.
    pub fn listed(&self, listing: &Listing) {
        let figures = &mut self.lock().figures;
        figures.listed += listing.wanted;
        figures.pruned += listing.pruned;
        figures.others += listing.others;
        figures.misfiled += listing.misfiled;
        figures.list_requests += listing.requests;
        let room = SAMPLES_MAX - figures.other_samples.len();
        figures.other_samples.extend(listing.other_samples.iter().take(room).cloned());
    }

    /// Compares what a store gives for an object with what it listed. Stores differ in the quotes around a tag.
    pub(super) fn found(&self, object: &Object, now: &ObjectMeta) {
        if !self.keep_objects {
            return;
        }
        let tag = |etag: &Option<String>| etag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
        let is_same = now.size == object.size && (now.e_tag.is_none() || tag(&now.e_tag) == tag(&object.etag));
        let overwritten = &mut self.lock().overwritten;
        if is_same {
            overwritten.remove(&object.location);
        } else {
            tracing::info!(object = %object.location, "overwritten since it was listed: it counts as it is now");
            overwritten.insert(object.location.clone(), (now.e_tag.clone(), now.size));
        }
    }

    pub(super) fn fetched(&self, bytes: u64) {
        let figures = &mut self.lock().figures;
        figures.get_requests += 1;
        figures.bytes_read += bytes;
    }

    pub(super) fn took(&self, object: &Object, time: Duration) {
        let slowest = &mut self.lock().figures.slowest;
        if slowest.len() < SLOWEST_MAX || slowest.last().is_some_and(|(last, _)| *last < time) {
            let at = slowest.partition_point(|(other, _)| *other >= time);
            slowest.insert(at, (time, object.location.clone()));
            slowest.truncate(SLOWEST_MAX);
        }
    }

    pub(super) fn ended(&self, object: &Object, outcome: Outcome) {
        let mut inner = self.lock();
        let figures = &mut inner.figures;
        let place = figures.places.entry((object.name.account.clone(), object.name.region.clone())).or_default();
        let records = match &outcome {
            Outcome::Read(tally) => {
                place.read += 1;
                place.records += tally.records;
                place.refused += tally.refused_all();
                figures.read += 1;
                figures.totals.add(tally);
                for (line, refusal) in &tally.samples {
                    if figures.refused_samples.len() < SAMPLES_MAX {
                        let sample = format!("{} line {line}: {}", object.location, refusal.reason());
                        figures.refused_samples.push(sample);
                    }
                }
                tally.records
            }
            Outcome::SetAside(reason) => {
                place.set_aside += 1;
                figures.set_aside += 1;
                if figures.set_aside_samples.len() < SAMPLES_MAX {
                    figures.set_aside_samples.push(format!("{}: {reason}", object.location));
                }
                0
            }
        };
        if self.keep_objects {
            inner.outcomes.insert(Checksum::of(object.location.as_ref()), outcome);
        }
        drop(inner);
        self.progress.done(object.size, records);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

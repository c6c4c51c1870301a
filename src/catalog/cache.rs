//! Manifests that were read before: what is published never changes, so it is read once. In: a window and a version.
//! Out: the manifest, if it is still remembered. Which versions exist, the store's listing tells, never this.

use super::Manifest;
use crate::window::Window;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Mutex as Turn;

/// How many manifests may be read at once. A prime, so that regular windows spread over all of them.
const TURNS: i64 = 61;

type Key = (Window, u64);

/// Remembers the manifests used last, up to a bound.
///
/// Invariants:
/// - Two generations hold at most `bytes_max` together, by the size of the manifests' JSON. What is used moves to the
///   young one; when that holds half of the bound it becomes the old one, and what was old is forgotten.
#[derive(Debug)]
pub(super) struct ManifestCache {
    bytes_max: u64,
    generations: Mutex<Generations>,
    turns: Vec<Turn<()>>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, (Manifest, u64)>,
    young_bytes: u64,
    old: HashMap<Key, (Manifest, u64)>,
}

impl ManifestCache {
    /// Remembers nothing yet; `bytes_max` 0 never does.
    pub(super) fn new(bytes_max: u64) -> ManifestCache {
        ManifestCache { bytes_max, generations: Mutex::default(), turns: (0..TURNS).map(|_| Turn::default()).collect() }
    }

    /// Whoever reads a manifest holds its turn meanwhile, so that two scans of one query do not both read it.
    pub(super) fn turn(&self, window: &Window) -> &Turn<()> {
        let turn = (window.start().timestamp() / 60).rem_euclid(TURNS);
        &self.turns[usize::try_from(turn).expect("a remainder of 61 is no negative number")]
    }

    /// The manifest of a version, if it is remembered.
    pub(super) fn get(&self, window: &Window, version: u64) -> Option<Manifest> {
        let key = (*window, version);
        let mut generations = self.lock();
        if let Some((manifest, _)) = generations.young.get(&key) {
            return Some(manifest.clone());
        }
        let (manifest, bytes) = generations.old.remove(&key)?;
        generations.insert(key, manifest.clone(), bytes, self.bytes_max);
        Some(manifest)
    }

    /// Remembers a manifest whose JSON has `bytes`.
    pub(super) fn insert(&self, window: &Window, manifest: &Manifest, bytes: u64) {
        self.lock().insert((*window, manifest.version), manifest.clone(), bytes, self.bytes_max);
    }

    /// What a thread that panicked left behind is whole: every change is one insertion.
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, key: Key, manifest: Manifest, bytes: u64, bytes_max: u64) {
        let half = bytes_max / 2;
        if bytes > half {
            return;
        }
        if self.young_bytes + bytes > half {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        let before = self.young.insert(key, (manifest, bytes));
        self.young_bytes += bytes - before.map_or(0, |(_, bytes)| bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Cost, Coverage, FORMAT_VERSION, Rules, State, Totals};
    use crate::flow::{AddressRule, PortRule};
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    fn manifest(hour: i64) -> (Window, Manifest) {
        let start = DateTime::UNIX_EPOCH + TimeDelta::hours(hour);
        let window = Window::new(start, start + TimeDelta::hours(1)).unwrap();
        let rules = Rules {
            format_version: FORMAT_VERSION,
            port_rule: PortRule::Service,
            addresses: AddressRule::Packet,
            query_checksum: String::new(),
        };
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            start: window.start(),
            stop: window.stop(),
            version: 1,
            previous: None,
            state: State::Final,
            published: start,
            rules,
            files: Vec::new(),
            totals: Totals::default(),
            coverage: Coverage::default(),
            cost: Cost::default(),
            made_from: Vec::new(),
        };
        (window, manifest)
    }

    fn remembered(cache: &ManifestCache) -> u64 {
        let generations = cache.lock();
        generations.young.values().chain(generations.old.values()).map(|(_, bytes)| bytes).sum()
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let cache = ManifestCache::new(100);
        let (window, first) = manifest(0);
        cache.insert(&window, &first, 10);
        for hour in 1..50 {
            assert_eq!(cache.get(&window, 1), Some(first.clone()), "{hour}");
            let (window, manifest) = manifest(hour);
            cache.insert(&window, &manifest, 10);
        }
        assert_eq!(cache.get(&window, 2), None);
        assert_eq!(cache.get(&manifest(1).0, 1), None);
    }

    #[test]
    fn a_bound_of_nothing_remembers_nothing() {
        let cache = ManifestCache::new(0);
        let (window, manifest) = manifest(0);
        cache.insert(&window, &manifest, 1);
        assert_eq!(cache.get(&window, 1), None);
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_what_is_found_is_right(uses in prop::collection::vec((0i64..30, 0u64..70), 0..200)) {
            let cache = ManifestCache::new(100);
            for (hour, bytes) in uses {
                let (window, expected) = manifest(hour);
                match cache.get(&window, 1) {
                    Some(found) => prop_assert_eq!(found, expected),
                    None => cache.insert(&window, &expected, bytes),
                }
                prop_assert!(remembered(&cache) <= 100);
            }
        }
    }
}

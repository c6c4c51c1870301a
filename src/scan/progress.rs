//! How far a scan is: counters that its tasks raise and a progress line reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a running scan. Reading them costs nothing that a scan would notice.
#[derive(Debug, Default)]
pub struct Progress {
    /// Objects that the plans will read.
    pub objects_total: AtomicU64,
    /// Their stored bytes.
    pub bytes_total: AtomicU64,
    /// Objects done with.
    pub objects_done: AtomicU64,
    /// Their stored bytes.
    pub bytes_done: AtomicU64,
    /// Records decoded.
    pub records: AtomicU64,
    /// Windows to build, where there are several.
    pub windows_total: AtomicU64,
    /// Windows done with.
    pub windows_done: AtomicU64,
}

impl Progress {
    /// Adds what will be read.
    pub fn plan(&self, objects: u64, bytes: u64) {
        self.objects_total.fetch_add(objects, Ordering::Relaxed);
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn done(&self, bytes: u64, records: u64) {
        self.objects_done.fetch_add(1, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }
}

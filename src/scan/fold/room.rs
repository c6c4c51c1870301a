//! The memory that folds share, and the disk that they turn to when it is full.

use super::{Fold, lock};
use crate::flow::edges_schema;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

/// What the tables of all folds may hold together: three quarters of the session's memory, so that merging what was
/// spilled finds room in the rest.
pub(super) struct Room {
    tables: MemoryReservation,
    bytes_max: usize,
    folds: Mutex<Vec<Weak<Fold>>>,
    /// Held while a fold spills: whoever else needs room waits, and does not grow meanwhile.
    spilling: Mutex<()>,
    pub(super) spills: SpillManager,
    pub(super) runtime: Arc<RuntimeEnv>,
}

/// A fold smaller than this part of the room does not spill: it would free next to nothing.
const SPILL_PART_MIN: usize = 16;

impl Room {
    pub(super) fn new(runtime: Arc<RuntimeEnv>) -> Arc<Room> {
        let bytes_max = match runtime.memory_pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / 4 * 3,
            _ => usize::MAX,
        };
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        Arc::new(Room {
            tables: MemoryConsumer::new("fold").register(&runtime.memory_pool),
            bytes_max,
            folds: Mutex::default(),
            spilling: Mutex::default(),
            spills: SpillManager::new(runtime.clone(), metrics, edges_schema()),
            runtime,
        })
    }

    pub(super) fn enter(&self, fold: &Arc<Fold>) {
        let mut folds = lock(&self.folds);
        folds.retain(|fold| fold.strong_count() > 0);
        folds.push(Arc::downgrade(fold));
    }

    pub(super) fn grow(&self, bytes: usize) {
        self.tables.grow(bytes);
    }

    pub(super) fn shrink(&self, bytes: usize) {
        self.tables.shrink(bytes);
    }

    /// Makes room if there is too little: the largest folds write their edges to disk. Call it with no group locked.
    ///
    /// # Errors
    /// `ResourcesExhausted` if the spill folder is full, and what it says.
    pub(super) fn make(&self) -> Result<()> {
        while self.tables.size() > self.bytes_max {
            let _spilling = lock(&self.spilling);
            if self.tables.size() <= self.bytes_max {
                break;
            }
            let folds: Vec<Arc<Fold>> = lock(&self.folds).iter().filter_map(Weak::upgrade).collect();
            let bytes = |fold: &Arc<Fold>| fold.bytes.load(Ordering::Relaxed);
            match folds.into_iter().max_by_key(bytes) {
                Some(largest) if bytes(&largest) >= self.bytes_max / SPILL_PART_MIN => largest.spill()?,
                // The rest is held by windows that are being written: it comes back soon.
                _ => break,
            }
        }
        Ok(())
    }
}

/// Bytes that a finished fold holds until its edges are built.
pub(super) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(room: &Arc<Room>, bytes: usize) -> Held {
        Held { room: room.clone(), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.shrink(self.bytes);
    }
}

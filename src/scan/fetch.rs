//! Fetching the bodies of objects ahead of their decoding, bounded by bytes and by count.

use super::report::{Outcome, Report};
use super::Options;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::source::Object;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Semaphores count in KiB, so that 32 bits are enough.
const PERMIT_BYTES: u64 = 1024;

/// Hands out the right to hold bodies.
#[derive(Debug)]
pub(in crate::scan) struct Prefetch {
    bytes: Arc<Semaphore>,
    bytes_max: u32,
    objects: Arc<Semaphore>,
    objects_max: usize,
    object_bytes_max: u64,
}

/// A body in memory, and the room that it takes while it is held.
#[derive(Debug)]
pub(in crate::scan) struct Body {
    pub(in crate::scan) bytes: Bytes,
    _room: Option<Room>,
}

/// Room for one body; given back when dropped.
#[derive(Debug)]
pub(in crate::scan) struct Room {
    _bytes: OwnedSemaphorePermit,
    _object: OwnedSemaphorePermit,
}

impl Prefetch {
    pub(in crate::scan) fn new(options: &Options) -> Self {
        let bytes_max = u32::try_from(options.prefetch_bytes_max / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        Prefetch {
            bytes: Arc::new(Semaphore::new(bytes_max as usize)),
            bytes_max,
            objects: Arc::new(Semaphore::new(options.prefetch_objects_max.max(1))),
            objects_max: options.prefetch_objects_max.max(1),
            object_bytes_max: options.object_bytes_max,
        }
    }

    /// Objects that may be held at once.
    pub(in crate::scan) fn objects_max(&self) -> usize {
        self.objects_max
    }

    /// Waits for room. An object larger than all the room there is waits for all of it.
    pub(in crate::scan) async fn wait(&self, object: &Object) -> Room {
        let closed = "the semaphores are never closed";
        let _object = self.objects.clone().acquire_owned().await.expect(closed);
        let _bytes = self.bytes.clone().acquire_many_owned(self.permits(object)).await.expect(closed);
        Room { _bytes, _object }
    }

    /// Takes room if there is any now.
    pub(in crate::scan) fn try_take(&self, object: &Object) -> Option<Room> {
        let _object = self.objects.clone().try_acquire_owned().ok()?;
        let _bytes = self.bytes.clone().try_acquire_many_owned(self.permits(object)).ok()?;
        Some(Room { _bytes, _object })
    }

    fn permits(&self, object: &Object) -> u32 {
        u32::try_from(object.size / PERMIT_BYTES + 1).unwrap_or(u32::MAX).min(self.bytes_max)
    }

    /// Fetches a body. `None` if the object was set aside instead: too large, or gone since it was listed.
    ///
    /// # Errors
    /// What the store says of a request that failed for another reason; the object is not at fault then.
    pub(in crate::scan) async fn fetch(
        &self,
        store: &Arc<dyn ObjectStore>,
        object: &Object,
        room: Option<Room>,
        report: &Report,
    ) -> Result<Option<Body>> {
        if object.size > self.object_bytes_max {
            let reason = format!("{} bytes, more than scan.object_bytes_max", object.size);
            report.ended(object, Outcome::SetAside(reason));
            return Ok(None);
        }
        let body = async { store.get(&object.location).await?.bytes().await };
        match body.await.map_err(Error::from) {
            Ok(bytes) => {
                report.fetched(bytes.len() as u64);
                Ok(Some(Body { bytes, _room: room }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                report.ended(object, Outcome::SetAside("gone since it was listed".to_owned()));
                Ok(None)
            }
            Err(error) => Err(error).context(|| format!("read object {}", object.location)),
        }
    }
}

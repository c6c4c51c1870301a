//! Fetching the bodies of objects ahead of their decoding, bounded by bytes and by count.

use super::Options;
use super::report::Report;
use crate::error::{Context, ErrorKind, Result};
use crate::source::Object;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Semaphores count in KiB, so that 32 bits are enough.
const PERMIT_BYTES: u64 = 1024;

/// How often a body that is damaged is asked for.
pub(in crate::scan) const FETCHES: usize = 2;

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
    pub(in crate::scan) room: Option<Room>,
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

    /// Fetches a body, once more if it ends early. The inner error is the reason for which the object has to be set
    /// aside: too large, gone since it was listed, or cut short twice.
    ///
    /// # Errors
    /// What the store says of a request that failed for another reason; the object is not at fault then.
    pub(in crate::scan) async fn fetch(
        &self,
        store: &Arc<dyn ObjectStore>,
        object: &Object,
        room: Option<Room>,
        report: &Report,
    ) -> Result<Result<Body, String>> {
        if object.size > self.object_bytes_max {
            return Ok(Err(format!("{} bytes, more than scan.object_bytes_max", object.size)));
        }
        let mut cut = String::new();
        for _ in 0..FETCHES {
            match fetch_once(store, object, report).await {
                Ok(Ok(bytes)) => return Ok(Ok(Body { bytes, room })),
                Ok(Err(reason)) => cut = reason,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Err("gone since it was listed".to_owned()));
                }
                Err(error) => return Err(error).context(|| format!("read object {}", object.location)),
            }
        }
        Ok(Err(format!("{cut}, fetched {FETCHES} times")))
    }
}

/// Fetches a body. The inner error says how it ended early; the outer one that the store gave none.
async fn fetch_once(store: &Arc<dyn ObjectStore>, object: &Object, report: &Report) -> Result<Result<Bytes, String>> {
    let answer = store.get(&object.location).await?;
    let size = answer.meta.size;
    let body = answer.bytes().await;
    report.fetched(body.as_ref().map_or(0, |bytes| bytes.len() as u64));
    Ok(match body {
        Ok(bytes) if bytes.len() as u64 == size => Ok(bytes),
        Ok(bytes) => Err(format!("ends after {} of {size} bytes", bytes.len())),
        Err(error) => Err(format!("ends early: {error}")),
    })
}

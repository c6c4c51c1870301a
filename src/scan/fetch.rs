//! Fetching the bodies of objects ahead of their decoding, bounded by bytes and by count.

use super::Options;
use super::report::Report;
use crate::error::{Context, Result};
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

    /// Fetches a body as it is now, once more if it ends early. The inner error is the reason for which the object has to
    /// be set aside: too large, gone since it was listed, or cut short twice.
    ///
    /// What was overwritten since it was listed counts as it is read: `reports` then know its tag and its size; the
    /// first counts the request, too. The room is that of the size that was listed.
    ///
    /// # Errors
    /// What the store says of a request that failed for another reason; the object is not at fault then.
    pub(in crate::scan) async fn fetch(
        &self,
        store: &Arc<dyn ObjectStore>,
        object: &Object,
        room: Option<Room>,
        reports: &[&Report],
    ) -> Result<Result<Body, String>> {
        let too_large = |size: u64| Ok(Err(format!("{size} bytes, more than scan.object_bytes_max")));
        if object.size > self.object_bytes_max {
            return too_large(object.size);
        }
        let mut cut = String::new();
        for _ in 0..FETCHES {
            let answer = match store.get(&object.location).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(Err("gone since it was listed".to_owned())),
                answer => answer.context(|| format!("read object {}", object.location))?,
            };
            reports.iter().for_each(|report| report.found(object, &answer.meta));
            if answer.meta.size > self.object_bytes_max {
                return too_large(answer.meta.size);
            }
            let size = answer.meta.size;
            let body = answer.bytes().await;
            if let Some(report) = reports.first() {
                report.fetched(body.as_ref().map_or(0, |bytes| bytes.len() as u64));
            }
            cut = match body {
                Ok(bytes) if bytes.len() as u64 == size => return Ok(Ok(Body { bytes, room })),
                Ok(bytes) => format!("ends after {} of {size} bytes", bytes.len()),
                Err(error) => format!("ends early: {error}"),
            };
        }
        Ok(Err(format!("{cut}, fetched {FETCHES} times")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ObjectName;
    use futures::executor::block_on;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    const NAME: &str = "123456789012_vpcflowlogs_us-east-1_fl-1_20261120T1205Z_ab12.log.gz";

    /// Fetches an object of 4 bytes that is listed with this tag and size.
    fn fetch(etag: Option<&str>, size: u64, object_bytes_max: u64) -> (Result<Body, String>, Arc<Object>) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (location, name) = (Path::from(NAME), ObjectName::parse(NAME).unwrap());
        block_on(store.put(&location, "body".into())).unwrap();
        let object = Object { location, size, etag: etag.map(str::to_owned), name };
        let report = Report::of_objects();
        let prefetch = Prefetch::new(&Options { object_bytes_max, ..Options::default() });
        let body = block_on(prefetch.fetch(&store, &object, None, &[&report])).unwrap();
        let read = report.as_read(&[Arc::new(object)]).remove(0);
        (body, read)
    }

    #[test]
    fn what_was_overwritten_since_it_was_listed_has_the_tag_and_size_that_were_read() {
        let (body, read) = fetch(Some("before"), 9, 100);
        assert_eq!(body.unwrap().bytes, "body");
        assert_eq!((read.etag.as_deref(), read.size), (Some("0"), 4));
    }

    #[test]
    fn quotes_make_no_other_tag() {
        let (_, read) = fetch(Some("\"0\""), 4, 100);
        assert_eq!(read.etag.as_deref(), Some("\"0\""), "as it was listed");
    }

    #[test]
    fn what_has_grown_too_large_since_it_was_listed_is_set_aside() {
        let (body, _) = fetch(Some("before"), 1, 3);
        assert_eq!(body.unwrap_err(), "4 bytes, more than scan.object_bytes_max");
    }
}

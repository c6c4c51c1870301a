//! A writer's view of a store: requests fail, replies are lost, listings lag behind, and at a chosen request the writer
//! stops. What happens to a request depends on the seed and on its number alone, so that a run can be repeated.

use crate::random::Random;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Where a writer stops for a while, or for ever.
#[derive(Debug, Default)]
pub(super) struct Stop {
    pub(super) reached: Notify,
    pub(super) resumed: Notify,
}

/// What goes wrong, by seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) seed: u64,
    /// One request in so many meets a fault; none if 0.
    pub(super) rarity: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Refused,
    /// It happens, but the answer does not come.
    ReplyLost,
}

impl Faults {
    fn fate(self, request: u64) -> Fate {
        let mut random = Random(self.seed ^ request.wrapping_mul(0x9e37_79b9));
        match random.one_in(self.rarity) {
            false => Fate::Fine,
            true if random.one_in(2) => Fate::ReplyLost,
            true => Fate::Refused,
        }
    }

    /// Whether a listing shows an object: now and then it lags behind.
    fn shows(self, object: &ObjectMeta) -> bool {
        let name = object.location.as_ref().bytes().fold(self.seed, |name, byte| name.rotate_left(5) ^ u64::from(byte));
        !Random(name).one_in(3 * self.rarity)
    }
}

/// A store as one writer sees it in one attempt. Clones share its faults.
#[derive(Clone, Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<InMemory>,
    pub(super) faults: Faults,
    /// The number of the request before which the writer stops.
    pub(super) stops_at: Option<u64>,
    pub(super) stop: Arc<Stop>,
    /// Counts over both stores of the writer.
    pub(super) requests: Arc<AtomicU64>,
}

impl Faulty {
    async fn fate(&self) -> Fate {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        if self.stops_at == Some(number) {
            self.stop.reached.notify_one();
            self.stop.resumed.notified().await;
        }
        self.faults.fate(number)
    }
}

fn broken() -> Error {
    Error::Generic { store: "simulation", source: "connection reset by peer".into() }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "simulation with seed {}", self.faults.seed)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.fate().await;
        if fate == Fate::Refused {
            return Err(broken());
        }
        let result = self.inner.put_opts(location, payload, options).await;
        if fate == Fate::ReplyLost { Err(broken()) } else { result }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if self.fate().await == Fate::Fine {
            self.inner.put_multipart_opts(location, opts).await
        } else {
            Err(broken())
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.fate().await == Fate::Fine { self.inner.get_opts(location, options).await } else { Err(broken()) }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = locations.then(move |location| {
            let store = store.clone();
            async move {
                let (location, fate) = (location?, store.fate().await);
                if fate != Fate::Refused {
                    store.inner.delete(&location).await?;
                }
                if fate == Fate::Fine { Ok(location) } else { Err(broken()) }
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let faults = self.faults;
        let shown = move |object: &Result<ObjectMeta>| object.as_ref().map_or(true, |object| faults.shows(object));
        self.inner.list(prefix).filter(move |object| std::future::ready(shown(object))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        if self.fate().await != Fate::Fine {
            return Err(broken());
        }
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects.retain(|object| self.faults.shows(object));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

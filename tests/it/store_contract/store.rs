//! A store that misbehaves in one way, around one that does not.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::{Arc, Mutex};

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Writes what is to be created and then reports that the connection broke.
    LosesReplies,
    /// Overwrites what is only to be created, as some S3 servers do.
    IgnoresConditions,
}

/// A store with a fault, which remembers the prefixes that were listed and the paths that were read.
#[derive(Debug)]
pub(super) struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    seen: Mutex<Vec<String>>,
}

impl FaultyStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, fault: Fault) -> FaultyStore {
        FaultyStore { inner, fault, seen: Mutex::default() }
    }

    /// What was listed and read since this was last asked.
    pub(super) fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn see(&self, what: &Path) {
        self.seen.lock().unwrap().push(what.to_string());
    }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.fault, self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        let creates = options.mode == PutMode::Create;
        if creates && self.fault == Fault::IgnoresConditions {
            options.mode = PutMode::Overwrite;
        }
        let result = self.inner.put_opts(location, payload, options).await?;
        if creates && self.fault == Fault::LosesReplies {
            return Err(Error::Generic { store: "test", source: "connection reset by peer".into() });
        }
        Ok(result)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.see(location);
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.see(prefix.unwrap_or(&Path::default()));
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

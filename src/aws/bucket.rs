//! A bucket as a store. It is opened by its first request, so that naming a bucket costs nothing; what S3 refuses is
//! said with bucket, key and permission.

use super::credentials::Found;
use super::explain::Doing;
use super::options::{Access, Encryption};
use super::wire::Wire;
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use chrono::TimeDelta;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut, resolve_bucket_region,
};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RetryConfig,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

type StoreResult<T> = object_store::Result<T>;

/// Region where no configuration names one and S3 is not asked, such as on other servers.
const REGION: &str = "us-east-1";

/// A bucket, opened when it is first used. Clones share it.
#[derive(Clone, Debug)]
pub struct Bucket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    access: Access,
    opened: OnceCell<Arc<Opened>>,
}

/// A bucket that has been opened.
#[derive(Debug)]
struct Opened {
    store: AmazonS3,
    found: Found,
    region: String,
}

impl Bucket {
    /// Names a bucket; nothing is read or asked yet.
    pub fn new(name: impl Into<String>, access: Access) -> Bucket {
        Bucket(Arc::new(Inner { name: name.into(), access, opened: OnceCell::new() }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whom AWS takes this side for (the ARN by STS GetCallerIdentity), and the region of the bucket. Other servers than
    /// AWS need not know the former.
    ///
    /// # Errors
    /// That there are no credentials, that S3 does not tell the region, or what STS says.
    pub async fn identity(&self) -> Result<(String, String)> {
        let opened = self.0.opened().await?;
        let caller = match self.0.access.options.no_sign_request {
            true => Ok("anonymous (no_sign_request)".to_owned()),
            false => opened.found.caller().await,
        };
        let caller = match caller {
            Err(error) if opened.found.endpoint_url.is_some() => format!("not told: {error}"),
            caller => caller?,
        };
        Ok((caller, opened.region.clone()))
    }
}

impl Inner {
    /// Opens the bucket at its first use, in a task of its own: a request that nobody polls for a while must not keep
    /// the others from going on.
    async fn opened(self: &Arc<Self>) -> StoreResult<Arc<Opened>> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened.clone());
        }
        let inner = self.clone();
        let opening = async move { inner.opened.get_or_try_init(|| inner.open()).await.cloned() };
        tokio::spawn(opening).await.map_err(|source| StoreError::JoinError { source })?
    }

    async fn store(self: &Arc<Self>) -> StoreResult<AmazonS3> {
        Ok(self.opened().await?.store.clone())
    }

    async fn open(&self) -> StoreResult<Arc<Opened>> {
        let Inner { name, access, .. } = self;
        let options = &access.options;
        let found = Found::look_up(access).await;
        let client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(duration(options.connect_timeout))
            .with_allow_http(found.endpoint_url.as_deref().is_some_and(|url| url.starts_with("http://")));
        let region = match (&found.region, &found.endpoint_url) {
            (Some(region), _) => region.clone(),
            (None, Some(_)) => REGION.to_owned(),
            (None, None) => self.find_region(&client).await?,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&region)
            .with_credentials(Arc::new(found.credentials()))
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Buckets with Object Lock take no object without a checksum.
            .with_checksum_algorithm(Checksum::SHA256)
            .with_skip_signature(options.no_sign_request)
            .with_request_payer(options.requester_pays)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { max_backoff: duration(options.backoff_max), ..BackoffConfig::default() },
                max_retries: options.retries_max,
                retry_timeout: duration(options.retry_timeout),
            })
            .with_http_connector(Wire { usage: access.usage.clone(), stall: duration(options.stall_timeout) })
            .with_client_options(client);
        if let Some(url) = &found.endpoint_url {
            builder = builder.with_endpoint(url);
        }
        for (key, value) in encryption(access) {
            builder = builder.with_config(key, value);
        }
        Ok(Arc::new(Opened { store: builder.build()?, found, region }))
    }

    /// Asks S3 where the bucket is: one unsigned request, which takes no permission.
    async fn find_region(&self, client: &ClientOptions) -> StoreResult<String> {
        let patience = duration(self.access.options.connect_timeout);
        let asked = tokio::time::timeout(patience, resolve_bucket_region(&self.name, client)).await;
        let refused = |why: String, hint: &str| StoreError::Generic {
            store: "S3",
            source: Box::new(Error::new(ErrorKind::Unavailable, why).with_hint(hint)),
        };
        let name = &self.name;
        match asked {
            Ok(Ok(region)) => Ok(region),
            Ok(Err(error)) if error.to_string().contains("not found") => Err(StoreError::Generic {
                store: "S3",
                source: Box::new(
                    Error::not_found(format!("bucket {name} does not exist"))
                        .with_hint("look at the name in the URL; for another server than AWS give --endpoint-url"),
                ),
            }),
            Ok(Err(error)) => Err(refused(
                format!("S3 does not tell the region of bucket {name}: {error}"),
                "give --region; for another server than AWS give --endpoint-url",
            )),
            Err(_) => Err(refused(
                format!("S3 does not tell the region of bucket {name}: no answer for {} s", patience.as_secs()),
                "give --region; look at the network, and for another server than AWS give --endpoint-url",
            )),
        }
    }

    fn doing(&self, key: Option<&Path>, permission: &'static str) -> Doing {
        Doing { bucket: self.name.clone(), key: key.map(Path::to_string).unwrap_or_default(), permission }
    }
}

/// The settings of object_store for what a side wants encrypted.
fn encryption(access: &Access) -> Vec<(AmazonS3ConfigKey, String)> {
    let key = |name: &str| name.parse::<AmazonS3ConfigKey>().ok();
    let kind = match access.encryption {
        Encryption::Bucket => None,
        Encryption::S3 => Some("AES256".to_owned()),
        Encryption::Kms => Some("aws:kms".to_owned()),
    };
    [
        ("aws_server_side_encryption", kind),
        ("aws_sse_kms_key_id", access.kms_key_id.clone()),
        ("aws_sse_bucket_key_enabled", access.bucket_key.map(|enabled| enabled.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((key(name)?, value?)))
    .collect()
}

fn duration(delta: TimeDelta) -> Duration {
    delta.to_std().unwrap_or_default()
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.0.name)
    }
}

const GET: &str = "s3:GetObject";
const PUT: &str = "s3:PutObject";
const LIST: &str = "s3:ListBucket";
const DELETE: &str = "s3:DeleteObject";

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let store = self.0.store().await?;
        let put = store.put_opts(location, payload, options).await;
        put.map_err(|error| self.0.doing(Some(location), PUT).explain(error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let store = self.0.store().await?;
        let put = store.put_multipart_opts(location, options).await;
        put.map_err(|error| self.0.doing(Some(location), PUT).explain(error))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let store = self.0.store().await?;
        let got = store.get_opts(location, options).await;
        got.map_err(|error| self.0.doing(Some(location), GET).explain(error))
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let inner = self.0.clone();
        let opened = async move {
            let stream = inner.store().await?.delete_stream(locations);
            let inner = inner.clone();
            StoreResult::Ok(stream.map_err(move |error| inner.doing(None, DELETE).explain(error)))
        };
        futures::stream::once(opened).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.clone().list(prefix.cloned(), None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.clone().list(prefix.cloned(), Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let store = self.0.store().await?;
        let listed = store.list_with_delimiter(prefix).await;
        listed.map_err(|error| self.0.doing(prefix, LIST).explain(error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        let store = self.0.store().await?;
        let copied = store.copy_opts(from, to, options).await;
        copied.map_err(|error| self.0.doing(Some(to), PUT).explain(error))
    }
}

impl Inner {
    fn list(
        self: Arc<Self>,
        prefix: Option<Path>,
        offset: Option<Path>,
    ) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let opened = async move {
            let store = self.store().await?;
            let metas = match offset {
                Some(offset) => store.list_with_offset(prefix.as_ref(), &offset),
                None => store.list(prefix.as_ref()),
            };
            let doing = self.doing(prefix.as_ref(), LIST);
            StoreResult::Ok(metas.map_err(move |error| doing.explain(error)))
        };
        futures::stream::once(opened).try_flatten().boxed()
    }
}

//! The settings of the two sides: where flow logs are read and where digests are written, and as whom.

use super::Config;
use crate::aws::{Access, Encryption, Role, Usage};
use crate::clock::Clock;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where flow logs are and how they are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceOptions {
    /// A folder, `file://` or `s3://bucket/prefix`; no default.
    pub url: Option<String>,
    /// LIST requests under way at once.
    pub listing_concurrency: usize,
    /// Accounts whose logs are read; default: all.
    pub accounts: Vec<String>,
    /// Regions whose logs are read; default: all.
    pub regions: Vec<String>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// ARN of the role that reads the logs.
    pub role: Option<String>,
    /// External id that the role asks for.
    pub role_external_id: Option<String>,
    /// Name of the role's session.
    pub role_session_name: String,
    /// ARN of the key of KMS that the logs are encrypted with; only `iam-policy` wants to know.
    pub kms_key_id: Option<String>,
}

impl Default for SourceOptions {
    fn default() -> Self {
        SourceOptions {
            url: None,
            listing_concurrency: crate::source::Options::default().listing_concurrency,
            accounts: Vec::new(),
            regions: Vec::new(),
            region: None,
            role: None,
            role_external_id: None,
            role_session_name: SESSION.to_owned(),
            kms_key_id: None,
        }
    }
}

/// Where digests are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreOptions {
    /// A folder, `file://` or `s3://bucket/prefix`.
    pub url: String,
    /// Publish to a store without put-if-absent, knowing that nobody else writes to it.
    pub single_writer: bool,
    /// Manifests that were read are remembered up to this many bytes of JSON, default 64 MiB: some 25,000. 0: none.
    #[serde(with = "super::units::byte_size")]
    pub manifest_cache_bytes_max: u64,
    /// Region of the bucket.
    pub region: Option<String>,
    /// ARN of the role that writes the digests.
    pub role: Option<String>,
    /// External id that the role asks for.
    pub role_external_id: Option<String>,
    /// Name of the role's session.
    pub role_session_name: String,
    /// Server-side encryption of digests: `bucket` (as the bucket does it by itself), `AES256` or `aws:kms`.
    pub encryption: Encryption,
    /// Key of KMS that digests are encrypted with.
    pub kms_key_id: Option<String>,
    /// Whether the bucket's key spares calls to KMS.
    pub bucket_key: Option<bool>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            url: "flowdiff-digests".to_owned(),
            single_writer: false,
            manifest_cache_bytes_max: crate::catalog::MANIFEST_CACHE_BYTES,
            region: None,
            role: None,
            role_external_id: None,
            role_session_name: SESSION.to_owned(),
            encryption: Encryption::default(),
            kms_key_id: None,
            bucket_key: None,
        }
    }
}

/// How sessions of roles are called.
const SESSION: &str = "flowdiff";

impl SourceOptions {
    /// The role that reads, if one is set.
    pub fn role(&self) -> Option<Role> {
        role(&self.role, &self.role_external_id, &self.role_session_name)
    }

    /// How the source is listed. In buckets keys come in their order, but for directory buckets (`...--x-s3`).
    pub fn listing(&self) -> crate::source::Options {
        let bucket = self.url.as_deref().and_then(|url| url.strip_prefix("s3://")?.split('/').next());
        crate::source::Options {
            listing_concurrency: self.listing_concurrency,
            accounts: self.accounts.clone(),
            regions: self.regions.clone(),
            in_key_order: bucket.is_some_and(|bucket| !bucket.ends_with("--x-s3")),
        }
    }
}

impl StoreOptions {
    /// The role that writes, if one is set.
    pub fn role(&self) -> Option<Role> {
        role(&self.role, &self.role_external_id, &self.role_session_name)
    }
}

fn role(arn: &Option<String>, external_id: &Option<String>, session_name: &str) -> Option<Role> {
    let (arn, external_id) = (arn.clone()?, external_id.clone());
    Some(Role { arn, external_id, session_name: session_name.to_owned() })
}

impl Config {
    /// How a bucket of flow logs is read.
    pub fn source_access(&self, clock: Clock, usage: &Arc<Usage>) -> Access {
        Access {
            options: self.aws.clone(),
            region: self.source.region.clone(),
            role: self.source.role(),
            clock,
            usage: usage.clone(),
            ..Access::default()
        }
    }

    /// How the queue of notifications is asked: as whoever reads the logs.
    pub fn queue_access(&self, clock: Clock, usage: &Arc<Usage>) -> Access {
        Access { region: self.notifications.queue_region.clone(), ..self.source_access(clock, usage) }
    }

    /// How a bucket of digests is read and written. Naming a key of KMS asks for encryption with it.
    pub fn store_access(&self, clock: Clock, usage: &Arc<Usage>) -> Access {
        let store = &self.store;
        let with_key = store.encryption == Encryption::Bucket && store.kms_key_id.is_some();
        Access {
            options: self.aws.clone(),
            region: store.region.clone(),
            role: store.role(),
            encryption: if with_key { Encryption::Kms } else { store.encryption },
            kms_key_id: store.kms_key_id.clone(),
            bucket_key: store.bucket_key,
            clock,
            usage: usage.clone(),
        }
    }
}

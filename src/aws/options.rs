//! Settings of access to AWS, and one side's share of them.

use super::cost::Usage;
use crate::clock::Clock;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// How AWS is reached, for both sides. What is not set here is found as the AWS command line finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Profile of the shared files; its credentials then go before those of the environment.
    pub profile: Option<String>,
    /// Region of the buckets; default: as configured for AWS, else asked of S3 for each bucket.
    pub region: Option<String>,
    /// Endpoint of an S3-compatible server.
    pub endpoint_url: Option<String>,
    /// File of credentials instead of `~/.aws/credentials`.
    pub credentials_file: Option<PathBuf>,
    /// Sends requests unsigned, for public buckets.
    pub no_sign_request: bool,
    /// Agrees to pay for requests to buckets whose owner does not.
    pub requester_pays: bool,
    /// Times that a request is sent again after an answer of 5xx or SlowDown, a reset or a timeout.
    pub retries_max: usize,
    /// How long after its first try a request is not sent again any more; credentials must last so long.
    #[serde(with = "crate::config::duration")]
    pub retry_timeout: TimeDelta,
    /// Longest pause before a retry; pauses are random and grow up to it.
    #[serde(with = "crate::config::duration")]
    pub backoff_max: TimeDelta,
    /// How long a request may go without a byte of an answer.
    #[serde(with = "crate::config::duration")]
    pub stall_timeout: TimeDelta,
    /// How long a connection may take to open.
    #[serde(with = "crate::config::duration")]
    pub connect_timeout: TimeDelta,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            profile: None,
            region: None,
            endpoint_url: None,
            credentials_file: None,
            no_sign_request: false,
            requester_pays: false,
            retries_max: 10,
            retry_timeout: TimeDelta::minutes(3),
            backoff_max: TimeDelta::seconds(15),
            stall_timeout: TimeDelta::seconds(30),
            connect_timeout: TimeDelta::seconds(5),
        }
    }
}

/// A role to take on, with the credentials that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What the role's owner wants to be told.
    pub external_id: Option<String>,
    /// Name of the session, seen in CloudTrail.
    pub session_name: String,
}

/// Server-side encryption of what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// As the bucket does it by itself.
    #[default]
    #[serde(rename = "bucket")]
    Bucket,
    /// With keys that S3 holds (SSE-S3).
    #[serde(rename = "AES256")]
    S3,
    /// With a key of KMS (SSE-KMS).
    #[serde(rename = "aws:kms")]
    Kms,
}

/// How one side, source or store, is reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// The settings that both sides share.
    pub options: Options,
    /// Region of this side's bucket; goes before that of `options`.
    pub region: Option<String>,
    /// Role for this side's bucket.
    pub role: Option<Role>,
    /// Encryption of what is written.
    pub encryption: Encryption,
    /// Key of KMS; default: the account's own for S3.
    pub kms_key_id: Option<String>,
    /// Whether the bucket's key spares calls to KMS; default: as the bucket does it by itself.
    pub bucket_key: Option<bool>,
    /// Tells when credentials expire.
    pub clock: Clock,
    /// Counts the requests.
    pub usage: Arc<Usage>,
}

impl Default for Access {
    fn default() -> Self {
        Access {
            options: Options::default(),
            region: None,
            role: None,
            encryption: Encryption::default(),
            kms_key_id: None,
            bucket_key: None,
            clock: Clock::system(),
            usage: Arc::default(),
        }
    }
}

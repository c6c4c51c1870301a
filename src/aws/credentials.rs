//! The AWS SDK's chain of credentials as object_store wants it: one small adapter, which keeps what it was given until
//! shortly before it expires. Signing is object_store's; finding credentials is the SDK's.

use super::options::Access;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use aws_config::identity::IdentityCache;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use chrono::TimeDelta;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is left of credentials' lives when they are asked for anew.
const REFRESH: TimeDelta = TimeDelta::minutes(5);
/// Pause between attempts to refresh credentials that still hold.
const PAUSE: TimeDelta = TimeDelta::seconds(30);
/// Region of requests to STS where none is configured.
const STS_REGION: &str = "us-east-1";

/// What AWS's own configuration says for one side.
#[derive(Clone, Debug)]
pub(super) struct Found {
    sdk: SdkConfig,
    provider: SharedCredentialsProvider,
    /// Region by the settings, the environment or the profile.
    pub(super) region: Option<String>,
    /// Endpoint by the settings, the environment or the profile.
    pub(super) endpoint_url: Option<String>,
    /// The places that are asked for credentials, in words.
    asked: String,
    clock: Clock,
}

impl Found {
    /// Reads the configuration: files and environment, no network.
    pub(super) async fn look_up(access: &Access) -> Found {
        let options = &access.options;
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut files = EnvConfigFiles::builder().include_default_config_file(true);
        files = match &options.credentials_file {
            Some(file) => files.with_file(EnvConfigFileKind::Credentials, file),
            None => files.include_default_credentials_file(true),
        };
        let files = files.build();
        let mut profile_region = ProfileFileRegionProvider::builder();
        if let Some(profile) = &options.profile {
            profile_region = profile_region.profile_name(profile);
        }
        let set = access.region.clone().or_else(|| options.region.clone()).map(Region::new);
        let region = RegionProviderChain::first_try(set)
            .or_else(aws_config::environment::EnvironmentVariableRegionProvider::new())
            .or_else(profile_region.build())
            .region()
            .await;
        let sts_region = region.clone().unwrap_or(Region::from_static(STS_REGION));
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.clone())
            .identity_cache(IdentityCache::no_cache())
            .profile_files(files.clone())
            .region(sts_region.clone());
        let mut asked = CHAIN.to_owned();
        if let Some(profile) = &options.profile {
            // A profile that was asked for by name goes before the environment's keys, as with every AWS tool.
            let config = ProviderConfig::default().with_http_client(http).with_region(Some(sts_region));
            let named = ProfileFileCredentialsProvider::builder().configure(&config).profile_files(files);
            loader = loader.profile_name(profile).credentials_provider(named.profile_name(profile).build());
            asked = format!("profile {profile} of the shared config and credentials files");
        }
        let sdk = loader.load().await;
        let base = sdk.credentials_provider().unwrap_or_else(|| SharedCredentialsProvider::new(Nobody));
        let provider = match &access.role {
            Some(role) => {
                asked = format!("role {} with the credentials of {asked}", role.arn);
                let mut assumed =
                    AssumeRoleProvider::builder(&role.arn).session_name(&role.session_name).configure(&sdk);
                if let Some(id) = &role.external_id {
                    assumed = assumed.external_id(id);
                }
                SharedCredentialsProvider::new(assumed.build_from_provider(base).await)
            }
            None => base,
        };
        let endpoint_url = options.endpoint_url.clone().or_else(|| sdk.endpoint_url().map(str::to_owned));
        let region = region.map(|region| region.to_string());
        Found { sdk, provider, region, endpoint_url, asked, clock: access.clock }
    }

    /// The configuration of the SDK's clients, but for the credentials.
    pub(super) fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The credentials for the SDK's clients, which keep them until they expire.
    pub(super) fn provider(&self) -> SharedCredentialsProvider {
        self.provider.clone()
    }

    /// The adapter for object_store.
    pub(super) fn credentials(&self) -> Credentials {
        Credentials(Arc::new(Keeper {
            provider: self.provider.clone(),
            asked: self.asked.clone(),
            clock: self.clock,
            cached: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Who AWS takes us for: an ARN.
    ///
    /// # Errors
    /// What STS says, or that there are no credentials.
    pub(super) async fn caller(&self) -> Result<String> {
        let config = aws_sdk_sts::config::Builder::from(&self.sdk).credentials_provider(self.provider.clone()).build();
        let answer = aws_sdk_sts::Client::from_conf(config).get_caller_identity().send().await;
        let identity = answer.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "STS does not tell who we are (GetCallerIdentity)").with_source(error)
        })?;
        Ok(identity.arn().unwrap_or("nobody").to_owned())
    }
}

/// What the SDK asks where no profile is named, in this order.
const CHAIN: &str = "the environment (AWS_ACCESS_KEY_ID), the shared config and credentials files (AWS_PROFILE, else \
                     profile default), a web identity token (AWS_WEB_IDENTITY_TOKEN_FILE), the container's role (ECS, \
                     EKS) and the instance's role (EC2 metadata)";

/// Has no credentials.
#[derive(Debug)]
struct Nobody;

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let none = CredentialsError::not_loaded("no provider of credentials is configured");
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(none))
    }
}

/// Credentials for object_store, from a provider of the SDK.
#[derive(Debug)]
pub(super) struct Credentials(Arc<Keeper>);

#[derive(Debug)]
struct Keeper {
    provider: SharedCredentialsProvider,
    asked: String,
    clock: Clock,
    cached: Mutex<Option<Cached>>,
    /// Held while the provider is asked.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Cached {
    credential: Arc<AwsCredential>,
    expiry: Option<Timestamp>,
    /// When to ask for newer ones.
    refresh: Option<Timestamp>,
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    /// Asks in a task of its own: a request that nobody polls for a while must not keep the others from asking.
    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        if let Some(fresh) = self.0.fresh() {
            return Ok(fresh);
        }
        let keeper = self.0.clone();
        let asked = tokio::spawn(async move { keeper.ask().await }).await;
        let asked = asked.unwrap_or_else(|panic| Err(Error::internal("asking for credentials").with_source(panic)));
        asked.map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })
    }
}

impl Keeper {
    fn cached(&self) -> MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> Option<Arc<AwsCredential>> {
        let now = self.clock.now();
        let cached = self.cached();
        let fresh = cached.as_ref().filter(|cached| cached.refresh.is_none_or(|refresh| now < refresh));
        fresh.map(|cached| cached.credential.clone())
    }

    /// One task asks, the others wait for what it gets. Credentials that still hold outlive a failed refresh.
    async fn ask(&self) -> Result<Arc<AwsCredential>> {
        let _asking = self.asking.lock().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let found = self.provider.provide_credentials().await;
        let now = self.clock.now();
        let mut cached = self.cached();
        match (found, &mut *cached) {
            (Ok(found), _) => {
                let credential = Arc::new(AwsCredential {
                    key_id: found.access_key_id().to_owned(),
                    secret_key: found.secret_access_key().to_owned(),
                    token: found.session_token().map(str::to_owned),
                });
                let expiry = found.expiry().map(Timestamp::from);
                let refresh = expiry.map(|expiry| (expiry - REFRESH).max(now + PAUSE).min(expiry));
                *cached = Some(Cached { credential: credential.clone(), expiry, refresh });
                Ok(credential)
            }
            (Err(error), Some(held)) if held.expiry.is_some_and(|expiry| now < expiry) => {
                tracing::warn!(%error, "credentials could not be refreshed; those there are still hold");
                held.refresh = held.expiry.map(|expiry| (now + PAUSE).min(expiry));
                Ok(held.credential.clone())
            }
            (Err(error), _) => Err(self.none(error)),
        }
    }

    fn none(&self, error: CredentialsError) -> Error {
        Error::invalid(format!("no AWS credentials; asked: {}", self.asked)).with_source(error).with_hint(
            "give --profile NAME, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --no-sign-request for a public \
             bucket; after `aws sso login` the profile's session is used",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::Credentials as SdkCredentials;
    use aws_credential_types::provider::future;
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
    use std::time::{Duration, SystemTime};

    /// Gives keys that last until `expiry` (Unix seconds), named after how often it was asked; fails once it is past
    /// `calls_max`.
    #[derive(Debug)]
    struct Counting {
        calls: Arc<AtomicI64>,
        calls_max: i64,
        expiry: u64,
    }

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let call = self.calls.fetch_add(1, Relaxed) + 1;
            let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(self.expiry);
            future::ProvideCredentials::ready(if call > self.calls_max {
                Err(CredentialsError::not_loaded("the server is down"))
            } else {
                Ok(SdkCredentials::new(format!("key-{call}"), "secret", None, Some(expiry), "test"))
            })
        }
    }

    fn at(seconds: i64) -> Clock {
        Clock::fixed(chrono::DateTime::from_timestamp(seconds, 0).unwrap())
    }

    async fn keys(calls_max: i64, expiry: u64, instants: &[i64]) -> Vec<Option<String>> {
        let provider = SharedCredentialsProvider::new(Counting { calls: Arc::default(), calls_max, expiry });
        let mut credentials = credentials(provider);
        let mut keys = Vec::new();
        for &instant in instants {
            Arc::get_mut(&mut credentials.0).unwrap().clock = at(instant);
            keys.push(credentials.get_credential().await.ok().map(|credential| credential.key_id.clone()));
        }
        keys
    }

    fn credentials(provider: SharedCredentialsProvider) -> Credentials {
        let (cached, asking) = (Mutex::default(), tokio::sync::Mutex::default());
        Credentials(Arc::new(Keeper { provider, asked: CHAIN.to_owned(), clock: at(0), cached, asking }))
    }

    fn key(number: i64) -> Option<String> {
        Some(format!("key-{number}"))
    }

    #[tokio::test]
    async fn credentials_are_kept_until_five_minutes_before_they_expire() {
        assert_eq!(keys(9, 3600, &[0, 1, 3299, 3300]).await, [key(1), key(1), key(1), key(2)]);
    }

    #[tokio::test]
    async fn credentials_outlive_a_failed_refresh_but_not_their_expiry() {
        assert_eq!(keys(1, 3600, &[0, 3300, 3599, 3600]).await, [key(1), key(1), key(1), None]);
    }

    #[tokio::test]
    async fn many_requests_ask_once_though_one_of_them_is_never_polled_again() {
        let calls = Arc::<AtomicI64>::default();
        let counting = Counting { calls: calls.clone(), calls_max: 9, expiry: 3600 };
        let credentials = credentials(SharedCredentialsProvider::new(counting));
        let mut abandoned = std::pin::pin!(credentials.get_credential());
        assert!(futures::poll!(abandoned.as_mut()).is_pending());
        let all = (0..9).map(|_| credentials.get_credential());
        let all = futures::future::try_join_all(all).await.unwrap();
        assert!(all.iter().all(|credential| credential.key_id == "key-1"));
        assert_eq!(calls.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn short_lived_credentials_are_not_asked_for_at_every_request() {
        assert_eq!(keys(9, 100, &[0, 1, 29, 30, 59, 60]).await, [key(1), key(1), key(1), key(2), key(2), key(3)]);
    }

    #[tokio::test]
    async fn without_credentials_the_error_says_what_was_asked() {
        let provider = SharedCredentialsProvider::new(Counting { calls: Arc::default(), calls_max: 0, expiry: 0 });
        let error = Error::from(credentials(provider).get_credential().await.unwrap_err());
        assert!(error.to_string().contains("AWS_PROFILE") && error.to_string().contains("EC2"), "{error}");
        assert!(error.hint().unwrap().contains("--profile"));
    }
}

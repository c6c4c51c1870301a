//! `iam-policy`: the least policy for the sides that lie in buckets.

use super::setup::Setup;
use crate::aws::{Place, Queue, Role, least_policy};
use crate::error::{Error, Result};
use crate::session::Location;

/// The policy as JSON.
pub(super) fn policy(setup: &Setup) -> Result<String> {
    let config = setup.config();
    let mut read = match config.source.url {
        Some(_) => place(setup.source_location()?, config.source.role(), &config.source.kms_key_id),
        None => None,
    };
    let write = match config.store.url.starts_with("s3://") {
        true => place(setup.store_location(false)?, config.store.role(), &config.store.kms_key_id),
        false => None,
    };
    if read.is_none() && write.is_none() {
        return Err(Error::invalid("neither the source nor the store is in a bucket: no policy is needed")
            .with_hint("give --source s3://BUCKET/PREFIX and --store s3://BUCKET/PREFIX"));
    }
    let region = config.source.region.as_ref().or(config.store.region.as_ref()).or(config.aws.region.as_ref());
    let partition = partition(region.map_or("", String::as_str));
    if let (Some(read), Some(url)) = (&mut read, &config.notifications.queue_url) {
        read.queue = Some(Queue::new(url, None, config.queue_access(setup.clock, &setup.usage))?.arn(partition));
    }
    let policy = least_policy(partition, read.as_ref(), write.as_ref());
    Ok(serde_json::to_string_pretty(&policy)? + "\n")
}

fn place(location: Location, role: Option<Role>, kms_key: &Option<String>) -> Option<Place> {
    let bucket = location.bucket?.name().to_owned();
    Some(Place { bucket, prefix: location.root.to_string(), role, kms_key: kms_key.clone(), queue: None })
}

/// The part of AWS that a region lies in.
fn partition(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("us") if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

//! `check`: settings, source, store, queue and reports, one line each with what is wrong and how to mend it.

use super::setup::Setup;
use crate::aws::QueueAttributes;
use crate::error::{Context, Error, Result};
use crate::pipeline::deliver;
use crate::session::Location;
use indicatif::{HumanBytes, HumanDuration};
use object_store::ObjectStoreExt;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Bytes that are read of one object.
const READ_BYTES_MAX: u64 = 64 << 10;

/// What is said of something that is right, and what of it had better be otherwise.
struct Found {
    detail: String,
    advice: Vec<Error>,
}

/// Checks everything; returns the exit code of the first thing that failed. With `send_test` those whom reports tell are
/// sent a message.
pub(super) async fn run(setup: &Setup, send_test: bool) -> Result<u8> {
    let (mut lines, mut code) = (format!("ok      settings: {}\n", settings(setup)), 0);
    let mut tell = |what: &str, result: Result<Found>| match result {
        Ok(Found { detail, advice }) => {
            lines += &format!("ok      {what}: {detail}\n");
            advice.iter().for_each(|advice| lines += &format!("better  {what}: {}\n", told(advice)));
        }
        Err(error) => {
            if code == 0 {
                code = error.kind().exit_code();
            }
            lines += &format!("failed  {what}: {}\n", told(&error));
        }
    };
    for (side, location) in [("source", setup.source_location()), ("store", setup.store_location(true))] {
        if let Ok(Location { bucket: Some(bucket), .. }) = location {
            let identity = bucket.identity().await;
            let told = identity.map(|(caller, region)| format!("{caller}, {bucket} in {region}").into());
            tell(&format!("{side} identity"), told);
        }
    }
    tell("source", source(setup).await.map(Found::from));
    tell("store", store(setup).await.map(Found::from));
    if setup.config().notifications.queue_url.is_some() {
        tell("notifications", notifications(setup).await);
    }
    match reports(setup, send_test).await {
        Ok(reports) => reports.into_iter().for_each(|(name, result)| {
            tell(&format!("report {name}"), result.map(Found::from));
        }),
        Err(error) => tell("reports", Err(error)),
    }
    setup.print(&lines)?;
    Ok(code)
}

impl From<String> for Found {
    fn from(detail: String) -> Found {
        Found { detail, advice: Vec::new() }
    }
}

/// An error, its causes and its hint as lines below each other.
fn told(error: &Error) -> String {
    let lines = super::failure::lines(error);
    let lines = lines.iter().enumerate().map(|(index, (label, text))| match index {
        0 => text.clone(),
        _ => format!("        {label}: {text}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn settings(setup: &Setup) -> String {
    let origins: BTreeSet<&str> = setup.loaded.origins.values().map(String::as_str).collect();
    match origins.is_empty() {
        true => "all defaults".to_owned(),
        false => format!("from {}", origins.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

async fn source(setup: &Setup) -> Result<String> {
    let source = setup.source()?;
    let (newest, requests) = source.newest(&setup.config().source.listing()).await?;
    let Some(object) = newest else {
        return Err(Error::not_found(format!("no flow-log object below {} ({requests} LIST requests)", source.url))
            .with_hint("objects are named ACCOUNT_vpcflowlogs_REGION_FLOWLOG_TIME_HASH.log.gz or .log.parquet"));
    };
    let range = 0..object.size.min(READ_BYTES_MAX);
    let bytes = match range.is_empty() {
        true => 0,
        false => {
            let read = source.store.get_range(&object.location, range).await;
            read.context(|| format!("read {} of {}", object.location, source.url))?.len()
        }
    };
    Ok(format!(
        "{}: {requests} LIST requests found {}; read {} of it",
        source.url,
        object.location,
        HumanBytes(bytes as u64)
    ))
}

async fn store(setup: &Setup) -> Result<String> {
    let catalog = setup.catalog(true)?;
    let single_writer = setup.config().store.single_writer;
    let conditional = catalog.probe().await?;
    if !conditional && !single_writer {
        return Err(Error::invalid(format!("store {} ignores put-if-absent", catalog.url)).with_hint(
            "several writers would overwrite each other: use another store, or say --single-writer if there is but one",
        ));
    }
    let windows = catalog.list(None).await?.len();
    let writers = if conditional { "honours put-if-absent" } else { "ignores put-if-absent, one writer" };
    Ok(format!("{}: {writers}; {windows} windows published", catalog.url))
}

/// Receives of a message below which one that was only in the way of a crash is taken for a dead letter.
const RECEIVES_MIN: u64 = 3;

async fn notifications(setup: &Setup) -> Result<Found> {
    let Some((queue, place)) = super::follow::queue(setup)? else {
        return Ok("none".to_owned().into());
    };
    setup.config().notifications.check()?;
    let attributes = queue.attributes().await?;
    // A look at a message that may be received but once would make it a dead letter.
    let may_receive = attributes.as_ref().is_none_or(|found| found.receives_max != Some(1));
    queue.probe(may_receive).await?;
    let (url, bucket) = (queue.url(), &place.bucket);
    Ok(match attributes {
        Some(found) => Found {
            detail: format!(
                "{url} for {bucket}: may receive, keep and delete; {} messages wait, {} are held",
                found.waiting, found.held
            ),
            advice: advice(&found),
        },
        None => Found {
            detail: format!("{url} for {bucket}: may receive, keep and delete"),
            advice: vec![
                Error::invalid("its attributes may not be read")
                    .with_hint("allow sqs:GetQueueAttributes on it, and its redrive policy is checked, too"),
            ],
        },
    })
}

/// What had better be otherwise with a queue.
fn advice(queue: &QueueAttributes) -> Vec<Error> {
    let mut advice = Vec::new();
    let mut advise = |what: String, hint: &'static str| advice.push(Error::invalid(what).with_hint(hint));
    match queue.receives_max {
        None => advise(
            format!(
                "it has no redrive policy: a message that cannot be read comes again and again for {}",
                HumanDuration(queue.retention.to_std().unwrap_or_default())
            ),
            "give it a queue of dead letters: RedrivePolicy with deadLetterTargetArn and a maxReceiveCount of 5 or so",
        ),
        Some(most) if most < RECEIVES_MIN => advise(
            format!("its redrive policy takes a message away that was received {most} times"),
            "set maxReceiveCount to 5 or so: a message comes again after a restart of its reader",
        ),
        Some(_) => {}
    }
    if !queue.has_policy {
        advise(
            "it has no policy: neither S3 nor SNS nor EventBridge may send to it".to_owned(),
            "allow sqs:SendMessage to the principal s3.amazonaws.com (or sns, events) with the bucket as aws:SourceArn",
        );
    }
    if !queue.delay.is_zero() {
        advise(
            format!("it holds each message back for {} s", queue.delay.num_seconds()),
            "set DelaySeconds to 0, unless that is wanted",
        );
    }
    advice
}

async fn reports(setup: &Setup, send_test: bool) -> Result<Vec<(String, Result<String>)>> {
    let config = setup.config();
    let access = config.store_access(setup.clock, &setup.usage);
    let lines: deliver::Lines = Arc::new(Mutex::new(std::io::stdout()));
    let send_to = send_test.then_some((lines, setup.clock));
    deliver::check(&config.deliver, &config.diff, &setup.environment, &access, send_to).await
}

//! Looks whether reports can be delivered: settings, secrets, and whom they name. In: settings. Out: what was found of each
//! report. No receiver is asked, unless a test message is wanted, and nothing is written to the store: a check begins no
//! report.

use super::destination::Destination;
use super::notice::{Notice, NoticeRecord};
use super::options::{Body, Options, Report};
use super::{Lines, found};
use crate::aws::Access;
use crate::clock::Clock;
use crate::diff;
use crate::error::{Error, Result};
use crate::session::Location;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// Checks each report by itself; returns its name and what is to be said of it. With `send_to`, where lines go, each
/// receiver is sent a test message.
///
/// # Errors
/// `Invalid` if the settings contradict each other. What is wrong with a report is in its own result: `Invalid` for a
/// secret that is not there or a place where nothing may be sent, `Unavailable` for a host that is not known.
pub async fn check(
    options: &Options,
    diff: &diff::Options,
    environment: &BTreeMap<String, String>,
    access: &Access,
    send_to: Option<(Lines, Clock)>,
) -> Result<Vec<(String, Result<String>)>> {
    options.check()?;
    let mut checked = Vec::new();
    for report in &options.reports {
        let result = async {
            found::diff_options(report, diff).check()?;
            let lines = send_to.as_ref().map_or_else(nowhere, |(lines, _)| lines.clone());
            let destination = Destination::open(report, options, environment, access, &lines)?;
            let found = look_at(&destination).await?;
            let sent = match &send_to {
                None => "nothing was sent",
                Some((_, clock)) => send_test(report, &destination, *clock).await?,
            };
            Ok(format!("{found}; {sent}"))
        };
        checked.push((report.name.clone(), result.await));
    }
    Ok(checked)
}

fn nowhere() -> Lines {
    Arc::new(Mutex::new(std::io::sink()))
}

/// What can be said of a place without sending anything there.
async fn look_at(destination: &Destination) -> Result<String> {
    Ok(match destination {
        Destination::Lines(_) => destination.to_string(),
        Destination::Objects(Location { bucket: Some(bucket), .. }) => {
            let (caller, region) = bucket.identity().await?;
            format!("{destination} in {region} as {caller}")
        }
        Destination::Objects(_) => destination.to_string(),
        Destination::Web(webhook) => {
            let addresses: Vec<String> = webhook.addresses().await?.iter().map(ToString::to_string).collect();
            let signed = if webhook.is_signed() { "signed" } else { "not signed" };
            format!("{destination} at {}, {signed}", addresses.join(", "))
        }
    })
}

async fn send_test(report: &Report, destination: &Destination, clock: Clock) -> Result<&'static str> {
    if report.body == Body::Event {
        return Ok("events of the earlier services have no form for a test");
    }
    // Written down nowhere: it is sent once.
    let envelope = NoticeRecord::new(report, Notice::Test, clock.now()).envelope(report.body, clock.now())?;
    let sent = destination.deliver(&envelope, clock, &CancellationToken::new()).await;
    sent.map(|()| "a test message was taken").map_err(|failure| -> Error { failure.error })
}

//! `follow`: keeps digests up to date as objects arrive, and shows how it is doing.

use super::args::FollowArgs;
use super::progress::Meter;
use super::setup::Setup;
use super::signals::{INTERRUPTED, cancel_on_signals};
use crate::catalog::{Manifest, State};
use crate::clock::Clock;
use crate::config::LogFormat;
use crate::error::{ErrorKind, Result};
use crate::pipeline::follow::{Event, Facts, Follower, Round};
use crate::window::{Timestamp, Window, format_time};
use indicatif::{HumanCount, HumanDuration};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// Runs `follow`; returns the exit code.
pub(super) async fn run(setup: &Setup, args: FollowArgs) -> Result<u8> {
    let stop = cancel_on_signals("finishing the round; Ctrl-C again drops it");
    let builder = setup.builder()?;
    setup.check_store(&builder.catalog).await?;
    let is_json = setup.config().log.format == LogFormat::Json;
    let meter = Arc::new(OnceLock::<Meter>::new());
    let shown = meter.clone();
    let tell = move |event: &Event| match (is_json, describe(event)) {
        (true, _) => eprintln!("{}", as_json(event)),
        (false, Some(line)) => shown.get().map_or_else(|| eprintln!("{line}"), |meter| meter.line(&line)),
        (false, None) => {}
    };
    setup.note(&format!("following {} into {}", builder.source.url, builder.catalog.url));
    let mut follower = Follower::new(builder, setup.config().follow.clone(), Arc::new(tell))?;
    let (status, clock) = (follower.status(), setup.clock);
    if !is_json {
        let _ = meter.set(setup.meter_of(move |_| line(&status.facts(), clock)));
    }
    if !args.once {
        return follower.run(&stop).await.map(|()| 0);
    }
    let Some(Round { published, failed, left }) = follower.run_once(&stop).await? else {
        setup.note("another follower works on this store: nothing was done");
        return Ok(0);
    };
    let facts = follower.status().facts();
    setup.note(&format!(
        "published {published} versions from {} objects and {} records; {} windows are open, {failed} failed, {} of them \
         wait for delivery",
        HumanCount(facts.objects),
        HumanCount(facts.records),
        facts.open_windows,
        facts.undelivered
    ));
    Ok(match () {
        () if left > 0 => INTERRUPTED,
        () if failed > 0 || facts.undelivered > 0 => ErrorKind::Unavailable.exit_code(),
        () => 0,
    })
}

/// The line that is drawn over on a terminal.
fn line(facts: &Facts, clock: Clock) -> String {
    if !facts.leads && facts.rounds == 0 {
        return "standing by".to_owned();
    }
    let lag = facts.lag(clock.now()).and_then(|lag| lag.to_std().ok());
    let lag = lag.map_or("no object yet".to_owned(), |lag| format!("newest object {} old", HumanDuration(lag)));
    let mut text = format!(
        "{} objects, {} records, {lag}, {} windows open",
        HumanCount(facts.objects),
        HumanCount(facts.records),
        facts.open_windows,
    );
    for (count, what) in [
        (facts.failed_windows, "failed"),
        (facts.late_objects, "late objects"),
        (facts.delivered, "delivered"),
        (facts.undelivered, "to be delivered"),
    ] {
        if count > 0 {
            text += &format!(", {} {what}", HumanCount(count));
        }
    }
    text
}

/// An event in words; `None` for what happens all the time.
fn describe(event: &Event) -> Option<String> {
    let window = |start: &Timestamp, stop: &Timestamp| {
        Window::new(*start, *stop).map_or_else(|_| String::new(), |w| w.to_string())
    };
    Some(match event {
        Event::Published { manifest } if manifest.state == State::Provisional => return None,
        Event::Published { manifest } | Event::Closed { manifest } | Event::Amended { manifest, .. } => {
            let Manifest { version, totals, coverage, start, stop, .. } = &**manifest;
            let blind = match coverage.silent_flow_logs.len() {
                0 => String::new(),
                silent => format!(", {silent} flow logs fell silent"),
            };
            format!(
                "{} closed as version {version}: {} edges from {} records{blind}",
                window(start, stop),
                totals.edges,
                coverage.records
            )
        }
        Event::Late { start, stop, objects } => {
            let window = window(start, stop);
            format!("{window} has {objects} objects that are too late; flowdiff backfill --only-late takes them up")
        }
        Event::Canary { since } => format!("no new object since {}", format_time(*since)),
        Event::Failed { start, stop, reason } => format!("{} failed: {reason}", window(start, stop)),
        Event::Undelivered { start, stop, reason } => {
            format!("{} could not be delivered: {reason}", window(start, stop))
        }
        Event::Delivered { start, stop, version } => format!("{} delivered, version {version}", window(start, stop)),
        Event::Interrupted { reason } => format!("round broken off: {reason}"),
        Event::Leads { leads: true } => return None,
        Event::Leads { leads: false } => "standing by: another follower works on this store".to_owned(),
    })
}

/// An event as a line of JSON: of a manifest, what a reader of logs wants to know.
fn as_json(event: &Event) -> Value {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let (
        Event::Published { manifest } | Event::Closed { manifest } | Event::Amended { manifest, .. },
        Some(fields),
    ) = (event, value.as_object_mut())
    {
        fields.remove("manifest");
        let Manifest { start, stop, version, state, totals, coverage, .. } = &**manifest;
        let said = json!({"start": start, "stop": stop, "version": version, "state": state, "edges": totals.edges,
                          "records": coverage.records, "silent_flow_logs": coverage.silent_flow_logs});
        fields.extend(said.as_object().cloned().unwrap_or_default());
    }
    value
}

//! `follow`: keeps digests up to date as objects arrive, and shows how it is doing.

use super::args::FollowArgs;
use super::say::{above_progress, say};
use super::setup::Setup;
use super::signals::{INTERRUPTED, cancel_on_signals};
use crate::aws::{Access, Queue};
use crate::catalog::{Manifest, State};
use crate::clock::Clock;
use crate::config::LogFormat;
use crate::digest::Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::deliver::{self, Deliveries, Figures};
use crate::pipeline::follow::{Event, Facts, Follower, GRACE, Round, Tell, within_grace};
use crate::serve::front::{Front, Stop};
use crate::session::{Location, open_location};
use crate::source::notify::{Notifications, Place};
use crate::telemetry::Meters;
use crate::window::{Timestamp, Window};
use axum::Router;
use indicatif::{HumanCount, HumanDuration};
use serde_json::{Value, json};
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// A follower with what it is told by and what it tells, as the settings say.
pub(super) struct Following {
    follower: Follower,
    notifications: Option<Arc<Notifications>>,
    deliveries: Option<Arc<Deliveries>>,
    is_reader_gone: Arc<AtomicBool>,
}

/// Stdout; once its reader has gone, it is `stop` for all that write there.
struct Stdout {
    stop: CancellationToken,
    is_reader_gone: Arc<AtomicBool>,
}

impl Stdout {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.is_reader_gone.store(true, Relaxed);
            self.stop.cancel();
        }
        result
    }
}

impl io::Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A reader that does not read holds up no line on stderr.
        let write = || io::Write::write(&mut io::stdout(), bytes);
        self.note(if io::stdout().is_terminal() { above_progress(write) } else { write() })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note(io::Write::flush(&mut io::stdout()))
    }
}

impl Following {
    /// Nothing is asked of the source or the queue yet. If a report goes to stdout and nobody reads there any more, that is
    /// `stop`.
    pub(super) async fn new(
        setup: &Setup,
        builder: Builder,
        tell: Tell,
        stop: &CancellationToken,
    ) -> Result<Following> {
        let is_reader_gone = Arc::<AtomicBool>::default();
        let config = setup.config();
        config.follow.check_deliveries(&config.deliver)?;
        setup.check_store(&builder.catalog).await?;
        let deliveries = match config.deliver.reports.is_empty() {
            true => None,
            false => {
                let parts = deliver::Parts {
                    catalog: builder.catalog.clone(),
                    session: builder.session.clone(),
                    clock: setup.clock,
                    diff: config.diff.clone(),
                    options: config.deliver.clone(),
                    environment: setup.environment.clone(),
                    access: config.store_access(setup.clock, &setup.usage),
                    lines: Arc::new(Mutex::new(Stdout { stop: stop.clone(), is_reader_gone: is_reader_gone.clone() })),
                };
                Some(Arc::new(Deliveries::open(parts).await?))
            }
        };
        let mut follower = Follower::new(builder, config.follow.clone(), tell)?;
        let Location { url, folder, .. } = setup.source_location()?;
        if folder.is_some() {
            follower = follower.with_check(Arc::new(move || open_location(&url, false, &Access::default()).map(drop)));
        }
        let notifications = notifications(setup)?.map(Arc::new);
        if let Some(notifications) = &notifications {
            follower = follower.with_arrivals(notifications.clone());
        }
        if let Some(deliveries) = &deliveries {
            follower = follower.with_sink(deliveries.clone());
        }
        Ok(Following { follower, notifications, deliveries, is_reader_gone })
    }

    /// Counts how it is doing in `meters`.
    pub(super) fn count_in(&self, meters: &Meters, clock: Clock) {
        let (status, deliveries) = (self.follower.status(), self.deliveries.clone());
        let notifications = self.notifications.clone();
        meters.sample_by(move || {
            status.facts().count(clock.now());
            if let Some(notifications) = &notifications {
                notifications.figures().count();
            }
            if let Some(deliveries) = &deliveries {
                deliveries.count();
            }
        });
    }

    /// Follows and delivers until `stop`, or until it cannot: then it is `stop` for all who work with it.
    ///
    /// # Errors
    /// As [`Follower::run`].
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<()> {
        let delivering = async {
            if let Some(deliveries) = &self.deliveries {
                // A message that is dropped is sent again by the next process.
                let _ = within_grace(stop, deliveries.run(stop)).await;
            }
        };
        tokio::join!(ending(stop, self.follower.run(stop)), delivering).0
    }
}

/// The notifications that the settings name, if any.
fn notifications(setup: &Setup) -> Result<Option<Notifications>> {
    let Some((queue, place)) = queue(setup)? else { return Ok(None) };
    Notifications::new(queue, place, &setup.config().notifications).map(Some)
}

/// The queue that the settings name, if any, and whose objects are wanted of what it tells.
///
/// # Errors
/// `Invalid` if the source is no bucket, or the queue's URL is none.
pub(super) fn queue(setup: &Setup) -> Result<Option<(Queue, Place)>> {
    let config = setup.config();
    let Some(url) = &config.notifications.queue_url else { return Ok(None) };
    let location = setup.source_location()?;
    let Some(bucket) = location.bucket.as_ref() else {
        return Err(Error::invalid("notifications tell of objects in a bucket, and the source is none")
            .with_hint("set source.url to s3://bucket/prefix, or leave notifications.queue_url out"));
    };
    let endpoint = config.notifications.queue_endpoint_url.as_deref();
    let queue = Queue::new(url, endpoint, config.queue_access(setup.clock, &setup.usage))?;
    let place = Place { bucket: bucket.name().to_owned(), root: location.root, listing: config.source.listing() };
    Ok(Some((queue, place)))
}

/// Runs `follow`; returns the exit code.
pub(super) async fn run(setup: &Setup, args: FollowArgs) -> Result<u8> {
    let stop = cancel_on_signals("finishing the round; Ctrl-C again drops it");
    let builder = setup.builder()?;
    let is_json = setup.config().log.format == LogFormat::Json;
    let tell = move |event: &Event| match (is_json, describe(event)) {
        (true, _) => say(as_json(event)),
        (false, Some(line)) => say(line),
        (false, None) => {}
    };
    setup.note(&format!("following {} into {}", builder.source.url, builder.catalog.url));
    // Nothing has begun yet that would have to be finished.
    let following = Following::new(setup, builder, Arc::new(tell), &stop);
    let Some(following) = stop.run_until_cancelled(following).await else { return Ok(INTERRUPTED) };
    let mut following = following?;
    let (status, deliveries, clock) = (following.follower.status(), following.deliveries.clone(), setup.clock);
    let _meter = (!is_json).then(|| {
        let told = move || deliveries.as_ref().map(|deliveries| deliveries.figures()).unwrap_or_default();
        setup.meter_of(move |_| line(&status.facts(), &told(), clock))
    });
    if !args.once {
        return run_on(setup, following, args.metrics, &stop).await.map(|()| 0);
    }
    let Some(Round { published, failed, left }) = following.follower.run_once(&stop).await? else {
        setup.note("another follower works on this store: nothing was done");
        return Ok(0);
    };
    let mut told = Figures::default();
    if let Some(deliveries) = &following.deliveries {
        // A message that is dropped is sent again by the next process.
        stop.run_until_cancelled(deliveries.settle_until(&stop)).await.transpose()?;
        told = deliveries.figures();
    }
    let facts = following.follower.status().facts();
    let mut said = format!(
        "published {published} versions from {} objects and {} records; {} windows are open, {failed} failed",
        HumanCount(facts.objects),
        HumanCount(facts.records),
        facts.open_windows,
    );
    said += &listed(&deliveries_in_words(&facts, &told));
    setup.note(&said);
    Ok(match () {
        () if following.is_reader_gone.load(Relaxed) => 0,
        () if left > 0 || stop.is_cancelled() => INTERRUPTED,
        () if failed > 0 || facts.undelivered > 0 || told.pending > 0 => ErrorKind::Unavailable.exit_code(),
        () => 0,
    })
}

/// Waits for a part of what runs together; nothing goes on without it.
async fn ending<T>(stop: &CancellationToken, part: impl Future<Output = T>) -> T {
    let ended = part.await;
    stop.cancel();
    ended
}

/// Follows until `stop`, `/metrics` on an address of its own if one is given; the agent of `[telemetry]` is sent the same.
async fn run_on(
    setup: &Setup,
    following: Following,
    listen: Option<SocketAddr>,
    stop: &CancellationToken,
) -> Result<()> {
    if listen.is_none() && !setup.config().telemetry.statsd {
        return following.run(stop).await;
    }
    let meters = Meters::install(&setup.config().telemetry)?;
    following.count_in(&meters, setup.clock);
    let Some(listen) = listen else { return following.run(stop).await };
    let front = Front::new(&crate::serve::Options { listen, ..setup.config().serve.clone() })?;
    let routes = front.wrap(Router::new(), move || meters.render());
    let end = Stop { begin: stop.clone(), ..Stop::default() };
    let served = front.run(routes, &end, |url| setup.note(&format!("metrics at {url}/metrics")));
    let (served, followed) = tokio::join!(ending(stop, served), following.run(stop));
    served.and(followed)
}

/// The line that is drawn over on a terminal.
fn line(facts: &Facts, told: &Figures, clock: Clock) -> String {
    match &facts.trouble {
        Some(trouble) if !facts.leads => return format!("cannot work, tries again: {trouble}"),
        None if !facts.leads && facts.rounds == 0 => return "standing by".to_owned(),
        _ => {}
    }
    let lag = facts.lag(clock.now()).and_then(|lag| lag.to_std().ok());
    let lag = match lag {
        Some(lag) => format!("newest object {} old, ", HumanDuration(lag)),
        None if facts.objects == 0 => "no object yet, ".to_owned(),
        None => String::new(),
    };
    let text = format!(
        "{} objects, {} records, {lag}{} windows open",
        HumanCount(facts.objects),
        HumanCount(facts.records),
        facts.open_windows,
    );
    let trouble = facts.trouble.as_ref().map(|trouble| format!(", last round broken off: {trouble}"));
    text + &listed(&[(facts.failed_windows, "failed"), (facts.late_objects, "late objects")])
        + &listed(&deliveries_in_words(facts, told))
        + &trouble.unwrap_or_default()
}

/// What became of messages: delivered is what its receiver took.
fn deliveries_in_words(facts: &Facts, told: &Figures) -> [(u64, &'static str); 3] {
    [
        (told.told, "messages delivered"),
        (told.pending, "messages wait to be delivered"),
        (facts.undelivered, "windows wait to be handed over"),
    ]
}

/// What there is of some things, to follow other words.
fn listed(counts: &[(u64, &str)]) -> String {
    counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!(", {} {what}", HumanCount(*count)))
        .collect()
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
        Event::Late { start, stop, objects, .. } => {
            let window = window(start, stop);
            format!("{window} has {objects} objects that are too late; flowdiff backfill --only-late takes them up")
        }
        Event::Canary { since, is_blind } => deliver::silence(*since, *is_blind),
        Event::Failed { start, stop, reason } => format!("{} failed: {reason}", window(start, stop)),
        Event::Undelivered { start, stop, reason } => {
            format!("{} could not be handed over for delivery: {reason}", window(start, stop))
        }
        Event::HandedOver { start, stop, version } => {
            format!("{} is to be delivered, version {version}", window(start, stop))
        }
        Event::Interrupted { reason } => format!("round broken off: {reason}"),
        Event::Blocked { reason } => format!("cannot work, tries again: {reason}"),
        Event::Stopped { is_dropped: false } => "stopped: the round is finished".to_owned(),
        Event::Stopped { is_dropped: true } => {
            let seconds = GRACE.as_secs();
            format!("stopped: the round took longer than {seconds} s and is dropped; the next start goes on from there")
        }
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

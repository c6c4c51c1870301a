//! Following: when windows open, close and change, what is read for it, what is told, and who does it.

use crate::corpora::builder;
use assert_cmd::cargo::CommandCargoExt;
use async_trait::async_trait;
use chrono::TimeDelta;
use flowdiff::catalog::{Manifest, State};
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::pipeline::follow::{Arrival, Arrivals, Event, Follower, GRACE, Options, Receipt, Sink};
use flowdiff::pipeline::{self, backfill, plan};
use flowdiff::scan::Report;
use flowdiff::source::{Object, Selection};
use flowdiff::window::Window;
use flowdiff::{Error, ErrorKind, Result};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
static GO_ON: AtomicBool = AtomicBool::new(false);

/// A source and a store in a folder, and the events of whoever follows.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    events: Arc<Mutex<Vec<String>>>,
}

impl Site {
    pub(crate) fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        Site { folder, events: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes an object of a flow log.
    pub(crate) fn write(&self, flow_log: u8, file_time: &str) {
        let (key, text) = object(flow_log, file_time.parse().unwrap());
        let path = self.path("logs").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn follower(&self, now: &str) -> Follower {
        let mut builder = builder(&self.path("logs"), &self.path("store"));
        builder.clock = Clock::fixed(now.parse().unwrap());
        self.follower_of(builder, Options::default())
    }

    fn follower_of(&self, builder: flowdiff::digest::Builder, options: Options) -> Follower {
        let events = self.events.clone();
        let tell = move |event: &Event| events.lock().unwrap().push(brief(event));
        Follower::new(builder, options, Arc::new(tell)).unwrap()
    }

    /// What was told since the last time. Windows are published side by side, so it is sorted.
    fn told(&self) -> Vec<String> {
        let mut told = std::mem::take(&mut *self.events.lock().unwrap());
        told.sort();
        told
    }

    async fn windows(&self) -> Vec<String> {
        let manifests = builder(&self.path("logs"), &self.path("store")).catalog.list(None).await.unwrap();
        manifests.iter().map(described).collect()
    }

    async fn follow(&self, follower: &mut Follower, now: &str) -> Vec<String> {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        follower.round(Vec::new(), &GO_ON).await.unwrap();
        self.told()
    }
}

/// The key and the text of an object of a flow log, with one record that ends a minute after its file time.
pub(crate) fn object(flow_log: u8, time: Timestamp) -> (String, String) {
    let end = time.timestamp() + 60;
    let text =
        format!("{HEADER}\n2 123456789012 eni-{flow_log} 10.0.0.1 10.0.0.2 40000 443 6 3 300 {end} {end} ACCEPT OK\n");
    let (day, stamp) = (time.format("%Y/%m/%d"), time.format("%Y%m%dT%H%MZ"));
    let name = format!("123456789012_vpcflowlogs_us-east-1_fl-{flow_log}_{stamp}_0a1b2c3d.log");
    (format!("AWSLogs/123456789012/vpcflowlogs/us-east-1/{day}/{name}"), text)
}

fn described(manifest: &Manifest) -> String {
    let Manifest { start, version, state, totals, .. } = manifest;
    format!("{} v{version} {} {}", start.format("%d %H:%M"), state.name(), totals.flows)
}

fn brief(event: &Event) -> String {
    match event {
        Event::Published { manifest } => described(manifest),
        Event::Closed { manifest } => format!("closed {}", described(manifest)),
        Event::Amended { manifest, previous } => format!("amended {previous} {}", described(manifest)),
        Event::Late { start, objects, .. } => format!("late {} {objects}", start.format("%d %H:%M")),
        Event::Canary { since, is_blind: false } => format!("canary {}", since.format("%H:%M")),
        Event::Canary { since, is_blind: true } => format!("blind canary {}", since.format("%H:%M")),
        Event::Failed { start, reason, .. } => format!("failed {} {reason}", start.format("%H:%M")),
        Event::Undelivered { start, .. } => format!("undelivered {}", start.format("%H:%M")),
        Event::HandedOver { start, version, .. } => format!("handed over {} v{version}", start.format("%H:%M")),
        Event::Interrupted { reason } => format!("interrupted {reason}"),
        Event::Blocked { reason } => format!("blocked {reason}"),
        Event::Stopped { is_dropped } => format!("stopped, dropped {is_dropped}"),
        Event::Leads { leads } => format!("leads {leads}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_provisional_until_the_watermark_has_passed_its_lateness() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let mut follower = site.follower("2026-11-20T12:12:00Z");
    // What is stamped 12:05 may hold late records of eleven o'clock; as long as that is open, nothing need be said of it.
    let told = site.follow(&mut follower, "2026-11-20T12:12:00Z").await;
    assert_eq!(told, ["20 12:00 v1 provisional 1"]);
    assert!(site.follow(&mut follower, "2026-11-20T12:13:00Z").await.is_empty(), "nothing is new");
    site.write(1, "2026-11-20T12:40:00Z");
    let told = site.follow(&mut follower, "2026-11-20T12:45:00Z").await;
    assert_eq!(told, ["20 11:00 v1 final 0", "20 12:00 v2 provisional 2"]);
    // The clock has passed 13:30, the flow log has not.
    site.write(1, "2026-11-20T13:25:00Z");
    let told = site.follow(&mut follower, "2026-11-20T13:35:00Z").await;
    assert_eq!(told, ["20 13:00 v1 provisional 1"]);
    site.write(1, "2026-11-20T13:30:00Z");
    let told = site.follow(&mut follower, "2026-11-20T13:36:00Z").await;
    assert_eq!(told, ["20 12:00 v3 final 2", "20 13:00 v2 provisional 2"]);
    let facts = follower.status().facts();
    assert_eq!((facts.open_windows, facts.late_objects), (1, 0));
    assert_eq!(facts.get_requests, 4, "what reaches two windows is read once");
    assert_eq!(facts.lag("2026-11-20T13:36:00Z".parse().unwrap()), Some(TimeDelta::minutes(6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_flow_log_holds_a_window_only_until_it_is_idle_and_lowers_its_coverage() {
    let site = Site::new();
    for minute in [0, 10, 20] {
        site.write(2, &format!("2026-11-20T12:{minute:02}:00Z"));
    }
    for slot in 0..18 {
        site.write(1, &format!("2026-11-20T{:02}:{:02}:00Z", 12 + slot / 6, slot % 6 * 10));
    }
    // The second one last delivered at 13:05: half an hour later it is idle.
    site.write(2, "2026-11-20T13:05:00Z");
    let mut follower = site.follower("2026-11-20T13:34:00Z");
    site.follow(&mut follower, "2026-11-20T13:34:00Z").await;
    assert!(site.windows().await[1].starts_with("20 12:00 v1 provisional"), "{:?}", site.windows().await);
    site.follow(&mut follower, "2026-11-20T13:36:00Z").await;
    assert!(site.windows().await[1].starts_with("20 12:00 v2 final"), "{:?}", site.windows().await);
    let manifests = builder(&site.path("logs"), &site.path("store")).catalog.list(None).await.unwrap();
    assert_eq!(manifests[1].coverage.silent_flow_logs, ["123456789012/us-east-1/fl-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_objects_make_another_final_version_and_those_beyond_the_horizon_are_reported() {
    let site = Site::new();
    for time in ["18T02:40", "18T10:10", "19T12:10", "20T12:10"] {
        site.write(1, &format!("2026-11-{time}:00Z"));
    }
    let backfilled = builder(&site.path("logs"), &site.path("store"));
    let range = Window::parse("2026-11-18T02:00Z/PT1H", Timestamp::UNIX_EPOCH).unwrap();
    let options = pipeline::Options { width: TimeDelta::hours(1), force: false, only_late: false };
    let todo = plan(&backfilled, &range, &options).await.unwrap();
    backfill(&backfilled, todo, &AtomicBool::new(false), &Report::new(), |_| {}).await.unwrap();

    let mut follower = site.follower("2026-11-20T12:15:00Z");
    // Two days before is ten past twelve.
    let told = site.follow(&mut follower, "2026-11-20T12:15:00Z").await;
    assert_eq!(told[..2], ["19 11:00 v1 final 0", "19 12:00 v1 final 1"]);
    site.write(2, "2026-11-19T12:20:00Z");
    site.write(2, "2026-11-18T02:30:00Z");
    let told = site.follow(&mut follower, "2026-11-20T12:16:00Z").await;
    assert!(told.is_empty(), "only recent times are listed: {told:?}");
    let told = site.follow(&mut follower, "2026-11-20T12:31:00Z").await;
    assert_eq!(told, ["19 11:00 v2 final 0", "19 12:00 v2 final 2"]);
    assert_eq!(follower.status().facts().late_objects, 2, "one of them was too late when it began");
    let told = site.follow(&mut follower, "2026-11-21T12:31:00Z").await;
    assert!(told.contains(&"late 18 02:00 2".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_for_windows_that_never_had_an_object_is_reported_once_and_taken_by_only_late() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let mut follower = site.follower("2026-11-20T12:15:00Z");
    site.follow(&mut follower, "2026-11-20T12:15:00Z").await;
    // Each reaches two hours.
    for time in ["18T02:10", "18T02:15", "18T06:55", "17T20:10"] {
        site.write(2, &format!("2026-11-{time}:00Z"));
    }
    let told = site.follow(&mut follower, "2026-11-21T12:31:00Z").await;
    let late = |told: &[String]| told.iter().filter(|line| line.starts_with("late")).cloned().collect::<Vec<_>>();
    assert_eq!(late(&told), ["late 17 19:00 1", "late 18 01:00 3"]);
    assert_eq!(follower.status().facts().late_objects, 4);
    assert_eq!(late(&site.follow(&mut follower, "2026-11-22T12:31:00Z").await), Vec::<String>::new());
    site.write(2, "2026-11-18T12:30:00Z");
    let backfilled = builder(&site.path("logs"), &site.path("store"));
    let range = Window::parse("2026-11-18T01:00Z/PT7H", Timestamp::UNIX_EPOCH).unwrap();
    let options = pipeline::Options { width: TimeDelta::hours(1), force: false, only_late: true };
    let todo = plan(&backfilled, &range, &options).await.unwrap();
    assert_eq!((todo.windows, todo.targets.len(), todo.objects), (7, 4, 3));
    backfill(&backfilled, todo, &AtomicBool::new(false), &Report::new(), |_| {}).await.unwrap();
    let mut another = site.follower("2026-11-23T12:31:00Z");
    assert_eq!(late(&site.follow(&mut another, "2026-11-23T12:31:00Z").await), ["late 18 12:00 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_up_to_twice_the_horizon_late_is_reported_wherever_it_falls_between_two_looks() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let mut follower = site.follower("2026-11-21T12:31:00Z");
    let late = |told: Vec<String>| told.into_iter().filter(|line| line.starts_with("late")).collect::<Vec<_>>();
    assert_eq!(late(site.follow(&mut follower, "2026-11-21T12:31:00Z").await), Vec::<String>::new());
    // It comes just after, nearly four days late; a day later it is nearly five days old.
    site.write(2, "2026-11-17T13:30:00Z");
    assert_eq!(late(site.follow(&mut follower, "2026-11-21T20:31:00Z").await), Vec::<String>::new());
    assert_eq!(late(site.follow(&mut follower, "2026-11-22T12:31:00Z").await), ["late 17 13:00 1"]);
    // Nobody follows for three days.
    site.write(2, "2026-11-18T13:30:00Z");
    let mut follower = site.follower("2026-11-25T14:00:00Z");
    assert_eq!(late(site.follow(&mut follower, "2026-11-25T14:00:00Z").await), ["late 18 13:00 1"]);
    // Who begins soon after need not look again.
    site.write(2, "2026-11-21T21:30:00Z");
    let mut follower = site.follower("2026-11-25T16:00:00Z");
    assert_eq!(late(site.follow(&mut follower, "2026-11-25T16:00:00Z").await), Vec::<String>::new());
    assert_eq!(late(site.follow(&mut follower, "2026-11-26T14:00:00Z").await), ["late 21 21:00 1"]);
}

/// Takes events down, unless it is told not to.
#[derive(Debug, Default)]
struct Notebook {
    events: Mutex<Vec<String>>,
    tags: Mutex<Vec<String>>,
    is_away: AtomicBool,
}

#[async_trait]
impl Sink for Notebook {
    async fn deliver(&self, event: &Event) -> Result<()> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "nobody is there"));
        }
        self.events.lock().unwrap().push(brief(event));
        if let Event::Late { tag, .. } = event {
            self.tags.lock().unwrap().push(tag.clone());
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_closed_and_not_delivered_is_delivered_after_a_restart_once() {
    let site = Site::new();
    let notebook = Arc::new(Notebook::default());
    site.write(1, "2026-11-20T10:10:00Z");
    let start = |now| site.follower(now).with_sink(notebook.clone());
    let run = async |now| {
        let mut follower = start(now);
        follower.round(Vec::new(), &GO_ON).await.unwrap();
        (follower.settle().await, std::mem::take(&mut *notebook.events.lock().unwrap()))
    };
    notebook.is_away.store(true, Ordering::Relaxed);
    assert_eq!(run("2026-11-20T12:15:00Z").await, (2, Vec::new()));
    notebook.is_away.store(false, Ordering::Relaxed);
    let closed = ["closed 20 09:00 v1 final 0", "closed 20 10:00 v1 final 1"].map(str::to_owned).to_vec();
    assert_eq!(run("2026-11-20T12:15:00Z").await, (0, closed));
    assert_eq!(run("2026-11-20T12:15:00Z").await, (0, Vec::new()));
    site.write(2, "2026-11-20T10:35:00Z");
    let amended = vec!["amended 1 20 10:00 v2 final 2".to_owned()];
    assert_eq!(run("2026-11-20T12:15:00Z").await, (0, amended));
}

/// A follower that has taken up one object, and reports a silence of an hour.
async fn with_canary() -> (Site, Follower) {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let mut builder = builder(&site.path("logs"), &site.path("store"));
    builder.clock = Clock::fixed("2026-11-20T12:10:00Z".parse().unwrap());
    let options = Options { canary: Some(TimeDelta::hours(1)), ..Options::default() };
    let mut follower = site.follower_of(builder, options);
    site.follow(&mut follower, "2026-11-20T12:12:00Z").await;
    (site, follower)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_for_too_long_is_reported() {
    let (site, mut follower) = with_canary().await;
    let told = site.follow(&mut follower, "2026-11-20T13:12:00Z").await;
    assert!(told.contains(&"canary 12:05".to_owned()), "{told:?}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_for_too_long_is_reported_though_nobody_can_look() {
    let (site, mut follower) = with_canary().await;
    // A link that leads to itself cannot be listed.
    let day = site.path("logs/AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/20");
    std::fs::rename(&day, site.path("aside")).unwrap();
    std::os::unix::fs::symlink(&day, &day).unwrap();
    for (now, expected) in [("12:40", &[][..]), ("13:12", &["blind canary 12:05"]), ("13:13", &[])] {
        follower.set_clock(Clock::fixed(format!("2026-11-20T{now}:00Z").parse().unwrap()));
        follower.round(Vec::new(), &GO_ON).await.unwrap_err();
        assert_eq!(site.told(), expected, "{now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_go_that_were_superseded_an_hour_ago() {
    let site = Site::new();
    let mut follower = site.follower("2026-11-20T12:12:00Z");
    for minute in [5, 10, 15, 20, 25] {
        site.write(1, &format!("2026-11-20T12:{minute:02}:00Z"));
        site.follow(&mut follower, &format!("2026-11-20T12:{}:00Z", minute + 7)).await;
    }
    let versions = async || {
        let catalog = builder(&site.path("logs"), &site.path("store")).catalog;
        let versions = catalog.versions(&Window::parse("2026-11-20T12", Timestamp::UNIX_EPOCH).unwrap()).await.unwrap();
        versions.iter().map(described).collect::<Vec<_>>()
    };
    assert_eq!(versions().await.len(), 5);
    let sweep = async |follower: &mut Follower, now: &str| {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        follower.sweep().await.unwrap()
    };
    assert_eq!(sweep(&mut follower, "2026-11-20T13:16:59Z").await, 0);
    assert_eq!(sweep(&mut follower, "2026-11-20T13:27:00Z").await, 3, "while the window is still open");
    assert_eq!(versions().await, ["20 12:00 v4 provisional 4", "20 12:00 v5 provisional 5"]);
    site.write(1, "2026-11-20T13:30:00Z");
    site.follow(&mut follower, "2026-11-20T13:40:00Z").await;
    // Another one sweeps at the same time.
    let mut other = site.follower("2026-11-20T14:40:00Z");
    follower.set_clock(Clock::fixed("2026-11-20T14:40:00Z".parse().unwrap()));
    let (one, two) = tokio::join!(follower.sweep(), other.sweep());
    assert!((one.unwrap() + two.unwrap()) >= 2);
    assert_eq!(versions().await, ["20 12:00 v6 final 5"]);
    // What is late builds on what is left.
    site.write(2, "2026-11-20T12:30:00Z");
    let told = site.follow(&mut follower, "2026-11-20T14:45:00Z").await;
    assert!(told.contains(&"20 12:00 v7 final 6".to_owned()), "{told:?}");
    sweep(&mut other, "2026-11-21T14:45:00Z").await;
    assert_eq!(versions().await, ["20 12:00 v6 final 5", "20 12:00 v7 final 6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_of_windows_that_nobody_looks_at_any_more_is_forgotten() {
    let site = Site::new();
    let notebook = Arc::new(Notebook::default());
    site.write(1, "2026-11-20T10:10:00Z");
    let mut follower = site.follower("2026-11-20T12:15:00Z").with_sink(notebook.clone());
    follower.round(Vec::new(), &GO_ON).await.unwrap();
    assert_eq!(follower.settle().await, 0);
    let lines = || {
        std::fs::read_dir(site.path("store/v1/closings")).map_or(0, |folders| {
            folders.filter(|folder| std::fs::read_dir(folder.as_ref().unwrap().path()).unwrap().count() > 0).count()
        })
    };
    assert_eq!(lines(), 2);
    for (now, left) in [("2026-11-24T09:59:00Z", 2), ("2026-11-24T10:00:00Z", 1), ("2026-11-24T11:00:00Z", 0)] {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        follower.sweep().await.unwrap();
        assert_eq!(lines(), left, "{now}");
    }
}

/// Counts are those of the thread that sweeps: of the test, as nothing is spawned for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_sweep_removes_is_counted() {
    let site = Site::new();
    let mut follower = site.follower("2026-11-20T12:12:00Z").with_sink(Arc::new(Notebook::default()));
    for minute in [5, 10, 15] {
        site.write(1, &format!("2026-11-20T12:{minute:02}:00Z"));
        site.follow(&mut follower, &format!("2026-11-20T12:{}:00Z", minute + 7)).await;
    }
    site.write(1, "2026-11-20T13:30:00Z");
    site.follow(&mut follower, "2026-11-20T13:40:00Z").await;
    assert_eq!(follower.settle().await, 0);
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let counted = || {
        let text = recorder.handle().render();
        let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with("flowdiff_")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (now, expected) in [
        ("2026-11-20T13:20:00Z", &["flowdiff_superseded_versions_removed_total 1"][..]),
        ("2026-11-20T14:40:00Z", &["flowdiff_superseded_versions_removed_total 3"]),
        (
            "2026-11-30T00:00:00Z",
            &[
                "flowdiff_journals_removed_total{journal=\"closings\"} 2",
                "flowdiff_superseded_versions_removed_total 3",
            ],
        ),
        (
            "2026-11-30T00:10:00Z",
            &[
                "flowdiff_journals_removed_total{journal=\"closings\"} 2",
                "flowdiff_superseded_versions_removed_total 3",
            ],
        ),
    ] {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        follower.sweep().await.unwrap();
        assert_eq!(counted(), expected, "{now}");
    }
}

/// Counts what is acknowledged.
#[derive(Debug, Default, Clone)]
struct Told(Arc<AtomicUsize>);

impl Receipt for Told {
    fn acknowledge(self: Box<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Arrivals for Told {
    async fn next(&self) -> Vec<Arrival> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_is_told_of_is_read_without_a_listing_and_acknowledged() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let acknowledged = Told::default();
    let mut follower = site.follower("2026-11-20T12:10:00Z").with_arrivals(Arc::new(acknowledged.clone()));
    site.follow(&mut follower, "2026-11-20T12:10:00Z").await;
    site.write(1, "2026-11-20T12:35:00Z");
    assert!(site.follow(&mut follower, "2026-11-20T12:11:00Z").await.is_empty(), "it is told, so it does not list");
    let source = builder(&site.path("logs"), &site.path("store")).source;
    let objects = source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    let told = || vec![Arrival { objects: objects.clone(), receipt: Box::new(acknowledged.clone()) }];
    for expected in [&["20 12:00 v2 provisional 2"][..], &[]] {
        follower.round(told(), &GO_ON).await.unwrap();
        assert_eq!(site.told(), expected);
    }
    assert_eq!(acknowledged.0.load(Ordering::Relaxed), 2);
}

/// A queue that gives a message to one who asks, takes its time to say so, and counts how often it was given.
#[derive(Debug)]
struct SlowQueue {
    waiting: Mutex<Vec<Arc<Object>>>,
    given: AtomicUsize,
    acknowledged: Told,
}

#[async_trait]
impl Arrivals for SlowQueue {
    async fn next(&self) -> Vec<Arrival> {
        let taken = self.waiting.lock().unwrap().pop();
        let Some(object) = taken else { return std::future::pending().await };
        self.given.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(400)).await;
        vec![Arrival { objects: vec![object], receipt: Box::new(self.acknowledged.clone()) }]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_queue_is_about_to_tell_outlives_the_rounds() {
    let site = Site::new();
    let minute = |minutes: i64| {
        let time = Clock::system().now() - TimeDelta::minutes(minutes);
        time.format("%Y-%m-%dT%H:%M:00Z").to_string()
    };
    for minutes in 5..8 {
        site.write(1, &minute(minutes));
    }
    let builder = builder(&site.path("logs"), &site.path("store"));
    let objects = builder.source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    let queue = SlowQueue { waiting: Mutex::new(objects), given: AtomicUsize::new(0), acknowledged: Told::default() };
    let queue = Arc::new(queue);
    let options = Options { publish_every: TimeDelta::milliseconds(50), ..Options::default() };
    let mut follower = site.follower_of(builder, options).with_arrivals(queue.clone());
    let (stop, status) = (CancellationToken::new(), follower.status());
    let stopped = stop.clone();
    let task = tokio::spawn(async move { follower.run(&stopped).await });
    for _ in 0..400 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if queue.acknowledged.0.load(Ordering::Relaxed) == 3 {
            break;
        }
    }
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(status.facts().rounds > 4, "rounds are much shorter than what the queue takes: {:?}", status.facts());
    let (given, acknowledged) = (queue.given.load(Ordering::Relaxed), queue.acknowledged.0.load(Ordering::Relaxed));
    assert_eq!((given, acknowledged), (3, 3), "each message was given once, and taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_time_to_come_is_not_acknowledged_before_it_is_in_a_digest() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let acknowledged = Told::default();
    let mut follower = site.follower("2026-11-20T12:10:00Z").with_arrivals(Arc::new(acknowledged.clone()));
    site.follow(&mut follower, "2026-11-20T12:10:00Z").await;
    site.write(1, "2026-11-20T16:20:00Z");
    let source = builder(&site.path("logs"), &site.path("store")).source;
    let objects = source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    for (now, expected) in [("2026-11-20T12:11:00Z", 0), ("2026-11-20T14:59:00Z", 0), ("2026-11-20T16:25:00Z", 1)] {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        let told = vec![Arrival { objects: objects[1..].to_vec(), receipt: Box::new(acknowledged.clone()) }];
        follower.round(told, &GO_ON).await.unwrap();
        assert_eq!(acknowledged.0.load(Ordering::Relaxed), expected, "{now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_late_is_acknowledged_once_that_is_taken_down() {
    let site = Site::new();
    site.write(1, "2026-11-10T12:05:00Z");
    site.write(1, "2026-11-10T12:10:00Z");
    let (acknowledged, notebook) = (Told::default(), Arc::new(Notebook::default()));
    let follower = site.follower("2026-11-20T12:10:00Z").with_arrivals(Arc::new(acknowledged.clone()));
    let mut follower = follower.with_sink(notebook.clone());
    let source = builder(&site.path("logs"), &site.path("store")).source;
    let objects = source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    let told = || vec![Arrival { objects: objects.clone(), receipt: Box::new(acknowledged.clone()) }];
    notebook.is_away.store(true, Ordering::Relaxed);
    follower.round(told(), &GO_ON).await.unwrap();
    assert_eq!(acknowledged.0.load(Ordering::Relaxed), 0);
    notebook.is_away.store(false, Ordering::Relaxed);
    // It comes again, as what is not acknowledged does.
    follower.round(told(), &GO_ON).await.unwrap();
    assert_eq!(acknowledged.0.load(Ordering::Relaxed), 1);
    follower.round(told(), &GO_ON).await.unwrap();
    assert_eq!(*notebook.events.lock().unwrap(), ["late 10 12:00 2"; 2]);
    let tags: Vec<String> = std::mem::take(&mut *notebook.tags.lock().unwrap());
    assert_eq!(tags[0], tags[1], "a receiver can tell that it is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_window_with_late_objects_is_told_before_their_notifications_are_acknowledged() {
    let site = Site::new();
    let first = "2026-11-01T00:05:00Z".parse::<Timestamp>().unwrap();
    for hours in 0..150 {
        site.write(1, &(first + TimeDelta::hours(hours)).to_rfc3339());
    }
    let (acknowledged, notebook) = (Told::default(), Arc::new(Notebook::default()));
    let follower = site.follower("2026-11-20T12:10:00Z").with_arrivals(Arc::new(acknowledged.clone()));
    let mut follower = follower.with_sink(notebook.clone());
    let source = builder(&site.path("logs"), &site.path("store")).source;
    let objects = source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    let arrival = |object: &Arc<flowdiff::source::Object>| {
        let receipt = Box::new(acknowledged.clone());
        Arrival { objects: vec![object.clone()], receipt }
    };
    let mut round = async |is_away| {
        notebook.is_away.store(is_away, Ordering::Relaxed);
        follower.round(objects.iter().map(arrival).collect(), &GO_ON).await.unwrap();
        (notebook.tags.lock().unwrap().len(), acknowledged.0.load(Ordering::Relaxed))
    };
    assert_eq!(round(true).await, (0, 0), "what could not be taken down comes again");
    assert_eq!(round(false).await, (150, 150));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_windows_are_caught_up_with_each_object_read_once() {
    let site = Site::new();
    for slot in 0..120 {
        let time = "2026-11-20T02:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::minutes(5 * slot);
        site.write(1, &time.to_rfc3339());
    }
    let mut follower = site.follower("2026-11-20T12:10:00Z");
    let round = follower.round(Vec::new(), &GO_ON).await.unwrap();
    // The last two reach twelve o'clock's window, too, and hold nothing of it.
    assert_eq!((round.published, round.failed, round.left), (11, 0, 0));
    assert_eq!(follower.status().facts().get_requests, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_follower_works_and_the_other_takes_over_when_it_ends() {
    let site = Site::new();
    let start = || {
        let (short, builder) = (TimeDelta::milliseconds(100), builder(&site.path("logs"), &site.path("store")));
        // The clock tells whole seconds: a lease of one may run out at once.
        let options = Options { publish_every: short, lease: TimeDelta::seconds(3), ..Options::default() };
        let mut follower = site.follower_of(builder, options);
        let (stop, status) = (CancellationToken::new(), follower.status());
        let stopped = stop.clone();
        let task = tokio::spawn(async move { follower.run(&stopped).await });
        (stop, status, task)
    };
    let until = async |reached: &dyn Fn() -> bool| {
        for _ in 0..600 {
            if reached() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not come to it: {:?}", site.told());
    };
    let first = start();
    until(&|| first.1.facts().leads).await;
    let second = start();
    let minute = |time: Timestamp| time.format("%Y-%m-%dT%H:%M:00Z").to_string();
    site.write(1, &minute(Clock::system().now() - TimeDelta::minutes(5)));
    until(&|| first.1.facts().published > 0).await;
    assert_eq!((second.1.facts().leads, second.1.facts().rounds), (false, 0));
    first.0.cancel();
    first.2.await.unwrap().unwrap();
    until(&|| second.1.facts().leads).await;
    site.write(2, &minute(Clock::system().now() - TimeDelta::minutes(5)));
    until(&|| second.1.facts().published > 0).await;
    second.0.cancel();
    second.2.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_store_fails_says_so_and_works_once_it_does_not() {
    let site = Site::new();
    let builder = builder(&site.path("logs"), &site.path("store"));
    let options =
        Options { publish_every: TimeDelta::milliseconds(100), lease: TimeDelta::seconds(2), ..Options::default() };
    let mut follower = site.follower_of(builder, options);
    let journals = site.path("store/v1");
    std::fs::write(&journals, "in the way").unwrap();
    let (stop, status) = (CancellationToken::new(), follower.status());
    let stopped = stop.clone();
    let task = tokio::spawn(async move { follower.run(&stopped).await });
    let until = async |reached: &dyn Fn() -> bool| {
        for _ in 0..400 {
            if reached() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not come to it: {:?}, {:?}", status.facts(), site.told());
    };
    until(&|| status.facts().trouble.is_some()).await;
    assert!(!status.facts().leads);
    let told = site.told();
    assert!(told.len() == 1 && told[0].starts_with("blocked "), "nobody claims that another one works: {told:?}");
    std::fs::remove_file(&journals).unwrap();
    until(&|| status.facts().leads && status.facts().rounds > 0).await;
    assert_eq!(status.facts().trouble, None);
    stop.cancel();
    task.await.unwrap().unwrap();
}

pub(crate) fn command(site: &Site, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("flowdiff").unwrap();
    command.current_dir(site.folder.path()).env_clear().args(["--source", "logs", "--store", "store"]).args(args);
    command
}

#[test]
fn follow_once_takes_what_is_there_and_has_nothing_to_do_the_second_time() {
    let site = Site::new();
    let then = Clock::system().now() - TimeDelta::hours(4);
    site.write(1, &then.format("%Y-%m-%dT%H:05:00Z").to_string());
    for expected in ["published 2 versions from 1 objects", "published 0 versions from 0 objects"] {
        let output = command(&site, &["follow", "--once"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(expected), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_tells_what_was_superseded_and_removes_it_where_it_is_told_to() {
    let site = Site::new();
    let minute = |minute: i64| {
        let hour = Clock::system().now().timestamp() / 3600 * 3600 - 4 * 3600;
        chrono::DateTime::from_timestamp(hour + 60 * minute, 0).unwrap().to_rfc3339()
    };
    let mut follower = site.follower(&minute(12));
    for time in [35, 40, 45] {
        site.write(1, &minute(time));
        site.follow(&mut follower, &minute(time + 7)).await;
    }
    for (args, words) in [
        (&["retain"][..], "2 versions"),
        (&["retain", "--superseded", "1d"], "0 versions"),
        (&["retain", "--apply"], "2 superseded versions"),
        (&["retain"], "0 versions"),
    ] {
        let output = command(&site, args).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && said.contains(words), "{args:?}: {said}");
    }
    assert_eq!(site.windows().await.len(), 1);
}

/// Two hours of which a report tells something, both over long ago, and a report of them.
fn told_site(settings: &str) -> Site {
    let site = Site::new();
    let then = Clock::system().now() - TimeDelta::hours(5);
    for (flow_log, hour) in [(1, 0), (2, 1)] {
        site.write(flow_log, &(then + TimeDelta::hours(hour)).format("%Y-%m-%dT%H:20:00Z").to_string());
    }
    let report = format!(
        "[deliver]\nattempts_max = 1\n[[deliver.reports]]\nname = \"all\"\nempty = true\nhistory = true\n{settings}\n"
    );
    std::fs::write(site.path("flowdiff.toml"), report).unwrap();
    site
}

#[test]
fn delivered_is_said_of_what_a_receiver_took_and_of_nothing_else() {
    let waits = ["messages wait to be delivered", "is to be delivered, version 1"];
    for (to, code, words) in [("http://127.0.0.1:1/", 5, waits), ("told", 0, ["messages delivered", waits[1]])] {
        let site = told_site(&format!("to = {to:?}"));
        let output = command(&site, &["follow", "--once", "--config", "flowdiff.toml"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert_eq!(said.contains("messages delivered"), code == 0, "{said}");
    }
}

/// Waits until a follower ends by itself.
fn ended(child: &mut std::process::Child) -> std::process::ExitStatus {
    for _ in 0..300 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    panic!("it does not end");
}

#[test]
fn a_follower_ends_when_the_reader_of_its_lines_has_gone() {
    for args in [&["follow", "--config", "flowdiff.toml"][..], &["follow", "--once", "--config", "flowdiff.toml"]] {
        let site = told_site("to = \"stdout\"");
        let mut child = command(&site, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert!(ended(&mut child).success());
        let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(!said.contains("was not taken"), "{said}");
    }
}

/// A message is longer than what a pipe holds.
#[cfg(unix)]
#[test]
fn a_reader_that_does_not_read_does_not_hold_up_the_end() {
    let site = told_site("to = \"stdout\"\nrows_max = 1000");
    let then = Clock::system().now() - TimeDelta::hours(4);
    let (key, text) = object(1, then.format("%Y-%m-%dT%H:25:00Z").to_string().parse().unwrap());
    let lines = (1..1000).map(|port| text.lines().nth(1).unwrap().replace(" 443 ", &format!(" {port} ")) + "\n");
    std::fs::write(site.path("logs").join(key), format!("{HEADER}\n{}", lines.collect::<String>())).unwrap();
    let mut follow = command(&site, &["follow", "--config", "flowdiff.toml"]);
    let mut child = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(std::result::Result::unwrap);
    lines.find(|line| line.contains("is to be delivered")).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(ended(&mut child).success());
}

/// SIGTERM, as systemd sends it.
#[cfg(unix)]
#[test]
fn a_follower_that_is_told_to_end_finishes_its_round() {
    let site = Site::new();
    let then = Clock::system().now() - TimeDelta::hours(4);
    site.write(1, &then.format("%Y-%m-%dT%H:05:00Z").to_string());
    let mut child = command(&site, &["follow", "--log-format", "json"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(std::result::Result::unwrap);
    let published = lines.find(|line| line.contains("\"published\"")).unwrap();
    let event: serde_json::Value = serde_json::from_str(&published).unwrap();
    assert_eq!((&event["version"], &event["state"]), (&1.into(), &State::Final.name().into()));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let told: Vec<String> = lines.collect();
    assert!(told.iter().any(|line| line.contains("finishing the round")), "{told:?}");
    assert!(told.last().unwrap().contains(r#"{"event":"stopped","is_dropped":false}"#), "{told:?}");
    assert!(child.wait().unwrap().success());
}

/// A store, or a source, that does not answer: like a network that swallows everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_network_that_does_not_answer() {
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", hole.local_addr().unwrap());
    // Connections are taken and nothing is said.
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = hole.accept().await {
            held.push(stream);
        }
    });
    let access = flowdiff::aws::Options {
        endpoint_url: Some(endpoint),
        region: Some("eu-west-1".to_owned()),
        no_sign_request: true,
        ..Default::default()
    };
    let access = flowdiff::aws::Access { options: access, ..Default::default() };
    let bucket = flowdiff::aws::Bucket::new("logs", access);
    for is_source in [true, false] {
        let site = Site::new();
        let mut builder = builder(&site.path("logs"), &site.path("store"));
        match is_source {
            true => builder.source.store = Arc::new(bucket.clone()),
            false => {
                builder.catalog = flowdiff::catalog::Catalog::new(Arc::new(bucket.clone()), Default::default(), "s3")
            }
        }
        let mut follower = site.follower_of(builder, Options::default());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { follower.run(&stopped).await });
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.cancel();
        let ended = tokio::time::timeout(GRACE + Duration::from_secs(7), task).await;
        ended.expect("within the time that systemd gives").unwrap().unwrap();
        let told = site.told();
        assert!(told.contains(&format!("stopped, dropped {is_source}")), "{told:?}");
    }
}

#[test]
fn a_source_folder_that_disappears_is_no_silence() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:00:00Z");
    std::fs::write(site.path("flowdiff.toml"), "[follow]\npublish_every = \"1s\"\n").unwrap();
    let args = ["follow", "--log-format", "json", "--config", "flowdiff.toml"];
    let mut child = command(&site, &args).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(std::result::Result::unwrap);
    lines.find(|line| line.contains("\"leads\"")).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    std::fs::rename(site.path("logs"), site.path("aside")).unwrap();
    let said = lines.find(|line| line.contains("\"interrupted\"")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.contains("folder logs does not exist"), "{said}");
}

/// A supervisor starts it again where it ends; nobody sees that one follows without its metrics.
#[test]
fn a_follower_that_cannot_serve_its_metrics_ends() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:00:00Z");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command(&site, &["follow", "--metrics", &address]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains(&format!("listen on {address}")), "{told}");
}

#[cfg(unix)]
#[test]
fn a_follower_sends_its_counts_to_an_agent_without_an_address_for_metrics() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:00:00Z");
    let agent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    agent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let settings = [("STATSD", "true".to_owned()), ("STATSD_FLUSH_INTERVAL", "1s".to_owned())];
    let mut command = command(&site, &["follow"]);
    command.env("FLOWDIFF__TELEMETRY__STATSD_ADDRESS", agent.local_addr().unwrap().to_string());
    command.envs(settings.map(|(name, value)| (format!("FLOWDIFF__TELEMETRY__{name}"), value)));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let (mut sent, mut datagram) = (String::new(), [0; 65_536]);
    while !sent.contains("flowdiff_follow_rounds_total") {
        match agent.recv(&mut datagram) {
            Ok(length) => sent += &String::from_utf8_lossy(&datagram[..length]),
            Err(error) => {
                child.kill().unwrap();
                panic!("{error}; so far: {sent}");
            }
        }
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_horizon_that_holds_no_two_windows_is_refused() {
    let site = Site::new();
    let output = command(&site, &["follow", "--once", "--width", "1d"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("follow.horizon"));
}

#[test]
fn settings_that_would_cut_off_readers_or_forget_what_was_told_too_soon_are_refused() {
    let site = Site::new();
    let told = "[deliver]\nkept_for = \"3d\"\n[[deliver.reports]]\nname = \"all\"\nto = \"stdout\"\n";
    for (settings, words) in [
        ("[follow]\nkeep_superseded = \"10s\"\n", ["follow.keep_superseded is 10s", "1m to 3660d"]),
        (told, ["deliver.kept_for is 72 h", "follow.horizon 48 h"]),
        ("[follow]\nhorizon = \"99999999d\"\n", ["follow.horizon", "36600d at the most"]),
        ("[follow]\nhorizon = \"9999d\"\n", ["follow.horizon is 9999d", "366d"]),
        ("[follow]\nidle = \"32d\"\n", ["follow.idle is 32d", "31d"]),
        ("[digest]\nlateness = \"9999999999999s\"\n", ["digest.lateness", "at the most"]),
    ] {
        std::fs::write(site.path("flowdiff.toml"), settings).unwrap();
        let output = command(&site, &["follow", "--once", "--config", "flowdiff.toml"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

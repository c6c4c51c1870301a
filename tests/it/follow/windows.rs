//! When windows open, close and change, and what is told of them and of silence.

use super::{GO_ON, Notebook, Site, object};
use crate::corpora::builder;
use chrono::TimeDelta;
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::pipeline::follow::{Follower, Options};
use flowdiff::pipeline::{self, backfill, plan};
use flowdiff::scan::Report;
use flowdiff::window::Window;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_set_aside_is_read_once_and_told_in_every_version() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let (key, _) = object(2, "2026-11-20T12:05:00Z".parse().unwrap());
    std::fs::write(site.path("logs").join(key), "no flow log\n").unwrap();
    let mut follower = site.follower("2026-11-20T12:10:00Z");
    let catalog = builder(&site.path("logs"), &site.path("store")).catalog;
    for (version, now) in [(1, "12:10"), (2, "12:20"), (3, "12:30")] {
        site.follow(&mut follower, &format!("2026-11-20T{now}:00Z")).await;
        let manifest = catalog.list(None).await.unwrap().pop().unwrap();
        let coverage = &manifest.coverage;
        assert_eq!((manifest.version, coverage.objects_read, coverage.objects_set_aside), (version, version, 1));
        assert_eq!(follower.status().facts().get_requests, version + 1, "{now}");
        site.write(1, &format!("2026-11-20T{now}:00Z"));
    }
}

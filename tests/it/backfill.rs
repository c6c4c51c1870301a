//! Many windows in one pass: the same bytes as one by one, each object read once, whatever comes between.

use crate::corpora::{builder, write_object};
use crate::random::Random;
use assert_cmd::cargo::CommandCargoExt;
use chrono::TimeDelta;
use flowdiff::ErrorKind;
use flowdiff::catalog::{Manifest, State};
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::digest::Builder;
use flowdiff::pipeline::{Event, Expiry, Options, Policy, Summary, backfill, expired, plan, remove, roll_up};
use flowdiff::scan::Report;
use flowdiff::session::Session;
use flowdiff::window::{Window, join, split};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RANGE: &str = "2024-11-20T10:00Z/2024-11-20T16:00Z";
const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
const HOUR: Options = Options { width: TimeDelta::hours(1), force: false, only_late: false };

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn window(text: &str) -> Window {
    Window::parse(text, now()).unwrap()
}

/// Writes an object for every five minutes of a range. Its records end around its time, some long before.
fn write_logs(folder: &Path, range: &str, records: u64) {
    let mut random = Random(7);
    for slot in split(&window(range), TimeDelta::minutes(5)).unwrap() {
        let time = slot.start();
        let mut text = format!("{HEADER}\n");
        for _ in 0..records {
            let late = if random.below(20) == 0 { random.below(1500) } else { random.below(300) };
            let end = time.timestamp() + 299 - late as i64;
            let (source, destination) = (random.below(4_000), random.below(9));
            let (port, bytes) = ([443, 53, 5432][random.below(3) as usize], random.below(90_000));
            let (interface, action) = (random.below(4), ["ACCEPT", "REJECT"][usize::from(random.below(9) == 0)]);
            let status = ["NODATA", "SKIPDATA", "OK"][random.below(40).min(2) as usize];
            text += &format!(
                "2 123456789012 eni-{interface} 10.0.{}.{} 10.9.1.{destination} {} {port} 6 3 {bytes} {} {end} {action} {status}\n",
                source / 250,
                source % 250,
                40_000 + random.below(9_000),
                end - 60,
            );
        }
        write_object(folder, &time.format("%Y%m%dT%H%MZ").to_string(), text.as_bytes());
    }
}

fn builder_of(folder: &Path, store: &str) -> Builder {
    let mut builder = builder(&folder.join("logs"), &folder.join(store));
    builder.clock = Clock::fixed(now());
    builder
}

/// Checksums of the files of every published window.
async fn published(builder: &Builder) -> BTreeMap<Window, Vec<String>> {
    let manifests = builder.catalog.list(None).await.unwrap();
    let checksums = |manifest: &Manifest| manifest.files.iter().map(|file| file.checksum.clone()).collect();
    manifests.iter().map(|manifest| (manifest.window().unwrap(), checksums(manifest))).collect()
}

async fn run(builder: &Builder, range: &str, options: &Options) -> (Summary, Arc<Report>) {
    let report = Report::new();
    let todo = plan(builder, &window(range), options).await.unwrap();
    let expected = todo.objects;
    let summary = backfill(builder, todo, &AtomicBool::new(false), &report, |_| {}).await.unwrap();
    assert_eq!(report.figures().get_requests, expected, "each object is read once");
    (summary, report)
}

/// Builds the windows of a range one by one, from the objects alone.
async fn one_by_one(folder: &Path, store: &str, range: &str, width: TimeDelta) -> BTreeMap<Window, Vec<String>> {
    let builder = builder_of(folder, store);
    for window in split(&window(range), width).unwrap() {
        builder.build(&window, true, &Report::of_objects()).await.unwrap();
    }
    published(&builder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_has_the_bytes_of_single_digests_and_reads_each_object_once() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), "2024-11-20T09:30Z/2024-11-20T16:40Z", 60);
    for (name, width) in [("hours", TimeDelta::hours(1)), ("tens", TimeDelta::minutes(10))] {
        let builder = builder_of(folder.path(), name);
        let (summary, _) = run(&builder, RANGE, &Options { width, ..HOUR }).await;
        assert_eq!((summary.failed.len(), summary.empty, summary.left), (0, 0, 0), "{summary:?}");
        let single = one_by_one(folder.path(), &format!("{name}-single"), RANGE, width).await;
        assert_eq!(published(&builder).await, single);

        let again = plan(&builder, &window(RANGE), &Options { width, ..HOUR }).await.unwrap();
        assert_eq!((again.targets.len(), again.objects, again.done), (0, 0, single.len()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_beyond_the_memory_go_to_disk_and_come_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), RANGE, 1_500);
    let mut small = builder_of(folder.path(), "small");
    let options = flowdiff::session::Options { memory_bytes: 4 << 20, ..small.session.options().clone() };
    small.session = Session::new(&options).unwrap();
    let (summary, _) = run(&small, RANGE, &HOUR).await;
    assert_eq!(summary.published, 6, "{summary:?}");
    assert_eq!(published(&small).await, one_by_one(folder.path(), "single", RANGE, HOUR.width).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_rolled_up_from_hours_is_the_day_built_from_objects() {
    let folder = tempfile::tempdir().unwrap();
    let day = "2024-11-20";
    write_logs(&folder.path().join("logs"), "2024-11-19T23:40Z/2024-11-21T00:40Z", 20);
    let builder = builder_of(folder.path(), "rolled");
    let stop = AtomicBool::new(false);
    run(&builder, "2024-11-20T00:00Z/2024-11-20T23:00Z", &HOUR).await;
    let told = |event: Event<'_>| {
        let error = event.result.as_ref().unwrap_err();
        assert!(error.to_string().contains("2024-11-20T23:00Z"), "{error}");
    };
    let summary = roll_up(&builder, &window(day), TimeDelta::days(1), &stop, told).await.unwrap();
    assert_eq!(summary.empty, 1, "a day that is not whole waits");
    run(&builder, day, &HOUR).await;
    for expected in [(1, 0), (0, 1)] {
        let summary = roll_up(&builder, &window(day), TimeDelta::days(1), &stop, |_| {}).await.unwrap();
        assert_eq!((summary.published, summary.unchanged), expected);
    }
    let rolled = builder.catalog.latest(&window(day)).await.unwrap().unwrap();
    assert_eq!(rolled.made_from.len(), 24);
    let raw = one_by_one(folder.path(), "raw", "2024-11-20T00:00Z/2024-11-21T00:00Z", TimeDelta::days(1)).await;
    assert_eq!(published(&builder).await[&window(day)], raw[&window(day)]);
    let whole = builder_of(folder.path(), "raw").catalog.latest(&window(day)).await.unwrap().unwrap();
    assert_eq!((rolled.totals, rolled.coverage), (whole.totals, whole.coverage));

    // The day takes up an object that no hour has: rolled up again it would lose it.
    let late = OnlyLate::write(&folder.path().join("logs"));
    let width = TimeDelta::days(1);
    run(&builder, "2024-11-20T00:00Z/2024-11-21T00:00Z", &Options { width, force: false, only_late: true }).await;
    let summary = roll_up(&builder, &window(day), width, &stop, |_| {}).await.unwrap();
    assert_eq!(summary.failed[0].1.kind(), ErrorKind::Conflict);
    // Once the hour has it, too, it is the same day.
    builder.build(&late.window, true, &Report::of_objects()).await.unwrap();
    let summary = roll_up(&builder, &window(day), width, &stop, |_| {}).await.unwrap();
    assert_eq!((summary.published, summary.unchanged), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_up_looks_only_into_windows_that_hold_narrower_digests() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), "2024-11-19T23:40Z/2024-11-21T01:00Z", 2);
    let builder = builder_of(folder.path(), "young");
    run(&builder, "2024-11-20T00:00Z/2024-11-21T00:00Z", &HOUR).await;
    // A day that was digested as such has nothing to merge either, but it is there.
    builder.build(&window("2024-11-19"), true, &Report::of_objects()).await.unwrap();
    let (stop, mut told) = (AtomicBool::new(false), Vec::new());
    let month = window("2024-11-01T12:00Z/2024-12-01T12:00Z");
    let tell = |event: Event<'_>| told.push((event.window, event.left));
    let summary = roll_up(&builder, &month, TimeDelta::days(1), &stop, tell).await.unwrap();
    assert_eq!(told, [(window("2024-11-20"), 0)]);
    assert_eq!((summary.published, summary.unchanged, summary.empty, summary.left), (1, 1, 0, 0));
    assert_eq!(
        join(summary.bare),
        [window("2024-11-02T00:00Z/2024-11-19T00:00Z"), window("2024-11-21T00:00Z/2024-12-01T00:00Z")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_never_built_is_made_from_what_tiles_it_and_objects_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), "2024-11-20T09:30Z/2024-11-20T16:40Z", 40);
    let odd = window("2024-11-20T10:07Z/2024-11-20T14:31Z");
    let raw = builder_of(folder.path(), "raw");
    raw.build(&odd, false, &Report::of_objects()).await.unwrap();
    let tiled = builder_of(folder.path(), "tiled");
    run(&tiled, RANGE, &HOUR).await;
    let report = Report::of_objects();
    let built = tiled.build(&odd, false, &report).await.unwrap();
    let hours: Vec<String> =
        built.manifest.made_from.iter().map(|origin| origin.start.format("%H").to_string()).collect();
    assert_eq!(hours, ["11", "12", "13"]);
    assert_eq!(published(&tiled).await[&odd], published(&raw).await[&odd]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_lacks_a_late_object_is_no_part_of_a_wider_one() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    write_logs(&logs, RANGE, 20);
    let builder = builder_of(folder.path(), "store");
    run(&builder, RANGE, &HOUR).await;
    let late = OnlyLate::write(&logs);
    let wide = window("2024-11-20T11:30Z/2024-11-20T15:00Z");
    let built = builder.build(&wide, false, &Report::of_objects()).await.unwrap();
    assert!(built.manifest.made_from.iter().all(|origin| origin.start != late.window.start()));
    assert_eq!(built.manifest.made_from.len(), 2);
    let raw = builder_of(folder.path(), "raw");
    raw.build(&wide, false, &Report::of_objects()).await.unwrap();
    assert_eq!(published(&builder).await[&wide], published(&raw).await[&wide]);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_objects_make_a_new_version_of_their_windows_and_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    write_logs(&logs, RANGE, 30);
    let builder = builder_of(folder.path(), "store");
    run(&builder, RANGE, &HOUR).await;
    let late = OnlyLate::write(&logs);
    let only_late = Options { only_late: true, ..HOUR };
    let (summary, report) = run(&builder, RANGE, &only_late).await;
    assert_eq!((summary.published, report.figures().read), (1, 1), "{summary:?}");
    let manifest = builder.catalog.latest(&late.window).await.unwrap().unwrap();
    assert_eq!((manifest.version, manifest.previous), (2, Some(1)));
    assert_eq!(published(&builder).await, one_by_one(folder.path(), "single", RANGE, HOUR.width).await);
    let again = plan(&builder, &window(RANGE), &only_late).await.unwrap();
    assert_eq!((again.targets.len(), again.objects), (0, 0));
}

/// An object that arrives when its window is published.
struct OnlyLate {
    window: Window,
}

impl OnlyLate {
    fn write(logs: &Path) -> OnlyLate {
        let window = window("2024-11-20T12:00Z/PT1H");
        let end = window.start().timestamp() + 1_700;
        let text = format!("{HEADER}\n2 123456789012 eni-9 10.9.9.9 10.0.0.1 50000 443 6 1 60 {end} {end} ACCEPT OK\n");
        // A second flow log: its name sorts behind the others of its minute.
        write_object(logs, "20241120T1231Z", text.as_bytes());
        OnlyLate { window }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_deleted_from_the_source_do_not_undo_a_digest() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    write_logs(&logs, RANGE, 10);
    let builder = builder_of(folder.path(), "store");
    run(&builder, RANGE, &HOUR).await;
    let before = published(&builder).await;
    delete_objects(&logs, "T12");
    let (summary, _) = run(&builder, RANGE, &Options { force: true, ..HOUR }).await;
    // The hours beside it reach into the one whose objects are gone.
    let kept: Vec<Window> = summary.failed.iter().map(|(window, _)| *window).collect();
    assert_eq!(kept, ["T11:00Z", "T12:00Z", "T13:00Z"].map(|start| window(&format!("2024-11-20{start}/PT1H"))));
    assert!(summary.failed.iter().all(|(_, error)| error.kind() == ErrorKind::Conflict), "{summary:?}");
    assert_eq!(published(&builder).await, before);
}

fn delete_objects(folder: &Path, part: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            delete_objects(&path, part);
        } else if path.file_name().unwrap().to_str().unwrap().contains(part) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_told_to_stop_finishes_what_it_began() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), RANGE, 10);
    let mut builder = builder_of(folder.path(), "store");
    builder.options.publishing_max = 1;
    let stop = AtomicBool::new(false);
    let fives = Options { width: TimeDelta::minutes(5), ..HOUR };
    let todo = plan(&builder, &window(RANGE), &fives).await.unwrap();
    let (report, told) = (Report::new(), |_: Event<'_>| stop.store(true, Ordering::Relaxed));
    let first = backfill(&builder, todo, &stop, &report, told).await.unwrap();
    assert!(first.left > 0 && first.published > 0 && first.failed.is_empty(), "{first:?}");
    let (second, _) = run(&builder, RANGE, &fives).await;
    assert_eq!(second.published, first.left);
    assert_eq!(published(&builder).await, one_by_one(folder.path(), "single", RANGE, fives.width).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn backfills_of_overlapping_ranges_share_one_store() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), RANGE, 20);
    let run = async |range: &str| {
        let builder = builder_of(folder.path(), "store");
        let todo = plan(&builder, &window(range), &HOUR).await.unwrap();
        backfill(&builder, todo, &AtomicBool::new(false), &Report::new(), |_| {}).await.unwrap()
    };
    let ranges = [RANGE, "2024-11-20T12:00Z/2024-11-20T16:00Z", "2024-11-20T10:00Z/2024-11-20T13:00Z"];
    let summaries = futures::future::join_all(ranges.map(run)).await;
    assert!(summaries.iter().all(|summary| summary.failed.is_empty() && summary.left == 0), "{summaries:?}");
    assert_eq!(summaries.iter().map(|summary| summary.published).sum::<usize>(), 6);
    let builder = builder_of(folder.path(), "store");
    assert!(builder.catalog.list(None).await.unwrap().iter().all(|manifest| manifest.version == 1));
    assert_eq!(published(&builder).await, one_by_one(folder.path(), "single", RANGE, HOUR.width).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_without_objects_are_told_apart_from_failures() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), "2024-11-20T10:00Z/2024-11-20T11:00Z", 10);
    let builder = builder_of(folder.path(), "store");
    let todo = plan(&builder, &window("2024-11-20T06:00Z/2024-11-20T15:00Z"), &HOUR).await.unwrap();
    // The objects of ten o'clock may hold late records of nine o'clock, and early ones of eleven.
    assert_eq!((todo.targets.len(), todo.empty, todo.windows), (3, 6, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_goes_by_age_and_width_and_spares_what_a_wider_digest_refers_to() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), "2024-11-19T23:50Z/2024-11-21T00:40Z", 5);
    let builder = builder_of(folder.path(), "store");
    run(&builder, "2024-11-20", &HOUR).await;
    let stop = AtomicBool::new(false);
    roll_up(&builder, &window("2024-11-20"), TimeDelta::days(1), &stop, |_| {}).await.unwrap();
    let at = |text: &str| text.parse().unwrap();
    let keep = Policy { hours: Some(TimeDelta::days(2)), days: Some(TimeDelta::days(365)), rolled_up: false };
    let lets_go = async |policy: &Policy, now: &str| expired(&builder.catalog, policy, at(now)).await.unwrap();
    assert_eq!(lets_go(&keep, "2024-11-21T12:00:00Z").await, Expiry::default());
    // The day's manifest refers to its hours.
    assert_eq!(lets_go(&keep, "2024-11-22T10:00:00Z").await, Expiry { expired: Vec::new(), referred_to: 10 });
    // The day goes, and with it what referred to the hours.
    assert_eq!(lets_go(&keep, "2026-11-22T10:00:00Z").await.expired.len(), 25);

    let policy = Policy { rolled_up: true, ..keep };
    let Expiry { expired: old, referred_to } = lets_go(&policy, "2024-11-22T10:00:00Z").await;
    assert_eq!((old.len(), referred_to), (10, 0));
    assert!(old.iter().all(|old| old.is_rolled_up && old.window.width() == HOUR.width));
    remove(&builder.catalog, old.iter().map(|old| old.window)).await.unwrap();
    assert_eq!(published(&builder).await.len(), 15);
    assert!(builder.catalog.latest(&old[0].window).await.unwrap().is_none());
    let none = Policy { hours: None, days: None, rolled_up: true };
    assert_eq!(lets_go(&none, "2030-01-01T00:00:00Z").await, Expiry::default());
}

/// Ctrl-C, as a terminal sends it.
#[cfg(unix)]
#[test]
fn an_interrupted_backfill_publishes_what_is_under_way_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), RANGE, 400);
    let command = || {
        let mut command = Command::cargo_bin("flowdiff").unwrap();
        command.current_dir(folder.path()).env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
        command.args(["backfill", "--from", "2024-11-20T10:00Z", "--to", "2024-11-20T16:00Z", "--width", "5m"]);
        command.args(["--source", "logs", "--store", "store", "--threads", "1", "--jobs", "1"]).spawn().unwrap()
    };
    let mut child = command();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("published version 1")));
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let told: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told:?}");
    assert!(told.iter().any(|line| line.contains("finishing the windows under way")), "{told:?}");
    assert!(told.last().unwrap().contains("the same command goes on"), "{told:?}");
    assert!(command().wait().unwrap().success());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let single = one_by_one(folder.path(), "single", RANGE, TimeDelta::minutes(5)).await;
        assert_eq!(published(&builder_of(folder.path(), "store")).await, single);
    });
}

/// A real process is killed at random times; what the next ones add up to has the bytes of an uninterrupted run.
#[test]
fn a_backfill_that_is_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), RANGE, 300);
    let start = |store: &str| {
        let mut command = Command::cargo_bin("flowdiff").unwrap();
        command.current_dir(folder.path()).env_clear().stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["backfill", "--from", "2024-11-20T10:00Z", "--to", "2024-11-20T16:00Z", "--width", "15m"]);
        command.args(["--source", "logs", "--store", store, "--threads", "2"]).spawn().unwrap()
    };
    let begun = Instant::now();
    assert!(start("whole").wait().unwrap().success());
    let whole = begun.elapsed().as_millis() as u64;
    let mut random = Random(std::process::id().into());
    let mut kills = 0;
    for round in 0..3 {
        let store = format!("killed-{round}");
        loop {
            let mut child = start(&store);
            // At any time of a run, and later from kill to kill, so that it comes to its end.
            std::thread::sleep(Duration::from_millis(random.below(whole) + kills * whole / 50));
            match child.try_wait().unwrap() {
                Some(status) => {
                    assert!(status.success());
                    break;
                }
                None => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                }
            }
            assert!(kills < 200, "it never gets to its end");
        }
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let whole = builder_of(folder.path(), "whole");
        let expected = published(&whole).await;
        assert_eq!(expected.len(), 24);
        for round in 0..3 {
            let killed = builder_of(folder.path(), &format!("killed-{round}"));
            assert_eq!(published(&killed).await, expected);
            for manifest in killed.catalog.list(None).await.unwrap() {
                assert_eq!((manifest.version, manifest.state), (1, State::Final));
                killed.catalog.verify(&manifest).await.unwrap();
            }
        }
    });
    assert!(kills > 0, "nothing was killed");
}

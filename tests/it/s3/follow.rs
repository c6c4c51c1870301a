//! Following a bucket that notifies a queue: objects come at random, the process is killed again and again, and in the end
//! the digests are those of a backfill, and every change was told.

use super::notifications::Notified;
use super::server::run;
use crate::random::Random;
use crate::serve_follow::Running;
use flowdiff::catalog::Catalog;
use flowdiff::clock::Timestamp;
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use std::collections::BTreeMap;
use std::fs::{File, read_to_string};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
/// Objects: five minutes of two flow logs, over two hours.
const SLOTS: i64 = 24;
const KILLS: usize = 3;

/// The key and the text of an object.
fn object(first: Timestamp, slot: i64, flow_log: i64) -> (String, String) {
    let time = first + chrono::TimeDelta::minutes(5 * slot);
    let (end, mut text) = (time.timestamp() + 60, format!("{HEADER}\n"));
    for peer in 0..20 + slot {
        text += &format!(
            "2 123456789012 eni-{flow_log} 10.{flow_log}.0.{peer} 10.0.9.9 40000 443 6 3 300 {} {end} ACCEPT OK\n",
            end - 30
        );
    }
    let (day, stamp) = (time.format("%Y/%m/%d"), time.format("%Y%m%dT%H%MZ"));
    let name = format!("123456789012_vpcflowlogs_eu-west-1_fl-{flow_log}_{stamp}_{slot:08x}.log");
    (format!("archive/AWSLogs/123456789012/vpcflowlogs/eu-west-1/{day}/{name}"), text)
}

/// A follower in a process of its own, and the messages that it told on stdout.
struct Following(Child);

impl Following {
    fn start(site: &Notified, folder: &std::path::Path, told: &Arc<Mutex<Vec<String>>>) -> Following {
        let mut command: Command = site.server.process(folder);
        command.args(["follow", "--config", "follow.toml", "--log-format", "json"]);
        command.args(["--source", &format!("s3://{}/archive", site.bucket.name())]);
        command.args(["--store", &format!("s3://{}/digests", site.bucket.name())]);
        let log = File::options().create(true).append(true).open(folder.join("follow.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = told.clone();
        std::thread::spawn(move || lines.for_each(|line| told.lock().unwrap().push(line)));
        Following(child)
    }
}

impl Drop for Following {
    /// As `kill -9` does.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_through_kills_is_what_a_backfill_makes() {
    let Some(site) = Notified::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        "[follow]\npublish_every = \"1s\"\nlist_every = \"2s\"\nreconcile_every = \"2s\"\nlease = \"5s\"\n\
         [notifications]\nqueue_url = {:?}\nqueue_endpoint_url = {:?}\nvisibility_timeout = \"5s\"\npoll_wait = \"1s\"\n\
         [deliver]\nattempts_max = 1\ntimeout = \"2s\"\nlease = \"10s\"\n[[deliver.reports]]\nname = \"all\"\ncompare = \"previous\"\nto = \"stdout\"\n\
         unobserved = true\nempty = true\nhistory = true\n",
        site.queue_url, site.server.url
    );
    std::fs::write(folder.path().join("follow.toml"), settings).unwrap();
    let hour = chrono::TimeDelta::hours(1);
    let first = chrono::DurationRound::duration_trunc(chrono::Utc::now() - hour * 4, hour).unwrap();
    let mut objects: Vec<_> = (0..SLOTS).flat_map(|slot| [object(first, slot, 1), object(first, slot, 2)]).collect();
    let mut random = Random(uuid::Uuid::new_v4().as_u64_pair().0);
    objects.sort_by_cached_key(|_| random.next());

    let told = Arc::default();
    let mut follower = Following::start(&site, folder.path(), &told);
    for (round, part) in objects.chunks(objects.len() / (KILLS + 1)).enumerate() {
        for (key, text) in part {
            site.bucket.put(&Key::from(key.as_str()), text.clone().into()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(300 * (round as u64 + 2))).await;
        if round < KILLS {
            drop(follower);
            follower = Following::start(&site, folder.path(), &told);
        }
    }
    let store = || Catalog::new(Arc::new(site.bucket.clone()), Key::from("digests"), "digests");
    let began = Instant::now();
    let taken = async || -> i64 {
        let manifests = store().list(None).await.unwrap();
        manifests.iter().map(|manifest| manifest.totals.flows).sum()
    };
    let records = 2 * (0..SLOTS).map(|slot| 20 + slot).sum::<i64>();
    loop {
        let manifests = store().list(None).await.unwrap();
        let said: Vec<serde_json::Value> =
            told.lock().unwrap().iter().filter_map(|line: &String| serde_json::from_str(line).ok()).collect();
        let is_told = |version: u64, start: Timestamp| {
            said.iter().any(|message| {
                let after = &message["after"];
                after["version"] == version
                    && after["start"] == start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            })
        };
        let is_done = taken().await == records
            // There is nothing to compare the first with.
            && manifests.iter().any(|manifest| manifest.start == first + hour && is_told(manifest.version, manifest.start))
            && site.messages().await == 0;
        if is_done {
            break;
        }
        let log = || read_to_string(folder.path().join("follow.log")).unwrap();
        assert!(began.elapsed() < Duration::from_secs(90), "{} of {records} records: {}", taken().await, log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(follower);

    // The hours beside them are windows that objects could reach, and that hold no record.
    let (from, to) = ((first - hour).to_rfc3339(), (first + hour * 3).to_rfc3339());
    let mut backfill = site.server.command_with_keys(folder.path());
    backfill.args(["backfill", "--from", &from, "--to", &to]);
    backfill.args(["--source", &format!("s3://{}/archive", site.bucket.name()), "--store", "backfilled"]);
    run(&mut backfill, 0);
    let local = object_store::local::LocalFileSystem::new_with_prefix(folder.path().join("backfilled")).unwrap();
    let backfilled = Catalog::new(Arc::new(local), Key::default(), "backfilled");
    assert_eq!(files(&store()).await, files(&backfilled).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_once_takes_what_is_in_the_queue_and_leaves_it_empty() {
    let Some(site) = Notified::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings =
        format!("[notifications]\nqueue_url = {:?}\nqueue_endpoint_url = {:?}\n", site.queue_url, site.server.url);
    std::fs::write(folder.path().join("follow.toml"), settings).unwrap();
    let hour = chrono::TimeDelta::hours(1);
    let first = chrono::DurationRound::duration_trunc(chrono::Utc::now() - hour * 4, hour).unwrap();
    for (key, text) in (0..25).map(|slot| object(first, slot, 1)) {
        site.bucket.put(&Key::from(key.as_str()), text.into()).await.unwrap();
    }
    assert!(site.messages().await > 25, "and a test event");
    let mut command = site.server.command_with_keys(folder.path());
    command.args(["follow", "--once", "--config", "follow.toml", "--store", "store"]);
    command.args(["--source", &format!("s3://{}/archive", site.bucket.name())]);
    let said = run(&mut command, 0);
    assert_eq!(site.messages().await, 0, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_queue_tells_is_counted_in_the_metrics() {
    let Some(site) = Notified::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        "[follow]\npublish_every = \"1s\"\n[notifications]\nqueue_url = {:?}\nqueue_endpoint_url = {:?}\npoll_wait = \"1s\"\n",
        site.queue_url, site.server.url
    );
    std::fs::write(folder.path().join("follow.toml"), settings).unwrap();
    let mut command = site.server.process(folder.path());
    command.args(["follow", "--config", "follow.toml", "--metrics", "127.0.0.1:0", "--store", "store"]);
    command.args(["--source", &format!("s3://{}/archive", site.bucket.name())]);
    let running = Running::start(command, "metrics at ");
    let (key, text) = object(chrono::Utc::now() - chrono::TimeDelta::hours(4), 0, 1);
    for (key, text) in [(key.as_str(), text), ("archive/notes.txt", "none".into()), ("elsewhere/a.log", "none".into())]
    {
        site.bucket.put(&Key::from(key), text.into()).await.unwrap();
    }
    for result in ["taken", "other_key", "foreign"] {
        running.until_metric(&format!("flowdiff_notification_events_total{{result={result:?}}}"), 1.0).await;
    }
    running.until_metric("flowdiff_notification_messages_deleted_total", 3.0).await;
    assert!(running.metric("flowdiff_notification_messages_total").await >= 3.0);
    for name in ["flowdiff_notification_events_total{result=\"malformed\"}", "flowdiff_notification_failures_total"] {
        assert_eq!(running.metric(name).await, 0.0, "{name}");
    }
    running.end();
}

/// The checksums of the newest version's files of every window.
async fn files(catalog: &Catalog) -> BTreeMap<String, Vec<String>> {
    let manifests = catalog.list(None).await.unwrap();
    let checksums =
        |files: &[flowdiff::catalog::PublishedFile]| files.iter().map(|file| file.checksum.clone()).collect();
    manifests.iter().map(|manifest| (manifest.start.to_rfc3339(), checksums(&manifest.files))).collect()
}

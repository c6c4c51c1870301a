//! flowdiff on S3, against an emulator of AWS and a real server: the whole way from objects to a diff, writers that
//! race, a writer that is killed, faults on the wire, what goes out on it, and credentials from everywhere.

mod credentials;
mod faults;
mod follow;
mod notifications;
mod proxy;
mod server;
mod service;
mod signatures;
mod wire;

pub use server::{emulator, garage, say};

use flowdiff::aws::Bucket;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use proxy::{Fate, proxy};
use server::{Server, run};
use std::path::Path;
use std::sync::mpsc;

const BEFORE: &str = "2026-11-20T12:00Z/PT1H";
const AFTER: &str = "2026-11-20T13:00Z/PT1H";

/// The demo's logs below `archive/` of a place in a bucket that a test has to itself, and a folder with the same.
struct Logs {
    server: &'static Server,
    bucket: Bucket,
    root: String,
    folder: tempfile::TempDir,
}

impl Logs {
    /// `None` where there is no emulator, which has been said.
    async fn put() -> Option<Logs> {
        Some(Logs::put_on(emulator()?).await)
    }

    async fn put_on(server: &'static Server) -> Logs {
        let folder = tempfile::tempdir().unwrap();
        run(server.command(folder.path()).arg("demo"), 0);
        let logs = Logs { server, bucket: server.bucket(), root: uuid::Uuid::new_v4().to_string(), folder };
        let here = logs.folder.path().join("flowdiff-demo/logs");
        let local = object_store::local::LocalFileSystem::new_with_prefix(&here).unwrap();
        let keys: Vec<_> = futures::TryStreamExt::try_collect(local.list(None)).await.unwrap();
        for object_store::ObjectMeta { location, .. } in keys {
            let body = local.get(&location).await.unwrap().bytes().await.unwrap();
            logs.bucket.put(&logs.key(&format!("archive/{location}")), body.into()).await.unwrap();
        }
        logs
    }

    fn key(&self, key: &str) -> Key {
        Key::from(format!("{}/{key}", self.root))
    }

    fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{}/{prefix}", self.bucket.name(), self.root)
    }

    /// A command on these logs and a store in the same bucket.
    fn command(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.server.command_with_keys(self.folder.path());
        command.args(arguments).args(["--source", &self.url("archive"), "--store", &self.url("digests")]);
        command
    }

    /// The same through a proxy, with little patience.
    fn through(&self, judge: impl Fn(&str) -> Fate + Send + Sync + 'static, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.command(arguments);
        command.args(["--endpoint-url", &proxy(&self.server.url, judge)]);
        command.env("FLOWDIFF__AWS__STALL_TIMEOUT", "1s").env("FLOWDIFF__AWS__BACKOFF_MAX", "1s");
        command
    }

    /// A command on the demo's own folders.
    fn local(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.server.command(self.folder.path());
        let store = ["--source", "flowdiff-demo/logs", "--store", "flowdiff-demo/digests"];
        command.args(arguments).args(store);
        command
    }

    async fn keys(&self, ending: &str) -> Vec<String> {
        let metas = self.bucket.list(Some(&self.key("digests")));
        let metas: Vec<_> = futures::TryStreamExt::try_collect(metas).await.unwrap();
        metas.into_iter().map(|meta| meta.location.to_string()).filter(|key| key.ends_with(ending)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_gives_what_a_folder_gives() {
    let Some(logs) = Logs::put().await else { return };
    run(&mut logs.command(&["digest", BEFORE, "--dry-run"]), 0);
    assert!(logs.keys("").await.is_empty(), "an estimate writes nothing");
    run(&mut logs.command(&["digest", BEFORE]), 0);
    let (estimate, _) = run(&mut logs.command(&["digest", AFTER, "--dry-run"]), 0);
    let (_, told) = run(&mut logs.command(&["digest", AFTER]), 0);
    let requests = estimate.lines().find_map(|line| line.strip_prefix("requests ")).unwrap();
    assert!(told.contains(&format!("S3: {requests}, 1 DELETE requests")), "{estimate}{told}");
    answers_as_the_folder(&logs);
    let (nothing, _) = run(&mut logs.command(&["digest", "2025-01-01T00:00Z/PT1H", "--dry-run"]), 0);
    assert!(nothing.contains("objects 0\n"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_a_real_server_gives_what_a_folder_gives() {
    let Some(garage) = garage() else { return };
    let logs = Logs::put_on(garage).await;
    for window in [BEFORE, AFTER] {
        run(&mut logs.command(&["digest", window, "--single-writer"]), 0);
    }
    answers_as_the_folder(&logs);
}

/// Whether diffs, edges and SQL over both published hours say what they say over the folder.
fn answers_as_the_folder(logs: &Logs) {
    for arguments in [
        &["diff", BEFORE, AFTER, "--format", "csv"][..],
        &["diff", BEFORE, AFTER, "--by", "link", "--format", "csv"],
        &["edges", AFTER],
        &["sql", "SELECT count(*) AS n, sum(bytes) AS bytes FROM flows"],
        &["sql", "SELECT window_start, count(*) AS n FROM edges GROUP BY window_start ORDER BY window_start"],
    ] {
        let (there, told) = run(&mut logs.command(arguments), 0);
        let (here, _) = run(&mut logs.local(arguments), 0);
        assert_eq!(there, here, "{arguments:?}");
        assert!(told.contains(" LIST, ") && told.contains("about $"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_writers_publish_one_manifest_for_each_window() {
    let Some(logs) = Logs::put().await else { return };
    let windows =
        [BEFORE, BEFORE, BEFORE, "2026-11-20T12:30Z/PT1H", "2026-11-20T12:30Z/PT1H", "2026-11-20T12:00Z/PT2H"];
    let writers: Vec<_> = windows
        .iter()
        .map(|window| {
            let mut command = logs.command(&["digest", window]);
            std::thread::spawn(move || run(&mut command, 0))
        })
        .collect();
    writers.into_iter().for_each(|writer| drop(writer.join().unwrap()));
    assert_eq!(logs.keys("/_00000001.json").await.len(), 3);
    assert_eq!(logs.keys("/_00000002.json").await.len(), 0);
    let (there, _) = run(&mut logs.command(&["edges", BEFORE, "--no-build"]), 0);
    assert_eq!(there, run(&mut logs.local(&["edges", BEFORE]), 0).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_before_its_manifest_has_published_nothing() {
    let Some(logs) = Logs::put().await else { return };
    let (reached, waits) = mpsc::channel();
    let url = proxy(&logs.server.url, move |head| {
        if head.starts_with("PUT ") && head.contains("/_00000001.json") {
            reached.send(()).unwrap();
            return Fate::Held(Vec::new());
        }
        Fate::Forwarded
    });
    let binary = assert_cmd::cargo::cargo_bin("flowdiff");
    let mut writer = std::process::Command::new(binary)
        .env_clear()
        .envs([("AWS_ACCESS_KEY_ID", "AKIABASE"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "us-east-1")])
        .args(["digest", BEFORE, "--source", &logs.url("archive"), "--store", &logs.url("digests")])
        .args(["--endpoint-url", &url])
        .current_dir(logs.folder.path())
        .spawn()
        .unwrap();
    waits.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    // SIGKILL, on Unix.
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(logs.keys(".parquet").await.len(), 3, "the files are there");
    let (none, _) = run(&mut logs.command(&["windows", "--format", "csv"]), 0);
    assert_eq!(none.lines().count(), 1, "{none}");
    run(&mut logs.command(&["edges", BEFORE, "--no-build"]), 3);
    run(&mut logs.command(&["digest", BEFORE]), 0);
    assert_eq!(logs.keys(".parquet").await.len(), 3, "the same files again");
    let (there, _) = run(&mut logs.command(&["edges", BEFORE, "--no-build"]), 0);
    assert_eq!(there, run(&mut logs.local(&["edges", BEFORE]), 0).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_takes_one_writer_who_says_so() {
    if let Some(logs) = Logs::put().await {
        let url = proxy(&logs.server.url, |_| Fate::Unconditional);
        takes_one_writer_who_says_so(&logs, &url).await;
    }
    if let Some(garage) = garage() {
        takes_one_writer_who_says_so(&Logs::put_on(garage).await, &garage.url).await;
    }
}

async fn takes_one_writer_who_says_so(logs: &Logs, url: &str) {
    let command = |arguments: &[&str]| {
        let mut command = logs.command(arguments);
        command.args(["--endpoint-url", url]);
        command
    };
    let (_, told) = run(&mut command(&["digest", BEFORE]), 4);
    assert!(told.contains("put-if-absent") && told.contains("--single-writer"), "{told}");
    assert!(logs.keys("").await.is_empty(), "nothing is written, and the probe is gone");
    let (checked, _) = run(&mut command(&["check"]), 2);
    assert!(checked.contains("ignores put-if-absent") && checked.contains("--single-writer"), "{checked}");
    run(&mut command(&["digest", BEFORE, "--single-writer"]), 0);
    let (checked, _) = run(&mut command(&["check", "--single-writer"]), 0);
    assert!(checked.contains("one writer; 1 windows published"), "{checked}");
}

#[test]
fn the_least_policy_names_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let policy = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("flowdiff").unwrap();
        command.current_dir(folder.path()).env_clear().arg("iam-policy").args(arguments);
        command
    };
    let (text, _) = run(&mut policy(&["--source", "s3://logs/archive", "--store", "s3://digests/flow"]), 0);
    insta::assert_snapshot!(text);
    let (_, told) = run(&mut policy(&["--source", ".", "--store", "digests"]), 2);
    assert!(told.contains("no policy is needed"), "{told}");
}

/// What names a folder must not even look for a metadata service, and answer at once.
#[test]
fn a_folder_needs_nothing_of_aws() {
    let folder = tempfile::tempdir().unwrap();
    run(assert_cmd::Command::cargo_bin("flowdiff").unwrap().current_dir(folder.path()).env_clear().arg("demo"), 0);
    let mut command = assert_cmd::Command::cargo_bin("flowdiff").unwrap();
    command.current_dir(folder.path()).env_clear().args(["windows", "--store", "flowdiff-demo/digests"]);
    let started = std::time::Instant::now();
    // Whatever is asked of the network waits here for its connection.
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.1").env("HTTPS_PROXY", "http://192.0.2.1:1");
    let (_, told) = run(&mut command, 0);
    assert!(started.elapsed() < std::time::Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(!told.contains("S3:"), "{told}");
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

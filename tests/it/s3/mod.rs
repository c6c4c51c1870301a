//! flowdiff on S3, against an emulator of AWS: the whole way from objects to a diff, writers that race, a writer that
//! is killed, faults on the wire, and credentials from everywhere.

mod credentials;
mod emulator;
mod faults;
mod proxy;

pub use emulator::{emulator, say};

use emulator::{Emulator, run};
use flowdiff::aws::Bucket;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use proxy::{Fate, proxy};
use std::path::Path;
use std::sync::mpsc;

const BEFORE: &str = "2026-11-20T12:00Z/PT1H";
const AFTER: &str = "2026-11-20T13:00Z/PT1H";

/// A test's own bucket with the demo's logs below `archive/`, and a folder with the same.
struct Logs {
    aws: &'static Emulator,
    bucket: Bucket,
    folder: tempfile::TempDir,
}

impl Logs {
    /// `None` where there is no emulator, which has been said.
    async fn put() -> Option<Logs> {
        let aws = emulator()?;
        let folder = tempfile::tempdir().unwrap();
        run(aws.command(folder.path()).arg("demo"), 0);
        let bucket = aws.bucket();
        let logs = folder.path().join("flowdiff-demo/logs");
        let local = object_store::local::LocalFileSystem::new_with_prefix(&logs).unwrap();
        let keys: Vec<_> = futures::TryStreamExt::try_collect(local.list(None)).await.unwrap();
        for object_store::ObjectMeta { location, .. } in keys {
            let body = local.get(&location).await.unwrap().bytes().await.unwrap();
            bucket.put(&Key::from(format!("archive/{location}")), body.into()).await.unwrap();
        }
        Some(Logs { aws, bucket, folder })
    }

    fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.bucket.name())
    }

    /// A command on these logs and a store in the same bucket.
    fn command(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.aws.command_with_keys(self.folder.path());
        command.args(arguments).args(["--source", &self.url("archive"), "--store", &self.url("digests")]);
        command
    }

    /// A command on the demo's own folders.
    fn local(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.aws.command(self.folder.path());
        let store = ["--source", "flowdiff-demo/logs", "--store", "flowdiff-demo/digests"];
        command.args(arguments).args(store);
        command
    }

    async fn keys(&self, ending: &str) -> Vec<String> {
        let metas = self.bucket.list(Some(&Key::from("digests")));
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
    let (nothing, _) = run(&mut logs.command(&["digest", "2025-01-01T00:00Z/PT1H", "--dry-run"]), 0);
    assert!(nothing.contains("objects 0\n"), "{nothing}");
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
    let url = proxy(&logs.aws.url, move |line| {
        if line.starts_with("PUT ") && line.contains("/_00000001.json") {
            reached.send(()).unwrap();
            return Fate::Held;
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
    let Some(logs) = Logs::put().await else { return };
    let url = proxy(&logs.aws.url, |_| Fate::Unconditional);
    let digest = |extra: &[&str]| {
        let mut command = logs.command(&["digest", BEFORE, "--endpoint-url", &url]);
        command.args(extra);
        command
    };
    let (_, told) = run(&mut digest(&[]), 4);
    assert!(told.contains("put-if-absent") && told.contains("--single-writer"), "{told}");
    assert!(logs.keys("").await.is_empty(), "nothing is written, and the probe is gone");
    run(&mut digest(&["--single-writer"]), 0);
    let (checked, _) = run(&mut logs.command(&["check", "--endpoint-url", &url]), 2);
    assert!(checked.contains("ignores put-if-absent"), "{checked}");
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

//! Serving and following in one process, by the binary: objects come, windows appear and close, what changed is served and
//! told, everything is counted, and it ends when it is told to.

use crate::follow::{Site, command, object};
use crate::s3::emulator;
use chrono::{DurationRound, TimeDelta};
use flowdiff::clock::{Clock, Timestamp};
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use reqwest::Client;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A flow log holds its windows open until it says itself that they are over, whatever the clock says.
const SETTINGS: &str = "[follow]\npublish_every = \"1s\"\nreconcile_every = \"1s\"\nidle = \"1d\"\n\
                        [[deliver.reports]]\nname = \"all\"\nto = \"told\"\nunobserved = true\nhistory = true\n";

/// A process that answers over HTTP and ends with the test.
pub(crate) struct Running {
    child: Child,
    /// What it says while it runs.
    lines: Box<dyn Iterator<Item = String>>,
    url: String,
    client: Client,
}

impl Running {
    /// Waits until the process says where it listens: after `word`. As it is to stay, it has small pages, where Linux says so.
    pub(crate) fn start(mut command: Command, word: &str) -> Running {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        let url = lines.find_map(|line| {
            let url = line.strip_prefix(word).map(|url| url.trim_end_matches("/metrics").to_owned());
            said.push(line);
            url
        });
        let url = url.unwrap_or_else(|| panic!("{said:#?}"));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        assert!(!status.contains("THP_enabled:\t1"), "{status}");
        // The client wants to know of a provider, be it without TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Running { child, lines: Box::new(lines), url, client: Client::new() }
    }

    async fn get(&self, path: &str) -> String {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn rows(&self, path: &str) -> Vec<Value> {
        serde_json::from_str(&self.get(path).await).unwrap()
    }

    /// Asks for rows again until they are as wanted.
    async fn until(&self, path: &str, is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let rows = self.rows(path).await;
            if is_there(&rows) {
                return rows;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{path}: {rows:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The value of a metric, with its labels as they are printed.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a metric is at least so much.
    pub(crate) async fn until_metric(&self, name: &str, least: f64) {
        let began = Instant::now();
        while self.metric(name).await < least {
            assert!(began.elapsed() < Duration::from_secs(30), "{name} is no {least}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it as systemd does; what else it said.
    pub(crate) fn end(mut self) -> Vec<String> {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        let said = std::mem::replace(&mut self.lines, Box::new(std::iter::empty())).collect::<Vec<_>>();
        assert!(self.child.wait().unwrap().success(), "{said:#?}");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves and follows what `put` puts, and ends. `command` makes commands on the source and the store, with [`SETTINGS`].
async fn serve_and_follow(folder: &Path, command: impl Fn(&[&str]) -> Command, put: impl AsyncFn(String, String)) {
    std::fs::write(folder.join("flowdiff.toml"), SETTINGS).unwrap();
    let put = async |flow_log: u8, time: Timestamp| {
        let (key, text) = object(flow_log, time);
        put(key, text).await;
    };
    let running = Running::start(command(&["serve", "--follow", "--listen", "127.0.0.1:0"]), "listening on ");
    let minute = TimeDelta::minutes(1);
    let hour = Clock::system().now().duration_trunc(TimeDelta::hours(1)).unwrap();
    let (first, second) = (hour - minute * 180, hour - minute * 120);
    // An edge that both windows have, and one that comes with the second.
    put(1, first + minute * 10).await;
    put(1, second + minute * 10).await;
    put(2, second + minute * 12).await;
    let text = |time: Timestamp| time.format("%Y-%m-%dT%H:%MZ").to_string();
    let windows = format!("/v1/windows?from={}&to={}", text(first), text(hour - minute * 60));
    let are = |state: &'static str, flows: [u64; 2]| {
        move |rows: &[Value]| {
            rows.len() == 2 && rows.iter().zip(flows).all(|(row, flows)| row["state"] == state && row["flows"] == flows)
        }
    };
    let open = running.until(&windows, are("provisional", [1, 2])).await;
    assert!(open.iter().all(|row| row["lag_seconds"].as_u64() > Some(3600)), "no record is younger: {open:#?}");
    assert!(running.metric("flowdiff_follow_open_windows").await >= 2.0);

    // Half an hour after the second window both flow logs still deliver: nothing of it is to come.
    for flow_log in [1, 2] {
        put(flow_log, hour - minute * 30).await;
    }
    let closed = running.until(&windows, are("final", [1, 2])).await;
    assert!(closed.iter().all(|row| row["version"].as_u64() > Some(1)), "{closed:#?}");
    let diff = format!("/v1/diffs?before=previous&after={}/PT1H", text(second));
    let changed = running.rows(&diff).await;
    assert_eq!(changed.len(), 1, "{changed:#?}");
    assert_eq!((&changed[0]["change"], &changed[0]["interface_id"]), (&"added".into(), &"eni-2".into()));

    let began = Instant::now();
    while running.metric("flowdiff_deliveries_pending{report=\"all\"}").await > 0.0
        || running.metric("flowdiff_follow_undelivered_windows").await > 0.0
    {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", running.get("/metrics").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (name, least) in [
        ("flowdiff_follow_leads", 1.0),
        ("flowdiff_follow_rounds_total", 2.0),
        ("flowdiff_follow_objects_total", 5.0),
        ("flowdiff_follow_records_total", 5.0),
        ("flowdiff_follow_published_total", 4.0),
        ("flowdiff_follow_lag_seconds", 1800.0),
        ("flowdiff_follow_watermark_lag_seconds", 1800.0),
        ("flowdiff_follow_deliveries_total", 2.0),
        ("flowdiff_deliveries_total{report=\"all\",result=\"told\"}", 1.0),
    ] {
        assert!(running.metric(name).await >= least, "{name}: {}", running.get("/metrics").await);
    }
    for name in [
        "flowdiff_deliveries_total{report=\"all\",result=\"failed\"}",
        "flowdiff_delivery_retries_total{report=\"all\"}",
        "flowdiff_delivery_oldest_pending_seconds{report=\"all\"}",
        "flowdiff_follow_failed_windows",
    ] {
        assert_eq!(running.metric(name).await, 0.0, "{name}");
    }
    assert!(std::fs::read_dir(folder.join("told")).unwrap().count() > 0);

    let said = running.end();
    assert!(!said.iter().any(|line| line.contains("ERROR") || line.contains("panicked")), "{said:#?}");
    let after = command(&["follow", "--once"]).output().unwrap();
    let told = String::from_utf8(after.stderr).unwrap();
    assert!(told.contains("published 0 versions"), "nothing is left to do, and nobody holds the store: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_follows_a_folder_serves_windows_as_they_appear_and_close() {
    let site = Site::new();
    let put = async |key: String, text: String| {
        let path = site.folder.path().join("logs").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As it would not be seen half written in a bucket.
        let written = path.with_extension("part");
        std::fs::write(&written, text).unwrap();
        std::fs::rename(written, path).unwrap();
    };
    let command = |args: &[&str]| command(&site, &[args, &["--config", "flowdiff.toml"]].concat());
    serve_and_follow(site.folder.path(), command, put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_follows_a_bucket_does_likewise() {
    let Some(server) = emulator() else { return };
    let (folder, bucket) = (tempfile::tempdir().unwrap(), server.bucket());
    let put = async |key: String, text: String| {
        bucket.put(&Key::from(format!("logs/{key}")), text.into()).await.unwrap();
    };
    let command = |args: &[&str]| {
        let mut command = server.process(folder.path());
        let place = |side: &str| format!("s3://{}/{side}", bucket.name());
        command.args(args).args(["--config", "flowdiff.toml"]);
        command.args(["--source", &place("logs"), "--store", &place("digests")]);
        command
    };
    serve_and_follow(folder.path(), command, put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_with_an_address_for_metrics_tells_the_same_facts() {
    let site = Site::new();
    std::fs::write(site.folder.path().join("flowdiff.toml"), SETTINGS).unwrap();
    let args = ["follow", "--metrics", "127.0.0.1:0", "--config", "flowdiff.toml", "--log-format", "json"];
    let running = Running::start(command(&site, &args), "metrics at ");
    running.until_metric("flowdiff_follow_rounds_total", 1.0).await;
    assert_eq!(running.metric("flowdiff_follow_leads").await, 1.0);
    assert_eq!(running.metric("flowdiff_deliveries_pending{report=\"all\"}").await, 0.0);
    running.end();
}

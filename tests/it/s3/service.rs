//! The service as two processes on one bucket: one takes requests, one works, and the one that works is killed.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A `flowdiff serve` on a port of its own; it ends with this.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    /// Starts it on the logs' bucket, reached by `endpoint`, with `workers` of its own.
    fn start(logs: &Logs, endpoint: &str, workers: &str) -> Serving {
        let mut command = logs.server.process(logs.folder.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--endpoint-url", endpoint]);
        command.args(["--source", &logs.url("archive"), "--store", &logs.url("digests")]);
        command.env("FLOWDIFF__JOBS__WORKERS", workers);
        command.env("FLOWDIFF__JOBS__LEASE", "5s").env("FLOWDIFF__JOBS__POLL", "1s");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned)).unwrap();
        // What it says later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Serving { child, url }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of the service: its status and its body.
async fn get(url: &str) -> (u16, String) {
    let response = client().get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn client() -> reqwest::Client {
    // There may be one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_worker_that_is_killed_is_done_by_another() {
    let Some(logs) = Logs::put().await else { return };
    let front = Serving::start(&logs, &logs.server.url, "0");
    // The first worker waits for an object that never comes.
    let asked = Arc::new(AtomicBool::new(false));
    let (asks, root) = (asked.clone(), logs.root.clone());
    let stalled = proxy(&logs.server.url, move |head| {
        let is_object =
            head.starts_with("GET ") && head.contains(&format!("{root}/archive")) && head.contains(".log.gz");
        if !is_object {
            return Fate::Forwarded;
        }
        asks.store(true, Ordering::Relaxed);
        Fate::Held(Vec::new())
    });
    let mut worker = Serving::start(&logs, &stalled, "1");

    let diff = format!("{}/v1/diffs?before={BEFORE}&after={AFTER}&format=csv", front.url);
    let (status, job) = get(&diff).await;
    assert_eq!(status, 202, "{job}");
    let job: serde_json::Value = serde_json::from_str(&job).unwrap();
    let job = format!("{}/v1/jobs/{}", front.url, job["id"].as_str().unwrap());
    wait_for("the work on an object", || asked.load(Ordering::Relaxed)).await;
    assert_eq!(status_of(&job).await, "running");
    worker.child.kill().unwrap();
    worker.child.wait().unwrap();

    let _second = Serving::start(&logs, &logs.server.url, "1");
    let began = Instant::now();
    while status_of(&job).await != "done" {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody took the job over: {}", get(&job).await.1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (status, there) = get(&diff).await;
    assert_eq!(status, 200, "{there}");
    let (here, _) = run(&mut logs.local(&["diff", BEFORE, AFTER, "--format", "csv"]), 0);
    assert_eq!(there, here);
    assert_eq!(logs.keys(".json").await.iter().filter(|key| key.contains("_00000001.json")).count(), 2);
}

async fn status_of(job: &str) -> String {
    let (status, job) = get(job).await;
    assert_eq!(status, 200, "{job}");
    serde_json::from_str::<serde_json::Value>(&job).unwrap()["status"].as_str().unwrap().to_owned()
}

async fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

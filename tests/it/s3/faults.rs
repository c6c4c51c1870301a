//! Faults on the wire: what passes is tried again, what does not is set aside by name or explained.

use super::emulator::run;
use super::proxy::{Fate, answer, proxy};
use super::{BEFORE, Logs};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const SLOW_DOWN: &[u8] = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// Whether a request is for the body of a flow-log object.
fn is_log(line: &str) -> bool {
    line.starts_with("GET ") && line.contains("/archive/AWSLogs/") && line.contains(".log.gz ")
}

/// A judge that gives the first requests of each line a fate of their own.
fn at_first(times: usize, fate: impl Fn(&str) -> Option<Fate> + Send + Sync) -> impl Fn(&str) -> Fate + Send + Sync {
    let seen: Mutex<BTreeMap<String, usize>> = Mutex::default();
    move |line| {
        let mut seen = seen.lock().unwrap();
        let count = seen.entry(line.to_owned()).or_default();
        *count += 1;
        if *count <= times { fate(line).unwrap_or(Fate::Forwarded) } else { Fate::Forwarded }
    }
}

/// Digests the first hour through a proxy; returns what was told, once the edges are seen to be those of the folder.
async fn digest(judge: impl Fn(&str) -> Fate + Send + Sync + 'static, is_whole: bool) -> Option<String> {
    let logs = Logs::put().await?;
    let url = proxy(&logs.aws.url, judge);
    let mut command = logs.command(&["digest", BEFORE, "--endpoint-url", &url]);
    command.env("FLOWDIFF__AWS__STALL_TIMEOUT", "1s").env("FLOWDIFF__AWS__BACKOFF_MAX", "1s");
    let (_, told) = run(&mut command, 0);
    let (there, _) = run(&mut logs.command(&["edges", BEFORE, "--no-build"]), 0);
    assert_eq!(there == run(&mut logs.local(&["edges", BEFORE]), 0).0, is_whole);
    Some(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_waited_out() {
    let judge = at_first(2, |_| Some(Fate::Answered(answer("503 Slow Down", SLOW_DOWN.len(), SLOW_DOWN))));
    digest(judge, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stalls_is_asked_for_again() {
    digest(at_first(1, |line| is_log(line).then_some(Fate::Held)), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_body_is_fetched_again() {
    const GZIP: [u8; 40] = {
        let mut body = [0; 40];
        (body[0], body[1], body[2], body[9]) = (0x1f, 0x8b, 8, 3);
        body
    };
    for (length, body) in [(GZIP.len(), &GZIP[..]), (99, b"cut short")] {
        let bad = move |line: &str| is_log(line).then(|| Fate::Answered(answer("200 OK", length, body)));
        let Some(told) = digest(at_first(1, bad), true).await else { return };
        assert!(!told.contains("set aside"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_every_time_is_set_aside_by_name() {
    let judge = |line: &str| {
        let first = is_log(line) && line.contains("T1205Z");
        if first { Fate::Answered(answer("200 OK", 99, b"cut")) } else { Fate::Forwarded }
    };
    let Some(told) = digest(judge, false).await else { return };
    assert!(told.contains("objects set aside") && told.contains("T1205Z"), "{told}");
    assert!(told.contains("fetched 2 times"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_named_and_not_tried_again() {
    let Some(logs) = Logs::put().await else { return };
    let body =
        b"<Error><Code>AccessDenied</Code><Message>User: arn:aws:iam::1:user/eve is not authorized</Message></Error>";
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seen = asked.clone();
    let url = proxy(&logs.aws.url, move |line| {
        if !is_log(line) {
            return Fate::Forwarded;
        }
        seen.lock().unwrap().push(line.to_owned());
        Fate::Answered(answer("403 Forbidden", body.len(), body))
    });
    let (_, told) = run(&mut logs.command(&["digest", BEFORE, "--endpoint-url", &url]), 2);
    for words in ["access denied: s3:GetObject", logs.bucket.name(), "AWSLogs/", "user/eve", "flowdiff check"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let mut asked = std::mem::take(&mut *asked.lock().unwrap());
    let requests = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), requests, "each object is asked for once");
    let (checked, _) = run(&mut logs.command(&["check", "--endpoint-url", &url]), 2);
    assert!(checked.contains("source identity: arn:aws:"), "{checked}");
    assert!(
        checked.contains("failed  source: read ") && checked.contains("caused by: access denied: s3:GetObject"),
        "{checked}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_named() {
    let Some(logs) = Logs::put().await else { return };
    let mut command = logs.aws.command_with_keys(logs.folder.path());
    let (checked, _) = run(command.args(["check", "--source", "s3://nobodys-bucket", "--store", "digests"]), 3);
    assert!(checked.contains("bucket nobodys-bucket does not exist"), "{checked}");
}

//! Faults on the wire: what passes is tried again, what does not is set aside by name or explained.

use super::proxy::{Fate, Seen, answer, refusal};
use super::server::run;
use super::{BEFORE, Logs};
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Whether a request is for the body of a flow-log object.
fn is_log(head: &str) -> bool {
    let line = head.lines().next().unwrap_or_default();
    line.starts_with("GET ") && line.contains("/archive/AWSLogs/") && line.contains(".log.gz ")
}

/// Whether a request is for the body of an object of the first minutes.
fn is_first_log(head: &str) -> bool {
    is_log(head) && head.lines().next().is_some_and(|line| line.contains("T1205Z"))
}

/// A judge that gives a request the fate of how often its line was seen before.
fn by_attempt(fate: impl Fn(usize, &str) -> Fate + Send + Sync) -> impl Fn(&str) -> Fate + Send + Sync {
    let seen: Mutex<BTreeMap<String, usize>> = Mutex::default();
    move |head| {
        let mut seen = seen.lock().unwrap();
        let count = seen.entry(head.lines().next().unwrap_or_default().to_owned()).or_default();
        *count += 1;
        fate(*count - 1, head)
    }
}

/// Whether some requests were seen, and none a second time.
fn assert_each_once(seen: &Seen) {
    let mut lines: Vec<String> = seen.take().iter().filter_map(|head| head.lines().next().map(str::to_owned)).collect();
    let requests = lines.len();
    lines.sort();
    lines.dedup();
    assert!(requests > 0 && lines.len() == requests, "{requests} requests: {lines:?}");
}

/// Digests the first hour through a proxy; returns what was told, once the edges are seen to be those of the folder.
async fn digest(judge: impl Fn(&str) -> Fate + Send + Sync + 'static, is_whole: bool) -> Option<String> {
    let logs = Logs::put().await?;
    let (_, told) = run(&mut logs.through(judge, &["digest", BEFORE]), 0);
    let (there, _) = run(&mut logs.command(&["edges", BEFORE, "--no-build"]), 0);
    assert_eq!(there == run(&mut logs.local(&["edges", BEFORE]), 0).0, is_whole);
    Some(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_errors_and_resets_are_waited_out() {
    let judge = by_attempt(|attempt, _| match attempt {
        0 => refusal("503 Slow Down", "SlowDown", "<Message>Please reduce your request rate.</Message>"),
        1 => refusal("500 Internal Server Error", "InternalError", ""),
        2 => Fate::Answered(Vec::new()),
        _ => Fate::Forwarded,
    });
    digest(judge, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stalls_is_asked_for_again() {
    let judge = by_attempt(|attempt, head| match attempt {
        0 if is_log(head) || head.starts_with("PUT ") => Fate::Held(Vec::new()),
        1 if is_log(head) => Fate::Held(answer("200 OK", 99, b"and then silence")),
        _ => Fate::Forwarded,
    });
    digest(judge, true).await;
}

/// The head of a gzip member without anything in it.
const GZIP: [u8; 40] = {
    let mut body = [0; 40];
    (body[0], body[1], body[2], body[9]) = (0x1f, 0x8b, 8, 3);
    body
};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_body_is_fetched_again() {
    for (length, body) in [(GZIP.len(), &GZIP[..]), (99, b"cut short")] {
        let judge = by_attempt(move |attempt, head| match attempt {
            0 if is_log(head) => Fate::Answered(answer("200 OK", length, body)),
            _ => Fate::Forwarded,
        });
        let Some(told) = digest(judge, true).await else { return };
        assert!(!told.contains("set aside"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_damaged_every_time_is_set_aside_by_name() {
    for (length, body) in [(GZIP.len(), &GZIP[..]), (99, b"cut short")] {
        let judge = move |head: &str| match is_first_log(head) {
            true => Fate::Answered(answer("200 OK", length, body)),
            false => Fate::Forwarded,
        };
        let Some(told) = digest(judge, false).await else { return };
        assert!(told.contains("objects set aside") && told.contains("T1205Z"), "{told}");
        assert!(told.contains("fetched 2 times"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_overwritten_after_it_was_listed_counts_once_as_it_was_read() {
    let Some(logs) = Logs::put().await else { return };
    let metas = logs.bucket.list(Some(&logs.key("archive")));
    let metas: Vec<_> = futures::TryStreamExt::try_collect(metas).await.unwrap();
    let key = |time: &str| metas.iter().find(|meta| meta.location.as_ref().contains(time)).unwrap().location.clone();
    let first = key("T1205Z");
    // A judge that overwrites the object when it is asked for, for the first or for the second time.
    let overwriting = async |when: usize, with: &str| {
        let body = logs.bucket.get(&key(with)).await.unwrap().bytes().await.unwrap();
        let (server, path, name) = (logs.server, format!("{}/{first}", logs.bucket.name()), first.to_string());
        by_attempt(move |attempt, head| {
            if attempt == when && is_log(head) && head.contains(&name) {
                server.put(&path, &body);
            }
            Fate::Forwarded
        })
    };
    run(&mut logs.through(overwriting(0, "T1215Z").await, &["digest", BEFORE]), 0);
    let sql = format!("SELECT etag, size FROM objects WHERE object_key = '{first}'");
    let (told, _) = run(&mut logs.command(&["sql", &sql, "--format", "csv"]), 0);
    let now = logs.bucket.head(&first).await.unwrap();
    let (etag, size) = (now.e_tag.unwrap(), now.size);
    assert!(told.contains(etag.trim_matches('"')) && told.contains(&format!(",{size}")), "{etag} {size}: {told}");
    let again = ["digest", BEFORE, "--force"];
    let (_, same) = run(&mut logs.command(&again), 0);
    assert!(same.contains("already published version 1"), "the same objects give the same digest: {same}");
    // Two passes over the objects must see the same ones.
    let mut in_two_passes = logs.through(overwriting(1, "T1225Z").await, &again);
    let (_, told) = run(in_two_passes.env("FLOWDIFF__DIGEST__FOLD", "false"), 5);
    assert!(told.contains(first.as_ref()) && told.contains("overwritten while the digest was built"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_named_and_not_tried_again() {
    let Some(logs) = Logs::put().await else { return };
    type Is = fn(&str) -> bool;
    for (permission, is_denied, key) in [
        ("s3:ListBucket", (|head| head.contains("list-type=2")) as Is, "digests/v1/digests/date="),
        ("s3:GetObject", is_log, "AWSLogs/"),
        ("s3:PutObject", |head| head.starts_with("PUT "), "digests/v1/"),
    ] {
        let seen = Seen::default();
        let judge = |seen: Seen| {
            move |head: &str| match is_denied(head) {
                false => Fate::Forwarded,
                true => {
                    seen.add(head);
                    let message = "<Message>User: arn:aws:iam::1:user/eve is not authorized</Message>";
                    refusal("403 Forbidden", "AccessDenied", message)
                }
            }
        };
        let (_, told) = run(&mut logs.through(judge(seen.clone()), &["digest", BEFORE]), 2);
        let access = format!("access denied: {permission} on s3://{}", logs.bucket.name());
        for words in [access.as_str(), key, "user/eve", "flowdiff check"] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert_each_once(&seen);
        let (checked, _) = run(&mut logs.through(judge(seen), &["check"]), 2);
        assert!(checked.contains("source identity: arn:aws:"), "{checked}");
        assert!(checked.contains("failed  ") && checked.contains(&format!("access denied: {permission}")), "{checked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_set_aside_by_name_and_not_tried_again() {
    let seen = Seen::default();
    let sees = seen.clone();
    let judge = move |head: &str| match is_first_log(head) {
        true => {
            sees.add(head);
            refusal("404 Not Found", "NoSuchKey", "")
        }
        false => Fate::Forwarded,
    };
    let Some(told) = digest(judge, false).await else { return };
    assert!(told.contains("gone since it was listed") && told.contains("T1205Z"), "{told}");
    assert_each_once(&seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_somebody_else_created_is_not_tried_again() {
    let Some(logs) = Logs::put().await else { return };
    let seen = Seen::default();
    let sees = seen.clone();
    let judge = move |head: &str| match head.starts_with("PUT ") && head.contains("/_00000001.json") {
        true => {
            sees.add(head);
            refusal("412 Precondition Failed", "PreconditionFailed", "")
        }
        false => Fate::Forwarded,
    };
    run(&mut logs.through(judge, &["digest", BEFORE]), 4);
    assert_each_once(&seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_is_wrong_and_how_to_mend_it() {
    let Some(logs) = Logs::put().await else { return };
    for (status, code, rest, words, hint) in [
        ("301 Moved Permanently", "PermanentRedirect", "", "is in another region", "--region"),
        (
            "400 Bad Request",
            "AuthorizationHeaderMalformed",
            "<Region>eu-west-1</Region>",
            "in another region: eu-west-1",
            "--region",
        ),
        ("403 Forbidden", "RequestTimeTooSkewed", "", "the clock of this machine is wrong", "NTP"),
        ("404 Not Found", "NoSuchBucket", "", "does not exist", "look at the name in the URL"),
    ] {
        let judge = move |head: &str| match head.starts_with("POST / ") {
            true => Fate::Forwarded,
            false => refusal(status, code, rest),
        };
        let (checked, _) = run(&mut logs.through(judge, &["check"]), if code == "NoSuchBucket" { 3 } else { 2 });
        for side in ["failed  source: ", "failed  store: "] {
            let (_, failed) = checked.split_once(side).unwrap_or_else(|| panic!("{side}: {checked}"));
            assert!(failed.contains(words) && failed.contains(hint), "{side}{words}: {checked}");
            assert!(failed.contains(logs.bucket.name()), "{checked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_named() {
    let Some(logs) = Logs::put().await else { return };
    let mut command = logs.server.command_with_keys(logs.folder.path());
    let (checked, _) = run(command.args(["check", "--source", "s3://nobodys-bucket", "--store", "digests"]), 3);
    assert!(checked.contains("bucket nobodys-bucket does not exist"), "{checked}");
}

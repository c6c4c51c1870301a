//! Jobs over HTTP, on the router in process and with real digests: asked for by name, and by asking for what they make.

use crate::corpora::{builder, write_object};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use chrono::TimeDelta;
use flowdiff::catalog::register;
use flowdiff::clock::Clock;
use flowdiff::digest::Builder;
use flowdiff::pipeline::jobs::{Jobs, Options, Worker};
use flowdiff::serve::front::{Identity, Role};
use flowdiff::serve::{Limits, Parts, Service, router};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";

/// A service and its worker on two hours of flow logs.
struct Place {
    router: Router,
    builder: Builder,
    stop: CancellationToken,
    working: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    location: String,
    retry_after: String,
    body: Value,
}

fn write_logs(folder: &Path) {
    for (stamp, seconds, peer) in [("20241120T1210Z", 1_732_104_600, 1), ("20241120T1340Z", 1_732_110_000, 2)] {
        let end = seconds + 60;
        let line = format!("2 123456789012 eni-1 10.0.0.{peer} 10.9.1.1 40000 443 6 3 900 {seconds} {end} ACCEPT OK\n");
        write_object(folder, stamp, format!("{HEADER}\n{line}").as_bytes());
    }
}

impl Place {
    fn new(options: Options) -> Place {
        let folder = tempfile::tempdir().unwrap();
        write_logs(&folder.path().join("logs"));
        let mut builder = builder(&folder.path().join("logs"), &folder.path().join("store"));
        builder.clock = Clock::fixed("2026-11-21T00:00:00Z".parse().unwrap());
        let Builder { catalog, session, clock, .. } = builder.clone();
        register(session.context(), &catalog).unwrap();
        let jobs = Jobs::new(catalog.clone(), clock, options);
        let stop = CancellationToken::new();
        let working = tokio::spawn(Worker::new(jobs.clone(), Arc::new(builder.clone())).run(stop.clone()));
        let (diff, limits, options) = (Default::default(), Limits::default(), Default::default());
        let (queries_dir, jobs) = (None, Some(jobs));
        let service = Service::new(Parts { catalog, session, clock, diff, queries_dir, limits, jobs, options });
        Place { router: router(service), builder, stop, working, _folder: folder }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let header = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (location, retry_after) = (header(header::LOCATION), header(header::RETRY_AFTER));
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, location, retry_after, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, body: Value) -> Answer {
        self.ask(Method::POST, "/v1/jobs", Some(body)).await
    }

    /// The job at `location` once it has ended.
    async fn ended(&self, location: &str) -> Value {
        for _ in 0..500 {
            let job = self.get(location).await;
            assert_eq!(job.status, 200);
            if job.body["status"] != "queued" && job.body["status"] != "running" {
                assert_eq!(job.retry_after, "");
                return job.body;
            }
            assert_eq!(job.retry_after, "2");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the job does not end");
    }

    async fn stop(self) {
        self.stop.cancel();
        self.working.await.unwrap();
    }
}

fn options() -> Options {
    Options { poll: TimeDelta::milliseconds(20), ..Options::default() }
}

/// A service whose workers are elsewhere.
fn idle() -> Options {
    Options { workers: 0, queue_max: 1, ..Options::default() }
}

const BEFORE: &str = "2024-11-20T12:00Z/2024-11-20T13:00Z";
const AFTER: &str = "2024-11-20T13:00Z/2024-11-20T14:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_built_for_those_who_may_have_it_built() {
    let place = Place::new(idle());
    let ask = async |roles: &[Role]| {
        let mut request = Request::get(format!("/v1/edges?window={AFTER}")).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Identity::new("somebody", roles));
        let response = place.router.clone().oneshot(request).await.unwrap();
        let (status, bytes) = (response.status(), to_bytes(response.into_body(), usize::MAX).await.unwrap());
        (status, String::from_utf8(bytes.into()).unwrap())
    };
    let (status, told) = ask(&[Role::Read]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(told.contains("the role operate"), "{told}");
    assert_eq!(place.get("/v1/jobs").await.body["jobs"], json!([]));
    assert_eq!(ask(&[Role::Read, Role::Operate]).await.0, StatusCode::ACCEPTED);
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_of_windows_that_are_not_built_is_a_job_and_then_a_diff() {
    let place = Place::new(options());
    let diff = format!("/v1/diffs?before={BEFORE}&after={AFTER}");
    let wait = place.get(&diff).await;
    assert_eq!((wait.status, wait.retry_after.as_str()), (StatusCode::ACCEPTED, "2"));
    assert_eq!(wait.location, format!("/v1/jobs/{}", wait.body["id"].as_str().unwrap()));
    assert_eq!((&wait.body["kind"], &wait.body["windows"]), (&json!("diff"), &json!([BEFORE, AFTER])));
    let done = place.ended(&wait.location).await;
    assert_eq!((&done["status"], &done["result"]), (&json!("done"), &json!(diff)));
    let progress = json!({"windows": 2, "windows_done": 2, "objects": 2, "objects_read": 2,
        "bytes_read": done["progress"]["bytes_read"], "records": 2});
    assert_eq!(done["progress"], progress);
    let rows = place.get(done["result"].as_str().unwrap()).await;
    assert_eq!((rows.status, rows.body.as_array().unwrap().len()), (StatusCode::OK, 2));
    // Asked for again it is what it was: its digests are final.
    let again = place.post(json!({"windows": [BEFORE, "2024-11-20T13"]})).await;
    assert_eq!(
        (again.status, &again.body["id"], &again.body["updated"]),
        (StatusCode::OK, &done["id"], &done["updated"])
    );
    assert_eq!(place.builder.catalog.list(None).await.unwrap().len(), 2);
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_without_objects_is_said_to_have_none_and_not_asked_for_again_and_again() {
    let place = Place::new(options());
    let empty = "/v1/edges?window=2020-01-01T12";
    let wait = place.get(empty).await;
    assert_eq!(wait.status, 202);
    let failed = place.ended(&wait.location).await;
    assert_eq!((&failed["status"], &failed["error"]["kind"]), (&json!("failed"), &json!("not_found")));
    for _ in 0..2 {
        let told = place.get(empty).await;
        assert_eq!((told.status, told.retry_after.as_str()), (StatusCode::NOT_FOUND, "300"));
        let detail = told.body["detail"].as_str().unwrap();
        assert!(detail.starts_with("digest of 2020-01-01T12:00Z/2020-01-01T13:00Z could not be built: "), "{detail}");
    }
    assert_eq!(place.get(&wait.location).await.body["attempt"], 1);
    let again = place.post(json!({"windows": ["2020-01-01T12"]})).await;
    assert_eq!((again.status, again.location), (StatusCode::ACCEPTED, wait.location));
    place.stop().await;
}

#[tokio::test]
async fn a_full_queue_answers_429_and_a_cancelled_job_makes_room() {
    let place = Place::new(idle());
    let first = place.post(json!({"windows": ["2024-11-20T12"], "kind": "graph"})).await;
    assert_eq!((first.status, &first.body["status"]), (StatusCode::ACCEPTED, &json!("queued")));
    for full in
        [place.post(json!({"windows": ["2024-11-20T13"]})).await, place.get("/v1/edges?window=2024-11-20T13").await]
    {
        assert_eq!((full.status, full.retry_after.as_str()), (StatusCode::TOO_MANY_REQUESTS, "10"));
        assert_eq!(full.body["title"], "Too Many Requests");
    }
    let cancelled = place.ask(Method::DELETE, &first.location, None).await;
    assert_eq!((cancelled.status, &cancelled.body["status"]), (StatusCode::OK, &json!("cancelled")));
    let second = place.get("/v1/edges?window=2024-11-20T13").await;
    assert_eq!(second.status, 202);
    place.ask(Method::DELETE, &second.location, None).await;
    let told = place.get("/v1/edges?window=2024-11-20T13").await;
    assert_eq!(told.status, 409);
    assert!(told.body["hint"].as_str().unwrap().contains("POST /v1/jobs"));
    let list = place.get("/v1/jobs?limit=1").await.body;
    assert_eq!((list["jobs"].as_array().unwrap().len(), &list["left_out"]), (1, &json!(1)));
    let queued = place.get("/v1/jobs?status=queued").await.body;
    assert_eq!(queued, json!({"jobs": [], "left_out": 0}));
    place.stop().await;
}

#[tokio::test]
async fn what_asks_for_no_job_is_told_why() {
    let place = Place::new(idle());
    for (body, status, expected) in [
        (json!({"windows": []}), 400, "a digest takes 1 window(s), not 0"),
        (json!({"windows": ["noon"]}), 400, "\"noon\" is not a window"),
        (json!({"windows": ["2024-11-20"], "kind": "diff"}), 400, "a diff takes 2 window(s), not 1"),
        (json!({"windows": ["2024-01-01/2024-12-01"]}), 400, "wider than 31 days"),
        (json!({"window": "2024-11-20"}), 400, "unknown field `window`"),
    ] {
        let refused = place.post(body).await;
        let detail = refused.body["detail"].as_str().unwrap();
        assert_eq!(refused.status, status, "{detail}");
        assert!(detail.contains(expected), "{detail}");
    }
    for path in ["/v1/jobs/1", "/v1/jobs/00000000-0000-0000-0000-000000000000"] {
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(place.ask(method, path, None).await.status, 404);
        }
    }
    let request = Request::post("/v1/jobs").header(header::CONTENT_TYPE, "text/plain");
    let request = request.body(Body::from(r#"{"windows": ["2024-11-20"]}"#)).unwrap();
    assert_eq!(place.router.clone().oneshot(request).await.unwrap().status(), 415);
    assert_eq!(place.get("/v1/jobs").await.body["jobs"], json!([]));
    place.stop().await;
}

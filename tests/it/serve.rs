//! What clients of the service see: the in-process router, request by request, as snapshots.
//! Review a change with `INSTA_UPDATE=always cargo test --test it serve` and `git diff`.

use crate::cli::screens::sample;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use datafusion::arrow::ipc::reader::StreamReader;
use flowdiff::catalog::{Catalog, register};
use flowdiff::config::Config;
use flowdiff::scan::{FlowsTable, Report};
use flowdiff::serve::{Limits, Parts, Service, openapi, router};
use flowdiff::session::{Session, open_location};
use flowdiff::source::Source;
use flowdiff::{Clock, Timestamp};
use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

const BEFORE: &str = "2024-05-01T12";
const AFTER: &str = "2024-05-01T13";

/// The parts of a service on the sample's logs and digests.
pub(crate) fn parts() -> Parts {
    let config = Config::default();
    let clock = Clock::fixed("2024-05-02T09:30:00Z".parse::<Timestamp>().unwrap());
    let open = |folder: &str| {
        let url = sample().join(folder);
        open_location(url.to_str().unwrap(), false, &config.store_access(clock, &Arc::default())).unwrap()
    };
    let (source, catalog) = (Source::from(open("logs")), Catalog::from(open("digests")));
    let catalog = Catalog::new(catalog.store, catalog.root, "digests");
    let session = Session::new(&config.session).unwrap();
    let flows = FlowsTable::new(source, &config.scan, &config.source.listing(), config.digest.lateness, Report::new());
    session.register_table("flows", Arc::new(flows)).unwrap();
    register(session.context(), &catalog).unwrap();
    Parts {
        catalog,
        session,
        clock,
        diff: config.diff,
        queries_dir: None,
        jobs: None,
        limits: config.sql,
        options: config.serve,
    }
}

fn service() -> Router {
    router(Service::new(parts()))
}

pub(crate) fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::empty()).unwrap()
}

pub(crate) fn post(uri: &str, content_type: &str, body: &str) -> Request<Body> {
    Request::post(uri).header(header::CONTENT_TYPE, content_type).body(Body::from(body.to_owned())).unwrap()
}

fn sql(statement: &str) -> Request<Body> {
    post("/v1/sql", "text/plain", statement)
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

async fn body(response: Response<Body>) -> Vec<u8> {
    to_bytes(response.into_body(), usize::MAX).await.unwrap().into()
}

async fn text(router: &Router, request: Request<Body>) -> String {
    String::from_utf8(body(send(router, request).await).await).unwrap()
}

/// The requests and their answers as a transcript.
async fn transcript(requests: Vec<Request<Body>>) -> String {
    let (router, mut transcript) = (service(), String::new());
    for request in requests {
        let _ = writeln!(transcript, "> {} {}", request.method(), request.uri());
        let response = send(&router, request).await;
        let _ = writeln!(transcript, "< {}", response.status());
        for (name, value) in response.headers() {
            let _ = writeln!(transcript, "< {name}: {}", value.to_str().unwrap());
        }
        let text = String::from_utf8(body(response).await).unwrap();
        let _ = writeln!(transcript, "{}\n", text.trim_end());
    }
    transcript
}

fn snapshot(name: &str, transcript: &str) {
    insta::with_settings!({
        snapshot_path => "snapshots/serve",
        prepend_module_to_snapshot => false,
        omit_expression => true,
        filters => [
            ("[0-9a-f]{32}", "[tag]"),
            (r#""published":"[^"]*","lag_seconds":\d+"#, r#""published":"[time]","lag_seconds":[n]"#),
            (r",final,20[^,]*,\d+,", ",final,[time],[n],"),
            // Of answers that hold such times.
            (r"(?m)^(< vary: accept, .*\n< content-length:) \d+", "$1 [n]"),
        ],
    }, { insta::assert_snapshot!(name, transcript) });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_and_what_differs() {
    let diff = format!("/v1/diffs?before=previous&after={AFTER}");
    let asked = transcript(vec![
        get("/v1/windows"),
        get("/v1/windows?from=2024-05-01T13:30Z&format=csv"),
        get(&format!("/v1/edges?window={BEFORE}")),
        get(&format!("/v1/edges?window={BEFORE}&format=csv")),
        get(&format!("/v1/graphs?window={BEFORE}")),
        get(&format!("/v1/graphs?window={BEFORE}&by=host")),
        get(&format!("/v1/graphs?window={BEFORE}&by=interface&format=mermaid")),
        get(&diff),
        get(&format!("{diff}&by=host&format=ndjson")),
        get(&format!("{diff}&min_bytes=100000000&format=csv")),
        get(&format!("{diff}&by=link&format=dot")),
        get(&format!("{diff}&by=link&format=mermaid")),
        get(&format!("{diff}&limit=2")),
        get(&format!("/v1/diffs?before={BEFORE}&after={BEFORE}&format=csv")),
        Request::head(&diff).body(Body::empty()).unwrap(),
    ]);
    snapshot("data", &asked.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_in_sql() {
    let asked = transcript(vec![
        sql(
            "SELECT dstport, count(*) AS records FROM flows WHERE \"end\" < '2024-05-01T13:00:00Z' GROUP BY 1 ORDER BY 1",
        ),
        post(
            "/v1/sql?format=csv",
            "application/json",
            r#"{"sql": "SELECT dstaddr, bytes FROM edges WHERE dstport = $port ORDER BY bytes", "params": {"port": 443}}"#,
        ),
        sql("EXPLAIN SELECT 1"),
        get("/v1/queries/top_talkers?window_start=2024-05-01T12:00Z&window_stop=2024-05-01T13:00Z&limit=1"),
        get(&format!("/v1/explain?window={BEFORE}&srcaddr=10.0.0.3&dstaddr=10.0.1.2&limit=2")),
    ]);
    snapshot("sql", &asked.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered() {
    let asked = transcript(vec![
        get("/v1/diffs?before=previous&after=2024-05-01T12"),
        get("/v1/diffs?before=previous&after=yesterday"),
        get("/v1/diffs?after=2024-05-01T13"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&colour=red"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&by=city"),
        get("/v1/graphs?window=2024-05-01T13&by=city"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&ratio=0.5"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&ratio=inf"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&format=table"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&limit=0"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&limit=5&format=csv"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&cursor=again"),
        get("/v1/diffs?before=previous&after=2024-05-01T13&cursor=0123-1"),
        Request::get("/v1/windows").header("accept", "image/png").body(Body::empty()).unwrap(),
        get("/v1/explain?window=2024-05-01T12&srcaddr=here&dstaddr=10.0.0.1"),
        get("/v1/queries/top_talker"),
        get("/v1/queries/top_talkers"),
        sql("SELECT srcadr FROM edges"),
        sql(""),
        post("/v1/sql", "application/json", "{"),
        post("/v1/sql", "application/json", r#"{"sql": "SELECT $a", "params": {"a": [1]}}"#),
        post("/v1/sql", "image/png", "SELECT 1"),
        get("/v1/sql"),
        get("/v2"),
    ]);
    snapshot("problems", &asked.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_flow_logs_says_so() {
    let parts = parts();
    parts.session.context().deregister_table("flows").unwrap();
    let explain = get("/v1/explain?window=2024-05-01T12&srcaddr=10.0.0.1&dstaddr=10.0.0.2");
    let response = send(&router(Service::new(parts)), explain).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let problem: serde_json::Value = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!(problem["detail"], "this service has no flow logs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_the_api() {
    insta::with_settings!({
        snapshot_path => "snapshots/serve",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!("openapi", openapi(&Default::default()).to_pretty_json().unwrap()) });
    let served = text(&service(), get("/openapi.json")).await;
    assert_eq!(served, openapi(&Default::default()).to_pretty_json().unwrap());
    assert!(served.contains("\"openapi\": \"3.1.0\""));
    let mut operations: Vec<_> = served.lines().filter(|line| line.contains("\"operationId\"")).collect();
    operations.sort_unstable();
    assert!(operations.windows(2).all(|pair| pair[0] != pair[1]), "{operations:?}");
}

fn tag(response: &Response<Body>) -> String {
    response.headers()[header::ETAG].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_holds_the_answer_is_told_so() {
    let router = service();
    let diff = format!("/v1/diffs?before=previous&after={AFTER}");
    let held = tag(&send(&router, get(&diff)).await);
    let again = |uri: &str, tag: &str| Request::get(uri).header("if-none-match", tag).body(Body::empty()).unwrap();
    for tag in [held.clone(), format!("\"other\", W/{held}"), "*".to_owned()] {
        let response = send(&router, again(&diff, &tag)).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{tag}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "private, max-age=300, must-revalidate");
        assert!(body(response).await.is_empty());
    }
    for other in ["&by=link", "&min_bytes=1", "&format=csv", "&ratio=3"] {
        let response = send(&router, again(&format!("{diff}{other}"), &held)).await;
        assert_eq!(response.status(), StatusCode::OK, "{other}");
        assert_ne!(tag(&response), held, "{other}");
    }
}

/// The page asks for windows again and again: all that is published may be others by then, so it is asked for each time.
#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_windows_is_sent_them_only_when_they_are_others() {
    let router = service();
    let again = |uri: &str, tag: &str| Request::get(uri).header("if-none-match", tag).body(Body::empty()).unwrap();
    for uri in ["/v1/windows", "/v1/windows?from=2024-05-01T13:30Z", "/v1/windows?format=parquet"] {
        let first = send(&router, get(uri)).await;
        assert_eq!(first.headers()[header::CACHE_CONTROL], "private, no-cache", "{uri}");
        let response = send(&router, again(uri, &tag(&first))).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{uri}");
        assert!(body(response).await.is_empty());
    }
    let all = tag(&send(&router, get("/v1/windows")).await);
    assert_eq!(send(&router, again("/v1/windows?from=2024-05-01T13:30Z", &all)).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoded_answer_has_a_tag_of_its_own_that_is_known_again() {
    let router = service();
    let diff = format!("/v1/diffs?before=previous&after={AFTER}&format=graphml");
    let ask = |tag: &str| {
        let request = Request::get(&diff).header("accept-encoding", "gzip").header("if-none-match", tag);
        request.body(Body::empty()).unwrap()
    };
    let plain = send(&router, get(&diff)).await;
    let encoded = send(&router, ask("\"none\"")).await;
    assert_eq!(encoded.headers()[header::CONTENT_ENCODING], "gzip");
    assert_ne!(tag(&encoded), tag(&plain));
    assert_eq!(send(&router, ask(&tag(&encoded))).await.status(), StatusCode::NOT_MODIFIED);
    let mut unpacked = Vec::new();
    let packed = body(encoded).await;
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, body(plain).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_together_are_the_whole() {
    let router = service();
    let diff = format!("/v1/diffs?before=previous&after={AFTER}");
    let whole: Vec<serde_json::Value> = serde_json::from_str(&text(&router, get(&diff)).await).unwrap();
    let (mut rows, mut next) = (Vec::new(), String::new());
    loop {
        let page = text(&router, get(&format!("{diff}&limit=2{next}"))).await;
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        rows.extend(page["rows"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(rows, whole);
    // A cursor is of one request.
    let other = send(&router, get(&format!("{diff}&by=link&limit=2{next}"))).await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_formats_hold_the_same_rows() {
    let router = service();
    let diff = format!("/v1/diffs?before=previous&after={AFTER}");
    let whole: Vec<serde_json::Value> = serde_json::from_str(&text(&router, get(&diff)).await).unwrap();
    let arrow = body(send(&router, get(&format!("{diff}&format=arrow"))).await).await;
    let rows: usize = StreamReader::try_new(&arrow[..], None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, whole.len());
    let parquet = body(send(&router, get(&format!("{diff}&format=parquet"))).await).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(parquet)).unwrap().build().unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), whole.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_that_does_more_than_read_is_refused() {
    let router = service();
    let before = text(&router, sql("SELECT * FROM edges ORDER BY window_start, srcaddr")).await;
    for statement in include_str!("../data/sql/refused.sql").lines() {
        for request in
            [sql(statement), post("/v1/sql", "application/json", &serde_json::json!({ "sql": statement }).to_string())]
        {
            let response = send(&router, request).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{statement}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            let problem = String::from_utf8(body(response).await).unwrap();
            assert!(!problem.contains("root:"), "{statement}: {problem}");
        }
    }
    assert_eq!(text(&router, sql("SELECT * FROM edges ORDER BY window_start, srcaddr")).await, before);
}

/// A service whose queries may take no more than `limits`.
fn limited(limits: Limits) -> Router {
    router(Service::new(Parts { limits, ..parts() }))
}

const ENDLESS: &str = "SELECT value FROM generate_series(1, 1000000000000)";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_at_its_limits() {
    let rows = limited(Limits { rows_max: 100, ..Limits::default() });
    let fits = send(&rows, sql("SELECT value FROM generate_series(1, 100)")).await;
    assert_eq!(body(fits).await.iter().filter(|byte| **byte == b'{').count(), 100);
    let problem = text(&rows, sql("SELECT value FROM generate_series(1, 101)")).await;
    assert!(problem.contains("more than 100 rows") && problem.contains("sql.rows_max"), "{problem}");

    let bytes = limited(Limits { bytes_max: 1 << 20, ..Limits::default() });
    assert!(to_bytes(send(&bytes, sql(ENDLESS)).await.into_body(), usize::MAX).await.is_err(), "it ended well");

    let time = limited(Limits { timeout: chrono::TimeDelta::milliseconds(200), ..Limits::default() });
    let response = send(&time, sql("SELECT count(*) FROM generate_series(1, 1000000000000)")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);

    let memory = limited(Limits { memory_bytes: 1 << 16, ..Limits::default() });
    let greedy = "SELECT value, array_agg(value) FROM generate_series(1, 1000000) GROUP BY value ORDER BY 2";
    let problem = text(&memory, sql(greedy)).await;
    assert!(problem.contains("memory"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_gives_its_turn_back() {
    let router = limited(Limits { concurrent_max: 1, ..Limits::default() });
    let mut rows = send(&router, sql(ENDLESS)).await.into_body().into_data_stream();
    assert!(rows.next().await.unwrap().is_ok());
    let refused = send(&router, sql("SELECT 1")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "2");
    drop(rows);
    for _ in 0..100 {
        if send(&router, sql("SELECT 1")).await.status() == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the query goes on without its client");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_until_one_before_it_was_taken() {
    let parts = parts();
    let options = flowdiff::serve::Options { reads_max: 1, ..parts.options.clone() };
    let router = router(Service::new(Parts { options, ..parts }));
    let diff = format!("/v1/diffs?before=previous&after={AFTER}");
    let untaken = send(&router, get(&diff)).await;
    for uri in [&diff, &format!("/v1/edges?window={AFTER}")] {
        let waiting = tokio::time::timeout(Duration::from_millis(200), send(&router, get(uri)));
        assert!(waiting.await.is_err(), "{uri}");
    }
    let mut held = get(&diff);
    held.headers_mut().insert(header::IF_NONE_MATCH, untaken.headers()[header::ETAG].clone());
    assert_eq!(send(&router, held).await.status(), StatusCode::NOT_MODIFIED, "nothing is read for it");
    drop(untaken);
    assert_eq!(send(&router, get(&diff)).await.status(), StatusCode::OK);
}

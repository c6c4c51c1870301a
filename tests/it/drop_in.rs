//! The drop-in for the earlier services, on the router in process and with real digests: what a program written for them
//! sees. Every status and body is kept in `snapshots/drop_in/`.

use crate::corpora::{builder, edges_of, query, write_object};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use flate2::read::GzDecoder;
use flowdiff::catalog::Manifest;
use flowdiff::clock::Clock;
use flowdiff::digest::Builder;
use flowdiff::pipeline::jobs::{Job, Jobs, Kind, Options, Worker};
use flowdiff::scan::Report;
use flowdiff::serve::front::Front;
use flowdiff::serve::{Limits, Parts, Service, router};
use flowdiff::window::Window;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
const BEFORE: &str = "start=2026-11-20T12:00:00Z&stop=2026-11-20T13:00:00Z";
const AFTER: &str = "start=2026-11-20T13:00:00Z&stop=2026-11-20T14:00:00Z";
const BOTH: &str = "previous_start=2026-11-20T12:00:59.5Z&previous_stop=2026-11-20T13:00:00Z\
                    &next_start=2026-11-20T13:00:00Z&next_stop=2026-11-20T15:00:00%2B01:00";

/// Two hours: the later one has a new client, lacks an old one, and moves much more in the edge that both have. The old
/// and the new client would be one node if dots were left out of addresses.
fn write_logs(folder: &Path) {
    let flow = |end: i64, source: &str, ports: &str, bytes: u64, action: &str| {
        format!("2 012345678901 eni-0a1b2c3d {source} 10.9.1.1 {ports} 6 3 {bytes} {} {end} {action} OK\n", end - 50)
    };
    let (noon, one) = (1_795_176_000, 1_795_179_600);
    let before = [
        flow(noon + 700, "10.0.11.1", "40001 443", 900, "ACCEPT"),
        flow(noon + 800, "10.0.11.1", "40002 443", 100, "ACCEPT"),
        flow(noon + 700, "10.0.2.2", "40003 5432", 10, "ACCEPT"),
        flow(noon + 700, "198.51.100.9", "51000 22", 40, "REJECT"),
        "2 012345678901 eni-0a1b2c3d - - - - - - - 1795176600 1795176660 - SKIPDATA\n".to_owned(),
    ];
    let after = [
        flow(one + 700, "10.0.1.11", "40001 443", 900, "ACCEPT"),
        flow(one + 700, "10.0.2.2", "40003 5432", 90_000_000, "ACCEPT"),
        flow(one + 700, "2001:db8::1", "22 51000", 77, "ACCEPT"),
    ];
    write_object(folder, "20261120T1210Z", format!("{HEADER}\n{}", before.concat()).as_bytes());
    write_object(folder, "20261120T1310Z", format!("{HEADER}\n{}", after.concat()).as_bytes());
}

/// A service on these logs. Nothing is published at first, and nobody works on its jobs.
struct Place {
    router: Router,
    builder: Builder,
    jobs: Jobs,
    _folder: tempfile::TempDir,
}

fn window(text: &str) -> Window {
    Window::parse(text, "2026-11-21T00:00:00Z".parse().unwrap()).unwrap()
}

impl Place {
    fn new(options: Options) -> Place {
        let folder = tempfile::tempdir().unwrap();
        write_logs(&folder.path().join("logs"));
        let mut builder = builder(&folder.path().join("logs"), &folder.path().join("store"));
        builder.clock = Clock::fixed("2026-11-21T00:00:00Z".parse().unwrap());
        let Builder { catalog, session, clock, .. } = builder.clone();
        let jobs = Jobs::new(catalog.clone(), clock, options);
        let service = Service::new(Parts {
            catalog,
            session,
            clock,
            diff: Default::default(),
            queries_dir: None,
            limits: Limits::default(),
            jobs: Some(jobs.clone()),
            options: Default::default(),
        });
        Place { router: router(service), builder, jobs, _folder: folder }
    }

    /// Publishes both hours.
    async fn published() -> Place {
        let place = Place::new(Options::default());
        for hour in ["2026-11-20T12", "2026-11-20T13"] {
            place.digest(hour).await;
        }
        place
    }

    async fn digest(&self, text: &str) -> Manifest {
        self.builder.build(&window(text), false, &Report::new()).await.unwrap().manifest
    }

    async fn send(&self, request: Request<Body>) -> (String, Vec<u8>) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let mut head = response.status().to_string();
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::RETRY_AFTER] {
            if let Some(value) = response.headers().get(&name) {
                head += &format!("\n{name}: {}", value.to_str().unwrap());
            }
        }
        (head, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
    }

    async fn ask(&self, method: &str, path: &str) -> (String, Vec<u8>) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Request::builder().method(method).uri(path).header(header::ACCEPT_ENCODING, "gzip");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn status(&self, method: &str, path: &str) -> StatusCode {
        let (head, _) = self.ask(method, path).await;
        head[..3].parse().unwrap()
    }

    async fn bring(&self, path: &str, payload: &str) -> (String, Vec<u8>) {
        self.send(Request::post(path).body(Body::from(payload.to_owned())).unwrap()).await
    }
}

/// Keeps answers under `name`, each below the request that it answers.
fn check(name: &str, answers: &[(&str, (String, Vec<u8>))]) {
    let shown: Vec<String> = answers
        .iter()
        .map(|(asked, (head, body))| format!("> {asked}\n{head}\n{}", String::from_utf8_lossy(body)))
        .collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots/drop_in");
    settings.bind(|| insta::assert_snapshot!(name, shown.join("\n\n")));
}

fn unpacked(body: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(body).read_to_string(&mut text).unwrap();
    text
}

fn sorted(text: &str) -> Vec<u8> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n").into_bytes()
}

#[tokio::test]
async fn a_bus_is_told_in_plain_text_behind_the_front_too() {
    let place = Place::new(Options::default());
    let front = Front::new(&flowdiff::serve::Options::default()).unwrap();
    let payload = Request::post("/digest/topic/event").header("host", "localhost").body(Body::from("{")).unwrap();
    let response = front.wrap(place.router.clone(), String::new).oneshot(payload).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn the_bodies_are_those_of_the_earlier_services() {
    let place = Place::published().await;
    let (head, packed) = place.ask("GET", &format!("/digest?{BEFORE}")).await;
    let digest = (head, sorted(&unpacked(&packed)));
    let text = Request::get(format!("/digest?{AFTER}")).header(header::ACCEPT, "text/plain");
    let (head, lines) = place.send(text.body(Body::empty()).unwrap()).await;
    let as_text = (head, sorted(&String::from_utf8(lines).unwrap()));
    let graph = place.ask("GET", &format!("/graph?{BEFORE}")).await;
    let diff = place.ask("GET", &format!("/diff?{BOTH}")).await;
    check(
        "bodies",
        &[
            ("GET /digest, unpacked and sorted", digest),
            ("GET /digest with Accept: text/plain, sorted", as_text),
            ("GET /graph", graph),
            ("GET /diff", diff),
        ],
    );
}

#[tokio::test]
async fn what_is_asked_for_goes_from_404_over_202_and_204_to_200_and_then_409() {
    let place = Place::new(Options::default());
    let mut answers = Vec::new();
    let requests = [format!("/digest?{BEFORE}"), format!("/graph?{BEFORE}"), format!("/diff?{BOTH}")];
    for path in &requests {
        for method in ["GET", "POST", "POST", "GET"] {
            answers.push((format!("{method} {path}"), place.ask(method, path).await));
        }
    }
    for hour in ["2026-11-20T12", "2026-11-20T13"] {
        place.digest(hour).await;
    }
    for path in &requests {
        answers.push((format!("POST {path}, published"), place.ask("POST", path).await));
        assert_eq!(place.status("GET", path).await, StatusCode::OK, "{path}");
    }
    let answers: Vec<_> = answers.iter().map(|(asked, answer)| (asked.as_str(), answer.clone())).collect();
    check("statuses", &answers);
    assert_eq!(place.jobs.list().await.unwrap().len(), 3, "each is asked for once, however often it is posted");
}

#[tokio::test]
async fn bad_input_is_told_in_json() {
    let place = Place::new(Options::default());
    let mut answers = Vec::new();
    for asked in [
        "GET /digest",
        "POST /digest?start=noon&stop=2026-11-20T13:00:00Z",
        "GET /graph?start=2026-11-20T13:00:00Z&stop=2026-11-20T12:00:00Z",
        "POST /graph?start=2026-11-20T13:00:10Z&stop=2026-11-20T13:00:50Z",
        "GET /digest?start=2025-11-20T13:00:00Z&stop=2026-11-20T12:00:00Z",
        "GET /diff?previous_start=2026-11-20T12:00:00Z&previous_stop=2026-11-20T13:00:00Z",
        "GET /diff?previous_start=2026-11-20T13:00:00Z&previous_stop=2026-11-20T14:00:00Z&next_start=2026-11-20T12:00:00Z&next_stop=2026-11-20T13:00:00Z",
    ] {
        let (method, path) = asked.split_once(' ').unwrap();
        answers.push((asked, place.ask(method, path).await));
    }
    check("bad_input", &answers);
}

#[tokio::test]
async fn a_bus_is_told_whether_the_job_of_its_payload_is_taken() {
    let place = Place::new(Options { queue_max: 2, ..Options::default() });
    let hour = r#"{"id":"6f1c2a3b","start":"2026-11-20T12:00:00Z","stop":"2026-11-20T13:00:00Z"}"#;
    let hours = r#"{"id":"9","previousStart":"2026-11-20T12:00:00Z","previousStop":"2026-11-20T13:00:00Z","nextStart":"2026-11-20T13:00:00Z","nextStop":"2026-11-20T14:00:00Z"}"#;
    let mut answers = Vec::new();
    for (path, payload) in [
        ("/digest/topic/event", hour),
        ("/diff/topic/event", hours),
        ("/graph/topic/event", hour),
        ("/graph/topic/event", "no json"),
        ("/graph/topic/event", r#"{"start":"2026-11-20T12:00:00Z","stop":"2026-11-20T13:00:00Z"}"#),
        ("/diff/topic/event", hour),
    ] {
        answers.push((path, payload, place.bring(path, payload).await));
    }
    let asked: Vec<String> = answers.iter().map(|(path, payload, _)| format!("POST {path} {payload}")).collect();
    let answers: Vec<_> = asked.iter().zip(answers).map(|(asked, (_, _, answer))| (asked.as_str(), answer)).collect();
    check("worker", &answers);

    let stop = CancellationToken::new();
    let working = tokio::spawn(Worker::new(place.jobs.clone(), Arc::new(place.builder.clone())).run(stop.clone()));
    let path = format!("/diff?{BOTH}");
    while place.status("GET", &path).await == StatusCode::NO_CONTENT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(place.status("GET", &path).await, StatusCode::OK);
    let (head, _) = place.bring("/diff/topic/event", hours).await;
    assert_eq!(head, "204 No Content", "a payload that comes again is taken, and nothing is done twice");
    stop.cancel();
    working.await.unwrap();
}

#[tokio::test]
async fn why_a_job_failed_is_told_and_a_post_tries_again() {
    let place = Place::new(Options::default());
    let path = "/digest?start=2026-11-19T12:00:00Z&stop=2026-11-19T13:00:00Z";
    assert_eq!(place.status("POST", path).await, StatusCode::ACCEPTED);
    let stop = CancellationToken::new();
    let working = tokio::spawn(Worker::new(place.jobs.clone(), Arc::new(place.builder.clone())).run(stop.clone()));
    while place.status("GET", path).await == StatusCode::NO_CONTENT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    working.await.unwrap();
    let (head, body) = place.ask("GET", path).await;
    let body = String::from_utf8(body).unwrap();
    assert!(head.starts_with("404") && body.contains("failed: "), "{head} {body}");
    assert_eq!(place.status("POST", path).await, StatusCode::ACCEPTED);
    let job = Job::new(Kind::Digest, vec![window("2026-11-19T12")]).unwrap();
    place.jobs.cancel(job.id()).await.unwrap();
    let (head, body) = place.ask("GET", path).await;
    assert!(head.starts_with("404") && String::from_utf8_lossy(&body).contains("was cancelled"), "{head}");
}

#[tokio::test]
async fn a_base_url_may_end_in_a_slash() {
    let place = Place::published().await;
    assert_eq!(place.status("GET", &format!("/graph/?{BEFORE}")).await, StatusCode::OK);
    assert_eq!(place.status("DELETE", "/graph").await, StatusCode::METHOD_NOT_ALLOWED);
}

/// The columns of a version 2 line, as an edge has them.
const COLUMNS: [&str; 12] = [
    "account_id",
    "interface_id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "first_seen",
    "last_seen",
    "action",
];

/// Rows as text, in the order of `names`.
fn texts(batches: &[RecordBatch], names: [&str; 12]) -> BTreeSet<Vec<String>> {
    let mut rows = BTreeSet::new();
    for batch in batches {
        let columns = names.map(|name| cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap());
        for row in 0..batch.num_rows() {
            rows.insert(columns.iter().map(|column| column.as_string::<i32>().value(row).to_owned()).collect());
        }
    }
    rows
}

#[tokio::test]
async fn the_lines_of_a_digest_read_back_are_its_edges() {
    let place = Place::published().await;
    let edges = edges_of(&place.builder, &place.digest("2026-11-20T12").await).await;
    let (_, packed) = place.ask("GET", &format!("/digest?{BEFORE}")).await;
    let lines = format!("{HEADER}\n{}", unpacked(&packed));
    let (flows, figures) = query("log.gz", lines.as_bytes(), "SELECT * FROM flows", &[]).await;
    let expected = texts(&edges, COLUMNS);
    let read = COLUMNS.map(|name| match name {
        "first_seen" => "start",
        "last_seen" => "end",
        same => same,
    });
    assert_eq!(texts(&flows, read), expected);
    assert_eq!((expected.len(), figures.totals.refused_all()), (3, 0));
}

/// Reads DOT as the earlier differ did: a line is an edge if it holds an arrow, its first and third word are nodes, and
/// the words within the brackets are attributes.
fn read_dot(dot: &str) -> (BTreeMap<String, String>, Vec<BTreeMap<String, String>>) {
    let (mut nodes, mut edges) = (BTreeMap::new(), Vec::new());
    for line in dot.lines().filter(|line| !["digraph {", "}"].contains(line)) {
        if !line.contains("->") {
            let (node, label) = line.split_once(" [label=").unwrap();
            nodes.insert(node.to_owned(), label.trim_end_matches(']').to_owned());
            continue;
        }
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let attributes = words[3].strip_prefix('[').unwrap().strip_suffix(']').unwrap().split(' ');
        let mut edge: BTreeMap<String, String> = attributes
            .map(|attribute| {
                attribute.split_once('=').map(|(k, v)| (k.to_owned(), v.trim_matches('"').to_owned())).unwrap()
            })
            .collect();
        edge.insert("from".to_owned(), words[0].to_owned());
        edge.insert("to".to_owned(), words[2].to_owned());
        edges.push(edge);
    }
    (nodes, edges)
}

#[tokio::test]
async fn a_reader_that_splits_lines_finds_what_was_added_and_removed_and_nothing_else() {
    let place = Place::published().await;
    let (_, dot) = place.ask("GET", &format!("/diff?{BOTH}")).await;
    let (nodes, edges) = read_dot(std::str::from_utf8(&dot).unwrap());
    let changes: BTreeSet<[&str; 4]> = edges
        .iter()
        .map(|edge| {
            [&edge["govpc_diff"], &nodes[&edge["from"]], &edge["govpc_dstPort"], &edge["color"]]
                .map(|t| t.trim_matches('"'))
        })
        .collect();
    let expected = [
        ["ADDED", "10.0.1.11", "443", "green"],
        ["ADDED", "2001:db8::1", "0", "green"],
        ["REMOVED", "10.0.11.1", "443", "green"],
        ["REMOVED", "198.51.100.9", "22", "red"],
    ];
    assert_eq!(changes, BTreeSet::from(expected));
    for edge in &edges {
        assert!(nodes.contains_key(&edge["to"]));
        assert!(edge["label"].ends_with(&format!("\\ndiff={}", edge["govpc_diff"])), "{}", edge["label"]);
    }
}

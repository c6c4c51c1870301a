//! The front of the service on real sockets: who is let in, what is refused, what is told, how it ends. The routes behind
//! it are made up here: the front knows none of them.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::routing::{get, post};
use chrono::TimeDelta;
use flowdiff::meters::METRICS;
use flowdiff::serve::Options;
use flowdiff::serve::front::{Front, Identity, NewToken, Role, Stop};
use flowdiff::telemetry::{self, Meters};
use futures::{StreamExt, stream};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// A service on a port of its own.
struct Running {
    url: String,
    stop: Stop,
    front: Front,
    task: JoinHandle<flowdiff::Result<()>>,
    client: Client,
}

impl Running {
    async fn start(options: Options) -> Running {
        // The client wants to know of a provider, be it without TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Running::with_client(options, Client::new()).await
    }

    async fn with_client(options: Options, client: Client) -> Running {
        let options = Options { listen: ([127, 0, 0, 1], 0).into(), ..options };
        let front = Front::new(&options).unwrap();
        let meters = Meters::install(&telemetry::Options::default()).unwrap();
        let routes = front.wrap(routes(), move || meters.render());
        let (stop, (tell, told)) = (Stop::default(), oneshot::channel());
        let (running, ending) = (front.clone(), stop.clone());
        let task =
            tokio::spawn(async move { running.run(routes, &ending, |url| tell.send(url.to_owned()).unwrap()).await });
        Running { url: told.await.unwrap(), stop, front, task, client }
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    async fn get_as(&self, path: &str, token: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(token).send().await.unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap()
    }

    async fn end(self) {
        self.stop.begin.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().unwrap();
    }
}

fn routes() -> Router {
    let endless =
        || Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 65_536]))));
    // The head of the answer is on its way before the error is met.
    let broken = || {
        Body::from_stream(stream::unfold(0, |part| async move {
            tokio::time::sleep(Duration::from_millis(50 * part)).await;
            Some((if part == 0 { Ok(Bytes::from_static(b"some")) } else { Err(std::io::Error::other("no")) }, part + 1))
        }))
    };
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ready" }))
        .route("/v1/windows", get(|who: Identity| async move { who.name.to_string() }))
        .route("/v1/sql", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/v1/jobs", post(|| async { "begun" }))
        .route("/v1/panic", get(|| async { panic!("as the test wants") as &'static str }))
        .route("/v1/never", get(std::future::pending::<&'static str>))
        .route(
            "/v1/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                "done"
            }),
        )
        .route("/v1/endless", get(move || async move { endless() }))
        .route("/v1/broken", get(move || async move { broken() }))
}

async fn problem(response: Response) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["request_id"], id.as_str());
    assert_eq!(problem["status"], status);
    problem
}

fn token(name: &str, roles: &[Role]) -> NewToken {
    NewToken::generate(name, roles).unwrap()
}

#[tokio::test]
async fn each_role_opens_its_routes_and_no_other() {
    let read = token("reader", &[Role::Read]);
    let all = token("operator", &Role::ALL);
    let running = Running::start(Options { tokens: vec![read.line, all.line], ..Options::default() }).await;

    let refused = running.get("/v1/windows").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"flowdiff\"");
    assert!(problem(refused).await["hint"].as_str().unwrap().contains("token new"));
    let refused = running.get_as("/v1/windows", "fdt_wrong").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));

    assert_eq!(running.get_as("/v1/windows", &read.secret).await.text().await.unwrap(), "reader");
    for (path, status) in [("/v1/sql", 403), ("/v1/jobs", 403)] {
        let post = running.client.post(format!("{}{path}", running.url));
        let refused = post.try_clone().unwrap().bearer_auth(&read.secret).send().await.unwrap();
        assert_eq!(refused.status(), status);
        assert!(problem(refused).await["detail"].as_str().unwrap().starts_with("reader has no role "));
        assert_eq!(post.bearer_auth(&all.secret).send().await.unwrap().status(), 200);
    }
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 401), ("/v1/nothing", 401)] {
        assert_eq!(running.get(path).await.status(), status, "{path}");
    }
    assert_eq!(running.get_as("/metrics", &read.secret).await.status(), 200);
    running.end().await;
}

#[tokio::test]
async fn a_token_that_is_taken_out_of_the_file_is_refused_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let (old, new) = (token("old", &[Role::Read]), token("new", &[Role::Read]));
    std::fs::write(&file, &old.line).unwrap();
    let running = Running::start(Options { tokens_file: Some(file.clone()), ..Options::default() }).await;
    assert_eq!(running.get_as("/v1/windows", &old.secret).await.status(), 200);
    std::fs::write(&file, &new.line).unwrap();
    running.front.reload(false);
    assert_eq!(running.get_as("/v1/windows", &old.secret).await.status(), 401);
    assert_eq!(running.get_as("/v1/windows", &new.secret).await.status(), 200);
    running.end().await;
}

#[test]
fn nobody_listens_beyond_this_machine_without_tokens_by_accident() {
    let beyond = Options { listen: ([0, 0, 0, 0], 0).into(), ..Options::default() };
    let error = Front::new(&beyond).unwrap_err();
    assert_eq!(error.kind(), flowdiff::ErrorKind::Invalid);
    assert!(error.hint().unwrap().contains("flowdiff token new"), "{error}");
    Front::new(&Options { insecure: true, ..beyond.clone() }).unwrap();
    Front::new(&Options { tokens: vec![token("a", &[Role::Read]).line], ..beyond }).unwrap();
    let half = Options { tls_cert: Some("cert.pem".into()), ..Options::default() };
    assert!(Front::new(&half).unwrap_err().hint().unwrap().contains("serve.tls_key"));
    assert!(Front::new(&Options { requests_max: 0, ..Options::default() }).is_err());
}

#[tokio::test]
async fn without_tokens_only_this_machines_own_pages_and_programs_are_answered() {
    let running = Running::start(Options::default()).await;
    assert_eq!(running.get("/v1/windows").await.text().await.unwrap(), "anonymous");
    let asked = running.client.get(format!("{}/v1/windows", running.url));
    let rebound = asked.try_clone().unwrap().header("host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), StatusCode::MISDIRECTED_REQUEST);
    problem(rebound).await;
    let foreign = asked.header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    running.end().await;
}

#[tokio::test]
async fn what_goes_wrong_in_a_handler_is_a_problem_with_the_requests_id() {
    let options = Options { request_timeout: TimeDelta::milliseconds(200), ..Options::default() };
    let running = Running::start(options).await;
    let asked = running.client.get(format!("{}/v1/panic", running.url)).header("x-request-id", "mine-1");
    let panicked = asked.send().await.unwrap();
    assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(problem(panicked).await["request_id"], "mine-1");
    let slow = running.get("/v1/never").await;
    assert_eq!(slow.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(problem(slow).await["hint"].as_str().unwrap().contains("serve.request_timeout"));
    assert_eq!(running.get("/v1/windows").await.status(), 200, "the others go on");
    running.end().await;
}

#[tokio::test]
async fn too_much_is_refused_and_told_when_to_come_again() {
    let options = Options { body_bytes_max: 10, rate_per_second: 1, rate_burst: 3, ..Options::default() };
    let running = Running::start(options).await;
    let post = |bytes: usize| running.client.post(format!("{}/v1/sql", running.url)).body(vec![b'a'; bytes]).send();
    assert_eq!(post(10).await.unwrap().status(), 200);
    let large = post(11).await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let told = problem(large).await;
    assert_eq!(told["detail"], "the body has more than 10 bytes");
    assert_eq!(told["hint"], "send less, or raise serve.body_bytes_max");
    let chunks = stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"12345"))));
    let unannounced = running.client.post(format!("{}/v1/sql", running.url)).body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(unannounced.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let fast = running.get("/v1/windows").await;
    assert_eq!(fast.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(fast.headers()["retry-after"], "1");
    problem(fast).await;
    assert_eq!(running.get("/healthz").await.status(), 200, "health is told at any rate");
    running.end().await;
}

/// Over HTTP/2 curl 7.88 loses an answer that comes before it has sent the body.
#[tokio::test]
async fn what_a_refused_client_sends_is_taken_before_it_is_told() {
    let may_read = token("reader", &[Role::Read]);
    let front = Front::new(&Options { tokens: vec![may_read.line.clone()], ..Options::default() }).unwrap();
    let router = front.wrap(routes(), String::new);
    for (secret, status) in [("nobody's", StatusCode::UNAUTHORIZED), (&may_read.secret, StatusCode::FORBIDDEN)] {
        let is_taken = Arc::new(AtomicBool::new(false));
        let taken = is_taken.clone();
        let body = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"SELECT 1")) }).chain(
            stream::poll_fn(move |_| {
                taken.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }),
        );
        let request = Request::post("/v1/sql").header("authorization", format!("Bearer {secret}"));
        let response = router.clone().oneshot(request.body(Body::from_stream(body)).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(is_taken.load(Ordering::Relaxed), "{status}");
    }
}

#[tokio::test]
async fn a_turn_is_held_until_the_answer_is_taken_or_its_client_is_gone() {
    let running = Running::start(Options { requests_max: 1, ..Options::default() }).await;
    let held = running.get("/v1/endless").await;
    let refused = running.get("/v1/windows").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    drop(held);
    let mut tries = 0;
    while running.get("/v1/windows").await.status() != 200 {
        tries += 1;
        assert!(tries < 100);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.end().await;
}

#[tokio::test]
async fn what_was_answered_is_counted_by_route_and_not_by_path() {
    let running = Running::start(Options { metrics_open: true, ..Options::default() }).await;
    running.get("/v1/windows?a=1").await;
    running.get("/v1/not-a-route/1").await;
    assert!(running.get("/v1/broken").await.bytes().await.is_err());
    let metrics = running.get("/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = metrics.text().await.unwrap();
    let value =
        |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
    value("flowdiff_http_requests_total{method=\"GET\",route=\"/v1/windows\",status=\"200\"}");
    value("flowdiff_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}");
    value("flowdiff_http_request_duration_seconds_bucket{method=\"GET\",route=\"/v1/windows\",le=\"0.001\"}");
    value("flowdiff_http_answers_cut_total{route=\"/v1/broken\",reason=\"failed\"}");
    value("flowdiff_build_info{version=\"");
    value("process_resident_memory_bytes ");
    assert!(!text.contains("not-a-route"), "paths are whatever a client thinks of");
    running.end().await;
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_request_is_cut_off() {
    let options = Options { header_timeout: TimeDelta::milliseconds(300), ..Options::default() };
    let running = Running::start(options).await;
    for said in ["", "GET", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: "] {
        let mut stream = running.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{said:?} keeps its connection");
    }
    running.end().await;
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_the_others_stay() {
    let running = Running::start(Options { connections_max: 1, ..Options::default() }).await;
    let mut first = running.connect().await;
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut second = running.connect().await;
    let _ = second.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut nothing = Vec::new();
    let _ = second.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty());
    drop(first);
    running.end().await;
}

#[tokio::test]
async fn a_service_that_is_told_to_stop_finishes_what_it_began() {
    let running = Running::start(Options::default()).await;
    let (client, url) = (running.client.clone(), running.url.clone());
    let slow = tokio::spawn(async move { client.get(format!("{url}/v1/slow")).send().await.unwrap().text().await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    running.stop.begin.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(running.front.is_stopping());
    let address = running.url.trim_start_matches("http://").to_owned();
    assert!(TcpStream::connect(address).await.is_err(), "nothing new is taken");
    assert_eq!(slow.await.unwrap().unwrap(), "done");
    running.end().await;
}

#[tokio::test]
async fn a_service_that_is_told_to_stop_waits_no_longer_than_it_may() {
    let running =
        Running::start(Options { shutdown_timeout: TimeDelta::milliseconds(300), ..Options::default() }).await;
    let held = running.get("/v1/endless").await;
    running.end().await;
    drop(held);
    let running = Running::start(Options::default()).await;
    let held = running.get("/v1/endless").await;
    running.stop.begin.cancel();
    running.stop.now.cancel();
    running.end().await;
    drop(held);
}

/// A certificate for localhost in two files, and a client that trusts it alone.
fn certify(folder: &Path) -> (Options, Client) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0).build().unwrap();
    (Options { tls_cert: Some(cert), tls_key: Some(key), ..Options::default() }, client)
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (options, old) = certify(folder.path());
    let running = Running::with_client(options, old.clone()).await;
    assert!(running.url.starts_with("https://"));
    assert_eq!(running.get("/v1/windows").await.status(), 200);
    let (_, new) = certify(folder.path());
    let url = format!("{}/healthz", running.url);
    assert!(new.get(&url).send().await.is_err(), "the old one is still shown");
    running.front.reload(false);
    assert_eq!(new.get(&url).send().await.unwrap().status(), 200);
    assert!(old.get(&url).send().await.is_err());
    let mut plain = TcpStream::connect(running.url.trim_start_matches("https://")).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "nothing is answered in the clear");
    running.end().await;
}

/// Names in a text that look like ours, histograms without what Prometheus adds.
fn metrics_named(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| ["flowdiff_", "process_"].iter().any(|prefix| word.starts_with(prefix)));
    let stem =
        |word: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).map(str::to_owned);
    ours.map(|word| stem(word).unwrap_or_else(|| word.to_owned())).collect()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn dashboard_and_alerts_use_metrics_that_there_are_and_the_dashboard_all_of_them() {
    let known: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    for file in ["deploy/grafana.json", "deploy/alerts.yaml"] {
        for name in metrics_named(&read(file)) {
            assert!(known.contains(&name), "{file} names {name}");
        }
    }
    let dashboard = read("deploy/grafana.json");
    let _: Value = serde_json::from_str(&dashboard).unwrap();
    let shown: BTreeSet<String> = metrics_named(&dashboard).into_iter().collect();
    assert_eq!(known.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "not shown");
}

#[test]
fn the_page_for_operators_lists_every_metric_as_it_is() {
    let page = read("docs/operations.md");
    let listed: Vec<&str> =
        page.lines().filter(|line| metrics_named(line).len() == 1 && line.starts_with("| `")).collect();
    let rows = METRICS.iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { " ".to_owned() } else { format!(" {} ", labels.join(", ")) };
        format!("| `{}` | {} |{labels}| {} |", metric.name, format!("{:?}", metric.kind).to_lowercase(), metric.help)
    });
    assert_eq!(listed, rows.collect::<Vec<_>>());
}

/// `flowdiff` with no settings but those given.
fn flowdiff(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowdiff"));
    command.args(args).current_dir(folder).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn the_program_follows_its_files_and_its_signals() {
    let folder = tempfile::tempdir().unwrap();
    let new_token = |name: &str| {
        let new = ["token", "new", "--name", name, "--role", "read", "--role", "sql", "--append", "tokens"];
        let made = flowdiff(folder.path(), &new).output().unwrap();
        assert!(made.status.success());
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let first = new_token("first");
    let mut serving = flowdiff(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--log-level", "info"])
        .env("FLOWDIFF__SERVE__TOKENS_FILE", "tokens")
        .spawn()
        .unwrap();
    let mut told = BufReader::new(serving.stderr.take().unwrap()).lines().map(Result::unwrap);
    let url = told.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned)).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new();
    let status = async |path: &str, token: &str| {
        let asked = client.get(format!("{url}/{path}")).bearer_auth(token).header("x-request-id", "mine-7");
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("metrics", &first).await, 200);
    assert_eq!(status("v1/windows", "fdt_unknown").await, 401);
    let statement = client.post(format!("{url}/v1/sql")).bearer_auth(&first).header("x-request-id", "mine-8");
    let answer = statement.header("content-type", "text/plain").body("SELECT 1 AS one").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "[{\"one\":1}]\n");
    let second = new_token("second");
    signal(&serving, "-HUP");
    let began = std::time::Instant::now();
    while status("metrics", &second).await != 200 {
        assert!(began.elapsed() < Duration::from_secs(4), "SIGHUP does not wait for the next look at the files");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal(&serving, "-TERM");
    let lines: Vec<String> = told.collect();
    assert!(serving.wait().unwrap().success(), "{lines:#?}");
    let line = lines.iter().find(|line| line.contains("/metrics")).unwrap();
    for part in ["route=\"/metrics\"", "status=200", "user=first", "request_id=\"mine-7\"", "end=\"complete\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let audit = lines.iter().find(|line| line.contains("SELECT 1 AS one")).unwrap();
    assert!(audit.contains("mine-8"), "{audit}");
    assert!(!lines.concat().contains("fdt_"), "no token is ever logged");
}

#[test]
fn a_new_token_comes_with_the_line_that_lets_it_in() {
    let folder = tempfile::tempdir().unwrap();
    let made =
        flowdiff(folder.path(), &["token", "new", "--role", "read", "--role", "sql", "--name", "me"]).output().unwrap();
    let (secret, told) = (String::from_utf8(made.stdout).unwrap(), String::from_utf8(made.stderr).unwrap());
    assert!(secret.starts_with("fdt_") && secret.trim().len() == 68, "{secret}");
    let line = told.lines().find(|line| line.starts_with("me read,sql sha256:")).unwrap();
    let front = Front::new(&Options { tokens: vec![line.to_owned()], ..Options::default() });
    assert!(front.is_ok());
    let refused = flowdiff(folder.path(), &["token", "new", "--name", "two words"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

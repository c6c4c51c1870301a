//! Measures the service from outside: `serve_load URL DIFF [SECONDS]`, where URL is `http://127.0.0.1:PORT` and DIFF the
//! query of `/v1/diffs`, such as `before=previous&after=2026-11-20T13`. First and last byte of the diff as Arrow, answers
//! of 304 at 1,000 requests a second, and 200 clients that fetch diffs at once. It speaks to this machine alone, and ends
//! by itself. `benches/README.md` has figures.

#![allow(clippy::unwrap_used)]

use futures::StreamExt;
use reqwest::{Client, StatusCode, header};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Fetches that are timed one after the other.
const FETCHES: usize = 20;
/// Requests a second whose answer is 304.
const HELD_RATE: u64 = 1_000;
/// Clients that fetch at once.
const CLIENTS: usize = 200;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, query, seconds) = match &arguments[..] {
        [url, query] => (url, query, 10),
        [url, query, seconds] => (url, query, seconds.parse::<u64>().unwrap().min(300)),
        _ => panic!("usage: serve_load http://127.0.0.1:PORT DIFF [SECONDS]"),
    };
    let host = reqwest::Url::parse(url).unwrap().host_str().unwrap().to_owned();
    assert!(["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str()), "{host} is not this machine");
    let diff = Arc::new(format!("{url}/v1/diffs?{query}&format=arrow"));
    // The only provider of TLS in the tree; nobody else has chosen one yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().build().unwrap();
    let tag = one_by_one(&client, &diff).await;
    held(&client, &diff, &tag, seconds).await;
    at_once(&client, &diff, seconds).await;
}

/// Fetches the diff again and again; returns its tag.
async fn one_by_one(client: &Client, diff: &str) -> String {
    let (mut first, mut whole, mut tag, mut bytes) = (Vec::new(), Vec::new(), String::new(), 0);
    for _ in 0..FETCHES {
        let began = Instant::now();
        let response = client.get(diff).send().await.unwrap().error_for_status().unwrap();
        tag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
        let mut body = response.bytes_stream();
        bytes = body.next().await.unwrap().unwrap().len();
        first.push(began.elapsed());
        while let Some(chunk) = body.next().await {
            bytes += chunk.unwrap().len();
        }
        whole.push(began.elapsed());
    }
    println!("diff as Arrow, {bytes} bytes: first byte {}, whole {}", spread(first), spread(whole));
    tag
}

/// Asks whether the diff is still the same, so many times a second.
async fn held(client: &Client, diff: &Arc<String>, tag: &str, seconds: u64) {
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / HELD_RATE));
    let mut answers = Vec::new();
    let began = Instant::now();
    for _ in 0..HELD_RATE * seconds {
        ticks.tick().await;
        let request = client.get(diff.as_str()).header(header::IF_NONE_MATCH, tag);
        answers.push(tokio::spawn(async move {
            let began = Instant::now();
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            began.elapsed()
        }));
    }
    let mut times = Vec::new();
    for answer in answers {
        times.push(answer.await.unwrap());
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    println!("304 at {rate:.0} requests/s: {}", spread(times));
}

/// Many clients at once, each of which fetches whole diffs one after the other.
async fn at_once(client: &Client, diff: &Arc<String>, seconds: u64) {
    let (failed, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, diff, failed) = (client.clone(), diff.clone(), failed.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while began.elapsed() < Duration::from_secs(seconds) {
                    let began = Instant::now();
                    let whole = async { client.get(diff.as_str()).send().await?.error_for_status()?.bytes().await };
                    if let Err(error) = whole.await {
                        eprintln!("{error:?}");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    times.push(began.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    let failed = failed.load(Ordering::Relaxed);
    println!("{CLIENTS} clients at once: {rate:.1} diffs/s, {failed} failed, whole {}", spread(times));
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("median {:.2} ms, 99 % {:.2} ms, longest {:.2} ms", at(0.5), at(0.99), at(1.0))
}

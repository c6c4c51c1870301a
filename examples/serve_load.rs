//! Measures the service from outside: `serve_load ADDRESS DIFF [SECONDS]`, where ADDRESS is `127.0.0.1:PORT` and DIFF the
//! query of `/v1/diffs`, such as `before=previous&after=2026-11-20T13`. First and last byte of the diff, answers of 304
//! at 1,000 requests a second, and ever more clients that fetch diffs at once, with the memory that the service takes
//! meanwhile. It speaks to this machine alone, and ends by itself. `benches/README.md` has figures.
//!
//! A thread for each connection and no library for HTTP: a debug build of it is no slower than what it measures.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Fetches that are timed one after the other.
const FETCHES: usize = 40;
/// Requests a second whose answer is 304.
const HELD_RATE: u64 = 1_000;
/// Connections that they share.
const HELD_CONNECTIONS: usize = 16;
/// Clients that fetch at once: memory must not grow with them.
const CLIENTS: [usize; 4] = [16, 50, 100, 200];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, query, seconds) = match &arguments[..] {
        [address, query] => (address, query, 10),
        [address, query, seconds] => (address, query, seconds.parse::<u64>().unwrap().min(300)),
        _ => panic!("usage: serve_load 127.0.0.1:PORT DIFF [SECONDS]"),
    };
    let address: SocketAddr = address.parse().unwrap();
    assert!(address.ip().is_loopback(), "{address} is not this machine");
    let diff = |format: &str| format!("/v1/diffs?{query}&format={format}");
    one_by_one(address, &diff("ndjson"));
    let tag = one_by_one(address, &diff("arrow"));
    held(address, &diff("arrow"), &tag, seconds);
    for clients in CLIENTS {
        at_once(address, &diff("arrow"), clients, seconds);
    }
}

/// Fetches the diff again and again; returns its tag.
fn one_by_one(address: SocketAddr, diff: &str) -> String {
    let fetched: Vec<Answer> = (0..FETCHES).map(|_| fetch(address, diff).unwrap()).collect();
    let last = fetched.last().unwrap();
    assert!(fetched.iter().all(|answer| answer.status == 200), "{:?}", last.status);
    println!("{diff}, {} bytes", last.bytes);
    let times = |of: fn(&Answer) -> Duration| spread(fetched.iter().map(of).collect());
    println!("  head       {}", times(|answer| answer.head));
    println!("  first byte {}", times(|answer| answer.first));
    println!("  whole      {}", times(|answer| answer.whole));
    last.tag.clone()
}

/// Asks whether the diff is still the same, so many times a second, whether or not the answers keep up: times count from
/// the instant at which a request was due.
fn held(address: SocketAddr, diff: &str, tag: &str, seconds: u64) {
    let (began, next, asked) = (Instant::now(), AtomicU64::new(0), HELD_RATE * seconds);
    let ask = || {
        let (mut answers, mut connection) = (Vec::new(), None);
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= asked {
                return answers;
            }
            let due = began + Duration::from_micros(number * 1_000_000 / HELD_RATE);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let answer = ask_again(&mut connection, address, diff, tag);
            answers.push((name(&answer), due.elapsed()));
        }
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let connections: Vec<_> = (0..HELD_CONNECTIONS).map(|_| scope.spawn(ask)).collect();
        connections.into_iter().flat_map(|connection| connection.join().unwrap()).collect()
    });
    let rate = answers.len() as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} requests/s with If-None-Match");
    print_by_name(answers);
}

/// Many clients at once, each of which fetches whole diffs one after the other.
fn at_once(address: SocketAddr, diff: &str, clients: usize, seconds: u64) {
    let (began, is_over) = (Instant::now(), AtomicBool::new(false));
    let client = || {
        let mut answers = Vec::new();
        while began.elapsed() < Duration::from_secs(seconds) {
            let asked = Instant::now();
            let answer = fetch(address, diff).map(|answer| answer.status);
            answers.push((name(&answer), asked.elapsed()));
        }
        answers
    };
    let (answers, memory) = thread::scope(|scope| {
        let memory = scope.spawn(|| {
            let mut most = 0.0_f64;
            while !is_over.load(Relaxed) {
                most = most.max(resident_megabytes(address).unwrap_or_default());
                thread::sleep(Duration::from_millis(100));
            }
            most
        });
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let answers: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        is_over.store(true, Relaxed);
        (answers, memory.join().unwrap())
    });
    let rate = answers.len() as f64 / began.elapsed().as_secs_f64();
    println!("{clients} clients at once: {rate:.1} answers/s, resident memory {memory:.0} MB at the most");
    print_by_name(answers);
}

/// A whole answer, and when what of it was there, from the connection on.
struct Answer {
    status: u16,
    tag: String,
    bytes: usize,
    head: Duration,
    first: Duration,
    whole: Duration,
}

/// One request on a connection of its own.
fn fetch(address: SocketAddr, path: &str) -> Result<Answer> {
    let began = Instant::now();
    let mut connection = connect(address)?;
    write_request(&mut connection, address, path, "Connection: close\r\n")?;
    let Head { status, tag, is_chunked } = read_head(&mut connection)?;
    let head = began.elapsed();
    connection.fill_buf()?;
    let (first, mut body) = (began.elapsed(), Vec::new());
    connection.read_to_end(&mut body)?;
    if is_chunked && !body.ends_with(b"\r\n0\r\n\r\n") {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the answer broke off"));
    }
    Ok(Answer { status, tag, bytes: body.len(), head, first, whole: began.elapsed() })
}

/// One request for an answer without a body, on `connection` if that is still good for it; returns the status.
fn ask_again(connection: &mut Option<BufReader<TcpStream>>, address: SocketAddr, path: &str, tag: &str) -> Result<u16> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => connect(address)?,
    };
    write_request(&mut open, address, path, &format!("If-None-Match: {tag}\r\n"))?;
    let status = read_head(&mut open)?.status;
    // Any other answer has a body, which ends with its connection here.
    if status == 304 {
        *connection = Some(open);
    }
    Ok(status)
}

fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::with_capacity(1 << 16, stream))
}

fn write_request(connection: &mut BufReader<TcpStream>, host: SocketAddr, path: &str, headers: &str) -> Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    connection.get_mut().write_all(request.as_bytes())
}

/// What is wanted of the head of an answer.
#[derive(Default)]
struct Head {
    status: u16,
    tag: String,
    is_chunked: bool,
}

fn read_head(connection: &mut BufReader<TcpStream>) -> Result<Head> {
    let (mut head, mut line) = (Head::default(), String::new());
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "no answer"));
        }
        let text = line.trim_end();
        match text.split_once(": ") {
            None if text.is_empty() => return Ok(head),
            None => head.status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0),
            Some((name, value)) if name.eq_ignore_ascii_case("etag") => head.tag = value.to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("transfer-encoding") => {
                head.is_chunked = value == "chunked";
            }
            Some(_) => {}
        }
    }
}

/// What the service says of its own memory.
fn resident_megabytes(address: SocketAddr) -> Option<f64> {
    let mut connection = connect(address).ok()?;
    write_request(&mut connection, address, "/metrics", "Connection: close\r\n").ok()?;
    let mut lines = connection.lines().map_while(Result::ok);
    let value = lines.find_map(|line| line.strip_prefix("process_resident_memory_bytes ").map(str::to_owned))?;
    Some(value.parse::<f64>().ok()? / 1e6)
}

/// What an answer counts as: its status, or what the client met instead.
fn name(answer: &Result<u16>) -> String {
    match answer {
        Ok(status) => status.to_string(),
        Err(error) => format!("no answer: {error}"),
    }
}

fn print_by_name(answers: Vec<(String, Duration)>) {
    let mut by_name: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for (name, time) in answers {
        by_name.entry(name).or_default().push(time);
    }
    for (name, times) in by_name {
        println!("  {name}: {} times, {}", times.len(), spread(times));
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("median {:.2} ms, 99 % {:.2} ms, longest {:.2} ms", at(0.5), at(0.99), at(1.0))
}

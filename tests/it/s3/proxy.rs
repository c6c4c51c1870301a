//! A server between flowdiff and S3 that does with each request what a test wants.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What happens to a request.
pub enum Fate {
    /// It goes to S3.
    Forwarded,
    /// It goes to S3 without its condition.
    Unconditional,
    /// It gets these bytes, and then silence.
    Held(Vec<u8>),
    /// It gets these bytes for an answer, and the connection ends.
    Answered(Vec<u8>),
}

/// Starts a proxy before `server` (`http://host:port`); `judge` sees the head of each request, its first line first.
/// Returns its URL.
pub fn proxy(server: &str, judge: impl Fn(&str) -> Fate + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (server, judge) = (server.trim_start_matches("http://").to_owned(), Arc::new(judge));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (server, judge) = (server.clone(), judge.clone());
            std::thread::spawn(move || serve(client, &server, judge.as_ref()));
        }
    });
    url
}

/// The heads of requests, with such a body as came with them.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub fn add(&self, head: &str) {
        self.0.lock().unwrap().push(head.to_owned());
    }

    /// What was seen since this was last asked.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A proxy that forwards everything; returns its URL and what it sees.
pub fn recorder(server: &str) -> (String, Seen) {
    let seen = Seen::default();
    let sees = seen.clone();
    let url = proxy(server, move |head| {
        sees.add(head);
        Fate::Forwarded
    });
    (url, seen)
}

fn serve(mut client: TcpStream, server: &str, judge: &dyn Fn(&str) -> Fate) -> Option<()> {
    let mut upstream = TcpStream::connect(server).ok()?;
    let (mut answers, mut to_client) = (upstream.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut answers, &mut to_client);
        let _closed = to_client.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = client.read(&mut buffer).ok().filter(|read| *read > 0)?;
        let mut chunk = buffer[..read].to_vec();
        // The client writes the head of a request at once.
        if begins_request(&chunk) {
            match judge(&String::from_utf8_lossy(&chunk)) {
                Fate::Forwarded => {}
                Fate::Unconditional => without_condition(&mut chunk),
                Fate::Held(bytes) => {
                    client.write_all(&bytes).ok()?;
                    loop {
                        std::thread::park();
                    }
                }
                Fate::Answered(bytes) => {
                    client.write_all(&bytes).ok()?;
                    client.shutdown(Shutdown::Both).ok()?;
                    return None;
                }
            }
        }
        upstream.write_all(&chunk).ok()?;
    }
}

fn begins_request(chunk: &[u8]) -> bool {
    let end = chunk.windows(2).position(|pair| pair == b"\r\n");
    end.is_some_and(|end| chunk[..end].ends_with(b" HTTP/1.1"))
}

fn without_condition(chunk: &mut [u8]) {
    let name = b"if-none-match";
    if let Some(at) = chunk.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name)) {
        chunk[at..at + name.len()].copy_from_slice(b"x-lost-header");
    }
}

/// An answer of S3 with a body.
pub fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nlast-modified: Fri, 20 Nov 2026 12:00:00 GMT\r\n\
         connection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// An answer of S3 that refuses.
pub fn refusal(status: &str, code: &str, rest: &str) -> Fate {
    let body = format!("<Error><Code>{code}</Code>{rest}</Error>");
    Fate::Answered(answer(status, body.len(), body.as_bytes()))
}

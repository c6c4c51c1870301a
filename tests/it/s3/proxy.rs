//! A server between flowdiff and S3 that does with each request what a test wants.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

/// What happens to a request.
pub enum Fate {
    /// It goes to S3.
    Forwarded,
    /// It goes to S3 without its condition.
    Unconditional,
    /// It never gets an answer.
    Held,
    /// It gets these bytes for an answer, and the connection ends.
    Answered(Vec<u8>),
}

/// Starts a proxy before `server` (`http://host:port`); `judge` sees the first line of each request. Returns its URL.
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
        if let Some(line) = first_line(&chunk) {
            match judge(&line) {
                Fate::Forwarded => {}
                Fate::Unconditional => without_condition(&mut chunk),
                Fate::Held => loop {
                    std::thread::park();
                },
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

fn first_line(chunk: &[u8]) -> Option<String> {
    let end = chunk.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&chunk[..end]).ok()?;
    line.ends_with(" HTTP/1.1").then(|| line.to_owned())
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

//! Settings of the service.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How the service answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address and port that it listens on; default `127.0.0.1:8080`. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long a client may keep what was made of final digests without asking again; default 5 minutes. A late object
    /// can give a final digest a newer version.
    #[serde(with = "crate::config::duration")]
    pub fresh_for: TimeDelta,
    /// Rows of a page at the most, where a client asks for pages; default 10,000.
    pub page_rows_max: u64,
    /// Diffs, edges and graphs that are answered at once; others wait until one is taken whole. Default 16: some 10 MB of
    /// memory each, which bounds what clients cost, however many they are.
    pub reads_max: usize,
    /// How long requests under way may take to end once the service was told to stop; default 30 seconds.
    #[serde(with = "crate::config::duration")]
    pub shutdown_timeout: TimeDelta,
    /// File of tokens, a line for each as `flowdiff token new` prints it; read again when it changes. No default.
    pub tokens_file: Option<PathBuf>,
    /// Tokens besides those of the file, in lines as there. Without any, everybody who reaches the service may do all.
    pub tokens: Vec<String>,
    /// Listen beyond this machine without tokens; default false. Leave it, unless something in front asks who it is.
    pub insecure: bool,
    /// Whether `/metrics` is for those without a token, too; default false.
    pub metrics_open: bool,
    /// Certificate chain, PEM; with `tls_key` the service speaks TLS. Both files are read again when they change.
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    pub tls_key: Option<PathBuf>,
    /// Connections at once; one more is closed. Default 1024; stay below the limit of open files.
    pub connections_max: usize,
    /// Requests at once, answers under way included; one more is told to wait (503). Default 256.
    pub requests_max: usize,
    /// Requests a second of one token, or of one address where there are no tokens; more are told to wait (429). Default
    /// 0: no bound.
    pub rate_per_second: u32,
    /// Requests that may come at once before the rate counts; default 100.
    pub rate_burst: u32,
    /// Bytes of a request's body; default 1 MiB.
    #[serde(with = "crate::config::byte_size")]
    pub body_bytes_max: u64,
    /// How long a client may take for the head of a request, a kept connection may idle, and a TLS handshake may last;
    /// default 30 s.
    #[serde(with = "crate::config::duration")]
    pub header_timeout: TimeDelta,
    /// How long an answer may take to begin; default 6 minutes, above what a query may run.
    #[serde(with = "crate::config::duration")]
    pub request_timeout: TimeDelta,
    /// How long a client may leave an answer untaken before it is cut off; default 1 minute.
    #[serde(with = "crate::config::duration")]
    pub stall_timeout: TimeDelta,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            fresh_for: TimeDelta::minutes(5),
            page_rows_max: 10_000,
            reads_max: 16,
            shutdown_timeout: TimeDelta::seconds(30),
            tokens_file: None,
            tokens: Vec::new(),
            insecure: false,
            metrics_open: false,
            tls_cert: None,
            tls_key: None,
            connections_max: 1024,
            requests_max: 256,
            rate_per_second: 0,
            rate_burst: 100,
            body_bytes_max: 1 << 20,
            header_timeout: TimeDelta::seconds(30),
            request_timeout: TimeDelta::minutes(6),
            stall_timeout: TimeDelta::minutes(1),
        }
    }
}

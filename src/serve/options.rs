//! Settings of the service.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
    /// How long requests under way may take to end once the service was told to stop; default 30 seconds.
    #[serde(with = "crate::config::duration")]
    pub shutdown_timeout: TimeDelta,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            fresh_for: TimeDelta::minutes(5),
            page_rows_max: 10_000,
            shutdown_timeout: TimeDelta::seconds(30),
        }
    }
}

//! What a running flowdiff tells of itself: logs to a writer, traces to a collector, metrics to whoever collects them.
//! Set up once, from the command line.

mod meters;
mod traces;

pub use meters::Meters;

use crate::config::{LogFormat, LogOptions};
use crate::error::{Error, Result};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::io::Write;
use traces::Traces;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Where traces and metrics are sent. `/metrics` is always there for who asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Collector that takes traces by OTLP over HTTP, such as `http://localhost:4318`; no default: no traces.
    pub otlp_endpoint: Option<String>,
    /// Part of the traces that is sent, 0 to 1; default 1. One that a client began is sent if the client's is.
    pub trace_ratio: f64,
    /// Name of the service in traces; default `flowdiff`.
    pub service_name: String,
    /// Send metrics to a DogStatsD agent; default false.
    pub statsd: bool,
    /// The agent: `host:port` for UDP, or `unixgram:///path`; default `localhost:8125`.
    pub statsd_address: String,
    /// How often metrics are sent; default 10 seconds.
    #[serde(with = "crate::config::duration")]
    pub statsd_flush_interval: TimeDelta,
    /// Tags of every metric that is sent, `name:value`; default none.
    pub statsd_tags: Vec<String>,
    /// Bytes of a datagram; default 1432, which fits an Ethernet frame.
    #[serde(with = "crate::config::byte_size")]
    pub statsd_packet_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            otlp_endpoint: None,
            trace_ratio: 1.0,
            service_name: "flowdiff".to_owned(),
            statsd: false,
            statsd_address: "localhost:8125".to_owned(),
            statsd_flush_interval: TimeDelta::seconds(10),
            statsd_tags: Vec::new(),
            statsd_packet_bytes_max: 1432,
        }
    }
}

/// Holds what is told until the end: dropped, it sends the last traces.
#[derive(Debug)]
pub struct Telemetry {
    _traces: Option<Traces>,
}

/// Begins to log into `writer`, a line at a time, and to trace, as the settings say. A second call in one process changes
/// nothing.
///
/// # Errors
/// `Invalid` if the level or the collector's address cannot be read.
pub fn init<W: Write + 'static>(
    log: &LogOptions,
    options: &Options,
    writer: fn() -> W,
    colors: bool,
) -> Result<Telemetry> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Error::invalid(format!("log.level {:?}: {why}", log.level))
            .with_hint("use error, warn, info, debug, trace or off")
    };
    // A word alone would be taken for a target, and nothing else be logged.
    if log.level.chars().all(char::is_alphanumeric) && log.level.parse::<LevelFilter>().is_err() {
        return Err(unreadable(&"there is no such level"));
    }
    let filter = EnvFilter::try_new(directives(&log.level)).map_err(|error| unreadable(&error))?;
    let lines = fmt::layer().with_writer(writer).with_ansi(colors).log_internal_errors(false);
    let lines = match log.format {
        LogFormat::Text => lines.without_time().with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let traces = Traces::open(options)?;
    let spans = traces.as_ref().map(Traces::layer);
    // An embedding program may have its own subscriber.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init();
    Ok(Telemetry { _traces: traces })
}

/// A bare level is about flowdiff: of the libraries below it, `info` and `debug` would drown what was asked for.
fn directives(level: &str) -> String {
    match level {
        "info" | "debug" => format!("warn,flowdiff={level}"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_cannot_be_read_is_quoted() {
        for level in ["flowdiff=loud", "loud", "information"] {
            let options = LogOptions { level: level.to_owned(), ..LogOptions::default() };
            let error = init(&options, &Options::default(), std::io::stderr, false).unwrap_err();
            assert!(error.to_string().contains(level), "{error}");
        }
    }

    #[test]
    fn info_is_about_flowdiff_and_a_filter_stays_as_it_is() {
        assert_eq!(directives("info"), "warn,flowdiff=info");
        assert_eq!(directives("trace"), "trace");
        assert_eq!(directives("flowdiff::scan=debug"), "flowdiff::scan=debug");
    }
}

//! What a request of the earlier services' clients asks for. In: times by name, from a query or a payload. Out: a job.

use crate::catalog::WIDTH_MAX;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::pipeline::jobs::{Job, Kind};
use crate::window::Window;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use serde_json::{Map, Value};
use url::form_urlencoded;

/// The names of the times of a kind of job, in a query and in a payload: start and stop of each window.
fn names(kind: Kind) -> &'static [[(&'static str, &'static str); 2]] {
    match kind {
        Kind::Digest | Kind::Graph => &[[("start", "start"), ("stop", "stop")]],
        Kind::Diff => &[
            [("previous_start", "previousStart"), ("previous_stop", "previousStop")],
            [("next_start", "nextStart"), ("next_stop", "nextStop")],
        ],
    }
}

/// The job that the query of a URL asks for; of a name given twice the first counts.
///
/// # Errors
/// `Invalid`, naming the parameter.
pub(super) fn read_query(kind: Kind, query: &str) -> Result<Job> {
    let get =
        |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value);
    read(kind, |(name, _)| get(name).map(String::from), |(name, _)| name)
}

/// The job that a payload asks for. Its `id` must be there, and says nothing: the times do.
///
/// # Errors
/// `Invalid` if it is no JSON object, naming the field if one is missing or cannot be read.
pub(super) fn read_payload(kind: Kind, payload: &[u8]) -> Result<Job> {
    let fields: Map<String, Value> = serde_json::from_slice(payload)
        .map_err(|error| Error::invalid(format!("the payload is no JSON object: {error}")))?;
    let get = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    if get("id").is_none_or(|id| id.is_empty()) {
        return Err(Error::invalid("id is missing"));
    }
    read(kind, |(_, name)| get(name), |(_, name)| name)
}

/// The payload that the earlier queuers send for a job.
pub(super) fn write_payload(job: &Job) -> Value {
    let mut fields = Map::from_iter([("id".to_owned(), job.id().to_string().into())]);
    for ([start, stop], window) in names(job.kind()).iter().zip(job.windows()) {
        for ((_, name), time) in [(start, window.start()), (stop, window.stop())] {
            fields.insert((*name).to_owned(), time.to_rfc3339_opts(SecondsFormat::Secs, true).into());
        }
    }
    fields.into()
}

type Names = (&'static str, &'static str);

fn read(kind: Kind, get: impl Fn(Names) -> Option<String>, said: fn(Names) -> &'static str) -> Result<Job> {
    let time = |names| read_time(said(names), get(names).as_deref().unwrap_or_default());
    let windows =
        names(kind).iter().map(|[start, stop]| Window::new(time(*start)?, time(*stop)?)).collect::<Result<Vec<_>>>()?;
    if let Some(wide) = windows.iter().find(|window| window.width() > WIDTH_MAX) {
        return Err(Error::invalid(format!("window {wide} is wider than {} days", WIDTH_MAX.num_days())));
    }
    if let [previous, next] = windows[..]
        && (previous.start() > next.start() || previous.stop() > next.stop())
    {
        return Err(Error::invalid(format!("previous window {previous} is not before next window {next}")));
    }
    Job::new(kind, windows)
}

/// An RFC 3339 time, cut to its minute.
fn read_time(name: &str, text: &str) -> Result<Timestamp> {
    if text.is_empty() {
        return Err(Error::invalid(format!("{name} is missing")));
    }
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|error| Error::invalid(format!("{name} {text:?} is no RFC 3339 time: {error}")))?;
    let past_minute = TimeDelta::seconds(time.timestamp().rem_euclid(60));
    Ok(DateTime::from_timestamp(time.timestamp(), 0).unwrap_or_default() - past_minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(job: &Job) -> Vec<String> {
        job.windows().iter().map(Window::to_string).collect()
    }

    #[test]
    fn times_are_rfc_3339_with_fractions_cut_to_the_minute() {
        let query = "start=2026-11-20T12%3A00%3A59.999999999Z&stop=2026-11-20T14:01:00.5%2B01:00&start=again";
        let job = read_query(Kind::Digest, query).unwrap();
        assert_eq!(windows(&job), ["2026-11-20T12:00Z/2026-11-20T13:01Z"]);
        let job = read_query(Kind::Graph, "stop=1969-12-31T23:59:01Z&start=1969-12-31T23:58:59Z").unwrap();
        assert_eq!(windows(&job), ["1969-12-31T23:58Z/1969-12-31T23:59Z"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let hour = "start=2026-11-20T12:00:00Z&stop=2026-11-20T13:00:00Z";
        for (kind, query, fault) in [
            (Kind::Digest, "", "start is missing"),
            (Kind::Digest, "start=2026-11-20T12:00:00Z&stop=", "stop is missing"),
            (Kind::Digest, "start=noon&stop=", "start \"noon\" is no RFC 3339 time"),
            (Kind::Digest, "start=2026-11-20T12:00:00+01:00&stop=", "start \"2026-11-20T12:00:00 01:00\" is no RFC"),
            (Kind::Graph, "start=2026-11-20T12:00:10Z&stop=2026-11-20T12:00:50Z", "is empty"),
            (Kind::Graph, "start=2026-11-20T13:00:00Z&stop=2026-11-20T12:00:00Z", "runs backwards"),
            (Kind::Graph, "start=2026-01-01T00:00:00Z&stop=2026-11-20T12:00:00Z", "is wider than 31 days"),
            (Kind::Diff, hour, "previous_start is missing"),
        ] {
            let error = read_query(kind, query).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid);
            assert!(error.to_string().contains(fault), "{query}: {error}");
        }
    }

    #[test]
    fn a_diff_goes_forward_and_may_overlap() {
        let diff = |hours: [&str; 4]| {
            let [a, b, c, d] = hours.map(|hour| format!("2026-11-20T{hour}:00:00Z"));
            read_query(Kind::Diff, &format!("previous_start={a}&previous_stop={b}&next_start={c}&next_stop={d}"))
        };
        assert_eq!(
            windows(&diff(["12", "14", "13", "15"]).unwrap()),
            ["2026-11-20T12:00Z/2026-11-20T14:00Z", "2026-11-20T13:00Z/2026-11-20T15:00Z"]
        );
        assert!(diff(["13", "14", "12", "15"]).unwrap_err().to_string().contains("is not before"));
        assert!(diff(["12", "16", "13", "15"]).unwrap_err().to_string().contains("is not before"));
    }

    #[test]
    fn a_payload_reads_back_as_it_is_written() {
        for (kind, query) in [
            (Kind::Graph, "start=2026-11-20T12:00:00Z&stop=2026-11-20T13:00:00Z"),
            (
                Kind::Diff,
                "previous_start=2026-11-20T12:00:00Z&previous_stop=2026-11-20T13:00:00Z\
                 &next_start=2026-11-20T13:00:00Z&next_stop=2026-11-20T14:00:00Z",
            ),
        ] {
            let job = read_query(kind, query).unwrap();
            assert_eq!(read_payload(kind, write_payload(&job).to_string().as_bytes()).unwrap(), job);
        }
    }

    #[test]
    fn a_payload_without_id_or_times_is_refused() {
        for (payload, fault) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            (r#"{"start":"2026-11-20T12:00:00Z"}"#, "id is missing"),
            (r#"{"id":"","start":"2026-11-20T12:00:00Z"}"#, "id is missing"),
            (r#"{"id":"a","start":7}"#, "start is missing"),
            (r#"{"id":"a","start":"2026-11-20T12:00:00Z","stop":"x"}"#, "stop \"x\""),
        ] {
            let error = read_payload(Kind::Digest, payload.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(fault), "{payload}: {error}");
        }
    }
}

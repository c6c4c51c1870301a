//! What is counted, by name. In: what happened. Out: counters, gauges and histograms of the `metrics` facade, which cost
//! next to nothing where nobody collects them. Knows nobody who counts, nor who collects.
//!
//! Names and base units (seconds, bytes) are Prometheus's: <https://prometheus.io/docs/practices/naming/>. They are a
//! promise: dashboards and alerts stand on them, and `docs/operations.md` lists them, which a test holds.

use crate::process;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::{Duration, Instant};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of values by size.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Unit of its values, if they are not counts.
    pub unit: Option<Unit>,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

/// From a validator that still holds to a large diff.
const ANSWER_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// From a quiet five minutes to a day of a large network.
const BUILD_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, $unit:expr, [$($label:literal),*], $buckets:expr, $help:literal;)*) => {
        $(pub(crate) const $constant: &str = $name;)*

        /// Every metric.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help, buckets: $buckets,
        }),*];
    };
}

metrics! {
    REQUESTS = "flowdiff_http_requests_total", Counter, None, ["method", "route", "status"], &[],
        "Requests answered, by route and status; status 0: the client left before there was an answer";
    REQUEST_SECONDS = "flowdiff_http_request_duration_seconds", Histogram, Some(Unit::Seconds), ["method", "route"],
        ANSWER_SECONDS, "From the head of a request to the last byte of its answer";
    REQUESTS_IN_FLIGHT = "flowdiff_http_requests_in_flight", Gauge, None, [], &[],
        "Requests under way, answers being taken included";
    RESPONSE_BYTES = "flowdiff_http_response_bytes_total", Counter, Some(Unit::Bytes), ["route"], &[],
        "Bytes of answers taken by clients";
    ANSWERS_CUT = "flowdiff_http_answers_cut_total", Counter, None, ["route", "reason"], &[],
        "Answers that did not come to their end: gone (the client) or failed (what made them)";
    CONNECTIONS = "flowdiff_http_connections", Gauge, None, [], &[], "Open connections";
    CONNECTIONS_REFUSED = "flowdiff_http_connections_refused_total", Counter, None, [], &[],
        "Connections closed at once because there were serve.connections_max";
    JOBS_ENDED = "flowdiff_jobs_ended_total", Counter, None, ["kind", "status"], &[],
        "Jobs that ended in this process, by what they were for and how they ended";
    JOB_SECONDS = "flowdiff_job_duration_seconds", Histogram, Some(Unit::Seconds), ["kind"], BUILD_SECONDS,
        "From a job's claim to its end";
    JOBS_QUEUED = "flowdiff_jobs_queued", Gauge, None, [], &[], "Jobs of the store that nobody works on, when this process last looked";
    JOBS_RUNNING = "flowdiff_jobs_running", Gauge, None, [], &[], "Jobs that this process works on";
    DIGESTS_BUILT = "flowdiff_digests_built_total", Counter, None, ["state"], &[],
        "Digests published, provisional or final";
    DIGEST_SECONDS = "flowdiff_digest_build_duration_seconds", Histogram, Some(Unit::Seconds), [], BUILD_SECONDS,
        "Time to build and publish a digest";
    OBJECTS_SCANNED = "flowdiff_objects_scanned_total", Counter, None, ["result"], &[],
        "Flow-log objects read for digests, or set_aside; one that two windows need counts in both";
    RECORDS_SCANNED = "flowdiff_records_scanned_total", Counter, None, [], &[], "Flow records read for digests";
    BYTES_SCANNED = "flowdiff_scanned_bytes_total", Counter, Some(Unit::Bytes), [], &[],
        "Stored bytes read for digests";
    LINES_REFUSED = "flowdiff_lines_refused_total", Counter, None, [], &[],
        "Lines of flow logs that could not be read";
    STORE_REQUESTS = "flowdiff_store_requests_total", Counter, None, ["operation"], &[],
        "Requests to S3, retries included: list, get, put, delete";
    STORE_BYTES_READ = "flowdiff_store_read_bytes_total", Counter, Some(Unit::Bytes), [], &[],
        "Bytes of S3's answers to GET";
    SUPERSEDED_REMOVED = "flowdiff_superseded_versions_removed_total", Counter, None, [], &[],
        "Superseded versions that this process removed";
    JOURNALS_REMOVED = "flowdiff_journals_removed_total", Counter, None, ["journal"], &[],
        "Journals that this process removed because their time is over: closings (of windows), messages, notices, jobs";
    FOLLOW_ROUNDS = "flowdiff_follow_rounds_total", Counter, None, [], &[], "Rounds of a follower";
    FOLLOW_OBJECTS = "flowdiff_follow_objects_total", Counter, None, [], &[], "Objects that a follower read";
    FOLLOW_RECORDS = "flowdiff_follow_records_total", Counter, None, [], &[], "Records in them";
    FOLLOW_LISTS = "flowdiff_follow_list_requests_total", Counter, None, [], &[], "LIST requests of a follower";
    FOLLOW_GETS = "flowdiff_follow_get_requests_total", Counter, None, [], &[], "GET requests of a follower";
    FOLLOW_PUBLISHED = "flowdiff_follow_published_total", Counter, None, [], &[], "Versions that a follower published";
    FOLLOW_LATE = "flowdiff_follow_late_objects_total", Counter, None, [], &[],
        "Objects that came after a window that they reach was closed, or beyond the horizon; each counts once";
    FOLLOW_DELIVERED = "flowdiff_follow_deliveries_total", Counter, None, [], &[], "Windows handed over for delivery";
    FOLLOW_LEADS = "flowdiff_follow_leads", Gauge, None, [], &[], "1 while this follower works, 0 while it stands by";
    FOLLOW_FAILING = "flowdiff_follow_failing", Gauge, None, [], &[],
        "1 while the last round was broken off, or the store does not say whether this follower is to work; else 0";
    FOLLOW_OPEN = "flowdiff_follow_open_windows", Gauge, None, [], &[], "Windows that may still change";
    FOLLOW_FAILED = "flowdiff_follow_failed_windows", Gauge, None, [], &[],
        "Windows that could not be built at the last try";
    FOLLOW_UNDELIVERED = "flowdiff_follow_undelivered_windows", Gauge, None, [], &[],
        "Windows of which something is still to be handed over";
    FOLLOW_LAG = "flowdiff_follow_lag_seconds", Gauge, Some(Unit::Seconds), [], &[],
        "How far the newest object's file time is behind the clock; while none was seen, for how long it has followed";
    FOLLOW_WATERMARK_LAG = "flowdiff_follow_watermark_lag_seconds", Gauge, Some(Unit::Seconds), [], &[],
        "How far the watermark is behind the clock";
    NOTIFICATION_MESSAGES = "flowdiff_notification_messages_total", Counter, None, [], &[],
        "Messages received from the queue of notifications, those that came again included";
    NOTIFICATION_EVENTS = "flowdiff_notification_events_total", Counter, None, ["result"], &[],
        "What these messages told of: taken (flow-log objects of the source), foreign (objects elsewhere), other_key (no flow logs), misfiled (in the folder of another time), other_event (no new object), malformed (a message that cannot be read, each time it comes)";
    NOTIFICATIONS_DELETED = "flowdiff_notification_messages_deleted_total", Counter, None, [], &[],
        "Messages deleted from the queue, because what they told of is published or not wanted";
    NOTIFICATION_FAILURES = "flowdiff_notification_failures_total", Counter, None, [], &[],
        "Requests to the queue that failed; the source is listed still";
    DELIVERIES = "flowdiff_deliveries_total", Counter, None, ["report", "result"], &[],
        "Messages by what came of them: told, amended, retracted, notice (taken by the receiver), silent (there was nothing to tell), failed (not taken in a round, tried again in later ones)";
    DELIVERY_RETRIES = "flowdiff_delivery_retries_total", Counter, None, ["report"], &[],
        "Messages sent again within a round because the receiver was down";
    DELIVERIES_PENDING = "flowdiff_deliveries_pending", Gauge, None, ["report"], &[],
        "Deliveries that wait, those included that turn out to be silent";
    DELIVERY_OLDEST = "flowdiff_delivery_oldest_pending_seconds", Gauge, Some(Unit::Seconds), ["report"], &[],
        "For how long this process has known of the one that waits longest; 0 if none waits";
    RESIDENT_BYTES = "process_resident_memory_bytes", Gauge, Some(Unit::Bytes), [], &[], "Memory in use";
    CPU_SECONDS = "process_cpu_seconds_total", Counter, Some(Unit::Seconds), [], &[],
        "CPU time of the process, user and system, in whole seconds";
    OPEN_FILES = "process_open_fds", Gauge, None, [], &[], "Open files and sockets";
    BUILD = "flowdiff_build_info", Gauge, None, ["version"], &[], "1, with the version as label";
}

/// Tells the recorder what each metric is, and the version. Called once it is there.
pub fn describe() {
    for metric in METRICS {
        let unit = metric.unit.unwrap_or(Unit::Count);
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, unit, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, unit, metric.help),
        }
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// A request that was answered, or left.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'static str,
    /// The route that matched, not the path: routes are few.
    pub route: &'a str,
    /// Status of the answer; 0 if there was none.
    pub status: u16,
    /// Seconds to the end of the answer.
    pub seconds: f64,
    /// Bytes of the answer that were taken.
    pub bytes: u64,
    /// Why the answer did not come to its end, if it did not.
    pub cut: Option<&'static str>,
}

/// Counts a request in.
pub fn request_began() {
    gauge!(REQUESTS_IN_FLIGHT).increment(1.0);
}

/// Counts a request out.
pub fn request_ended(request: &Request<'_>) {
    let route = request.route.to_owned();
    gauge!(REQUESTS_IN_FLIGHT).decrement(1.0);
    counter!(REQUESTS, "method" => request.method, "route" => route.clone(), "status" => request.status.to_string())
        .increment(1);
    histogram!(REQUEST_SECONDS, "method" => request.method, "route" => route.clone()).record(request.seconds);
    counter!(RESPONSE_BYTES, "route" => route.clone()).increment(request.bytes);
    if let Some(reason) = request.cut {
        counter!(ANSWERS_CUT, "route" => route, "reason" => reason).increment(1);
    }
}

/// So many connections more.
pub fn connections(more: f64) {
    gauge!(CONNECTIONS).increment(more);
}

/// Counts a connection that found no place.
pub fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

/// A job that is worked on, until it is dropped.
#[derive(Debug)]
pub struct JobRunning {
    kind: &'static str,
    began: Instant,
}

impl JobRunning {
    /// Counts a job of `kind` in.
    pub fn begin(kind: &'static str) -> JobRunning {
        gauge!(JOBS_RUNNING).increment(1.0);
        JobRunning { kind, began: Instant::now() }
    }

    /// It ended: `status` done, failed or cancelled. A job that is handed back or tried again is only dropped.
    pub fn end(self, status: &'static str) {
        counter!(JOBS_ENDED, "kind" => self.kind, "status" => status).increment(1);
        histogram!(JOB_SECONDS, "kind" => self.kind).record(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for JobRunning {
    fn drop(&mut self) {
        gauge!(JOBS_RUNNING).decrement(1.0);
    }
}

/// Takes over what a follower counts: counts since it began, and what is so now, if it is known.
pub(crate) fn following(counts: &[(&'static str, u64)], now: &[(&'static str, Option<f64>)]) {
    for (name, count) in counts {
        counter!(*name).absolute(*count);
    }
    for (name, value) in now {
        if let Some(value) = value {
            gauge!(*name).set(*value);
        }
    }
}

/// Counts what came of a message of a report: `result` told, amended, retracted, notice, silent or failed.
pub fn delivery(report: &str, result: &'static str) {
    counter!(DELIVERIES, "report" => report.to_owned(), "result" => result).increment(1);
}

/// Counts a message that is sent again.
pub fn delivery_retried(report: &str) {
    counter!(DELIVERY_RETRIES, "report" => report.to_owned()).increment(1);
}

/// What waits to be told by a report, and for how long the oldest of it has.
pub fn deliveries_pending(report: &str, pending: usize, oldest: Duration) {
    gauge!(DELIVERIES_PENDING, "report" => report.to_owned()).set(pending as f64);
    gauge!(DELIVERY_OLDEST, "report" => report.to_owned()).set(oldest.as_secs_f64());
    // A count that is there before the first failure: only then it is seen to grow.
    counter!(DELIVERIES, "report" => report.to_owned(), "result" => "failed").increment(0);
    counter!(DELIVERY_RETRIES, "report" => report.to_owned()).increment(0);
}

/// Jobs that nobody works on.
pub fn jobs_queued(jobs: usize) {
    gauge!(JOBS_QUEUED).set(jobs as f64);
}

/// Counts a digest that was published: `state` provisional or final.
pub fn digest_built(state: &'static str, seconds: f64) {
    counter!(DIGESTS_BUILT, "state" => state).increment(1);
    histogram!(DIGEST_SECONDS).record(seconds);
}

/// Counts versions that were removed because newer ones had long taken their place.
pub fn superseded_removed(versions: usize) {
    counter!(SUPERSEDED_REMOVED).increment(versions as u64);
}

/// Counts what was written down of one thing and is removed as a whole: `journal` closings, messages, notices or jobs.
pub fn journal_removed(journal: &str) {
    counter!(JOURNALS_REMOVED, "journal" => journal.to_owned()).increment(1);
}

/// What was read of flow logs for one window.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowRead {
    /// Objects read to their end.
    pub objects_read: u64,
    /// Objects set aside.
    pub objects_set_aside: u64,
    /// Records in the window.
    pub records: u64,
    /// Stored bytes read.
    pub bytes: u64,
    /// Lines refused.
    pub lines_refused: u64,
}

/// Counts what was read.
pub fn window_read(read: &WindowRead) {
    counter!(OBJECTS_SCANNED, "result" => "read").increment(read.objects_read);
    counter!(OBJECTS_SCANNED, "result" => "set_aside").increment(read.objects_set_aside);
    counter!(RECORDS_SCANNED).increment(read.records);
    counter!(BYTES_SCANNED).increment(read.bytes);
    counter!(LINES_REFUSED).increment(read.lines_refused);
}

/// All that was asked of S3 so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreUse {
    /// LIST requests.
    pub list: u64,
    /// GET and HEAD requests.
    pub get: u64,
    /// PUT, POST and COPY requests.
    pub put: u64,
    /// DELETE requests.
    pub delete: u64,
    /// Bytes of answers to GET.
    pub bytes_read: u64,
}

/// Takes over counts that are kept elsewhere.
pub fn store_use(usage: &StoreUse) {
    for (operation, count) in [("list", usage.list), ("get", usage.get), ("put", usage.put), ("delete", usage.delete)] {
        counter!(STORE_REQUESTS, "operation" => operation).absolute(count);
    }
    counter!(STORE_BYTES_READ).absolute(usage.bytes_read);
}

/// All that came of notifications so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notified<'a> {
    /// Messages received.
    pub messages: u64,
    /// What they told of, by result.
    pub events: &'a [(&'static str, u64)],
    /// Messages deleted.
    pub deleted: u64,
    /// Requests to the queue that failed.
    pub failures: u64,
}

/// Takes over what came of notifications.
pub fn notified(notified: &Notified<'_>) {
    counter!(NOTIFICATION_MESSAGES).absolute(notified.messages);
    counter!(NOTIFICATIONS_DELETED).absolute(notified.deleted);
    counter!(NOTIFICATION_FAILURES).absolute(notified.failures);
    for (result, count) in notified.events {
        counter!(NOTIFICATION_EVENTS, "result" => *result).absolute(*count);
    }
}

/// Takes over what the system says of this process; what it does not say is not told.
pub fn process() {
    let told = [
        (RESIDENT_BYTES, process::resident_memory_bytes().map(|bytes| bytes as f64)),
        (OPEN_FILES, process::open_files().map(|files| files as f64)),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            gauge!(name).set(value);
        }
    }
    if let Some(seconds) = process::cpu_seconds() {
        counter!(CPU_SECONDS).absolute(seconds as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kind_and_unit_as_prometheus_wants_them() {
        let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        for metric in METRICS {
            let name = metric.name;
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            let stem = name.trim_end_matches("_total");
            assert_eq!(stem.ends_with("_seconds"), metric.unit == Some(Unit::Seconds), "{name}");
            assert_eq!(stem.ends_with("_bytes"), metric.unit == Some(Unit::Bytes), "{name}");
            assert_eq!(metric.buckets.is_empty(), metric.kind != Kind::Histogram, "{name}");
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }
}

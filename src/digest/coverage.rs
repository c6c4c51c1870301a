//! What a digest saw and did not see: the rows of the object file and the interface file, and the silent flow logs.

use crate::error::Result;
use crate::flow::{interfaces_schema, objects_schema};
use crate::scan::{InterfaceFacts, Outcome, Outcomes, Tally};
use crate::source::{Checksum, Object, ObjectName};
use crate::window::{Timestamp, Window};
use chrono::TimeDelta;
use datafusion::arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray,
};
use datafusion::arrow::compute::max;
use datafusion::arrow::datatypes::TimestampMillisecondType;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

fn text<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(StringViewArray::from_iter(values))
}

fn count(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// A column of Unix seconds as milliseconds.
fn time(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let millis = values.map(|seconds| seconds.map(|seconds| seconds.saturating_mul(1000)));
    Arc::new(TimestampMillisecondArray::from_iter(millis).with_timezone("UTC"))
}

/// The rows of the interface file, sorted by account and interface as `facts` are.
pub(super) fn interfaces(facts: &[InterfaceFacts]) -> Result<RecordBatch> {
    let mut columns =
        vec![text(facts.iter().map(|fact| Some(&fact.account))), text(facts.iter().map(|fact| Some(&fact.interface)))];
    columns.extend((0..5).map(|index| text(facts.iter().map(|fact| fact.attributes[index].as_ref()))));
    columns.push(count(facts.iter().map(|fact| fact.ok)));
    columns.push(count(facts.iter().map(|fact| fact.nodata)));
    columns.push(count(facts.iter().map(|fact| fact.skipdata)));
    columns.push(time(facts.iter().map(|fact| Some(fact.first_seen))));
    columns.push(time(facts.iter().map(|fact| Some(fact.last_seen))));
    Ok(RecordBatch::try_new(interfaces_schema(), columns)?)
}

/// The latest `end` among the rows of an interface file.
pub(super) fn last_seen(interfaces: &RecordBatch) -> Option<Timestamp> {
    let ends = interfaces.column_by_name("last_seen")?.as_primitive_opt::<TimestampMillisecondType>()?;
    max(ends).and_then(Timestamp::from_timestamp_millis)
}

/// The rows of the object file, sorted by key, in batches.
pub(super) fn objects(
    mut objects: Vec<Arc<Object>>,
    outcomes: Outcomes,
) -> impl Iterator<Item = Result<RecordBatch>> + Send {
    objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    let starts = (0..objects.len()).step_by(BATCH_ROWS);
    starts.map(move |start| object_rows(&objects[start..objects.len().min(start + BATCH_ROWS)], &outcomes))
}

fn object_rows(objects: &[Arc<Object>], outcomes: &Outcomes) -> Result<RecordBatch> {
    let nothing = Tally::default();
    let row = |object: &'_ Arc<Object>| match outcomes.get(&Checksum::of(object.location.as_ref())) {
        Some(Outcome::Read(tally)) => (&**tally, None),
        Some(Outcome::SetAside(reason)) => (&nothing, Some(reason.as_str())),
        None => (&nothing, Some("not read")),
    };
    let rows: Vec<(&Object, (&Tally, Option<&str>))> = objects.iter().map(|object| (&**object, row(object))).collect();
    let counted = |of: fn(&Tally) -> u64| count(rows.iter().map(|(_, (tally, _))| of(tally) as i64));
    let mut columns = vec![
        text(rows.iter().map(|(object, ..)| Some(object.location.as_ref()))),
        text(rows.iter().map(|(object, ..)| object.etag.as_ref())),
        count(rows.iter().map(|(object, ..)| object.size as i64)),
        time(rows.iter().map(|(object, ..)| Some(object.name.file_time.timestamp()))),
        text(rows.iter().map(|(object, ..)| Some(&object.name.account))),
        text(rows.iter().map(|(object, ..)| Some(&object.name.region))),
        text(rows.iter().map(|(object, ..)| Some(&object.name.flow_log))),
        text(rows.iter().map(|(_, (_, set_aside))| *set_aside)),
    ];
    let figures: [fn(&Tally) -> u64; 16] = [
        |tally| tally.records,
        |tally| tally.in_window,
        |tally| tally.ok,
        |tally| tally.nodata,
        |tally| tally.skipdata,
        |tally| tally.refused[0],
        |tally| tally.refused[1],
        |tally| tally.refused[2],
        |tally| tally.refused[3],
        |tally| tally.refused[4],
        |tally| tally.no_time,
        |tally| tally.milliseconds,
        |tally| tally.spaces,
        |tally| tally.headers,
        |tally| tally.unknown_fields,
        |tally| tally.odd_actions,
    ];
    columns.extend(figures.map(counted));
    columns.push(time(rows.iter().map(|(_, (tally, _))| tally.first_end)));
    columns.push(time(rows.iter().map(|(_, (tally, _))| tally.last_end)));
    Ok(RecordBatch::try_new(objects_schema(), columns)?)
}

/// Rows of a batch of objects.
const BATCH_ROWS: usize = 8192;

/// How far before a window objects are listed to learn how often each flow log delivers.
pub const LOOKBACK: TimeDelta = TimeDelta::hours(1);
/// A flow log delivers at least this often while it has interfaces.
const CADENCE_MIN: TimeDelta = TimeDelta::minutes(10);
/// Missed deliveries after which it is silent.
const MISSED: i32 = 3;

/// How often flow logs deliver: the file times of each, by `account/region/id`.
#[derive(Clone, Debug, Default)]
pub struct Cadences(BTreeMap<String, BTreeSet<Timestamp>>);

impl Cadences {
    /// Takes note of an object.
    pub fn observe(&mut self, name: &ObjectName) {
        self.0.entry(name.flow_log_path()).or_default().insert(name.file_time);
    }

    /// Forgets what was before `time`.
    pub fn forget(&mut self, time: Timestamp) {
        self.0.retain(|_, times| {
            *times = times.split_off(&time);
            !times.is_empty()
        });
    }

    /// The flow logs that fell silent against their own cadence, sorted, by what is stamped `times`.
    ///
    /// The cadence of a flow log is the median time between its files from [`LOOKBACK`] before the window on, ten minutes
    /// at the least. It is silent if three times that passes without a file before the window's stop. What AWS has not yet
    /// delivered at `now` is not missed.
    pub(super) fn silent(&self, times: Range<Timestamp>, window: &Window, now: Timestamp) -> Vec<String> {
        let end = window.stop().min(now);
        let is_silent = |seen: &BTreeSet<Timestamp>| {
            let seen: Vec<Timestamp> = seen.range(times.clone()).copied().collect();
            let mut gaps: Vec<TimeDelta> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
            gaps.sort_unstable();
            let cadence = gaps.get(gaps.len() / 2).copied().unwrap_or(CADENCE_MIN).max(CADENCE_MIN);
            let mut last = None;
            seen.into_iter().filter(|time| *time <= end).chain([end]).any(|time| {
                let silent = last.is_some_and(|last| time > window.start() && time - last > cadence * MISSED);
                last = Some(time);
                silent
            })
        };
        self.0.iter().filter(|(_, seen)| is_silent(seen)).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::path::Path;

    fn object(flow_log: &str, time: &str) -> Object {
        let name = format!("123456789012_vpcflowlogs_us-east-1_{flow_log}_{time}_ab12.log.gz");
        Object { location: Path::from(name.as_str()), size: 1, etag: None, name: ObjectName::parse(&name).unwrap() }
    }

    #[test]
    fn a_flow_log_that_stops_is_silent_and_a_slow_one_is_not() {
        let now = "2026-11-20T15:00:00Z".parse().unwrap();
        let window = Window::parse("2026-11-20T12:00Z/PT1H", now).unwrap();
        let minutes = |flow_log: &'static str, range: std::ops::Range<i64>, step: usize| {
            let start: Timestamp = "2026-11-20T11:00:00Z".parse().unwrap();
            range
                .step_by(step)
                .map(move |m| object(flow_log, &(start + TimeDelta::minutes(m)).format("%Y%m%dT%H%MZ").to_string()))
        };
        let objects: Vec<Object> = minutes("fl-steady", 0..125, 5)
            .chain(minutes("fl-stopped", 0..80, 5))
            .chain(minutes("fl-gone", 0..60, 5))
            .chain(minutes("fl-slow", 0..120, 25))
            .collect();
        let mut cadences = Cadences::default();
        objects.iter().for_each(|object| cadences.observe(&object.name));
        let silent =
            |cadences: &Cadences| cadences.silent(window.start() - LOOKBACK..window.stop() + LOOKBACK, &window, now);
        let expected = ["123456789012/us-east-1/fl-gone", "123456789012/us-east-1/fl-stopped"];
        assert_eq!(silent(&cadences), expected);
        cadences.forget(window.start() - LOOKBACK);
        assert_eq!(silent(&cadences), expected);
        cadences.forget(window.start());
        assert_eq!(silent(&cadences), ["123456789012/us-east-1/fl-stopped"]);
    }
}

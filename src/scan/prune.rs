//! Prunes objects for a scan. In: filter expressions. Out: which objects can hold matching records. Pure: no store,
//! no clock. Keeps an object whenever a filter is not understood; a wrong keep costs time, a wrong drop costs truth.

use crate::clock::Timestamp;
use crate::source::Selection;
use crate::window::{AGGREGATION_MAX, FILE_TIME_EARLY};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, expr::InList};
use std::collections::BTreeSet;
use std::ops::Range;

/// Returns a selection that keeps every object in which a record can satisfy all of `filters`.
///
/// Understood are `=`, `<`, `<=`, `>`, `>=`, `BETWEEN` and `IN` of a column and literals, in `AND` and `OR`:
/// - `end` (and `start`, which lies at most [`AGGREGATION_MAX`] before it) bounds the file time: from
///   [`FILE_TIME_EARLY`] before the first end to `lateness` after the last. Later objects are not looked for.
/// - `file_time`, `region` and `flow_log_id` are what the key says.
/// - `account_id` is what the key says unless the VPC is shared: `prune_accounts` off ignores it. Accounts that no key
///   can hold, such as `unknown`, never prune.
///
/// Anything else (`NOT`, `<>`, functions, other columns) keeps all. Filters that contradict each other give an empty
/// range of file times.
pub fn selection(filters: &[Expr], lateness: TimeDelta, prune_accounts: bool) -> Selection {
    let reader = Reader { lateness, prune_accounts };
    let kept = filters.iter().map(|filter| reader.read(filter)).fold(Some(Selection::default()), both);
    let nothing = DateTime::<Utc>::MIN_UTC..DateTime::<Utc>::MIN_UTC;
    kept.unwrap_or_else(|| Selection { file_times: Some(nothing), ..Selection::default() })
}

/// What a filter keeps; `None` is nothing at all.
type Kept = Option<Selection>;

/// The objects that both filters keep.
fn both(a: Kept, b: Kept) -> Kept {
    fn common<T>(a: Option<T>, b: Option<T>, intersect: impl FnOnce(T, T) -> T) -> Option<T> {
        match (a, b) {
            (Some(a), Some(b)) => Some(intersect(a, b)),
            (a, b) => a.or(b),
        }
    }
    let (a, b) = (a?, b?);
    let kept = Selection {
        file_times: common(a.file_times, b.file_times, |a, b| a.start.max(b.start)..a.end.min(b.end)),
        accounts: common(a.accounts, b.accounts, |a, b| &a & &b),
        regions: common(a.regions, b.regions, |a, b| &a & &b),
        flow_logs: common(a.flow_logs, b.flow_logs, |a, b| &a & &b),
    };
    (!kept.is_empty()).then_some(kept)
}

/// At least the objects that one of the filters keeps: column by column, what either allows.
fn either(a: Kept, b: Kept) -> Kept {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return a.or(b),
    };
    let union = |a: Option<BTreeSet<String>>, b: Option<BTreeSet<String>>| {
        let mut union = a?;
        union.extend(b?);
        Some(union)
    };
    Some(Selection {
        file_times: a.file_times.zip(b.file_times).map(|(a, b)| a.start.min(b.start)..a.end.max(b.end)),
        accounts: union(a.accounts, b.accounts),
        regions: union(a.regions, b.regions),
        flow_logs: union(a.flow_logs, b.flow_logs),
    })
}

struct Reader {
    lateness: TimeDelta,
    prune_accounts: bool,
}

impl Reader {
    fn read(&self, filter: &Expr) -> Kept {
        match filter {
            Expr::Alias(alias) => self.read(&alias.expr),
            Expr::IsTrue(inner) => self.read(inner),
            Expr::Literal(ScalarValue::Boolean(value), _) => (*value == Some(true)).then(Selection::default),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => both(self.read(left), self.read(right)),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => either(self.read(left), self.read(right)),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.compare(left, *op, right),
            Expr::Between(Between { expr, negated: false, low, high }) => {
                both(self.compare(expr, Operator::GtEq, low), self.compare(expr, Operator::LtEq, high))
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                list.iter().map(|value| self.compare(expr, Operator::Eq, value)).fold(None, either)
            }
            _ => Some(Selection::default()),
        }
    }

    /// Reads a comparison of a column with a literal, whichever comes first.
    fn compare(&self, left: &Expr, op: Operator, right: &Expr) -> Kept {
        let read = match (Measured::of(left), literal(right)) {
            (Some(column), Some(value)) => Some((column, op, value)),
            _ => Measured::of(right).zip(literal(left)).zip(op.swap()).map(|((column, value), op)| (column, op, value)),
        };
        let all = Some(Selection::default());
        let Some((Measured { column, grain }, op, value)) = read else { return all };
        if !matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) {
            return all;
        }
        if value.is_null() {
            return None; // a comparison with NULL is true of no record
        }
        let Some(grain) = grain else { return self.equal(column, op, &value) };
        match instant(&value).and_then(|instant| range(op, instant, grain)) {
            Some(range) => Some(Selection { file_times: self.file_times(column, range), ..Selection::default() }),
            None => all,
        }
    }

    /// The selection of a text column that equals `value`.
    fn equal(&self, column: &str, op: Operator, value: &ScalarValue) -> Kept {
        let mut kept = Selection::default();
        let Some(Some(text)) = value.try_as_str().filter(|_| op == Operator::Eq) else { return Some(kept) };
        let only = || Some(BTreeSet::from([text.to_owned()]));
        match column {
            "region" => kept.regions = only(),
            "flow_log_id" => kept.flow_logs = only(),
            "account_id" if self.prune_accounts && text.bytes().all(|b| b.is_ascii_digit()) => kept.accounts = only(),
            _ => {}
        }
        Some(kept)
    }

    /// The file times of objects that can hold a record whose time `column` lies in `times`.
    fn file_times(&self, column: &str, times: Range<Timestamp>) -> Option<Range<Timestamp>> {
        let (early, late) = match column {
            "end" => (FILE_TIME_EARLY, self.lateness),
            "start" => (FILE_TIME_EARLY, AGGREGATION_MAX.checked_add(&self.lateness).unwrap_or(TimeDelta::MAX)),
            _ => (TimeDelta::zero(), TimeDelta::zero()),
        };
        // The far ends of time stay as they are: they are open.
        let start = times.start.checked_sub_signed(early).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let end = times.end.checked_add_signed(late).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Some(start..end)
    }
}

/// A column that prunes, maybe cast.
struct Measured<'a> {
    column: &'a str,
    /// For times: how far the column's value may have been rounded down, by its resolution or by a cast to a date.
    grain: Option<TimeDelta>,
}

impl<'a> Measured<'a> {
    fn of(expr: &'a Expr) -> Option<Measured<'a>> {
        match expr {
            Expr::Alias(alias) => Measured::of(&alias.expr),
            Expr::Column(column) => {
                let grain = match column.name() {
                    "end" | "start" | "file_time" => Some(TimeDelta::seconds(1)),
                    "account_id" | "region" | "flow_log_id" => None,
                    _ => return None,
                };
                Some(Measured { column: column.name(), grain })
            }
            _ => {
                let (inner, to) = cast(expr)?;
                let Measured { column, grain } = Measured::of(inner)?;
                let grain = match (grain, to) {
                    // Another zone keeps the instant, but a further cast would read the clock on its wall.
                    (Some(grain), DataType::Timestamp(_, zone)) if is_utc(zone.as_deref()) => Some(grain),
                    (Some(_), DataType::Date32) => Some(TimeDelta::days(1)),
                    (None, to) if is_text(to) => None,
                    _ => return None,
                };
                Some(Measured { column, grain })
            }
        }
    }
}

/// The value of a literal, casts applied.
fn literal(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Alias(alias) => literal(&alias.expr),
        Expr::Literal(value, _) => Some(value.clone()),
        _ => {
            let (inner, to) = cast(expr)?;
            literal(inner)?.cast_to(to).ok()
        }
    }
}

fn cast(expr: &Expr) -> Option<(&Expr, &DataType)> {
    match expr {
        Expr::Cast(cast) => Some((&cast.expr, cast.field.data_type())),
        Expr::TryCast(cast) => Some((&cast.expr, cast.field.data_type())),
        _ => None,
    }
}

fn is_utc(zone: Option<&str>) -> bool {
    matches!(zone, None | Some("UTC" | "Z" | "+00:00"))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The instant that a timestamp, a date or the text of one stands for; numbers stand for none.
fn instant(value: &ScalarValue) -> Option<Timestamp> {
    let data_type = value.data_type();
    let is_time = matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    if !is_time && !is_text(&data_type) {
        return None;
    }
    // Nanoseconds lose nothing. Instants that do not fit them, far from any log, count as not understood.
    match value.cast_to(&DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))).ok()? {
        ScalarValue::TimestampNanosecond(Some(nanoseconds), _) => Some(DateTime::from_timestamp_nanos(nanoseconds)),
        _ => None,
    }
}

/// The half-open range of the times that satisfy `time op instant`, where `time` was rounded down to `grain`.
fn range(op: Operator, instant: Timestamp, grain: TimeDelta) -> Option<Range<Timestamp>> {
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    let after = instant.checked_add_signed(grain)?;
    let is_rounded = instant.duration_trunc(grain).ok() == Some(instant);
    match op {
        Operator::Eq => Some(instant..after),
        Operator::Lt if is_rounded => Some(first..instant),
        Operator::Lt | Operator::LtEq => Some(first..after),
        Operator::Gt | Operator::GtEq => Some(instant..last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Format, ObjectName};
    use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray, TimestampSecondArray};
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::{cast, ident, lit};
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;
    use std::sync::{Arc, LazyLock};

    const LATENESS: TimeDelta = TimeDelta::minutes(30);

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A timestamp literal of a unit: 0 seconds to 3 nanoseconds.
    fn at(instant: Timestamp, unit: usize) -> Expr {
        let zone = Some("UTC".into());
        lit(match unit {
            0 => ScalarValue::TimestampSecond(Some(instant.timestamp()), zone),
            1 => ScalarValue::TimestampMillisecond(Some(instant.timestamp_millis()), zone),
            2 => ScalarValue::TimestampMicrosecond(Some(instant.timestamp_micros()), zone),
            _ => ScalarValue::TimestampNanosecond(instant.timestamp_nanos_opt(), zone),
        })
    }

    fn hours(from: u32, to: u32) -> [Expr; 2] {
        [from, to].map(|hour| at(time(&format!("2026-11-20T{hour:02}:00:00Z")), 0))
    }

    fn pruned(filter: Expr) -> Selection {
        selection(&[filter], LATENESS, true)
    }

    fn times(from: &str, to: &str) -> Selection {
        let time = |clock| time(&format!("2026-11-20T{clock}Z"));
        Selection { file_times: Some(time(from)..time(to)), ..Selection::default() }
    }

    fn set(values: &[&str]) -> Option<BTreeSet<String>> {
        Some(values.iter().map(|&value| value.to_owned()).collect())
    }

    #[test]
    fn a_window_on_end_is_padded_by_both_rules_of_file_times() {
        let [a, b] = hours(12, 13);
        let filter = ident("end").gt_eq(a).and(ident("end").lt(b));
        assert_eq!(pruned(filter), times("11:50:00", "13:30:00"));
    }

    #[test]
    fn a_window_on_start_reaches_one_aggregation_interval_further() {
        let [a, b] = hours(12, 13);
        let filter = ident("start").gt_eq(a).and(b.gt(ident("start")));
        assert_eq!(pruned(filter), times("11:50:00", "13:40:00"));
    }

    #[test]
    fn file_time_is_taken_as_it_stands() {
        let [a, b] = hours(12, 13);
        let filter = ident("file_time").between(a, b);
        assert_eq!(pruned(filter), times("12:00:00", "13:00:01"));
    }

    #[test]
    fn an_open_end_stays_open() {
        let [a, _] = hours(12, 13);
        let kept = pruned(ident("end").gt(a)).file_times.unwrap();
        assert_eq!(kept, time("2026-11-20T11:50:00Z")..DateTime::<Utc>::MAX_UTC);
    }

    #[test]
    fn a_cast_to_a_date_means_the_whole_day() {
        let date = |days| lit(ScalarValue::Date32(Some(days)));
        let end_date = || cast(ident("end"), DataType::Date32);
        let whole = pruned(end_date().eq(date(20_777))).file_times.unwrap();
        assert_eq!(whole, time("2026-11-19T23:50:00Z")..time("2026-11-21T00:30:00Z"));
        let before = pruned(end_date().lt(date(20_777))).file_times.unwrap();
        assert_eq!(before.end, time("2026-11-20T00:30:00Z"));
    }

    #[test]
    fn literals_are_read_through_casts_and_as_text() {
        let [a, b] = ["2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z"].map(lit);
        let seconds = DataType::Timestamp(TimeUnit::Second, None);
        let filter = ident("end").gt_eq(a).and(cast(ident("end"), seconds.clone()).lt(cast(b, seconds)));
        assert_eq!(pruned(filter), times("11:50:00", "13:30:00"));
    }

    #[test]
    fn text_columns_prune_by_equality_lists_and_alternatives() {
        let region = ident("region").in_list(vec![lit("us-east-1"), lit("eu-west-1")], false);
        let account = lit("034496339141").eq(ident("account_id")).or(ident("account_id").eq(lit("123456789012")));
        let flow_log = cast(ident("flow_log_id"), DataType::Utf8).eq(lit("fl-1"));
        let kept = selection(&[region.and(account.clone()), flow_log], LATENESS, true);
        assert_eq!(kept.regions, set(&["us-east-1", "eu-west-1"]));
        assert_eq!(kept.accounts, set(&["034496339141", "123456789012"]));
        assert_eq!(kept.flow_logs, set(&["fl-1"]));
        assert_eq!(selection(&[account], LATENESS, false), Selection::default());
    }

    #[test]
    fn what_is_not_understood_keeps_all() {
        let [a, b] = hours(12, 13);
        let zone = DataType::Timestamp(TimeUnit::Second, Some("+02:00".into()));
        for filter in [
            ident("end").not_between(a.clone(), b.clone()),
            !ident("end").eq(a.clone()),
            ident("region").not_eq(lit("us-east-1")),
            ident("region").in_list(vec![lit("us-east-1")], true),
            ident("region").in_list(vec![lit("us-east-1"), ident("account_id")], false),
            ident("region").eq(lit("us-east-1")).or(ident("end").lt(b)),
            ident("region").gt(lit("us-east-1")),
            ident("account_id").eq(lit("unknown")),
            ident("account_id").eq(lit(12)),
            ident("end").eq(ident("start")),
            ident("end").gt(lit(1_795_176_000)),
            ident("bytes").gt(lit(12)),
            cast(cast(ident("end"), zone), DataType::Date32).eq(lit(ScalarValue::Date32(Some(20_777)))),
            lit(true),
        ] {
            assert_eq!(pruned(filter.clone()), Selection::default(), "{filter}");
        }
    }

    #[test]
    fn contradictions_and_nulls_keep_nothing() {
        let [a, b] = hours(12, 15);
        let region = |region: &str| ident("region").eq(lit(region));
        let null = || ident("region").eq(lit(ScalarValue::Utf8(None)));
        for filter in [
            ident("end").lt(a.clone()).and(ident("end").gt(b.clone())),
            region("a-1").and(region("b-1")),
            ident("end").between(b, a),
            null(),
            null().or(region("a-1").and(region("b-1"))),
            ident("end").gt(lit(ScalarValue::Null)),
            ident("region").in_list(vec![], false),
            lit(false),
        ] {
            assert!(pruned(filter.clone()).is_empty(), "{filter}");
        }
        assert_eq!(pruned(null().or(region("a-1"))).regions, set(&["a-1"]));
    }

    #[test]
    fn no_lateness_and_no_instant_overflows() {
        let seconds = |seconds| lit(ScalarValue::TimestampSecond(Some(seconds), None));
        for value in [i64::MIN, i64::MAX, 0, 9_223_372_036] {
            for column in ["end", "start", "file_time"] {
                let filter = ident(column).gt_eq(seconds(value)).or(ident(column).eq(seconds(value)));
                selection(&[filter], TimeDelta::MAX, true);
            }
        }
    }

    const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-south-1"];
    const ACCOUNTS: [&str; 4] = ["111111111111", "022222222222", "333333333333", "unknown"];
    const FLOW_LOGS: [&str; 2] = ["fl-1", "fl-2"];

    /// An object's name and a record in it: account, start, end.
    type Record = (ObjectName, String, Timestamp, Timestamp);

    fn instants() -> impl Strategy<Value = Timestamp> {
        let middle = time("2026-11-20T00:00:00Z");
        (-90..90i64, 0..60i64).prop_map(move |(m, s)| middle + TimeDelta::minutes(m) + TimeDelta::seconds(s))
    }

    fn record() -> impl Strategy<Value = Record> {
        let key = (0..3usize, 0..3usize, 0..2usize, -9..30i64);
        (key, instants(), 0..=600i64, any::<bool>()).prop_map(
            |((account, region, flow_log, slot), end, length, own)| {
                // The stamp lies between ten minutes before the end and the lateness after it.
                let file_time = end - TimeDelta::seconds(end.timestamp() % 60) + TimeDelta::minutes(slot);
                let name = ObjectName {
                    account: ACCOUNTS[account].into(),
                    region: REGIONS[region].into(),
                    flow_log: FLOW_LOGS[flow_log].into(),
                    file_time,
                    format: Format::Text,
                };
                let recorded = if own { ACCOUNTS[account] } else { "unknown" };
                (name, recorded.into(), end - TimeDelta::seconds(length), end)
            },
        )
    }

    fn predicate() -> impl Strategy<Value = Expr> {
        let time_column = || prop::sample::select(&["end", "start", "file_time"]).prop_map(ident);
        let time_value = || {
            let null = lit(ScalarValue::TimestampSecond(None, Some("UTC".into())));
            prop_oneof![
                9 => (instants(), 0..4usize, 0..2i64).prop_map(|(instant, unit, fraction)| {
                    at(instant + TimeDelta::milliseconds(fraction * 500), unit)
                }),
                1 => Just(null),
            ]
        };
        let operator = || {
            use Operator::*;
            prop::sample::select(&[Eq, NotEq, Lt, LtEq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom])
        };
        let binary = |left, op, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
        let text = prop_oneof![
            prop::sample::select(&REGIONS).prop_map(|value| (ident("region"), value)),
            prop::sample::select(&ACCOUNTS).prop_map(|value| (ident("account_id"), value)),
            prop::sample::select(&FLOW_LOGS).prop_map(|value| (ident("flow_log_id"), value)),
        ];
        let zones = vec![None, Some("UTC".into()), Some("+02:00".into())];
        let days = (prop::sample::select(zones), time_column(), operator(), 20_776..20_779i32);
        let leaf = prop_oneof![
            (time_column(), operator(), time_value(), any::<bool>()).prop_map(move |(column, op, value, swap)| {
                if swap { binary(value, op, column) } else { binary(column, op, value) }
            }),
            (time_column(), time_value(), time_value(), any::<bool>()).prop_map(|(column, low, high, negated)| {
                if negated { column.not_between(low, high) } else { column.between(low, high) }
            }),
            days.prop_map(move |(zone, column, op, day)| {
                let zoned = cast(column, DataType::Timestamp(TimeUnit::Millisecond, zone));
                binary(cast(zoned, DataType::Date32), op, lit(ScalarValue::Date32(Some(day))))
            }),
            (text.clone(), operator()).prop_map(move |((column, value), op)| binary(column, op, lit(value))),
            (text, any::<[bool; 2]>()).prop_map(|((column, value), [negated, null])| {
                let values = if null { vec![lit(value), lit(ScalarValue::Utf8(None))] } else { vec![lit(value)] };
                column.in_list(values, negated)
            }),
        ];
        leaf.prop_recursive(4, 24, 2, |inner| {
            prop_oneof![
                3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
                3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
                1 => inner.prop_map(|a| !a),
            ]
        })
    }

    /// The records that DataFusion finds to satisfy all filters.
    fn matching<'a>(records: &'a [Record], filters: &[Expr]) -> Vec<&'a Record> {
        static CONTEXT: LazyLock<SessionContext> = LazyLock::new(SessionContext::new);
        let times = |read: fn(&Record) -> Timestamp| -> ArrayRef {
            let seconds = records.iter().map(|record| read(record).timestamp());
            Arc::new(TimestampSecondArray::from_iter_values(seconds).with_timezone("UTC"))
        };
        let text = |read: fn(&Record) -> &String| -> ArrayRef {
            Arc::new(StringViewArray::from_iter_values(records.iter().map(read)))
        };
        let batch = RecordBatch::try_from_iter([
            ("end", times(|record| record.3)),
            ("start", times(|record| record.2)),
            ("file_time", times(|record| record.0.file_time)),
            ("account_id", text(|record| &record.1)),
            ("region", text(|record| &record.0.region)),
            ("flow_log_id", text(|record| &record.0.flow_log)),
        ]);
        let batch = batch.unwrap();
        let schema = DFSchema::try_from(batch.schema()).unwrap();
        let mut kept: Vec<bool> = vec![true; records.len()];
        for filter in filters {
            let filter = CONTEXT.create_physical_expr(filter.clone(), &schema).unwrap();
            let mask = filter.evaluate(&batch).unwrap().into_array(records.len()).unwrap();
            kept.iter_mut().zip(mask.as_boolean()).for_each(|(kept, satisfied)| *kept &= satisfied == Some(true));
        }
        records.iter().zip(kept).filter_map(|(record, kept)| kept.then_some(record)).collect()
    }

    proptest! {
        #[test]
        fn no_object_that_holds_a_matching_record_is_dropped(
            records in prop::collection::vec(record(), 1..40),
            filters in prop::collection::vec(predicate(), 0..3),
        ) {
            let kept = selection(&filters, LATENESS, true);
            for (name, ..) in matching(&records, &filters) {
                prop_assert!(kept.wants(name), "{name:?} dropped by {kept:?}");
            }
        }
    }
}

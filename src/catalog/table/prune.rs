//! Prunes windows for a scan. In: the filters of a query. Out: the manifests whose rows can be wanted.
//!
//! A filter that speaks of nothing but the columns of the window is evaluated here, once for each window, and needs no
//! second look at the rows. From comparisons with literals a range of start times follows besides, which spares the
//! listing of other days. What is not understood prunes nothing.

use super::super::find::reach_back;
use super::super::{Catalog, Manifest};
use super::{COLUMNS, window_columns, window_values};
use crate::clock::Timestamp;
use crate::error::Result as OurResult;
use crate::window::{Prefer, Window, tile};
use chrono::DateTime;
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::Session;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What becomes of each filter: those on the window alone are settled here.
pub(super) fn pushdown(filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    let verdict = |filter: &&Expr| match is_on_window(filter) {
        true => TableProviderFilterPushDown::Exact,
        false => TableProviderFilterPushDown::Inexact,
    };
    filters.iter().map(verdict).collect()
}

/// What a scan reads of the catalog, and what it passed over.
#[derive(Debug)]
pub(super) struct Choice {
    /// Manifests of the newest versions of the windows to read, by start, then stop.
    pub(super) manifests: Vec<Manifest>,
    /// Windows that were listed: those of the days that the filters leave possible.
    pub(super) listed: usize,
    /// Windows among them that the filters refused.
    pub(super) refused: usize,
    /// Windows among the others that were passed over because they overlap those that are read.
    pub(super) overlapped: usize,
}

/// What becomes of published windows that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// All are read.
    Keep,
    /// Those without overlap that cover most time are read, of equal choices the finest.
    Finest,
}

/// Chooses among the published windows those that `filters` let through, then deals with those that overlap.
pub(super) async fn choose(
    catalog: &Catalog,
    state: &dyn Session,
    filters: &[Expr],
    overlap: Overlap,
) -> OurResult<Choice> {
    let mut newest = catalog.newest(starts(filters)).await?;
    let listed = newest.len();
    let windows: Vec<Window> = newest.keys().copied().collect();
    let mut wanted = matching(state, filters, &windows)?.into_iter();
    newest.retain(|_, _| wanted.next() == Some(true));
    let refused = listed - newest.len();
    if overlap == Overlap::Finest {
        keep_finest(&mut newest)?;
    }
    let overlapped = listed - refused - newest.len();
    Ok(Choice { manifests: catalog.manifests(newest).await?, listed, refused, overlapped })
}

/// Keeps, of windows that overlap, those that cover most time, of equal choices the finest.
fn keep_finest(newest: &mut BTreeMap<Window, u64>) -> OurResult<()> {
    let windows: Vec<Window> = newest.keys().copied().collect();
    let (Some(first), Some(stop)) = (windows.first(), windows.iter().map(Window::stop).max()) else { return Ok(()) };
    let tiles = tile(&Window::new(first.start(), stop)?, &windows, Prefer::Finest).tiles;
    newest.retain(|window, _| tiles.binary_search(window).is_ok());
    Ok(())
}

/// Which of `windows` pass the filters that speak of the window alone.
pub(super) fn matching(state: &dyn Session, filters: &[Expr], windows: &[Window]) -> Result<Vec<bool>> {
    let Some(filter) = conjunction(filters.iter().filter(|filter| is_on_window(filter)).cloned()) else {
        return Ok(vec![true; windows.len()]);
    };
    if windows.is_empty() {
        return Ok(Vec::new());
    }
    let schema = Arc::new(Schema::new(window_columns().to_vec()));
    let values = |column: usize| ScalarValue::iter_to_array(windows.iter().map(|w| window_values(w)[column].clone()));
    let columns = (0..COLUMNS.len()).map(values).collect::<Result<Vec<ArrayRef>>>()?;
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema)?)?;
    let passed = filter.evaluate(&batch)?.into_array(windows.len())?;
    Ok(as_boolean_array(&passed)?.iter().map(|passed| passed == Some(true)).collect())
}

/// Whether a filter can be settled by the window alone: a pure function of its bounds and of literals.
fn is_on_window(filter: &Expr) -> bool {
    let foreign = |expr: &Expr| {
        Ok(matches!(
            expr,
            Expr::OuterReferenceColumn(..)
                | Expr::ScalarVariable(..)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
        ))
    };
    !filter.column_refs().is_empty()
        && expr_applicable_for_cols(&COLUMNS, filter)
        && !filter.exists(foreign).unwrap_or(true)
}

/// The start times that `filters` leave possible; `None` if all are.
fn starts(filters: &[Expr]) -> Option<RangeInclusive<Timestamp>> {
    let (mut from, mut to) = (Timestamp::MIN_UTC, Timestamp::MAX_UTC);
    for filter in filters.iter().flat_map(split_conjunction) {
        let (lower, upper) = bounds(filter);
        from = lower.map_or(from, |lower| from.max(lower));
        to = upper.map_or(to, |upper| to.min(upper));
    }
    (from > Timestamp::MIN_UTC || to < Timestamp::MAX_UTC).then_some(from..=to)
}

/// The bounds, inclusive, that one filter puts on the start. A window ends after its start, by `WIDTH_MAX` at most.
fn bounds(filter: &Expr) -> (Option<Timestamp>, Option<Timestamp>) {
    let (column, low, high) = match filter {
        Expr::Between(between) if !between.negated => {
            (between.expr.as_ref(), instant(&between.low), instant(&between.high))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match instant(right) {
                Some(value) => (left.as_ref(), Some(*op), Some(value)),
                None => (right.as_ref(), op.swap(), instant(left)),
            };
            match op {
                Some(Operator::Eq) => (column, value, value),
                Some(Operator::Gt | Operator::GtEq) => (column, value, None),
                Some(Operator::Lt | Operator::LtEq) => (column, None, value),
                _ => return (None, None),
            }
        }
        _ => return (None, None),
    };
    match column {
        Expr::Column(column) if column.name == COLUMNS[0] => (low, high),
        Expr::Column(column) if column.name == COLUMNS[1] => (low.map(reach_back), high),
        _ => (None, None),
    }
}

/// The instant that a literal of the columns' own type holds.
fn instant(expr: &Expr) -> Option<Timestamp> {
    match expr {
        Expr::Literal(ScalarValue::TimestampMillisecond(Some(millis), _), _) => {
            DateTime::from_timestamp_millis(*millis)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use datafusion::prelude::{SessionContext, col, lit};

    fn time(hour: i64) -> Timestamp {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hour)
    }

    fn at(hour: i64) -> Expr {
        lit(ScalarValue::TimestampMillisecond(Some(time(hour).timestamp_millis()), Some("UTC".into())))
    }

    fn start() -> Expr {
        col(COLUMNS[0])
    }

    fn stop() -> Expr {
        col(COLUMNS[1])
    }

    #[test]
    fn comparisons_bound_the_days_listed() {
        let range = |filter: Expr| starts(&[filter]);
        assert_eq!(range(start().eq(at(5))), Some(time(5)..=time(5)));
        assert_eq!(range(start().gt_eq(at(5)).and(stop().lt_eq(at(7)))), Some(time(5)..=time(7)));
        assert_eq!(range(at(5).lt(start()).and(start().lt(at(6)))), Some(time(5)..=time(6)));
        assert_eq!(range(start().between(at(5), at(6))), Some(time(5)..=time(6)));
        assert_eq!(range(stop().gt(at(5))), Some(reach_back(time(5))..=Timestamp::MAX_UTC));
    }

    #[test]
    fn what_is_not_understood_prunes_nothing() {
        for filter in [
            start().eq(at(5)).or(start().eq(at(9))),
            start().not_eq(at(5)),
            start().not_between(at(5), at(6)),
            start().gt(stop()),
            col("flows").gt(lit(5)),
            lit(true),
        ] {
            assert_eq!(starts(std::slice::from_ref(&filter)), None, "{filter}");
        }
    }

    #[test]
    fn filters_on_the_window_alone_are_settled_and_others_are_not() {
        let state = SessionContext::new().state();
        let windows = [5, 6, 7].map(|hour| Window::new(time(hour), time(hour + 1)).unwrap());
        let either = start().eq(at(5)).or(stop().gt(at(7)));
        let mixed = start().eq(at(5)).or(col("flows").gt(lit(5)));
        assert_eq!(matching(&state, &[either.clone(), mixed.clone()], &windows).unwrap(), [true, false, true]);
        assert_eq!(
            pushdown(&[&either, &mixed, &lit(true)]),
            [
                TableProviderFilterPushDown::Exact,
                TableProviderFilterPushDown::Inexact,
                TableProviderFilterPushDown::Inexact
            ]
        );
    }
}

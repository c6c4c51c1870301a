//! Times as SQL reads them from text: besides the forms of SQL, those that flowdiff writes and takes elsewhere, such as
//! `'2026-11-20T12:00Z'`. In: a plan whose types are known. Out: the same plan, its texts that become times read.

use super::planning::timestamp_value;
use crate::window::parse_written_time;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// Reads every text that is cast to a time and that DataFusion cannot read itself.
///
/// It goes after type coercion: by then a text that is compared with a time, in whatever way, is cast to that time's type,
/// and no other text is touched. What is left is a literal of that type, so files are pruned by it as by any other.
#[derive(Debug)]
pub(super) struct ReadTimes;

impl AnalyzerRule for ReadTimes {
    fn name(&self) -> &str {
        "read_times"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let read_all = |plan: LogicalPlan| {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(read)?.update_data(|expr| name.restore(expr)))
            })
        };
        Ok(plan.transform_up_with_subqueries(read_all)?.data)
    }
}

fn read(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Ok(Transformed::no(expr)) };
    let (Expr::Literal(value, _), DataType::Timestamp(..)) = (inner.as_ref(), field.data_type()) else {
        return Ok(Transformed::no(expr));
    };
    match value.try_as_str() {
        Some(Some(text)) if value.cast_to(field.data_type()).is_err() => {
            let instant = timestamp_value(parse_written_time(text)?);
            Ok(Transformed::yes(Expr::Literal(instant.cast_to(field.data_type())?, None)))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::flows_schema;
    use crate::session::{Options, Params, Session};
    use datafusion::datasource::MemTable;
    use std::sync::Arc;

    async fn optimized(predicate: &str) -> String {
        let session = Session::new(&Options::default()).unwrap();
        session.register_table("flows", Arc::new(MemTable::try_new(flows_schema(), vec![vec![]]).unwrap())).unwrap();
        let sql = format!("SELECT line FROM flows WHERE {predicate}");
        let frame = session.plan(&sql, &Params::new(), "2026-11-21T00:00:00Z".parse().unwrap()).await.unwrap();
        frame.into_optimized_plan().unwrap().to_string()
    }

    /// Pruning looks for literals beside columns.
    #[tokio::test]
    async fn a_time_without_seconds_is_the_literal_that_it_is_with_them() {
        for (short, long) in [
            ("start >= '2026-11-20T12:00Z'", "start >= '2026-11-20T12:00:00Z'"),
            ("'2026-11-20T12' > \"end\"", "'2026-11-20T12:00:00Z' > \"end\""),
            (
                "file_time BETWEEN '2026-11-20 12:00' AND '2026-11-20T13:00Z'",
                "file_time BETWEEN '2026-11-20 12:00:00' AND '2026-11-20T13:00:00Z'",
            ),
            (
                "start IN ('2026-11-20T12:00Z', '2026-11-20T13:00Z')",
                "start IN ('2026-11-20T12:00:00Z', '2026-11-20T13:00:00Z')",
            ),
        ] {
            let plan = optimized(short).await;
            assert_eq!(plan, optimized(long).await);
            assert!(plan.contains("TimestampSecond(") && !plan.contains("CAST"), "{plan}");
        }
    }
}

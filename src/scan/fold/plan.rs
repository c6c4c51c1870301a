//! The fold as a node of a plan, and the rule that puts it in the place of the aggregation that defines it.

use super::FoldRules;
use super::pass::{Job, Pass};
use super::room::Room;
use crate::flow::edges_schema;
use crate::scan::Report;
use crate::scan::source::{FlowSource, object_of};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion_datasource::file_scan_config::FileScanConfig;
use datafusion_datasource::source::DataSourceExec;
use futures::TryStreamExt;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// Replaces the plan of `queries/edges.sql` by a `FoldExec` over the same objects.
///
/// It acts only on plans whose scan the digest has marked with the rules to fold by, and whose rows have the edge
/// schema; every other plan stays as it is. The digest marks no other query.
#[derive(Debug, Default)]
pub struct FoldFlows;

impl PhysicalOptimizerRule for FoldFlows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let names = |schema: &SchemaRef| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        if names(&plan.schema()) != names(&edges_schema()) {
            return Ok(plan);
        }
        let mut scans = Vec::new();
        plan.apply(|node| {
            if let Some(scan) = node.downcast_ref::<DataSourceExec>()
                && let Some((_, source)) = scan.downcast_to_file_source::<FlowSource>()
            {
                scans.push((node.clone(), source.shared.fold.clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match scans.as_slice() {
            [(scan, Some(rules))] => Ok(Arc::new(FoldExec::try_new(scan.clone(), rules.clone())?)),
            _ => Ok(plan),
        }
    }

    fn name(&self) -> &str {
        "fold_flows"
    }

    fn schema_check(&self) -> bool {
        // Text comes out as views and nothing is null where the aggregation could not tell.
        false
    }
}

/// Folds the flows of a scan into the edges of one window: one partition, sorted by the edge key.
#[derive(Debug)]
struct FoldExec {
    scan: Arc<dyn ExecutionPlan>,
    rules: FoldRules,
    properties: Arc<PlanProperties>,
}

impl FoldExec {
    fn try_new(scan: Arc<dyn ExecutionPlan>, rules: FoldRules) -> Result<Self> {
        let schema = edges_schema();
        let order = crate::flow::EDGE_KEY
            .iter()
            .map(|name| Ok(PhysicalSortExpr::new_default(col(name, &schema)?)))
            .collect::<Result<Vec<_>>>()?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(schema, [order]),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(FoldExec { scan, rules, properties: Arc::new(properties) })
    }

    fn scan(&self) -> Result<(&FileScanConfig, &FlowSource)> {
        self.scan
            .downcast_ref::<DataSourceExec>()
            .and_then(|scan| scan.downcast_to_file_source::<FlowSource>())
            .ok_or_else(|| DataFusionError::Internal("the child of a fold is a scan of flows".to_owned()))
    }
}

impl DisplayAs for FoldExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FoldRules { window, port_rule, addresses } = &self.rules;
        write!(f, "FoldExec: end=[{}, {}), ", window.start, window.end)?;
        write!(f, "port_rule={}, addresses={}", port_rule.name(), addresses.name())
    }
}

impl ExecutionPlan for FoldExec {
    fn name(&self) -> &str {
        "FoldExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.scan]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([scan]) => Ok(Arc::new(FoldExec::try_new(scan, self.rules.clone())?)),
            Err(_) => Err(DataFusionError::Internal("a fold has one child".to_owned())),
        }
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (config, source) = self.scan()?;
        let mut objects =
            config.file_groups.iter().flat_map(|group| group.iter()).map(object_of).collect::<Result<Vec<_>>>()?;
        objects.sort_by_key(|object| Reverse(object.size));
        let threads = context.session_config().target_partitions();
        let pass = Pass {
            store: context.runtime_env().object_store(&config.object_store_url)?,
            shared: source.shared.clone(),
            room: Room::new(context.runtime_env()),
            threads,
        };
        let rules = self.rules.clone();
        let folded = async move {
            let window = pass.open(rules, Report::new());
            let jobs = objects.into_iter().map(|object| Job::new(object, vec![window.clone()]));
            pass.read(futures::stream::iter(jobs)).await?;
            let (interfaces, edges) = window.finish(threads)?;
            pass.shared.report.set_interfaces(interfaces);
            Ok::<_, DataFusionError>(edges)
        };
        let stream = futures::stream::once(folded).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(edges_schema(), stream)))
    }
}

//! The fold as a node of a plan, and the rule that puts it in the place of the aggregation that defines it.

use super::batches::batches;
use super::{Fold, FoldRules, Folder, Group};
use crate::flow::edges_schema;
use crate::scan::source::{FlowSource, object_of};
use crate::source::Object;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion_datasource::file_scan_config::FileScanConfig;
use datafusion_datasource::source::DataSourceExec;
use futures::{StreamExt, TryStreamExt};
use std::cmp::Reverse;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

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
        let store = context.runtime_env().object_store(&config.object_store_url)?;
        let threads = context.session_config().target_partitions();
        let memory = MemoryConsumer::new("FoldExec").register(context.memory_pool());
        let fold = Fold::new(self.rules.clone(), memory);
        let shared = source.shared.clone();
        let folded = async move {
            let (groups, actions, memory) = fold_objects(objects, store, shared, fold, threads).await?;
            let actions = Arc::new(actions);
            let parts = parts(groups);
            let built = futures::stream::iter(parts).map(move |part| {
                let actions = actions.clone();
                let built = tokio::task::spawn_blocking(move || batches(part, &actions));
                async move { built.await.map_err(panicked)? }
            });
            // The reservation lives as long as the stream: groups are given back part by part.
            let batches = built.buffered(threads).map_ok(move |batches| {
                let _held = &memory;
                futures::stream::iter(batches.into_iter().map(Ok))
            });
            Ok::<_, DataFusionError>(batches.try_flatten())
        };
        let stream = futures::stream::once(folded).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(edges_schema(), stream)))
    }
}

/// Edges that one thread sorts and builds at a time.
const PART_EDGES: usize = 1 << 16;

/// Cuts the groups into consecutive parts of about [`PART_EDGES`] edges.
fn parts(groups: Vec<Group>) -> Vec<Vec<Group>> {
    let mut parts = Vec::new();
    let (mut part, mut edges) = (Vec::new(), 0);
    for group in groups {
        edges += group.edges.len();
        part.push(group);
        if edges >= PART_EDGES {
            parts.push(std::mem::take(&mut part));
            edges = 0;
        }
    }
    parts.push(part);
    parts
}

fn panicked(error: tokio::task::JoinError) -> DataFusionError {
    DataFusionError::Internal(format!("a folding thread ended: {error}"))
}

/// Fetches the objects ahead, bounded, and folds them on `threads` threads.
async fn fold_objects(
    objects: Vec<Arc<Object>>,
    store: Arc<dyn object_store::ObjectStore>,
    shared: Arc<crate::scan::source::Shared>,
    fold: Fold,
    threads: usize,
) -> Result<(Vec<Group>, Vec<String>, datafusion::execution::memory_pool::MemoryReservation)> {
    let fold = Arc::new(fold);
    let (sender, receiver) = mpsc::channel::<(Arc<Object>, crate::scan::fetch::Body)>(1);
    let receiver = Arc::new(Mutex::new(receiver));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (fold, shared, receiver, store) = (fold.clone(), shared.clone(), receiver.clone(), store.clone());
            tokio::task::spawn_blocking(move || {
                let mut folder = Folder::new(&fold);
                loop {
                    let next = super::lock(&receiver).blocking_recv();
                    let Some((object, body)) = next else { break };
                    shared.decode(&store, &object, body, &mut folder);
                    if folder.error.is_some() {
                        break;
                    }
                }
                folder.finish()
            })
        })
        .collect();
    drop(receiver);
    let ahead = shared.prefetch.objects_max();
    let mut bodies = futures::stream::iter(objects)
        .map(|object| {
            let (store, shared) = (store.clone(), shared.clone());
            async move {
                let room = shared.prefetch.wait(&object).await;
                let body = shared.prefetch.fetch(&store, &object, Some(room), &shared.report).await;
                body.map(|body| body.map(|body| (object, body)))
            }
        })
        .buffer_unordered(ahead);
    let mut failed = None;
    while let Some(body) = bodies.next().await {
        match body {
            Ok(None) => {}
            Ok(Some(body)) => {
                // Nobody receives once every worker has failed; their error is found below.
                if sender.send(body).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                failed = Some(DataFusionError::from(error));
                break;
            }
        }
    }
    drop((sender, bodies));
    for worker in workers {
        let ended = worker.await.map_err(panicked)?;
        failed = failed.or(ended.err());
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let fold = Arc::into_inner(fold).ok_or_else(|| DataFusionError::Internal("a fold is still shared".to_owned()))?;
    let (groups, actions, memory) = fold.finish();
    shared.report.set_interfaces(groups.iter().map(|group| group.facts.clone()).collect());
    Ok((groups, actions, memory))
}

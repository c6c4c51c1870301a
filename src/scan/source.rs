//! The scan as DataFusion knows it: a `FileSource` in the standard `DataSourceExec`, one object a unit of work.

use super::Options;
use super::fetch::{Body, FETCHES, Prefetch};
use super::fold::FoldRules;
use super::inflate::Inflater;
use super::object::{self, Spec};
use super::report::{Outcome, Report};
use super::rows::Rows;
use crate::source::Object;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::file::FileSource;
use datafusion_datasource::file_scan_config::FileScanConfig;
use datafusion_datasource::file_stream::{FileOpenFuture, FileOpener};
use datafusion_datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion_datasource::{PartitionedFile, TableSchema};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Batches that may wait between the decoder of an object and the plan.
const BATCHES_AHEAD: usize = 2;
const BATCH_ROWS: usize = 8192;

/// Reads flow-log objects. Each [`PartitionedFile`] carries its [`Object`] as an extension.
#[derive(Clone)]
pub struct FlowSource {
    schema: TableSchema,
    projection: SplitProjection,
    metrics: ExecutionPlanMetricsSet,
    batch_rows: usize,
    pub(super) shared: Arc<Shared>,
}

/// What all clones of a source share, and with them all tasks of a scan.
pub(super) struct Shared {
    pub(super) spec: Spec,
    pub(super) prefetch: Prefetch,
    pub(super) report: Arc<Report>,
    /// What the listing gave and left, for EXPLAIN.
    pub(super) summary: String,
    /// How to fold the flows, if the query above is the definition of a digest.
    pub(super) fold: Option<FoldRules>,
    inflaters: Mutex<Vec<Inflater>>,
}

impl Shared {
    pub(super) fn new(
        spec: Spec,
        options: &Options,
        report: Arc<Report>,
        summary: String,
        fold: Option<FoldRules>,
    ) -> Shared {
        Shared { spec, prefetch: Prefetch::new(options), report, summary, fold, inflaters: Mutex::default() }
    }

    /// Decodes an object with a reused inflater; returns how it ended, and whether the same contents always end so. Damaged
    /// bytes are fetched once more: nothing of them has reached the sink. Blocks, so it is for threads that may. For
    /// `reports` see [`Prefetch::fetch`].
    pub(super) fn decode(
        &self,
        store: &Arc<dyn ObjectStore>,
        object: &Object,
        body: Body,
        sink: &mut impl object::Sink,
        reports: &[&Report],
    ) -> (Outcome, bool) {
        let pool = || self.inflaters.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut inflater = pool().pop().unwrap_or_default();
        let mut decoded = object::decode(&mut inflater, object, &body.bytes, &self.spec, sink);
        let mut is_sure = true;
        if let Err(reason) = &decoded
            && object::is_damage(reason)
        {
            let again = self.prefetch.fetch(store, object, body.room, reports);
            (decoded, is_sure) = match tokio::runtime::Handle::current().block_on(again) {
                Ok(Ok(body)) => {
                    let again = object::decode(&mut inflater, object, &body.bytes, &self.spec, sink);
                    (again.map_err(|reason| format!("{reason}; fetched {FETCHES} times")), true)
                }
                Ok(Err(reason)) => (Err(reason), false),
                Err(error) => (Err(format!("{reason}; fetched again: {error}")), false),
            };
        }
        pool().push(inflater);
        (decoded.map_or_else(Outcome::SetAside, |tally| Outcome::Read(Arc::new(tally))), is_sure)
    }
}

impl FlowSource {
    pub(super) fn new(schema: SchemaRef, shared: Arc<Shared>) -> Self {
        let schema = TableSchema::from(schema);
        let projection = SplitProjection::unprojected(&schema);
        FlowSource { schema, projection, metrics: ExecutionPlanMetricsSet::new(), batch_rows: BATCH_ROWS, shared }
    }
}

impl FileSource for FlowSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        _config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let opener = FlowOpener {
            store,
            schema: self.schema.file_schema().clone(),
            columns: self.projection.file_indices.clone(),
            batch_rows: self.batch_rows,
            shared: self.shared.clone(),
        };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), self.schema.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.schema
    }

    fn with_batch_size(&self, batch_rows: usize) -> Arc<dyn FileSource> {
        Arc::new(FlowSource { batch_rows, ..self.clone() })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "flows"
    }

    fn fmt_extra(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ", {}", self.shared.summary)
    }

    /// Gzip cannot be cut by byte range.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    /// Takes a projection that only picks columns; expressions stay above.
    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let picks = merged
            .iter()
            .all(|item| item.expr.downcast_ref::<Column>().is_some_and(|column| column.name() == item.alias));
        if !picks {
            return Ok(None);
        }
        let projection = SplitProjection::new(self.schema.file_schema(), &merged);
        Ok(Some(Arc::new(FlowSource { projection, ..self.clone() })))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for item in self.projection.source.iter() {
            if visit(&item.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

struct FlowOpener {
    store: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    columns: Vec<usize>,
    batch_rows: usize,
    shared: Arc<Shared>,
}

impl FileOpener for FlowOpener {
    /// Fetches ahead if there is room now, else when the stream is first polled: a partition that waits for another
    /// must never hold what the other waits for.
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let object = object_of(&file)?;
        let room = self.shared.prefetch.try_take(&object);
        let ahead = room.is_some();
        let (store, shared) = (self.store.clone(), self.shared.clone());
        let fetched = {
            let object = object.clone();
            async move { shared.prefetch.fetch(&store, &object, room, &[&shared.report]).await }
        };
        let (shared, schema, store) = (self.shared.clone(), self.schema.clone(), self.store.clone());
        let (columns, batch_rows) = (self.columns.clone(), self.batch_rows);
        let decoded = move |body: Result<Body, String>| {
            let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
            match body {
                Ok(body) => drop(tokio::task::spawn_blocking(move || {
                    let send = |batch| sender.blocking_send(batch).is_ok();
                    match Rows::new(&schema, &columns, &object, batch_rows, send) {
                        Ok(mut rows) => {
                            let (outcome, _) = shared.decode(&store, &object, body, &mut rows, &[&shared.report]);
                            shared.report.ended(&object, outcome);
                            rows.finish();
                        }
                        Err(error) => {
                            let _ = sender.blocking_send(Err(error));
                        }
                    }
                })),
                Err(reason) => shared.report.ended(&object, Outcome::SetAside(reason)),
            }
            futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|b| (b, receiver)) })
        };
        Ok(async move {
            if ahead {
                Ok(decoded(fetched.await?).boxed())
            } else {
                let later = async move { fetched.await.map(decoded).map_err(DataFusionError::from) };
                Ok(later.into_stream().try_flatten().boxed())
            }
        }
        .boxed())
    }
}

/// The object that the table put into a file of the plan.
pub(super) fn object_of(file: &PartitionedFile) -> Result<Arc<Object>> {
    file.extensions
        .get_arc::<Object>()
        .ok_or_else(|| DataFusionError::Internal("a file of the scan carries no object".to_owned()))
}

//! The table `flows`: lists the objects that a query's filters leave, and plans their scan.

use super::fold::FoldRules;
use super::object::Spec;
use super::report::Report;
use super::rows::schema_with;
use super::source::{FlowSource, Shared};
use super::{Options, prune};
use crate::source::{Object, Source};
use async_trait::async_trait;
use chrono::TimeDelta;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::PartitionedFile;
use datafusion_datasource::file_groups::FileGroup;
use datafusion_datasource::file_scan_config::FileScanConfigBuilder;
use datafusion_datasource::source::DataSourceExec;
use object_store::ObjectMeta;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Raw flow-log objects as a table.
///
/// Schema: [`crate::flow::flows_schema`] and the unknown fields named in `extra_fields`. Rows come in no order across
/// objects, in line order within one.
#[derive(Debug)]
pub struct FlowsTable {
    source: Source,
    options: Options,
    listing: crate::source::Options,
    lateness: TimeDelta,
    report: Arc<Report>,
    objects: Option<Vec<Arc<Object>>>,
    window: Option<Range<i64>>,
    fold: Option<FoldRules>,
    schema: SchemaRef,
}

impl FlowsTable {
    /// All objects of a source: each query lists those that its filters leave. What scans see goes to `report`.
    pub fn new(
        source: Source,
        options: &Options,
        listing: &crate::source::Options,
        lateness: TimeDelta,
        report: Arc<Report>,
    ) -> Self {
        FlowsTable {
            source,
            options: options.clone(),
            listing: listing.clone(),
            lateness,
            report,
            objects: None,
            window: None,
            fold: None,
            schema: schema_with(&options.extra_fields),
        }
    }

    /// Just these objects, whatever the filters.
    pub fn with_objects(mut self, objects: Vec<Arc<Object>>) -> Self {
        self.objects = Some(objects);
        self
    }

    /// Counts as "in the window" only records whose `end` is (Unix seconds, half-open). Filters nothing.
    pub fn with_window(mut self, window: Range<i64>) -> Self {
        self.window = Some(window);
        self
    }

    /// Marks the scan for [`super::FoldFlows`], which then folds by these rules whatever is above.
    pub fn with_fold(mut self, rules: FoldRules) -> Self {
        self.fold = Some(rules);
        self
    }

    async fn objects(&self, filters: &[Expr]) -> Result<(Vec<Arc<Object>>, String)> {
        if let Some(objects) = &self.objects {
            return Ok((objects.clone(), format!("objects={}", objects.len())));
        }
        let selection = prune::selection(filters, self.lateness, self.options.prune_accounts);
        let listing = self.source.list(&selection, &self.listing).await?;
        self.report.listed(&listing);
        let summary = format!(
            "objects={}, pruned={}, other_keys={}, list_requests={}",
            listing.objects.len(),
            listing.pruned,
            listing.others,
            listing.requests
        );
        Ok((listing.objects, summary))
    }
}

/// Every scan registers its store under a name of its own.
fn store_url() -> Result<ObjectStoreUrl> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    ObjectStoreUrl::parse(format!("flowdiff-source://{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

#[async_trait]
impl TableProvider for FlowsTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The key of an object only prunes; which records match is decided above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (objects, summary) = self.objects(filters).await?;
        self.report.progress.plan(objects.len() as u64, objects.iter().map(|object| object.size).sum());
        let url = store_url()?;
        state.runtime_env().register_object_store(url.as_ref(), self.source.store.clone());
        let spec = Spec {
            window: self.window.clone(),
            extras: self.options.extra_fields.clone(),
            limits: self.options.limits(),
        };
        let shared = Shared::new(spec, &self.options, self.report.clone(), summary, self.fold.clone());
        let source = FlowSource::new(self.schema.clone(), Arc::new(shared));
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups(objects, state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Deals objects to partitions, the largest first, each to the partition that has least.
fn groups(mut objects: Vec<Arc<Object>>, partitions: usize) -> Vec<FileGroup> {
    objects.sort_by_key(|object| Reverse(object.size));
    let mut groups = vec![(0u64, Vec::new()); partitions.min(objects.len()).max(1)];
    for object in objects {
        let Some((size, files)) = groups.iter_mut().min_by_key(|(size, _)| *size) else { break };
        // An empty object takes its turn too.
        *size += object.size + 1;
        let meta = ObjectMeta {
            location: object.location.clone(),
            last_modified: object.name.file_time,
            size: object.size,
            e_tag: object.etag.clone(),
            version: None,
        };
        let mut file = PartitionedFile::new_from_meta(meta);
        file.extensions.insert_arc(object);
        files.push(file);
    }
    groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
}

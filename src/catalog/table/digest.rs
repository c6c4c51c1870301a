//! The tables `edges`, `interfaces` and `objects`: the Parquet files of published digests, read by DataFusion's own
//! Parquet source, which prunes row groups and pages by the filters that are not settled by the window alone.

use super::super::{Catalog, FileKind, Manifest};
use super::prune::{self, Choice, Overlap};
use super::{store_url, window_columns, window_values};
use crate::error::Result as OurResult;
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::MetricBuilder;
use object_store::ObjectMeta;
use std::sync::Arc;

/// The files of one kind, of every published window or of one version of one.
#[derive(Debug)]
pub(super) struct DigestTable {
    catalog: Catalog,
    kind: FileKind,
    schema: TableSchema,
    /// The only digest to read; without one, all that are published.
    only: Option<Manifest>,
}

impl DigestTable {
    /// The files of the newest version of each window, of windows that overlap those without overlap.
    pub(super) fn published(catalog: Catalog, kind: FileKind) -> DigestTable {
        let schema = TableSchema::builder(kind.schema()).with_table_partition_cols(window_columns().to_vec()).build();
        DigestTable { catalog, kind, schema, only: None }
    }

    /// The file of one version of a window's digest.
    pub(super) fn of(catalog: Catalog, kind: FileKind, manifest: Manifest) -> OurResult<DigestTable> {
        catalog.file_path(&manifest, kind)?;
        Ok(DigestTable { only: Some(manifest), ..DigestTable::published(catalog, kind) })
    }

    async fn choose(&self, state: &dyn Session, filters: &[Expr]) -> OurResult<Choice> {
        match &self.only {
            None => prune::choose(&self.catalog, state, filters, Overlap::Finest).await,
            Some(manifest) => {
                let wanted = prune::matching(state, filters, &[manifest.window()?])?;
                let manifests: Vec<Manifest> =
                    wanted.iter().filter(|wanted| **wanted).map(|_| manifest.clone()).collect();
                Ok(Choice { refused: 1 - manifests.len(), manifests, listed: 1, overlapped: 0 })
            }
        }
    }

    /// Files never change, so what the manifest says of one stands for a look at it.
    fn file(&self, manifest: &Manifest) -> OurResult<PartitionedFile> {
        let meta = ObjectMeta {
            location: self.catalog.file_path(manifest, self.kind)?,
            last_modified: manifest.published,
            size: manifest.file(self.kind).map_or(0, |file| file.size),
            e_tag: None,
            version: None,
        };
        let values = window_values(&manifest.window()?).to_vec();
        Ok(PartitionedFile::new_from_meta(meta).with_partition_values(values))
    }

    /// The sort order of a file, which holds for the scan of a single one.
    fn ordering(&self) -> Result<Option<LexOrdering>> {
        let schema = self.schema.table_schema();
        let sort = |name: &&str| Ok(PhysicalSortExpr::new_default(col(name, schema)?));
        Ok(LexOrdering::new(self.kind.key().iter().map(sort).collect::<Result<Vec<_>>>()?))
    }
}

#[async_trait]
impl TableProvider for DigestTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(prune::pushdown(filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let choice = self.choose(state, filters).await?;
        let manifests = &choice.manifests;
        if manifests.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        let files = manifests.iter().map(|manifest| self.file(manifest)).collect::<OurResult<Vec<_>>>()?;
        let rows: u64 = manifests.iter().filter_map(|manifest| manifest.file(self.kind)).map(|file| file.rows).sum();
        let statistics = Statistics {
            num_rows: usize::try_from(rows).map_or(Precision::Absent, Precision::Exact),
            ..Statistics::new_unknown(self.schema.table_schema())
        };
        // An order that is declared keeps the partitions from sharing files among them: only a single file has one.
        let ordering = if files.len() == 1 { self.ordering()? } else { None };
        let options = &state.config_options().execution.parquet;
        let metadata_cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(Arc::clone(&self.catalog.store), metadata_cache);
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(TableParquetOptions {
                global: options.clone(),
                ..TableParquetOptions::default()
            })
            .with_parquet_file_reader_factory(Arc::new(reader));
        if let Some(bytes) = options.metadata_size_hint {
            source = source.with_metadata_size_hint(bytes);
        }
        // What EXPLAIN ANALYZE tells of the pruning; EXPLAIN itself shows the files that are left.
        for (name, count) in [
            ("digests_listed", choice.listed),
            ("digests_refused", choice.refused),
            ("digests_overlapped", choice.overlapped),
        ] {
            MetricBuilder::new(source.metrics()).global_counter(name).add(count);
        }
        let config = FileScanConfigBuilder::new(store_url(&self.catalog)?, Arc::new(source))
            .with_file_groups(FileGroup::new(files).split_files(state.config().target_partitions()))
            .with_statistics(statistics)
            .with_output_ordering(ordering.into_iter().collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

//! The table `windows`: what is published, how complete it is, and what it cost. One row for the newest version of each
//! window, those that overlap too, read from the manifests alone.

use super::super::{Catalog, Manifest};
use super::prune::{self, Overlap};
use super::window_columns;
use crate::clock::Timestamp;
use crate::error::Result as OurResult;
use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// A column that a manifest gives: its name and how to read it.
struct Column(&'static str, Value);

/// How to read a column; all but the optional ones are NOT NULL.
enum Value {
    Time(fn(&Manifest) -> Timestamp),
    OptionalTime(fn(&Manifest) -> Option<Timestamp>),
    Text(fn(&Manifest) -> &str),
    Count(fn(&Manifest) -> u64),
    Sum(fn(&Manifest) -> i64),
    OptionalCount(fn(&Manifest) -> Option<u64>),
    OptionalSeconds(fn(&Manifest) -> Option<f64>),
    Seconds(fn(&Manifest) -> f64),
}

/// The columns in order.
const COLUMNS: [Column; 25] = [
    Column("window_start", Value::Time(|m| m.start)),
    Column("window_stop", Value::Time(|m| m.stop)),
    Column("window_width", Value::Sum(|m| (m.stop - m.start).num_seconds())),
    Column("version", Value::Count(|m| m.version)),
    Column("state", Value::Text(|m| m.state.name())),
    Column("published", Value::Time(|m| m.published)),
    Column("last_seen", Value::OptionalTime(|m| m.coverage.last_seen)),
    Column("lag_seconds", Value::OptionalCount(|m| m.lag().map(|lag| lag.num_seconds().unsigned_abs()))),
    Column("edges", Value::Count(|m| m.totals.edges)),
    Column("flows", Value::Sum(|m| m.totals.flows)),
    Column("packets", Value::Sum(|m| m.totals.packets)),
    Column("bytes", Value::Sum(|m| m.totals.bytes)),
    Column("objects_listed", Value::Count(|m| m.coverage.objects_listed)),
    Column("objects_read", Value::Count(|m| m.coverage.objects_read)),
    Column("objects_set_aside", Value::Count(|m| m.coverage.objects_set_aside)),
    Column("records", Value::Count(|m| m.coverage.records)),
    Column("nodata", Value::Count(|m| m.coverage.nodata)),
    Column("skipdata", Value::Count(|m| m.coverage.skipdata)),
    Column("lines_refused", Value::Count(|m| m.coverage.lines_refused)),
    Column("interfaces", Value::Count(|m| m.coverage.interfaces)),
    Column("silent_flow_logs", Value::Count(|m| m.coverage.silent_flow_logs.len() as u64)),
    Column("bytes_read", Value::Count(|m| m.cost.bytes_read)),
    Column("wall_seconds", Value::Seconds(|m| m.cost.wall_seconds)),
    Column("cpu_seconds", Value::OptionalSeconds(|m| m.cost.cpu_seconds)),
    Column("peak_memory_bytes", Value::OptionalCount(|m| m.cost.peak_memory_bytes)),
];

impl Column {
    fn field(&self) -> FieldRef {
        let [time, ..] = window_columns();
        let (data_type, nullable) = match self.1 {
            Value::Time(_) => (time.data_type().clone(), false),
            Value::OptionalTime(_) => (time.data_type().clone(), true),
            Value::Text(_) => (DataType::Utf8View, false),
            Value::Count(_) | Value::Sum(_) => (DataType::Int64, false),
            Value::OptionalCount(_) => (DataType::Int64, true),
            Value::Seconds(_) => (DataType::Float64, false),
            Value::OptionalSeconds(_) => (DataType::Float64, true),
        };
        Arc::new(Field::new(self.0, data_type, nullable))
    }

    fn values(&self, of: &[Manifest]) -> ArrayRef {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        match self.1 {
            Value::Time(get) => {
                let times = of.iter().map(|manifest| get(manifest).timestamp_millis());
                Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            Value::OptionalTime(get) => {
                let times = of.iter().map(|manifest| get(manifest).map(|time| time.timestamp_millis()));
                Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone("UTC"))
            }
            Value::Text(get) => Arc::new(StringViewArray::from_iter_values(of.iter().map(get))),
            Value::Count(get) => Arc::new(Int64Array::from_iter_values(of.iter().map(|manifest| count(get(manifest))))),
            Value::Sum(get) => Arc::new(Int64Array::from_iter_values(of.iter().map(get))),
            Value::OptionalCount(get) => Arc::new(Int64Array::from_iter(of.iter().map(|m| get(m).map(count)))),
            Value::Seconds(get) => Arc::new(Float64Array::from_iter_values(of.iter().map(get))),
            Value::OptionalSeconds(get) => Arc::new(Float64Array::from_iter(of.iter().map(get))),
        }
    }
}

/// The table `windows`.
#[derive(Debug)]
pub(super) struct WindowsTable {
    catalog: Catalog,
    schema: SchemaRef,
}

impl WindowsTable {
    /// The windows that `catalog` holds.
    pub(super) fn new(catalog: Catalog) -> WindowsTable {
        let schema = Schema::new(COLUMNS.iter().map(Column::field).collect::<Vec<_>>());
        WindowsTable { catalog, schema: Arc::new(schema) }
    }

    async fn rows(&self, state: &dyn Session, filters: &[Expr]) -> OurResult<RecordBatch> {
        let manifests = prune::choose(&self.catalog, state, filters, Overlap::Keep).await?.manifests;
        let columns = COLUMNS.iter().map(|column| column.values(&manifests)).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

#[async_trait]
impl TableProvider for WindowsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batch = self.rows(state, filters).await?;
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], self.schema(), projection.cloned())?)
    }
}

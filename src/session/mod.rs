//! DataFusion set up once for every stage. In: options, tables, SQL with named parameters. Out: plans that only read.
//! Knows neither where the tables come from nor whether a window is open.

mod functions;
mod planning;
pub mod queries;
mod store;
mod times;

pub use functions::{function_names, parse_cidr};
pub(crate) use planning::near_names;
pub use queries::Query;
pub use store::{Location, open_location};

use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    TableProvider,
};
use datafusion::common::ScalarValue;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// What a session may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Memory that operators may hold before they spill, bytes; default 4 GiB. The process takes more: batches on their
    /// way between operators are not counted.
    #[serde(with = "crate::config::byte_size")]
    pub memory_bytes: u64,
    /// Threads that a query runs on; default 0: one for each core.
    pub threads: usize,
    /// Folder for what does not fit into memory; default: the system's temporary folder. It is made if it is missing,
    /// and emptied when the session ends.
    pub spill_dir: Option<PathBuf>,
    /// Most that the spill folder may hold, bytes; default 100 GiB.
    #[serde(with = "crate::config::byte_size")]
    pub spill_bytes_max: u64,
    /// Rows of a batch; default 8192. Leave it alone unless a measurement says otherwise.
    pub batch_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { memory_bytes: 4 << 30, threads: 0, spill_dir: None, spill_bytes_max: 100 << 30, batch_rows: 8192 }
    }
}

/// How many of the largest consumers are named when memory runs out.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(5).expect("five is not zero");

/// Up to so many rows the smaller side of a join is one table for all threads, and the larger side stays where it is. The
/// default (128 Ki) moved a history of 20 million edges between threads to look up a thousand of them.
const JOIN_BUILD_ROWS_MAX: usize = 1 << 20;

/// Values of a query's parameters, by name without `$`, as text.
pub type Params = BTreeMap<String, String>;

/// A DataFusion session: memory limit, spill folder, UTC, flowdiff's SQL functions, and the tables registered in it.
///
/// Clones share everything.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
    options: Options,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Session {
    /// Makes a session without tables.
    ///
    /// # Errors
    /// `Invalid` if an option is out of its range or the spill folder cannot be made.
    pub fn new(options: &Options) -> Result<Session> {
        let memory_bytes = positive("memory_bytes", usize::try_from(options.memory_bytes).unwrap_or(usize::MAX))?;
        let batch_rows = positive("batch_rows", options.batch_rows)?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            threads => threads,
        };
        let spill = match &options.spill_dir {
            Some(folder) => {
                std::fs::create_dir_all(folder).context(|| format!("make spill folder {}", folder.display()))?;
                DiskManagerMode::Directories(vec![folder.clone()])
            }
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default().with_mode(spill).with_max_temp_directory_size(options.spill_bytes_max);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool(memory_bytes))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let mut config = SessionConfig::new()
            .with_target_partitions(threads)
            .with_batch_size(batch_rows)
            .with_information_schema(true);
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        // What each sort keeps back to merge what it spilled: the default would take a small memory whole.
        let merge_bytes = &mut config.options_mut().execution.sort_spill_reservation_bytes;
        *merge_bytes = (*merge_bytes).min(memory_bytes / (16 * threads));
        config.options_mut().sql_parser.collect_spans = true;
        config.options_mut().optimizer.hash_join_single_partition_threshold_rows = JOIN_BUILD_ROWS_MAX;
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_analyzer_rule(Arc::new(times::ReadTimes))
            .build();
        let context = SessionContext::new_with_state(state);
        for function in functions::all() {
            context.register_udf(function);
        }
        Ok(Session { context, options: options.clone() })
    }

    /// The DataFusion session, for plans that are not SQL. It can write: never hand it text that a user typed.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// A session without tables and with the same memory, spill folder and functions; plans also go through `rules`.
    ///
    /// # Errors
    /// What DataFusion says.
    pub fn without_tables(&self, rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) -> Result<Session> {
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema("public", Arc::new(MemorySchemaProvider::new()))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog("datafusion".to_owned(), Arc::new(catalog));
        let mut state =
            SessionStateBuilder::new_from_existing(self.context.state()).with_catalog_list(Arc::new(catalogs));
        for rule in rules {
            state = state.with_physical_optimizer_rule(rule);
        }
        Ok(Session { context: SessionContext::new_with_state(state.build()), options: self.options.clone() })
    }

    /// The same session with plans that run on one thread and keep the order which tables have: merging and grouping by
    /// that order then streams, in little memory.
    pub fn in_order(self) -> Session {
        let mut config = self.context.copied_config().with_target_partitions(1);
        config.options_mut().optimizer.prefer_existing_sort = true;
        let state = SessionStateBuilder::new_from_existing(self.context.state()).with_config(config).build();
        Session { context: SessionContext::new_with_state(state), options: self.options }
    }

    /// A session with the same tables, spill folder and functions, whose operators may hold `memory_bytes` of their own
    /// before they spill.
    ///
    /// # Errors
    /// `Invalid` if that is nothing.
    pub fn with_memory(&self, memory_bytes: u64) -> Result<Session> {
        let memory_bytes = positive("memory_bytes", usize::try_from(memory_bytes).unwrap_or(usize::MAX))?;
        let state = self.context.state();
        let runtime = RuntimeEnvBuilder::from_runtime_env(state.runtime_env())
            .with_memory_pool(pool(memory_bytes))
            .build_arc()?;
        let state = SessionStateBuilder::new_from_existing(state).with_runtime_env(runtime).build();
        Ok(Session { context: SessionContext::new_with_state(state), options: self.options.clone() })
    }

    /// The options the session was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Makes `table` known to SQL as `name`, in place of any table of that name.
    ///
    /// # Errors
    /// What DataFusion says.
    pub fn register_table(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        self.context.deregister_table(name)?;
        self.context.register_table(name, table)?;
        Ok(())
    }

    /// Plans one statement of SQL that a user typed, with the texts of its parameters.
    ///
    /// A parameter has the type of what it is compared with, text where nothing tells; times may be written in every
    /// form of [`crate::window::parse_time`], relative to `now`.
    ///
    /// # Errors
    /// `Invalid` if the statement cannot be planned, is anything but a query, `EXPLAIN`, `DESCRIBE` or `SHOW`, or takes
    /// other parameters than are given. The hint names what is near to a name that does not exist.
    pub async fn plan(&self, sql: &str, params: &Params, now: Timestamp) -> Result<DataFrame> {
        let frame = self.plan_read_only(sql).await?;
        let values = planning::infer_values(frame.logical_plan(), params, now)?;
        self.bind(frame, values)
    }

    /// Plans a query file with the texts of its parameters, typed as its header says.
    ///
    /// # Errors
    /// As [`Session::plan`], and `Invalid` listing what the query takes if a parameter without default is missing or
    /// one is given that the query does not have.
    pub async fn plan_query(&self, query: &Query, params: &Params, now: Timestamp) -> Result<DataFrame> {
        let values = query.values(params, now)?;
        let doing = || format!("plan query {}", query.name);
        let frame = self.plan_read_only(&query.text).await.context(doing)?;
        planning::check_declared(frame.logical_plan(), query)?;
        self.bind(frame, values).context(doing)
    }

    async fn plan_read_only(&self, sql: &str) -> Result<DataFrame> {
        let state = self.context.state();
        let explained = |error| planning::explain(error, &self.table_names());
        let statement = state.sql_to_statement(sql, &state.config_options().sql_parser.dialect).map_err(explained)?;
        // Said before the plan is made: what is wrong inside of an INSERT does not matter.
        planning::check_verb(&statement)?;
        let plan = state.statement_to_plan(statement).await.map_err(explained)?;
        planning::check_read_only(&plan)?;
        Ok(self.context.execute_logical_plan(plan).await?)
    }

    fn bind(&self, frame: DataFrame, values: Vec<(String, ScalarValue)>) -> Result<DataFrame> {
        let frame = match values.is_empty() {
            true => frame,
            false => frame.with_param_values(values).map_err(|error| planning::explain(error, &self.table_names()))?,
        };
        planning::check_literals(frame.logical_plan())?;
        Ok(frame)
    }

    /// Names of the registered tables, sorted.
    pub fn table_names(&self) -> Vec<String> {
        let schema = self.context.catalog("datafusion").and_then(|catalog| catalog.schema("public"));
        let mut names = schema.map_or(Vec::new(), |schema| schema.table_names());
        names.sort();
        names
    }
}

/// Memory that operators share, and that names those who hold most of it when it runs out.
fn pool(memory_bytes: usize) -> Arc<dyn MemoryPool> {
    Arc::new(TrackConsumersPool::new(FairSpillPool::new(memory_bytes), CONSUMERS_NAMED))
}

fn positive(name: &str, value: usize) -> Result<usize> {
    match value {
        0 => Err(Error::invalid(format!("session.{name} is 0")).with_hint("give it a positive number")),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::flow::flows_schema;
    use datafusion::arrow::array::{Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::ident;

    fn session() -> Session {
        let session = Session::new(&Options::default()).unwrap();
        let flows = MemTable::try_new(flows_schema(), vec![vec![]]).unwrap();
        session.register_table("flows", Arc::new(flows)).unwrap();
        session
    }

    fn now() -> Timestamp {
        "2026-11-21T09:30:00Z".parse().unwrap()
    }

    async fn refusal(sql: &str) -> Error {
        match session().plan(sql, &Params::new(), now()).await {
            Ok(_) => panic!("planned: {sql}"),
            Err(error) => error,
        }
    }

    #[tokio::test]
    async fn sorted_tables_are_merged_and_grouped_without_another_sort() {
        let session = session().in_order();
        let schema = Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, false)]));
        let table = || {
            let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1, 2]))])?;
            let table = MemTable::try_new(schema.clone(), vec![vec![rows]])?;
            session.context().read_table(Arc::new(table.with_sort_order(vec![vec![ident("key").sort(true, true)]])))
        };
        let union = table().unwrap().union(table().unwrap()).unwrap();
        session.register_table("edges", union.into_view()).unwrap();
        let frame = session.context().sql("SELECT key, count(*) FROM edges GROUP BY key ORDER BY key").await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        let plan = displayable(plan.as_ref()).indent(false).to_string();
        assert!(plan.contains("SortPreservingMergeExec") && plan.contains("ordering_mode=Sorted"), "{plan}");
        assert!(!plan.contains("SortExec"), "{plan}");
    }

    #[tokio::test]
    async fn only_statements_that_read_are_planned() {
        for sql in [
            "CREATE TABLE t AS SELECT 1",
            "CREATE VIEW v AS SELECT 1",
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc/passwd'",
            "DROP TABLE flows",
            "INSERT INTO flows (line) VALUES (1)",
            "DELETE FROM flows",
            "UPDATE flows SET line = 1",
            "COPY flows TO '/tmp/out.parquet'",
            "EXPLAIN COPY flows TO '/tmp/out.parquet'",
            "EXPLAIN ANALYZE INSERT INTO flows (line) VALUES (1)",
            "SET datafusion.execution.batch_size = 1",
            "RESET datafusion.execution.batch_size",
            "PREPARE p AS SELECT 1",
            "START TRANSACTION",
            "SELECT 1; SELECT 2",
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM 's3://bucket/key.parquet'",
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_parquet('/etc/passwd')",
        ] {
            assert_eq!(refusal(sql).await.kind(), ErrorKind::Invalid, "{sql}");
        }
        for sql in [
            "SELECT count(*) FROM flows",
            "WITH t AS (SELECT 1 AS a) SELECT a FROM t UNION ALL SELECT 2",
            "EXPLAIN SELECT srcaddr FROM flows",
            "DESCRIBE flows",
            "SHOW TABLES",
            "SHOW COLUMNS FROM flows",
            "VALUES (1)",
            "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 3) SELECT a FROM t",
        ] {
            let frame = session().plan(sql, &Params::new(), now()).await.expect(sql);
            frame.collect().await.expect(sql);
        }
    }

    #[tokio::test]
    async fn a_wrong_column_is_placed_and_near_names_are_hinted() {
        let error = refusal("SELECT\n  srcadr FROM flows").await;
        assert_eq!(error.to_string(), "no column srcadr (line 2, column 3)");
        let hint = error.hint().unwrap();
        assert!(hint.contains("srcaddr") && hint.contains("scan.extra_fields"), "{hint}");
    }

    #[tokio::test]
    async fn a_wrong_table_is_named_with_those_that_exist() {
        let error = refusal("SELECT a FROM flow").await;
        assert_eq!(error.to_string(), "no table flow (line 1, column 15)");
        assert!(error.hint().unwrap().contains("flows"));
    }

    #[tokio::test]
    async fn errors_of_datafusion_keep_position_and_suggestion() {
        let error = refusal("SELECT srcaddr FRM flows WHERE").await;
        assert!(error.to_string().contains("Line: 1"), "{error}");
        let error = refusal("SELECT cidr_contain('10.0.0.0/8', srcaddr) FROM flows").await;
        assert_eq!(error.to_string(), "no function cidr_contain (line 1, column 8)");
        assert_eq!(error.hint(), Some("did you mean cidr_contains?"));
        let error = refusal("SELECT 1; SELECT 2").await;
        assert_eq!(error.to_string(), "this is more than one statement: give one at a time");
    }

    #[tokio::test]
    async fn what_writes_is_refused_by_its_word_before_it_is_planned() {
        for (sql, word) in [
            ("INSERT INTO flows VALUES (1, 2)", "INSERT is"),
            ("insert into nothing values (1)", "INSERT is"),
            ("/* read */ COPY flows TO 'x'", "COPY is"),
            ("SET a.b = 1", "SET is"),
        ] {
            let error = refusal(sql).await;
            assert!(error.to_string().starts_with(word), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn a_wrong_literal_is_refused_at_planning_and_quoted() {
        for (sql, quoted) in [
            ("SELECT cidr_contains('10.0.0/8', srcaddr) FROM flows", "\"10.0.0/8\""),
            ("SELECT line FROM flows WHERE cidr_contains('10.0.0.0/33', srcaddr)", "\"10.0.0.0/33\""),
            ("SELECT cidr_of(srcaddr, 129) FROM flows", "129"),
            ("SELECT kept_srcport(srcport, dstport, protocol, tcp_flags, action, 'lowest') FROM flows", "\"lowest\""),
            ("SELECT ip_family(srcport) FROM flows", "UInt16"),
            ("SELECT is_private() FROM flows", "is_private"),
        ] {
            let error = refusal(sql).await;
            assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}");
            assert!(error.to_string().contains(quoted), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn parameters_take_the_type_of_what_they_meet() {
        let params = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let sql = "SELECT line FROM flows WHERE \"end\" >= $from AND dstport = $port AND srcaddr = $addr LIMIT $limit";
        let given = [("from", "-1h"), ("port", "443"), ("addr", "10.0.0.1"), ("limit", "5")];
        session().plan(sql, &params(&given), now()).await.unwrap().collect().await.unwrap();

        let wrong = [("from", "-1h"), ("port", "https"), ("addr", "10.0.0.1"), ("limit", "5")];
        let error = session().plan(sql, &params(&wrong), now()).await.unwrap_err();
        assert!(error.to_string().contains("$port") && error.to_string().contains("\"https\""), "{error}");

        let error = session().plan(sql, &params(&given[1..]), now()).await.unwrap_err();
        assert!(error.to_string().contains("$from"), "{error}");
        let error = session().plan("SELECT 1", &params(&given[..1]), now()).await.unwrap_err();
        assert!(error.to_string().contains("$from"), "{error}");
    }

    #[tokio::test]
    async fn a_parameter_is_a_value_and_never_sql() {
        let params = Params::from([("addr".to_owned(), "' OR true --".to_owned())]);
        let frame = session().plan("SELECT $addr = 'x' AS same", &params, now()).await.unwrap();
        let batches = frame.collect().await.unwrap();
        assert_eq!(ScalarValue::try_from_array(batches[0].column(0), 0).unwrap(), ScalarValue::from(false));
    }

    #[tokio::test]
    async fn exhausted_memory_names_its_consumers() {
        let options = Options { memory_bytes: 1 << 16, threads: 1, spill_bytes_max: 0, ..Options::default() };
        let session = Session::new(&options).unwrap();
        let sql = "SELECT value, count(*) AS n FROM generate_series(1, 1000000) GROUP BY value ORDER BY n, value";
        let frame = session.plan(sql, &Params::new(), now()).await.unwrap();
        let error = Error::from(frame.collect().await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("top memory consumers"), "{error}");
        assert!(error.hint().unwrap().contains("--memory"), "{error}");
    }

    #[test]
    fn unknown_settings_and_impossible_ones_are_refused() {
        assert_eq!(toml::from_str::<Options>("").unwrap(), Options::default());
        assert!(toml::from_str::<Options>("memory = 1").is_err());
        assert!(Session::new(&Options { memory_bytes: 0, ..Options::default() }).is_err());
        assert!(Session::new(&Options { batch_rows: 0, ..Options::default() }).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Session::new(&Options { spill_dir: Some(file.path().into()), ..Options::default() }).is_err());
    }
}

//! Runs `tests/slt/*.slt`: the query files and the SQL functions, against tables in memory.
//!
//! Before each file the tables that queries read are empty and have the schemas of the real ones. A file fills them with
//! `INSERT` and empties them with `CLEAR table ...`; `RUN query name=value ...` runs a query file. `PUBLISH` publishes
//! what `edges` and `interfaces` hold as digests, which then stand for the tables, and `FILES query name=value ...` tells
//! which of their files the plan of a query opens. Everything else is planned as what a user typed, so it can only read.

use crate::diff::published::{Contents, publish};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::SessionContext;
use flowdiff::catalog::{Catalog, State};
use flowdiff::session::{Options, Params, Session, queries};
use flowdiff::{Error, ErrorKind, Timestamp, flow};
use object_store::memory::InMemory;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an error says, its causes and its hint, so that a file can expect each of them.
#[derive(Debug)]
struct Failure(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Failure(format!("{text}; hint: {}", error.hint().unwrap_or("none")))
    }
}

struct Database(Session);

impl Database {
    fn new() -> Database {
        let session = Session::new(&Options::default()).unwrap();
        let database = Database(session);
        for table in TABLES {
            database.clear(table).unwrap();
        }
        database
    }

    fn clear(&self, table: &str) -> Result<(), Error> {
        let table_schema = schema(table).ok_or_else(|| Error::not_found(format!("no table {table}")))?;
        let empty = MemTable::try_new(table_schema, vec![vec![]])?;
        self.0.register_table(table, Arc::new(empty))
    }

    /// Publishes the rows of `edges` and `interfaces` by window, and puts the tables of the catalog in their place.
    async fn publish(&self) -> Result<(), Error> {
        let context = self.0.context();
        let catalog = Catalog::new(Arc::new(InMemory::new()), object_store::path::Path::default(), "memory");
        let both = "SELECT window_start, window_stop FROM edges UNION SELECT window_start, window_stop FROM interfaces";
        for window in rows(&context.sql(both).await?.collect().await?)? {
            let of = async |table: &str, schema: SchemaRef, key: &[&str]| -> Result<RecordBatch, Error> {
                let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
                let sql = format!(
                    "SELECT {} FROM {table} WHERE window_start = TIMESTAMP '{}' AND window_stop = TIMESTAMP '{}'
                     ORDER BY {}",
                    names.join(", "),
                    window[0],
                    window[1],
                    key.join(", ")
                );
                let frame = context.sql(&sql).await?;
                let found = Arc::new(frame.schema().as_arrow().clone());
                let rows = concat_batches(&found, &frame.collect().await?)?;
                Ok(RecordBatch::try_new(schema, rows.columns().to_vec())?)
            };
            let contents = Contents {
                edges: [of("edges", flow::edges_schema(), &flow::EDGE_KEY).await?],
                interfaces: of("interfaces", flow::interfaces_schema(), &["account_id", "interface_id"]).await?,
                objects: RecordBatch::new_empty(flow::objects_schema()),
                state: State::Final,
                silent_flow_logs: Vec::new(),
                row_group_rows: 1024,
            };
            publish(&catalog, &window.join("/"), contents).await;
        }
        for table in ["edges", "interfaces", "objects", "windows"] {
            context.deregister_table(table)?;
        }
        flowdiff::catalog::register(context, &catalog)
    }

    async fn execute(&self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let mut words = sql.split_whitespace();
        let frame = match words.next() {
            Some("CLEAR") => {
                words.try_for_each(|table| self.clear(table))?;
                return Ok(DBOutput::StatementComplete(0));
            }
            Some("INSERT") => {
                self.0.context().sql(sql).await?.collect().await?;
                return Ok(DBOutput::StatementComplete(0));
            }
            Some("PUBLISH") => {
                self.publish().await?;
                return Ok(DBOutput::StatementComplete(0));
            }
            Some(verb @ ("RUN" | "FILES")) => {
                let query = queries::load(words.next().unwrap_or_default(), None)?;
                let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
                let params: Option<Params> = words.map(pair).collect();
                let params = params.ok_or_else(|| Error::invalid("write RUN query name=value ..."))?;
                let frame = self.0.plan_query(&query, &params, now).await?;
                check_returns(&query, frame.schema().as_arrow())?;
                if verb == "FILES" {
                    let plan = frame.create_physical_plan().await?;
                    return Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text], rows: files_of(plan.as_ref()) });
                }
                frame
            }
            _ => self.0.plan(sql, &Params::new(), now).await?,
        };
        let types = frame.schema().fields().iter().map(|field| column_type(field.data_type())).collect();
        let batches = frame.collect().await?;
        Ok(DBOutput::Rows { types, rows: rows(&batches)? })
    }
}

/// The files that a plan opens, one row each scan: the kind, then the windows.
fn files_of(plan: &dyn ExecutionPlan) -> Vec<Vec<String>> {
    let text = displayable(plan).indent(true).to_string();
    let scan = |line: &str| {
        let paths = line.split(['[', ']', ',', ' ']).filter_map(|word| word.split_once("/start="));
        let files: BTreeSet<(&str, &str)> = paths
            .filter_map(|(_, path)| {
                let (window, file) = path.rsplit_once('/')?;
                Some((file.split('.').nth(1)?, window.split_once('/')?.0))
            })
            .collect();
        let kind = files.first()?.0;
        let starts: Vec<&str> = files.iter().map(|(_, start)| *start).collect();
        Some(vec![format!("{kind} {}", starts.join(" "))])
    };
    text.lines().filter_map(scan).collect()
}

const TABLES: [&str; 9] = ["flows", "edges", "interfaces", "objects", "windows", "before", "after", "seen", "silent"];

/// Schema of a table: the file's and, for those of the catalog, the window. All columns can be null, so that a file may
/// fill only what it is about.
fn schema(table: &str) -> Option<SchemaRef> {
    let base = match table {
        "flows" => flow::flows_schema(),
        "edges" => flow::edges_schema(),
        "interfaces" => flow::interfaces_schema(),
        "objects" => flow::objects_schema(),
        "windows" => windows_schema(),
        "before" | "after" => flow::edges_schema(),
        "seen" => text_schema(["account_id", "interface_id"]),
        "silent" => text_schema(["account_id", "region"]),
        _ => return None,
    };
    let mut fields: Vec<Field> = base.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    match table {
        "edges" | "interfaces" | "objects" => {
            let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
            fields.extend(["window_start", "window_stop"].map(|name| Field::new(name, time.clone(), true)));
            fields.push(Field::new("window_width", DataType::Int64, true));
        }
        "before" | "after" => fields.push(Field::new("observed", DataType::Boolean, true)),
        _ => {}
    }
    Some(Arc::new(Schema::new(fields)))
}

/// The schema that the catalog gives the table `windows`.
fn windows_schema() -> SchemaRef {
    let context = SessionContext::new();
    let catalog = Catalog::new(Arc::new(InMemory::new()), object_store::path::Path::default(), "memory");
    flowdiff::catalog::register(&context, &catalog).unwrap();
    futures::executor::block_on(context.table_provider("windows")).unwrap().schema()
}

fn text_schema(columns: [&str; 2]) -> SchemaRef {
    Arc::new(Schema::new(columns.map(|name| Field::new(name, DataType::Utf8View, true)).to_vec()))
}

/// The header of a query file names the columns it returns, and the digest's two queries return the files' schemas.
fn check_returns(query: &queries::Query, schema: &Schema) -> Result<(), Error> {
    let digest = match query.name.as_str() {
        "edges" => Some(flow::edges_schema()),
        "interfaces" => Some(flow::interfaces_schema()),
        _ => None,
    };
    let wrong = |name: &str| Error::internal(format!("query {} returns {name}, which is not as declared", query.name));
    for (index, field) in schema.fields().iter().enumerate() {
        let right = match &digest {
            Some(declared) => {
                let declared = declared.field(index);
                declared.name() == field.name() && declared.data_type() == field.data_type()
            }
            None => query.returns.contains("the edge key") || query.returns.contains(field.name().as_str()),
        };
        if !right {
            return Err(wrong(&format!("{} {}", field.name(), field.data_type())));
        }
    }
    match digest {
        Some(declared) if declared.fields().len() != schema.fields().len() => Err(wrong("fewer or more columns")),
        _ => Ok(()),
    }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DefaultColumnType::Text,
        integer if integer.is_integer() => DefaultColumnType::Integer,
        float if float.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Any,
    }
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>, Error> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Result<Vec<_>, _> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect();
        let columns = columns?;
        rows.extend((0..batch.num_rows()).map(|row| {
            let text = |column: &ArrayFormatter| column.value(row).to_string();
            columns.iter().map(text).map(|text| if text.is_empty() { "(empty)".to_owned() } else { text }).collect()
        }));
    }
    Ok(rows)
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        Ok(self.execute(sql).await?)
    }

    async fn shutdown(&mut self) {}
}

fn files(folder: &str, extension: &str) -> BTreeSet<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[tokio::test]
async fn every_slt_file_passes() {
    let mut failures = Vec::new();
    for file in files("tests/slt", "slt") {
        let mut runner = sqllogictest::Runner::new(|| async { Ok(Database::new()) });
        runner.with_column_validator(sqllogictest::strict_column_validator);
        if let Err(error) = runner.run_file_async(&file).await {
            failures.push(format!("{}", error.display(false)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_query_has_an_slt_file() {
    let tested = files("tests/slt", "slt");
    for query in files("queries", "sql") {
        assert!(tested.iter().any(|file| file.file_stem() == query.file_stem()), "{}", query.display());
    }
}

#[tokio::test]
async fn text_that_a_user_types_cannot_write_what_a_test_can() {
    let database = Database::new();
    let error = database.0.plan("INSERT INTO flows (line) VALUES (1)", &Params::new(), Timestamp::default()).await;
    assert_eq!(error.err().unwrap().kind(), ErrorKind::Invalid);
}

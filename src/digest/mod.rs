//! One window to one digest: runs `queries/edges.sql`, counts coverage, writes sorted Parquet, publishes.
//! In: a source, a catalog, a window. Out: a manifest. Knows nothing of HTTP or of diffs.

mod cost;
mod coverage;
mod write;

use crate::catalog::{
    Catalog, Cost, Coverage, Draft, DraftFile, FORMAT_VERSION, FileKind, Manifest, Rules, State, Totals,
};
use crate::clock::{Clock, Timestamp};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::flow::{AddressRule, PortRule, edges_schema, interfaces_schema, objects_schema};
use crate::scan::{self, FlowsTable, FoldFlows, FoldRules, Report};
use crate::session::{Params, Session, queries};
use crate::source::{Listing, Object, Selection, Source};
use crate::window::{Window, file_times, format_time};
use chrono::TimeDelta;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use datafusion::prelude::SessionContext;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use write::Written;

/// How digests are built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Which port of a flow is ephemeral. One rule for a store.
    pub port_rule: PortRule,
    /// Whose addresses make an edge. One rule for a store.
    pub addresses: AddressRule,
    /// How long after a window's stop objects with its records may still arrive; default 30 minutes. AWS gives no bound.
    #[serde(with = "crate::config::duration")]
    pub lateness: TimeDelta,
    /// Fold below the plan; off, `edges.sql` and `interfaces.sql` run as they stand, in two passes over the objects.
    pub fold: bool,
    /// Rows of a row group. Not to be changed within a store: the same digest would have other bytes.
    pub row_group_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            port_rule: PortRule::default(),
            addresses: AddressRule::default(),
            lateness: TimeDelta::minutes(30),
            fold: true,
            row_group_rows: 131_072,
        }
    }
}

impl Options {
    /// The rules that a store built with these options has.
    pub fn rules(&self) -> Result<Rules> {
        Ok(Rules {
            format_version: FORMAT_VERSION,
            port_rule: self.port_rule,
            addresses: self.addresses,
            query_checksum: write::checksum(&queries::load("edges", None)?.text),
        })
    }
}

/// Everything that building digests needs.
#[derive(Clone, Debug)]
pub struct Builder {
    /// Where the flow logs are.
    pub source: Source,
    /// Where the digests go.
    pub catalog: Catalog,
    /// Memory, threads and spill folder.
    pub session: Session,
    /// How objects are read.
    pub scan: scan::Options,
    /// How they are listed.
    pub listing: crate::source::Options,
    /// How digests are built.
    pub options: Options,
    /// Tells whether a window may still change.
    pub clock: Clock,
}

/// A digest that was asked for.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether this call published it; else it was there already.
    pub is_new: bool,
}

/// What a digest would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Objects to read.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// LIST requests, those of the estimate included.
    pub list_requests: u64,
    /// GET requests; a fold that does not fit the memory doubles them.
    pub get_requests: u64,
    /// PUT requests; a file of more than 8 MiB takes one for each part.
    pub put_requests: u64,
}

/// What publishing a first version to a store in use takes: the versions of the window are listed; the rules are read
/// twice; a probe is put twice, then three files and the manifest.
const CATALOG_LISTS: u64 = 1;
const CATALOG_GETS: u64 = 2;
const CATALOG_PUTS: u64 = 6;

impl Builder {
    /// Builds and publishes the digest of `window`.
    ///
    /// A final digest that is published already is returned as it is unless `force` asks to build it again; a build
    /// that gives the same files and state publishes nothing. Figures go to `report` while the build runs.
    ///
    /// # Errors
    /// `NotFound` if the source has no object of that time: nothing is published then. `Conflict` if the store has other
    /// rules or somebody else published first; `Unavailable`, `Data` and so on as the
    /// source and the store say. Damaged objects are no error: they are set aside by name.
    pub async fn build(&self, window: &Window, force: bool, report: &Arc<Report>) -> Result<Built> {
        let rules = self.options.rules()?;
        self.catalog.adopt_rules(&rules).await?;
        let before = self.catalog.latest(window).await?;
        if let Some(manifest) = &before
            && manifest.state == State::Final
            && !force
        {
            return Ok(Built { manifest: manifest.clone(), is_new: false });
        }
        let draft = self.draft(window, rules, before.as_ref(), report).await;
        let (draft, _files) = draft.context(|| format!("digest window {window}"))?;
        if let Some(manifest) = before.filter(|manifest| is_same(manifest, &draft)) {
            return Ok(Built { manifest, is_new: false });
        }
        Ok(Built { manifest: self.catalog.publish(draft).await?, is_new: true })
    }

    /// The physical plan that [`Builder::build`] runs for the edges, as EXPLAIN shows it.
    pub async fn explain(&self, window: &Window) -> Result<String> {
        let report = Report::new();
        let listing = self.list(window, &report).await?;
        let plan =
            self.plan("edges", window, in_reach(&listing, window, &self.options), &report, self.options.fold).await?;
        Ok(displayable(plan.1.as_ref()).indent(false).to_string())
    }

    /// What building the digest of `window` would take, from the listing alone: no object is read.
    pub async fn estimate(&self, window: &Window) -> Result<Estimate> {
        let listing = self.list(window, &Report::new()).await?;
        let objects = in_reach(&listing, window, &self.options);
        Ok(Estimate {
            objects: objects.len() as u64,
            bytes: objects.iter().map(|object| object.size).sum(),
            list_requests: listing.requests + CATALOG_LISTS,
            get_requests: objects.len() as u64 + CATALOG_GETS,
            put_requests: CATALOG_PUTS,
        })
    }

    /// Lists the objects of the window, and those of the hour before it, which tell how often each flow log delivers.
    async fn list(&self, window: &Window, report: &Report) -> Result<Listing> {
        let mut times = file_times(window, self.options.lateness);
        times.start -= coverage::LOOKBACK;
        let selection = Selection { file_times: Some(times), ..Selection::default() };
        let listing = self.source.list(&selection, &self.listing).await?;
        report.listed(&listing);
        Ok(listing)
    }

    async fn draft(
        &self,
        window: &Window,
        rules: Rules,
        before: Option<&Manifest>,
        report: &Arc<Report>,
    ) -> Result<(Draft, Vec<Written>)> {
        let started = (Instant::now(), cost::cpu_seconds());
        let now = self.clock.now();
        let listing = self.list(window, report).await?;
        let objects = in_reach(&listing, window, &self.options);
        if objects.is_empty() {
            // Flow logs deliver even where nothing flows (NODATA): this is a wrong place or time, not a quiet hour.
            return Err(Error::not_found(format!("no flow-log object of {} is of this time", self.source.url))
                .with_hint("look at the source and the window; `flowdiff check` names the newest object"));
        }
        let (edges, totals, report) = self.edges(window, &objects, report).await?;
        let objects = report.as_read(&objects);
        let interfaces = self.interfaces(window, &objects, &report).await?;
        let outcomes = report.objects();
        let object_rows = coverage::objects(&objects, &outcomes)?;
        let figures = report.figures();
        let coverage = Coverage {
            objects_listed: objects.len() as u64,
            objects_read: figures.read,
            objects_set_aside: figures.set_aside,
            other_keys: figures.others,
            misfiled: figures.misfiled,
            records: figures.totals.in_window,
            nodata: figures.totals.nodata,
            skipdata: figures.totals.skipdata,
            lines_refused: figures.totals.refused_all(),
            refused_samples: sorted(figures.refused_samples),
            interfaces: interfaces.num_rows() as u64,
            silent_flow_logs: coverage::silent_flow_logs(&listing.objects, window, now),
        };
        let written = [
            (FileKind::Edges, edges),
            (FileKind::Interfaces, self.write_one(interfaces_schema(), interfaces).await?),
            (FileKind::Objects, self.write_one(objects_schema(), object_rows).await?),
        ];
        let files = written
            .iter()
            .map(|(kind, written)| DraftFile {
                kind: *kind,
                path: written.file.path().to_owned(),
                size: written.size,
                rows: written.rows,
                checksum: written.checksum.clone(),
            })
            .collect();
        let state = if is_open(window, &self.options, now) { State::Provisional } else { State::Final };
        let cost = Cost {
            list_requests: figures.list_requests,
            get_requests: figures.get_requests,
            bytes_read: figures.bytes_read,
            bytes_decompressed: figures.totals.bytes,
            wall_seconds: started.0.elapsed().as_secs_f64(),
            cpu_seconds: cost::cpu_seconds().zip(started.1).map(|(after, before)| after - before),
            peak_memory_bytes: cost::peak_memory_bytes(),
        };
        let previous = before.map(|manifest| manifest.version);
        let draft = Draft {
            window: *window,
            version: previous.unwrap_or(0) + 1,
            previous,
            state,
            published: now,
            rules,
            files,
            totals,
            coverage,
            cost,
        };
        Ok((draft, written.into_iter().map(|(_, written)| written).collect()))
    }

    /// Writes the edge file. Folds below the plan, and falls back to DataFusion's aggregation, which spills, where the
    /// edges do not fit the memory; the objects are then read again and counted again.
    async fn edges(
        &self,
        window: &Window,
        objects: &[Object],
        report: &Arc<Report>,
    ) -> Result<(Written, Totals, Arc<Report>)> {
        if self.options.fold {
            match self.write_edges(window, objects, report, true).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && is_memory(&error) => {
                    tracing::warn!("the edges of {window} do not fit the memory: aggregating with spilling instead");
                }
                written => return written.map(|(file, totals)| (file, totals, report.clone())),
            }
        }
        let again = report.restarted();
        let (file, totals) = self.write_edges(window, objects, &again, false).await?;
        Ok((file, totals, again))
    }

    async fn write_edges(
        &self,
        window: &Window,
        objects: &[Object],
        report: &Arc<Report>,
        fold: bool,
    ) -> Result<(Written, Totals)> {
        let (context, plan) = self.plan("edges", window, objects.to_vec(), report, fold).await?;
        let totals = Mutex::new(Totals::default());
        let stream = execute_stream(plan, context.task_ctx())?;
        let batches = stream.map(|batch| {
            let batch = conform(&batch?, &edges_schema())?;
            add(&mut totals.lock().unwrap_or_else(PoisonError::into_inner), &batch);
            Ok(batch)
        });
        let written = self.write(edges_schema(), batches.boxed()).await?;
        Ok((written, totals.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The rows of the interface file: from the fold's own pass, or by `interfaces.sql`.
    async fn interfaces(&self, window: &Window, objects: &[Object], report: &Arc<Report>) -> Result<RecordBatch> {
        let facts = report.take_interfaces();
        if !facts.is_empty() {
            return coverage::interfaces(&facts);
        }
        // A pass of its own: its figures would count every record a second time.
        let pass = Report::of_objects();
        let (context, plan) = self.plan("interfaces", window, objects.to_vec(), &pass, false).await?;
        let batches: Vec<RecordBatch> = execute_stream(plan, context.task_ctx())?.try_collect().await?;
        if let Some((object, _)) = objects.iter().zip(pass.as_read(objects)).find(|(first, second)| *first != second) {
            let message = format!("object {} was overwritten while the digest was built", object.location);
            return Err(Error::new(ErrorKind::Unavailable, message).with_hint("run it again"));
        }
        let batches = batches.iter().map(|batch| conform(batch, &interfaces_schema())).collect::<Result<Vec<_>>>()?;
        Ok(datafusion::arrow::compute::concat_batches(&interfaces_schema(), &batches)?)
    }

    /// Plans one of the queries that define a digest over `objects`.
    async fn plan(
        &self,
        query: &str,
        window: &Window,
        objects: Vec<Object>,
        report: &Arc<Report>,
        fold: bool,
    ) -> Result<(SessionContext, Arc<dyn ExecutionPlan>)> {
        let rewrites: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> =
            if fold { vec![Arc::new(FoldFlows)] } else { Vec::new() };
        let session = self.session.without_tables(rewrites)?;
        let rules = FoldRules {
            window: window.start().timestamp()..window.stop().timestamp(),
            port_rule: self.options.port_rule,
            addresses: self.options.addresses,
        };
        let table =
            FlowsTable::new(self.source.clone(), &self.scan, &self.listing, self.options.lateness, report.clone());
        let table = table.with_objects(objects).with_window(rules.window.clone());
        let table = if fold { table.with_fold(rules) } else { table };
        session.register_table("flows", Arc::new(table))?;
        let mut params = Params::from([
            ("start".to_owned(), format_time(window.start())),
            ("stop".to_owned(), format_time(window.stop())),
        ]);
        if query == "edges" {
            params.insert("port_rule".to_owned(), self.options.port_rule.name().to_owned());
            params.insert("addresses".to_owned(), self.options.addresses.name().to_owned());
        }
        let frame = session.plan_query(&queries::load(query, None)?, &params, self.clock.now()).await?;
        let plan = frame.create_physical_plan().await?;
        Ok((session.context().clone(), plan))
    }

    async fn write_one(&self, schema: SchemaRef, rows: RecordBatch) -> Result<Written> {
        self.write(schema, futures::stream::iter([Ok(rows)]).boxed()).await
    }

    async fn write(&self, schema: SchemaRef, batches: BoxStream<'_, Result<RecordBatch>>) -> Result<Written> {
        let spill = &self.session.options().spill_dir;
        let folder = spill.clone().unwrap_or_else(std::env::temp_dir);
        let threads = self.session.context().copied_config().target_partitions();
        write::write(schema, batches, self.options.row_group_rows.max(1), threads, &folder).await
    }
}

/// The objects of a listing that can hold records of the window.
fn in_reach(listing: &Listing, window: &Window, options: &Options) -> Vec<Object> {
    let times = file_times(window, options.lateness);
    listing.objects.iter().filter(|object| times.contains(&object.name.file_time)).cloned().collect()
}

/// Gives a batch the schema of a file: same names, types cast, nothing null that must not be.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch
                .column_by_name(field.name())
                .ok_or_else(|| Error::internal(format!("the query returns no column {}", field.name())))?;
            Ok(if column.data_type() == field.data_type() { column.clone() } else { cast(column, field.data_type())? })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn add(totals: &mut Totals, batch: &RecordBatch) {
    let sum = |name: &str| {
        let column = batch.column_by_name(name).map(|column| column.as_primitive::<Int64Type>().values());
        column.into_iter().flatten().fold(0i64, |sum, value| sum.saturating_add(*value))
    };
    totals.edges += batch.num_rows() as u64;
    totals.flows = totals.flows.saturating_add(sum("flows"));
    totals.packets = totals.packets.saturating_add(sum("packets"));
    totals.bytes = totals.bytes.saturating_add(sum("bytes"));
}

fn is_same(manifest: &Manifest, draft: &Draft) -> bool {
    manifest.state == draft.state
        && draft
            .files
            .iter()
            .all(|file| manifest.file(file.kind).is_some_and(|published| published.checksum == file.checksum))
}

fn is_memory(error: &Error) -> bool {
    error.hint().is_some_and(|hint| hint.contains("--memory"))
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// Whether a window is still open at `now`.
pub fn is_open(window: &Window, options: &Options, now: Timestamp) -> bool {
    now < window.stop() + options.lateness
}

//! The contents of a digest from raw objects.

use super::Builder;
use super::contents::{Contents, conform};
use super::coverage::{self, Cadences};
use super::write::Written;
use crate::catalog::{Cost, Coverage, FileKind, State, Totals};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::interfaces_schema;
use crate::meters;
use crate::process;
use crate::scan::{FlowsTable, FoldFlows, FoldRules, InterfaceFacts, Report};
use crate::session::{Params, queries};
use crate::source::{Checksum, Listing, Object, Selection};
use crate::window::{Window, format_time};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// What a listing says of one window.
#[derive(Default)]
pub(super) struct Scope {
    /// The objects that can hold records of it.
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) other_keys: u64,
    pub(super) misfiled: u64,
    pub(super) silent_flow_logs: Vec<String>,
}

impl Scope {
    pub(super) fn keys(&self) -> impl Iterator<Item = Checksum> {
        self.objects.iter().map(|object| Checksum::of(object.location.as_ref()))
    }

    /// Refuses a time of which the source has nothing: flow logs deliver even where nothing flows (NODATA), so it is
    /// the wrong place or time, and no quiet hour.
    pub(super) fn not_empty(self, builder: &Builder) -> Result<Scope> {
        match self.objects.is_empty() {
            false => Ok(self),
            true => Err(Error::not_found(format!("no flow-log object of {} is of this time", builder.source.url))
                .with_hint("look at the source and the window; `flowdiff check` names the newest object")),
        }
    }
}

impl Builder {
    /// Lists the objects of some file times.
    ///
    /// # Errors
    /// What the source says.
    pub async fn list_times(&self, times: Range<Timestamp>, report: &Report) -> Result<Listing> {
        let selection = Selection { file_times: Some(times), ..Selection::default() };
        let listing = self.source.list(&selection, &self.listing).await?;
        report.listed(&listing);
        Ok(listing)
    }

    /// What there is of one window now. The objects of the hour before it are listed, too: they tell how often each
    /// flow log delivers.
    pub(super) async fn scope(&self, window: &Window, report: &Report) -> Result<Scope> {
        let now = self.clock.now();
        let mut times = self.reach(window);
        let start = times.start;
        times.start -= coverage::LOOKBACK;
        let listing = self.list_times(times.clone(), report).await?;
        let mut cadences = Cadences::default();
        listing.objects.iter().for_each(|object| cadences.observe(&object.name));
        let silent_flow_logs = cadences.silent(times, window, now);
        let Listing { mut objects, others: other_keys, misfiled, .. } = listing;
        objects.retain(|object| start <= object.name.file_time);
        Ok(Scope { objects, other_keys, misfiled, silent_flow_logs })
    }

    /// Reads the objects of `scope`. Edges that do not fit the memory go to the spill folder on the way.
    pub(super) async fn read(
        &self,
        window: &Window,
        scope: Scope,
        report: &Arc<Report>,
        seen_at: Timestamp,
    ) -> Result<Contents> {
        let (started, cpu) = (Instant::now(), process::cpu_seconds());
        let (context, plan) = self.plan("edges", window, scope.objects.clone(), report, self.options.fold).await?;
        let edges = execute_stream(plan, context.task_ctx())?;
        let written = self.write_edges(edges).await?;
        let facts = report.take_interfaces();
        let interfaces = match facts.is_empty() {
            false => coverage::interfaces(&facts)?,
            true => self.query_interfaces(window, &report.as_read(&scope.objects)).await?,
        };
        let mut contents = self.contents(scope, report, written, interfaces, seen_at).await?;
        contents.cost.wall_seconds = started.elapsed().as_secs_f64();
        contents.cost.cpu_seconds = process::cpu_seconds().zip(cpu).map(|(after, before)| after - before);
        Ok(contents)
    }

    /// Folded edges and interfaces with what `report` says of the objects they came from.
    pub(super) async fn folded(
        &self,
        scope: Scope,
        report: &Report,
        folded: (Vec<InterfaceFacts>, SendableRecordBatchStream),
        seen_at: Timestamp,
    ) -> Result<Contents> {
        let (facts, edges) = folded;
        let written = self.write_edges(edges).await?;
        self.contents(scope, report, written, coverage::interfaces(&facts)?, seen_at).await
    }

    async fn contents(
        &self,
        scope: Scope,
        report: &Report,
        (edges, totals): (Written, Totals),
        interfaces: RecordBatch,
        seen_at: Timestamp,
    ) -> Result<Contents> {
        let objects = coverage::objects(report.as_read(&scope.objects), report.take_outcomes());
        let figures = report.figures();
        let mut refused_samples = figures.refused_samples;
        refused_samples.sort();
        let coverage = Coverage {
            objects_listed: scope.objects.len() as u64,
            objects_read: figures.read,
            objects_set_aside: figures.set_aside,
            other_keys: scope.other_keys,
            misfiled: scope.misfiled,
            records: figures.totals.in_window,
            nodata: figures.totals.nodata,
            skipdata: figures.totals.skipdata,
            lines_refused: figures.totals.refused_all(),
            refused_samples,
            interfaces: interfaces.num_rows() as u64,
            last_seen: coverage::last_seen(&interfaces),
            silent_flow_logs: scope.silent_flow_logs,
        };
        let cost = Cost {
            list_requests: figures.list_requests,
            get_requests: figures.get_requests,
            bytes_read: figures.bytes_read,
            bytes_decompressed: figures.totals.bytes,
            wall_seconds: 0.0,
            cpu_seconds: None,
            peak_memory_bytes: process::peak_memory_bytes(),
        };
        meters::window_read(&meters::WindowRead {
            objects_read: coverage.objects_read,
            objects_set_aside: coverage.objects_set_aside,
            records: coverage.records,
            bytes: cost.bytes_read,
            lines_refused: coverage.lines_refused,
        });
        let interfaces = self.write_batches(FileKind::Interfaces, std::iter::once(Ok(interfaces))).await?;
        let objects = self.write_batches(FileKind::Objects, objects).await?;
        let (state, made_from) = (State::Final, Vec::new());
        Ok(Contents { edges, interfaces, objects, totals, coverage, cost, state, made_from, seen_at })
    }

    /// The rows of the interface file by `interfaces.sql`: a pass of its own over the objects.
    async fn query_interfaces(&self, window: &Window, objects: &[Arc<Object>]) -> Result<RecordBatch> {
        // Its figures would count every record a second time.
        let pass = Report::of_objects();
        let (context, plan) = self.plan("interfaces", window, objects.to_vec(), &pass, false).await?;
        let batches: Vec<RecordBatch> = execute_stream(plan, context.task_ctx())?.try_collect().await?;
        if let Some((object, _)) = objects.iter().zip(pass.as_read(objects)).find(|(first, second)| *first != second) {
            let message = format!("object {} was overwritten while the digest was built", object.location);
            return Err(Error::new(ErrorKind::Unavailable, message).with_hint("run it again"));
        }
        let batches = batches.iter().map(|batch| conform(batch, &interfaces_schema())).collect::<Result<Vec<_>>>()?;
        Ok(concat_batches(&interfaces_schema(), &batches)?)
    }

    /// By which rules flows of `window` become edges.
    pub(super) fn fold_rules(&self, window: &Window) -> FoldRules {
        FoldRules { window: window.seconds(), port_rule: self.options.port_rule, addresses: self.options.addresses }
    }

    /// Plans one of the queries that define a digest over `objects`.
    pub(super) async fn plan(
        &self,
        query: &str,
        window: &Window,
        objects: Vec<Arc<Object>>,
        report: &Arc<Report>,
        fold: bool,
    ) -> Result<(SessionContext, Arc<dyn ExecutionPlan>)> {
        let rewrites: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> =
            if fold { vec![Arc::new(FoldFlows)] } else { Vec::new() };
        let session = self.session.without_tables(rewrites)?;
        let rules = self.fold_rules(window);
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
}

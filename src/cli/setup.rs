//! Settings to the things that commands use: source, catalog, session, builder, output.

use super::args::{Args, Command, When};
use super::out::{Output, print};
use super::progress::Meter;
use super::say::{Log, say};
use crate::aws::Usage;
use crate::catalog::{self, Catalog, FileKind, Manifest};
use crate::clock::Clock;
use crate::config::{Config, Flag, Loaded};
use crate::diff::{Grain, edges_by, printable};
use crate::digest::Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::output::{Format, OutputOptions};
use crate::scan::{FlowsTable, Report};
use crate::session::{Location, Session, open_location};
use crate::source::Source;
use crate::telemetry::Telemetry;
use crate::window::Window;
use datafusion::execution::SendableRecordBatchStream;
use indicatif::HumanBytes;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The resolved settings of one run.
pub(super) struct Setup {
    pub(super) loaded: Loaded,
    pub(super) clock: Clock,
    pub(super) report: Arc<Report>,
    /// What was asked of S3.
    pub(super) usage: Arc<Usage>,
    format: Option<Format>,
    output: Option<PathBuf>,
    progress: When,
    /// The user's folder for what flowdiff remembers between runs.
    pub(super) state_dir: Option<PathBuf>,
    /// Sends the last traces when the run ends.
    telemetry: Arc<Telemetry>,
    /// The environment, for the secrets that settings name.
    pub(super) environment: BTreeMap<String, String>,
}

impl Setup {
    pub(super) fn new(args: &Args, environment: &BTreeMap<String, String>) -> Result<Setup> {
        let global = &args.global;
        let switch = |on: bool| on.then(|| "true".to_owned());
        let (listen, insecure) = match &args.command {
            Command::Serve(serve) => (serve.listen.map(|address| address.to_string()), switch(serve.insecure)),
            _ => (None, None),
        };
        let width = if let Command::Follow(follow) = &args.command { follow.width.clone() } else { None };
        let flags: Vec<Flag> = [
            ("source.url", "--source", global.source.clone()),
            ("store.url", "--store", global.store.clone()),
            ("log.level", "--log-level", global.log_level.clone()),
            ("log.format", "--log-format", global.log_format.clone()),
            ("session.memory_bytes", "--memory", global.memory.clone()),
            ("session.threads", "--threads", global.threads.map(|threads| threads.to_string())),
            ("digest.port_rule", "--port-rule", global.port_rule.clone()),
            ("digest.addresses", "--addresses", global.addresses.clone()),
            ("store.single_writer", "--single-writer", switch(global.single_writer)),
            ("serve.listen", "--listen", listen),
            ("serve.insecure", "--insecure", insecure),
            ("follow.width", "--width", width),
            ("aws.profile", "--profile", global.aws.profile.clone()),
            ("aws.region", "--region", global.aws.region.clone()),
            ("aws.endpoint_url", "--endpoint-url", global.aws.endpoint_url.clone()),
            ("aws.no_sign_request", "--no-sign-request", switch(global.aws.no_sign_request)),
            ("aws.requester_pays", "--requester-pays", switch(global.aws.requester_pays)),
        ]
        .into_iter()
        .filter_map(|(key, name, text)| Some(Flag { key, name, text: text? }))
        .collect();
        let file = crate::config::find_file(global.config.as_deref(), environment);
        let loaded = crate::config::load(file.as_deref(), environment, &flags)?;
        let colors = match global.color {
            When::Auto => std::io::stderr().is_terminal() && !environment.contains_key("NO_COLOR"),
            When::Always => true,
            When::Never => false,
        };
        console::set_colors_enabled_stderr(colors);
        let config = &loaded.config;
        let telemetry = Arc::new(crate::telemetry::init(&config.log, &config.telemetry, || Log, colors)?);
        loaded.notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(Setup {
            loaded,
            clock: Clock::system(),
            report: Report::new(),
            usage: Arc::default(),
            format: global.format,
            output: global.output.clone(),
            progress: global.progress,
            state_dir: state_dir(environment),
            environment: environment.clone(),
            telemetry,
        })
    }

    /// The same run on other places.
    pub(super) fn with_urls(&self, source: &str, store: &str) -> Setup {
        let mut loaded = self.loaded.clone();
        loaded.config.source.url = Some(source.to_owned());
        loaded.config.store.url = store.to_owned();
        let (usage, output, state_dir) = (self.usage.clone(), self.output.clone(), self.state_dir.clone());
        let (telemetry, environment) = (self.telemetry.clone(), self.environment.clone());
        Setup { loaded, report: Report::new(), usage, output, state_dir, telemetry, environment, ..*self }
    }

    pub(super) fn config(&self) -> &Config {
        &self.loaded.config
    }

    pub(super) fn note(&self, text: &str) {
        say(text);
    }

    pub(super) fn window(&self, text: &str) -> Result<Window> {
        let window = super::parse_window(text, self)?;
        self.note(&format!("window {window}"));
        Ok(window)
    }

    pub(super) fn source_location(&self) -> Result<Location> {
        let url = self.config().source.url.as_deref().ok_or_else(|| {
            Error::invalid("no source: flowdiff does not know where the flow logs are")
                .with_hint("give --source with a folder or s3://bucket/prefix, or set source.url")
        })?;
        open_location(url, false, &self.config().source_access(self.clock, &self.usage))
    }

    pub(super) fn store_location(&self, create: bool) -> Result<Location> {
        let opened =
            open_location(&self.config().store.url, create, &self.config().store_access(self.clock, &self.usage));
        opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_hint(
                "--store or store.url names where the digests are; flowdiff digest, backfill and follow make the folder",
            ),
            _ => error,
        })
    }

    pub(super) fn source(&self) -> Result<Source> {
        self.source_location().map(Source::from)
    }

    pub(super) fn catalog(&self, create: bool) -> Result<Catalog> {
        let catalog = Catalog::from(self.store_location(create)?);
        Ok(catalog.with_manifest_cache(self.config().store.manifest_cache_bytes_max))
    }

    pub(super) fn session(&self) -> Result<Session> {
        Session::new(&self.config().session)
    }

    /// A session with `flows` where there is a source, and the tables of the store where there is one.
    pub(super) async fn session_with_tables(&self) -> Result<Session> {
        let session = self.session()?;
        self.register_flows(&session, &self.report)?;
        match self.catalog(false) {
            Ok(catalog) => catalog::register(session.context(), &catalog)?,
            Err(error) if self.config().source.url.is_some() => {
                tracing::info!("no table of digests: {error}");
            }
            Err(error) => return Err(error),
        }
        Ok(session)
    }

    /// Likewise, the tables of the store showing one window alone, built if it is not published.
    pub(super) async fn session_with_window(&self, window: Option<&str>) -> Result<Session> {
        let Some(window) = window else { return self.session_with_tables().await };
        let manifest = self.digest(&self.window(window)?, false).await?;
        let session = self.session_with_tables().await?;
        let catalog = self.catalog(false)?;
        for kind in FileKind::ALL {
            let rows = catalog::read_file(session.context(), &catalog, &manifest, kind)?;
            session.register_table(kind.name(), rows.into_view())?;
        }
        Ok(session)
    }

    /// Makes the source known to SQL as `flows`, if there is one; its scans count in `report`.
    pub(super) fn register_flows(&self, session: &Session, report: &Arc<Report>) -> Result<()> {
        let config = self.config();
        if config.source.url.is_none() {
            return Ok(());
        }
        let lateness = config.digest.lateness;
        let flows = FlowsTable::new(self.source()?, &config.scan, &config.source.listing(), lateness, report.clone());
        session.register_table("flows", Arc::new(flows))
    }

    pub(super) fn builder(&self) -> Result<Builder> {
        self.builder_from(self.source()?, true)
    }

    /// A builder that merges what is published and has no source. A store that is not there is an error: it holds nothing
    /// to merge.
    pub(super) fn merger(&self) -> Result<Builder> {
        let nothing = Source { store: Arc::new(InMemory::new()), root: StorePath::default(), url: "nothing".into() };
        self.builder_from(nothing, false)
    }

    fn builder_from(&self, source: Source, create: bool) -> Result<Builder> {
        let config = self.config();
        Ok(Builder {
            source,
            catalog: self.catalog(create)?,
            session: self.session()?,
            scan: config.scan.clone(),
            listing: config.source.listing(),
            options: config.digest.clone(),
            clock: self.clock,
        })
    }

    /// Refuses a store that overwrites what is there, unless nobody else writes to it.
    pub(super) async fn check_store(&self, catalog: &Catalog) -> Result<()> {
        if self.config().store.single_writer || catalog.probe().await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, format!("store {} overwrites what put-if-absent must not", catalog.url))
            .with_hint("use a store with conditional writes, or say --single-writer if nobody else writes to this one"))
    }

    /// Shows the progress of `report` as `--progress` says.
    pub(super) fn meter(&self, report: &Arc<Report>) -> Meter {
        Meter::start(report, self.progress)
    }

    /// Likewise whatever `describe` says.
    pub(super) fn meter_of(&self, describe: impl Fn(Duration) -> String + Send + 'static) -> Meter {
        Meter::show(self.progress, describe)
    }

    /// Whether rows appear on a terminal.
    pub(super) fn shows_rows(&self) -> bool {
        self.output.is_none() && std::io::stdout().is_terminal()
    }

    /// The edges of a published digest at a grain.
    pub(super) async fn edges(&self, manifest: &Manifest, by: Grain) -> Result<SendableRecordBatchStream> {
        edges_by(&self.session()?, &self.catalog(false)?, manifest, by, self.clock.now()).await
    }

    /// Says what a scan passed over and what it cost.
    pub(super) fn tell_report(&self, report: &Report) {
        let figures = report.figures();
        if figures.listed + figures.pruned + figures.others == 0 {
            return;
        }
        self.note(&format!(
            "{} objects listed in {} requests, {} pruned, {} read ({})",
            figures.listed,
            figures.list_requests,
            figures.pruned,
            figures.read,
            HumanBytes(figures.bytes_read),
        ));
        let refused = figures.totals.refused_all();
        for (count, what) in [
            (figures.others, "keys are no flow logs"),
            (figures.set_aside, "objects set aside"),
            (refused, "lines refused"),
        ] {
            if count > 0 {
                self.note(&format!("  {count} {what}"));
            }
        }
        for sample in figures.set_aside_samples.iter().chain(&figures.refused_samples) {
            self.note(&format!("  {}", printable(sample)));
        }
    }

    /// Says what was asked of S3, if anything, and what it costs.
    pub(super) fn tell_usage(&self) {
        if !self.usage.is_empty() {
            let dollars = self.usage.dollars(&self.config().prices);
            self.note(&format!("S3: {}, about ${dollars:.6}", self.usage));
        }
    }

    /// The format that was asked for, by name or by that of the output; else a table on a terminal, `piped` elsewhere.
    pub(super) fn format(&self, piped: Format) -> Format {
        let shown = if self.shows_rows() && piped == Format::Ndjson { Format::Table } else { piped };
        self.format.or_else(|| self.output.as_deref().and_then(Format::of_file)).unwrap_or(shown)
    }

    /// A table keeps to the width of the terminal that it is shown on.
    pub(super) fn output_options(&self) -> OutputOptions {
        let terminal = self.output.is_none().then(console::Term::stdout).filter(console::Term::is_term);
        let width = terminal.and_then(|terminal| terminal.size_checked()).map(|(_, columns)| columns);
        OutputOptions { width, ..OutputOptions::default() }
    }

    pub(super) fn writer(&self) -> Result<Output> {
        Output::open(self.output.as_deref())
    }

    pub(super) fn print(&self, text: &str) -> Result<()> {
        print(self.output.as_deref(), text.as_bytes())
    }
}

fn state_dir(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    folder.map(|folder| folder.join("flowdiff"))
}

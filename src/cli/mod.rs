//! The command line: parse, call one function, format. Data on stdout, everything else on stderr.

mod args;
mod backfill;
mod build;
mod check;
mod demo;
mod estimate;
mod explain;
mod failure;
mod follow;
mod iam_policy;
mod out;
mod progress;
mod prompt;
mod retain;
mod runtime;
mod say;
mod scripts;
mod serve;
mod setup;
mod signals;
mod token;

pub use args::Args;
pub use failure::{is_broken_pipe, print_error};

use crate::diff::Grain;
use crate::error::{Context, Error, Result};
use crate::output::{End, Format, write_rows};
use crate::pipeline::Policy;
use crate::process;
use crate::scan::Report;
use crate::session::{Params, Query, queries};
use crate::window::{Window, format_time, parse_duration, parse_time};
use args::{Command, ConfigCommand, DiffArgs, Global, SqlArgs, TokenCommand};
use clap::CommandFactory;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use setup::Setup;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

/// What queries call the ends of the window that they are asked about: that of digests, or that of flows.
const WINDOW_ENDS: [(&str, &str); 2] = [("window_start", "window_stop"), ("start", "stop")];

/// Runs one command to its end or to Ctrl-C; returns the exit code.
///
/// # Errors
/// What the command met; `main` prints it and exits with the code of its kind.
pub fn run(args: Args, environment: &BTreeMap<String, String>) -> Result<u8> {
    // These need no setting: none, be it wrong, stands in their way.
    match &args.command {
        Command::Completions { shell } => return completions(*shell, &args.global).map(|()| 0),
        Command::Man { dir } => return manual(dir.as_deref(), &args.global).map(|()| 0),
        Command::Token { command: TokenCommand::New { roles, name, append } } => {
            return token::new(name, roles, append.as_deref(), args.global.output.as_deref()).map(|()| 0);
        }
        _ => {}
    }
    // These look after Ctrl-C themselves.
    let interactive = (args.is_prompt() && std::io::stdin().is_terminal())
        || matches!(
            args.command,
            Command::Backfill(_) | Command::Compact { .. } | Command::Follow(_) | Command::Serve(_)
        );
    let setup = Setup::new(&args, environment)?;
    if matches!(args.command, Command::Follow(_) | Command::Serve(_)) {
        process::use_small_pages();
    }
    runtime::run_to_end(setup.config().session.threads, interactive, async {
        let ended = dispatch(&setup, args.command).await;
        setup.tell_usage();
        ended
    })
}

fn completions(shell: clap_complete::Shell, global: &Global) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "flowdiff", &mut script);
    out::print(global.output.as_deref(), &script)
}

/// Prints the page of the program, or writes a page for each command into `dir`.
fn manual(dir: Option<&Path>, global: &Global) -> Result<()> {
    match dir {
        Some(dir) => {
            let doing = || format!("write manual pages to {}", dir.display());
            std::fs::create_dir_all(dir).context(doing)?;
            clap_mangen::generate_to(Args::command(), dir).context(doing)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut page)?;
            out::print(global.output.as_deref(), &page)
        }
    }
}

async fn dispatch(setup: &Setup, command: Command) -> Result<u8> {
    match command {
        Command::Config { command: ConfigCommand::Show { origin } } => {
            setup.print(&crate::config::show(&setup.loaded, origin)?)?;
        }
        Command::Demo { dir } => demo::run(setup, &dir).await?,
        Command::Sql(sql) => return sql_command(setup, sql).await,
        Command::Query { list: true, .. } => list_queries(setup)?,
        Command::Query { name, param, window, .. } => {
            let name =
                name.ok_or_else(|| Error::invalid("which query?").with_hint("`flowdiff query --list` names them"))?;
            let query = queries::load(&name, setup.config().queries.dir.as_deref())?;
            if let Some(note) = query.note() {
                setup.note(&note);
            }
            let mut params = params(&param)?;
            if let Some(window) = &window {
                let window = parse_window(window, setup)?;
                for (start, stop) in WINDOW_ENDS {
                    for (name, end) in [(start, window.start()), (stop, window.stop())] {
                        if query.params.iter().any(|param| param.name == name) {
                            params.entry(name.to_owned()).or_insert_with(|| format_time(end));
                        }
                    }
                }
            }
            let session = setup.session_with_window(window.as_deref()).await?;
            let planned = session.plan_query(&query, &params, setup.clock.now()).await;
            setup.write_frame(planned.map_err(|error| or_window(error, &query, &params))?).await?;
        }
        Command::Digest { window, force, explain, dry_run } => {
            let window = setup.window(&window)?;
            let builder = setup.builder()?;
            if dry_run {
                setup.print(&estimate::estimate(setup, &builder, &window).await?)?;
            } else if explain {
                setup.print(&builder.explain(&window).await?)?;
            } else {
                setup.build(&builder, &window, force).await?;
            }
        }
        Command::Backfill(backfill) => return backfill::run(setup, backfill).await,
        Command::Follow(follow) => return follow::run(setup, follow).await,
        Command::Compact { from, to, width } => return backfill::compact(setup, &from, &to, &width).await,
        Command::Retain { hours, days, rolled_up, superseded, apply } => {
            let kept = |text: Option<String>| text.as_deref().map(parse_duration).transpose();
            let policy = Policy { hours: kept(hours)?, days: kept(days)?, rolled_up };
            let superseded = kept(superseded)?.unwrap_or(setup.config().follow.keep_superseded);
            retain::run(setup, policy, superseded, apply).await?;
        }
        Command::Windows { from, to } => {
            let now = setup.clock.now();
            let when = if from.is_some() || to.is_some() { " in that time" } else { "" };
            let mut params = Params::new();
            params.insert(
                "from".to_owned(),
                from.map_or(Ok("1970-01-01".to_owned()), |t| parse_time(&t, now).map(format_time))?,
            );
            params.insert(
                "to".to_owned(),
                to.map_or(Ok("2200-01-01".to_owned()), |t| parse_time(&t, now).map(format_time))?,
            );
            let session = setup.session_with_tables().await?;
            let frame = session.plan_query(&queries::load("windows", None)?, &params, now).await?;
            if setup.write_frame(frame).await? == 0 {
                setup.note(&format!("nothing is published in {}{when}", setup.config().store.url));
            }
        }
        Command::Edges { window, no_build } => {
            let manifest = setup.digest(&setup.window(&window)?, no_build).await?;
            setup.write(setup.edges(&manifest, Grain::Edge).await?, Format::Ndjson).await?;
        }
        Command::Graph { window, by, no_build } => {
            let manifest = setup.digest(&setup.window(&window)?, no_build).await?;
            setup.write(setup.edges(&manifest, by).await?, Format::Dot).await?;
        }
        Command::Diff(diff) => return diff_command(setup, diff).await,
        Command::Explain(explain) => explain::run(setup, explain).await?,
        Command::Serve(args) => serve::run(setup, args.follow).await?,
        Command::Check { send_test } => return check::run(setup, send_test).await,
        Command::IamPolicy => setup.print(&iam_policy::policy(setup)?)?,
        Command::DuckdbInit => setup.print(&scripts::duckdb(setup)?)?,
        Command::AthenaDdl { since } => setup.print(&scripts::athena(setup, since.as_deref())?)?,
        // Answered before there were settings.
        Command::Completions { .. } | Command::Man { .. } | Command::Token { .. } => {}
    }
    Ok(0)
}

async fn diff_command(setup: &Setup, args: DiffArgs) -> Result<u8> {
    if args.after == "previous" {
        return Err(Error::invalid("previous is no later window").with_hint("write flowdiff diff previous AFTER"));
    }
    let after = parse_window(&args.after, setup)?;
    let before = if args.before == "previous" { after.previous() } else { parse_window(&args.before, setup)? };
    setup.note(&format!("windows {before} and {after}"));
    let mut options = setup.config().diff.clone();
    options.by = args.by.unwrap_or(options.by);
    options.ratio = args.ratio.unwrap_or(options.ratio);
    options.min_bytes = args.min_bytes.unwrap_or(options.min_bytes);
    let (before, after) = (setup.digest(&before, args.no_build).await?, setup.digest(&after, args.no_build).await?);
    let (session, catalog) = (setup.session()?, setup.catalog(false)?);
    let rows = crate::diff::diff(&session, &catalog, &before, &after, &options, setup.clock.now()).await?;
    let differing = setup.write(rows, Format::Ndjson).await?;
    if differing == 0 {
        setup.note("no difference");
    }
    Ok(u8::from(args.exit_code && differing > 0))
}

async fn sql_command(setup: &Setup, args: SqlArgs) -> Result<u8> {
    let text = match (args.query, args.file) {
        (Some(text), None) => text,
        (None, Some(file)) => std::fs::read_to_string(&file)
            .map_err(|error| Error::from(error).context(format!("read query file {}", file.display())))?,
        (None, None) => return prompt::run(setup).await.map(|()| 0),
        (Some(_), Some(_)) => return Err(Error::invalid("a query and --file: give one of them")),
    };
    let session = setup.session_with_window(args.window.as_deref()).await?;
    let frame = session.plan(&text, &params(&args.param)?, setup.clock.now()).await?;
    setup.write_frame(frame).await?;
    Ok(0)
}

fn list_queries(setup: &Setup) -> Result<()> {
    let mut text = String::new();
    let queries = queries::list(setup.config().queries.dir.as_deref())?;
    for query in queries.into_iter().filter(Query::is_question) {
        text += &format!("{:<20} {}\n", query.name, query.summary);
        for param in &query.params {
            text += &format!("{:<20}   --param {param}\n", "");
        }
    }
    setup.print(&text)
}

/// An error of a query that wants to know its window: it is best given as one.
fn or_window(error: Error, query: &Query, params: &Params) -> Error {
    let lacks = |name: &str| query.params.iter().any(|param| param.name == name) && !params.contains_key(name);
    match (WINDOW_ENDS.iter().find(|(start, stop)| lacks(start) && lacks(stop)), error.hint()) {
        (Some((start, stop)), Some(hint)) => {
            let hint = format!("{hint}; --window WINDOW gives {start} and {stop}");
            error.with_hint(hint)
        }
        _ => error,
    }
}

/// Splits `name=value`.
fn params(texts: &[String]) -> Result<Params> {
    texts
        .iter()
        .map(|text| {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Error::invalid(format!("--param {text:?} has no =")).with_hint("write --param limit=20")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

impl Setup {
    /// Runs a query: writes its rows in the format that was asked for, with progress, and says what was read.
    async fn write_frame(&self, frame: DataFrame) -> Result<u64> {
        self.write_frame_as(frame, &self.report, self.format(Format::Ndjson)).await
    }

    /// Likewise in `format`; the scans of the query count in `report`.
    async fn write_frame_as(&self, frame: DataFrame, report: &Arc<Report>, format: Format) -> Result<u64> {
        let meter = self.meter(report);
        let rows = meter.over(frame.execute_stream().await?, self.shows_rows());
        let count = self.write_as(rows, format).await?;
        self.tell_report(report);
        Ok(count)
    }

    /// Writes rows in the format that was asked for: else a table on a terminal, `piped` elsewhere.
    async fn write(&self, rows: SendableRecordBatchStream, piped: Format) -> Result<u64> {
        self.write_as(rows, self.format(piped)).await
    }

    async fn write_as(&self, rows: SendableRecordBatchStream, format: Format) -> Result<u64> {
        if matches!(format, Format::Parquet | Format::Arrow) && self.shows_rows() {
            let message = format!("{} is no text for a terminal", format.name());
            return Err(Error::invalid(message).with_hint("write it to a file with --output, or to a pipe"));
        }
        let mut out = self.writer()?;
        let written = write_rows(rows, format, &mut out, &self.output_options()).await?;
        match written.end {
            End::ReaderGone => return Ok(written.rows),
            End::Cut if format == Format::Table => {
                self.note(&format!("only the first {} rows; --format csv or ndjson gives all", written.rows));
            }
            End::Cut => self.note(&format!("only the first {} edges; --format dot gives all", written.rows)),
            End::Complete => {}
        }
        out.commit()?;
        Ok(written.rows)
    }
}

/// Windows as the commands take them.
fn parse_window(text: &str, setup: &Setup) -> Result<Window> {
    Window::parse(text, setup.clock.now())
}

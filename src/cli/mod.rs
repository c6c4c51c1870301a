//! The command line: parse, call one function, format. Data on stdout, everything else on stderr.

mod args;
mod check;
mod demo;
mod estimate;
mod explain;
mod iam_policy;
mod output;
mod prompt;
mod setup;

pub use args::Args;

use crate::error::{Error, ErrorKind, Result};
use crate::session::{Params, queries};
use crate::window::{Window, format_time, parse_time};
use args::{Command, ConfigCommand, DiffArgs, SqlArgs};
use clap::CommandFactory;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use output::{End, Format, write_rows};
use setup::Setup;
use std::collections::BTreeMap;
use std::io::Write;

/// Runs one command; returns the exit code.
///
/// # Errors
/// What the command met; `main` prints it and exits with the code of its kind.
pub async fn run(args: Args, environment: BTreeMap<String, String>) -> Result<u8> {
    match &args.command {
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "flowdiff", &mut std::io::stdout());
            return Ok(0);
        }
        Command::Man => {
            clap_mangen::Man::new(Args::command()).render(&mut std::io::stdout())?;
            return Ok(0);
        }
        _ => {}
    }
    let setup = Setup::new(&args.global, &environment)?;
    let ended = run_command(&setup, args.command).await;
    setup.tell_usage();
    ended
}

async fn run_command(setup: &Setup, command: Command) -> Result<u8> {
    match command {
        Command::Config { command: ConfigCommand::Show { origin } } => {
            setup.print(&crate::config::show(&setup.loaded, origin)?)?;
        }
        Command::Demo { dir } => demo::run(setup, &dir).await?,
        Command::Sql(sql) => return sql_command(setup, sql).await,
        Command::Query { list: true, .. } => list_queries(setup)?,
        Command::Query { name, param, .. } => {
            let name =
                name.ok_or_else(|| Error::invalid("which query?").with_hint("`flowdiff query --list` names them"))?;
            let query = queries::load(&name, setup.config().queries.dir.as_deref())?;
            if let Some(note) = query.note() {
                setup.note(&note);
            }
            let session = setup.session_with_tables().await?;
            let frame = session.plan_query(&query, &params(&param)?, setup.clock.now()).await?;
            setup.write_frame(frame).await?;
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
        Command::Windows { from, to } => {
            let now = setup.clock.now();
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
            setup.write_frame(frame).await?;
        }
        Command::Edges { window, no_build } => {
            let manifest = setup.digest(&setup.window(&window)?, no_build).await?;
            setup.write(setup.edges(&manifest).await?, Format::Ndjson).await?;
        }
        Command::Graph { window, no_build } => {
            let manifest = setup.digest(&setup.window(&window)?, no_build).await?;
            setup.write(setup.edges(&manifest).await?, Format::Dot).await?;
        }
        Command::Diff(diff) => return diff_command(setup, diff).await,
        Command::Explain(explain) => explain::run(setup, explain).await?,
        Command::Check => return check::run(setup).await,
        Command::IamPolicy => setup.print(&iam_policy::policy(setup)?)?,
        Command::Completions { .. } | Command::Man => {}
    }
    Ok(0)
}

async fn diff_command(setup: &Setup, args: DiffArgs) -> Result<u8> {
    let after = setup.window(&args.after)?;
    let before = if args.before == "previous" { after.previous() } else { setup.window(&args.before)? };
    let mut options = setup.config().diff.clone();
    options.by = args.by.unwrap_or(options.by);
    options.ratio = args.ratio.unwrap_or(options.ratio);
    options.min_bytes = args.min_bytes.unwrap_or(options.min_bytes);
    let (before, after) = (setup.digest(&before, args.no_build).await?, setup.digest(&after, args.no_build).await?);
    let (session, catalog) = (setup.session()?, setup.catalog(false)?);
    let rows = crate::diff::diff(&session, &catalog, &before, &after, &options, setup.clock.now()).await?;
    let differing = setup.write(rows, Format::Ndjson).await?;
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
    let session = setup.session_with_tables().await?;
    let frame = session.plan(&text, &params(&args.param)?, setup.clock.now()).await?;
    setup.write_frame(frame).await?;
    Ok(0)
}

fn list_queries(setup: &Setup) -> Result<()> {
    let mut text = String::new();
    for query in queries::list(setup.config().queries.dir.as_deref())? {
        text += &format!("{:<20} {}\n", query.name, query.summary);
        for param in &query.params {
            text += &format!("{:<20}   --param {param}\n", "");
        }
    }
    setup.print(&text)
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
    fn print(&self, text: &str) -> Result<()> {
        Ok(self.writer()?.write_all(text.as_bytes())?)
    }

    async fn write_frame(&self, frame: DataFrame) -> Result<()> {
        self.write(frame.execute_stream().await?, Format::Ndjson).await?;
        self.tell_report();
        Ok(())
    }

    /// Writes rows in the format that was asked for: else a table on a terminal, `piped` elsewhere.
    async fn write(&self, rows: SendableRecordBatchStream, piped: Format) -> Result<u64> {
        let format = self.format(piped);
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

/// Prints an error, its causes and its hint to stderr.
pub fn print_error(error: &Error) {
    eprintln!("error: {error}");
    let mut cause = std::error::Error::source(error);
    let mut last = error.to_string();
    while let Some(error) = cause {
        let text = error.to_string();
        // A wrapper often repeats the words of what it wraps.
        if !last.contains(&text) {
            eprintln!("caused by: {text}");
        }
        last = text;
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    if error.kind() == ErrorKind::Internal {
        eprintln!("hint: this is a defect of flowdiff; please report it with the command that met it");
    }
}

/// Whether an error only says that nobody reads the output any more, as behind `head`.
pub fn is_broken_pipe(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        next = error.source();
    }
    error.to_string().contains("Broken pipe")
}

/// Windows as the commands take them.
fn parse_window(text: &str, setup: &Setup) -> Result<Window> {
    Window::parse(text, setup.clock.now())
}

//! The SQL prompt: history, statements over several lines, completion; Ctrl-C stops the query and not the prompt.

mod statement;
mod words;

use super::setup::Setup;
use crate::error::{Context, Error, Result};
use crate::output::Format;
use crate::scan::Report;
use crate::session::{Params, Session, function_names};
use clap::ValueEnum;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};
use statement::split;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;
use words::Words;

/// Statements that the history keeps.
const HISTORY_MAX: usize = 1000;

/// Commands of the prompt: name, what it takes, what it does.
const COMMANDS: [(&str, &str, &str); 6] = [
    ("\\d", "[TABLE]", "tables, or the columns of one"),
    ("\\f", "", "functions"),
    ("\\format", "[FORMAT]", "how rows are written from now on; without a format, as at the start"),
    ("\\timing", "[on|off]", "whether the time of each statement is told; without a word, the other way"),
    ("\\?", "", "this help"),
    ("\\q", "", "leave, as Ctrl-D does"),
];

/// Reads statements until the end of the input; what is no terminal is read as one script.
pub(super) async fn run(setup: &Setup) -> Result<()> {
    let session = setup.session_with_tables().await?;
    let words = Words::of(&session).await;
    let mut prompt = Prompt { setup, session, words, format: None, is_timing: false };
    if std::io::stdin().is_terminal() { prompt.converse().await } else { prompt.run_script().await }
}

struct Prompt<'a> {
    setup: &'a Setup,
    session: Session,
    words: Words,
    format: Option<Format>,
    is_timing: bool,
}

/// Whether the prompt goes on after a line.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line,
    Leave,
}

impl Prompt<'_> {
    /// Runs what stdin holds, until the first error.
    async fn run_script(&mut self) -> Result<()> {
        let mut script = String::new();
        std::io::stdin().read_to_string(&mut script).context(|| "read statements from stdin")?;
        let statements = split(&script);
        let last = Some(statements.begun).filter(|begun| !begun.is_empty());
        for statement in statements.whole.into_iter().chain(last) {
            self.execute(&statement).await?;
        }
        Ok(())
    }

    /// Talks to a person. Errors are told and end nothing.
    async fn converse(&mut self) -> Result<()> {
        let config = Config::builder().max_history_size(HISTORY_MAX).map_err(editor_error)?;
        let config = config.completion_type(CompletionType::List).auto_add_history(false).build();
        let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config).map_err(editor_error)?;
        editor.set_helper(Some(self.words.clone()));
        let history = self.setup.state_dir.as_deref().and_then(history_file);
        if let Some(file) = &history {
            // There is none before the first statement.
            let _ = editor.load_history(file);
        }
        let tables: Vec<&str> = self.words.tables.keys().map(String::as_str).collect();
        self.setup.note(&format!("tables: {}. \\? for help, \\q to leave.", tables.join(", ")));
        let mut pending = String::new();
        loop {
            let typed = match editor.readline(if pending.is_empty() { "flowdiff> " } else { "       -> " }) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => {
                    pending.clear();
                    continue;
                }
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(editor_error(error)),
            };
            pending += &typed;
            let is_command = pending.starts_with('\\');
            let mut statements = if is_command { statement::Statements::default() } else { split(&pending) };
            if is_command || !statements.whole.is_empty() {
                let _ = editor.add_history_entry(pending.trim());
                if let Some(file) = &history
                    && let Err(error) = editor.append_history(file)
                {
                    tracing::warn!("history {}: {error}", file.display());
                }
            }
            if is_command {
                match self.command(pending.trim()).await {
                    Ok(Next::Leave) => return Ok(()),
                    Ok(Next::Line) => {}
                    Err(error) => super::print_error(&error),
                }
            }
            for statement in &statements.whole {
                // The rest of the line meant to follow what has failed.
                if !self.execute_or_stop(statement).await {
                    statements.begun.clear();
                    break;
                }
            }
            pending = statements.begun;
            if !pending.is_empty() && !pending.ends_with('\n') {
                pending.push('\n');
            }
        }
    }

    /// Runs a statement to its end or to Ctrl-C; tells what goes wrong and returns whether all went well.
    async fn execute_or_stop(&self, statement: &str) -> bool {
        let result = tokio::select! {
            result = self.execute(statement) => result,
            Ok(()) = tokio::signal::ctrl_c() => {
                self.setup.note("stopped");
                return false;
            }
        };
        if let Err(error) = &result {
            super::print_error(error);
        }
        result.is_ok()
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        // Each statement has figures of its own.
        let report = Report::new();
        self.setup.register_flows(&self.session, &report)?;
        let begun = Instant::now();
        let frame = self.session.plan(statement, &Params::new(), self.setup.clock.now()).await?;
        let format = self.format.unwrap_or(self.setup.format(Format::Ndjson));
        let rows = self.setup.write_frame_as(frame, &report, format).await?;
        if self.is_timing {
            self.setup.note(&format!("{rows} rows in {:.3} s", begun.elapsed().as_secs_f64()));
        }
        Ok(())
    }

    async fn command(&mut self, line: &str) -> Result<Next> {
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim().trim_end_matches(';').trim_end();
        match (name.trim_end_matches(';'), argument) {
            ("\\d", "") => self.setup.print(&listed(self.words.tables.keys()))?,
            ("\\d", table) => {
                let table = table.trim_matches('"');
                if !self.words.tables.contains_key(table) {
                    let tables: Vec<&str> = self.words.tables.keys().map(String::as_str).collect();
                    return Err(Error::not_found(format!("there is no table {table:?}"))
                        .with_hint(format!("the tables are {}", tables.join(", "))));
                }
                self.execute(&format!("DESCRIBE {table}")).await?;
            }
            ("\\f", _) => {
                let own = function_names();
                let others = self.words.functions.iter().filter(|name| !own.contains(&name.as_str()));
                let text = format!("of flowdiff:\n{}of SQL:\n{}", columns(&own), columns(&others.collect::<Vec<_>>()));
                self.setup.print(&text)?;
            }
            ("\\format", "") => self.format = None,
            ("\\format", format) => {
                let parsed = Format::from_str(format, true);
                self.format = Some(parsed.map_err(|_| {
                    let names: Vec<String> = Format::value_variants().iter().map(Format::name).collect();
                    Error::invalid(format!("there is no format {format:?}"))
                        .with_hint(format!("the formats are {}", names.join(", ")))
                })?);
            }
            ("\\timing", word) => {
                self.is_timing = match word.to_lowercase().as_str() {
                    "" => !self.is_timing,
                    "on" => true,
                    "off" => false,
                    _ => return Err(Error::invalid(format!("\\timing is on or off, not {word:?}"))),
                };
                self.setup.note(if self.is_timing { "timing is on" } else { "timing is off" });
            }
            ("\\?", _) => {
                let mut text: String =
                    COMMANDS.iter().map(|(name, takes, does)| format!("{name:<8} {takes:<9} {does}\n")).collect();
                text += "A statement ends with ; and may go over several lines. Ctrl-C stops a query.\n";
                self.setup.print(&text)?;
            }
            ("\\q", _) => return Ok(Next::Leave),
            (other, _) => {
                return Err(Error::invalid(format!("there is no command {other}")).with_hint("\\? lists the commands"));
            }
        }
        Ok(Next::Line)
    }
}

/// The file of the history in a folder that is made if it is missing; none if that fails.
fn history_file(folder: &Path) -> Option<PathBuf> {
    match std::fs::create_dir_all(folder) {
        Ok(()) => Some(folder.join("history")),
        Err(error) => {
            tracing::warn!("no history: make folder {}: {error}", folder.display());
            None
        }
    }
}

fn editor_error(error: ReadlineError) -> Error {
    Error::internal(format!("prompt: {error}")).with_source(error)
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("{name}\n")).collect()
}

/// Names beside each other, as many as fit into 100 characters.
fn columns(names: &[impl AsRef<str>]) -> String {
    let width = names.iter().map(|name| name.as_ref().len()).max().unwrap_or(0) + 2;
    let rows = names.chunks((98 / width).max(1)).map(|row| {
        let row: String = row.iter().map(|name| format!("{:<width$}", name.as_ref())).collect();
        format!("  {}\n", row.trim_end())
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Args;
    use clap::Parser;
    use std::collections::BTreeMap;

    async fn prompt(setup: &Setup) -> Prompt<'_> {
        let session = setup.session().unwrap();
        let tables = BTreeMap::from([("flows".to_owned(), Vec::new())]);
        let words = Words { tables, ..Words::default() };
        Prompt { setup, session, words, format: None, is_timing: false }
    }

    fn setup() -> Setup {
        Setup::new(&Args::parse_from(["flowdiff", "sql"]), &BTreeMap::new()).unwrap()
    }

    #[tokio::test]
    async fn commands_change_the_prompt_and_unknown_ones_are_named() {
        let setup = setup();
        let mut prompt = prompt(&setup).await;
        assert_eq!(prompt.command("\\q").await.unwrap(), Next::Leave);
        assert_eq!(prompt.command("\\format csv;").await.unwrap(), Next::Line);
        assert_eq!(prompt.format, Some(Format::Csv));
        prompt.command("\\format").await.unwrap();
        assert_eq!(prompt.format, None);
        for (line, is_timing) in [("\\timing", true), ("\\timing off", false), ("\\timing ON;", true)] {
            prompt.command(line).await.unwrap();
            assert_eq!(prompt.is_timing, is_timing, "{line}");
        }
        for (line, words, hint) in [
            ("\\x", "\\x", "\\?"),
            ("\\timing maybe", "\"maybe\"", ""),
            ("\\format xml", "\"xml\"", "ndjson"),
            ("\\d flow; DROP", "\"flow; DROP\"", "flows"),
        ] {
            let error = prompt.command(line).await.unwrap_err();
            assert!(error.to_string().contains(words) && error.hint().unwrap_or("").contains(hint), "{error}");
        }
    }

    #[tokio::test]
    async fn a_failed_statement_is_told_and_ends_nothing() {
        let setup = setup();
        let prompt = prompt(&setup).await;
        assert!(!prompt.execute_or_stop("SELECT nothing").await);
        assert!(!prompt.execute_or_stop("DROP TABLE flows").await);
    }

    #[test]
    fn names_stand_beside_each_other() {
        assert_eq!(columns(&["a", "bbb"]), "  a    bbb\n");
        assert_eq!(columns(&[""; 0]), "");
    }
}

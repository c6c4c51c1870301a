//! The SQL prompt: history, statements over several lines, completion; Ctrl-C stops the query and not the prompt.

use super::output::Format;
use super::setup::Setup;
use crate::error::{Error, Result};
use crate::session::{Params, Session, function_names};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper, Highlighter, Hinter};
use std::io::{IsTerminal, Read};
use std::time::Instant;

const HISTORY_MAX: usize = 1000;
const KEYWORDS: [&str; 16] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "HAVING",
    "JOIN",
    "LEFT JOIN",
    "WITH",
    "EXPLAIN",
    "DESCRIBE",
    "DISTINCT",
    "BETWEEN",
    "COUNT(*)",
    "UNION ALL",
];
const HELP: &str = "\\d          tables        \\d NAME   columns of a table\n\\f          functions     \\q        leave\nA statement ends with ; and may go over several lines. Ctrl-C stops a query.\n";

/// Reads statements until the end of input; from a pipe, the whole input is one script.
pub(super) async fn run(setup: &Setup) -> Result<()> {
    let session = setup.session_with_tables().await?;
    if !std::io::stdin().is_terminal() {
        let mut script = String::new();
        std::io::stdin().read_to_string(&mut script)?;
        for statement in statements(&script) {
            execute(setup, &session, &statement).await?;
        }
        return Ok(());
    }
    let config = Config::builder().max_history_size(HISTORY_MAX).map_err(editor_error)?.build();
    let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config).map_err(editor_error)?;
    editor.set_helper(Some(Words(words(&session).await)));
    let history = std::env::home_dir().map(|home| home.join(".flowdiff_history"));
    if let Some(file) = &history {
        // There is none before the first session.
        let _ = editor.load_history(file);
    }
    setup.print(&format!("tables: {}; \\? for help\n", session.table_names().join(", ")))?;
    loop {
        match editor.readline("flowdiff> ") {
            Ok(line) => {
                let _ = editor.add_history_entry(line.as_str());
                if line.trim() == "\\q" {
                    break;
                }
                for statement in statements(&line) {
                    let result = tokio::select! {
                        result = execute(setup, &session, &statement) => result,
                        _ = tokio::signal::ctrl_c() => Err(Error::invalid("the query was stopped")),
                    };
                    if let Err(error) = result {
                        super::print_error(&error);
                    }
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(editor_error(error)),
        }
    }
    if let Some(file) = &history {
        editor.save_history(file).map_err(editor_error)?;
    }
    Ok(())
}

fn editor_error(error: ReadlineError) -> Error {
    Error::internal(format!("prompt: {error}"))
}

async fn execute(setup: &Setup, session: &Session, statement: &str) -> Result<()> {
    let sql = match statement.split_once(' ').unwrap_or((statement, "")) {
        ("\\?", _) => return setup.print(HELP),
        ("\\f", _) => return setup.print(&format!("{}\n", function_names().join("\n"))),
        ("\\d", "") => return setup.print(&format!("{}\n", session.table_names().join("\n"))),
        ("\\d", table) => format!("DESCRIBE {}", table.trim()),
        (command, _) if command.starts_with('\\') => {
            return Err(Error::invalid(format!("no command {command}")).with_hint("\\? lists them"));
        }
        _ => statement.to_owned(),
    };
    let started = Instant::now();
    let frame = session.plan(&sql, &Params::new(), setup.clock.now()).await?;
    let rows = setup.write(frame.execute_stream().await?, Format::Ndjson).await?;
    setup.note(&format!("{rows} rows in {:.2} s", started.elapsed().as_secs_f64()));
    Ok(())
}

async fn words(session: &Session) -> Vec<String> {
    let mut words: Vec<String> = KEYWORDS.iter().map(|word| (*word).to_owned()).collect();
    words.extend(function_names().into_iter().map(str::to_owned));
    for table in session.table_names() {
        if let Ok(frame) = session.context().table(&table).await {
            words.extend(frame.schema().fields().iter().map(|field| field.name().clone()));
        }
        words.push(table);
    }
    words.sort();
    words.dedup();
    words
}

/// Splits a text at `;` outside quotes and comments; a command with `\` is a line of its own.
fn statements(text: &str) -> Vec<String> {
    if text.trim_start().starts_with('\\') {
        return vec![text.trim().trim_end_matches(';').to_owned()];
    }
    let (mut statements, mut current, mut quote, mut comment) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote, comment) {
            ('\n', _, true) => comment = false,
            (_, _, true) => continue,
            ('-', None, false) if chars.peek() == Some(&'-') => {
                comment = true;
                continue;
            }
            (';', None, false) => {
                statements.push(std::mem::take(&mut current));
                continue;
            }
            ('\'' | '"', None, false) => quote = Some(c),
            (c, Some(open), false) if c == open => quote = None,
            _ => {}
        }
        current.push(c);
    }
    statements.push(current);
    statements.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Words to complete; also tells when a statement is complete.
#[derive(Helper, Highlighter, Hinter)]
struct Words(Vec<String>);

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let start = line[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |space| space + 1);
        let begun = line[start..at].to_lowercase();
        let fits = |word: &&String| !begun.is_empty() && word.to_lowercase().starts_with(&begun);
        Ok((start, self.0.iter().filter(fits).cloned().collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let complete = text.is_empty() || text.starts_with('\\') || text.ends_with(';');
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_quotes_and_comments() {
        assert_eq!(statements("SELECT 1; SELECT ';' ;"), ["SELECT 1", "SELECT ';'"]);
        assert_eq!(statements("SELECT 1 -- not; here\n+ 1;"), ["SELECT 1 \n+ 1"]);
        assert_eq!(statements("\\d flows;"), ["\\d flows"]);
        assert!(statements(" ; ;").is_empty());
    }
}

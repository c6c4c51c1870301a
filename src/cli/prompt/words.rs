//! What the prompt completes. In: the names that a session knows, and a line. Out: the words that fit at the cursor.

use super::COMMANDS;
use crate::output::Format;
use crate::session::{Session, function_names};
use clap::ValueEnum;
use datafusion::execution::FunctionRegistry;
use rustyline::completion::Completer;
use rustyline::{Helper, Highlighter, Hinter, Validator};
use std::collections::{BTreeMap, BTreeSet};

const KEYWORDS: [&str; 46] = [
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "RIGHT",
    "SELECT",
    "THEN",
    "TRUE",
    "UNION",
    "WHEN",
    "WHERE",
    "WITH",
];

/// The names that can be completed.
#[derive(Clone, Debug, Default, Helper, Highlighter, Hinter, Validator)]
pub(super) struct Words {
    /// Tables and their columns.
    pub(super) tables: BTreeMap<String, Vec<String>>,
    /// Functions, flowdiff's own and DataFusion's.
    pub(super) functions: BTreeSet<String>,
}

impl Words {
    /// Collects the names that `session` knows.
    pub(super) async fn of(session: &Session) -> Words {
        let mut words = Words::default();
        for table in session.table_names() {
            let columns = match session.context().table(&table).await {
                Ok(frame) => frame.schema().fields().iter().map(|field| field.name().clone()).collect(),
                Err(_) => Vec::new(),
            };
            words.tables.insert(table, columns);
        }
        let state = session.context().state();
        words.functions.extend(function_names().into_iter().map(str::to_owned));
        words.functions.extend(state.udfs().into_iter().chain(state.udafs()).chain(state.udwfs()));
        // Operators are functions too, under names that are no words.
        words.functions.retain(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        words
    }

    /// The place where the word at `at` begins, and what it may become. Tables alone follow `FROM` and `JOIN`; a column
    /// that must be quoted is completed with its quotes.
    pub(super) fn candidates(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let before = &line[..at];
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| {
            let width = before[i..].chars().next().map_or(1, char::len_utf8);
            if before[i..].starts_with(['\\', '"']) { i } else { i + width }
        });
        let begun = before[start..].to_lowercase();
        let previous = before[..start].split_whitespace().next_back().unwrap_or("").to_uppercase();
        let tables = || self.tables.keys().cloned();
        let words: Vec<String> = match previous.as_str() {
            _ if begun.starts_with('\\') => COMMANDS.iter().map(|(name, ..)| (*name).to_owned()).collect(),
            "\\D" | "FROM" | "JOIN" | "DESCRIBE" => tables().collect(),
            "\\FORMAT" => Format::value_variants().iter().map(Format::name).collect(),
            "\\TIMING" => ["on", "off"].map(str::to_owned).to_vec(),
            _ if begun.is_empty() => Vec::new(),
            _ => {
                let is_lower = before[start..].starts_with(|c: char| c.is_lowercase());
                let keywords =
                    KEYWORDS.iter().map(|word| if is_lower { word.to_lowercase() } else { (*word).to_owned() });
                let columns = self.tables.values().flatten().map(|column| match column.as_str() {
                    "end" => "\"end\"".to_owned(),
                    column => column.to_owned(),
                });
                let functions = self.functions.iter().map(|name| format!("{name}("));
                keywords.chain(tables()).chain(columns).chain(functions).collect()
            }
        };
        let fits = |word: &String| {
            let word = word.to_lowercase();
            word.starts_with(&begun) || word.trim_start_matches('"').starts_with(&begun)
        };
        let fitting: BTreeSet<String> = words.into_iter().filter(fits).collect();
        (start, fitting.into_iter().collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> Vec<String> {
        let columns = ["srcaddr", "srcport", "end", "bytes"].map(str::to_owned).to_vec();
        let tables = BTreeMap::from([("flows".to_owned(), columns), ("edges".to_owned(), Vec::new())]);
        let functions = BTreeSet::from(["sum".to_owned(), "substr".to_owned()]);
        Words { tables, functions }.candidates(line, line.len()).1
    }

    #[test]
    fn columns_functions_and_keywords_complete_in_the_case_that_was_begun() {
        assert_eq!(complete("SELECT src"), ["srcaddr", "srcport"]);
        assert_eq!(complete("SELECT su"), ["substr(", "sum("]);
        assert_eq!(complete("SEL"), ["SELECT"]);
        assert_eq!(complete("sel"), ["select"]);
        assert_eq!(complete("SELECT sum(byt"), ["bytes"]);
    }

    #[test]
    fn the_column_end_completes_with_its_quotes() {
        assert_eq!(complete("WHERE en"), ["\"end\"", "end"]);
        assert_eq!(complete("WHERE \"en"), ["\"end\""]);
    }

    #[test]
    fn tables_follow_from_and_commands_take_their_own_words() {
        assert_eq!(complete("SELECT * FROM "), ["edges", "flows"]);
        assert_eq!(complete("\\d f"), ["flows"]);
        assert_eq!(complete("\\format par"), ["parquet"]);
        assert!(complete("\\").contains(&"\\timing".to_owned()));
        assert!(complete("SELECT ").is_empty());
        assert!(complete("é").is_empty());
    }
}

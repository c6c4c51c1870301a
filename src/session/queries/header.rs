//! Reads the header of a query file: the comment lines that it begins with.
//!
//! ```sql
//! -- top_talkers: the edges of one window that moved most bytes.
//! -- reads:   edges (srcaddr, dstaddr, bytes, window_start, window_stop)
//! -- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $limit  count, default 20
//! -- returns: srcaddr, dstaddr, bytes (octets); one row per pair of hosts
//! -- order:   bytes descending, then the addresses
//! ```
//! A line that begins with no key goes on with the one before. Parameters are parted by `;`: names, a type, and then,
//! each after a comma, `default VALUE` and what it means. A query without parameters has no line `params`.

use super::{Param, ParamType, Query};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

const KEYS: [&str; 4] = ["reads", "params", "returns", "order"];

const FORM: &str = "begin the file with the lines `-- NAME: what it answers`, `-- reads:`, `-- params:`, `-- returns:` and \
                    `-- order:`";

/// Reads the header of `text`, the query file of `name`.
///
/// # Errors
/// `Invalid` naming what is missing or cannot be read.
pub(super) fn parse(name: &str, text: &str) -> Result<Query> {
    let mut entries: BTreeMap<&str, String> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().map_while(|line| line.strip_prefix("--")).map(str::trim) {
        let entry = line.split_once(':').filter(|(key, _)| KEYS.contains(key) || *key == name);
        let (key, rest) = match (entry, current) {
            (Some((key, rest)), _) => (key, rest.trim()),
            (None, Some(key)) => (key, line),
            (None, None) => return Err(wrong(format!("the header does not begin with `-- {name}:`"))),
        };
        current = Some(key);
        let value = entries.entry(key).or_default();
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(rest);
    }
    let mut take = |key: &str| {
        let value = entries.remove(key).filter(|value| !value.is_empty());
        value.ok_or_else(|| wrong(format!("the header has no line `-- {key}:`")))
    };
    let (summary, reads, returns, order) = (take(name)?, take("reads")?, take("returns")?, take("order")?);
    let params = entries.remove("params").map_or(Ok(Vec::new()), |params| parse_params(&params))?;
    Ok(Query { name: name.to_owned(), summary, reads, params, returns, order, text: text.to_owned(), folder: None })
}

fn wrong(message: String) -> Error {
    Error::invalid(message).with_hint(FORM)
}

fn parse_params(text: &str) -> Result<Vec<Param>> {
    let mut params: Vec<Param> = Vec::new();
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let refused = |why: &str| {
            Error::invalid(format!("parameter {entry:?}: {why}")).with_hint(
                "write `$name TYPE, default VALUE, meaning`; types: timestamp, count, text, cidr, port, float, a|b",
            )
        };
        let mut rest = entry;
        let mut names = Vec::new();
        while let Some(after) = rest.strip_prefix('$') {
            let end = after.find([',', ' ']).ok_or_else(|| refused("it has no type"))?;
            names.push(&after[..end]);
            rest = after[end..].trim_start_matches([',', ' ']);
        }
        if names.is_empty() {
            return Err(refused("it has no name"));
        }
        let mut parts = rest.split(',').map(str::trim);
        let word = parts.next().unwrap_or_default();
        let param_type = ParamType::parse(word).ok_or_else(|| refused("it has no type that is known"))?;
        let (mut default, mut doc) = (None, Vec::new());
        for part in parts {
            match part.strip_prefix("default ") {
                Some(value) if default.is_none() => default = Some(value.trim().to_owned()),
                _ => doc.push(part),
            }
        }
        for name in names {
            if params.iter().any(|param| param.name == name) {
                return Err(refused("it is declared twice"));
            }
            let (param_type, default) = (param_type.clone(), default.clone());
            params.push(Param { name: name.to_owned(), param_type, default, doc: doc.join(", ") });
        }
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
-- q: what it
--    answers: all.
-- reads:   edges (bytes)
-- params:  $a, $b  timestamp, UTC, half-open;  $limit  count, default 20;
--          $rule service|lower, default service
-- returns: bytes
-- order:   bytes
SELECT 1 -- reads: nothing
";

    #[test]
    fn a_header_is_read_with_its_continuations() {
        let query = parse("q", TEXT).unwrap();
        assert_eq!(query.summary, "what it answers: all.");
        assert_eq!(query.reads, "edges (bytes)");
        assert_eq!(query.text, TEXT);
        let param = |name: &str, param_type, default: Option<&str>, doc: &str| Param {
            name: name.into(),
            param_type,
            default: default.map(str::to_owned),
            doc: doc.into(),
        };
        let rules = ParamType::Choice(vec!["service".into(), "lower".into()]);
        let expected = [
            param("a", ParamType::Timestamp, None, "UTC, half-open"),
            param("b", ParamType::Timestamp, None, "UTC, half-open"),
            param("limit", ParamType::Count, Some("20"), ""),
            param("rule", rules, Some("service"), ""),
        ];
        assert_eq!(query.params, expected);
    }

    #[test]
    fn what_a_header_lacks_is_named() {
        for (old, new, message) in [
            ("-- q:", "-- p:", "-- q:"),
            ("-- reads:   edges (bytes)\n", "", "reads"),
            ("-- order:   bytes\n", "", "order"),
            ("count, default 20", "integer", "no type that is known"),
            ("$limit  count, default 20", "$limit", "no type"),
            ("$limit  count", "limit count", "no name"),
            ("$limit", "$a", "declared twice"),
        ] {
            let error = parse("q", &TEXT.replace(old, new)).unwrap_err();
            assert!(error.to_string().contains(message), "{old} -> {new}: {error}");
            assert!(error.hint().is_some());
        }
    }
}

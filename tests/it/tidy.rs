//! The rules of the source tree as data: who may use whom, module docs, forbidden calls.

use std::path::{Path, PathBuf};

/// Which modules each stage may `use crate::`. `error`, `clock` and `config`'s serde helpers are everybody's.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("process", &[]),
    ("meters", &["process"]),
    ("telemetry", &["config", "meters"]),
    ("aws", &[]),
    ("flow", &[]),
    ("window", &[]),
    // `aws` and `meters` for the queue of notifications.
    ("source", &["flow", "window", "aws", "meters"]),
    ("scan", &["flow", "window", "source"]),
    ("catalog", &["flow", "window", "meters"]),
    // `From<Location>` opens sources and catalogs; parameters are read as `window` reads times.
    ("session", &["aws", "scan", "catalog", "flow", "source", "window"]),
    ("digest", &["session", "catalog", "flow", "window", "scan", "source", "meters", "process"]),
    ("diff", &["session", "catalog", "flow", "window"]),
    // Rows to bytes; graphs are rendered by `diff`.
    ("output", &["diff"]),
    // `scan` for the report alone; `session`, `aws` and `flow` for what deliveries compare, filter and write to.
    ("pipeline", &["source", "window", "digest", "diff", "catalog", "scan", "session", "aws", "flow", "meters"]),
    ("serve", &["diff", "catalog", "session", "pipeline", "window", "flow", "output", "meters"]),
    ("config", &["aws", "scan", "session", "digest", "diff", "source", "window", "pipeline", "serve", "telemetry"]),
    (
        "cli",
        &[
            "aws",
            "scan",
            "session",
            "digest",
            "diff",
            "source",
            "window",
            "catalog",
            "flow",
            "config",
            "telemetry",
            "pipeline",
            "output",
            "serve",
            "meters",
            "process",
        ],
    ),
];
const EVERYBODYS: [&str; 4] = ["error", "clock", "Error", "Timestamp"];

fn files(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files
}

/// The part of a file before its tests.
fn body(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap()
}

#[test]
fn stages_use_only_what_lies_to_their_left() {
    for (path, text) in files("src", "rs") {
        let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        let stage = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == stage) else { continue };
        for line in body(&text).lines().filter_map(|line| line.trim().strip_prefix("use crate::")) {
            let used: String = line.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let fine = used == stage || EVERYBODYS.contains(&used.as_str()) || allowed.contains(&used.as_str());
            assert!(fine, "{} uses {used}, which {stage} may not", path.display());
        }
    }
}

#[test]
fn every_file_opens_with_what_it_holds_and_is_one_subject() {
    for (path, text) in files("src", "rs") {
        assert!(text.starts_with("//!"), "{}", path.display());
        let lines = body(&text).lines().count();
        assert!(lines <= 500, "{} has {lines} lines before its tests", path.display());
    }
}

#[test]
fn nobody_reads_the_clock_or_the_environment_further_in() {
    for (path, text) in files("src", "rs") {
        let name = path.file_name().unwrap().to_str().unwrap();
        for (call, allowed) in [
            ("SystemTime::now", &[][..]),
            ("Utc::now", &["clock.rs"]),
            ("env::var", &["main.rs"]),
            // It panics where nobody reads: `say` does not.
            ("eprintln!(", &[]),
            ("todo!(", &[]),
            ("unimplemented!(", &[]),
        ] {
            assert!(allowed.contains(&name) || !body(&text).contains(call), "{} calls {call}", path.display());
        }
    }
}

#[test]
fn every_query_says_what_it_reads_returns_and_orders() {
    for (path, text) in files("queries", "sql") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(text.starts_with(&format!("-- {name}: ")), "{}", path.display());
        for word in ["-- reads:", "-- returns:", "-- order:"] {
            assert!(text.contains(word), "{} lacks {word}", path.display());
        }
        assert!(!text.contains("SELECT *") && !text.contains("NOT IN (SELECT"), "{}", path.display());
    }
}

//! Settings: each stage's options put together. In: a file, the environment, flags. Out: one checked [`Config`].
//! Nobody reads the environment further in; it comes as an argument.

mod environment;
mod layers;
mod sides;
mod units;

pub use layers::{Flag, Loaded, find_file, load};
pub use sides::{SourceOptions, StoreOptions};
pub use units::{byte_size, duration, optional_duration};

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::PathBuf;
use toml::Table;

/// Every setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where flow logs are and how they are listed.
    pub source: SourceOptions,
    /// Where notifications of new objects come from.
    pub notifications: crate::source::notify::Options,
    /// Where digests are.
    pub store: StoreOptions,
    /// How AWS is reached.
    pub aws: crate::aws::Options,
    /// What requests cost.
    pub prices: crate::aws::Prices,
    /// How objects are read.
    pub scan: crate::scan::Options,
    /// What SQL may use.
    pub session: crate::session::Options,
    /// How digests are built.
    pub digest: crate::digest::Options,
    /// How digests are compared.
    pub diff: crate::diff::Options,
    /// How recent windows are followed.
    pub follow: crate::pipeline::follow::Options,
    /// How the service answers.
    pub serve: crate::serve::Options,
    /// What one query over HTTP may take.
    pub sql: crate::serve::Limits,
    /// How windows that are asked for are built.
    pub jobs: crate::pipeline::jobs::Options,
    /// Where jobs are posted for other processes.
    pub bus: crate::serve::BusOptions,
    /// What is told of windows as they close, and to whom.
    pub deliver: crate::pipeline::deliver::Options,
    /// The user's own query files.
    pub queries: QueryOptions,
    /// What is logged.
    pub log: LogOptions,
    /// Where traces and metrics are sent.
    pub telemetry: crate::telemetry::Options,
}

/// The user's own query files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryOptions {
    /// Folder of `*.sql`; no default.
    pub dir: Option<PathBuf>,
}

/// What is logged to stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogOptions {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter of tracing-subscriber.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// Form of a line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { level: "warn".to_owned(), format: LogFormat::Text }
    }
}

/// The settings as TOML, secrets left out; with what set each behind it if `origins` is asked for.
///
/// # Errors
/// `Internal` if a setting cannot be written as TOML.
pub fn show(loaded: &Loaded, origins: bool) -> Result<String> {
    let table = Table::try_from(&loaded.config).map_err(|error| Error::internal(error.to_string()))?;
    let mut text = String::new();
    for (section, values) in &table {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "[{section}]");
        for key in layers::keys_of(section) {
            let line = match values.get(&key) {
                Some(value) => format!("{key} = {}", layers::redacted(&key, value)),
                None => format!("# {key} is not set"),
            };
            let origin = loaded.origins.get(&format!("{section}.{key}")).map_or("default", String::as_str);
            let _ = match origins {
                true => writeln!(text, "{line:<40}  # {origin}"),
                false => writeln!(text, "{line}"),
            };
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;
    use toml::Value;

    #[test]
    fn the_documented_settings_are_the_settings_and_their_defaults() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml");
        let loaded = load(Some(&file), &BTreeMap::new(), &[]).unwrap();
        assert_eq!(loaded.config, Config::default());
        let text = std::fs::read_to_string(&file).unwrap();
        let table = Table::try_from(Config::default()).unwrap();
        for (section, values) in &table {
            let documented = text.split(&format!("[{section}]\n")).nth(1).unwrap().split("\n[").next().unwrap();
            let keys = layers::keys_of(section);
            assert!(keys.len() >= values.as_table().map_or(0, Table::len), "{section}: {keys:?}");
            for key in keys {
                let line = documented.lines().find(|line| {
                    line.trim_start_matches("# ").strip_prefix(&key).is_some_and(|rest| rest.starts_with(" = "))
                });
                let line = line.unwrap_or_else(|| panic!("{section}.{key} is not in config/default.toml"));
                assert!(line.trim_start_matches("# ").contains(" # "), "{section}.{key} has no word of what it does");
                assert!(values.get(&key).is_some() || line.starts_with("# "), "{section}.{key} has no default");
            }
        }
    }

    #[test]
    fn settings_are_shown_with_origin_and_without_secrets() {
        let flag = |key, name, text: &str| Flag { key, name, text: text.to_owned() };
        let flags = [flag("session.threads", "--threads", "2"), flag("store.url", "--store", "s3://a:b@c/d?e=f")];
        let loaded = load(None, &BTreeMap::new(), &flags).unwrap();
        let shown = show(&loaded, true).unwrap();
        let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap();
        assert!(line("threads = 2 ").ends_with("# --threads"), "{shown}");
        assert!(line("ratio = 2.0 ").ends_with("# default"), "{shown}");
        assert!(line("# dir is not set").ends_with("# default"), "{shown}");
        assert!(line("url = \"s3://...@c/d?...\"").ends_with("# --store"), "{shown}");
    }

    #[test]
    fn what_is_shown_reads_back() {
        let loaded = load(None, &BTreeMap::new(), &[]).unwrap();
        let table: Table = show(&loaded, false).unwrap().parse().unwrap();
        assert_eq!(Value::Table(table).try_into::<Config>().unwrap(), Config::default());
    }
}

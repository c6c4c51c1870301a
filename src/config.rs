//! Settings: each stage's options put together. In: a file, the environment, arguments. Out: one checked [`Config`].
//! Nobody reads the environment further in; it comes as an argument.

mod environment;
mod sides;

pub use sides::{SourceOptions, StoreOptions};

use crate::error::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Every setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where flow logs are and how they are listed.
    pub source: SourceOptions,
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
    /// The user's own query files.
    pub queries: QueryOptions,
    /// What is logged.
    pub log: LogOptions,
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

/// Settings and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// `section.key` to what set it; a key that is not here has its default.
    pub origins: BTreeMap<String, String>,
    /// What was set and has no effect, to be told.
    pub notes: Vec<String>,
}

/// Prefix of the environment's names: `FLOWDIFF__SESSION__THREADS`.
const PREFIX: &str = "FLOWDIFF__";

/// Layers the settings: defaults, then the file, then the environment (names that others gave first, our own over
/// them), then flags (`section.key` and text).
///
/// # Errors
/// `Invalid` naming the layer for a key that does not exist or a value of the wrong type.
pub fn load(file: Option<&Path>, environment: &BTreeMap<String, String>, flags: &[(&str, String)]) -> Result<Loaded> {
    let mut merged = Table::new();
    let mut origins = BTreeMap::new();
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).context(|| format!("read settings file {}", file.display()))?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            Error::invalid(format!("settings file {}: {}", file.display(), error.message()))
        })?;
        layer(&mut merged, &mut origins, table, &file.display().to_string())?;
    }
    let (settings, notes) = environment::translate(environment);
    for (name, key, value) in settings {
        layer(&mut merged, &mut origins, nested(key, value)?, &name)?;
    }
    for (name, text) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        layer(&mut merged, &mut origins, nested(&key, parse_value(text))?, name)?;
    }
    for (key, text) in flags {
        layer(&mut merged, &mut origins, nested(key, parse_value(text))?, "command line")?;
    }
    let config = Value::Table(merged).try_into().map_err(|error: toml::de::Error| {
        Error::invalid(error.message().to_owned()).with_hint("`flowdiff config show` lists the settings")
    })?;
    Ok(Loaded { config, origins, notes })
}

/// Puts one layer over the others, checking it alone so that an error names its origin.
fn layer(merged: &mut Table, origins: &mut BTreeMap<String, String>, table: Table, origin: &str) -> Result<()> {
    let checked: Result<Config, toml::de::Error> = Value::Table(table.clone()).try_into();
    if let Err(error) = checked {
        let keys: Vec<String> = flatten(&table).into_iter().map(|(key, _)| key).collect();
        let place = if keys.len() == 1 { format!("{origin} ({})", keys[0]) } else { origin.to_owned() };
        return Err(Error::invalid(format!("{place}: {}", error.message()))
            .with_hint("`flowdiff config show` lists the settings"));
    }
    for (key, value) in flatten(&table) {
        let (section, name) = key.split_once('.').unwrap_or(("", &key));
        let entry = merged.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = entry {
            section.insert(name.to_owned(), value);
        }
        origins.insert(key, origin.to_owned());
    }
    Ok(())
}

fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut keys = Vec::new();
    for (section, value) in table {
        match value {
            Value::Table(inner) => {
                keys.extend(inner.iter().map(|(key, value)| (format!("{section}.{key}"), value.clone())))
            }
            value => keys.push((section.clone(), value.clone())),
        }
    }
    keys
}

fn nested(key: &str, value: Value) -> Result<Table> {
    let (section, name) = key.split_once('.').ok_or_else(|| {
        Error::invalid(format!("setting {key:?} has no section")).with_hint("write FLOWDIFF__SECTION__KEY")
    })?;
    Ok(Table::from_iter([(section.to_owned(), Value::Table(Table::from_iter([(name.to_owned(), value)])))]))
}

/// Reads a value as TOML where it is a number, a boolean or a list, else as text.
fn parse_value(text: &str) -> Value {
    match format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v")) {
        Some(value @ (Value::Integer(_) | Value::Boolean(_) | Value::Float(_) | Value::Array(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// The settings as TOML, with the origin of each behind it if `origins` is asked for.
pub fn show(loaded: &Loaded, origins: bool) -> Result<String> {
    let table = Table::try_from(&loaded.config).map_err(|error| Error::internal(error.to_string()))?;
    let mut text = String::new();
    for (section, value) in &table {
        let Value::Table(keys) = value else { continue };
        text += &format!("{}[{section}]\n", if text.is_empty() { "" } else { "\n" });
        for (key, value) in keys {
            text += &format!("{key} = {value}");
            if origins {
                let origin = loaded.origins.get(&format!("{section}.{key}"));
                text += &format!("  # {}", origin.map_or("default", String::as_str));
            }
            text.push('\n');
        }
    }
    Ok(text)
}

/// Sizes in settings: `"4GiB"`, `"512MB"`, or a number of bytes.
pub mod byte_size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];

    /// Reads a size; `None` if it is none.
    pub fn parse(text: &str) -> Option<u64> {
        let text = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))
            .unwrap_or((text.strip_suffix('B').unwrap_or(text), 1));
        number.trim().parse::<u64>().ok()?.checked_mul(unit)
    }

    /// Writes a size in the largest unit of 1024 that divides it.
    pub fn format(bytes: u64) -> String {
        let unit = UNITS[..4].iter().rev().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
        unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u64),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        match Size::deserialize(deserializer) {
            Ok(Size::Number(bytes)) => Ok(bytes),
            Ok(Size::Text(text)) => parse(&text)
                .ok_or_else(|| D::Error::custom(format!("{text:?} is no size such as \"512MiB\" or \"4GiB\""))),
            Err(_) => Err(D::Error::custom("expected a size such as \"512MiB\" or a number of bytes")),
        }
    }
}

/// Durations in settings: `"30m"`, `"PT1H"`.
pub mod duration {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(duration: &TimeDelta, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = duration.num_seconds();
        let text = [(86_400, "d"), (3_600, "h"), (60, "m")]
            .iter()
            .find(|(unit, _)| seconds % unit == 0)
            .map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit));
        serializer.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeDelta, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::window::parse_duration(&text).map_err(|error| D::Error::custom(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml");
        let loaded = load(Some(&file), &BTreeMap::new(), &[]).unwrap();
        assert_eq!(loaded.config, Config::default());
        let documented: Vec<&String> = loaded.origins.keys().collect();
        let all = Table::try_from(Config::default()).unwrap();
        let missing: Vec<String> =
            flatten(&all).into_iter().map(|(key, _)| key).filter(|key| !documented.contains(&key)).collect();
        assert!(missing.is_empty(), "settings without a word in config/default.toml: {missing:?}");
    }

    #[test]
    fn later_layers_win_and_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flowdiff.toml");
        std::fs::write(&file, "[session]\nthreads = 1\nmemory_bytes = \"1GiB\"\n[store]\nurl = \"a\"\n").unwrap();
        let environment =
            environment(&[("FLOWDIFF__SESSION__THREADS", "2"), ("FLOWDIFF__STORE__URL", "b"), ("HOME", "/")]);
        let loaded = load(Some(&file), &environment, &[("store.url", "c".to_owned())]).unwrap();
        assert_eq!(loaded.config.session.threads, 2);
        assert_eq!(loaded.config.session.memory_bytes, 1 << 30);
        assert_eq!(loaded.config.store.url, "c");
        assert_eq!(loaded.origins["session.threads"], "FLOWDIFF__SESSION__THREADS");
        assert_eq!(loaded.origins["store.url"], "command line");
        assert!(show(&loaded, true).unwrap().contains("threads = 2  # FLOWDIFF__SESSION__THREADS"));
    }

    #[test]
    fn a_wrong_key_or_type_names_where_it_came_from() {
        let error = load(None, &environment(&[("FLOWDIFF__SESSION__THREDS", "2")]), &[]).unwrap_err();
        assert!(error.to_string().contains("FLOWDIFF__SESSION__THREDS"), "{error}");
        assert!(error.to_string().contains("threads"), "{error}");
        let error = load(None, &environment(&[("FLOWDIFF__SESSION__MEMORY_BYTES", "lots")]), &[]).unwrap_err();
        assert!(error.to_string().contains("\"lots\""), "{error}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flowdiff.toml");
        std::fs::write(&file, "[sesion]\nthreads = 1\n").unwrap();
        let error = load(Some(&file), &BTreeMap::new(), &[]).unwrap_err();
        assert!(error.to_string().contains("flowdiff.toml") && error.to_string().contains("sesion"), "{error}");
    }

    #[test]
    fn sizes_read_back_as_they_are_written() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 30) + 1, 4 << 30] {
            assert_eq!(byte_size::parse(&byte_size::format(bytes)), Some(bytes));
        }
        assert_eq!(byte_size::parse("512MB"), Some(512_000_000));
        assert_eq!(byte_size::parse("1.5GiB"), None);
    }
}

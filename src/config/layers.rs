//! Puts settings together: defaults, then a file, then the environment, then flags. In: the layers as TOML and text.
//! Out: one checked [`Config`], and what set each key. Each value is checked as it is laid on, so that an error names it.

use super::Config;
use crate::error::{Context, Error, Result};
use crate::session::near_names;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Settings and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// `section.key` to what set it: a file, a name of the environment, a flag. A key that is not here has its default.
    pub origins: BTreeMap<String, String>,
    /// What was set and has no effect, to be told.
    pub notes: Vec<String>,
}

/// A setting given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// `section.key`.
    pub key: &'static str,
    /// The flag, as the user wrote it: `--memory`.
    pub name: &'static str,
    /// Its value.
    pub text: String,
}

/// Prefix of the environment's names: `FLOWDIFF__SESSION__THREADS`.
const PREFIX: &str = "FLOWDIFF__";
const HINT: &str = "`flowdiff config show` lists the settings";

/// Finds the settings file: `named` or `FLOWDIFF_CONFIG`, which must exist; else the first that does of
/// `./flowdiff.toml` and `flowdiff/config.toml` in the user's configuration folder.
pub fn find_file(named: Option<&Path>, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = named.map(Path::to_owned).or_else(|| set("FLOWDIFF_CONFIG")) {
        return Some(file);
    }
    let folder = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let users = folder.map(|folder| folder.join("flowdiff/config.toml"));
    [Some(PathBuf::from("flowdiff.toml")), users].into_iter().flatten().find(|file| file.is_file())
}

/// Layers the settings: defaults, then the file, then the environment (names that others gave first, our own over
/// them), then flags.
///
/// # Errors
/// `Invalid` naming the layer, the key and what is expected, for a key that does not exist (with the nearest that does)
/// and for a value of the wrong type; and what the file system says of the file.
pub fn load(file: Option<&Path>, environment: &BTreeMap<String, String>, flags: &[Flag]) -> Result<Loaded> {
    let mut layers = Layers { merged: Table::new(), origins: BTreeMap::new() };
    if let Some(file) = file {
        layers.add_file(file)?;
    }
    let (settings, notes) = super::environment::translate(environment);
    for (name, key, value) in settings {
        let (section, key) = key.split_once('.').unwrap_or((key, ""));
        layers.add(section, key, value, &name)?;
    }
    for (name, text) in environment {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        let key = key.to_lowercase();
        let (section, key) = key.split_once("__").ok_or_else(|| {
            Error::invalid(format!("{name}: a setting has a section and a key"))
                .with_hint(format!("write {PREFIX}SECTION__KEY, such as {PREFIX}SESSION__THREADS"))
        })?;
        layers.add_text(section, key, text, name)?;
    }
    for Flag { key, name, text } in flags {
        let (section, key) = key.split_once('.').unwrap_or((key, ""));
        layers.add_text(section, key, text, name)?;
    }
    let config = read(&layers.merged).map_err(|error| Error::invalid(error.message()).with_hint(HINT))?;
    Ok(Loaded { config, origins: layers.origins, notes })
}

struct Layers {
    merged: Table,
    origins: BTreeMap<String, String>,
}

impl Layers {
    fn add_file(&mut self, file: &Path) -> Result<()> {
        let origin = file.display().to_string();
        let text = std::fs::read_to_string(file).context(|| format!("read settings file {origin}"))?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Error::invalid(format!("{origin}, line {line}: {}", error.message()))
        })?;
        for (section, value) in table {
            let Value::Table(keys) = value else {
                return Err(Error::invalid(format!("{origin}: {section} stands outside of a section")).with_hint(HINT));
            };
            if keys.is_empty() {
                self.check(&section, Table::new(), &section, &origin)?;
            }
            for (key, value) in keys {
                self.add(&section, &key, value, &origin)?;
            }
        }
        Ok(())
    }

    /// Adds a value that came as text: as it reads in TOML where that fits, else as the text that it is.
    fn add_text(&mut self, section: &str, key: &str, text: &str, origin: &str) -> Result<()> {
        let parsed = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
        let parsed = parsed.filter(|value| !value.is_str() && !value.is_table());
        if let Some(value) = parsed
            && read(&nested(section, key, value.clone())).is_ok()
        {
            return self.add(section, key, value, origin);
        }
        self.add(section, key, Value::String(text.to_owned()), origin)
    }

    fn add(&mut self, section: &str, key: &str, value: Value, origin: &str) -> Result<()> {
        let named = format!("{section}.{key} = {}", redacted(key, &value));
        self.check(section, Table::from_iter([(key.to_owned(), value.clone())]), &named, origin)?;
        let entry = self.merged.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(keys) = entry {
            keys.insert(key.to_owned(), value);
        }
        self.origins.insert(format!("{section}.{key}"), origin.to_owned());
        Ok(())
    }

    /// Reads one setting over the defaults; `named` is how an error speaks of it.
    fn check(&self, section: &str, keys: Table, named: &str, origin: &str) -> Result<()> {
        let key = keys.keys().next().cloned();
        let alone = Table::from_iter([(section.to_owned(), Value::Table(keys))]);
        let Err(error) = read(&alone) else { return Ok(()) };
        let sections = known(None);
        let (kind, prefix, wanted, names) = match key {
            Some(key) if sections.iter().any(|known| known == section) => {
                ("setting", format!("{section}."), key, keys_of(section))
            }
            _ => ("section", String::new(), section.to_owned(), sections),
        };
        if names.contains(&wanted) {
            return Err(Error::invalid(format!("{origin}: {named}: {}", in_words(error.message()))));
        }
        let near = near_names(&wanted, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let hint = match near.first() {
            Some(near) => format!("did you mean {prefix}{near}? {HINT}"),
            None => HINT.to_owned(),
        };
        Err(Error::invalid(format!("{origin}: there is no {kind} {prefix}{wanted}")).with_hint(hint))
    }
}

/// Serde's message without Rust's names of types.
fn in_words(message: &str) -> String {
    let names = [
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected f64", "expected a number"),
    ];
    names.iter().fold(message.to_owned(), |message, (name, words)| message.replace(name, words))
}

fn read(table: &Table) -> Result<Config, toml::de::Error> {
    Value::Table(table.clone()).try_into()
}

fn nested(section: &str, key: &str, value: Value) -> Table {
    Table::from_iter([(section.to_owned(), Value::Table(Table::from_iter([(key.to_owned(), value)])))])
}

/// Keys of a section in the order of their declaration, those without a default too.
pub(super) fn keys_of(section: &str) -> Vec<String> {
    known(Some(section))
}

/// Names that may stand in a section, or at the top.
///
/// Serde keeps the names of a struct's fields to itself, but says them in the error for one that there is not.
fn known(section: Option<&str>) -> Vec<String> {
    const NOBODY: &str = "?";
    let table = match section {
        Some(section) => nested(section, NOBODY, Value::Boolean(true)),
        None => Table::from_iter([(NOBODY.to_owned(), Value::Boolean(true))]),
    };
    let Err(error) = read(&table) else { return Vec::new() };
    let names = error.message().split('`').skip(1).step_by(2);
    names.filter(|name| *name != NOBODY).map(str::to_owned).collect()
}

/// A value as it may be shown: of a URL, without the user, the password and the query; of one that messages are sent to,
/// without the path, too, which is all of the secret of Slack's.
pub(super) fn redacted(key: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if ["url", "otlp_endpoint"].contains(&key) => Value::String(without_secrets(text)),
        Value::String(text) if key == "to" && text.contains("://") && !text.starts_with("s3://") => {
            let shown = without_secrets(text);
            let path = shown.find("://").and_then(|at| Some(at + 3 + shown[at + 3..].find('/')?));
            Value::String(path.map_or(shown.clone(), |path| format!("{}/...", &shown[..path])))
        }
        Value::Array(values) => Value::Array(values.iter().map(|value| redacted(key, value)).collect()),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.clone(), redacted(key, value))).collect())
        }
        other => other.clone(),
    }
}

/// A URL without what may be secret in it.
fn without_secrets(text: &str) -> String {
    let (text, query) = match text.split_once('?') {
        Some((text, _)) if text.contains("://") => (text, "?..."),
        _ => (text, ""),
    };
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let host_end = rest.find('/').unwrap_or(rest.len());
            let rest = rest[..host_end].rfind('@').map_or(rest.to_owned(), |at| format!("...{}", &rest[at..]));
            format!("{scheme}://{rest}{query}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn refusal(pairs: &[(&str, &str)]) -> String {
        told(load(None, &environment(pairs), &[]).unwrap_err())
    }

    fn told(error: Error) -> String {
        format!("{error}; hint: {}", error.hint().unwrap_or("none"))
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flowdiff.toml");
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    #[test]
    fn later_layers_win_and_are_named() {
        let (_folder, file) = file("[session]\nthreads = 1\nmemory_bytes = \"1GiB\"\n[store]\nurl = \"a\"\n");
        let environment =
            environment(&[("FLOWDIFF__SESSION__THREADS", "2"), ("FLOWDIFF__STORE__URL", "b"), ("HOME", "/")]);
        let flag = Flag { key: "store.url", name: "--store", text: "c".to_owned() };
        let loaded = load(Some(&file), &environment, &[flag]).unwrap();
        assert_eq!(loaded.config.session.threads, 2);
        assert_eq!(loaded.config.session.memory_bytes, 1 << 30);
        assert_eq!(loaded.config.store.url, "c");
        assert_eq!(loaded.origins["session.memory_bytes"], file.display().to_string());
        assert_eq!(loaded.origins["session.threads"], "FLOWDIFF__SESSION__THREADS");
        assert_eq!(loaded.origins["store.url"], "--store");
        assert!(!loaded.origins.contains_key("diff.ratio"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_that_exists() {
        assert_eq!(
            refusal(&[("FLOWDIFF__SESSION__THREDS", "2")]),
            "FLOWDIFF__SESSION__THREDS: there is no setting session.threds; \
             hint: did you mean session.threads? `flowdiff config show` lists the settings"
        );
        let (_folder, file) = file("[sesion]\nthreads = 1\n");
        let error = told(load(Some(&file), &BTreeMap::new(), &[]).unwrap_err());
        assert!(error.contains("flowdiff.toml: there is no section sesion; hint: did you mean session?"), "{error}");
        assert!(refusal(&[("FLOWDIFF__THREADS", "2")]).contains("FLOWDIFF__SECTION__KEY"));
        assert!(refusal(&[("FLOWDIFF__SESSION__SPILL_DUR", "2")]).contains("session.spill_dir"));
    }

    #[test]
    fn a_wrong_value_names_setting_value_origin_and_what_is_expected() {
        for (name, value, words) in [
            ("FLOWDIFF__SESSION__MEMORY_BYTES", "lots", "session.memory_bytes = \"lots\": expected a size"),
            (
                "FLOWDIFF__SESSION__THREADS",
                "two",
                "session.threads = \"two\": invalid type: string \"two\", expected a whole number",
            ),
            ("FLOWDIFF__DIGEST__LATENESS", "soon", "digest.lateness = \"soon\": expected a duration"),
            ("FLOWDIFF__DIGEST__PORT_RULE", "higher", "expected `service` or `lower`"),
            ("FLOWDIFF__DIFF__BY", "subnet", "`edge`"),
        ] {
            let error = refusal(&[(name, value)]);
            assert!(error.starts_with(&format!("{name}: ")) && error.contains(words), "{error}");
        }
    }

    #[test]
    fn text_is_read_as_what_the_setting_is() {
        let environment = environment(&[
            ("FLOWDIFF__SOURCE__URL", "2026"),
            ("FLOWDIFF__DIFF__RATIO", "3"),
            ("FLOWDIFF__SCAN__EXTRA_FIELDS", "[\"a\", \"b\"]"),
            ("FLOWDIFF__SCAN__PRUNE_ACCOUNTS", "false"),
        ]);
        let config = load(None, &environment, &[]).unwrap().config;
        assert_eq!(config.source.url.as_deref(), Some("2026"), "a folder may be named like a number");
        assert_eq!(config.diff.ratio, 3.0);
        assert_eq!(config.scan.extra_fields, ["a", "b"]);
        assert!(!config.scan.prune_accounts);
    }

    #[test]
    fn the_secret_of_a_receivers_url_is_not_repeated() {
        let text = "[[deliver.reports]]\nname = \"a\"\nto = \"https://hooks.example/services/T0/B0/SECRET\"\n";
        let (_folder, good) = file(text);
        let shown = crate::config::show(&load(Some(&good), &BTreeMap::new(), &[]).unwrap(), false).unwrap();
        assert!(shown.contains("https://hooks.example/...") && !shown.contains("SECRET"), "{shown}");
        let (_folder, wrong) = file(&format!("{text}whom = \"nobody\"\n"));
        let error = told(load(Some(&wrong), &BTreeMap::new(), &[]).unwrap_err());
        assert!(error.contains("whom") && !error.contains("SECRET"), "{error}");
    }

    #[test]
    fn broken_toml_names_file_and_line() {
        let (_folder, file) = file("[session]\nthreads = = 1\n");
        let error = load(Some(&file), &BTreeMap::new(), &[]).unwrap_err().to_string();
        assert!(error.contains("flowdiff.toml, line 2"), "{error}");
    }

    #[test]
    fn the_users_own_file_is_found_after_the_named_one() {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join(".config/flowdiff/config.toml");
        std::fs::create_dir_all(users.parent().unwrap()).unwrap();
        std::fs::write(&users, "").unwrap();
        let home = environment(&[("HOME", folder.path().to_str().unwrap())]);
        assert_eq!(find_file(None, &home), Some(users));
        assert_eq!(find_file(Some(Path::new("own.toml")), &home), Some(PathBuf::from("own.toml")));
        let named = environment(&[("FLOWDIFF_CONFIG", "named.toml")]);
        assert_eq!(find_file(None, &named), Some(PathBuf::from("named.toml")));
        assert_eq!(find_file(None, &BTreeMap::new()), None);
    }

    #[test]
    fn urls_are_shown_without_their_secrets() {
        for (text, shown) in [
            ("s3://key:secret@bucket/a", "s3://...@bucket/a"),
            ("https://host/a?token=secret", "https://host/a?..."),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("logs?", "logs?"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }
}

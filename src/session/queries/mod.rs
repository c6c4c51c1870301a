//! Query files: the ones that flowdiff brings (`queries/*.sql`) and those of the user's own folder. In: a name. Out: the
//! query's text and what its header says of it. Does not run anything.

mod header;
mod param;

pub use param::{Param, ParamType};

use super::{Params, near_names};
use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use datafusion::common::ScalarValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One statement of SQL and what the header of its file says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Name of the file without `.sql`: lower-case letters, digits and `_`.
    pub name: String,
    /// What it answers, one sentence.
    pub summary: String,
    /// The tables and columns that it reads.
    pub reads: String,
    /// Its parameters, in the order of the header.
    pub params: Vec<Param>,
    /// Its columns, and what one row is.
    pub returns: String,
    /// Its order.
    pub order: String,
    /// The whole file; the header is a comment to SQL.
    pub text: String,
    /// The user's folder that it was read from; `None` for one that flowdiff brings.
    pub folder: Option<PathBuf>,
}

macro_rules! embedded {
    ($($name:literal)*) => {
        /// The query files that flowdiff brings, by name.
        const EMBEDDED: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../queries/", $name, ".sql")))),*];
    };
}

embedded! {
    "busiest_edges"
    "by_edge"
    "by_host"
    "by_interface"
    "by_link"
    "diff"
    "diff_added"
    "diff_removed"
    "edge_by_hour"
    "edges"
    "explain"
    "first_seen_edges"
    "interfaces"
    "internet_egress"
    "merge_edges"
    "merge_interfaces"
    "merge_objects"
    "most_active"
    "new_ports"
    "protocols"
    "reaches"
    "rejected"
    "replaced_objects"
    "scanners"
    "services"
    "silent_interfaces"
    "skipped"
    "talkers_by_cidr"
    "top_talkers"
    "vanished_edges"
    "volumes"
    "whole_interfaces"
    "windows"
}

/// Embedded queries that say what a command does: they can be run by name, and are no questions that an analyst asks.
/// Their headers do not say so because the text of `edges.sql` is one of the rules that a store keeps.
const DEFINITIONS: [&str; 16] = [
    "by_edge",
    "by_host",
    "by_interface",
    "by_link",
    "diff",
    "diff_added",
    "diff_removed",
    "edges",
    "explain",
    "interfaces",
    "merge_edges",
    "merge_interfaces",
    "merge_objects",
    "replaced_objects",
    "whole_interfaces",
    "windows",
];

/// Finds a query by name: in the user's folder first, then among those that flowdiff brings.
///
/// # Errors
/// `NotFound` naming the nearest queries, or all if none is near; `Invalid` naming the file if its header cannot be read.
pub fn load(name: &str, user_folder: Option<&Path>) -> Result<Query> {
    if is_name(name)
        && let Some(folder) = user_folder
        && folder.join(file_name(name)).is_file()
    {
        return read(name, folder);
    }
    match EMBEDDED.iter().find(|(embedded, _)| *embedded == name) {
        Some((_, text)) => header::parse(name, text),
        None => {
            let questions = list(user_folder)?.into_iter().filter(Query::is_question);
            let names: Vec<String> = questions.map(|query| query.name).collect();
            let near = near_names(name, &names.iter().map(String::as_str).collect::<Vec<_>>());
            let hint = match near.is_empty() {
                true => format!("there are {}", names.join(", ")),
                false => format!("did you mean {}? `flowdiff query --list` tells all", near.join(", ")),
            };
            Err(Error::not_found(format!("no query {name:?}")).with_hint(hint))
        }
    }
}

/// Every query there is, by name; the user's in place of one of the same name that flowdiff brings.
///
/// # Errors
/// `Invalid` naming the file if a header cannot be read, `NotFound` if the folder does not exist.
pub fn list(user_folder: Option<&Path>) -> Result<Vec<Query>> {
    let mut queries = BTreeMap::new();
    for (name, text) in EMBEDDED {
        queries.insert((*name).to_owned(), header::parse(name, text)?);
    }
    if let Some(folder) = user_folder {
        let doing = || format!("read query folder {}", folder.display());
        for entry in std::fs::read_dir(folder).context(doing)? {
            let path = entry.context(doing)?.path();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            if !is_name(&name) {
                return Err(Error::invalid(format!("{} is no name of a query", path.display()))
                    .with_hint("name it with lower-case letters, digits and _, such as my_query.sql"));
            }
            queries.insert(name.clone(), read(&name, folder)?);
        }
    }
    Ok(queries.into_values().collect())
}

fn read(name: &str, folder: &Path) -> Result<Query> {
    let path = folder.join(file_name(name));
    let doing = || format!("read query file {}", path.display());
    let text = std::fs::read_to_string(&path).context(doing)?;
    Ok(Query { folder: Some(folder.to_owned()), ..header::parse(name, &text).context(doing)? })
}

fn file_name(name: &str) -> String {
    format!("{name}.sql")
}

/// Whether `name` can be a query: it becomes part of a path, so nothing else may.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl Query {
    /// Whether it answers a question of its own: a file of the user's does, the definition of a command does not.
    pub fn is_question(&self) -> bool {
        self.folder.is_some() || !DEFINITIONS.contains(&self.name.as_str())
    }

    /// What the user should be told before the query runs: that their own file stands in for one of flowdiff's.
    pub fn note(&self) -> Option<String> {
        let folder = self.folder.as_ref()?;
        let hides = EMBEDDED.iter().any(|(name, _)| *name == self.name);
        hides.then(|| {
            format!(
                "query {} is {}, in place of flowdiff's own",
                self.name,
                folder.join(file_name(&self.name)).display()
            )
        })
    }

    /// How the query is called: its parameters with types and defaults.
    pub fn usage(&self) -> String {
        if self.params.is_empty() {
            return format!("{} takes no parameters", self.name);
        }
        let params: Vec<String> = self.params.iter().map(Param::to_string).collect();
        format!("{} takes {}", self.name, params.join(", "))
    }

    /// Types the texts of `params` as the header says.
    pub(super) fn values(&self, params: &Params, now: Timestamp) -> Result<Vec<(String, ScalarValue)>> {
        let unknown = params.keys().find(|name| self.params.iter().all(|param| param.name != **name));
        if let Some(unknown) = unknown {
            return Err(
                Error::invalid(format!("query {} has no parameter {unknown}", self.name)).with_hint(self.usage())
            );
        }
        let value = |param: &Param| {
            let text = params.get(&param.name).or(param.default.as_ref()).ok_or_else(|| {
                Error::invalid(format!("query {} needs the parameter {}", self.name, param.name))
                    .with_hint(self.usage())
            })?;
            let value =
                param.value(text, now).context(|| format!("read parameter {} of query {}", param.name, self.name))?;
            Ok((param.name.clone(), value))
        };
        self.params.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::fs;

    const OWN: &str = "-- mine: all of it.\n-- reads: edges (bytes)\n-- returns: bytes\n-- order: bytes\nSELECT 1";

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let embedded: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
        assert_eq!(embedded, files);
        assert!(DEFINITIONS.iter().all(|name| embedded.contains(name)));
    }

    #[test]
    fn every_embedded_query_declares_what_it_uses_and_has_a_total_order() {
        for query in list(None).unwrap() {
            let body: String = query.text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
            for param in &query.params {
                assert!(body.contains(&format!("${}", param.name)), "{}: ${}", query.name, param.name);
            }
            assert!(body.contains("ORDER BY"), "{}", query.name);
            assert!(!body.contains("SELECT *"), "{}", query.name);
        }
    }

    #[test]
    fn an_own_file_wins_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("protocols.sql"), OWN.replace("mine", "protocols")).unwrap();
        fs::write(folder.path().join("mine.sql"), OWN).unwrap();
        fs::write(folder.path().join("notes.txt"), "not a query").unwrap();

        let hiding = load("protocols", Some(folder.path())).unwrap();
        assert_eq!(hiding.folder.as_deref(), Some(folder.path()));
        assert!(hiding.note().unwrap().contains("protocols.sql"));
        assert_eq!(load("mine", Some(folder.path())).unwrap().note(), None);
        assert_eq!(load("edges", Some(folder.path())).unwrap().folder, None);
        assert_eq!(list(Some(folder.path())).unwrap().len(), EMBEDDED.len() + 1);
    }

    #[test]
    fn a_name_never_leaves_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.sql"), OWN).unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let error = load("../mine", Some(&inner)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint().unwrap().contains("top_talkers"));
    }

    #[test]
    fn a_broken_header_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.sql"), "SELECT 1").unwrap();
        let error = load("mine", Some(folder.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("mine.sql"), "{error}");
    }

    #[test]
    fn missing_and_unknown_parameters_are_answered_with_what_the_query_takes() {
        let now = "2026-11-21T09:30:00Z".parse().unwrap();
        let query = load("top_talkers", None).unwrap();
        let error = query.values(&Params::new(), now).unwrap_err();
        assert!(error.to_string().contains("window_start"), "{error}");
        assert!(error.hint().unwrap().contains("window_stop (timestamp)"), "{:?}", error.hint());
        assert!(error.hint().unwrap().contains("limit (count, default 20)"), "{:?}", error.hint());

        let params = Params::from([("window".to_owned(), "x".to_owned())]);
        let error = query.values(&params, now).unwrap_err();
        assert_eq!(error.to_string(), "query top_talkers has no parameter window");
    }
}

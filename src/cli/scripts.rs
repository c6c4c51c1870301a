//! `duckdb-init` and `athena-ddl`: scripts by which other tools read the store. The SQL lies beside this file; values go
//! into it quoted. Nothing is asked of the store.

use super::setup::Setup;
use crate::catalog::{DIGESTS, FileKind};
use crate::error::{Error, Result};
use crate::flow;
use crate::session::Location;
use crate::window::parse_time;
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};

const DUCKDB: &str = include_str!("scripts/duckdb.sql");
const DUCKDB_S3: &str = include_str!("scripts/duckdb_s3.sql");
const ATHENA: &str = include_str!("scripts/athena.sql");
const ATHENA_TABLE: &str = include_str!("scripts/athena_table.sql");
/// How far back Athena looks for days unless it is told: three years.
const ATHENA_SINCE: &str = "-1095d";

/// Views over the store for DuckDB.
pub(super) fn duckdb(setup: &Setup) -> Result<String> {
    let store = setup.store_location(false)?;
    let bucket = match &store.bucket {
        Some(_) => fill(DUCKDB_S3, &[("{options}", &secret(setup, &store)?)]),
        None => String::new(),
    };
    let manifests = format!("{}/*/*/*/*.json", as_pattern(&digests(&store)?));
    Ok(fill(DUCKDB, &[("{bucket}", &bucket), ("{manifests}", &quoted(&manifests))]))
}

/// Tables and views over the store for Athena, over the days since `since`.
pub(super) fn athena(setup: &Setup, since: Option<&str>) -> Result<String> {
    let store = setup.store_location(false)?;
    if store.bucket.is_none() {
        return Err(Error::invalid(format!("store {} is in no bucket: Athena reads S3 alone", store.url))
            .with_hint("give --store s3://BUCKET/PREFIX; `flowdiff duckdb-init` reads folders too"));
    }
    let digests = digests(&store)?;
    // Hive's own escapes differ from those of SQL, and ${} means something in the template.
    if digests.contains(|c: char| c.is_control() || "'\"\\$`".contains(c)) {
        return Err(Error::invalid(format!("the prefix of {} cannot be named in Athena", store.url))
            .with_hint("a prefix without quotes, backslashes and $ can"));
    }
    let since = parse_time(since.unwrap_or(ATHENA_SINCE), setup.clock.now())?.date_naive().to_string();
    let mut script = ATHENA.to_owned();
    for (kind, schema) in [
        (FileKind::Edges, flow::edges_schema()),
        (FileKind::Interfaces, flow::interfaces_schema()),
        (FileKind::Objects, flow::objects_schema()),
    ] {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        script += &fill(
            ATHENA_TABLE,
            &[
                ("{kind}", kind.name()),
                ("{columns}", &columns(&schema)?),
                ("{names}", &names.join(", ")),
                ("{digests}", &digests),
                ("{since}", &since),
            ],
        );
    }
    Ok(script)
}

/// Folder of the digests as other programs name it.
fn digests(store: &Location) -> Result<String> {
    match (&store.bucket, &store.folder) {
        (Some(bucket), _) => {
            let root = store.root.as_ref();
            let slash = if root.is_empty() { "" } else { "/" };
            Ok(format!("s3://{}{slash}{root}/{DIGESTS}", bucket.name()))
        }
        (None, Some(folder)) => {
            let folder = folder.to_str().ok_or_else(|| {
                Error::invalid(format!("the name of folder {} is no UTF-8", folder.display()))
                    .with_hint("SQL is text: name the folder otherwise")
            })?;
            Ok(format!("{}/{DIGESTS}", folder.trim_end_matches('/')))
        }
        (None, None) => Err(Error::invalid(format!("store {} is in no place that others can read", store.url))),
    }
}

/// What DuckDB is told of the bucket: as far as settings say it; the rest it finds by itself.
fn secret(setup: &Setup, store: &Location) -> Result<String> {
    let config = setup.config();
    let (aws, region) = (&config.aws, config.store.region.as_ref().or(config.aws.region.as_ref()));
    let bucket = store.bucket.as_ref().map_or("", |bucket| bucket.name());
    let mut options = vec![("TYPE", "s3".to_owned()), ("SCOPE", quoted(&format!("s3://{bucket}")))];
    options.push(("PROVIDER", if aws.no_sign_request { "config" } else { "credential_chain" }.to_owned()));
    options.extend(region.map(|region| ("REGION", quoted(region))));
    options.extend(aws.profile.as_ref().filter(|_| !aws.no_sign_request).map(|profile| ("PROFILE", quoted(profile))));
    if let Some(endpoint) = &aws.endpoint_url {
        let refused =
            || Error::invalid("aws.endpoint_url is no URL").with_hint("write http://HOST:PORT or https://HOST");
        let (scheme, host) = endpoint.split_once("://").ok_or_else(refused)?;
        options.push(("ENDPOINT", quoted(host.trim_end_matches('/'))));
        options.push(("URL_STYLE", quoted("path")));
        options.push(("USE_SSL", (scheme == "https").to_string()));
    }
    let options: Vec<String> = options.into_iter().map(|(name, value)| format!("{name} {value}")).collect();
    Ok(options.join(", "))
}

/// The columns of a table as Athena declares them.
fn columns(schema: &SchemaRef) -> Result<String> {
    let column = |field: &FieldRef| {
        let hive = match field.data_type() {
            DataType::Utf8View => "string",
            DataType::UInt8 | DataType::UInt16 => "int",
            DataType::Int64 => "bigint",
            DataType::Timestamp(..) => "timestamp",
            other => return Err(Error::internal(format!("no type of Athena is known for {} ({other})", field.name()))),
        };
        Ok(format!("    `{}` {hive}", field.name()))
    };
    Ok(schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?.join(",\n"))
}

/// A text of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A path that stands for itself alone where patterns are read.
fn as_pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            c => pattern.push(c),
        }
    }
    pattern
}

/// Puts values in the place of their marks, in one pass: what is in a value is never taken for a mark.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((at, mark, value)) =
        values.iter().filter_map(|(mark, value)| Some((rest.find(mark)?, *mark, *value))).min()
    {
        filled.push_str(&rest[..at]);
        filled.push_str(value);
        rest = &rest[at + mark.len()..];
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_taken_for_a_mark() {
        assert_eq!(fill("a {x} {y} {x} {z}", &[("{x}", "{y}"), ("{y}", "'{x}'")]), "a {y} '{x}' {y} {z}");
    }

    #[test]
    fn quotes_and_patterns_stand_for_themselves() {
        assert_eq!(quoted("it's; DROP"), "'it''s; DROP'");
        assert_eq!(as_pattern("/a [b]/*?"), "/a [[]b]/[*][?]");
    }
}

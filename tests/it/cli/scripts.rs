//! The scripts for other tools: their text, and what DuckDB makes of one.

use super::flowdiff;
use super::screens::{check, screen};
use crate::store_contract::digest::{draft, window};
use flowdiff::catalog::{Catalog, Draft};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use std::process::Command;
use std::sync::Arc;

#[test]
fn scripts_for_other_tools() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("digests")).unwrap();
    let bucket = ["--store", "s3://my-digests/flow/"];
    check(
        "duckdb_init",
        &screen(
            folder.path(),
            &[
                &["duckdb-init", "--store", "digests"],
                &[&["duckdb-init", "--region", "eu-west-1", "--profile", "it's"][..], &bucket].concat(),
                &[&["duckdb-init", "--endpoint-url", "http://127.0.0.1:9000", "--no-sign-request"][..], &bucket]
                    .concat(),
                &["duckdb-init", "--store", "nowhere"],
            ],
        )
        .replace(folder.path().canonicalize().unwrap().to_str().unwrap(), "[folder]"),
    );
    check(
        "athena_ddl",
        &screen(
            folder.path(),
            &[
                &[&["athena-ddl", "--since", "2024-01-01"][..], &bucket].concat(),
                &["athena-ddl", "--store", "digests"],
                &["athena-ddl", "--store", "s3://my-digests/it's"],
                &[&["athena-ddl", "--since", "noon"][..], &bucket].concat(),
            ],
        ),
    );
}

/// Runs the script of its first argument, then prints what each of the others selects, as JSON lines.
const PYTHON: &str = "
import duckdb, json, sys
connection = duckdb.connect()
connection.execute(open(sys.argv[1]).read())
for query in sys.argv[2:]:
    for row in connection.execute(f'SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({query})').fetchall():
        print(json.dumps(row))
";

/// A Python that has DuckDB: the one that `FLOWDIFF_TEST_DUCKDB` names, else the one of the path.
fn python() -> Option<String> {
    let python = std::env::var("FLOWDIFF_TEST_DUCKDB").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import duckdb"]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        crate::s3::say(&format!(
            "SKIPPED: duckdb-init in DuckDB: {python} cannot import duckdb; set FLOWDIFF_TEST_DUCKDB to a Python that can"
        ));
    }
    is_there.then_some(python)
}

#[tokio::test]
async fn duckdb_sees_the_newest_version_of_each_window_and_nothing_else() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    // Every letter of the name means something to SQL or in a pattern.
    let store = folder.path().join("it's [a] store*?");
    std::fs::create_dir(&store).unwrap();
    let local = LocalFileSystem::new_with_prefix(&store).unwrap();
    let catalog = Catalog::new(Arc::new(local), Path::default(), "store");
    for (text, edges) in [("2026-11-20T12", 3), ("2026-11-20T13", 4), ("2026-11-20T12:00Z/PT2H", 6)] {
        catalog.publish(draft(folder.path(), window(text), edges, true)).await.unwrap();
    }
    let late = Draft { version: 2, previous: Some(1), ..draft(folder.path(), window("2026-11-20T13"), 5, true) };
    let late = catalog.publish(late).await.unwrap();
    // A version whose writer never came to its manifest.
    let newest = store.join(catalog.file_path(&late, flowdiff::catalog::FileKind::Edges).unwrap().as_ref());
    std::fs::copy(&newest, newest.with_file_name("00000003-0123456789abcdef.edges.parquet")).unwrap();

    let script = folder.path().join("init.sql");
    let store = store.to_str().unwrap();
    flowdiff(folder.path()).args(["duckdb-init", "--output", "init.sql", "--store", store]).assert().success();
    let output = Command::new(python)
        .args(["-c", PYTHON])
        .arg(&script)
        .args([
            "SELECT window_start, window_stop, window_width, count(*), sum(bytes) FROM edges GROUP BY ALL ORDER BY ALL",
            "SELECT window_start, window_stop, version, state, lag_seconds, edges, objects_listed FROM windows ORDER BY ALL",
            "SELECT count(*) FROM interfaces WHERE window_width = 3600",
            "SELECT object_key FROM objects WHERE window_start = '2026-11-20 13:00:00+00' AND first_end IS NULL",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = r#"["2026-11-20 12:00:00+00", "2026-11-20 13:00:00+00", "3600", "3", "3"]
["2026-11-20 12:00:00+00", "2026-11-20 14:00:00+00", "7200", "6", "15"]
["2026-11-20 13:00:00+00", "2026-11-20 14:00:00+00", "3600", "5", "10"]
["2026-11-20 12:00:00+00", "2026-11-20 13:00:00+00", "1", "final", "39600", "3", "7"]
["2026-11-20 12:00:00+00", "2026-11-20 14:00:00+00", "1", "final", "36000", "6", "7"]
["2026-11-20 13:00:00+00", "2026-11-20 14:00:00+00", "2", "final", "36000", "5", "7"]
["2"]
["text-000000"]
"#;
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

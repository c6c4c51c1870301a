//! The part of the contract that SQL sees.

use super::digest::{draft, window};
use super::{Draft, Place};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{SessionConfig, SessionContext};
use flowdiff::catalog::{Catalog, FileKind, read_file, register};

fn session(catalog: &Catalog) -> SessionContext {
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    register(&ctx, catalog).unwrap();
    ctx
}

async fn sql(ctx: &SessionContext, query: &str) -> String {
    let batches = ctx.sql(query).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// The cells of a result with one row and one column.
async fn value(ctx: &SessionContext, query: &str) -> String {
    let table = sql(ctx, query).await;
    table.lines().nth(3).unwrap_or_default().trim_matches(['|', ' ']).to_owned()
}

pub(super) async fn read_only_the_windows_asked_for(place: Place) {
    // Files with and without Arrow's own schema read alike.
    for (number, text) in ["2026-11-20T12", "2026-11-20T13", "2026-11-21T12", "2026-01-01T00"].iter().enumerate() {
        let draft = draft(place.folder.path(), window(text), number + 1, number % 2 == 0);
        place.catalog.publish(draft).await.unwrap();
    }
    let ctx = session(&place.catalog);
    let at = "TIMESTAMP '2026-11-20T13:00:00Z'";
    for (filter, rows, folders) in [
        (format!("window_start = {at}"), 2, vec!["start=20261120T1300Z"]),
        (
            format!("window_start = {at} AND window_stop = TIMESTAMP '2026-11-20T14:00:00Z'"),
            2,
            vec!["start=20261120T1300Z"],
        ),
        (format!("window_start >= {at}"), 5, vec!["start=20261120T1300Z", "start=20261121T1200Z"]),
        (format!("window_stop <= {at} AND window_start > TIMESTAMP '2026-11-01'"), 1, vec!["start=20261120T1200Z"]),
        (
            format!("window_start IN ({at}, TIMESTAMP '2026-11-21T12:00:00Z')"),
            5,
            vec!["start=20261120T1300Z", "start=20261121T1200Z"],
        ),
        (format!("window_start = {at} AND srcaddr = 'text-000001'"), 1, vec!["start=20261120T1300Z"]),
        ("window_start = TIMESTAMP '2026-11-19'".to_owned(), 0, vec![]),
    ] {
        place.store.take_seen();
        let query = format!("SELECT count(bytes), sum(bytes), max(srcaddr) FROM edges WHERE {filter}");
        let plan = sql(&ctx, &format!("EXPLAIN {query}")).await;
        let mut read: Vec<String> = place.store.take_seen();
        read.retain(|path| path.ends_with(".json"));
        assert_eq!(read.len(), folders.len(), "{filter}: {read:?}");
        for folder in ["start=20261120T1200Z", "start=20261120T1300Z", "start=20261121T1200Z", "start=20260101T0000Z"] {
            assert_eq!(plan.contains(folder), folders.contains(&folder), "{filter}: {plan}");
        }
        let counted = value(&ctx, &format!("SELECT count(bytes) FROM edges WHERE {filter}")).await;
        assert_eq!(counted, rows.to_string(), "{filter}");
    }
    place.store.take_seen();
    sql(&ctx, &format!("SELECT * FROM edges WHERE window_start = {at}")).await;
    let seen = place.store.take_seen();
    assert!(!seen.iter().any(|path| path.contains("date=2026-11-21")), "other days are not even listed: {seen:?}");
    let plan = sql(&ctx, "EXPLAIN SELECT * FROM edges WHERE srcaddr = 'text-000001'").await;
    assert!(plan.contains("pruning_predicate="), "other filters reach Parquet: {plan}");
}

pub(super) async fn show_windows_that_overlap(place: Place) {
    for (text, edges) in [("2026-11-20", 5), ("2026-11-20T12", 3)] {
        place.catalog.publish(place.draft(text, edges)).await.unwrap();
    }
    let query = "SELECT window_start, window_stop, count(*) AS edges FROM edges
                 GROUP BY window_start, window_stop ORDER BY window_start, window_stop";
    let expected = "\
+----------------------+----------------------+-------+
| window_start         | window_stop          | edges |
+----------------------+----------------------+-------+
| 2026-11-20T00:00:00Z | 2026-11-21T00:00:00Z | 5     |
| 2026-11-20T12:00:00Z | 2026-11-20T13:00:00Z | 3     |
+----------------------+----------------------+-------+";
    assert_eq!(sql(&session(&place.catalog), query).await, expected);
}

pub(super) async fn count_from_the_manifests(place: Place) {
    for (text, edges) in [("2026-11-20T12", 5), ("2026-11-20T13", 3)] {
        place.catalog.publish(place.draft(text, edges)).await.unwrap();
    }
    let ctx = session(&place.catalog);
    place.store.take_seen();
    assert_eq!(value(&ctx, "SELECT count(*) FROM edges").await, "8");
    let seen = place.store.take_seen();
    assert!(!seen.iter().any(|path| path.ends_with(".parquet")), "no file is opened: {seen:?}");
    assert_eq!(value(&ctx, "SELECT count(*) FROM edges WHERE bytes >= 2").await, "4");
    assert_eq!(value(&ctx, "SELECT count(*) FROM (SELECT * FROM edges LIMIT 6)").await, "6");
    assert_eq!(value(&ctx, "SELECT count(*) FROM (SELECT srcaddr FROM edges LIMIT 6 OFFSET 1)").await, "6");
    assert_eq!(value(&ctx, "SELECT count(*) FROM interfaces, objects WHERE objects.size = 0").await, "4");
}

pub(super) async fn windows_tell_coverage(place: Place) {
    for text in ["2026-11-20T13", "2026-11-20T12"] {
        place.catalog.publish(place.draft(text, 5)).await.unwrap();
    }
    let ctx = session(&place.catalog);
    let query =
        "SELECT window_start, version, state, edges, objects_listed, silent_flow_logs, wall_seconds, cpu_seconds
                 FROM windows ORDER BY window_start";
    let expected = "\
+----------------------+---------+-------+-------+----------------+------------------+--------------+-------------+
| window_start         | version | state | edges | objects_listed | silent_flow_logs | wall_seconds | cpu_seconds |
+----------------------+---------+-------+-------+----------------+------------------+--------------+-------------+
| 2026-11-20T12:00:00Z | 1       | final | 5     | 7              | 1                | 0.5          |             |
| 2026-11-20T13:00:00Z | 1       | final | 5     | 7              | 1                | 0.5          |             |
+----------------------+---------+-------+-------+----------------+------------------+--------------+-------------+";
    assert_eq!(sql(&ctx, query).await, expected);
    let filter = "window_stop = TIMESTAMP '2026-11-20T13:00:00Z'";
    assert_eq!(value(&ctx, &format!("SELECT count(*) FROM windows WHERE {filter}")).await, "1");
}

pub(super) async fn one_version_can_be_read_alone(place: Place) {
    let first = place.draft("2026-11-20T12", 3);
    let old = place.catalog.publish(first).await.unwrap();
    let second = Draft { version: 2, previous: Some(1), ..place.draft("2026-11-20T12", 4) };
    let new = place.catalog.publish(second).await.unwrap();
    let ctx = SessionContext::new();
    for (manifest, rows) in [(&old, 3), (&new, 4)] {
        let edges = read_file(&ctx, &place.catalog, manifest, FileKind::Edges).unwrap();
        let sorted =
            edges.sort(flowdiff::flow::EDGE_KEY.map(|key| datafusion::prelude::col(key).sort(true, false)).into());
        let plan = sorted.unwrap().create_physical_plan().await.unwrap();
        let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
        assert!(!text.contains("SortExec"), "the file is known to be sorted: {text}");
        let batches = datafusion::physical_plan::collect(plan, ctx.task_ctx()).await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), rows);
    }
    assert_eq!(value(&session(&place.catalog), "SELECT count(bytes) FROM edges").await, "4", "the newest alone");
}

pub(super) async fn are_empty_over_an_empty_store(place: Place) {
    let ctx = session(&place.catalog);
    for table in ["edges", "interfaces", "objects", "windows"] {
        assert_eq!(
            value(&ctx, &format!("SELECT count(*) FROM {table} WHERE window_start < now()")).await,
            "0",
            "{table}"
        );
    }
}

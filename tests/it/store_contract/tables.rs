//! The part of the contract that SQL sees.

use super::digest::{draft, window};
use super::store::Fault;
use super::{Draft, Place};
use crate::random::Random;
use chrono::TimeDelta;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{SessionConfig, SessionContext};
use flowdiff::catalog::{Catalog, FileKind, read_file, register};
use flowdiff::window::{Prefer, Window, tile};
use std::collections::BTreeSet;

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
        (
            format!("window_width = 3600 AND window_stop <= {at}"),
            5,
            vec!["start=20261120T1200Z", "start=20260101T0000Z"],
        ),
        ("window_width > 3600".to_owned(), 0, vec![]),
    ] {
        // Nothing of an earlier query is remembered.
        let ctx = session(&place.with(Fault::None));
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
    let ctx = session(&place.catalog);
    place.store.take_seen();
    sql(&ctx, &format!("SELECT * FROM edges WHERE window_start = {at}")).await;
    let seen = place.store.take_seen();
    assert!(!seen.iter().any(|path| path.contains("date=2026-11-21")), "other days are not even listed: {seen:?}");
    let plan = sql(&ctx, "EXPLAIN SELECT * FROM edges WHERE srcaddr = 'text-000001'").await;
    assert!(plan.contains("pruning_predicate="), "other filters reach Parquet: {plan}");
}

pub(super) async fn count_an_hour_and_its_day_once(place: Place) {
    let rows = async |filter: &str| {
        let query = format!(
            "SELECT window_start, window_width, count(*) AS edges FROM edges {filter}
             GROUP BY window_start, window_width ORDER BY window_start, window_width"
        );
        let table = sql(&session(&place.catalog), &query).await;
        let lines = table.lines().filter(|line| line.starts_with("| 2026"));
        lines
            .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned())
            .collect::<Vec<_>>()
    };
    // Six hours that lack one, and all of them at once.
    place.catalog.publish(place.draft("2026-11-20T06:00Z/PT6H", 6)).await.unwrap();
    for hour in ["06", "07", "08", "09", "10"] {
        place.catalog.publish(place.draft(&format!("2026-11-20T{hour}"), 1)).await.unwrap();
    }
    assert_eq!(rows("").await, ["2026-11-20T06:00:00Z 21600 6"], "the hours are less than what is published");
    assert_eq!(rows("WHERE bytes = 0").await, ["2026-11-20T06:00:00Z 21600 1"], "other predicates choose no windows");
    assert_eq!(
        rows("WHERE window_start >= TIMESTAMP '2026-11-20T09:00:00Z'").await,
        ["2026-11-20T09:00:00Z 3600 1", "2026-11-20T10:00:00Z 3600 1"]
    );
    assert_eq!(rows("WHERE window_width = 3600").await.len(), 5);
    // The hour that lacked.
    place.catalog.publish(place.draft("2026-11-20T11", 1)).await.unwrap();
    let hours = rows("").await;
    assert_eq!((hours.len(), hours[0].as_str()), (6, "2026-11-20T06:00:00Z 3600 1"), "hours are finer");
    assert_eq!(rows("WHERE window_width = 21600").await, ["2026-11-20T06:00:00Z 21600 6"]);
    let ctx = session(&place.catalog);
    assert_eq!(value(&ctx, "SELECT count(*) FROM windows").await, "7", "the table of windows has them all");
    let plan =
        sql(&ctx, "EXPLAIN ANALYZE SELECT max(bytes) FROM edges WHERE window_start > TIMESTAMP '2026-11-20T07:00:00Z'");
    let plan = plan.await;
    for told in ["digests_listed=7", "digests_refused=3", "digests_overlapped=0"] {
        assert!(plan.contains(told), "{plan}");
    }
    assert!(sql(&ctx, "EXPLAIN ANALYZE SELECT max(bytes) FROM edges").await.contains("digests_overlapped=1"));
}

/// Whatever overlaps and whatever is asked: what SQL reads of `edges` is the finest tiling of the windows asked for, and
/// of `windows` all of them.
pub(super) async fn read_the_finest_tiling(place: Place) {
    for seed in 0..8 {
        let mut random = Random(seed);
        let catalog =
            Catalog::new(place.store.clone(), place.catalog.root.clone().join(seed.to_string()), "test://store");
        let origin = window("2026-11-20T00").start();
        let mut published = BTreeSet::new();
        for _ in 0..12 {
            let (start, hours) = (random.below(12) as i64, [1, 1, 1, 2, 3, 6][random.below(6) as usize]);
            let start = origin + TimeDelta::hours(start - start % hours.min(2));
            let drawn = Window::new(start, start + TimeDelta::hours(hours)).unwrap();
            if published.insert(drawn) {
                catalog.publish(draft(place.folder.path(), drawn, 1, true)).await.unwrap();
            }
        }
        let ctx = session(&catalog);
        for _ in 0..6 {
            let (from, to, width) =
                (random.below(6) as i64, 6 + random.below(8) as i64, [1, 3, 6][random.below(3) as usize]);
            let (from, to) = (origin + TimeDelta::hours(from), origin + TimeDelta::hours(to));
            let asked: Vec<Window> = published
                .iter()
                .filter(|w| w.start() >= from && w.stop() <= to && w.width() <= TimeDelta::hours(width))
                .copied()
                .collect();
            let filter = format!(
                "window_start >= TIMESTAMP '{}' AND window_stop <= TIMESTAMP '{}' AND window_width <= {}",
                from.to_rfc3339(),
                to.to_rfc3339(),
                width * 3600
            );
            let read = async |table: &str| {
                let query = format!(
                    "SELECT DISTINCT CAST(window_start AS VARCHAR) || ' ' || CAST(window_width AS VARCHAR) AS w
                     FROM {table} WHERE {filter} ORDER BY w"
                );
                let text = sql(&ctx, &query).await;
                text.lines()
                    .filter(|line| line.contains("2026"))
                    .map(|l| l.trim_matches(['|', ' ']).to_owned())
                    .collect::<Vec<_>>()
            };
            let shown = |windows: &[Window]| {
                let text =
                    |w: &Window| format!("{} {}", w.start().format("%Y-%m-%dT%H:%M:%SZ"), w.width().num_seconds());
                let mut shown: Vec<String> = windows.iter().map(text).collect();
                shown.sort();
                shown
            };
            let tiles = tile(&Window::new(from, to).unwrap(), &asked, Prefer::Finest).tiles;
            assert_eq!(read("edges").await, shown(&tiles), "seed {seed}: {filter}");
            assert_eq!(read("windows").await, shown(&asked), "seed {seed}: {filter}");
        }
    }
}

pub(super) async fn read_a_manifest_once(place: Place) {
    for hour in 10..20 {
        place.catalog.publish(place.draft(&format!("2026-11-20T{hour}"), 2)).await.unwrap();
    }
    let manifests_read = async |catalog: &Catalog| {
        let ctx = session(catalog);
        place.store.take_seen();
        for _ in 0..2 {
            assert_eq!(
                value(&ctx, "SELECT count(*) FROM edges AS a JOIN edges AS b USING (window_start, bytes)").await,
                "20"
            );
        }
        place.store.take_seen().iter().filter(|path| path.ends_with(".json")).count()
    };
    let fresh = || place.with(Fault::None);
    assert_eq!(manifests_read(&fresh()).await, 10);
    assert_eq!(manifests_read(&fresh().with_manifest_cache(0)).await, 40, "two scans in each of two queries");
    let late = Draft { version: 2, previous: Some(1), ..place.draft("2026-11-20T10", 3) };
    let remembering = fresh();
    assert_eq!(manifests_read(&remembering).await, 10);
    place.catalog.publish(late).await.unwrap();
    assert_eq!(value(&session(&remembering), "SELECT count(*) FROM edges").await, "21", "a new version is seen");
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

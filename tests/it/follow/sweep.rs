//! What followers and `retain` remove, and what they forget.

use super::{GO_ON, Notebook, Site, command, described};
use crate::corpora::builder;
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::pipeline::follow::Follower;
use flowdiff::window::Window;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn versions_go_that_were_superseded_an_hour_ago() {
    let site = Site::new();
    let mut follower = site.follower("2026-11-20T12:12:00Z");
    for minute in [5, 10, 15, 20, 25] {
        site.write(1, &format!("2026-11-20T12:{minute:02}:00Z"));
        site.follow(&mut follower, &format!("2026-11-20T12:{}:00Z", minute + 7)).await;
    }
    let versions = async || {
        let catalog = builder(&site.path("logs"), &site.path("store")).catalog;
        let versions = catalog.versions(&Window::parse("2026-11-20T12", Timestamp::UNIX_EPOCH).unwrap()).await.unwrap();
        versions.iter().map(described).collect::<Vec<_>>()
    };
    assert_eq!(versions().await.len(), 5);
    let sweep = async |follower: &mut Follower, now: &str| {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        follower.sweep().await.unwrap()
    };
    assert_eq!(sweep(&mut follower, "2026-11-20T13:16:59Z").await, 0);
    assert_eq!(sweep(&mut follower, "2026-11-20T13:27:00Z").await, 3, "while the window is still open");
    assert_eq!(versions().await, ["20 12:00 v4 provisional 4", "20 12:00 v5 provisional 5"]);
    site.write(1, "2026-11-20T13:30:00Z");
    site.follow(&mut follower, "2026-11-20T13:40:00Z").await;
    // Another one sweeps at the same time.
    let mut other = site.follower("2026-11-20T14:40:00Z");
    follower.set_clock(Clock::fixed("2026-11-20T14:40:00Z".parse().unwrap()));
    let (one, two) = tokio::join!(follower.sweep(), other.sweep());
    assert!((one.unwrap() + two.unwrap()) >= 2);
    assert_eq!(versions().await, ["20 12:00 v6 final 5"]);
    // What is late builds on what is left.
    site.write(2, "2026-11-20T12:30:00Z");
    let told = site.follow(&mut follower, "2026-11-20T14:45:00Z").await;
    assert!(told.contains(&"20 12:00 v7 final 6".to_owned()), "{told:?}");
    sweep(&mut other, "2026-11-21T14:45:00Z").await;
    assert_eq!(versions().await, ["20 12:00 v6 final 5", "20 12:00 v7 final 6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_of_windows_that_nobody_looks_at_any_more_is_forgotten() {
    let site = Site::new();
    let notebook = Arc::new(Notebook::default());
    site.write(1, "2026-11-20T10:10:00Z");
    let mut follower = site.follower("2026-11-20T12:15:00Z").with_sink(notebook.clone());
    follower.round(Vec::new(), &GO_ON).await.unwrap();
    assert_eq!(follower.settle().await, 0);
    let lines = || {
        std::fs::read_dir(site.path("store/v1/closings")).map_or(0, |folders| {
            folders.filter(|folder| std::fs::read_dir(folder.as_ref().unwrap().path()).unwrap().count() > 0).count()
        })
    };
    assert_eq!(lines(), 2);
    for (now, left) in [("2026-11-24T09:59:00Z", 2), ("2026-11-24T10:00:00Z", 1), ("2026-11-24T11:00:00Z", 0)] {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        follower.sweep().await.unwrap();
        assert_eq!(lines(), left, "{now}");
    }
}

/// Counts are those of the thread that sweeps: of the test, as nothing is spawned for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_sweep_removes_is_counted() {
    let site = Site::new();
    let mut follower = site.follower("2026-11-20T12:12:00Z").with_sink(Arc::new(Notebook::default()));
    for minute in [5, 10, 15] {
        site.write(1, &format!("2026-11-20T12:{minute:02}:00Z"));
        site.follow(&mut follower, &format!("2026-11-20T12:{}:00Z", minute + 7)).await;
    }
    site.write(1, "2026-11-20T13:30:00Z");
    site.follow(&mut follower, "2026-11-20T13:40:00Z").await;
    assert_eq!(follower.settle().await, 0);
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let counted = || {
        let text = recorder.handle().render();
        let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with("flowdiff_")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (now, expected) in [
        ("2026-11-20T13:20:00Z", &["flowdiff_superseded_versions_removed_total 1"][..]),
        ("2026-11-20T14:40:00Z", &["flowdiff_superseded_versions_removed_total 3"]),
        (
            "2026-11-30T00:00:00Z",
            &[
                "flowdiff_journals_removed_total{journal=\"closings\"} 2",
                "flowdiff_superseded_versions_removed_total 3",
            ],
        ),
        (
            "2026-11-30T00:10:00Z",
            &[
                "flowdiff_journals_removed_total{journal=\"closings\"} 2",
                "flowdiff_superseded_versions_removed_total 3",
            ],
        ),
    ] {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        follower.sweep().await.unwrap();
        assert_eq!(counted(), expected, "{now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_tells_what_was_superseded_and_removes_it_where_it_is_told_to() {
    let site = Site::new();
    let minute = |minute: i64| {
        let hour = Clock::system().now().timestamp() / 3600 * 3600 - 4 * 3600;
        chrono::DateTime::from_timestamp(hour + 60 * minute, 0).unwrap().to_rfc3339()
    };
    let mut follower = site.follower(&minute(12));
    for time in [35, 40, 45] {
        site.write(1, &minute(time));
        site.follow(&mut follower, &minute(time + 7)).await;
    }
    for (args, words) in [
        (&["retain"][..], "2 versions"),
        (&["retain", "--superseded", "1d"], "0 versions"),
        (&["retain", "--apply"], "2 superseded versions"),
        (&["retain"], "0 versions"),
    ] {
        let output = command(&site, args).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && said.contains(words), "{args:?}: {said}");
    }
    assert_eq!(site.windows().await.len(), 1);
}

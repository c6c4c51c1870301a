//! The binary as a user runs it: the demo and the commands it names, wrong input, exit codes.

use assert_cmd::Command;
use std::path::Path;

fn flowdiff(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("flowdiff").unwrap();
    command.current_dir(folder).env_clear();
    command
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const BEFORE: &str = "2026-11-20T12:00Z/PT1H";
const AFTER: &str = "2026-11-20T13:00Z/PT1H";

#[test]
fn the_demo_shows_each_planted_change_with_its_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let table = stdout(flowdiff(folder.path()).arg("demo"));
    let line = |words: &[&str]| table.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["added", "new", "4444"]), "{table}");
    assert!(line(&["removed", "gone", "10.10.2.71"]), "{table}");
    assert!(line(&["changed", "volume", "10.20.2.71"]), "{table}");
    assert!(line(&["removed", "unobserved_after", "eni-0b66204b14302a53d"]), "{table}");

    let store = ["--source", "flowdiff-demo/logs", "--store", "flowdiff-demo/digests"];
    let diff = |extra: &[&str]| {
        let mut command = flowdiff(folder.path());
        command.args(["diff", BEFORE, AFTER]).args(extra).args(store);
        command
    };
    diff(&["--exit-code"]).assert().code(1);
    let same = flowdiff(folder.path()).args(["diff", AFTER, AFTER, "--exit-code"]).args(store).output().unwrap();
    assert_eq!((same.status.code(), same.stdout.len()), (Some(0), 0));
    for by in ["edge", "link", "host", "interface"] {
        let rows = stdout(&mut diff(&["--by", by]));
        assert!(rows.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{rows}");
        assert!(rows.contains("\"change\":\"removed\""), "{by}: {rows}");
    }
    assert!(stdout(&mut diff(&["--format", "dot"])).contains("govpc_diff=\"ADDED\""));
    for format in ["json", "csv", "table", "graphml", "mermaid", "cytoscape"] {
        assert!(!stdout(&mut diff(&["--format", format])).is_empty(), "{format}");
    }

    let windows = stdout(flowdiff(folder.path()).args(["windows", "--format", "csv"]).args(store));
    assert_eq!(windows.lines().count(), 3, "{windows}");
    let graph = stdout(flowdiff(folder.path()).args(["graph", AFTER]).args(store));
    assert!(graph.starts_with("digraph"), "{graph}");
    let explained = stdout(
        flowdiff(folder.path())
            .args(["explain", AFTER, "--srcaddr", "10.10.2.81", "--dstaddr", "198.51.100.77", "--port", "4444"])
            .args(store),
    );
    assert!(explained.lines().next().unwrap().contains("\"object_key\":\"AWSLogs/"), "{explained}");
    let count =
        stdout(flowdiff(folder.path()).args(["sql", "SELECT count(*) AS n FROM flows", "--format", "csv"]).args(store));
    assert!(count.starts_with("n\n74"), "{count}");
    let checked = stdout(flowdiff(folder.path()).arg("check").args(store));
    assert!(checked.lines().all(|line| line.starts_with("ok")), "{checked}");
    stdout(
        flowdiff(folder.path())
            .args([
                "query",
                "top_talkers",
                "--param",
                "window_start=2026-11-20T12",
                "--param",
                "window_stop=2026-11-20T14",
            ])
            .args(store),
    );
}

#[test]
fn errors_name_the_thing_and_exit_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    for (args, code, words) in [
        (&["digest", "noon"][..], 2, "\"noon\""),
        (&["digest", "2026-11-20T12"], 2, "--source"),
        (&["digest", "2026-11-20T12", "--source", "nowhere"], 3, "nowhere"),
        (&["sql", "SELECT 1", "--store", "gopher://x"], 2, "gopher"),
        (&["query", "nothing"], 3, "top_talkers"),
        (&["config", "show", "--config", "missing.toml"], 3, "missing.toml"),
        (&["frobnicate"], 2, "frobnicate"),
    ] {
        let output = flowdiff(folder.path()).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_window_not_published_is_refused_by_no_build_and_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("flowdiff-digests")).unwrap();
    let output = flowdiff(folder.path()).args(["edges", BEFORE, "--no-build"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("2026-11-20T12:00Z"));
}

#[test]
fn settings_show_where_they_came_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flowdiff.toml"), "[session]\nthreads = 3\n").unwrap();
    let shown = stdout(flowdiff(folder.path()).args(["config", "show", "--origin", "--memory", "1GiB"]));
    assert!(shown.contains("threads = 3  # flowdiff.toml"), "{shown}");
    assert!(shown.contains("memory_bytes = \"1GiB\"  # command line"), "{shown}");
    assert!(shown.contains("ratio = 2.0  # default"), "{shown}");
}

#[test]
fn completions_and_the_manual_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(stdout(flowdiff(folder.path()).args(["completions", "bash"])).contains("flowdiff"));
    assert!(stdout(flowdiff(folder.path()).arg("man")).contains(".TH flowdiff"));
}

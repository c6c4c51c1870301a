//! The binary as a user runs it: the demo and the commands it names, wrong input, exit codes.

pub(crate) mod screens;
mod scripts;

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
fn an_output_is_written_in_the_format_that_its_name_says() {
    let folder = tempfile::tempdir().unwrap();
    let sample = screens::sample();
    let begin = |name: &str, more: &[&str]| {
        let path = folder.path().join(name);
        let args = ["edges", "2024-05-01T12", "--store", "digests", "--output", path.to_str().unwrap()];
        flowdiff(sample).args(args).args(more).assert().success();
        String::from_utf8_lossy(&std::fs::read(path).unwrap()[..4]).into_owned()
    };
    for (name, expected) in [
        ("a.csv", "acco"),
        ("a.CSV", "acco"),
        ("a.json", "[{\"a"),
        ("a.jsonl", "{\"ac"),
        ("a.parquet", "PAR1"),
        ("a.dot", "digr"),
        ("a.graphml", "<?xm"),
        ("a.mmd", "flow"),
        ("a.log", "{\"ac"),
        ("csv", "{\"ac"),
    ] {
        assert_eq!(begin(name, &[]), expected, "{name}");
    }
    assert_eq!(begin("b.csv", &["--format", "json"]), "[{\"a", "what is said by name counts");
}

/// As behind `2>&1 | head`.
#[test]
fn a_command_ends_as_it_would_if_nobody_reads_what_it_says() {
    let store = ["--source", "logs", "--store", "digests"];
    for (args, code) in [
        (&["edges", "2024-05-01T12", "--format", "csv"][..], 0),
        (&["explain", "2024-05-01T12", "--srcaddr", "10.0.0.1", "--dstaddr", "10.0.1.1", "--log-level", "debug"], 0),
        (&["compact", "--from", "2024-05-01", "--to", "2024-05-03"], 0),
        (&["sql", "SELEC 1"], 2),
        (&["edges"], 2),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flowdiff"));
        let command = command.current_dir(screens::sample()).env_clear().args(args).args(store);
        let output = command.stdout(std::process::Stdio::piped()).stderr(writer).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_eq!(output.stdout.is_empty(), code == 2, "{args:?}");
    }
}

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
fn completions_and_the_manual_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(stdout(flowdiff(folder.path()).args(["completions", "bash"])).contains("flowdiff"));
    assert!(stdout(flowdiff(folder.path()).arg("man")).contains(".TH flowdiff"));
}

#[test]
fn a_file_of_output_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.parquet");
    stdout(
        flowdiff(folder.path())
            .args(["sql", "SELECT 1 AS n", "--source", ".", "--output", "out.parquet"])
            .args(["--format", "parquet"]),
    );
    assert!(std::fs::read(&out).unwrap().starts_with(b"PAR1"));
    let failing = ["sql", "SELECT 1 / 0 AS n", "--source", ".", "--output", "out.parquet"];
    assert_eq!(flowdiff(folder.path()).args(failing).output().unwrap().status.code(), Some(2));
    assert!(std::fs::read(&out).unwrap().starts_with(b"PAR1"), "what was there stays");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything.
    if std::fs::read_dir(&logs).is_ok() {
        return;
    }
    let output = flowdiff(folder.path()).args(["digest", "2024-05-01T12", "--source", "logs"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("logs"));
}

#[test]
fn without_credentials_a_bucket_is_refused_soon() {
    let folder = tempfile::tempdir().unwrap();
    let begun = std::time::Instant::now();
    // The discard port: no metadata service answers there.
    let mut command = flowdiff(folder.path());
    command
        .args(["windows", "--store", "s3://nobodys-bucket/x", "--region", "us-east-1"])
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("no AWS credentials") && text.contains("AWS_ACCESS_KEY_ID"), "{text}");
    assert!(begun.elapsed().as_secs() < 10);
}

#[cfg(unix)]
#[test]
fn an_interrupted_digest_publishes_nothing_and_ends_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let fifo_free = folder.path().join("logs");
    screens::write_logs(&fifo_free, 600);
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("flowdiff"))
        .current_dir(folder.path())
        .env_clear()
        .args(["digest", screens::BEFORE, "--source", "logs", "--threads", "1"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The window is said before the work begins.
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains("interrupted"), "{rest}");
    let windows = stdout(flowdiff(folder.path()).args(["windows", "--source", "logs"]));
    assert_eq!(windows, "");
}

//! What a user sees, screen by screen, as snapshots: help, settings, errors with their exit codes, every output format.
//! Review a change with `INSTA_UPDATE=always cargo test --test it screens` and `git diff`.

use super::flowdiff;
use flate2::{Compression, write::GzEncoder};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

pub(super) const BEFORE: &str = "2024-05-01T12";
const AFTER: &str = "2024-05-01T13";
/// 2024-05-01T12:00:00Z.
const NOON: i64 = 1_714_564_800;

/// Writes two hours of flow logs, an object every five minutes, its records `repeated`. In the second hour 10.0.0.3
/// has gone, 10.0.0.9 is new, and 10.0.0.2 sends a hundred times as much.
pub(super) fn write_logs(folder: &Path, repeated: usize) {
    let day = folder.join("AWSLogs/111122223333/vpcflowlogs/us-east-1/2024/05/01");
    std::fs::create_dir_all(&day).unwrap();
    for slot in 0..24_i64 {
        let end = NOON + slot * 300 + 60;
        let is_after = slot >= 12;
        let mut text = String::from(
            "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n",
        );
        let mut flow = |interface: &str, from: &str, to: &str, ports: &str, bytes: i64| {
            let line =
                format!("2 111122223333 {interface} {from} {to} {ports} 6 10 {bytes} {} {end} ACCEPT OK\n", end - 50);
            text += &line.repeat(repeated);
        };
        flow("eni-0000000000000000a", "10.0.0.1", "10.0.1.1", "40001 443", 1_000);
        flow("eni-0000000000000000a", "10.0.0.2", "10.0.1.1", "40002 5432", if is_after { 2_000_000 } else { 20_000 });
        if is_after {
            flow("eni-0000000000000000b", "10.0.0.9", "203.0.113.7", "40004 4444", 5_000);
        } else {
            flow("eni-0000000000000000b", "10.0.0.3", "10.0.1.2", "40003 22", 300);
        }
        let _ = writeln!(text, "2 111122223333 eni-0000000000000000c - - - - - - - {} {end} - NODATA", end - 60);
        let name = format!(
            "111122223333_vpcflowlogs_us-east-1_fl-0000000000000000f_20240501T{:02}{:02}Z_{slot:08x}.log.gz",
            12 + slot / 12,
            slot % 12 * 5
        );
        let mut gzip = GzEncoder::new(std::fs::File::create(day.join(name)).unwrap(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap();
    }
}

/// The logs in `logs` and both hours' digests in `digests`, made once.
pub(crate) fn sample() -> &'static Path {
    static SAMPLE: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        write_logs(&folder.path().join("logs"), 1);
        for window in [BEFORE, AFTER] {
            flowdiff(folder.path()).args(["digest", window]).args(PLACES).assert().success();
        }
        let path = folder.path().to_owned();
        (folder, path)
    });
    &SAMPLE.1
}

const PLACES: [&str; 4] = ["--source", "logs", "--store", "digests"];

/// Runs commands as a shell would show them: stdout, then stderr, then the exit code if it is not 0.
pub(super) fn screen(folder: &Path, commands: &[&[&str]]) -> String {
    let mut screen = String::new();
    for args in commands {
        let shown: Vec<String> = args
            .iter()
            .map(|arg| if arg.contains([' ', '*']) { format!("{arg:?}") } else { (*arg).to_owned() })
            .collect();
        let output = flowdiff(folder).args(*args).output().unwrap();
        let _ = writeln!(screen, "$ flowdiff {}", shown.join(" "));
        screen += &String::from_utf8(output.stdout).unwrap();
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            let _ = writeln!(screen, "2> {line}");
        }
        match output.status.code() {
            Some(0) => {}
            code => {
                let _ = writeln!(screen, "exit {}", code.unwrap());
            }
        }
        screen.push('\n');
    }
    screen
}

/// Compares a screen with its snapshot, times and sizes left out.
pub(super) fn check(name: &str, screen: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("../snapshots/cli");
    settings.add_filter(r"in \d+\.\d+ s\b", "in [time] s");
    settings.add_filter(r"\([0-9,]+ records/s\)", "([rate] records/s)");
    settings.add_filter(r"slow \d+\.\d+ s .*", "slow [object]");
    settings.add_filter(r"on \d+ threads", "on [n] threads");
    settings.add_filter(r"\d+(\.\d+)? (B|KiB|MiB)\b", "[size]");
    settings.add_filter(r"AWSLogs/\S+\.gz", "[key]");
    settings.add_filter(r"(final|provisional)  20\S+Z +\d+", "$1  [published]  [lag]");
    settings.add_filter(regex_escape(env!("CARGO_PKG_VERSION")).as_str(), "[version]");
    settings.bind(|| insta::assert_snapshot!(name, screen));
}

fn regex_escape(text: &str) -> String {
    text.replace('.', "\\.")
}

#[test]
fn a_backfill_and_what_is_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), 1);
    let range = ["--from", "2024-05-01T12:00Z", "--to", "2024-05-01T15:00Z", "--width", "30m"];
    let places = ["--source", "logs", "--store", "digests"];
    let backfill = |more: &[&'static str]| [&["backfill"], &range[..], &places, more].concat();
    let commands = [
        backfill(&["--dry-run"]),
        backfill(&["--roll-up", "1h", "--jobs", "1"]),
        backfill(&["--log-format", "json"]),
        backfill(&["--only-late"]),
        vec!["compact", "--from", "2024-05-01T12", "--to", "2024-05-01T14", "--width", "2h", "--store", "digests"],
        vec![
            "edges",
            "2024-05-01T12:30Z/2024-05-01T13:40Z",
            "--source",
            "logs",
            "--store",
            "digests",
            "--format",
            "csv",
        ],
        vec![
            "sql",
            "SELECT count(*) AS edges, sum(flows) AS flows FROM edges",
            "--window",
            "2024-05-01T12:30Z/PT1H",
            "--store",
            "digests",
        ],
        vec!["compact", "--from", "2024-05-01T12", "--to", "2024-05-01T14", "--width", "2h", "--store", "digest"],
        vec!["compact", "--from", "2024-04-20", "--to", "2024-05-03", "--store", "digests"],
        vec!["compact", "--from", "2024-05-01T12", "--to", "2024-05-01T18", "--store", "digests"],
        vec!["retain", "--store", "digests"],
        vec!["retain", "--hours", "30d", "--store", "digests"],
        vec!["retain", "--hours", "30d", "--apply", "--store", "digests"],
        vec!["windows", "--store", "digests", "--format", "csv"],
        vec!["backfill", "--from", "2023-05-01", "--to", "2023-05-02", "--source", "logs", "--store", "digests"],
        vec![
            "backfill",
            "--from",
            "2024-05-01",
            "--to",
            "2024-05-02",
            "--width",
            "7h",
            "--source",
            "logs",
            "--store",
            "digests",
        ],
        vec![
            "backfill",
            "--from",
            "2024-05-01T12:10Z",
            "--to",
            "2024-05-01T12:50Z",
            "--source",
            "logs",
            "--store",
            "digests",
        ],
    ];
    let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
    let mut screens = screen(folder.path(), &commands);
    // One window cannot be built again: some of its objects are gone. The other one can.
    let hours = ["--from", "2024-05-01T12:00Z", "--to", "2024-05-01T14:00Z", "--jobs", "1"];
    let again = [&["backfill"], &hours[..], &places, &["--force"]].concat();
    screens += &screen(folder.path(), &[&[&["backfill"], &hours[..], &places].concat()]);
    let day = folder.path().join("logs/AWSLogs/111122223333/vpcflowlogs/us-east-1/2024/05/01");
    for object in std::fs::read_dir(day).unwrap().map(Result::unwrap) {
        if object.file_name().to_str().unwrap().contains("T135") {
            std::fs::remove_file(object.path()).unwrap();
        }
    }
    screens += &screen(folder.path(), &[&again]);
    check("backfill", &screens);
}

#[test]
fn help_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    check("help", &screen(folder.path(), &[&["--help"], &["--version"]]));
    // The options that all of them share are told by `flowdiff --help`, and left out here.
    let commands: [&[&str]; 20] = [
        &["demo", "-h"],
        &["sql", "-h"],
        &["digest", "-h"],
        &["backfill", "-h"],
        &["compact", "-h"],
        &["retain", "-h"],
        &["windows", "-h"],
        &["edges", "-h"],
        &["graph", "-h"],
        &["diff", "-h"],
        &["query", "-h"],
        &["explain", "-h"],
        &["check", "-h"],
        &["duckdb-init", "-h"],
        &["athena-ddl", "-h"],
        &["config", "-h"],
        &["config", "show", "-h"],
        &["completions", "-h"],
        &["man", "-h"],
        &[],
    ];
    let mut screens = String::new();
    for args in commands {
        let shown = screen(folder.path(), &[args]);
        let own = shown.split("Options of every command:").next().unwrap();
        screens += own.trim_end();
        screens += "\n\n";
    }
    check("help_of_commands", &screens);
}

#[test]
fn settings_with_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flowdiff.toml"), "[session]\nthreads = 3\n").unwrap();
    let args = ["config", "show", "--origin", "--memory", "1GiB", "--store", "s3://key:secret@bucket/a"];
    check("settings", &screen(folder.path(), &[&args]));
}

#[test]
fn wrong_settings() {
    let folder = tempfile::tempdir().unwrap();
    let mut screens = String::new();
    for text in [
        "[session]\nthreds = 3\n",
        "[sesion]\nthreads = 3\n",
        "[session]\nthreads = \"many\"\n",
        "[session]\nthreads = = 3\n",
        "threads = 3\n",
    ] {
        std::fs::write(folder.path().join("own.toml"), text).unwrap();
        let _ = write!(screens, "{text}");
        screens += &screen(folder.path(), &[&["config", "show", "--config", "own.toml"]]);
    }
    for (name, value) in
        [("FLOWDIFF__SESSION__THREDS", "2"), ("FLOWDIFF__X", "2"), ("FLOWDIFF__SESSION__MEMORY_BYTES", "lots")]
    {
        let output = flowdiff(folder.path()).args(["config", "show"]).env(name, value).output().unwrap();
        let _ = writeln!(screens, "{name}={value}\n{}", String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(2));
    }
    check("wrong_settings", &screens);
}

#[test]
fn wrong_input() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::write(folder.path().join("no-queries.toml"), "[queries]\ndir = \"nowhere\"\n").unwrap();
    std::fs::write(folder.path().join("no-rows.toml"), "[serve]\npage_rows_max = 0\n").unwrap();
    let commands: &[&[&str]] = &[
        &["digest", "noon"],
        &["digest", "2024-05-01T13/2024-05-01T12"],
        &["digest", "2024-05-01T12:00:30Z/PT1H"],
        &["digest", "2300-01-01"],
        &["digest", BEFORE],
        &["digest", BEFORE, "--source", "nowhere"],
        &["digest", BEFORE, "--source", "file"],
        &["digest", BEFORE, "--source", "gopher://x"],
        &["digest", BEFORE, "--source", "logs", "--store", "~/digests"],
        &["digest", BEFORE, "--source", "logs", "--store", "s3:/bucket/digests"],
        &["digest", BEFORE, "--source", "arn:aws:s3:::bucket/logs"],
        &["edges", "latest"],
        &["edges", "2024-05-01T12:00Z"],
        &["edges", BEFORE],
        &["edges", BEFORE, "--store", "logs"],
        &["windows", "--store", "logs"],
        &["diff", AFTER, "previous"],
        &["diff", "previous", AFTER, "--min-bytes", "a lot"],
        &["digest", BEFORE, "--source", "logs"],
        &["diff", BEFORE],
        &["diff", BEFORE, AFTER, "--by", "subnet"],
        &["diff", BEFORE, AFTER, "--no-build"],
        &["query"],
        &["query", "top_talker"],
        &["query", "nothing"],
        &["query", "top_talkers", "--source", "logs"],
        &["query", "scanners", "--source", "logs"],
        &["query", "top_talkers", "--source", "logs", "--param", "limit"],
        &["sql", "SELECT 1", "--file", "own.sql"],
        &["sql", "SELECT 1", "--output", "none/rows.csv", "--source", "logs"],
        &["sql", "SELECT 1", "--output", "logs", "--source", "logs"],
        &["config", "show", "--config", "missing.toml"],
        &["check", "--source", "logs"],
        &["serve", "--listen", "localhost:8080"],
        &["serve", "--listen", "127.0.0.1:0", "--config", "no-queries.toml"],
        &["serve", "--listen", "127.0.0.1:0", "--config", "no-rows.toml"],
        &["frobnicate"],
    ];
    check("wrong_input", &screen(folder.path(), commands));
}

#[test]
fn wrong_sql() {
    let statements = [
        "INSERT INTO flows VALUES (1)",
        "COPY flows TO 'flows.csv'",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE TABLE x AS SELECT 1",
        "DROP TABLE flows",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN ANALYZE INSERT INTO edges SELECT * FROM edges",
        "SELECT 1; SELECT 2",
        "/* nothing */",
        "SELEC 1",
        "SELECT scraddr FROM flows",
        "SELECT count(*) FROM flows WHERE srcaddr = \"10.0.0.1\"",
        "SELECT srcaddr FROM flow",
        "SELECT cidr_contains('10.0.0.0/99', srcaddr) FROM flows",
        "SELECT nofunction(1)",
        "SELECT count(*) FROM flows WHERE start >= 'noon'",
        "SELECT count(*) FROM flows WHERE srcaddr = $address",
        "SELECT 1 / 0",
        "SELECT srcaddr, sum(1 / (bytes - bytes)) FROM flows GROUP BY srcaddr",
    ];
    let commands: Vec<Vec<&str>> = statements.iter().map(|text| [&["sql", *text][..], &PLACES].concat()).collect();
    let mut commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
    let graph = [&["sql", "SELECT 1 AS n", "--format", "dot"][..], &PLACES].concat();
    let twins = [&["sql", "SELECT 1 AS n, 2 AS n", "--format", "json"][..], &PLACES].concat();
    commands.extend([graph.as_slice(), twins.as_slice()]);
    check("wrong_sql", &screen(sample(), &commands));
}

#[test]
fn a_diff_in_every_text_format() {
    let formats = ["table", "ndjson", "json", "csv", "dot", "mermaid", "graphml", "cytoscape"];
    let commands =
        formats.map(|format| [&["diff", BEFORE, AFTER, "--by", "link", "--format", format][..], &PLACES].concat());
    check("diff_formats", &screen(sample(), &commands.each_ref().map(Vec::as_slice)));
}

#[test]
fn a_diff_at_every_grain_and_its_exit_code() {
    let commands = [
        &["diff", BEFORE, AFTER, "--format", "table"][..],
        &["diff", "previous", AFTER, "--by", "host", "--format", "table", "--exit-code"],
        &["diff", BEFORE, AFTER, "--by", "interface", "--format", "table", "--min-bytes", "100000000"],
        &["diff", AFTER, AFTER, "--format", "table", "--exit-code"],
        &["diff", "previous", AFTER, "--by", "host", "--format", "csv", "--min-bytes", "5MB"],
        &["diff", AFTER, "2024-05-01T14", "--no-build"],
    ];
    let commands = commands.map(|args| [args, &PLACES].concat());
    check("diff_grains", &screen(sample(), &commands.each_ref().map(Vec::as_slice)));
}

#[test]
fn a_graph_at_every_grain() {
    let commands = [
        &["graph", BEFORE, "--by", "edge"][..],
        &["graph", BEFORE, "--by", "link"],
        &["graph", BEFORE, "--by", "host"],
        &["graph", BEFORE, "--by", "interface"],
        &["graph", BEFORE, "--by", "host", "--format", "mermaid"],
        &["graph", BEFORE, "--by", "interface", "--format", "csv"],
        &["graph", BEFORE, "--by", "subnet"],
    ];
    let commands = commands.map(|args| [args, &PLACES].concat());
    check("graph_grains", &screen(sample(), &commands.each_ref().map(Vec::as_slice)));
}

#[test]
fn what_reads_a_store() {
    let commands = [
        &["windows", "--format", "table"][..],
        &["windows", "--from", "-1d", "--to", "-1h"],
        &["edges", BEFORE, "--format", "table"],
        &["graph", BEFORE],
        &["explain", AFTER, "--srcaddr", "10.0.0.9", "--dstaddr", "203.0.113.7", "--limit", "1"],
        &["explain", AFTER, "--srcaddr", "10.0.0.9", "--dstaddr", "203.0.113.8"],
        &["sql", "SELECT dstport, sum(bytes) AS bytes FROM flows GROUP BY dstport ORDER BY bytes DESC, dstport"],
        &[
            "query",
            "services",
            "--param",
            "window_start=2024-05-01",
            "--param",
            "window_stop=2024-05-02",
            "--format",
            "csv",
        ],
        &["query", "top_talkers", "--window", AFTER, "--param", "limit=1"],
        &["query", "skipped", "--window", AFTER],
        &["query", "skipped"],
        &["check"],
    ];
    let commands = commands.map(|args| [args, &PLACES].concat());
    check("store", &screen(sample(), &commands.each_ref().map(Vec::as_slice)));
}

#[test]
fn the_queries_and_what_they_take() {
    check("queries", &screen(sample(), &[&["query", "--list"]]));
}

#[test]
fn a_window_is_built_on_the_way_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    write_logs(&folder.path().join("logs"), 1);
    let digest = [&["digest", BEFORE][..], &PLACES].concat();
    let commands = [
        &[&["edges", BEFORE, "--format", "csv"][..], &PLACES].concat()[..],
        &digest,
        &[&["digest", BEFORE, "--force"][..], &PLACES].concat(),
        &[&["edges", "2024-05-02T00"][..], &PLACES].concat(),
    ];
    check("built_on_the_way", &screen(folder.path(), &commands));
}

#[test]
fn a_script_on_stdin_is_run_to_its_first_error() {
    let script =
        "SELECT 1 AS one; -- a comment; with a semicolon\nSELECT ';'\n AS text;\nSELECT nothing;\nSELECT 2 AS two";
    let output = flowdiff(sample()).arg("sql").args(PLACES).write_stdin(script).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"one\":1}\n{\"text\":\";\"}\n");
    assert_eq!(output.status.code(), Some(2));
}

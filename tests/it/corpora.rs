//! The public corpora and our corner cases, whole objects through the table `flows` and through a digest.

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use flate2::{Compression, write::GzEncoder};
use flowdiff::catalog::{FileKind, Manifest, read_file};
use flowdiff::clock::Clock;
use flowdiff::digest::Builder;
use flowdiff::scan::{Figures, FlowsTable, Report};
use flowdiff::session::{Options, Params, Session, open_location};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Writes a gzipped object as AWS names it, with a file time such as `20241120T1200Z`.
pub fn write_object(folder: &Path, file_time: &str, text: &[u8]) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    put(folder, file_time, "log.gz", &encoder.finish().unwrap());
}

fn put(folder: &Path, file_time: &str, extension: &str, body: &[u8]) {
    let day = format!("{}/{}/{}", &file_time[..4], &file_time[4..6], &file_time[6..8]);
    let folder = folder.join(format!("AWSLogs/123456789012/vpcflowlogs/us-east-1/{day}"));
    std::fs::create_dir_all(&folder).unwrap();
    let name = format!("123456789012_vpcflowlogs_us-east-1_fl-0123456789abcdef0_{file_time}_0a1b2c3d.{extension}");
    std::fs::write(folder.join(name), body).unwrap();
}

/// A builder with defaults over two local folders.
pub fn builder(logs: &Path, store: &Path) -> Builder {
    Builder {
        source: open_location(logs.to_str().unwrap(), true, &Default::default()).unwrap().into(),
        catalog: open_location(store.to_str().unwrap(), true, &Default::default()).unwrap().into(),
        session: Session::new(&Options { threads: 2, ..Options::default() }).unwrap(),
        scan: Default::default(),
        listing: Default::default(),
        options: Default::default(),
        clock: Clock::system(),
    }
}

/// The rows of a digest's edge file.
pub async fn edges_of(builder: &Builder, manifest: &Manifest) -> Vec<RecordBatch> {
    let frame = read_file(builder.session.context(), &builder.catalog, manifest, FileKind::Edges).unwrap();
    frame.collect().await.unwrap()
}

/// Runs SQL over one object and returns the rows and what the scan saw.
pub async fn query(extension: &str, body: &[u8], sql: &str, extra_fields: &[&str]) -> (Vec<RecordBatch>, Figures) {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "20241120T1200Z", extension, body);
    let session = Session::new(&Options { threads: 2, ..Options::default() }).unwrap();
    let report = Report::new();
    let options = flowdiff::scan::Options {
        extra_fields: extra_fields.iter().map(|field| (*field).to_owned()).collect(),
        ..Default::default()
    };
    let source = open_location(folder.path().to_str().unwrap(), false, &Default::default()).unwrap().into();
    let table = FlowsTable::new(source, &options, &Default::default(), chrono::TimeDelta::minutes(30), report.clone());
    session.register_table("flows", Arc::new(table)).unwrap();
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    let rows = session.plan(sql, &Params::new(), now).await.unwrap().collect().await.unwrap();
    (rows, report.figures())
}

async fn scan(extension: &str, body: &[u8]) -> Figures {
    let (rows, figures) = query(extension, body, "SELECT count(*) AS n, count(srcaddr) AS a FROM flows", &[]).await;
    let counted = rows[0].column(0).as_primitive::<Int64Type>().value(0);
    assert_eq!(counted as u64, figures.totals.records, "rows and the scan's own count");
    figures
}

fn data(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)).unwrap()
}

#[tokio::test]
async fn every_public_log_file_is_read_whole() {
    for (file, records, refused) in [
        ("aws-docs-examples/v2-default.log", 7, 0),
        ("aws-docs-examples/v3-tcp-flags.log", 8, 0),
        ("aws-docs-examples/v5-service-path-direction.log", 2, 0),
        ("flowlogs-reader/v2_records.log", 5, 0),
        ("flowlogs-reader/v3_file.log", 2, 0),
        ("otel-contrib/valid_vpc_flow_log.log", 1, 0),
        ("otel-contrib/valid_vpc_flow_log_multi.log", 2, 0),
        ("parquet-made-by-us/v5.log", 4, 0),
    ] {
        let figures = scan("log", &data(file)).await;
        assert_eq!((figures.totals.records, figures.totals.refused_all()), (records, refused), "{file}");
        assert_eq!(figures.set_aside, 0, "{file}: {:?}", figures.set_aside_samples);
    }
    let figures = scan("log", &data("aws-docs-examples/v3-tcp-flags.log")).await;
    assert_eq!(figures.totals.spaces, 1, "the page's line with two spaces");
}

#[tokio::test]
async fn a_transit_gateway_log_is_set_aside_and_says_so() {
    let figures = scan("log", &data("otel-contrib/valid_tgw_flow_log.log")).await;
    assert_eq!(figures.totals.records, 0);
    assert!(figures.set_aside_samples[0].contains("transit gateway"), "{:?}", figures.set_aside_samples);
}

#[tokio::test]
async fn other_tools_logs_are_refused_by_what_they_are() {
    for (file, reason) in
        [("suricata-eve/fever/jsonparse_eve.json", "JSON"), ("azure-vnet/flowtuples.txt", "no header line")]
    {
        let figures = scan("log", &data(file)).await;
        assert_eq!((figures.totals.records, figures.set_aside), (0, 1), "{file}");
        assert!(figures.set_aside_samples[0].contains(reason), "{:?}", figures.set_aside_samples);
    }
    let figures = scan("log", &data("suricata-eve/fever/jsonparse_eve_empty.json")).await;
    assert_eq!(figures.totals.records, 0);
}

#[tokio::test]
async fn every_format_of_the_vrl_vectors_is_read() {
    const DEFAULT: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
    for line in String::from_utf8(data("vrl/cases.jsonl")).unwrap().lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = format!("{}\n{}\n", case["format"].as_str().unwrap_or(DEFAULT), case["line"].as_str().unwrap());
        let figures = scan("log", text.as_bytes()).await;
        assert_eq!((figures.totals.records, figures.totals.refused_all()), (1, 0), "{text}");
        assert_eq!(figures.totals.unknown_fields, 0, "{text}");
    }
}

#[tokio::test]
async fn corner_case_lines_are_taken_or_refused_as_the_table_says() {
    const DEFAULT: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
    let refused = [
        "port-65536",
        "port-negative",
        "port-leading-zero",
        "port-underscore",
        "protocol-name",
        "bytes-negative",
        "ipv4-bad-octet",
        "missing-last-column",
        "comment",
        "bom",
    ];
    for file in ["corner-cases/lines.jsonl", "corner-cases/custom.jsonl"] {
        for line in String::from_utf8(data(file)).unwrap().lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let id = case["id"].as_str().unwrap();
            let header = case["format"].as_str().unwrap_or(DEFAULT);
            let text = format!("{header}\n{}\n", case["line"].as_str().unwrap());
            let figures = scan("log", text.as_bytes()).await;
            let seen = (figures.totals.records, figures.totals.refused_all());
            let blank = case["line"].as_str().unwrap().trim().is_empty();
            let expected = if refused.contains(&id) {
                (0, 1)
            } else if blank {
                (0, 0)
            } else {
                (1, 0)
            };
            assert_eq!(seen, expected, "{id}: {text}");
        }
    }
}

#[tokio::test]
async fn corner_case_objects_are_read_or_set_aside_as_the_table_says() {
    for (file, records, set_aside) in [
        ("normal", 1, 0),
        ("bom", 1, 0),
        ("crlf", 1, 0),
        ("blank-lines", 1, 0),
        ("header-only-no-newline", 0, 0),
        ("no-trailing-newline", 1, 0),
        ("trailing-zero-padding", 1, 0),
        ("two-members-split-inside-line", 2, 0),
        ("zero-bytes", 0, 0),
        ("bad-crc", 0, 1),
    ] {
        let figures = scan("log.gz", &data(&format!("corner-cases/file-{file}.log.gz"))).await;
        assert_eq!(
            (figures.totals.records, figures.set_aside),
            (records, set_aside),
            "{file}: {:?}",
            figures.set_aside_samples
        );
        assert_eq!(figures.totals.refused_all(), 0, "{file}");
    }
}

#[tokio::test]
async fn parquet_and_text_read_to_the_same_rows() {
    let sql = "SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, packets, bytes, start, \"end\", action, log_status, vpc_id, tcp_flags, pkt_srcaddr, region, pkt_src_aws_service, pkt_dst_aws_service, flow_direction, traffic_path FROM flows ORDER BY \"end\", srcaddr";
    let (text, _) = query("log", &data("parquet-made-by-us/v5.log"), sql, &[]).await;
    let (parquet, _) =
        query("log.parquet", &data("parquet-made-by-us/v5-strings-dash-ints-null.log.parquet"), sql, &[]).await;
    let schema = text[0].schema();
    let one = |batches: &[RecordBatch]| datafusion::arrow::compute::concat_batches(&schema, batches).unwrap();
    assert_eq!(one(&text), one(&parquet));
}

#[tokio::test]
async fn an_unknown_field_is_a_column_if_it_is_asked_for() {
    let text = b"version srcaddr brand-new-field\n12 10.0.0.1 zzz\n";
    let (rows, figures) = query("log", text, "SELECT brand_new_field FROM flows", &["brand-new-field"]).await;
    assert_eq!(rows[0].column(0).as_string_view().value(0), "zzz");
    assert_eq!(figures.totals.unknown_fields, 1);
}

#[tokio::test]
async fn a_header_again_switches_the_columns() {
    let text = b"version srcaddr dstaddr\n2 10.0.0.1 10.0.0.2\ndstaddr srcaddr version\n10.0.0.9 10.0.0.8 2\n";
    let (rows, figures) = query("log", text, "SELECT srcaddr FROM flows ORDER BY line", &[]).await;
    let column = rows[0].column(0).as_string_view();
    assert_eq!((column.value(0), column.value(1)), ("10.0.0.1", "10.0.0.8"));
    assert_eq!(figures.totals.headers, 2);
}

#[tokio::test]
async fn filters_prune_objects_and_explain_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    for hour in 0..24 {
        write_object(folder.path(), &format!("20241120T{hour:02}00Z"), b"version end\n2 1732104000\n");
    }
    let session = Session::new(&Options::default()).unwrap();
    let report = Report::new();
    let source = open_location(folder.path().to_str().unwrap(), false, &Default::default()).unwrap().into();
    let lateness = chrono::TimeDelta::minutes(30);
    let table = FlowsTable::new(source, &Default::default(), &Default::default(), lateness, report.clone());
    session.register_table("flows", Arc::new(table)).unwrap();
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    let sql = "EXPLAIN SELECT count(*) FROM flows WHERE \"end\" >= '2024-11-20T12:00:00Z' AND \"end\" < '2024-11-20T13:00:00Z'";
    let rows = session.plan(sql, &Params::new(), now).await.unwrap().collect().await.unwrap();
    let plan = datafusion::arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
    // 12:00 and 13:00 are in reach: ten minutes before to half an hour after.
    assert!(plan.contains("objects=2, pruned=22"), "{plan}");
    for filter in [
        "account_id = '999999999999'",
        "region = 'eu-west-1'",
        "flow_log_id = 'fl-1'",
        "file_time < '2024-11-20T00:00:00Z'",
    ] {
        let sql = format!("SELECT count(*) FROM flows WHERE {filter}");
        let before = report.figures().read;
        session.plan(&sql, &Params::new(), now).await.unwrap().collect().await.unwrap();
        assert_eq!(report.figures().read, before, "{filter} reads nothing");
    }
}

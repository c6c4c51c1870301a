//! Names of the environment that others gave: of AWS, and of the earlier services. In: the environment. Out: settings
//! of ours, each with the name that it came from. `docs/migrating.md` holds the same table for readers.

use std::collections::BTreeMap;
use toml::Value;

/// What a name becomes.
enum Becomes {
    /// The text of a setting.
    Text(&'static str),
    /// The name of a bucket: a URL.
    Bucket(&'static str),
    /// A list, separated by commas.
    List(&'static str),
    /// A number.
    Number(&'static str),
    /// A word in lower case.
    Lower(&'static str),
    /// `HOST:PORT` or a port; without a host every interface is meant.
    Address(&'static str),
    /// A list, separated by spaces.
    Words(&'static str),
    /// True if it is this word, in either case, else false.
    TrueIf(&'static str, &'static str),
    /// `NULL` turns it off; what else it may be, it is anyway.
    OffIfNull(&'static str),
    /// As text, unless `USE_IAM` says that the machine's own role is meant.
    UnlessIam(&'static str),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

const NO_PROGRESS: &str = "jobs and their progress are in the store of the digests";
const NO_TIMEOUT: &str = "a job whose worker falls silent is taken over after jobs.lease";
const NO_GRAPH_STORE: &str = "graphs are not stored: they are rendered from the digests";
const NO_DIFF_STORE: &str = "diffs are not stored: they are made from the digests";
const ONE_PROGRAM: &str = "digests, graphs and diffs are made by one program";
const NO_TOPIC: &str = "write the topic into bus.url";
const OWN_NAMES: &str = "metrics have names of their own";
const OWN_SIGNALS: &str = "SIGTERM and SIGINT stop the service";
/// Asks for the machine's own role, which is found where neither keys nor a profile are set.
const IAM: &str = "USE_IAM";

/// In the order in which they are applied: of two names for one setting the later wins.
const NAMES: &[(&str, Becomes)] = &[
    ("AWS_ENDPOINT_URL_S3", Becomes::Text("aws.endpoint_url")),
    ("AWS_CREDENTIALS_FILE", Becomes::UnlessIam("aws.credentials_file")),
    ("AWS_CREDENTIALS_PROFILE", Becomes::UnlessIam("aws.profile")),
    ("VPC_FLOW_LOGS_BUCKET", Becomes::Bucket("source.url")),
    ("VPC_FLOW_LOGS_BUCKET_REGION", Becomes::Text("source.region")),
    ("VPC_FLOW_LOGS_BUCKET_ROLE", Becomes::Text("source.role")),
    ("VPC_FLOW_LOGS_SCAN_REGIONS", Becomes::List("source.regions")),
    ("VPC_FLOW_LOGS_SCAN_ACCOUNTS", Becomes::List("source.accounts")),
    ("VPC_MAX_BYTES_PREFETCH", Becomes::Number("scan.prefetch_bytes_max")),
    ("VPC_MAX_CONCURRENT_PREFETCH", Becomes::Number("scan.prefetch_objects_max")),
    ("DIGEST_STORAGE_BUCKET", Becomes::Bucket("store.url")),
    ("DIGEST_STORAGE_BUCKET_REGION", Becomes::Text("store.region")),
    ("DIGEST_STORAGE_BUCKET_ROLE", Becomes::Text("store.role")),
    ("DIGEST_PROGRESS_BUCKET", Becomes::Nothing(NO_PROGRESS)),
    ("DIGEST_PROGRESS_BUCKET_REGION", Becomes::Nothing(NO_PROGRESS)),
    ("DIGEST_PROGRESS_BUCKET_ROLE", Becomes::Nothing(NO_PROGRESS)),
    ("DIGEST_PROGRESS_TIMEOUT", Becomes::Nothing(NO_TIMEOUT)),
    ("GRAPH_STORAGE_BUCKET", Becomes::Nothing(NO_GRAPH_STORE)),
    ("GRAPH_STORAGE_BUCKET_REGION", Becomes::Nothing(NO_GRAPH_STORE)),
    ("GRAPH_STORAGE_BUCKET_ROLE", Becomes::Nothing(NO_GRAPH_STORE)),
    ("GRAPH_PROGRESS_BUCKET", Becomes::Nothing(NO_PROGRESS)),
    ("GRAPH_PROGRESS_BUCKET_REGION", Becomes::Nothing(NO_PROGRESS)),
    ("GRAPH_PROGRESS_BUCKET_ROLE", Becomes::Nothing(NO_PROGRESS)),
    ("GRAPH_PROGRESS_TIMEOUT", Becomes::Nothing(NO_TIMEOUT)),
    ("DIFF_STORAGE_BUCKET", Becomes::Nothing(NO_DIFF_STORE)),
    ("DIFF_STORAGE_BUCKET_REGION", Becomes::Nothing(NO_DIFF_STORE)),
    ("DIFF_STORAGE_BUCKET_ROLE", Becomes::Nothing(NO_DIFF_STORE)),
    ("DIFF_PROGRESS_BUCKET", Becomes::Nothing(NO_PROGRESS)),
    ("DIFF_PROGRESS_BUCKET_REGION", Becomes::Nothing(NO_PROGRESS)),
    ("DIFF_PROGRESS_BUCKET_ROLE", Becomes::Nothing(NO_PROGRESS)),
    ("DIFF_PROGRESS_TIMEOUT", Becomes::Nothing(NO_TIMEOUT)),
    ("DIGESTER_ENDPOINT", Becomes::Nothing(ONE_PROGRAM)),
    ("DIGESTER_POLLING_INTERVAL", Becomes::Nothing(ONE_PROGRAM)),
    ("DIGESTER_POLLING_TIMEOUT", Becomes::Nothing(ONE_PROGRAM)),
    ("GRAPHER_ENDPOINT", Becomes::Nothing(ONE_PROGRAM)),
    ("GRAPHER_POLLING_INTERVAL", Becomes::Nothing(ONE_PROGRAM)),
    ("GRAPHER_POLLING_TIMEOUT", Becomes::Nothing(ONE_PROGRAM)),
    ("STREAM_APPLIANCE_ENDPOINT", Becomes::Text("bus.url")),
    ("STREAM_APPLIANCE_TOPIC", Becomes::Nothing(NO_TOPIC)),
    ("PORT", Becomes::Address("serve.listen")),
    ("RUNTIME_HTTPSERVER_ADDRESS", Becomes::Address("serve.listen")),
    ("RUNTIME_LOGGER_LEVEL", Becomes::Lower("log.level")),
    ("RUNTIME_LOGGER_OUTPUT", Becomes::OffIfNull("log.level")),
    ("RUNTIME_STATS_OUTPUT", Becomes::TrueIf("DATADOG", "telemetry.statsd")),
    ("RUNTIME_STATS_DATADOG_ADDRESS", Becomes::Text("telemetry.statsd_address")),
    ("RUNTIME_STATS_DATADOG_TAGS", Becomes::Words("telemetry.statsd_tags")),
    ("RUNTIME_STATS_DATADOG_FLUSHINTERVAL", Becomes::Text("telemetry.statsd_flush_interval")),
    ("RUNTIME_STATS_DATADOG_PACKETSIZE", Becomes::Number("telemetry.statsd_packet_bytes_max")),
    ("RUNTIME_SIGNALS_INSTALLED", Becomes::Nothing(OWN_SIGNALS)),
    ("RUNTIME_SIGNALS_OS_SIGNALS", Becomes::Nothing(OWN_SIGNALS)),
];

/// How the names of other metrics began: of connections and of the memory of Go.
const METRICS: [&str; 2] = ["RUNTIME_CONNSTATE_", "RUNTIME_EXPVAR_"];

/// Settings with the names that they came from, and what has no effect. An empty value counts as none.
pub(super) fn translate(environment: &BTreeMap<String, String>) -> (Vec<(String, &'static str, Value)>, Vec<String>) {
    let iam = environment.get(IAM).is_some_and(|value| ["true", "1", "t"].contains(&value.to_lowercase().as_str()));
    let (mut settings, mut notes) = (Vec::new(), Vec::new());
    for (name, becomes) in NAMES {
        let Some(text) = environment.get(*name).map(|text| text.trim()).filter(|text| !text.is_empty()) else {
            continue;
        };
        let (key, value) = match becomes {
            Becomes::Text(key) => (key, Value::from(text)),
            Becomes::Bucket(key) => (key, Value::from(format!("s3://{text}"))),
            Becomes::List(key) => (key, text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>().into()),
            Becomes::Number(key) => (key, text.parse::<i64>().map_or(Value::from(text), Value::from)),
            Becomes::Lower(key) => (key, Value::from(text.to_lowercase())),
            Becomes::Address(key) => (key, Value::from(address(text))),
            Becomes::Words(key) => (key, text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into()),
            Becomes::TrueIf(word, key) => (key, Value::from(text.eq_ignore_ascii_case(word))),
            Becomes::OffIfNull(key) if text.eq_ignore_ascii_case("NULL") => (key, Value::from("off")),
            Becomes::OffIfNull(_) => continue,
            Becomes::UnlessIam(key) if !iam => (key, Value::from(text)),
            Becomes::UnlessIam(_) => continue,
            Becomes::Nothing(why) => {
                notes.push(format!("{name} has no effect: {why}"));
                continue;
            }
        };
        settings.push(((*name).to_owned(), *key, value));
    }
    for name in environment.keys().filter(|name| METRICS.iter().any(|metrics| name.starts_with(metrics))) {
        notes.push(format!("{name} has no effect: {OWN_NAMES}"));
    }
    (settings, notes)
}

/// Go's way of writing where to listen, in ours: `:8080` is every interface, and a port alone is meant so.
fn address(text: &str) -> String {
    let text = if text.bytes().all(|byte| byte.is_ascii_digit()) { format!(":{text}") } else { text.to_owned() };
    match text.split_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(pairs: &[(&str, &str)]) -> (BTreeMap<String, String>, Vec<String>) {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (settings, notes) = translate(&environment);
        (settings.into_iter().map(|(_, key, value)| (key.to_owned(), value.to_string())).collect(), notes)
    }

    #[test]
    fn the_settings_of_the_earlier_digester_become_ours() {
        let (settings, notes) = translated(&[
            ("VPC_FLOW_LOGS_BUCKET", "logs"),
            ("VPC_FLOW_LOGS_BUCKET_ROLE", "arn:aws:iam::1:role/r"),
            ("VPC_FLOW_LOGS_SCAN_ACCOUNTS", "012345678901, 123456789012"),
            ("VPC_MAX_BYTES_PREFETCH", "150000000"),
            ("DIGEST_STORAGE_BUCKET", "digests"),
            ("DIGEST_STORAGE_BUCKET_REGION", ""),
            ("USE_IAM", "false"),
            ("AWS_CREDENTIALS_PROFILE", "old"),
        ]);
        let expected = [
            ("aws.profile", "\"old\""),
            ("scan.prefetch_bytes_max", "150000000"),
            ("source.accounts", "[\"012345678901\", \"123456789012\"]"),
            ("source.role", "\"arn:aws:iam::1:role/r\""),
            ("source.url", "\"s3://logs\""),
            ("store.url", "\"s3://digests\""),
        ];
        assert_eq!(settings, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert!(notes.is_empty());
    }

    #[test]
    fn with_the_machines_role_no_file_and_no_profile_is_read() {
        let (settings, _) =
            translated(&[("USE_IAM", "true"), ("AWS_CREDENTIALS_FILE", "/a"), ("AWS_CREDENTIALS_PROFILE", "b")]);
        assert!(settings.is_empty(), "{settings:?}");
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let (settings, notes) = translated(&[("DIFF_STORAGE_BUCKET", "diffs"), ("DIGEST_PROGRESS_TIMEOUT", "10000")]);
        assert!(settings.is_empty());
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn the_runtime_of_the_earlier_services_is_understood() {
        let (settings, notes) = translated(&[
            ("STREAM_APPLIANCE_ENDPOINT", "http://bus.example.com/jobs"),
            ("PORT", "80"),
            ("RUNTIME_HTTPSERVER_ADDRESS", ":8080"),
            ("RUNTIME_LOGGER_LEVEL", "DEBUG"),
            ("RUNTIME_LOGGER_OUTPUT", "STDOUT"),
            ("RUNTIME_CONNSTATE_REPORTINTERVAL", "5s"),
            ("RUNTIME_SIGNALS_INSTALLED", "OS"),
            ("GRAPHER_POLLING_TIMEOUT", "-1"),
        ]);
        let expected = [
            ("bus.url", "\"http://bus.example.com/jobs\""),
            ("log.level", "\"debug\""),
            ("serve.listen", "\"0.0.0.0:8080\""),
        ];
        assert_eq!(settings, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!(notes.len(), 3, "{notes:?}");
        let (settings, _) = translated(&[
            ("RUNTIME_STATS_OUTPUT", "DATADOG"),
            ("RUNTIME_STATS_DATADOG_TAGS", "env:prod team:net"),
            ("RUNTIME_STATS_DATADOG_PACKETSIZE", "32768"),
        ]);
        let expected = [
            ("telemetry.statsd", "true"),
            ("telemetry.statsd_packet_bytes_max", "32768"),
            ("telemetry.statsd_tags", "[\"env:prod\", \"team:net\"]"),
        ];
        assert_eq!(settings, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let (settings, _) = translated(&[("RUNTIME_LOGGER_LEVEL", "INFO"), ("RUNTIME_LOGGER_OUTPUT", "null")]);
        assert_eq!(settings["log.level"], "\"off\"");
        assert_eq!(
            ["8080", "localhost:80", "10.0.0.1:80", "[::]:80"].map(address).join(" "),
            "0.0.0.0:8080 127.0.0.1:80 10.0.0.1:80 [::]:80"
        );
    }

    #[test]
    fn the_table_for_readers_holds_every_name() {
        let page = include_str!("../../docs/migrating.md");
        for name in NAMES.iter().map(|(name, _)| *name).chain([IAM]) {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}

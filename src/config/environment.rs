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
    /// As text, unless `USE_IAM` says that the machine's own role is meant.
    UnlessIam(&'static str),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

const NO_PROGRESS: &str = "there is no store of progress: what is published is the progress";
const NO_DIFF_STORE: &str = "diffs are not stored: `flowdiff diff` answers from the digests";
/// Asks for the machine's own role, which is found where neither keys nor a profile are set.
const IAM: &str = "USE_IAM";

/// In the order in which they are applied: of two names for one setting the later wins.
const NAMES: [(&str, Becomes); 24] = [
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
    ("DIGEST_PROGRESS_TIMEOUT", Becomes::Nothing(NO_PROGRESS)),
    ("DIFF_STORAGE_BUCKET", Becomes::Nothing(NO_DIFF_STORE)),
    ("DIFF_STORAGE_BUCKET_REGION", Becomes::Nothing(NO_DIFF_STORE)),
    ("DIFF_STORAGE_BUCKET_ROLE", Becomes::Nothing(NO_DIFF_STORE)),
    ("DIFF_PROGRESS_BUCKET", Becomes::Nothing(NO_PROGRESS)),
    ("DIFF_PROGRESS_BUCKET_REGION", Becomes::Nothing(NO_PROGRESS)),
    ("DIFF_PROGRESS_BUCKET_ROLE", Becomes::Nothing(NO_PROGRESS)),
    ("DIFF_PROGRESS_TIMEOUT", Becomes::Nothing(NO_PROGRESS)),
];

/// Settings with the names that they came from, and what has no effect. An empty value counts as none.
pub(super) fn translate(environment: &BTreeMap<String, String>) -> (Vec<(String, &'static str, Value)>, Vec<String>) {
    let iam = environment.get(IAM).is_some_and(|value| ["true", "1", "t"].contains(&value.to_lowercase().as_str()));
    let (mut settings, mut notes) = (Vec::new(), Vec::new());
    for (name, becomes) in &NAMES {
        let Some(text) = environment.get(*name).map(|text| text.trim()).filter(|text| !text.is_empty()) else {
            continue;
        };
        let (key, value) = match becomes {
            Becomes::Text(key) => (key, Value::from(text)),
            Becomes::Bucket(key) => (key, Value::from(format!("s3://{text}"))),
            Becomes::List(key) => (key, text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>().into()),
            Becomes::Number(key) => (key, text.parse::<i64>().map_or(Value::from(text), Value::from)),
            Becomes::UnlessIam(key) if !iam => (key, Value::from(text)),
            Becomes::UnlessIam(_) => continue,
            Becomes::Nothing(why) => {
                notes.push(format!("{name} has no effect: {why}"));
                continue;
            }
        };
        settings.push(((*name).to_owned(), *key, value));
    }
    (settings, notes)
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
    fn the_table_for_readers_holds_every_name() {
        let page = include_str!("../../docs/migrating.md");
        for name in NAMES.iter().map(|(name, _)| *name).chain([IAM]) {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}

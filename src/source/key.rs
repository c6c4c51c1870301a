//! The grammar of flow-log keys: the only place that knows it. In: the text of a key. Out: what it says, or nothing.
//! Knows nothing of stores and listings.
//!
//! ```text
//! plain   P/AWSLogs/{account}/vpcflowlogs/{region}/{yyyy}/{mm}/{dd}/[{HH}/]
//! Hive    P/AWSLogs/aws-account-id={account}/aws-service=vpcflowlogs/aws-region={region}/
//!           year={yyyy}/month={mm}/day={dd}/[hour={HH}/]
//! file    {account}_vpcflowlogs_{region}_{flow log}_{yyyymmddTHHMMZ}_{hash}.log.gz | .log.parquet | .log
//! ```
//!
//! `P` is any prefix; an organisation id may stand between `AWSLogs` and the account. The file name alone makes a
//! flow-log object, in whatever folder it lies. Source: "Flow log files", Amazon VPC User Guide.

use crate::clock::Timestamp;
use chrono::{DateTime, Datelike, Days, Months, NaiveDateTime, TimeDelta, Utc};
use std::fmt::Write as _;
use std::ops::Range;

/// What kind of file an object is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text, gzipped or plain.
    Text,
    /// Parquet.
    Parquet,
}

/// How the folders of a flow log are laid out, as chosen when the flow log was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `{account}/vpcflowlogs/{region}/{yyyy}/{mm}/{dd}/`.
    Day,
    /// The same, and a folder for each hour.
    Hour,
    /// `aws-account-id={account}/...`, down to `day={dd}/`.
    HiveDay,
    /// The same, and a folder for each hour.
    HiveHour,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Layout; 4] = [Layout::Day, Layout::Hour, Layout::HiveDay, Layout::HiveHour];
}

/// What the name of a flow-log object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// Account that owns the flow log: text, leading zeros kept.
    pub account: String,
    /// Region of the flow log.
    pub region: String,
    /// Id of the flow log, `fl-...`.
    pub flow_log: String,
    /// The time in the name, UTC; see [`crate::window::file_times`] for what it means.
    pub file_time: Timestamp,
    /// Text or Parquet.
    pub format: Format,
}

const SERVICE: &str = "vpcflowlogs";

/// The time of a file name: 14 characters, of which chrono would also take looser ones.
const FILE_TIME: &str = "%Y%m%dT%H%MZ";

impl ObjectName {
    /// Reads the file name at the end of `key`; `None` if it is not that of a flow-log object.
    ///
    /// The folders are not looked at, so that a flat copy of a few logs reads as well as the bucket they came from.
    /// The name is split from the right: regions hold hyphens, and no field holds an underscore. Plain text copies
    /// (`.log`) count as text.
    pub fn parse(key: &str) -> Option<ObjectName> {
        let file = key.rsplit('/').next()?;
        let (stem, format) = [(".log.gz", Format::Text), (".log.parquet", Format::Parquet), (".log", Format::Text)]
            .into_iter()
            .find_map(|(extension, format)| Some((file.strip_suffix(extension)?, format)))?;
        let mut fields = stem.rsplitn(6, '_');
        let hash = fields.next()?;
        let file_time = parse_file_time(fields.next()?)?;
        let flow_log = fields.next()?;
        let region = fields.next()?;
        let service = fields.next()?;
        let account = fields.next()?;
        let well_formed = is_word(hash)
            && flow_log.strip_prefix("fl-").is_some_and(is_word)
            && is_region(region)
            && service == SERVICE
            && is_account(account);
        well_formed.then(|| ObjectName {
            account: account.to_owned(),
            region: region.to_owned(),
            flow_log: flow_log.to_owned(),
            file_time,
            format,
        })
    }

    /// Writes the key that AWS would give this object below `prefix`; text is named as gzipped.
    ///
    /// `hash` is what AWS adds to keep names apart: letters and digits. The result reads back as this name for every
    /// name that [`ObjectName::parse`] returns.
    pub fn key(&self, prefix: &str, layout: Layout, hash: &str) -> String {
        let ObjectName { account, region, flow_log, file_time, format } = self;
        let mut key = prefix.trim_matches('/').to_owned();
        if !key.is_empty() {
            key.push('/');
        }
        let time = |pattern| file_time.format(pattern);
        let written = match layout {
            Layout::Day | Layout::Hour => {
                write!(key, "AWSLogs/{account}/{SERVICE}/{region}/{}", time("%Y/%m/%d/"))
            }
            Layout::HiveDay | Layout::HiveHour => write!(
                key,
                "AWSLogs/aws-account-id={account}/aws-service={SERVICE}/aws-region={region}/{}",
                time("year=%Y/month=%m/day=%d/")
            ),
        };
        let written = written.and_then(|()| match layout {
            Layout::Day | Layout::HiveDay => Ok(()),
            Layout::Hour => write!(key, "{}", time("%H/")),
            Layout::HiveHour => write!(key, "{}", time("hour=%H/")),
        });
        let extension = match format {
            Format::Text => "log.gz",
            Format::Parquet => "log.parquet",
        };
        written
            .and_then(|()| {
                write!(key, "{account}_{SERVICE}_{region}_{flow_log}_{}_{hash}.{extension}", time(FILE_TIME))
            })
            .expect("writing to a string does not fail");
        key
    }

    /// The flow log in full: account, region and id, joined by `/`.
    pub fn flow_log_path(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.flow_log)
    }

    /// Whether the folders of `key` name another day or hour than this name: a listing of its time does not find it.
    pub fn is_misdated(&self, key: &str) -> bool {
        let folder = Folder::of(key.rsplit_once('/').map_or("", |(folder, _)| folder));
        folder.times.is_some_and(|times| !times.contains(&self.file_time))
    }

    /// Whether the folders of `key` name another account, region, day or hour than this name, which wins.
    pub fn is_misfiled(&self, key: &str) -> bool {
        let folder = Folder::of(key.rsplit_once('/').map_or("", |(folder, _)| folder));
        folder.account.is_some_and(|account| account != self.account)
            || folder.region.is_some_and(|region| region != self.region)
            || folder.times.is_some_and(|times| !times.contains(&self.file_time))
    }
}

/// What the path of a folder says, as far as it follows the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder<'a> {
    /// Where in the grammar the path ends.
    pub(super) place: Place,
    /// Account, from that level on.
    pub(super) account: Option<&'a str>,
    /// Region, from that level on.
    pub(super) region: Option<&'a str>,
    /// The file times that belong here: a year, a month, a day or an hour, from those levels on.
    pub(super) times: Option<Range<Timestamp>>,
}

/// Where in the grammar a folder is: named after the last level that its path has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the prefix: below it there may be an `AWSLogs`, or flat copies.
    Outside,
    /// In `AWSLogs`, or in the organisation id below it.
    Logs,
    /// In what is no account's folder, or in that of another service.
    Foreign,
    Account,
    Service,
    Region,
    Year,
    Month,
    Day,
    Hour,
    /// Below a folder of flow logs, in one that the grammar does not know.
    Loose,
}

impl<'a> Folder<'a> {
    /// Reads the path of a folder. The last `AWSLogs` counts: a prefix may hold one too.
    pub(super) fn of(path: &'a str) -> Folder<'a> {
        let start = Folder { place: Place::Outside, account: None, region: None, times: None };
        path.split('/').filter(|segment| !segment.is_empty()).fold(start, Folder::enter)
    }

    fn enter(self, segment: &'a str) -> Folder<'a> {
        if segment == "AWSLogs" {
            return Folder { place: Place::Logs, account: None, region: None, times: None };
        }
        let value = |label: &str| {
            let value = segment.strip_prefix(label).and_then(|rest| rest.strip_prefix('='));
            value.unwrap_or(segment)
        };
        let loose = Folder { place: Place::Loose, ..self.clone() };
        match self.place {
            Place::Outside | Place::Foreign | Place::Loose => self,
            Place::Logs => match value("aws-account-id") {
                account if is_account(account) => Folder { place: Place::Account, account: Some(account), ..self },
                organisation if organisation.strip_prefix("o-").is_some_and(is_word) => self,
                _ => Folder { place: Place::Foreign, ..self },
            },
            Place::Account => match value("aws-service") {
                SERVICE => Folder { place: Place::Service, ..self },
                _ => Folder { place: Place::Foreign, ..self },
            },
            Place::Service => match value("aws-region") {
                region if is_region(region) => Folder { place: Place::Region, region: Some(region), ..self },
                _ => loose,
            },
            Place::Region => self.narrow(Place::Year, value("year")).unwrap_or(loose),
            Place::Year => self.narrow(Place::Month, value("month")).unwrap_or(loose),
            Place::Month => self.narrow(Place::Day, value("day")).unwrap_or(loose),
            Place::Day => self.narrow(Place::Hour, value("hour")).unwrap_or(loose),
            Place::Hour => loose,
        }
    }

    /// Goes down to a year, month, day or hour; `None` if `digits` names none.
    fn narrow(self, place: Place, digits: &str) -> Option<Folder<'a>> {
        let number = parse_number(digits, if place == Place::Year { 4 } else { 2 })?;
        let above = self.times.as_ref().map_or(DateTime::UNIX_EPOCH, |times| times.start);
        let times = match place {
            Place::Year => {
                let start = above.with_year(i32::try_from(number).ok()?)?;
                start..start.checked_add_months(Months::new(12))?
            }
            Place::Month => {
                let start = above.with_month(number)?;
                start..start.checked_add_months(Months::new(1))?
            }
            Place::Day => {
                let start = above.with_day(number)?;
                start..start.checked_add_days(Days::new(1))?
            }
            _ => {
                let start = above + TimeDelta::hours((number < 24).then_some(number)?.into());
                start..start + TimeDelta::hours(1)
            }
        };
        Some(Folder { place, times: Some(times), ..self })
    }
}

fn parse_file_time(text: &str) -> Option<Timestamp> {
    let strict = text.len() == 14 && text.bytes().enumerate().all(|(i, b)| b.is_ascii_digit() || i == 8 || i == 13);
    let time = strict.then(|| NaiveDateTime::parse_from_str(text, FILE_TIME).ok())??;
    Some(DateTime::<Utc>::from_naive_utc_and_offset(time, Utc))
}

fn parse_number(text: &str, width: usize) -> Option<u32> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_account(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_region(text: &str) -> bool {
    text.contains('-') && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20261120T1205Z_fe123456.log.gz";

    /// Any name that the grammar allows; a few accounts, regions and flow logs, so that selections meet them.
    pub(in super::super) fn object_name() -> impl Strategy<Value = ObjectName> {
        let minutes = time("2026-10-31T00:00:00Z").timestamp() / 60..time("2027-01-02T00:00:00Z").timestamp() / 60;
        let text = |values: &'static [&'static str]| prop::sample::select(values).prop_map(str::to_owned);
        (
            text(&["123456789012", "034496339141", "999999999999"]),
            text(&["us-east-1", "eu-central-1", "us-gov-west-1"]),
            text(&["fl-1234abcd", "fl-093a2bd1f31cac72f"]),
            minutes.prop_map(|minute| DateTime::from_timestamp(minute * 60, 0).unwrap()),
            prop::sample::select(&[Format::Text, Format::Parquet]),
        )
            .prop_map(|(account, region, flow_log, file_time, format)| ObjectName {
                account,
                region,
                flow_log,
                file_time,
                format,
            })
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn published_keys_read_as_their_sources_say() {
        for line in include_str!("../../tests/data/s3-keys/keys.jsonl").lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| line[field].as_str().unwrap();
            let name = ObjectName::parse(text("key")).unwrap();
            assert_eq!(name.account, text("account"));
            assert_eq!(name.region, text("region"));
            assert_eq!(name.flow_log, text("flow_log_id"));
            assert_eq!(name.file_time, time(text("file_time")));
            assert_eq!(name.format == Format::Parquet, text("format") == "parquet");
            assert!(!name.is_misfiled(text("key")));
            let layout = match text("layout") {
                "plain-day" => Layout::Day,
                "hive-hour" => Layout::HiveHour,
                other => panic!("no test for layout {other}"),
            };
            let hash = text("key").rsplit('_').next().unwrap().split('.').next().unwrap();
            assert_eq!(name.key(text("prefix"), layout, hash), text("key"));
        }
    }

    #[test]
    fn a_well_formed_file_name_is_enough_in_any_folder() {
        let name = ObjectName::parse(FILE).unwrap();
        assert_eq!(ObjectName::parse(&format!("my copies/{FILE}")), Some(name.clone()));
        assert!(!name.is_misfiled(FILE));
        assert!(!name.is_misfiled(&format!("my copies/{FILE}")));
    }

    #[test]
    fn plain_text_copies_count_as_text() {
        assert_eq!(ObjectName::parse(FILE.trim_end_matches(".gz")), ObjectName::parse(FILE));
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "",
            "/",
            "AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/20/",
            "123456789012_CloudTrail_us-east-1_20261120T1205Z_fe123456.json.gz",
            "123456789012_elasticloadbalancing_us-east-1_fl-1234abcd_20261120T1205Z_fe123456.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20261120T1205Z_fe123456.log.zst",
            "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20261120T1205Z_.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20261120T2405Z_fe123456.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20261320T1205Z_fe123456.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_2026112T12050Z_fe123456.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_+026112T012050_fe123456.log.gz",
            "123456789012_vpcflowlogs_us-east-1_1234abcd_20261120T1205Z_fe123456.log.gz",
            "copy_123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20261120T1205Z_fe123456.log.gz",
            "vpcflowlogs_us-east-1_fl-1234abcd_20261120T1205Z_fe123456.log.gz",
        ] {
            assert_eq!(ObjectName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_that_disagrees_with_the_file_name_is_told() {
        let name = ObjectName::parse(FILE).unwrap();
        for (folder, misfiled) in [
            ("AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/20", false),
            ("AWSLogs/o-a1b2c3d4e5/123456789012/vpcflowlogs/us-east-1/2026/11/20/12", false),
            ("AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/20/backup", false),
            ("AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/20/13", true),
            ("AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/21", true),
            ("AWSLogs/123456789012/vpcflowlogs/us-east-1/2025", true),
            ("AWSLogs/123456789012/vpcflowlogs/eu-west-1", true),
            ("AWSLogs/000000000000/vpcflowlogs", true),
            ("AWSLogs/000000000000/vpcflowlogs/AWSLogs/123456789012", false),
            ("000000000000/2025", false),
        ] {
            assert_eq!(name.is_misfiled(&format!("{folder}/{FILE}")), misfiled, "{folder}");
        }
    }

    #[test]
    fn folders_of_other_services_are_foreign_and_odd_ones_below_flow_logs_are_loose() {
        let place = |path| Folder::of(path).place;
        assert_eq!(place("AWSLogs/123456789012/elasticloadbalancing/us-east-1"), Place::Foreign);
        assert_eq!(place("AWSLogs/CloudTrail"), Place::Foreign);
        assert_eq!(place("AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/13"), Place::Loose);
        assert_eq!(place("AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/02/30"), Place::Loose);
        assert_eq!(place("AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/02/28/24"), Place::Loose);
        assert_eq!(place("a/AWSLogs/x/AWSLogs"), Place::Logs);
        assert_eq!(place(""), Place::Outside);
        assert_eq!(
            Folder::of("AWSLogs/1/vpcflowlogs/us-east-1/2024/02").times,
            Some(time("2024-02-01T00:00:00Z")..time("2024-03-01T00:00:00Z"))
        );
    }

    proptest! {
        #[test]
        fn every_layout_reads_back_below_any_prefix(
            name in object_name(),
            prefix in "([A-Za-z0-9 ._=-]{0,8}/){0,3}(AWSLogs/)?([0-9]{12}/)?",
            hash in "[0-9a-f]{8}",
        ) {
            for layout in Layout::ALL {
                let key = name.key(&prefix, layout, &hash);
                prop_assert_eq!(ObjectName::parse(&key), Some(name.clone()));
                prop_assert!(!name.is_misfiled(&key));
            }
        }

        #[test]
        fn no_text_panics(key in "\\PC*|[0-9a-zA-Z_/=.-]{0,90}|(AWSLogs/)?([0-9]{0,4}/|year=[0-9]{4}/|é/){0,8}\\PC{0,9}") {
            if let Some(name) = ObjectName::parse(&key) {
                name.is_misfiled(&key);
            }
            Folder::of(&key);
        }
    }
}

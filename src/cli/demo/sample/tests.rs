//! Reads the sample back with the simplest reader there can be.

use super::*;
use crate::flow::PortRule;
use flate2::read::GzDecoder;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::PathBuf;

/// Account, interface, addresses, kept ports, protocol, action.
type Key = (String, String, String, String, u16, u16, u8, String);

/// A record by its header: the simplest reader there can be.
type Line = HashMap<String, String>;

struct Written {
    _folder: tempfile::TempDir,
    sample: Sample,
    objects: BTreeMap<PathBuf, Vec<Line>>,
}

fn write() -> Written {
    let folder = tempfile::tempdir().unwrap();
    let sample = write_sample(folder.path(), demo_hour()).unwrap();
    let mut objects = BTreeMap::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                objects.insert(path.strip_prefix(folder.path()).unwrap().to_owned(), read(&path));
            }
        }
    }
    Written { _folder: folder, sample, objects }
}

fn read(path: &Path) -> Vec<Line> {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(' ').collect();
    lines
        .map(|line| {
            let values: Vec<&str> = line.split(' ').collect();
            assert_eq!(values.len(), header.len(), "{line}");
            header.iter().zip(values).map(|(name, value)| (name.to_string(), value.to_string())).collect()
        })
        .collect()
}

fn time(line: &Line, field: &str) -> i64 {
    line[field].parse().unwrap()
}

fn window_of(line: &Line, sample: &Sample) -> usize {
    let end = DateTime::from_timestamp(time(line, "end"), 0).unwrap();
    assert!(sample.before.contains(end) || sample.after.contains(end));
    usize::from(sample.after.contains(end))
}

/// The edges of each hour with their bytes.
fn edges(written: &Written) -> [BTreeMap<Key, u64>; 2] {
    let mut hours = [BTreeMap::new(), BTreeMap::new()];
    for line in written.objects.values().flatten().filter(|line| line["log-status"] == "OK") {
        let address = |packet: &str, interface: &str| line.get(packet).unwrap_or(&line[interface]).clone();
        let (protocol, flags) = (line["protocol"].parse().unwrap(), line.get("tcp-flags").map(|f| f.parse().unwrap()));
        let (srcport, dstport) = PortRule::Service.keep(
            protocol,
            line["srcport"].parse().unwrap(),
            line["dstport"].parse().unwrap(),
            flags,
            line["action"] == "REJECT",
        );
        let key = (
            line["account-id"].clone(),
            line["interface-id"].clone(),
            address("pkt-srcaddr", "srcaddr"),
            address("pkt-dstaddr", "dstaddr"),
            srcport,
            dstport,
            protocol,
            line["action"].clone(),
        );
        *hours[window_of(line, &written.sample)].entry(key).or_default() += line["bytes"].parse::<u64>().unwrap();
    }
    hours
}

fn find(sample: &Sample, kind: PlantedKind) -> &Planted {
    let mut found = sample.planted.iter().filter(|planted| planted.kind == kind);
    let planted = found.next().unwrap();
    assert_eq!(found.next(), None);
    planted
}

#[test]
fn the_same_hour_gives_the_same_bytes() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = write_sample(a.path(), demo_hour()).unwrap();
    assert_eq!(first, write_sample(b.path(), demo_hour()).unwrap());
    for object in write().objects.keys() {
        assert_eq!(fs::read(a.path().join(object)).unwrap(), fs::read(b.path().join(object)).unwrap());
    }
}

#[test]
fn the_sample_is_small_and_holds_what_real_logs_hold() {
    let written = write();
    let sample = &written.sample;
    assert_eq!(sample.objects, written.objects.len());
    assert_eq!(sample.records, written.objects.values().map(Vec::len).sum::<usize>());
    assert!((60_000..120_000).contains(&sample.records), "{} records", sample.records);
    assert!(sample.bytes < 5_000_000, "{} bytes", sample.bytes);
    let lines = || written.objects.values().flatten();
    let count = |test: &dyn Fn(&Line) -> bool| lines().filter(|line| test(line)).count();
    assert_eq!(count(&|line| line["log-status"] == "SKIPDATA"), 1);
    assert!(count(&|line| line["log-status"] == "NODATA") > 100);
    assert!(count(&|line| line["action"] == "REJECT") > 100);
    assert!(count(&|line| line["srcaddr"].contains(':')) > 1_000);
    assert!(count(&|line| line["protocol"] == "1") > 10);
    assert!(count(&|line| line["protocol"] == "58") > 10);
    assert!(count(&|line| line.get("pkt-srcaddr").is_some_and(|packet| *packet != line["srcaddr"])) > 1_000);
    let accounts: BTreeSet<&str> = lines().map(|line| line["account-id"].as_str()).collect();
    assert_eq!(accounts, BTreeSet::from(["012345678901", "111122223333", "123456789012"]));
    let interfaces: BTreeSet<&str> = lines().map(|line| line["interface-id"].as_str()).collect();
    assert!((38..=46).contains(&interfaces.len()), "{} interfaces", interfaces.len());
}

#[test]
fn every_rule_names_groups_that_exist_and_divides_the_hour() {
    let company = Company::new();
    for rule in RULES {
        for group in [Some(rule.client), Some(rule.server), rule.nat].into_iter().flatten() {
            assert!(company.group(group).next().is_some(), "{group}");
        }
        assert_eq!(60 % rule.every, 0, "{rule:?}");
    }
    for party in &company.parties {
        let talks =
            RULES.iter().any(|rule| [Some(rule.client), Some(rule.server), rule.nat].contains(&Some(party.group)));
        assert!(talks, "{} is in no rule", party.group);
    }
}

#[test]
fn a_file_holds_the_end_times_of_its_five_minutes_and_a_few_late_ones() {
    let written = write();
    let mut late = 0;
    for (path, lines) in &written.objects {
        let name = path.file_name().unwrap().to_str().unwrap();
        let parts: Vec<&str> = name.strip_suffix(".log.gz").unwrap().split('_').collect();
        let [account, "vpcflowlogs", region, flow_log, stamp, hash] = parts[..] else { panic!("{name}") };
        assert!(flow_log.starts_with("fl-0") && hash.len() == 8, "{name}");
        let stamp = chrono::NaiveDateTime::parse_from_str(stamp, "%Y%m%dT%H%MZ").unwrap().and_utc();
        let folder = format!("AWSLogs/{account}/vpcflowlogs/{region}/{}", stamp.format("%Y/%m/%d"));
        assert_eq!(path.parent().unwrap().to_str().unwrap(), folder);
        for line in lines {
            assert_eq!(line["account-id"], account);
            assert!(time(line, "start") <= time(line, "end"));
            let age = time(line, "end") - stamp.timestamp();
            assert!((-OBJECT_SECS..OBJECT_SECS).contains(&age), "{name}: {age} s");
            late += usize::from(age < 0);
        }
    }
    assert!(late > 0 && late < written.sample.records / 100, "{late} late records");
}

#[test]
fn the_hours_differ_by_what_is_planted_and_nothing_else() {
    let written = write();
    let [before, after] = edges(&written);
    let seen = |planted: &Planted, key: &Key| {
        let host = planted.host.to_string();
        key.2 == host || key.3 == host
    };
    let (new, stopped) =
        (find(&written.sample, PlantedKind::NewConnection), find(&written.sample, PlantedKind::StoppedHost));
    let (jump, silent) =
        (find(&written.sample, PlantedKind::VolumeJump), find(&written.sample, PlantedKind::SilentInterface));

    let added: Vec<&Key> = after.keys().filter(|key| !before.contains_key(key)).collect();
    assert_eq!(added.len(), 6, "both directions at the host, and at both sides of its NAT gateway: {added:#?}");
    let unknown = new.peer.unwrap().to_string();
    assert!(added.iter().all(|key| (key.2 == unknown || key.3 == unknown) && (key.4 == 4444 || key.5 == 4444)));
    assert!(added.iter().any(|key| seen(new, key) && key.1 == new.interface_id));

    let removed: Vec<&Key> = before.keys().filter(|key| !after.contains_key(key)).collect();
    assert!(removed.iter().all(|key| seen(stopped, key) || key.1 == silent.interface_id), "{removed:#?}");
    assert!(removed.iter().any(|key| seen(stopped, key) && key.1 == stopped.interface_id));
    assert!(!after.keys().any(|key| seen(stopped, key)));
    assert!(after.keys().any(|key| seen(silent, key)), "the silent host is still seen by its peers");
    assert!(!after.keys().any(|key| key.1 == silent.interface_id));

    for (key, bytes) in &before {
        let Some(then) = after.get(key) else { continue };
        let ratio = *then as f64 / *bytes as f64;
        if seen(jump, key) && key.2 == jump.peer.unwrap().to_string() {
            assert!((30.0..50.0).contains(&ratio), "{key:?}: {ratio}");
        } else {
            assert!((0.5..2.0).contains(&ratio), "{key:?}: {ratio}");
        }
    }
}

#[test]
fn a_stopped_host_is_still_watched_and_a_silent_interface_is_not() {
    let written = write();
    let reported = |planted: &Planted| -> BTreeSet<(usize, String)> {
        let lines = written.objects.values().flatten().filter(|line| line["interface-id"] == planted.interface_id);
        lines.map(|line| (window_of(line, &written.sample), line["log-status"].clone())).collect()
    };
    let stopped = reported(find(&written.sample, PlantedKind::StoppedHost));
    assert!(stopped.contains(&(0, "OK".into())) && stopped.contains(&(1, "NODATA".into())));
    assert!(!stopped.contains(&(1, "OK".into())));
    let silent = reported(find(&written.sample, PlantedKind::SilentInterface));
    assert!(silent.iter().all(|(hour, _)| *hour == 0));
}

#[test]
fn an_hour_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let start = demo_hour().start();
    let two_hours = Window::new(start, start + TimeDelta::hours(2)).unwrap();
    let ragged = Window::new(start + TimeDelta::minutes(1), start + TimeDelta::minutes(61)).unwrap();
    for window in [two_hours, ragged] {
        assert_eq!(write_sample(folder.path(), window).unwrap_err().kind(), crate::ErrorKind::Invalid);
    }
}

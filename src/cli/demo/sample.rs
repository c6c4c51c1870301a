//! Writes two hours of sample flow logs, as AWS would deliver them, with a planted change in the second.
//!
//! In: a folder and the first of the two hours. Out: objects below `AWSLogs/`, and what to look for in them. The same
//! hour gives the same bytes on every machine: numbers come from a small seeded generator, never from the clock.
//! Knows nothing of how flowdiff reads what it writes.

mod company;
mod format;
mod random;
mod traffic;

use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::source::{Format, Layout, ObjectName};
use crate::window::Window;
use chrono::{DateTime, TimeDelta};
use company::{Change, Company, RULES, Rule, SILENT, SITES, Site};
use flate2::{Compression, GzBuilder};
use random::Random;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use traffic::Record;

/// Seconds that one object covers: AWS publishes every five minutes.
const OBJECT_SECS: i64 = 300;
/// One record in this many is delivered late, in the next object.
const LATE_ONE_IN: u64 = 250;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Objects.
    pub objects: usize,
    /// Records in them: flows, NODATA and SKIPDATA.
    pub records: usize,
    /// Their stored size.
    pub bytes: u64,
    /// The first hour.
    pub before: Window,
    /// The second hour, which differs.
    pub after: Window,
    /// How it differs.
    pub planted: Vec<Planted>,
}

/// One planted change: what a diff of the two hours has to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// What kind of change it is.
    pub kind: PlantedKind,
    /// The change, as a person would tell it.
    pub what: String,
    /// Account of the interface where it is seen.
    pub account_id: String,
    /// That interface.
    pub interface_id: String,
    /// Address of the host that changed.
    pub host: IpAddr,
    /// The other end, where there is only one.
    pub peer: Option<IpAddr>,
    /// Port of the service, where there is only one.
    pub port: Option<u16>,
}

/// Kinds of planted change, and how a diff tells of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedKind {
    /// A connection that was not there before: added, evidence `new`.
    NewConnection,
    /// A host that sends no more, its interface still watched: removed, evidence `gone`.
    StoppedHost,
    /// A host that moves many times the bytes: changed.
    VolumeJump,
    /// An interface that reports nothing any more: removed, evidence `unobserved_after`.
    SilentInterface,
}

/// The first hour of the demo, 2026-11-20T12:00Z/PT1H.
///
/// A fixed hour and not the last one, so that everybody's demo has the same bytes, edges and figures, and what
/// documentation and tests say of it stays true.
pub fn demo_hour() -> Window {
    let start = DateTime::from_timestamp(1_795_176_000, 0).expect("a time in 2026 is in range");
    Window::new(start, start + TimeDelta::hours(1)).expect("an hour on the hour is a window")
}

/// Writes the two hours from the start of `first_hour` below `folder`, about 70,000 records in some 120 objects.
///
/// Objects that are there already are overwritten; others are left alone.
///
/// # Errors
/// `Invalid` if `first_hour` is not one hour from a five-minute mark; else what the file system says.
pub fn write_sample(folder: &Path, first_hour: Window) -> Result<Sample> {
    let start = first_hour.start();
    if first_hour.width() != TimeDelta::hours(1) || start.timestamp().rem_euclid(OBJECT_SECS) != 0 {
        return Err(Error::invalid(format!("sample cannot begin with {first_hour}"))
            .with_hint("give one hour that begins on a five-minute mark"));
    }
    let after = Window::new(first_hour.stop(), first_hour.stop() + first_hour.width())?;
    let company = Company::new();
    let records = traffic::records(&company, RULES, start.timestamp());
    let (mut objects, mut bytes) = (0, 0);
    for ((site, file_time), delivered) in deliveries(&company, &records) {
        bytes += write_object(folder, &company, &SITES[site], file_time, &delivered)?;
        objects += 1;
    }
    let planted = planted(&company);
    Ok(Sample { objects, records: records.len(), bytes, before: first_hour, after, planted })
}

/// Sorts records into objects, by site and file time in Unix seconds. A few come one object late.
fn deliveries<'a>(company: &Company, records: &'a [Record]) -> BTreeMap<(usize, i64), Vec<&'a Record>> {
    let mut random = Random::new("deliveries");
    let mut objects: BTreeMap<(usize, i64), Vec<&Record>> = BTreeMap::new();
    for record in records {
        let late = random.within(1..=LATE_ONE_IN) == 1;
        let slot = record.end.div_euclid(OBJECT_SECS) + i64::from(late);
        let site = company.interfaces[record.interface].site;
        objects.entry((site, slot * OBJECT_SECS)).or_default().push(record);
    }
    objects
}

/// Writes one object; returns its stored size.
fn write_object(folder: &Path, company: &Company, site: &Site, file_time: i64, records: &[&Record]) -> Result<u64> {
    let mut text = String::with_capacity(200 * (records.len() + 1));
    format::write_header(&mut text, site);
    for record in records {
        format::write_record(&mut text, company, record);
    }
    let file_time = DateTime::from_timestamp(file_time, 0)
        .ok_or_else(|| Error::invalid("sample lies beyond the times that can be written"))?;
    let path = folder.join(object_key(site, file_time));
    let write = || -> std::io::Result<u64> {
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        // No name and no time in the gzip header: same records, same bytes.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::default());
        gzip.write_all(text.as_bytes())?;
        let stored = gzip.finish()?;
        fs::write(&path, &stored)?;
        Ok(stored.len() as u64)
    };
    write().context(|| format!("write sample object {}", path.display()))
}

/// Key of an object in AWS's default layout.
fn object_key(site: &Site, file_time: Timestamp) -> String {
    let Site { account, region, .. } = site;
    let hash = Random::new(&format!("object {account} {region} {file_time}")).hex(8);
    let name = ObjectName {
        account: account.to_string(),
        region: region.to_string(),
        flow_log: format!("fl-0{}", Random::new(&format!("flow log {account} {region}")).hex(16)),
        file_time,
        format: Format::Text,
    };
    name.key("", Layout::Day, &hash)
}

/// Tells what the rules and the silent interface plant.
fn planted(company: &Company) -> Vec<Planted> {
    let mut plants: Vec<Plant> = RULES.iter().filter_map(Plant::of_rule).collect();
    plants.push(Plant {
        kind: PlantedKind::SilentInterface,
        group: SILENT,
        what: "reports nothing any more, while its peers still see it".to_owned(),
        service: None,
    });
    // A host that stopped has several rules, one below the other; it is told of once.
    plants.dedup_by_key(|plant| (plant.kind, plant.group));
    plants.into_iter().filter_map(|plant| plant.tell(company)).collect()
}

/// A planted change in the words of the rules: groups instead of addresses.
struct Plant {
    kind: PlantedKind,
    group: &'static str,
    what: String,
    service: Option<(&'static str, u16)>,
}

impl Plant {
    fn of_rule(rule: &Rule) -> Option<Plant> {
        let port = rule.port;
        let (kind, what) = match rule.change {
            Change::None => return None,
            Change::Appears => (PlantedKind::NewConnection, format!("connects to a public address on port {port}")),
            Change::Stops => (PlantedKind::StoppedHost, "sends no more, while its interface is still watched".into()),
            Change::Grows(factor) => {
                (PlantedKind::VolumeJump, format!("receives {factor} times the bytes from port {port}"))
            }
        };
        let service = (kind != PlantedKind::StoppedHost).then_some((rule.server, port));
        Some(Plant { kind, group: rule.client, what, service })
    }

    fn tell(self, company: &Company) -> Option<Planted> {
        let host = company.group(self.group).next()?;
        let interface = &company.interfaces[host.interface?];
        let peer = self.service.and_then(|(server, _)| company.group(server).next());
        Some(Planted {
            kind: self.kind,
            what: format!("{} {}", host.address, self.what),
            account_id: SITES[interface.site].account.to_owned(),
            interface_id: interface.id.clone(),
            host: host.address,
            peer: peer.map(|peer| peer.address),
            port: self.service.map(|(_, port)| port),
        })
    }
}

#[cfg(test)]
mod tests;

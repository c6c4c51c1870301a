//! Following: a source and a store in a folder, and what is told of whoever follows.

mod command;
mod sweep;
mod told;
mod windows;

use crate::corpora::builder;
use assert_cmd::cargo::CommandCargoExt;
use async_trait::async_trait;
use flowdiff::catalog::Manifest;
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::pipeline::follow::{Event, Follower, Options, Sink};
use flowdiff::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
static GO_ON: AtomicBool = AtomicBool::new(false);

/// A source and a store in a folder, and the events of whoever follows.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    events: Arc<Mutex<Vec<String>>>,
}

impl Site {
    pub(crate) fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        Site { folder, events: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes an object of a flow log.
    pub(crate) fn write(&self, flow_log: u8, file_time: &str) {
        let (key, text) = object(flow_log, file_time.parse().unwrap());
        let path = self.path("logs").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn follower(&self, now: &str) -> Follower {
        let mut builder = builder(&self.path("logs"), &self.path("store"));
        builder.clock = Clock::fixed(now.parse().unwrap());
        self.follower_of(builder, Options::default())
    }

    fn follower_of(&self, builder: flowdiff::digest::Builder, options: Options) -> Follower {
        let events = self.events.clone();
        let tell = move |event: &Event| events.lock().unwrap().push(brief(event));
        Follower::new(builder, options, Arc::new(tell)).unwrap()
    }

    /// What was told since the last time. Windows are published side by side, so it is sorted.
    fn told(&self) -> Vec<String> {
        let mut told = std::mem::take(&mut *self.events.lock().unwrap());
        told.sort();
        told
    }

    async fn windows(&self) -> Vec<String> {
        let manifests = builder(&self.path("logs"), &self.path("store")).catalog.list(None).await.unwrap();
        manifests.iter().map(described).collect()
    }

    async fn follow(&self, follower: &mut Follower, now: &str) -> Vec<String> {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        follower.round(Vec::new(), &GO_ON).await.unwrap();
        self.told()
    }
}

/// The key and the text of an object of a flow log, with one record that ends a minute after its file time.
pub(crate) fn object(flow_log: u8, time: Timestamp) -> (String, String) {
    let end = time.timestamp() + 60;
    let text =
        format!("{HEADER}\n2 123456789012 eni-{flow_log} 10.0.0.1 10.0.0.2 40000 443 6 3 300 {end} {end} ACCEPT OK\n");
    let (day, stamp) = (time.format("%Y/%m/%d"), time.format("%Y%m%dT%H%MZ"));
    let name = format!("123456789012_vpcflowlogs_us-east-1_fl-{flow_log}_{stamp}_0a1b2c3d.log");
    (format!("AWSLogs/123456789012/vpcflowlogs/us-east-1/{day}/{name}"), text)
}

fn described(manifest: &Manifest) -> String {
    let Manifest { start, version, state, totals, .. } = manifest;
    format!("{} v{version} {} {}", start.format("%d %H:%M"), state.name(), totals.flows)
}

fn brief(event: &Event) -> String {
    match event {
        Event::Published { manifest } => described(manifest),
        Event::Closed { manifest } => format!("closed {}", described(manifest)),
        Event::Amended { manifest, previous } => format!("amended {previous} {}", described(manifest)),
        Event::Late { start, objects, .. } => format!("late {} {objects}", start.format("%d %H:%M")),
        Event::Canary { since, is_blind: false } => format!("canary {}", since.format("%H:%M")),
        Event::Canary { since, is_blind: true } => format!("blind canary {}", since.format("%H:%M")),
        Event::Failed { start, reason, .. } => format!("failed {} {reason}", start.format("%H:%M")),
        Event::Undelivered { start, .. } => format!("undelivered {}", start.format("%H:%M")),
        Event::HandedOver { start, version, .. } => format!("handed over {} v{version}", start.format("%H:%M")),
        Event::Interrupted { reason } => format!("interrupted {reason}"),
        Event::Blocked { reason } => format!("blocked {reason}"),
        Event::Stopped { is_dropped } => format!("stopped, dropped {is_dropped}"),
        Event::Leads { leads } => format!("leads {leads}"),
    }
}

/// Takes events down, unless it is told not to.
#[derive(Debug, Default)]
struct Notebook {
    events: Mutex<Vec<String>>,
    tags: Mutex<Vec<String>>,
    is_away: AtomicBool,
}

#[async_trait]
impl Sink for Notebook {
    async fn deliver(&self, event: &Event) -> Result<()> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "nobody is there"));
        }
        self.events.lock().unwrap().push(brief(event));
        if let Event::Late { tag, .. } = event {
            self.tags.lock().unwrap().push(tag.clone());
        }
        Ok(())
    }
}

pub(crate) fn command(site: &Site, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("flowdiff").unwrap();
    command.current_dir(site.folder.path()).env_clear().args(["--source", "logs", "--store", "store"]).args(args);
    command
}

//! Deliveries killed at any await, by seed: objects come late, windows get new versions, receivers refuse and fail. In the
//! end the receiver must know of every comparison what the newest digests say, and of every notice; and one revision must
//! never tell two things.

use super::receiver::{Answer, Receiver};
use super::{REPORT, World, window};
use crate::random::Random;
use chrono::TimeDelta;
use flowdiff::catalog::{Catalog, Manifest};
use flowdiff::diff;
use flowdiff::pipeline::deliver::Notice;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const SEEDS: u64 = 2;
const STEPS: u64 = 10;
const HOURS: std::ops::Range<i64> = 10..14;
const PORTS: [u16; 5] = [22, 80, 3389, 5432, 8443];

/// What is told of a comparison: kinds of change and ports.
type Told = BTreeSet<(String, u64)>;

/// Ends a future after so many polls, whatever it is at.
async fn killed<T>(after: u64, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), after);
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// A store whose every request waits, so that a future on it can be ended before each.
fn slow(world: &World) -> Catalog {
    let pause = Duration::from_micros(1);
    let config = ThrottleConfig {
        wait_delete_per_call: pause,
        wait_get_per_call: pause,
        wait_list_per_call: pause,
        wait_list_with_delimiter_per_call: pause,
        wait_put_per_call: pause,
        ..ThrottleConfig::default()
    };
    Catalog::new(Arc::new(ThrottledStore::new(world.digests.clone(), config)), Path::default(), "memory://digests")
}

async fn truth(world: &World, before: &Manifest, after: &Manifest) -> Told {
    let (session, catalog, options) = (&world.session, world.catalog(), diff::Options::default());
    let rows = diff::diff(session, &catalog, before, after, &options, world.now).await.unwrap();
    let batches: Vec<_> = rows.try_collect().await.unwrap();
    let mut told = Told::new();
    for batch in batches {
        let mut json = Vec::new();
        let mut writer = datafusion::arrow::json::LineDelimitedWriter::new(&mut json);
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        for row in json.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row: Value = serde_json::from_slice(row).unwrap();
            if !row["evidence"].as_str().unwrap().starts_with("unobserved") {
                told.insert((row["change"].as_str().unwrap().to_owned(), row["dstport"].as_u64().unwrap()));
            }
        }
    }
    told
}

async fn simulate(seed: u64) {
    eprintln!("seed {seed}");
    let (mut random, mut world) = (Random(seed), World::new());
    let receiver = Receiver::start().await;
    world.now = super::hour(20);
    let report = &format!("{REPORT}notices = true\n");
    drop(world.deliveries(report, &receiver.url).await);
    let noticed = Mutex::new(BTreeSet::new());
    for step in 0..STEPS {
        world.now += TimeDelta::minutes(3);
        let hour = HOURS.start + random.below(4) as i64;
        let ports: Vec<u16> = PORTS.into_iter().filter(|_| random.below(2) == 0).collect();
        world.put(hour, &ports).await;
        world.publish(hour).await;
        let answers = [200, 200, 500, 400].map(Answer::Status);
        receiver.always(Some(answers[random.below(4) as usize].clone()));
        for _ in 0..2 {
            let hour = HOURS.start + random.below(4) as i64;
            let deliveries = world.deliveries_on(slow(&world), report, &receiver.url).await.unwrap();
            let work = async {
                let since = super::hour(step as i64);
                deliveries.notice(&Notice::Canary { since, is_blind: false }).await.unwrap();
                noticed.lock().unwrap().insert(format!("no new object since {}", since.format("%Y-%m-%dT%H:%MZ")));
                if let Some(manifest) = world.catalog().latest(&window(hour)).await.unwrap() {
                    deliveries.note(&manifest).await.unwrap();
                }
                deliveries.settle().await.unwrap();
            };
            killed(random.below(160), work).await;
        }
    }
    receiver.always(None);
    let mut newest = BTreeMap::new();
    for hour in HOURS {
        newest.insert(hour, world.catalog().latest(&window(hour)).await.unwrap());
    }
    world.now += TimeDelta::minutes(3);
    let deliveries = world.deliveries(report, &receiver.url).await;
    for manifest in newest.values().flatten() {
        deliveries.note(manifest).await.unwrap();
    }
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let kept = receiver.kept();
    let notices = kept.iter().filter_map(|message| message["text"].as_str().map(str::to_owned)).collect();
    assert!(noticed.into_inner().unwrap().is_subset(&notices), "seed {seed}: a notice was lost: {notices:?}");
    for hour in HOURS.skip(1) {
        let (Some(before), Some(after)) = (&newest[&(hour - 1)], &newest[&hour]) else { continue };
        let told = kept.iter().find(|message| message["after"]["start"].as_str() == Some(&start(after)));
        let told: Told = told.map(|message| super::ports(message).into_iter().collect()).unwrap_or_default();
        assert_eq!(told, truth(&world, before, after).await, "seed {seed}, hour {hour}");
    }
    let mut revisions: BTreeMap<(String, u64), Value> = BTreeMap::new();
    for message in receiver.received().iter().map(|received| received.json()) {
        let name = (message["id"].as_str().unwrap().to_owned(), message["revision"].as_u64().unwrap());
        let rows = revisions.entry(name).or_insert_with(|| message["rows"].clone());
        assert_eq!(*rows, message["rows"], "seed {seed}: one revision tells two things");
    }
}

fn start(manifest: &Manifest) -> String {
    manifest.start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[tokio::test]
async fn whatever_is_killed_the_receiver_knows_in_the_end_what_the_digests_say() {
    for seed in 0..SEEDS {
        simulate(seed).await;
    }
}

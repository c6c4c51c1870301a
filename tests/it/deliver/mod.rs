//! Deliveries, from published digests to receivers on loopback: what is told, how often, in which state, to whom not.

mod check;
mod crashes;
mod receiver;

use chrono::TimeDelta;
use flowdiff::aws::Access;
use flowdiff::catalog::{Catalog, Manifest};
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::digest::Builder;
use flowdiff::pipeline::deliver::{Deliveries, Figures, Lines, Notice, Options, Parts};
use flowdiff::scan::Report;
use flowdiff::session::{self, Session};
use flowdiff::source::Source;
use flowdiff::window::Window;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use receiver::{Answer, Receiver};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end \
                      action log-status";

/// A network whose windows are an hour of one afternoon, its digests, and the time.
struct World {
    logs: Arc<InMemory>,
    digests: Arc<InMemory>,
    session: Session,
    now: Timestamp,
    objects: u32,
    written: Arc<Mutex<Vec<u8>>>,
}

/// The start of an hour of the afternoon, or of a day before.
fn hour(hour: i64) -> Timestamp {
    "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::hours(hour)
}

fn window(start: i64) -> Window {
    Window::new(hour(start), hour(start + 1)).unwrap()
}

impl World {
    fn new() -> World {
        let options = session::Options { threads: 1, ..session::Options::default() };
        World {
            logs: Arc::default(),
            digests: Arc::default(),
            session: Session::new(&options).unwrap(),
            now: hour(0),
            objects: 0,
            written: Arc::default(),
        }
    }

    /// Puts an object with an edge to each of `ports`, 1,000 bytes each, of one hour; and one edge that is always there.
    async fn put(&mut self, start: i64, ports: &[u16]) {
        let seen = (hour(start) + TimeDelta::minutes(20)).timestamp();
        let line = |port: u16, action: &str| {
            format!("2 123456789012 eni-0a 10.0.0.5 192.0.2.9 40000 {port} 6 10 1000 {} {seen} {action} OK", seen - 60)
        };
        let lines = [HEADER.to_owned(), line(443, "ACCEPT")];
        let lines = lines.into_iter().chain(ports.iter().map(|port| line(*port, "ACCEPT")));
        let text: String = lines.map(|line| line + "\n").collect();
        self.objects += 1;
        let time = (hour(start) + TimeDelta::minutes(20)).format("%Y%m%dT%H%MZ");
        let day = hour(start).format("%Y/%m/%d");
        let key = format!(
            "AWSLogs/123456789012/vpcflowlogs/eu-west-1/{day}/\
             123456789012_vpcflowlogs_eu-west-1_fl-0123456789abcdef0_{time}_{:08x}.log",
            self.objects
        );
        self.logs.put(&Path::from(key), text.into_bytes().into()).await.unwrap();
    }

    /// Publishes what there is of an hour, as a new version if it is published: final if it is long past.
    async fn publish(&mut self, start: i64) -> Manifest {
        let builder = Builder {
            source: Source { store: self.logs.clone(), root: Path::default(), url: "memory://logs".to_owned() },
            catalog: self.catalog(),
            session: self.session.clone(),
            scan: flowdiff::scan::Options::default(),
            listing: flowdiff::source::Options::default(),
            options: flowdiff::digest::Options::default(),
            clock: Clock::fixed(self.now),
        };
        builder.build(&window(start), true, &Report::of_objects()).await.unwrap().manifest
    }

    fn catalog(&self) -> Catalog {
        Catalog::new(self.digests.clone(), Path::default(), "memory://digests")
    }

    /// Deliveries by settings as they stand in a file; `{url}` is the receiver's.
    async fn try_deliveries(&self, settings: &str, url: &str) -> flowdiff::Result<Deliveries> {
        self.deliveries_on(self.catalog(), settings, url).await
    }

    async fn deliveries_on(&self, catalog: Catalog, settings: &str, url: &str) -> flowdiff::Result<Deliveries> {
        let mut options: Options = toml::from_str(&settings.replace("{url}", url)).unwrap();
        options.backoff_max = TimeDelta::milliseconds(50);
        if !settings.contains("history") {
            // The afternoon is over when reports begin.
            options.reports.iter_mut().for_each(|report| report.history = true);
        }
        let lines: Lines = Arc::new(Mutex::new(Written(self.written.clone())));
        let parts = Parts {
            catalog,
            session: self.session.clone(),
            clock: Clock::fixed(self.now),
            diff: flowdiff::diff::Options::default(),
            options,
            environment: BTreeMap::from([("SECRET".to_owned(), "whsec".to_owned())]),
            access: Access::default(),
            lines,
        };
        Deliveries::open(parts).await
    }

    async fn deliveries(&self, settings: &str, url: &str) -> Deliveries {
        self.try_deliveries(settings, url).await.unwrap()
    }

    /// How many entries a journal has.
    async fn entries(&self, journal: &str) -> usize {
        let folder = Path::from(format!("v1/{journal}"));
        self.digests.list(Some(&folder)).try_collect::<Vec<_>>().await.unwrap().len()
    }
}

struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A world in which 12:00 has ports 22 and 80 and 13:00 has 80 and 8443, both final.
async fn two_hours() -> (World, Manifest, Manifest) {
    let mut world = World::new();
    world.put(12, &[22, 80]).await;
    world.put(13, &[80, 8443]).await;
    world.now = hour(20);
    let (before, after) = (world.publish(12).await, world.publish(13).await);
    (world, before, after)
}

const REPORT: &str = "[[reports]]\nname = \"all\"\nto = \"{url}\"\n";

fn ports(message: &Value) -> Vec<(String, u64)> {
    let rows = message["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["change"].as_str().unwrap().to_owned(), row["dstport"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_closed_window_is_told_once_however_often_it_is_noted() {
    let (world, before, after) = two_hours().await;
    let receiver = Receiver::start().await;
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    for manifest in [&before, &after, &after, &before] {
        deliveries.note(manifest).await.unwrap();
    }
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    deliveries.note(&after).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let message = received[0].json();
    assert_eq!(ports(&message), [("removed".to_owned(), 22), ("added".to_owned(), 8443)]);
    assert_eq!((&message["revision"], &message["state"]), (&1.into(), &"first".into()));
    assert_eq!(message["after"]["start"], "2026-11-20T13:00:00Z");
    assert_eq!(message["counts"], serde_json::json!({"added": 1, "removed": 1, "changed": 0}));
    assert_eq!(message["rows_left_out"], 0);
    assert_eq!(received[0].headers["flowdiff-id"], message["id"].as_str().unwrap());
    assert_eq!(deliveries.figures(), Figures { told: 1, ..Figures::default() });
    // Another process, later.
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    deliveries.note(&after).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_late_object_amends_both_comparisons_of_its_window_and_retracts_what_is_not_so() {
    let (mut world, before, after) = two_hours().await;
    world.put(14, &[80]).await;
    let next = world.publish(14).await;
    let receiver = Receiver::start().await;
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    for manifest in [&before, &after, &next] {
        deliveries.note(manifest).await.unwrap();
    }
    deliveries.settle().await.unwrap();
    assert_eq!(receiver.kept().len(), 2);
    // At 13:00 there was SSH too, and no 8443 more than at 14:00 in truth.
    world.put(13, &[22]).await;
    world.put(14, &[8443, 22]).await;
    let (late, later) = (world.publish(13).await, world.publish(14).await);
    assert_eq!((late.version, later.version), (2, 2));
    deliveries.note(&late).await.unwrap();
    deliveries.note(&later).await.unwrap();
    deliveries.settle().await.unwrap();
    let kept = receiver.kept();
    let of = |start: &str| kept.iter().find(|message| message["after"]["start"] == start).unwrap();
    let amended = of("2026-11-20T13:00:00Z");
    assert_eq!((&amended["revision"], &amended["state"]), (&2.into(), &"amended".into()));
    assert_eq!(ports(amended), [("added".to_owned(), 8443)]);
    let retracted = of("2026-11-20T14:00:00Z");
    assert_eq!((&retracted["revision"], &retracted["state"]), (&2.into(), &"retracted".into()));
    assert_eq!(retracted["rows"], Value::Array(Vec::new()));
    assert_eq!(receiver.received().len(), 4);
    let figures = deliveries.figures();
    assert_eq!((figures.told, figures.amended, figures.retracted), (4, 1, 1));
}

#[tokio::test]
async fn a_late_object_that_changes_nothing_of_what_was_told_is_not_told() {
    let (mut world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    deliveries.note(&after).await.unwrap();
    deliveries.settle().await.unwrap();
    world.put(13, &[80]).await;
    let late = world.publish(13).await;
    deliveries.note(&late).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(deliveries.figures().silent, 1);
}

#[tokio::test]
async fn what_is_pending_at_a_crash_goes_out_after_the_restart_with_the_same_id_and_revision() {
    let (mut world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    receiver.always(Some(Answer::Late(Duration::from_secs(60))));
    let dying = world.deliveries(REPORT, &receiver.url).await;
    dying.note(&after).await.unwrap();
    // It ends while the receiver, which has the message, has not answered.
    let _ = tokio::time::timeout(Duration::from_secs(2), dying.settle()).await.unwrap_err();
    drop(dying);
    assert_eq!(receiver.received().len(), 1);
    receiver.always(None);
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    assert_eq!(deliveries.settle().await.unwrap(), 1, "the one that died has it until its lease ends");
    assert_eq!(receiver.received().len(), 1);
    world.now += TimeDelta::minutes(3);
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    let [first, second] = [received[0].json(), received[1].json()];
    assert_eq!(
        (&first["id"], &first["revision"], &first["rows"]),
        (&second["id"], &second["revision"], &second["rows"])
    );
}

#[tokio::test]
async fn several_processes_do_not_tell_twice() {
    let (world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    let mut several = Vec::new();
    for _ in 0..4 {
        let deliveries = world.deliveries(REPORT, &receiver.url).await;
        deliveries.note(&after).await.unwrap();
        several.push(deliveries);
    }
    futures::future::join_all(several.iter().map(Deliveries::settle)).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_message_is_sent_again_until_it_is_taken() {
    let (world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    receiver.answers([Answer::Status(500), Answer::Status(503), Answer::With(429, "retry-after", "0".to_owned())]);
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    deliveries.note(&after).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let received = receiver.received();
    assert_eq!(received.len(), 4);
    assert!(received.windows(2).all(|pair| pair[0].body == pair[1].body));
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_gets_it_and_the_message_waits() {
    let (world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    receiver.answers([Answer::With(429, "retry-after", "3600".to_owned())]);
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    deliveries.note(&after).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 1);
    assert_eq!(receiver.received().len(), 1, "it is not tried again in this round");
}

#[tokio::test]
async fn redirects_and_refusals_are_not_repeated_in_a_round_and_others_pass() {
    let (mut world, before, after) = two_hours().await;
    world.put(14, &[80]).await;
    let next = world.publish(14).await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    receiver.answers([Answer::With(302, "location", elsewhere.url.clone())]);
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    for manifest in [&before, &after, &next] {
        deliveries.note(manifest).await.unwrap();
    }
    assert_eq!(deliveries.settle().await.unwrap(), 1, "the second message is taken");
    assert_eq!((receiver.received().len(), elsewhere.received().len()), (2, 0));
    receiver.answers([Answer::Status(400)]);
    assert_eq!(deliveries.settle().await.unwrap(), 1);
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    assert_eq!(receiver.kept().len(), 2);
}

#[tokio::test]
async fn a_message_that_fails_again_and_again_holds_up_no_other_to_the_same_receiver() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    // The oldest of five.
    receiver.poison(r#""after":{"start":"2026-11-20T11"#, Answer::Status(500));
    for start in 10..16 {
        world.put(start, &[if start % 2 == 0 { 22 } else { 80 }]).await;
    }
    world.now = hour(20);
    let deliveries = world.deliveries(&format!("attempts_max = 1\n{REPORT}"), &receiver.url).await;
    for start in 10..16 {
        deliveries.note(&world.publish(start).await).await.unwrap();
    }
    assert_eq!(deliveries.settle().await.unwrap(), 1);
    assert_eq!(receiver.kept().len(), 4);
    // As long as it runs, too.
    let (world, stop) = (&mut world, CancellationToken::new());
    world.put(16, &[22]).await;
    deliveries.note(&world.publish(16).await).await.unwrap();
    let works = async {
        while receiver.kept().len() < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
    };
    let both = futures::future::join(deliveries.run(&stop), works);
    tokio::time::timeout(Duration::from_secs(30), both).await.expect("others are tried after a failure");
    assert_eq!(deliveries.figures().pending, 1);
}

/// The number of the newest entry of the only message.
async fn newest_entry(world: &World) -> String {
    let listed = world.digests.list(Some(&Path::from("v1/messages"))).map_ok(|object| object.location.to_string());
    let mut keys: Vec<String> = listed.try_collect().await.unwrap();
    keys.sort();
    keys.pop().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_refused_message_is_kept_and_sent_again_as_it_was() {
    let (world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    receiver.always(Some(Answer::Status(404)));
    let deliveries = world.deliveries(REPORT, &receiver.url).await;
    deliveries.note(&after).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 1);
    assert_eq!(newest_entry(&world).await, "00000004.json");
    // There is nothing left to compare, and nobody notices.
    let edges = world.digests.list(Some(&Path::from("v1/digests"))).map_ok(|object| object.location);
    for path in edges.try_collect::<Vec<_>>().await.unwrap() {
        if path.as_ref().ends_with(".parquet") {
            world.digests.delete(&path).await.unwrap();
        }
    }
    assert_eq!(deliveries.settle().await.unwrap(), 1);
    assert_eq!(newest_entry(&world).await, "00000006.json", "it was taken and let go of, and no more");
    receiver.always(None);
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let received = receiver.received();
    assert_eq!(received.len(), 3);
    assert!(received.windows(2).all(|pair| pair[0].body == pair[1].body));
}

#[tokio::test]
async fn a_dead_receiver_holds_up_no_other() {
    let (world, _, after) = two_hours().await;
    let (receiver, slow) = (Receiver::start().await, Receiver::start().await);
    slow.always(Some(Answer::Late(Duration::from_secs(60))));
    let settings = format!(
        "timeout = \"1s\"\n{REPORT}[[reports]]\nname = \"slow\"\nto = \"{}\"\n[[reports]]\nname = \"dead\"\n\
         to = \"http://127.0.0.1:1/\"\n",
        slow.url
    );
    let deliveries = world.deliveries(&settings, &receiver.url).await;
    let stop = CancellationToken::new();
    let works = async {
        deliveries.note(&after).await.unwrap();
        while receiver.received().is_empty() || slow.received().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
    };
    let both = futures::future::join(deliveries.run(&stop), works);
    tokio::time::timeout(Duration::from_secs(30), both).await.expect("it ends soon after it was told to stop");
    assert_eq!(deliveries.figures().pending, 2);
    assert_eq!(deliveries.figures().told, 1);
}

/// HMAC-SHA256 by its definition (RFC 2104) on a hash of another library.
fn hmac(key: &[u8], message: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_signature_covers_time_and_body() {
    let (world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    let deliveries = world.deliveries(&format!("{REPORT}secret_env = \"SECRET\"\n"), &receiver.url).await;
    assert!(!format!("{deliveries:?}").contains("whsec"));
    deliveries.note(&after).await.unwrap();
    deliveries.settle().await.unwrap();
    let received = &receiver.received()[0];
    let signature = received.headers["flowdiff-signature"].to_str().unwrap();
    let (time, sum) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(time, world.now.timestamp().to_string());
    assert_eq!(sum, hmac(b"whsec", &[time.as_bytes(), b".", &received.body].concat()));
    let unsigned = Receiver::start().await;
    let deliveries = world.deliveries("[[reports]]\nname = \"b\"\nto = \"{url}\"\n", &unsigned.url).await;
    deliveries.note(&world_after(&world).await).await.unwrap();
    deliveries.settle().await.unwrap();
    assert!(!unsigned.received()[0].headers.contains_key("flowdiff-signature"));
}

async fn world_after(world: &World) -> Manifest {
    world.catalog().latest(&window(13)).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_bus_takes_only_200_and_what_the_earlier_services_sent() {
    let (world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    receiver.answers([Answer::Status(502), Answer::Status(202)]);
    let deliveries = world.deliveries(&format!("{REPORT}body = \"event\"\n"), &receiver.url).await;
    deliveries.note(&after).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 1, "502 is repeated, 202 is an error");
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let received = receiver.received();
    assert_eq!(received.len(), 3);
    let event = received[2].json();
    assert_eq!(event["previousStart"], "2026-11-20T12:00:00Z");
    assert_eq!(event["nextStop"], "2026-11-20T14:00:00Z");
    assert_eq!(received[2].headers["content-type"], "application/octet-stream");
}

#[tokio::test]
async fn windows_are_compared_with_those_a_day_and_a_week_before() {
    let mut world = World::new();
    for (start, ports) in [(13 - 168, &[80, 5][..]), (13 - 24, &[80, 6]), (12, &[80, 7]), (13, &[80])] {
        world.put(start, ports).await;
    }
    world.now = hour(20);
    let receiver = Receiver::start().await;
    let settings: String = ["previous", "day", "week"]
        .iter()
        .map(|name| format!("[[reports]]\nname = \"{name}\"\ncompare = \"{name}\"\nto = \"{{url}}\"\n"))
        .collect();
    let deliveries = world.deliveries(&settings, &receiver.url).await;
    for start in [13, 13 - 168, 12, 13 - 24] {
        deliveries.note(&world.publish(start).await).await.unwrap();
    }
    deliveries.settle().await.unwrap();
    let mut told: Vec<_> = receiver
        .kept()
        .iter()
        .map(|message| (message["report"].as_str().unwrap().to_owned(), ports(message)[0].1))
        .collect();
    told.sort();
    assert_eq!(told, [("day".to_owned(), 6), ("previous".to_owned(), 7), ("week".to_owned(), 5)]);
}

#[tokio::test]
async fn a_message_holds_so_many_rows_and_counts_the_rest() {
    let mut world = World::new();
    world.put(12, &[]).await;
    world.put(13, &(1..=40).collect::<Vec<u16>>()).await;
    world.now = hour(20);
    world.publish(12).await;
    let after = world.publish(13).await;
    let receiver = Receiver::start().await;
    let deliveries =
        world.deliveries(&format!("{REPORT}rows_max = 7\nports = [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"), &receiver.url).await;
    deliveries.note(&after).await.unwrap();
    deliveries.settle().await.unwrap();
    let message = receiver.received()[0].json();
    assert_eq!(message["rows"].as_array().unwrap().len(), 7);
    assert_eq!((&message["rows_left_out"], &message["counts"]["added"]), (&2.into(), &9.into()));
}

#[tokio::test]
async fn provisional_windows_are_told_where_that_is_wanted_and_amended_as_they_close() {
    let mut world = World::new();
    world.put(12, &[80]).await;
    world.put(13, &[80, 8443]).await;
    world.now = hour(20);
    world.publish(12).await;
    world.now = hour(13) + TimeDelta::minutes(40);
    let provisional = world.publish(13).await;
    assert_eq!(provisional.state, flowdiff::catalog::State::Provisional);
    let receiver = Receiver::start().await;
    let settings = format!("{REPORT}provisional = true\n[[reports]]\nname = \"closed\"\nto = \"{{url}}\"\n");
    let deliveries = world.deliveries(&settings, &receiver.url).await;
    deliveries.note(&provisional).await.unwrap();
    deliveries.settle().await.unwrap();
    let told = receiver.received();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].json()["after"]["state"], &told[0].json()["report"]), (&"provisional".into(), &"all".into()));
    world.put(13, &[9443]).await;
    world.now = hour(20);
    let closed = world.publish(13).await;
    deliveries.note(&closed).await.unwrap();
    deliveries.settle().await.unwrap();
    let kept = receiver.kept();
    let of = |report: &str| kept.iter().find(|message| message["report"] == report).unwrap();
    assert_eq!((&of("all")["state"], &of("all")["after"]["state"]), (&"amended".into(), &"final".into()));
    assert_eq!((&of("closed")["state"], of("closed")["counts"]["added"].as_u64()), (&"first".into(), Some(2)));
}

#[tokio::test]
async fn what_ended_before_a_report_began_is_told_only_where_that_is_wanted() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    world.now = hour(14);
    let settings = format!("{REPORT}history = false\n");
    drop(world.deliveries(&settings, &receiver.url).await);
    world.now = hour(20);
    let mut manifests = Vec::new();
    for start in 11..16 {
        world.put(start, &[if start % 2 == 0 { 22 } else { 80 }]).await;
        manifests.push(world.publish(start).await);
    }
    for (settings, hours) in [(settings, &[14, 15][..]), (REPORT.to_owned(), &[12, 13, 14, 15])] {
        let deliveries = world.deliveries(&settings, &receiver.url).await;
        for manifest in &manifests {
            deliveries.note(manifest).await.unwrap();
        }
        assert_eq!(deliveries.settle().await.unwrap(), 0);
        let kept = receiver.kept();
        let mut told: Vec<&str> = kept.iter().map(|message| message["after"]["start"].as_str().unwrap()).collect();
        told.sort();
        let wanted: Vec<String> = hours.iter().map(|hour| format!("2026-11-20T{hour}:00:00Z")).collect();
        assert_eq!(told, wanted);
    }
}

#[tokio::test]
async fn lines_and_objects_are_named_by_id_and_revision() {
    let (world, _, after) = two_hours().await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("told").display().to_string();
    let settings =
        format!("[[reports]]\nname = \"lines\"\nto = \"stdout\"\n[[reports]]\nname = \"files\"\nto = {place:?}\n");
    let deliveries = world.deliveries(&settings, "").await;
    deliveries.note(&after).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let written = String::from_utf8(world.written.lock().unwrap().clone()).unwrap();
    let line: Value = serde_json::from_str(written.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(line["report"], "lines");
    let files: Vec<_> = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let message: Value = serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap();
    let name = format!("{}-00000001.json", message["id"].as_str().unwrap());
    assert_eq!(files[0].file_name().unwrap().to_str().unwrap(), name);
}

#[tokio::test]
async fn what_was_told_long_ago_is_forgotten_and_what_nobody_took_is_given_up() {
    let (mut world, _, after) = two_hours().await;
    let receiver = Receiver::start().await;
    receiver.always(Some(Answer::Status(400)));
    let settings = format!("{REPORT}[[reports]]\nname = \"lines\"\nto = \"stdout\"\n");
    let deliveries = world.deliveries(&settings, &receiver.url).await;
    deliveries.note(&after).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 1);
    let messages = async |world: &World| -> usize { world.entries("messages").await + world.entries("notices").await };
    assert!(messages(&world).await >= 2);
    world.now += TimeDelta::days(32);
    let deliveries = world.deliveries(&settings, &receiver.url).await;
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    assert_eq!(messages(&world).await, 0);
}

#[tokio::test]
async fn notices_go_to_those_who_want_them_in_the_shape_they_take() {
    let world = World::new();
    let receiver = Receiver::start().await;
    let bodies = ["flowdiff", "slack", "alertmanager"]
        .map(|body| format!("[[reports]]\nname = \"{body}\"\nbody = \"{body}\"\nto = \"{{url}}\"\nnotices = true\n"));
    let deliveries = world.deliveries(&format!("{REPORT}{}", bodies.concat()), &receiver.url).await;
    deliveries.notice(&late(13, "A")).await.unwrap();
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let told: Vec<Value> = receiver.received().iter().map(|received| received.json()).collect();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|told| told.to_string().contains("3 objects of 2026-11-20T13:00Z/2026-11-20T14:00Z")));
}

#[tokio::test]
async fn a_window_without_a_digest_between_others_is_told_and_not_the_first_of_all() {
    let mut world = World::new();
    for start in [12, 15, 18] {
        world.put(start, &[80]).await;
    }
    world.now = hour(22);
    let receiver = Receiver::start().await;
    let deliveries = world.deliveries(&format!("{REPORT}notices = true\n"), &receiver.url).await;
    for start in [12, 15, 18] {
        deliveries.note(&world.publish(start).await).await.unwrap();
    }
    // This one closes after the one that follows it.
    world.put(17, &[80]).await;
    world.publish(17).await;
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    let told: Vec<String> = receiver.received().iter().map(|told| told.json()["text"].to_string()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let words = "no digest of 2026-11-20T13:00Z/2026-11-20T15:00Z: 2026-11-20T15:00Z/2026-11-20T16:00Z has nothing";
    assert!(told[0].contains(words), "{told:?}");
}

/// Three objects of an hour that came too late.
fn late(start: i64, tag: &str) -> Notice {
    Notice::Late { start: hour(start), stop: hour(start + 1), objects: 3, tag: tag.to_owned() }
}

#[tokio::test]
async fn a_notice_is_told_after_a_crash_and_once_however_often_it_is_found_out() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    let settings = format!("{REPORT}notices = true\n");
    receiver.always(Some(Answer::Status(400)));
    let deliveries = world.deliveries(&settings, &receiver.url).await;
    for notice in [late(13, "A"), late(13, "A"), late(13, "B"), Notice::Canary { since: hour(12), is_blind: false }] {
        deliveries.notice(&notice).await.unwrap();
    }
    assert_eq!(deliveries.settle().await.unwrap(), 3);
    assert_eq!(deliveries.figures().failed, 3);
    receiver.always(None);
    // Another process, once the first one's claims have run out.
    world.now += TimeDelta::minutes(3);
    let deliveries = world.deliveries(&settings, &receiver.url).await;
    assert_eq!(deliveries.settle().await.unwrap(), 0);
    assert_eq!(deliveries.figures().told, 3);
    let ids = |receiver: &Receiver| -> Vec<String> {
        receiver.received().iter().map(|received| received.json()["id"].as_str().unwrap().to_owned()).collect()
    };
    let (before, mut told) = (ids(&receiver)[..3].to_vec(), ids(&receiver)[3..].to_vec());
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 3);
    assert!(before.iter().all(|id| told.contains(id)), "what was refused comes again under its id");
    for notice in [late(13, "A"), Notice::Canary { since: hour(12), is_blind: false }] {
        deliveries.notice(&notice).await.unwrap();
        assert_eq!(deliveries.settle().await.unwrap(), 0);
    }
    assert_eq!(ids(&receiver).len(), 6, "it is known to be told");
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_before_anything_is_told() {
    let world = World::new();
    for (settings, word) in [
        (r#"to = "http://169.254.169.254/latest""#, "metadata|link-local"),
        (r#"to = "http://[fd00:ec2::254]/""#, "metadata"),
        (r#"to_env = "NOBODY_SET_THIS""#, "NOBODY_SET_THIS"),
        (r#"to_file = "/nobody/wrote/this""#, "/nobody/wrote/this"),
        ("to = \"http://127.0.0.1:1/\"\nsecret_env = \"NOBODY_SET_THIS\"", "NOBODY_SET_THIS"),
        ("to = \"stdout\"\nsecret_env = \"SECRET\"", "no effect"),
        (r#"to = "gs://bucket/a""#, "unknown kind of place"),
        (r#"to = "stdot""#, "\"stdot\" is no place"),
        (r#"to = "mailto:me""#, "\"mailto:me\" is no place"),
        ("to = \"stdout\"\nratio = 0.5", "below 1"),
    ] {
        let error = world.try_deliveries(&format!("[[reports]]\nname = \"a\"\n{settings}\n"), "").await.unwrap_err();
        let told = error.copy().to_string();
        assert!(told.contains("report a") && word.split('|').any(|word| told.contains(word)), "{settings}: {told}");
    }
}

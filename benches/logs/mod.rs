//! Flow logs for the benches: objects in memory, always the same. Records come in runs of one interface, as AWS writes
//! them; one in twenty is rejected, one in fifty is IPv6.

#[path = "../../tests/it/random.rs"]
mod random;

use flate2::{Compression, write::GzEncoder};
use flowdiff::source::Source;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use random::Random;
use std::io::Write;
use std::sync::Arc;

/// 2026-11-20T12:00Z: the hour that the records lie in.
const START: u64 = 1_795_176_000;

/// The default format, version 2.
pub const DEFAULT: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
/// Every field up to version 5.
pub const VERSION_5: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes \
    start end action log-status vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id \
    sublocation-type sublocation-id pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path";

/// A source of `objects` objects of `records` records each, and the bytes of their text.
pub async fn source(format: &str, objects: u64, records: u64, gzip: bool) -> (Source, u64) {
    let store = InMemory::new();
    let mut bytes = 0;
    for object in 0..objects {
        let text = text(format, object, records);
        bytes += text.len() as u64;
        let minute = object * 5 % 60;
        let name =
            format!("111111111111_vpcflowlogs_us-east-1_fl-0123456789abcdef0_20261120T12{minute:02}Z_{object:08x}.log");
        let folder = "AWSLogs/111111111111/vpcflowlogs/us-east-1/2026/11/20";
        let (path, body) = if gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            (format!("{folder}/{name}.gz"), encoder.finish().unwrap())
        } else {
            (format!("{folder}/{name}"), text.into_bytes())
        };
        store.put(&Path::from(path), body.into()).await.unwrap();
    }
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    (Source { store, root: Path::default(), url: "memory://bench".to_owned() }, bytes)
}

fn text(format: &str, object: u64, records: u64) -> String {
    let mut random = Random(object);
    let mut text = format!("{format}\n");
    for record in 0..records {
        let interface = (record / 90 * 7 + object) % 400;
        let (client, port) = (random.below(2_000), [443, 443, 80, 5432, 53, 8080][random.below(6) as usize]);
        let ephemeral = 32_768 + random.below(28_232);
        let own = format!("10.0.{}.{}", interface >> 8, interface & 255);
        let peer = if random.below(50) == 0 {
            format!("2600:1f18::{client:x}")
        } else {
            format!("198.51.{}.{}", client >> 8, client & 255)
        };
        let outgoing = random.below(2) == 0;
        let (source, destination) = if outgoing { (&own, &peer) } else { (&peer, &own) };
        let (packets, size) = (1 + random.below(40), 40 + random.below(1_460));
        let start = START + object * 300 % 3_600 + random.below(240);
        let fields = format.split(' ').map(|field| match field {
            "version" => "5".to_owned(),
            "account-id" => "111111111111".to_owned(),
            "interface-id" => format!("eni-0{interface:016x}"),
            "srcaddr" | "pkt-srcaddr" => source.clone(),
            "dstaddr" | "pkt-dstaddr" => destination.clone(),
            "srcport" => ephemeral.to_string(),
            "dstport" => port.to_string(),
            "protocol" => if port == 53 { "17" } else { "6" }.to_owned(),
            "packets" => packets.to_string(),
            "bytes" => (packets * size).to_string(),
            "start" => start.to_string(),
            "end" => (start + 59).to_string(),
            "action" => if record % 20 == 0 { "REJECT" } else { "ACCEPT" }.to_owned(),
            "log-status" => "OK".to_owned(),
            "vpc-id" => "vpc-0123456789abcdef0".to_owned(),
            "subnet-id" => format!("subnet-0{:016x}", interface % 12),
            "tcp-flags" => if outgoing { "2" } else { "18" }.to_owned(),
            "type" => if peer.contains(':') { "IPv6" } else { "IPv4" }.to_owned(),
            "region" => "us-east-1".to_owned(),
            "az-id" => "use1-az1".to_owned(),
            "flow-direction" => if outgoing { "egress" } else { "ingress" }.to_owned(),
            _ => "-".to_owned(),
        });
        text.push_str(&fields.collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    text
}

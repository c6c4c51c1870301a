//! The company whose network the sample shows: where it runs, its hosts, and who talks to whom. Pure data.
//!
//! Account numbers are those of AWS's documentation; addresses are private (RFC 1918) or reserved for documentation
//! (RFC 5737, RFC 3849), so that no real network is shown.

use super::random::Random;
use std::net::IpAddr;

/// One VPC with a flow log.
#[derive(Debug)]
pub(super) struct Site {
    /// Account number; text, because of leading zeros.
    pub(super) account: &'static str,
    /// Region.
    pub(super) region: &'static str,
    /// Prefix of the ids of its availability zones.
    pub(super) zone: &'static str,
    /// Whether its flow log has the default format (version 2) instead of the custom one (version 5).
    pub(super) default_format: bool,
}

const US: usize = 0;
const EU: usize = 1;
const DEV: usize = 2;
const HUB: usize = 3;
const HUB_EU: usize = 4;

/// Production twice, development once, and an account of shared services with a network in each region.
pub(super) const SITES: [Site; 5] = [
    Site { account: "111122223333", region: "us-east-1", zone: "use1", default_format: false },
    Site { account: "111122223333", region: "eu-west-1", zone: "euw1", default_format: false },
    Site { account: "123456789012", region: "us-east-1", zone: "use1", default_format: true },
    Site { account: "012345678901", region: "us-east-1", zone: "use1", default_format: false },
    Site { account: "012345678901", region: "eu-west-1", zone: "euw1", default_format: false },
];

/// Some addresses that do the same thing. Members count up from `first`.
struct Group {
    name: &'static str,
    place: Place,
    first: &'static str,
    count: u8,
}

/// Where the addresses of a group are.
enum Place {
    /// Own interfaces of instances of a site.
    Instances(usize),
    /// Interfaces that AWS manages, without an instance: load balancers, NAT gateways, control planes.
    Managed(usize),
    /// Further addresses on the interfaces of another group: IPv6, or pods on their node.
    On(&'static str),
    /// The internet.
    Outside,
}

const fn group(name: &'static str, place: Place, first: &'static str, count: u8) -> Group {
    Group { name, place, first, count }
}

#[rustfmt::skip]
const GROUPS: [Group; 44] = [
    group("us/lb", Place::Managed(US), "10.10.0.10", 2),
    group("us/lb6", Place::On("us/lb"), "2001:db8:10::10", 2),
    group("us/nat", Place::Managed(US), "10.10.0.200", 1),
    group("us/web", Place::Instances(US), "10.10.1.11", 4),
    group("us/app", Place::Instances(US), "10.10.2.21", 4),
    group("us/report", Place::Instances(US), "10.10.2.71", 1),
    group("us/jobs", Place::Instances(US), "10.10.2.81", 1),
    group("us/db", Place::Instances(US), "10.10.3.31", 2),
    group("us/mysql", Place::Instances(US), "10.10.3.41", 1),
    group("us/cache", Place::Instances(US), "10.10.3.51", 1),
    group("us/k8s", Place::Managed(US), "10.10.4.10", 1),
    group("us/node", Place::Instances(US), "10.10.4.61", 3),
    group("us/pod", Place::On("us/node"), "10.10.4.131", 3),
    group("eu/lb", Place::Managed(EU), "10.20.0.10", 1),
    group("eu/lb6", Place::On("eu/lb"), "2001:db8:20::10", 1),
    group("eu/nat", Place::Managed(EU), "10.20.0.200", 1),
    group("eu/web", Place::Instances(EU), "10.20.1.11", 2),
    group("eu/app", Place::Instances(EU), "10.20.2.21", 2),
    group("eu/export", Place::Instances(EU), "10.20.2.71", 1),
    group("eu/db", Place::Instances(EU), "10.20.3.31", 1),
    group("eu/cache", Place::Instances(EU), "10.20.3.51", 1),
    group("dev/web", Place::Instances(DEV), "10.30.1.11", 1),
    group("dev/app", Place::Instances(DEV), "10.30.2.21", 2),
    group("dev/db", Place::Instances(DEV), "10.30.3.41", 1),
    group("dev/ci", Place::Instances(DEV), "10.30.2.90", 1),
    group("dev/wiki", Place::Instances(DEV), "10.30.2.95", 1),
    group("hub/dns", Place::Instances(HUB), "10.40.0.53", 2),
    group("hub/bastion", Place::Instances(HUB), "10.40.1.22", 1),
    group("hub/monitor", Place::Instances(HUB), "10.40.2.90", 1),
    group("hub/log", Place::Instances(HUB), "10.40.2.95", 1),
    group("hub-eu/dns", Place::Instances(HUB_EU), "10.41.0.53", 1),
    group("net/clients", Place::Outside, "203.0.113.10", 10),
    group("net/clients6", Place::Outside, "2001:db8:c1::10", 5),
    group("net/partner", Place::Outside, "203.0.113.150", 2),
    group("net/admins", Place::Outside, "203.0.113.200", 2),
    group("net/api", Place::Outside, "198.51.100.20", 4),
    group("net/unknown", Place::Outside, "198.51.100.77", 1),
    group("net/scanners", Place::Outside, "198.51.100.200", 6),
    group("net/scanners6", Place::Outside, "2001:db8:bad::1", 1),
    group("net/packages", Place::Outside, "192.0.2.40", 2),
    group("net/mail", Place::Outside, "192.0.2.25", 1),
    group("net/ntp", Place::Outside, "192.0.2.123", 2),
    group("net/git", Place::Outside, "192.0.2.80", 1),
    group("net/probe", Place::Outside, "203.0.113.99", 1),
];

/// One elastic network interface.
#[derive(Debug)]
pub(super) struct Interface {
    /// Its id, `eni-` and 17 hexadecimal digits.
    pub(super) id: String,
    /// Index in [`SITES`].
    pub(super) site: usize,
    /// Primary private address.
    pub(super) address: IpAddr,
    /// Instance that it belongs to; none if AWS manages it.
    pub(super) instance: Option<String>,
    /// Name of its group: its role.
    pub(super) role: &'static str,
}

/// One address that takes part.
#[derive(Debug)]
pub(super) struct Party {
    /// Name of its group.
    pub(super) group: &'static str,
    /// Its address, as in the packets.
    pub(super) address: IpAddr,
    /// Address that its own interface's records show: the interface's primary one for a pod, else its own.
    pub(super) face: IpAddr,
    /// Index of its interface; none on the internet.
    pub(super) interface: Option<usize>,
}

/// All interfaces and all parties.
#[derive(Debug)]
pub(super) struct Company {
    pub(super) interfaces: Vec<Interface>,
    pub(super) parties: Vec<Party>,
}

impl Company {
    pub(super) fn new() -> Self {
        let mut company = Company { interfaces: Vec::new(), parties: Vec::new() };
        for group in &GROUPS {
            let first: IpAddr = group.first.parse().expect("the table of groups holds addresses");
            for member in 0..group.count {
                company.join(group, member, nth_address(first, member));
            }
        }
        company
    }

    fn join(&mut self, group: &Group, member: u8, address: IpAddr) {
        let (interface, face) = match group.place {
            Place::Outside => (None, address),
            Place::Instances(site) => (Some(self.attach(group.name, site, address, true)), address),
            Place::Managed(site) => (Some(self.attach(group.name, site, address, false)), address),
            Place::On(host) => {
                let host = self.group(host).nth(usize::from(member)).expect("hosts come before their guests");
                (host.interface, if address.is_ipv6() { address } else { host.face })
            }
        };
        self.parties.push(Party { group: group.name, address, face, interface });
    }

    fn attach(&mut self, role: &'static str, site: usize, address: IpAddr, instance: bool) -> usize {
        let mut random = Random::new(&format!("interface {address}"));
        let id = format!("eni-0{}", random.hex(16));
        let instance = instance.then(|| format!("i-0{}", random.hex(16)));
        self.interfaces.push(Interface { id, site, address, instance, role });
        self.interfaces.len() - 1
    }

    /// The members of a group.
    pub(super) fn group<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Party> {
        self.parties.iter().filter(move |party| party.group == name)
    }
}

fn nth_address(first: IpAddr, member: u8) -> IpAddr {
    match first {
        IpAddr::V4(first) => IpAddr::from((u32::from(first) + u32::from(member)).to_be_bytes()),
        IpAddr::V6(first) => IpAddr::from((u128::from(first) + u128::from(member)).to_be_bytes()),
    }
}

/// How two parties talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A TCP connection of its own each time.
    Short,
    /// A TCP connection that stays open all the time.
    Long,
    /// A UDP question and its answer.
    Datagram,
    /// ICMP or ICMPv6 echo.
    Ping,
    /// A TCP connection attempt that is refused.
    Refused,
}

/// What is planted in a rule's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing: both hours alike.
    None,
    /// Takes place in the second hour only.
    Appears,
    /// Takes place in the first hour only.
    Stops,
    /// What the server sends is multiplied by this in the second hour.
    Grows(u64),
}

/// Every member of one group talks to every member of another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) client: &'static str,
    pub(super) server: &'static str,
    pub(super) style: Style,
    pub(super) port: u16,
    /// Minutes from one contact to the next; divides 60, so that both hours hold the same contacts.
    pub(super) every: u32,
    /// Connections in one contact.
    pub(super) connections: u32,
    /// Octets that the client sends in one connection and minute, about.
    pub(super) sent: u64,
    /// Octets that the server sends, about.
    pub(super) received: u64,
    /// Group of the NAT gateway on the way, if one is.
    pub(super) nat: Option<&'static str>,
    pub(super) change: Change,
}

impl Rule {
    const fn via(self, nat: &'static str) -> Self {
        Rule { nat: Some(nat), ..self }
    }

    const fn with(self, change: Change) -> Self {
        Rule { change, ..self }
    }
}

/// Client and server; style and port; minutes between contacts and connections in each; octets sent and received.
const fn rule(
    (client, server): (&'static str, &'static str),
    style: Style,
    port: u16,
    (every, connections): (u32, u32),
    (sent, received): (u64, u64),
) -> Rule {
    Rule { client, server, style, port, every, connections, sent, received, nat: None, change: Change::None }
}

/// The group whose interface falls silent in the second hour: its peers go on seeing it.
pub(super) const SILENT: &str = "dev/wiki";

/// The group that loses records in the first hour (one SKIPDATA line); no planted change is near it.
pub(super) const SKIPPING: &str = "eu/cache";

/// Who talks to whom.
#[rustfmt::skip]
pub(super) const RULES: &[Rule] = {
    use Style::{Datagram, Long, Ping, Refused, Short};
    &[
        // Production in us-east-1.
        rule(("net/clients", "us/lb"), Short, 443, (1, 1), (2_400, 48_000)),
        rule(("net/clients6", "us/lb6"), Short, 443, (1, 1), (2_600, 52_000)),
        rule(("us/lb", "us/web"), Short, 8080, (1, 2), (3_200, 61_000)),
        rule(("us/web", "us/app"), Short, 8443, (1, 1), (5_100, 22_000)),
        rule(("us/app", "us/db"), Long, 5432, (1, 2), (18_000, 96_000)),
        rule(("us/app", "us/mysql"), Long, 3306, (1, 1), (7_000, 31_000)),
        rule(("us/app", "us/cache"), Long, 6379, (1, 1), (9_500, 12_000)),
        rule(("us/db", "us/cache"), Ping, 0, (15, 1), (336, 336)),
        rule(("us/pod", "us/app"), Short, 8443, (2, 1), (1_900, 8_800)),
        rule(("us/node", "us/k8s"), Long, 6443, (1, 1), (4_200, 15_000)),
        rule(("us/k8s", "us/node"), Short, 10250, (5, 1), (900, 6_400)),
        rule(("us/app", "net/api"), Short, 443, (3, 1), (3_800, 11_000)).via("us/nat"),
        rule(("us/node", "net/packages"), Short, 443, (10, 1), (1_500, 240_000)).via("us/nat"),
        rule(("us/app", "net/mail"), Short, 587, (6, 1), (14_000, 1_200)).via("us/nat"),
        rule(("us/web", "net/ntp"), Datagram, 123, (20, 1), (76, 76)).via("us/nat"),
        rule(("us/app", "eu/app"), Short, 8443, (2, 1), (2_700, 9_000)),
        rule(("us/db", "eu/db"), Long, 5432, (1, 1), (41_000, 2_600)),
        // Production in eu-west-1.
        rule(("net/clients", "eu/lb"), Short, 443, (2, 1), (2_400, 44_000)),
        rule(("net/clients6", "eu/lb6"), Short, 443, (2, 1), (2_500, 47_000)),
        rule(("eu/lb", "eu/web"), Short, 8080, (1, 2), (3_000, 58_000)),
        rule(("eu/web", "eu/app"), Short, 8443, (1, 1), (4_900, 20_000)),
        rule(("eu/app", "eu/cache"), Long, 6379, (1, 1), (8_000, 10_000)),
        rule(("eu/app", "net/api"), Short, 443, (6, 1), (3_500, 10_500)).via("eu/nat"),
        rule(("net/partner", "eu/web"), Short, 443, (10, 1), (120_000, 4_000)),
        // Development: one public web server, everything reached directly.
        rule(("net/admins", "dev/web"), Short, 443, (3, 1), (1_800, 30_000)),
        rule(("dev/web", "dev/app"), Short, 8080, (2, 1), (2_200, 12_000)),
        rule(("dev/app", "dev/db"), Long, 3306, (1, 2), (5_200, 24_000)),
        rule(("dev/ci", "net/git"), Short, 22, (5, 1), (6_000, 310_000)),
        rule(("dev/ci", "net/packages"), Short, 443, (6, 1), (2_000, 900_000)),
        rule(("dev/ci", "us/k8s"), Short, 6443, (10, 1), (16_000, 9_000)),
        rule(("dev/app", "dev/wiki"), Short, 8080, (5, 1), (1_200, 18_000)),
        rule(("dev/wiki", "dev/db"), Long, 3306, (1, 1), (1_900, 6_000)),
        // Shared services.
        rule(("us/web", "hub/dns"), Datagram, 53, (2, 1), (71, 187)),
        rule(("us/app", "hub/dns"), Datagram, 53, (2, 1), (71, 187)),
        rule(("us/pod", "hub/dns"), Datagram, 53, (3, 2), (69, 203)),
        rule(("eu/web", "hub-eu/dns"), Datagram, 53, (2, 1), (71, 187)),
        rule(("eu/app", "hub-eu/dns"), Datagram, 53, (2, 1), (71, 187)),
        rule(("dev/app", "hub/dns"), Datagram, 53, (5, 1), (70, 190)),
        rule(("hub/dns", "hub-eu/dns"), Short, 53, (10, 1), (600, 4_000)),
        rule(("us/app", "hub/log"), Long, 6514, (1, 1), (26_000, 900)),
        rule(("eu/app", "hub/log"), Long, 6514, (1, 1), (21_000, 900)),
        rule(("us/lb", "hub/log"), Datagram, 514, (5, 1), (800, 0)),
        rule(("hub/monitor", "us/web"), Short, 9100, (5, 1), (700, 19_000)),
        rule(("hub/monitor", "us/app"), Short, 9100, (5, 1), (700, 19_000)),
        rule(("hub/monitor", "us/node"), Short, 9100, (5, 1), (700, 24_000)),
        rule(("hub/monitor", "eu/web"), Short, 9100, (5, 1), (700, 19_000)),
        rule(("hub/monitor", "us/db"), Ping, 0, (5, 1), (336, 336)),
        rule(("hub/monitor", "eu/db"), Ping, 0, (5, 1), (336, 336)),
        rule(("net/admins", "hub/bastion"), Short, 22, (10, 1), (5_000, 16_000)),
        rule(("hub/bastion", "us/web"), Short, 22, (30, 1), (4_000, 13_000)),
        rule(("hub/bastion", "us/db"), Short, 22, (30, 1), (4_000, 13_000)),
        // The weather of the internet: the same addresses knock at the same ports in both hours.
        rule(("net/scanners", "us/lb"), Refused, 23, (10, 1), (40, 0)),
        rule(("net/scanners", "us/lb"), Refused, 3389, (10, 1), (40, 0)),
        rule(("net/scanners", "us/nat"), Refused, 22, (12, 1), (40, 0)),
        rule(("net/scanners", "eu/lb"), Refused, 445, (10, 1), (40, 0)),
        rule(("net/scanners", "dev/web"), Refused, 22, (6, 1), (44, 0)),
        rule(("net/scanners", "dev/web"), Refused, 23, (12, 1), (44, 0)),
        rule(("net/scanners", "hub/bastion"), Refused, 5900, (10, 1), (40, 0)),
        rule(("net/scanners6", "us/lb6"), Refused, 22, (15, 1), (60, 0)),
        rule(("net/probe", "us/lb"), Ping, 0, (10, 1), (84, 84)),
        rule(("net/clients6", "eu/lb6"), Ping, 0, (30, 1), (104, 104)),
        rule(("dev/app", "us/db"), Refused, 5432, (15, 1), (60, 0)),
        // Three single hosts, each with ordinary traffic and one planted change.
        rule(("us/report", "us/db"), Long, 5432, (1, 1), (6_000, 140_000)).with(Change::Stops),
        rule(("us/report", "hub/dns"), Datagram, 53, (5, 1), (71, 187)).with(Change::Stops),
        rule(("us/jobs", "us/db"), Long, 5432, (1, 1), (7_000, 52_000)),
        rule(("us/jobs", "net/api"), Short, 443, (5, 1), (3_300, 9_000)).via("us/nat"),
        rule(("us/jobs", "net/unknown"), Short, 4444, (5, 1), (61_000, 2_300)).via("us/nat").with(Change::Appears),
        rule(("eu/app", "eu/db"), Long, 5432, (1, 1), (16_000, 88_000)),
        rule(("eu/export", "eu/db"), Long, 5432, (1, 1), (3_000, 64_000)).with(Change::Grows(40)),
        rule(("eu/export", "hub-eu/dns"), Datagram, 53, (5, 1), (71, 187)),
    ]
};

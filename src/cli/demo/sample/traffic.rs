//! From who talks to whom to the records that the interfaces on the way report, one minute after the other.
//!
//! In: the company, the first second of the sample. Out: records. Knows nothing of files and formats.
//!
//! - Every interface on the way reports its own record for each direction, as AWS does: a NAT gateway four.
//! - A contact takes place in the same minutes of both hours, so that both hours hold the same edges; counters vary by
//!   some 15 % from record to record and 8 % from hour to hour.
//! - Aggregation takes one minute, and no record crosses one: a record's `end` is in the minute of its `start`.

use super::company::{Change, Company, Party, Rule, SILENT, SKIPPING, Style};
use super::random::Random;
use std::net::IpAddr;

/// Minutes in one of the two hours.
const HOUR: u32 = 60;
/// Minutes of the sample.
pub(super) const MINUTES: u32 = 2 * HOUR;
/// Minute of the one SKIPDATA record: in the first hour, so that it weakens no evidence of the diff's `after`.
const SKIPPED_MINUTE: u32 = 37;

const SYN: u8 = 2;
const SYN_FIN: u8 = 3;
const SYN_ACK_FIN: u8 = 19;

/// One flow log record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Index of the interface that reports it.
    pub(super) interface: usize,
    /// First second, Unix time.
    pub(super) start: i64,
    /// Last second.
    pub(super) end: i64,
    pub(super) content: Content,
}

/// What a record reports.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Traffic (log status OK).
    Flow(Flow),
    /// None in this minute.
    NoData,
    /// Records were lost.
    SkipData,
}

/// The traffic of a record.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) hop: Hop,
    pub(super) protocol: u8,
    pub(super) tcp_flags: u8,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) accepted: bool,
}

/// How one interface on the way sees one direction of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    interface: usize,
    /// Whether the interface sends it.
    pub(super) egress: bool,
    pub(super) srcaddr: IpAddr,
    pub(super) dstaddr: IpAddr,
    pub(super) pkt_srcaddr: IpAddr,
    pub(super) pkt_dstaddr: IpAddr,
    pub(super) srcport: u16,
    pub(super) dstport: u16,
}

impl Hop {
    fn reversed(self) -> Hop {
        Hop {
            interface: self.interface,
            egress: !self.egress,
            srcaddr: self.dstaddr,
            dstaddr: self.srcaddr,
            pkt_srcaddr: self.pkt_dstaddr,
            pkt_dstaddr: self.pkt_srcaddr,
            srcport: self.dstport,
            dstport: self.srcport,
        }
    }
}

/// Makes all records of the two hours that begin at `start`, Unix seconds, ordered by `end`.
pub(super) fn records(company: &Company, rules: &[Rule], start: i64) -> Vec<Record> {
    let mut records = Vec::new();
    for rule in rules {
        for client in company.group(rule.client) {
            for server in company.group(rule.server) {
                Talk::new(company, rule, client, server).observe(start, &mut records);
            }
        }
    }
    let silent = |record: &Record| {
        company.interfaces[record.interface].role == SILENT && record.end >= start + i64::from(HOUR * 60)
    };
    records.retain(|record| !silent(record));
    records.extend(quiet_minutes(company, start, &records).into_iter().filter(|record| !silent(record)));
    records.sort_by_key(|record| (record.end, record.interface));
    records
}

/// The NODATA records of the minutes in which an interface saw nothing, and the one SKIPDATA record.
fn quiet_minutes(company: &Company, start: i64, records: &[Record]) -> Vec<Record> {
    let minutes = MINUTES as usize;
    let mut busy = vec![false; company.interfaces.len() * minutes];
    for record in records {
        busy[record.interface * minutes + ((record.end - start) / 60) as usize] = true;
    }
    let mut quiet = Vec::new();
    for (interface, description) in company.interfaces.iter().enumerate() {
        for minute in 0..MINUTES {
            let skipped = description.role == SKIPPING && minute == SKIPPED_MINUTE;
            let content = match (skipped, busy[interface * minutes + minute as usize]) {
                (true, _) => Content::SkipData,
                (false, false) => Content::NoData,
                (false, true) => continue,
            };
            let start = start + i64::from(minute * 60);
            quiet.push(Record { interface, start, end: start + 59, content });
        }
    }
    quiet
}

/// One client talking to one server by one rule.
struct Talk<'a> {
    rule: &'a Rule,
    client: &'a Party,
    server: &'a Party,
    /// Address and interface of the NAT gateway on the way.
    nat: Option<(IpAddr, usize)>,
    random: Random,
    /// Source ports of connections that stay open, one each.
    open_ports: Vec<u16>,
    /// Minute of the first contact.
    phase: u32,
}

impl<'a> Talk<'a> {
    fn new(company: &'a Company, rule: &'a Rule, client: &'a Party, server: &'a Party) -> Self {
        let name = format!("{} {} {:?} {}", client.address, server.address, rule.style, rule.port);
        let mut random = Random::new(&name);
        let gateway = rule.nat.and_then(|nat| company.group(nat).next());
        let open_ports = (0..rule.connections).map(|_| ephemeral_port(&mut random)).collect();
        let phase = random.within(0..=u64::from(rule.every) - 1) as u32;
        let nat = gateway.and_then(|gateway| Some((gateway.address, gateway.interface?)));
        Talk { rule, client, server, nat, random, open_ports, phase }
    }

    fn observe(&mut self, start: i64, records: &mut Vec<Record>) {
        for hour in 0..MINUTES / HOUR {
            // Drawn for silent hours too: what is planted must not move the traffic around it.
            let level = self.random.about(1_000, 8);
            let (happens, growth) = match self.rule.change {
                Change::None => (true, 1),
                Change::Appears => (hour == 1, 1),
                Change::Stops => (hour == 0, 1),
                Change::Grows(factor) => (true, if hour == 1 { factor } else { 1 }),
            };
            for minute in (self.phase..HOUR).step_by(self.rule.every as usize).filter(|_| happens) {
                for connection in 0..self.rule.connections as usize {
                    let minute_start = start + i64::from((hour * HOUR + minute) * 60);
                    let sent = self.rule.sent * level / 1_000;
                    let received = self.rule.received * level / 1_000 * growth;
                    self.contact(minute_start, connection, sent, received, records);
                }
            }
        }
    }

    /// One connection in one minute, as every interface on the way reports it.
    fn contact(&mut self, minute: i64, connection: usize, sent: u64, received: u64, records: &mut Vec<Record>) {
        let style = self.rule.style;
        let accepted = style != Style::Refused;
        let (start, end) = match style {
            Style::Long => (minute + self.random.within(0..=4) as i64, minute + self.random.within(54..=59) as i64),
            _ => {
                let start = minute + self.random.within(0..=29) as i64;
                (start, start + self.random.within(1..=29) as i64)
            }
        };
        let (request_flags, answer_flags) = match style {
            Style::Short => (SYN_FIN, SYN_ACK_FIN),
            Style::Refused => (SYN, 0),
            Style::Long | Style::Datagram | Style::Ping => (0, 0),
        };
        let protocol = match style {
            Style::Short | Style::Long | Style::Refused => 6,
            Style::Datagram => 17,
            Style::Ping if self.server.address.is_ipv6() => 58,
            Style::Ping => 1,
        };
        let (sent, received) = (self.volume(sent), self.volume(received));
        for hop in self.hops(connection) {
            let answer = (accepted && received.bytes > 0).then(|| (hop.reversed(), answer_flags, received));
            for (hop, tcp_flags, volume) in [(hop, request_flags, sent)].into_iter().chain(answer) {
                let Volume { packets, bytes } = volume;
                // Refused where it would come in; the side that sends it lets it out.
                let accepted = accepted || hop.egress;
                let content = Content::Flow(Flow { hop, protocol, tcp_flags, packets, bytes, accepted });
                records.push(Record { interface: hop.interface, start, end, content });
            }
        }
    }

    fn volume(&mut self, bytes: u64) -> Volume {
        let bytes = match self.rule.style {
            Style::Short | Style::Long => self.random.about(bytes, 15),
            Style::Datagram | Style::Ping | Style::Refused => bytes,
        };
        let packets = match self.rule.style {
            Style::Short => 4 + bytes / 1_100,
            Style::Long => 1 + bytes / 700,
            Style::Ping => bytes.div_ceil(84),
            Style::Datagram | Style::Refused => 1,
        };
        Volume { packets, bytes }
    }

    /// What the interfaces on the way from the client to the server see of the request.
    fn hops(&mut self, connection: usize) -> Vec<Hop> {
        let (client, server) = (self.client, self.server);
        let port = match self.rule.style {
            Style::Ping => 0,
            Style::Long => self.open_ports[connection],
            Style::Short | Style::Datagram | Style::Refused => ephemeral_port(&mut self.random),
        };
        let direct = |interface: usize, egress: bool, from: IpAddr, to: IpAddr| Hop {
            interface,
            egress,
            srcaddr: from,
            dstaddr: to,
            pkt_srcaddr: from,
            pkt_dstaddr: to,
            srcport: port,
            dstport: self.rule.port,
        };
        let mut hops = Vec::with_capacity(4);
        if let Some(interface) = client.interface {
            let hop = direct(interface, true, client.face, server.address);
            hops.push(Hop { pkt_srcaddr: client.address, ..hop });
        }
        if let Some((gateway, interface)) = self.nat {
            let inside = direct(interface, false, client.address, gateway);
            hops.push(Hop { pkt_dstaddr: server.address, ..inside });
            // A NAT gateway takes its source ports from 1024 up.
            let srcport = self.random.within(1_024..=65_535) as u16;
            let outside = direct(interface, true, gateway, server.address);
            hops.push(Hop { srcport, ..outside });
        }
        if let Some(interface) = server.interface {
            let hop = direct(interface, false, client.address, server.face);
            hops.push(Hop { pkt_dstaddr: server.address, ..hop });
        }
        hops
    }
}

#[derive(Clone, Copy)]
struct Volume {
    packets: u64,
    bytes: u64,
}

/// A port as Linux gives them to clients by default (`net.ipv4.ip_local_port_range`).
fn ephemeral_port(random: &mut Random) -> u16 {
    random.within(32_768..=60_999) as u16
}

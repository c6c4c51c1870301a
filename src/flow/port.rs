//! The rules that decide an edge: which port is ephemeral, and whose addresses count. Functions of one record.

use super::is_service;
use serde::{Deserialize, Serialize};

/// Which of a record's two ports is ephemeral and becomes 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortRule {
    /// By evidence: TCP flags, then the well-known range, the table of services, the ephemeral range, then that a
    /// rejected flow is a client's, else `Lower`.
    #[default]
    Service,
    /// The larger port is ephemeral; of two equal ports the source's is.
    Lower,
}

/// Which addresses of a record make its edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressRule {
    /// `pkt-srcaddr` and `pkt-dstaddr` where the format has them and they are set, else `srcaddr` and `dstaddr`.
    #[default]
    Packet,
    /// `srcaddr` and `dstaddr`.
    Interface,
}

const TCP: u8 = 6;
const SYN: u8 = 2;
const ACK: u8 = 16;
/// Everything below is assigned by IANA to system services (RFC 6335).
const WELL_KNOWN_END: u16 = 1024;
/// First port that Linux gives to clients; other systems begin higher or at 49152 (RFC 6335).
const EPHEMERAL_START: u16 = 32768;

impl PortRule {
    /// Name in settings, manifests and SQL.
    pub fn name(self) -> &'static str {
        match self {
            PortRule::Service => "service",
            PortRule::Lower => "lower",
        }
    }

    /// Returns source and destination port with the ephemeral one replaced by 0.
    ///
    /// `tcp_flags` is `None` where the record has none; `rejected` is whether its action is `REJECT`. Protocols without
    /// ports carry 0 in both and keep them.
    #[inline]
    pub fn keep(self, protocol: u8, srcport: u16, dstport: u16, tcp_flags: Option<u8>, rejected: bool) -> (u16, u16) {
        let source_serves = match self {
            PortRule::Lower => srcport < dstport,
            PortRule::Service => source_serves(protocol, srcport, dstport, tcp_flags, rejected),
        };
        if source_serves { (srcport, 0) } else { (0, dstport) }
    }
}

#[inline]
fn source_serves(protocol: u8, srcport: u16, dstport: u16, tcp_flags: Option<u8>, rejected: bool) -> bool {
    if protocol == TCP
        && let Some(flags) = tcp_flags
        && flags & SYN != 0
    {
        return flags & ACK != 0;
    }
    let evidence: [fn(u16) -> bool; 3] = [|port| port < WELL_KNOWN_END, is_service, |port| port < EPHEMERAL_START];
    for serves in evidence {
        let (source, destination) = (serves(srcport), serves(dstport));
        if source != destination {
            return source;
        }
    }
    // Both ports may be anything. What is refused is mostly the first packet of a client, such as a scan of high ports.
    !rejected && srcport < dstport
}

impl AddressRule {
    /// Name in settings, manifests and SQL.
    pub fn name(self) -> &'static str {
        match self {
            AddressRule::Packet => "packet",
            AddressRule::Interface => "interface",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_evidence_outranks_the_next() {
        let keep = |src, dst, flags| PortRule::Service.keep(TCP, src, dst, flags, false);
        assert_eq!(keep(80, 50000, Some(2)), (0, 50000), "SYN: the destination serves");
        assert_eq!(keep(50000, 80, Some(18)), (50000, 0), "SYN-ACK: the source serves");
        assert_eq!(keep(50000, 80, Some(19)), (50000, 0), "SYN-ACK and FIN");
        assert_eq!(keep(443, 2048, Some(0)), (443, 0), "no SYN says nothing; well-known port");
        assert_eq!(keep(2000, 5432, None), (0, 5432), "a service above an unknown port");
        assert_eq!(keep(40000, 20000, None), (0, 20000), "an ephemeral port");
        assert_eq!(keep(20000, 20001, None), (20000, 0), "the lower port");
        assert_eq!(keep(20000, 20000, None), (0, 20000), "equal ports zero the source");
    }

    #[test]
    fn a_rejected_flow_is_a_clients_where_ports_say_nothing() {
        let keep = |src, dst, flags| PortRule::Service.keep(TCP, src, dst, flags, true);
        assert_eq!(keep(40000, 45000, None), (0, 45000), "a scan of a high port");
        assert_eq!(keep(443, 50000, None), (443, 0), "an answer that a network ACL refused");
        assert_eq!(keep(40000, 50000, Some(18)), (40000, 0), "SYN-ACK");
    }

    #[test]
    fn flags_of_other_protocols_say_nothing() {
        assert_eq!(PortRule::Service.keep(17, 53, 50000, Some(2), false), (53, 0));
    }

    #[test]
    fn no_ports_stay_no_ports() {
        assert_eq!(PortRule::Service.keep(1, 0, 0, None, false), (0, 0));
        assert_eq!(PortRule::Lower.keep(1, 0, 0, None, false), (0, 0));
    }

    #[test]
    fn lower_keeps_the_smaller_port() {
        assert_eq!(PortRule::Lower.keep(TCP, 5432, 2000, Some(18), true), (0, 2000));
        assert_eq!(PortRule::Lower.keep(TCP, 22, 22, None, false), (0, 22));
    }
}

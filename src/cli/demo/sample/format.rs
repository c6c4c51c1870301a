//! Records as lines of text, in the format of their site's flow log.

use super::company::{Company, SITES, Site};
use super::random::Random;
use super::traffic::{Content, Flow, Record};
use crate::flow::Field;
use std::fmt::Write;
use std::net::IpAddr;

/// The default format, version 2.
#[rustfmt::skip]
const DEFAULT: &[Field] = &[
    Field::Version, Field::AccountId, Field::InterfaceId, Field::Srcaddr, Field::Dstaddr, Field::Srcport,
    Field::Dstport, Field::Protocol, Field::Packets, Field::Bytes, Field::Start, Field::End, Field::Action,
    Field::LogStatus,
];

/// A custom format with fields up to version 5, in an order of its own.
#[rustfmt::skip]
const CUSTOM: &[Field] = &[
    Field::Version, Field::AccountId, Field::Region, Field::AzId, Field::VpcId, Field::SubnetId, Field::InstanceId,
    Field::InterfaceId, Field::FlowDirection, Field::Type, Field::Srcaddr, Field::Dstaddr, Field::PktSrcaddr,
    Field::PktDstaddr, Field::Srcport, Field::Dstport, Field::Protocol, Field::TcpFlags, Field::Packets, Field::Bytes,
    Field::Start, Field::End, Field::Action, Field::LogStatus,
];

/// The fields of a site's flow log, in order.
pub(super) fn fields(site: &Site) -> &'static [Field] {
    if site.default_format { DEFAULT } else { CUSTOM }
}

/// Appends the header line.
pub(super) fn write_header(text: &mut String, site: &Site) {
    let names: Vec<&str> = fields(site).iter().map(|field| field.name()).collect();
    text.push_str(&names.join(" "));
    text.push('\n');
}

/// Appends a record's line.
pub(super) fn write_record(text: &mut String, company: &Company, record: &Record) {
    let site = &SITES[company.interfaces[record.interface].site];
    for (position, field) in fields(site).iter().enumerate() {
        if position > 0 {
            text.push(' ');
        }
        write_field(text, company, record, *field);
    }
    text.push('\n');
}

fn write_field(text: &mut String, company: &Company, record: &Record, field: Field) {
    let interface = &company.interfaces[record.interface];
    let site = &SITES[interface.site];
    match field {
        Field::Version => text.push(if site.default_format { '2' } else { '5' }),
        Field::AccountId => text.push_str(site.account),
        Field::InterfaceId => text.push_str(&interface.id),
        Field::Start => push(text, record.start),
        Field::End => push(text, record.end),
        Field::LogStatus => text.push_str(match record.content {
            Content::Flow(_) => "OK",
            Content::NoData => "NODATA",
            Content::SkipData => "SKIPDATA",
        }),
        Field::Region => text.push_str(site.region),
        Field::VpcId => text.push_str(&resource("vpc", site.account, site.region)),
        Field::SubnetId => text.push_str(&resource("subnet", site.account, &subnet(interface.address).to_string())),
        Field::AzId => push(text, format_args!("{}-az{}", site.zone, 1 + subnet(interface.address) % 3)),
        Field::InstanceId => text.push_str(interface.instance.as_deref().unwrap_or("-")),
        _ => match &record.content {
            Content::Flow(flow) => write_flow_field(text, flow, field),
            Content::NoData | Content::SkipData => text.push('-'),
        },
    }
}

fn write_flow_field(text: &mut String, flow: &Flow, field: Field) {
    let hop = &flow.hop;
    match field {
        Field::Srcaddr => push(text, hop.srcaddr),
        Field::Dstaddr => push(text, hop.dstaddr),
        Field::PktSrcaddr => push(text, hop.pkt_srcaddr),
        Field::PktDstaddr => push(text, hop.pkt_dstaddr),
        Field::Srcport => push(text, hop.srcport),
        Field::Dstport => push(text, hop.dstport),
        Field::Protocol => push(text, flow.protocol),
        Field::TcpFlags => push(text, flow.tcp_flags),
        Field::Packets => push(text, flow.packets),
        Field::Bytes => push(text, flow.bytes),
        Field::Action => text.push_str(if flow.accepted { "ACCEPT" } else { "REJECT" }),
        Field::FlowDirection => text.push_str(if hop.egress { "egress" } else { "ingress" }),
        Field::Type => text.push_str(if hop.srcaddr.is_ipv6() { "IPv6" } else { "IPv4" }),
        _ => text.push('-'),
    }
}

fn push(text: &mut String, value: impl std::fmt::Display) {
    write!(text, "{value}").expect("writing to a string cannot fail");
}

/// An id such as AWS gives, `subnet-0` and 16 hexadecimal digits, that depends on the names alone.
fn resource(kind: &str, account: &str, name: &str) -> String {
    format!("{kind}-0{}", Random::new(&format!("{kind} {account} {name}")).hex(16))
}

/// Number of the /24 that a primary address is in.
fn subnet(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(address) >> 8,
        IpAddr::V6(_) => 0,
    }
}

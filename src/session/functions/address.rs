//! Functions of addresses: networks, families, private ranges. An IPv4-mapped IPv6 address is IPv6 here and is in no
//! IPv4 network.

use super::column::{Parsed, column};
use super::{Argument, Definition, any, literal_text};
use crate::error::{Error, Result};
use crate::flow::parse_address;
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, StringViewBuilder, UInt8Array};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;
use ipnet::IpNet;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) static CIDR_CONTAINS: Definition = Definition {
    name: "cidr_contains",
    arguments: &[("cidr", Argument::Text), ("addr", Argument::Text)],
    returns: DataType::Boolean,
    nullable: true,
    description: "Whether a network contains an address; false if one is IPv4 and the other IPv6. Bits of the network \
                  behind its prefix are ignored. NULL if the address is not one.",
    example: "SELECT cidr_contains('10.0.0.0/8', srcaddr) FROM flows",
    check: |literals| literal_text(literals, 0).map_or(Ok(()), |cidr| parse_cidr(cidr).map(drop)),
    run: cidr_contains,
};

pub(super) static CIDR_OF: Definition = Definition {
    name: "cidr_of",
    arguments: &[("addr", Argument::Text), ("prefix_len", Argument::Number)],
    returns: DataType::Utf8View,
    nullable: true,
    description: "The network of an address, such as 10.1.2.0/24. NULL if the address is not one or has no network of \
                  that length: 0 to 32 for IPv4, 0 to 128 for IPv6.",
    example: "SELECT cidr_of(srcaddr, 24) AS network, count(*) FROM flows GROUP BY network",
    check: check_prefix,
    run: cidr_of,
};

pub(super) static IP_FAMILY: Definition = Definition {
    name: "ip_family",
    arguments: &[("addr", Argument::Text)],
    returns: DataType::UInt8,
    nullable: true,
    description: "4 for an IPv4 address, 6 for an IPv6 address, NULL for anything else.",
    example: "SELECT ip_family(srcaddr), sum(bytes) FROM flows GROUP BY 1",
    check: any,
    run: ip_family,
};

pub(super) static IS_PRIVATE: Definition = Definition {
    name: "is_private",
    arguments: &[("addr", Argument::Text)],
    returns: DataType::Boolean,
    nullable: true,
    description: "Whether an address is not routed on the internet: private (RFC 1918), unique local (RFC 4193), shared \
                  (RFC 6598), loopback or link-local. NULL if the address is not one.",
    example: "SELECT srcaddr, dstaddr FROM edges WHERE is_private(srcaddr) AND NOT is_private(dstaddr)",
    check: any,
    run: is_private,
};

/// Reads a network: an address, `/`, and the length of the prefix. Bits behind the prefix may be set.
///
/// # Errors
/// `Invalid`, quoting the text.
///
/// ```
/// use flowdiff::session::parse_cidr;
/// assert!(parse_cidr("10.0.0.0/33").is_err());
/// assert_eq!(parse_cidr("10.1.2.3/8").unwrap().trunc().to_string(), "10.0.0.0/8");
/// ```
pub fn parse_cidr(text: &str) -> Result<IpNet> {
    find_cidr(text).ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a network")).with_hint("write a network as 10.0.0.0/8 or 2001:db8::/32")
    })
}

fn find_cidr(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    IpNet::new(parse_address(address.as_bytes())?, prefix.parse().ok()?).ok()
}

fn find_address(text: &str) -> Option<IpAddr> {
    parse_address(text.as_bytes())
}

fn cidr_contains(arguments: &[ColumnarValue], rows: usize) -> DfResult<ArrayRef> {
    let mut networks = Parsed::new(&arguments[0], find_cidr)?;
    let mut addresses = Parsed::new(&arguments[1], find_address)?;
    let contains = |row| Some(networks.get(row)?.contains(&addresses.get(row)?));
    Ok(Arc::new((0..rows).map(contains).collect::<BooleanArray>()))
}

fn cidr_of(arguments: &[ColumnarValue], rows: usize) -> DfResult<ArrayRef> {
    let mut addresses = Parsed::new(&arguments[0], find_address)?;
    let lengths = column(&arguments[1], rows)?;
    let lengths = lengths.as_primitive::<Int64Type>();
    let (mut networks, mut text) = (StringViewBuilder::with_capacity(rows), String::new());
    for (row, length) in lengths.iter().enumerate() {
        let length = length.and_then(|length| u8::try_from(length).ok());
        let network = addresses.get(row).zip(length).and_then(|(address, length)| IpNet::new(address, length).ok());
        match network {
            Some(network) => {
                text.clear();
                write!(text, "{}", network.trunc())
                    .map_err(|_| datafusion::error::DataFusionError::Internal("write to a string".into()))?;
                networks.append_value(&text);
            }
            None => networks.append_null(),
        }
    }
    Ok(Arc::new(networks.finish()))
}

fn check_prefix(literals: &[Option<&ScalarValue>]) -> Result<()> {
    let length = literals.get(1).copied().flatten().and_then(|value| value.cast_to(&DataType::Int64).ok());
    match length {
        Some(ScalarValue::Int64(Some(length))) if !(0..=128).contains(&length) => {
            Err(Error::invalid(format!("{length} is not the length of a prefix"))
                .with_hint("a prefix has 0 to 32 bits, of IPv6 0 to 128"))
        }
        _ => Ok(()),
    }
}

fn ip_family(arguments: &[ColumnarValue], rows: usize) -> DfResult<ArrayRef> {
    let mut addresses = Parsed::new(&arguments[0], find_address)?;
    let family = |row| addresses.get(row).map(|address| if address.is_ipv4() { 4 } else { 6 });
    Ok(Arc::new((0..rows).map(family).collect::<UInt8Array>()))
}

fn is_private(arguments: &[ColumnarValue], rows: usize) -> DfResult<ArrayRef> {
    let mut private = Parsed::new(&arguments[0], |text: &str| find_address(text).map(is_private_address))?;
    Ok(Arc::new((0..rows).map(|row| private.get(row)).collect::<BooleanArray>()))
}

fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            address.is_private() || address.is_loopback() || address.is_link_local() || shared
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_private_range_ends_where_its_rfc_says() {
        let private = |text: &str| is_private_address(text.parse().unwrap());
        for text in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "fc00::",
            "fdff:ffff::1",
            "::1",
            "fe80::",
            "febf:ffff::1",
        ] {
            assert!(private(text), "{text}");
        }
        for text in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "0.0.0.0",
            "fbff::",
            "fe00::",
            "::",
            "::2",
            "fec0::",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!private(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_quoted() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "2001:db8::/129",
            "a/8",
            "10.0.0.0/8/8",
        ] {
            let error = parse_cidr(text).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert!(parse_cidr("0.0.0.0/0").is_ok());
        assert!(parse_cidr("2001:db8::/128").is_ok());
    }
}

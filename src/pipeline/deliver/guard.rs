//! Addresses that no message is sent to: link-local ones and those of metadata services, which give credentials to whoever
//! asks from inside. Private and loopback addresses are allowed: most receivers are internal.
//!
//! The addresses that were checked are those that are connected to: a name is resolved here and nowhere else, so a second
//! answer of another kind comes too late. Redirects are not followed, and no proxy is asked.

use crate::error::{Error, ErrorKind, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Resolves names to addresses that messages may be sent to.
#[derive(Debug)]
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let allowed = allowed(name.as_str()).await?;
            match allowed.is_empty() {
                true => Err(none_allowed(name.as_str()).into()),
                false => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// The addresses of a name that messages may be sent to. The port is set by who asks.
async fn allowed(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((name, 0)).await?;
    Ok(found.filter(|address| why_not(address.ip()).is_none()).collect())
}

fn none_allowed(name: &str) -> String {
    format!("{name} has no address that messages may be sent to")
}

/// The addresses that messages to a URL go to, sorted.
///
/// # Errors
/// `Invalid` if none of them is one that messages may be sent to; `Unavailable` if the name is not known.
pub(super) async fn addresses(url: &Url) -> Result<Vec<IpAddr>> {
    check(url)?;
    let name = match url.host() {
        Some(Host::Domain(name)) => name,
        Some(Host::Ipv4(address)) => return Ok(vec![address.into()]),
        Some(Host::Ipv6(address)) => return Ok(vec![address.into()]),
        None => return Ok(Vec::new()),
    };
    let unknown = |error| {
        Error::new(ErrorKind::Unavailable, format!("host {name} cannot be resolved"))
            .with_source(error)
            .with_hint("look at the name in the URL, and at the resolver of this machine")
    };
    let addresses: BTreeSet<IpAddr> = allowed(name).await.map_err(unknown)?.iter().map(SocketAddr::ip).collect();
    match addresses.is_empty() {
        true => Err(Error::invalid(none_allowed(name))
            .with_hint("link-local addresses and metadata services are refused: name another host")),
        false => Ok(addresses.into_iter().collect()),
    }
}

/// Refuses a URL whose host is an address that no message may be sent to. Names are looked at when they are resolved.
///
/// # Errors
/// `Invalid`, naming the address.
pub(super) fn check(url: &Url) -> Result<()> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(Error::invalid("the URL names no host")),
    };
    match why_not(address) {
        Some(why) => Err(Error::invalid(format!("messages are not sent to {address}: {why}"))),
        None => Ok(()),
    }
}

const LINK_LOCAL: &str = "it is link-local";
const METADATA: &str = "a metadata service answers there";
const NO_HOST: &str = "it is no host's address";

/// Why no message may be sent to an address, if so.
///
/// Sources: RFC 3927, RFC 4291; the clouds' pages of their metadata services (most are link-local; AWS has them in
/// fd00:ec2::/32 too, Google in fd20:ce::/32, Alibaba at 100.100.100.200, Azure's agent at 168.63.129.16, Oracle at
/// 192.0.0.192).
fn why_not(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => why_not_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => why_not_v4(inner),
            None => why_not_v6(address),
        },
    }
}

fn why_not_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        _ if address.is_link_local() => Some(LINK_LOCAL),
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Some(METADATA),
        [0, ..] => Some(NO_HOST),
        _ if address.is_multicast() || address.is_broadcast() => Some(NO_HOST),
        _ => None,
    }
}

fn why_not_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        _ if address.is_unicast_link_local() => Some(LINK_LOCAL),
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..] => Some(METADATA),
        _ if address.is_unspecified() || address.is_multicast() => Some(NO_HOST),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        [0x0064, 0xff9b, 0 | 1, .., high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str) -> bool {
        check(&Url::parse(&format!("http://{host}/hook")).unwrap()).is_err()
    }

    #[test]
    fn metadata_and_link_local_addresses_are_refused_however_they_are_written() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "2852039166",
            "0xA9FEA9FE",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[::ffff:169.254.169.254]",
            "[::169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "[2002:a9fe:a9fe::1]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "[::]",
            "255.255.255.255",
            "224.0.0.1",
        ] {
            assert!(refused(host), "{host}");
        }
    }

    #[test]
    fn receivers_may_be_internal() {
        for host in ["127.0.0.1", "10.0.0.5", "192.168.1.1", "172.16.0.1", "[::1]", "[fd12:3456::1]", "hooks.example"] {
            assert!(!refused(host), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_is_resolved_to_what_is_allowed() {
        let found: Vec<_> = Resolver.resolve("localhost".parse().unwrap()).await.unwrap().collect();
        assert!(!found.is_empty());
        // A name that the resolver of the system reads as an address.
        assert!(Resolver.resolve("169.254.169.254".parse().unwrap()).await.is_err());
        let addresses = async |url: &str| addresses(&Url::parse(url).unwrap()).await;
        assert!(addresses("http://localhost/hook").await.unwrap().iter().all(IpAddr::is_loopback));
        assert_eq!(addresses("http://[::1]/hook").await.unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        let unknown = addresses("http://nowhere.invalid/hook").await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::Unavailable);
        assert!(unknown.to_string().contains("nowhere.invalid"));
    }
}

//! Addresses: strict parsing, and the order of their canonical text without writing the text.

use std::cmp::Ordering;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// Reads an IPv4 or IPv6 address from the bytes of one field; `None` if it is not one.
///
/// Strict as `std` is: four decimal octets without leading zeros, or the forms of RFC 4291. An IPv4-mapped IPv6
/// address stays IPv6. IPv4 is read without a detour over UTF-8: it is most of a flow log's bytes.
#[inline]
pub fn parse_address(text: &[u8]) -> Option<IpAddr> {
    match parse_ipv4(text) {
        Some(address) => Some(IpAddr::V4(address)),
        None => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

#[inline]
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    if text.len() > 15 {
        return None;
    }
    let (mut bits, mut octet, mut digits, mut dots) = (0u32, 0u32, 0u32, 0u32);
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            if digits > 0 && octet == 0 {
                return None;
            }
            octet = octet * 10 + u32::from(digit);
            digits += 1;
            if octet > 255 {
                return None;
            }
        } else if byte == b'.' && digits > 0 && dots < 3 {
            bits = bits << 8 | octet;
            (octet, digits) = (0, 0);
            dots += 1;
        } else {
            return None;
        }
    }
    (dots == 3 && digits > 0).then(|| Ipv4Addr::from_bits(bits << 8 | octet))
}

/// Compares two addresses as their canonical texts (RFC 5952) compare: the order of the edge files.
///
/// Two IPv4 addresses compare octet by octet, because a shorter decimal that begins a longer one comes first and `.`
/// comes before every digit; only where IPv6 takes part are texts written (to the stack).
#[inline]
pub fn text_order(a: IpAddr, b: IpAddr) -> Ordering {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => ipv4_text_rank(a).cmp(&ipv4_text_rank(b)),
        _ => AddressText::of(a).as_bytes().cmp(AddressText::of(b).as_bytes()),
    }
}

/// A number that orders IPv4 addresses as their texts are ordered.
#[inline]
pub(super) fn ipv4_text_rank(address: Ipv4Addr) -> u32 {
    u32::from_be_bytes(address.octets().map(|octet| OCTET_RANK[octet as usize]))
}

/// Rank of each octet among the decimal texts of all octets in text order: 0, 1, 10, 100, 101, ...
static OCTET_RANK: [u8; 256] = {
    let mut ranks = [0u8; 256];
    let mut rank = 0;
    let mut hundreds = 0;
    while hundreds < 10 {
        // Every text that begins with this digit, shorter ones first at each step.
        ranks[hundreds] = rank;
        rank = rank.wrapping_add(1);
        let mut tens = 0;
        while hundreds > 0 && tens < 10 {
            let two = hundreds * 10 + tens;
            ranks[two] = rank;
            rank = rank.wrapping_add(1);
            let mut ones = 0;
            while ones < 10 {
                let three = two * 10 + ones;
                if three < 256 {
                    ranks[three] = rank;
                    rank = rank.wrapping_add(1);
                }
                ones += 1;
            }
            tens += 1;
        }
        hundreds += 1;
    }
    ranks
};

/// Canonical text of an address (RFC 5952), on the stack: 45 bytes are the longest, an IPv4-mapped address in full.
#[derive(Clone, Copy, Debug)]
pub struct AddressText {
    bytes: [u8; 45],
    length: usize,
}

impl AddressText {
    /// Writes an address; IPv4 from a table, because edges and rows are full of it.
    #[inline]
    pub fn of(address: IpAddr) -> AddressText {
        let mut text = AddressText { bytes: [0; 45], length: 0 };
        match address {
            IpAddr::V4(address) => {
                for octet in address.octets() {
                    let (digits, length) = OCTET_TEXT[usize::from(octet)];
                    text.bytes[text.length..text.length + 4].copy_from_slice(&digits);
                    text.length += length + 1;
                }
                text.length -= 1;
            }
            IpAddr::V6(address) => write!(text, "{address}").expect("an address is never longer than 45 bytes"),
        }
        text
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("addresses are written in ASCII")
    }

    /// The text, ASCII.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The decimal digits of each octet with a dot behind them, and how many digits they are.
static OCTET_TEXT: [([u8; 4], usize); 256] = {
    let mut texts = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) = (b'0' + octet as u8 / 100, b'0' + octet as u8 / 10 % 10, b'0' + octet as u8 % 10);
        texts[octet] = match octet {
            0..10 => ([ones, b'.', 0, 0], 1),
            10..100 => ([tens, ones, b'.', 0], 2),
            _ => ([hundreds, tens, ones, b'.'], 3),
        };
        octet += 1;
    }
    texts
};

impl Write for AddressText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn octets_outside_the_range_and_leading_zeros_are_no_address() {
        for text in ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1.", "10..0.1", "-", "10.0.0.1 ", "1.2.3.4.5"] {
            assert_eq!(parse_address(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_mapped_address_stays_ipv6() {
        let mapped = parse_address(b"::ffff:10.0.0.1").unwrap();
        assert!(mapped.is_ipv6());
        assert_eq!(mapped.to_string(), "::ffff:10.0.0.1");
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            3 => any::<[u8; 4]>().prop_map(IpAddr::from),
            1 => any::<[u8; 16]>().prop_map(IpAddr::from),
            1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| IpAddr::from([a % 300, 0, 0, 0, 0, 0, 0, b])),
        ]
    }

    proptest! {
        #[test]
        fn parsing_agrees_with_the_standard_library(text in "[0-9a-f:.]{0,20}") {
            prop_assert_eq!(parse_address(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn order_is_the_order_of_the_texts(a in address(), b in address()) {
            prop_assert_eq!(text_order(a, b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn text_is_the_text_of_the_standard_library(address in address()) {
            let text = AddressText::of(address);
            prop_assert_eq!(text.as_str(), address.to_string());
        }
    }
}

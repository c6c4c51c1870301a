//! Tokens as AWS writes them, eight bytes at a time and without a branch for each digit. In: bytes that begin with a
//! token and go on behind it. Out: its value and length, or `None` for whatever the careful readers must look at:
//! anything unusual, and tokens near the end of the bytes.

/// Every byte of a word set to `byte`.
const fn every(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Length of a token: up to the first space or control character.
///
/// Subtracting `!` from each byte borrows in those below it; the lowest of these is exact.
#[inline(always)]
pub(super) fn text(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let word = u64::from_le_bytes(*rest.get(at..)?.first_chunk()?);
        let ends = word.wrapping_sub(every(b'!')) & !word & every(0x80);
        if ends != 0 {
            return Some(at + (ends.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
}

/// A decimal number of at most 15 digits, without leading zeros.
#[inline(always)]
pub(super) fn number(rest: &[u8]) -> Option<(i64, usize)> {
    let (high, length) = digits(rest)?;
    if rest[0] == b'0' && length > 1 {
        return None;
    }
    if length < 8 {
        return (length > 0).then_some((high, length));
    }
    let (low, more) = digits(&rest[8..])?;
    (more < 8).then(|| (high * POWERS[more] + low, 8 + more))
}

const POWERS: [i64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The value of the digits that `rest` begins with, at most eight, and their number.
///
/// Digits are moved to the high end of the word, so that zeros stand before them; neighbours are then joined in pairs,
/// fours and eights (D. Lemire, "Quickly parsing eight digits", 2018).
#[inline(always)]
fn digits(rest: &[u8]) -> Option<(i64, usize)> {
    let word = u64::from_le_bytes(*rest.first_chunk()?) ^ every(b'0');
    let others = (word.wrapping_add(every(0x76)) | word) & every(0x80);
    let length = if others == 0 { 8 } else { (others.trailing_zeros() / 8) as usize };
    if length == 0 {
        return Some((0, 0));
    }
    let ones = word << (64 - 8 * length);
    let pairs = (ones.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    Some(((fours.wrapping_mul(10_000 << 32 | 1) >> 32) as i64, length))
}

/// An IPv4 address as its 32 bits.
#[inline(always)]
pub(super) fn ipv4(rest: &[u8]) -> Option<(u32, usize)> {
    let (mut bits, mut at) = (0, 0);
    for octet in 0..4 {
        let text = u32::from_le_bytes(*rest.get(at..)?.first_chunk()?);
        let word = text ^ 0x3030_3030;
        let others = (word.wrapping_add(0x7676_7676) | word) & 0x8080_8080;
        let length = others.trailing_zeros() / 8;
        // Four when no byte ends the digits.
        if length == 0 || length > 3 || (length > 1 && text as u8 == b'0') {
            return None;
        }
        let digits = word << (32 - 8 * length);
        let value = (digits >> 8 & 0xff) * 100 + (digits >> 16 & 0xff) * 10 + (digits >> 24);
        let dot = (text >> (8 * length)) as u8 == b'.';
        if value > 255 || (octet < 3 && !dot) {
            return None;
        }
        bits = bits << 8 | value;
        at += length as usize + usize::from(octet < 3);
    }
    Some((bits, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn padded(token: &str) -> Vec<u8> {
        format!("{token} {}", "x".repeat(16)).into_bytes()
    }

    #[test]
    fn near_the_end_nothing_is_read() {
        assert_eq!(text(b"ACCEPT "), None);
        assert_eq!(number(b"443 6 1"), None);
        assert_eq!(ipv4(b"10.0.0.1"), None);
    }

    #[test]
    fn what_is_unusual_is_left_alone() {
        for token in ["", "-", "+1", "-1", "007", "1234567890123456", "x"] {
            assert_eq!(number(&padded(token)), None, "{token:?}");
        }
        for token in ["", "-", "256.0.0.1", "1.2.3", "01.2.3.4", "1.02.3.4", "1234.1.1.1", "1..2.3", "2001:db8::1"] {
            assert_eq!(ipv4(&padded(token)), None, "{token:?}");
        }
    }

    proptest! {
        #[test]
        fn a_token_ends_at_the_first_space_or_control_character(token in "[!-~é]{0,40}", end in "[ \t\r\n\0]") {
            let bytes = format!("{token}{end}{}", "x".repeat(8));
            prop_assert_eq!(text(bytes.as_bytes()), Some(token.len()));
        }

        #[test]
        fn every_usual_number_reads_back(value in 0i64..1_000_000_000_000_000, shift in 0u32..50) {
            let value = value >> shift;
            let token = value.to_string();
            prop_assert_eq!(number(&padded(&token)), Some((value, token.len())));
        }

        #[test]
        fn every_ipv4_address_reads_back(bits: u32) {
            let token = Ipv4Addr::from_bits(bits).to_string();
            prop_assert_eq!(ipv4(&padded(&token)), Some((bits, token.len())));
        }

        #[test]
        fn no_bytes_read_otherwise_than_the_careful_readers_read_them(token in "[0-9.:a-]{1,16}") {
            if let Some((bits, length)) = ipv4(&padded(&token)) {
                prop_assert_eq!(token[..length].parse(), Ok(Ipv4Addr::from_bits(bits)));
            }
            if let Some((value, length)) = number(&padded(&token)) {
                prop_assert_eq!(token[..length].parse(), Ok(value));
                prop_assert!(length == 1 || !token.starts_with('0'));
            }
        }
    }
}

//! One decoded record, and what one field of it may hold. In: tokens and numbers. Out: checked values by field.

use super::token;
use crate::flow::{Field, Kind, parse_address};
use std::net::{IpAddr, Ipv4Addr};

/// Why a line is refused. The whole line is: a record with a field missing would be a silent half-truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Fewer or more fields than the header names.
    FieldCount,
    /// Bytes that are not UTF-8.
    Encoding,
    /// An address that does not parse.
    Address,
    /// A number with a sign, underscore, fraction, letter or leading zero, or over 2^63-1.
    Number,
    /// A number outside the range of its field.
    Range,
}

impl Refusal {
    /// The reason in words.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::FieldCount => "another number of fields than the header",
            Refusal::Encoding => "not UTF-8",
            Refusal::Address => "not an address",
            Refusal::Number => "not a number",
            Refusal::Range => "number out of range",
        }
    }
}

/// The values of one record. Reused from line to line: what the layout does not name stays null.
///
/// No legal value is empty text or a negative number, so these stand for null inside.
#[derive(Debug)]
pub struct Record<'a> {
    texts: [&'a [u8]; Field::TEXTS],
    addresses: [Option<IpAddr>; Field::ADDRESSES],
    numbers: [i64; Field::NUMBERS],
    /// Unknown fields that the scan was asked to keep, in the order of the setting.
    extras: Vec<&'a [u8]>,
    /// Whether the last `start` or `end` came in milliseconds.
    pub(super) milliseconds: bool,
    /// Whether it is known that all texts are those of the record before.
    pub(in crate::scan) same_texts: bool,
}

const NULL: i64 = -1;

impl<'a> Record<'a> {
    /// A record of nulls with room for `extras` unknown fields.
    pub fn new(extras: usize) -> Self {
        Record {
            texts: [b""; Field::TEXTS],
            addresses: [None; Field::ADDRESSES],
            numbers: [NULL; Field::NUMBERS],
            extras: vec![b""; extras],
            milliseconds: false,
            same_texts: false,
        }
    }

    /// Forgets what was said of the record before, but not its values: they are overwritten.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.milliseconds = false;
        self.same_texts = false;
    }

    /// Text of a [`Kind::Text`] field.
    #[inline]
    pub fn text(&self, field: Field) -> Option<&'a [u8]> {
        let text = self.texts[field.slot()];
        (!text.is_empty()).then_some(text)
    }

    /// Address of a [`Kind::Address`] field.
    #[inline]
    pub fn address(&self, field: Field) -> Option<IpAddr> {
        self.addresses[field.slot()]
    }

    /// Value of a numeric field; times are Unix seconds.
    #[inline]
    pub fn number(&self, field: Field) -> Option<i64> {
        let number = self.numbers[field.slot()];
        (number >= 0).then_some(number)
    }

    /// Text of an unknown field that the scan keeps.
    #[inline]
    pub fn extra(&self, index: usize) -> Option<&'a [u8]> {
        let text = self.extras[index];
        (!text.is_empty()).then_some(text)
    }

    /// Puts an IPv4 address.
    #[inline]
    pub(super) fn put_ipv4(&mut self, slot: usize, address: Ipv4Addr) {
        self.addresses[slot] = Some(IpAddr::V4(address));
    }

    /// Puts a number that is known to be in the range of its field; a time in seconds.
    #[inline]
    pub(super) fn put_plain(&mut self, slot: usize, number: i64) {
        self.numbers[slot] = number;
    }

    /// Puts `text` where the record has none.
    #[inline]
    pub(super) fn fill(&mut self, field: Field, text: &'a [u8]) {
        let slot = &mut self.texts[field.slot()];
        if slot.is_empty() {
            *slot = text;
        }
    }
}

/// What to do with one column of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Text(usize),
    Address(usize),
    Number {
        slot: usize,
        max: i64,
    },
    Time(usize),
    Extra(usize),
    /// An unknown field that nobody asked for.
    Skip,
}

impl Slot {
    /// The slot of a column named `name`; `extras` are the unknown names to keep.
    pub(super) fn of(name: &str, extras: &[String]) -> Slot {
        let Some(field) = Field::find(name) else {
            let same = |extra: &String| extra.replace('-', "_") == name.replace('-', "_");
            return extras.iter().position(same).map_or(Slot::Skip, Slot::Extra);
        };
        match field.kind() {
            Kind::Text => Slot::Text(field.slot()),
            Kind::Address => Slot::Address(field.slot()),
            Kind::Time => Slot::Time(field.slot()),
            Kind::Small | Kind::Octet | Kind::Port | Kind::Count => {
                Slot::Number { slot: field.slot(), max: field.kind().max() }
            }
        }
    }

    /// Reads the token that `rest` begins with into the record and returns its length; `None` if it is not written as
    /// AWS writes it, or ends too near to the end of `rest`.
    #[inline]
    pub(super) fn read<'a>(self, record: &mut Record<'a>, rest: &'a [u8]) -> Option<usize> {
        let length = token::text(rest).filter(|&length| length > 0)?;
        self.put(record, &rest[..length]).ok()?;
        Some(length)
    }

    /// Checks a token and puts it into the record. `-`, the whole token, is null.
    #[inline(always)]
    pub(super) fn put<'a>(self, record: &mut Record<'a>, token: &'a [u8]) -> Result<(), Refusal> {
        let missing = token == b"-";
        match self {
            Slot::Text(slot) => record.texts[slot] = if missing { b"" } else { token },
            Slot::Address(slot) => {
                record.addresses[slot] =
                    if missing { None } else { Some(parse_address(token).ok_or(Refusal::Address)?) };
            }
            Slot::Number { .. } | Slot::Time(_) => {
                return self.put_number(record, if missing { None } else { Some(parse_number(token)?) });
            }
            Slot::Extra(index) => record.extras[index] = if missing { b"" } else { token },
            Slot::Skip => {}
        }
        Ok(())
    }

    /// Checks a number and puts it into the record; a slot that holds no number ignores it.
    #[inline(always)]
    pub(super) fn put_number(self, record: &mut Record<'_>, number: Option<i64>) -> Result<(), Refusal> {
        match (self, number) {
            (Slot::Number { slot, .. } | Slot::Time(slot), None) => record.numbers[slot] = NULL,
            (_, Some(number)) if number < 0 => return Err(Refusal::Number),
            (Slot::Number { max, .. }, Some(number)) if number > max => return Err(Refusal::Range),
            (Slot::Number { slot, .. }, Some(number)) => record.numbers[slot] = number,
            (Slot::Time(slot), Some(number)) if number > MILLISECONDS_START => {
                record.numbers[slot] = number / 1000;
                record.milliseconds = true;
            }
            (Slot::Time(slot), Some(number)) => record.numbers[slot] = number,
            (Slot::Text(_) | Slot::Address(_) | Slot::Extra(_) | Slot::Skip, _) => {}
        }
        Ok(())
    }
}

/// Times above this are milliseconds: as seconds it is the year 5138, as milliseconds 1973.
pub(super) const MILLISECONDS_START: i64 = 100_000_000_000;

#[inline]
fn parse_number(token: &[u8]) -> Result<i64, Refusal> {
    let (&first, rest) = token.split_first().ok_or(Refusal::Number)?;
    let mut number = i64::from(first.wrapping_sub(b'0'));
    if number > 9 || (number == 0 && !rest.is_empty()) {
        return Err(Refusal::Number);
    }
    // Up to 18 digits cannot overflow.
    let checked = rest.len() > 17;
    for &byte in rest {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return Err(Refusal::Number);
        }
        number = if checked {
            number.checked_mul(10).and_then(|number| number.checked_add(digit)).ok_or(Refusal::Number)?
        } else {
            number * 10 + digit
        };
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_plain_decimals() {
        assert_eq!(parse_number(b"0"), Ok(0));
        assert_eq!(parse_number(b"9223372036854775807"), Ok(i64::MAX));
        for bad in ["", "-1", "+1", "0022", "2_2", "1.5", "0x10", "TCP", "9223372036854775808", "1 "] {
            assert_eq!(parse_number(bad.as_bytes()), Err(Refusal::Number), "{bad:?}");
        }
    }

    #[test]
    fn a_dash_is_null_and_only_as_the_whole_token() {
        let mut record = Record::new(0);
        let bytes = Slot::of("bytes", &[]);
        bytes.put(&mut record, b"5").unwrap();
        bytes.put(&mut record, b"-").unwrap();
        assert_eq!(record.number(Field::Bytes), None);
        assert_eq!(bytes.put(&mut record, b"-5"), Err(Refusal::Number));
    }

    #[test]
    fn ranges_are_those_of_the_fields() {
        let mut record = Record::new(0);
        for (field, largest) in [("srcport", 65535), ("protocol", 255), ("tcp-flags", 255)] {
            let slot = Slot::of(field, &[]);
            assert_eq!(slot.put_number(&mut record, Some(largest)), Ok(()));
            assert_eq!(slot.put_number(&mut record, Some(largest + 1)), Err(Refusal::Range), "{field}");
        }
    }

    #[test]
    fn milliseconds_become_seconds() {
        let mut record = Record::new(0);
        Slot::of("start", &[]).put(&mut record, b"1512564058000").unwrap();
        assert_eq!(record.number(Field::Start), Some(1_512_564_058));
        assert!(record.milliseconds);
    }

    #[test]
    fn an_unknown_field_is_kept_only_if_asked_for() {
        let extras = ["brand-new-field".to_owned()];
        assert_eq!(Slot::of("brand-new-field", &extras), Slot::Extra(0));
        assert_eq!(Slot::of("brand_new_field", &extras), Slot::Extra(0));
        assert_eq!(Slot::of("other", &extras), Slot::Skip);
    }

    proptest! {
        #[test]
        fn every_counter_reads_back(number in 0i64..) {
            prop_assert_eq!(parse_number(number.to_string().as_bytes()), Ok(number));
        }
    }
}

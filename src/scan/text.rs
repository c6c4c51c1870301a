//! Text objects: header lines to layouts, lines to records. In: decompressed bytes. Out: records or refusals.
//! The header alone decides the columns; the number of tokens and `version` never do.

use super::plain::{self, Memory, Step};
use super::record::{Record, Refusal, Slot};
use crate::flow::{Field, TRANSIT_GATEWAY_FIELDS};
use std::collections::BTreeSet;

/// What the columns of a text object are, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    slots: Vec<Slot>,
    /// The same columns, as lines without surprises are read.
    steps: Vec<Step>,
    /// Whether any line of so many tokens could be a record, even a header.
    only_texts: bool,
    /// How many columns are no official field.
    pub unknown: u64,
}

/// Why an object cannot be read by its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// The line names no known field.
    Missing,
    /// The line is JSON: a CloudWatch envelope, or another tool's log.
    Json,
    /// A field is named twice.
    Duplicate(String),
    /// A transit gateway flow log: another kind of log, told apart by its header.
    TransitGateway,
}

impl BadHeader {
    /// The reason in words.
    pub fn reason(&self) -> String {
        match self {
            BadHeader::Missing => "no header line: the first line names no flow log field".to_owned(),
            BadHeader::Json => "JSON, not flow log text (a CloudWatch Logs envelope or another tool's log)".to_owned(),
            BadHeader::Duplicate(name) => format!("the header names the field {name} twice"),
            BadHeader::TransitGateway => super::TRANSIT_GATEWAY.to_owned(),
        }
    }
}

impl Layout {
    /// Reads the first line of an object. `extras` are the unknown fields to keep.
    pub fn parse_header(line: &[u8], extras: &[String]) -> Result<Layout, BadHeader> {
        if matches!(line.first(), Some(b'{' | b'[')) {
            return Err(BadHeader::Json);
        }
        let names = names(line).ok_or(BadHeader::Missing)?;
        if !names.iter().any(|name| Field::find(name).is_some()) {
            return Err(BadHeader::Missing);
        }
        if names.iter().any(|name| TRANSIT_GATEWAY_FIELDS.contains(&name.replace('_', "-").as_str())) {
            return Err(BadHeader::TransitGateway);
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.replace('_', "-"))) {
            return Err(BadHeader::Duplicate((*twice).to_owned()));
        }
        let slots: Vec<Slot> = names.iter().map(|name| Slot::of(name, extras)).collect();
        let steps = plain::steps(&slots);
        Ok(Layout {
            only_texts: steps.iter().all(|step| matches!(step, Step::Run(_))),
            steps,
            slots,
            unknown: names.iter().filter(|name| Field::find(name).is_none()).count() as u64,
        })
    }

    /// Whether a later line is a header again, as where files were concatenated: most of its tokens are field names.
    #[inline]
    pub fn is_header(line: &[u8]) -> bool {
        Layout::may_be_header(line) && Layout::names_fields(line)
    }

    /// Whether a line may be a header by its first byte: few records begin with an id, a name or a tag.
    #[inline]
    fn may_be_header(line: &[u8]) -> bool {
        matches!(line.first(), Some(b'a'..=b'z' | b'$'))
    }

    #[cold]
    fn names_fields(line: &[u8]) -> bool {
        names(line)
            .is_some_and(|names| 2 * names.iter().filter(|name| Field::find(name).is_some()).count() > names.len())
    }

    /// Decodes the line that `rest` begins with, if it is written as AWS writes it: single spaces, a line feed, nothing
    /// unusual in between. Returns its length with the line feed. `memory` knows the lines before, read into `record`.
    ///
    /// `None` says nothing of the line: [`Layout::decode`] must look at it. The record must not be used then.
    #[inline]
    pub fn decode_plain<'a>(&self, rest: &'a [u8], record: &mut Record<'a>, memory: &mut Memory<'a>) -> Option<usize> {
        // Where a column is an address or a number, a header is not plain.
        if self.only_texts && Layout::may_be_header(rest) {
            return None;
        }
        plain::read(&self.steps, rest, record, memory)
    }

    /// Decodes one line into `record`. Returns whether spaces were irregular (runs, leading, trailing).
    ///
    /// `line` has no line end. After a refusal the record holds a part of the line and must not be used.
    #[inline]
    pub fn decode<'a>(&self, line: &'a [u8], record: &mut Record<'a>) -> Result<bool, Refusal> {
        let mut tokens = line.split(|&byte| byte == b' ').filter(|token| !token.is_empty());
        let mut length = 0;
        for &slot in &self.slots {
            let token = tokens.next().ok_or(Refusal::FieldCount)?;
            slot.put(record, token)?;
            length += token.len() + 1;
        }
        if tokens.next().is_some() { Err(Refusal::FieldCount) } else { Ok(length != line.len() + 1) }
    }
}

/// The tokens of a line that may be a header: names in lower case, also as `${name}`; `None` if any is not.
fn names(line: &[u8]) -> Option<Vec<&str>> {
    let line = std::str::from_utf8(line).ok()?;
    let names: Vec<&str> = line
        .split(' ')
        .filter(|token| !token.is_empty())
        .map(|token| token.strip_prefix("${").and_then(|token| token.strip_suffix('}')).unwrap_or(token))
        .collect();
    let is_name = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    (!names.is_empty() && names.iter().all(is_name)).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(header: &str, line: &str) -> Result<bool, Refusal> {
        Layout::parse_header(header.as_bytes(), &[]).unwrap().decode(line.as_bytes(), &mut Record::new(0))
    }

    #[test]
    fn a_line_needs_as_many_fields_as_its_header() {
        assert_eq!(decode("version srcaddr", "2 10.0.0.1"), Ok(false));
        assert_eq!(decode("version srcaddr", "2"), Err(Refusal::FieldCount));
        assert_eq!(decode("version srcaddr", "2 10.0.0.1 x"), Err(Refusal::FieldCount));
    }

    #[test]
    fn irregular_spaces_are_tolerated_and_told() {
        for line in [" 2 10.0.0.1", "2  10.0.0.1", "2 10.0.0.1 ", "  2   10.0.0.1  "] {
            assert_eq!(decode("version srcaddr", line), Ok(true), "{line:?}");
        }
        assert!(decode("version srcaddr", "2\t10.0.0.1").is_err(), "a tab parts nothing");
    }

    #[test]
    fn headers_come_in_all_spellings() {
        for header in
            ["version pkt-srcaddr tcp-flags", "version pkt_srcaddr tcp_flags", "${version} ${pkt-srcaddr} ${tcp-flags}"]
        {
            let mut record = Record::new(0);
            let layout = Layout::parse_header(header.as_bytes(), &[]).unwrap();
            layout.decode(b"3 10.0.0.1 19", &mut record).unwrap();
            assert_eq!(record.number(Field::TcpFlags), Some(19), "{header}");
        }
    }

    #[test]
    fn what_is_no_header_is_told_apart() {
        let parse = |line: &str| Layout::parse_header(line.as_bytes(), &[]).unwrap_err();
        assert_eq!(parse("2 123456789010 eni-1 10.0.0.1"), BadHeader::Missing);
        assert_eq!(parse("hello world"), BadHeader::Missing);
        assert_eq!(parse("{\"messageType\":\"DATA_MESSAGE\"}"), BadHeader::Json);
        assert_eq!(parse("version srcaddr version"), BadHeader::Duplicate("version".to_owned()));
        assert_eq!(parse("version resource-type account-id"), BadHeader::TransitGateway);
    }

    #[test]
    fn unknown_fields_are_counted_and_passed_over() {
        let layout = Layout::parse_header(b"version srcaddr brand-new-field dstaddr", &[]).unwrap();
        assert_eq!(layout.unknown, 1);
        let mut record = Record::new(0);
        layout.decode(b"12 10.0.0.1 zzz 10.0.0.2", &mut record).unwrap();
        assert_eq!(record.address(Field::Dstaddr), "10.0.0.2".parse().ok());
    }

    #[test]
    fn a_record_is_not_taken_for_a_header() {
        assert!(Layout::is_header(b"version account-id interface-id"));
        assert!(!Layout::is_header(b"eni-1235b8ca 10.0.0.1 10.0.0.2"));
        assert!(!Layout::is_header(b"web region prod"), "tags that happen to be field names");
    }

    #[test]
    fn a_header_among_lines_is_never_a_plain_record() {
        for header in
            ["interface-id srcaddr bytes", "interface-id action", "region version", "brand-new-field type end"]
        {
            let layout = Layout::parse_header(header.as_bytes(), &[]).unwrap();
            let text = format!("{header}\n{}", "x".repeat(16));
            let (mut record, mut memory) = (Record::new(0), Memory::default());
            assert_eq!(layout.decode_plain(text.as_bytes(), &mut record, &mut memory), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let layout = Layout::parse_header(b"version srcaddr srcport start account-id", &[]).unwrap();
            let _ = layout.decode(&line, &mut Record::new(0));
            let _ = layout.decode_plain(&line, &mut Record::new(0), &mut Memory::default());
            let _ = Layout::is_header(&line);
            let _ = Layout::parse_header(&line, &[]);
        }
    }
}

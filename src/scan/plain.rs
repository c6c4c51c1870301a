//! Lines as AWS writes them, read with the line before in mind. In: bytes that begin with a line. Out: its record and
//! its length, or `None` for whatever the careful reader must look at.
//!
//! Objects hold runs of one interface's records, so most of a line is what the line before said: version, account and
//! interface; the interface's own address; all but the last digits of the times; action and status. What repeats is
//! compared and not read again.

use super::record::{MILLISECONDS_START, Record, Slot};
use super::token;
use crate::flow::Kind;
use std::net::Ipv4Addr;

/// Neighbouring columns that are read in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Columns that mostly repeat: all text, and numbers that stay small.
    Run(Vec<Column>),
    /// Addresses.
    Addresses(Vec<Column>),
    /// Ports, counters, flags.
    Numbers(Vec<Column>),
    /// Times.
    Times(Vec<Column>),
}

/// A column, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    slot: Slot,
    /// Where the record keeps its value.
    index: usize,
    /// Largest number that the line may hold here without being looked at again.
    max: i64,
    end: u8,
}

/// The steps that read a line of these columns.
pub(super) fn steps(slots: &[Slot]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, &slot) in slots.iter().enumerate() {
        let end = if index + 1 == slots.len() { b'\n' } else { b' ' };
        match (Step::of(slot, end), steps.last_mut()) {
            (Step::Run(one), Some(Step::Run(columns)))
            | (Step::Addresses(one), Some(Step::Addresses(columns)))
            | (Step::Numbers(one), Some(Step::Numbers(columns)))
            | (Step::Times(one), Some(Step::Times(columns))) => columns.extend(one),
            (step, _) => steps.push(step),
        }
    }
    steps
}

impl Step {
    fn of(slot: Slot, end: u8) -> Step {
        let column = |index, max| vec![Column { slot, index, max, end }];
        match slot {
            Slot::Address(index) => Step::Addresses(column(index, 0)),
            Slot::Time(index) => Step::Times(column(index, MILLISECONDS_START)),
            Slot::Number { slot: index, max } if max != Kind::Small.max() => Step::Numbers(column(index, max)),
            Slot::Number { .. } | Slot::Text(_) | Slot::Extra(_) | Slot::Skip => Step::Run(column(0, 0)),
        }
    }
}

/// What the last plain lines said. It speaks of one layout and of one record, which nothing else may write to without
/// [`Memory::forget`].
#[derive(Default)]
pub struct Memory<'a> {
    /// The bytes of each run, with what stands behind them; empty if it was not read yet.
    runs: Vec<&'a [u8]>,
    addresses: Addresses,
    times: Times,
}

impl Memory<'_> {
    /// Forgets what the record holds.
    pub fn forget(&mut self) {
        self.runs.clear();
    }
}

/// Reads the line that `rest` begins with; see [`super::text::Layout::decode_plain`].
#[inline]
pub(super) fn read<'a>(
    steps: &[Step],
    rest: &'a [u8],
    record: &mut Record<'a>,
    memory: &mut Memory<'a>,
) -> Option<usize> {
    let known = !memory.runs.is_empty();
    if !known {
        memory.runs.resize(steps.len(), b"");
    }
    let read = try_read(steps, rest, record, memory);
    match read {
        // Behind a line that was not plain, runs are read anew; but not every line has one.
        Some((_, same_texts)) => record.same_texts = known && same_texts,
        None => memory.forget(),
    }
    read.map(|(length, _)| length)
}

/// Returns the length of the line, and whether all runs repeat.
#[inline(always)]
fn try_read<'a>(
    steps: &[Step],
    line: &'a [u8],
    record: &mut Record<'a>,
    memory: &mut Memory<'a>,
) -> Option<(usize, bool)> {
    let mut rest = line;
    let mut runs = memory.runs.iter_mut();
    let mut same_texts = true;
    for step in steps {
        match step {
            Step::Run(columns) => {
                let run = runs.next()?;
                if run.is_empty() || !rest.starts_with(run) {
                    *run = read_run(columns, rest, record)?;
                    same_texts = false;
                }
                rest = &rest[run.len()..];
            }
            Step::Addresses(columns) => {
                for column in columns {
                    let length = match memory.addresses.read(rest) {
                        Some((address, length)) => {
                            record.put_ipv4(column.index, address);
                            length
                        }
                        None => column.slot.read(record, rest)?,
                    };
                    rest = behind(rest, length, column.end)?;
                }
            }
            Step::Numbers(columns) => {
                for column in columns {
                    let length = match token::number(rest) {
                        Some((number, length)) if number <= column.max => {
                            record.put_plain(column.index, number);
                            length
                        }
                        _ => column.slot.read(record, rest)?,
                    };
                    rest = behind(rest, length, column.end)?;
                }
            }
            Step::Times(columns) => {
                for column in columns {
                    let length = match memory.times.read(rest) {
                        Some((time, length)) if time <= column.max => {
                            record.put_plain(column.index, time);
                            length
                        }
                        _ => column.slot.read(record, rest)?,
                    };
                    rest = behind(rest, length, column.end)?;
                }
            }
        }
    }
    Some((line.len() - rest.len(), same_texts))
}

/// What stands behind a token and its end.
#[inline(always)]
fn behind(rest: &[u8], length: usize, end: u8) -> Option<&[u8]> {
    let (&byte, rest) = rest.get(length..)?.split_first()?;
    (byte == end).then_some(rest)
}

/// Reads the columns of a run one by one. Returns their bytes with what stands behind them: ASCII, which no other
/// column needs to be checked for.
fn read_run<'a>(columns: &[Column], line: &'a [u8], record: &mut Record<'a>) -> Option<&'a [u8]> {
    let mut rest = line;
    for column in columns {
        let length = column.slot.read(record, rest)?;
        rest = behind(rest, length, column.end)?;
    }
    let run = &line[..line.len() - rest.len()];
    run.is_ascii().then_some(run)
}

/// The two IPv4 addresses seen last: of two neighbours one is mostly the interface's own.
struct Addresses {
    known: [Address; 2],
    last: usize,
}

/// An address, and its text with the byte behind it as the low bytes of a word.
#[derive(Clone, Copy)]
struct Address {
    text: u128,
    mask: u128,
    value: Ipv4Addr,
    length: usize,
}

impl Default for Addresses {
    fn default() -> Self {
        let address = Address::new(*b"0.0.0.0 ........", Ipv4Addr::UNSPECIFIED, 7);
        Addresses { known: [address; 2], last: 0 }
    }
}

impl Address {
    fn new(text: [u8; 16], value: Ipv4Addr, length: usize) -> Address {
        let mask = u128::MAX >> (120 - 8 * length);
        Address { text: u128::from_le_bytes(text) & mask, mask, value, length }
    }
}

impl Addresses {
    #[inline(always)]
    fn read(&mut self, rest: &[u8]) -> Option<(Ipv4Addr, usize)> {
        let text = *rest.first_chunk()?;
        let word = u128::from_le_bytes(text);
        for (index, known) in self.known.iter().enumerate() {
            if word & known.mask == known.text {
                self.last = index;
                return Some((known.value, known.length));
            }
        }
        let (bits, length) = token::ipv4(rest)?;
        let address = Address::new(text, Ipv4Addr::from_bits(bits), length);
        self.last = 1 - self.last;
        self.known[self.last] = address;
        Some((address.value, length))
    }
}

/// Of the two times seen last, ten digits each: the first eight digits, and what two zeros behind them would make it.
struct Times {
    known: [(u64, i64); 2],
    last: usize,
}

impl Default for Times {
    fn default() -> Self {
        Times { known: [(u64::from_le_bytes(*b"10000000"), 1_000_000_000); 2], last: 0 }
    }
}

impl Times {
    #[inline(always)]
    fn read(&mut self, rest: &[u8]) -> Option<(i64, usize)> {
        let &[digits @ .., tens, ones] = rest.first_chunk::<10>()?;
        let digits = u64::from_le_bytes(digits);
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        if tens < 10 && ones < 10 {
            for &(known, value) in &self.known {
                if digits == known {
                    return Some((value + i64::from(tens * 10 + ones), 10));
                }
            }
        }
        let (time, length) = token::number(rest)?;
        if length == 10 {
            self.last = 1 - self.last;
            self.known[self.last] = (digits, time / 100 * 100);
        }
        Some((time, length))
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::Layout;
    use super::*;
    use crate::flow::Field;
    use proptest::prelude::*;

    const HEADER: &[u8] = b"version account-id srcaddr dstaddr srcport bytes start end action log-status new-field";

    fn layout() -> Layout {
        Layout::parse_header(HEADER, &["new-field".to_owned()]).unwrap()
    }

    fn texts<'a>(record: &Record<'a>) -> [Option<&'a [u8]>; 4] {
        let text = |field| record.text(field);
        [text(Field::AccountId), text(Field::Action), text(Field::LogStatus), record.extra(0)]
    }

    /// Reads lines one after the other as an object's are read, and tells how many were plain.
    fn plain_lines(lines: &[String]) -> usize {
        let layout = layout();
        let text: String = lines.iter().map(|line| format!("{line}\n")).chain(["x".repeat(16)]).collect();
        let (mut record, mut memory) = (Record::new(1), Memory::default());
        let (mut rest, mut plain, mut before) = (text.as_bytes(), 0, None);
        for line in lines {
            let mut careful = Record::new(1);
            let decoded = layout.decode(line.as_bytes(), &mut careful);
            record.begin();
            if let Some(length) = layout.decode_plain(rest, &mut record, &mut memory) {
                assert_eq!(length, line.len() + 1, "{line}");
                assert_eq!(decoded, Ok(false), "{line}");
                assert!(!record.same_texts || before == Some(texts(&careful)), "{line}");
                before = Some(texts(&careful));
                careful.same_texts = record.same_texts;
                assert_eq!(format!("{record:?}"), format!("{careful:?}"), "{line}");
                plain += 1;
            } else {
                assert!(!record.same_texts, "{line}");
                memory.forget();
                let _ = layout.decode(line.as_bytes(), &mut record);
                before = None;
            }
            rest = &rest[line.len() + 1..];
        }
        plain
    }

    #[test]
    fn what_the_line_before_said_is_read_as_if_it_stood_alone() {
        let lines = [
            "2 123 10.0.0.1 10.0.0.2 443 5 1512564058 1512564059 ACCEPT OK -",
            "2 123 10.0.0.2 10.0.0.1 80 5 1512564058 1512564159 ACCEPT OK -",
            "2 123 10.0.0.25 10.0.0.1 0 0 1512564099 1512565000 REJECT OK a",
            "2 123 - 10.0.0.1 - - - - REJECT OK a",
            "2 1234 2001:db8::1 10.0.0.1 80 5 0 1512564058000 - NODATA a",
        ];
        assert_eq!(plain_lines(&lines.map(str::to_owned)), lines.len());
    }

    #[test]
    fn only_a_line_behind_another_has_the_same_texts() {
        let layout = Layout::parse_header(b"srcport bytes", &[]).unwrap();
        let text = b"443 1\n443 2\n443 3\nand some more bytes";
        let (mut record, mut memory) = (Record::new(0), Memory::default());
        let mut read = |at: usize, memory: &mut Memory<'static>| {
            record.begin();
            layout.decode_plain(&text[at..], &mut record, memory).map(|_| record.same_texts)
        };
        assert_eq!(read(0, &mut memory), Some(false));
        assert_eq!(read(6, &mut memory), Some(true));
        memory.forget();
        assert_eq!(read(12, &mut memory), Some(false));
    }

    #[test]
    fn a_line_that_begins_as_the_one_before_is_read_to_its_end() {
        let line = "2 123 10.0.0.1 10.0.0.2 443 5 1512564058 1512564059 ACCEPT OK -".to_owned();
        for other in [
            "2 123 10.0.0.1 10.0.0.2 443 5 1512564058 1512564059 ACCEPT OK - -",
            "2 123 10.0.0.1 10.0.0.2 443 5 1512564058 1512564059 ACCEPT OK",
            "2 123 10.0.0.1x 10.0.0.2 443 5 1512564058 1512564059 ACCEPT OK -",
            "2 123 10.0.0.1 10.0.0.2 443 5 1512564058 151256405x ACCEPT OK -",
            "2 123 10.0.0.1  10.0.0.2 443 5 1512564058 1512564059 ACCEPT OK -",
        ] {
            assert_eq!(plain_lines(&[line.clone(), other.to_owned(), line.clone()]), 2, "{other}");
        }
    }

    #[test]
    fn what_nobody_read_is_not_known() {
        for line in
            ["2 123 \0\0\0\0\0\0\0 10.0.0.2 443 5 1 1 ACCEPT OK -", "2 1 - - 1 1 \0\0\0\0\0\0\0\0 1 ACCEPT OK -"]
        {
            assert_eq!(plain_lines(&[line.to_owned()]), 0, "{line:?}");
        }
    }

    fn line() -> impl Strategy<Value = String> {
        let token = |tokens: &'static [&'static str]| prop::sample::select(tokens);
        let text = || token(&["2", "123", "-", "ACCEPT", "OK", "OK", "A\r", "a-longer-text-of-some-words", ""]);
        let address = || token(&["10.0.0.1", "10.0.0.2", "10.0.0.25", "255.255.255.255", "2001:db8::1", "-", "10.0.0"]);
        let number = || token(&["0", "443", "1234567", "12345678", "65536", "-", "007", "-1"]);
        let time = || token(&["1512564058", "1512564059", "1512564158", "151256405", "1512564058000", "0", "-"]);
        let space = token(&[" ", " ", " ", " ", " ", " ", "  ", "\t"]);
        ((text(), text(), address(), address(), number(), number()), (time(), time(), text(), text(), text(), space))
            .prop_map(|((a, b, c, d, e, f), (g, h, i, j, k, space))| [a, b, c, d, e, f, g, h, i, j, k].join(space))
    }

    proptest! {
        #[test]
        fn plain_lines_read_as_the_careful_reader_reads_them(lines in prop::collection::vec(line(), 1..12)) {
            plain_lines(&lines);
        }
    }
}

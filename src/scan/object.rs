//! One object, whole: from its stored bytes to records and a tally. In: bytes and what the key says. Out: records to a
//! sink, counts, or the reason why the object is set aside; no record of such an object reaches the sink.

use super::inflate::{Inflater, Limits};
use super::plain::Memory;
use super::record::{Record, Refusal};
use super::text::{BadHeader, Layout};
use super::{TRANSIT_GATEWAY, columns};
use crate::flow::Field;
use crate::source::{Format, Object};
use bytes::Bytes;
use std::ops::Range;

/// Takes the records of one object in their order.
pub trait Sink {
    /// Takes a record and its line (1-based; the row in a Parquet object). Returns whether more is wanted.
    fn take(&mut self, record: &Record<'_>, line: u64) -> bool;
}

/// What the records of an object are read for.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Event times to count as "in the window", Unix seconds, half-open; all if absent.
    pub window: Option<Range<i64>>,
    /// Unknown fields to keep.
    pub extras: Vec<String>,
    /// Limits of decompression.
    pub limits: Limits,
}

/// Whether a record tells of flows, of none, or of lost ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `OK`, another value, or no such field.
    Ok,
    /// No traffic in the interval.
    NoData,
    /// Records were lost.
    SkipData,
}

impl Status {
    /// Status of a record: whatever else it carries, `NODATA` and `SKIPDATA` are no flows.
    #[inline]
    pub fn of(record: &Record<'_>) -> Status {
        match record.text(Field::LogStatus) {
            Some(b"NODATA") => Status::NoData,
            Some(b"SKIPDATA") => Status::SkipData,
            _ => Status::Ok,
        }
    }
}

/// Records of one object in one window, by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `OK`.
    pub ok: u64,
    /// `NODATA`.
    pub nodata: u64,
    /// `SKIPDATA`.
    pub skipdata: u64,
}

/// What is counted of a record's texts.
#[derive(Clone, Copy, Debug)]
struct Texts {
    status: Status,
    odd_action: bool,
}

impl Texts {
    fn of(record: &Record<'_>) -> Texts {
        let odd_action = !matches!(record.text(Field::Action), None | Some(b"ACCEPT" | b"REJECT"));
        Texts { status: Status::of(record), odd_action }
    }
}

/// Counts over one object; sums over several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records decoded.
    pub records: u64,
    /// Those whose `end` is in the window, and of these by status.
    pub in_window: u64,
    /// In the window, `OK`.
    pub ok: u64,
    /// In the window, `NODATA`.
    pub nodata: u64,
    /// In the window, `SKIPDATA`.
    pub skipdata: u64,
    /// Lines refused, in the order of [`Refusal`].
    pub refused: [u64; 5],
    /// Records without a usable `end`: they belong to no window.
    pub no_time: u64,
    /// Records with a time in milliseconds.
    pub milliseconds: u64,
    /// Lines with runs of spaces, or spaces at their ends.
    pub spaces: u64,
    /// Header lines, the first included.
    pub headers: u64,
    /// Columns that are no official field, summed over the headers.
    pub unknown_fields: u64,
    /// Records whose action is neither ACCEPT nor REJECT.
    pub odd_actions: u64,
    /// Earliest `end`, Unix seconds.
    pub first_end: Option<i64>,
    /// Latest `end`, Unix seconds.
    pub last_end: Option<i64>,
    /// Bytes after decompression.
    pub bytes: u64,
    /// The first refused lines.
    pub samples: Vec<(u64, Refusal)>,
}

const SAMPLES_MAX: usize = 3;

impl Tally {
    /// Lines refused for any reason.
    pub fn refused_all(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// Whether no record is in `window`, Unix seconds.
    pub fn misses(&self, window: &Range<i64>) -> bool {
        let ends = self.first_end.zip(self.last_end);
        ends.is_none_or(|(first, last)| last < window.start || window.end <= first)
    }

    /// What is in the window.
    pub fn counts(&self) -> Counts {
        Counts { ok: self.ok, nodata: self.nodata, skipdata: self.skipdata }
    }

    /// The same, with what is in one window.
    pub fn within(&self, counts: Counts) -> Tally {
        let Counts { ok, nodata, skipdata } = counts;
        Tally { in_window: ok + nodata + skipdata, ok, nodata, skipdata, ..self.clone() }
    }

    fn refuse(&mut self, line: u64, refusal: Refusal) {
        self.refused[refusal as usize] += 1;
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push((line, refusal));
        }
    }

    #[inline]
    fn count(&mut self, record: &Record<'_>, texts: Texts, window: Option<&Range<i64>>) {
        self.records += 1;
        self.milliseconds += u64::from(record.milliseconds);
        self.odd_actions += u64::from(texts.odd_action);
        let Some(end) = record.number(Field::End) else {
            self.no_time += 1;
            return;
        };
        self.first_end = Some(self.first_end.map_or(end, |first| first.min(end)));
        self.last_end = Some(self.last_end.map_or(end, |last| last.max(end)));
        if window.is_none_or(|window| window.contains(&end)) {
            self.in_window += 1;
            match texts.status {
                Status::Ok => self.ok += 1,
                Status::NoData => self.nodata += 1,
                Status::SkipData => self.skipdata += 1,
            }
        }
    }

    /// Adds the counts of another object; samples are not joined, they belong to an object.
    pub fn add(&mut self, other: &Tally) {
        let earliest = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
        self.records += other.records;
        self.in_window += other.in_window;
        self.ok += other.ok;
        self.nodata += other.nodata;
        self.skipdata += other.skipdata;
        for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
            *mine += theirs;
        }
        self.no_time += other.no_time;
        self.milliseconds += other.milliseconds;
        self.spaces += other.spaces;
        self.headers += other.headers;
        self.unknown_fields += other.unknown_fields;
        self.odd_actions += other.odd_actions;
        self.first_end = earliest(self.first_end, other.first_end);
        self.last_end = self.last_end.max(other.last_end);
        self.bytes += other.bytes;
    }
}

/// Feeds the records of an object to `sink`.
///
/// # Errors
/// The reason why the object is set aside; then the sink has seen no record of it.
pub fn decode(
    inflater: &mut Inflater,
    object: &Object,
    body: &Bytes,
    spec: &Spec,
    sink: &mut impl Sink,
) -> Result<Tally, String> {
    let texts = Texts { status: Status::Ok, odd_action: false };
    let mut decoder =
        Decoder { object, spec, sink, tally: Tally::default(), line: 0, layout: None, header: None, texts };
    match object.name.format {
        Format::Parquet => columns::decode(&mut decoder, body)?,
        Format::Text => {
            let read = inflater.read(body, &spec.limits, |chunk| decoder.chunk(chunk));
            decoder.tally.bytes = read.map_err(|damage| damage.reason().to_owned())?;
            if let Some(bad) = decoder.header {
                return Err(bad.reason());
            }
        }
    }
    Ok(decoder.tally)
}

/// The state of decoding one object.
pub(super) struct Decoder<'a, S> {
    object: &'a Object,
    pub(super) spec: &'a Spec,
    sink: &'a mut S,
    pub(super) tally: Tally,
    line: u64,
    /// The columns of the lines to come; `None` before the first header and behind one that cannot be used.
    layout: Option<Layout>,
    /// Why the first header cannot be used.
    header: Option<BadHeader>,
    /// What is counted of the last record's texts.
    texts: Texts,
}

impl<'a, S: Sink> Decoder<'a, S> {
    /// Decodes a chunk of whole lines. Returns whether more is wanted.
    fn chunk(&mut self, chunk: &[u8]) -> bool {
        let mut chunk = chunk;
        if self.line == 0 {
            chunk = chunk.strip_prefix(b"\xef\xbb\xbf").unwrap_or(chunk);
        }
        let mut record = Record::new(self.spec.extras.len());
        let mut memory = Memory::default();
        let mut rest = chunk;
        while !rest.is_empty() {
            self.line += 1;
            record.begin();
            if let Some(layout) = &self.layout
                && let Some(length) = layout.decode_plain(rest, &mut record, &mut memory)
            {
                rest = &rest[length..];
                if !self.record(&mut record) {
                    return false;
                }
                continue;
            }
            memory.forget();
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() && !self.line(line, &mut record) {
                return false;
            }
        }
        true
    }

    #[inline]
    fn line<'t>(&mut self, line: &'t [u8], record: &mut Record<'t>) -> bool
    where
        'a: 't,
    {
        if self.tally.headers == 0 || Layout::is_header(line) {
            *record = Record::new(self.spec.extras.len());
            return self.header(line);
        }
        let Some(layout) = &self.layout else {
            self.tally.refuse(self.line, Refusal::FieldCount);
            return true;
        };
        if std::str::from_utf8(line).is_err() {
            self.tally.refuse(self.line, Refusal::Encoding);
            return true;
        }
        match layout.decode(line, record) {
            Ok(ragged) => {
                self.tally.spaces += u64::from(ragged);
                self.record(record)
            }
            Err(refusal) => {
                if line.iter().any(|&byte| byte != b' ') {
                    self.tally.refuse(self.line, refusal);
                }
                true
            }
        }
    }

    #[cold]
    fn header(&mut self, line: &[u8]) -> bool {
        let first = self.tally.headers == 0;
        self.tally.headers += 1;
        match Layout::parse_header(line, &self.spec.extras) {
            Ok(layout) => {
                self.tally.unknown_fields += layout.unknown;
                self.layout = Some(layout);
            }
            Err(bad) if first => {
                self.header = Some(bad);
                return false;
            }
            // What follows a header that cannot be used has no known columns: refused until the next header.
            Err(_) => {
                self.layout = None;
                self.tally.refuse(self.line, Refusal::FieldCount);
            }
        }
        true
    }

    /// Counts a record that is decoded and hands it on. Where it names no account or region, the object's key does.
    #[inline]
    fn record<'t>(&mut self, record: &mut Record<'t>) -> bool
    where
        'a: 't,
    {
        if !record.same_texts {
            let name = &self.object.name;
            record.fill(Field::AccountId, name.account.as_bytes());
            record.fill(Field::Region, name.region.as_bytes());
            self.texts = Texts::of(record);
        }
        self.tally.count(record, self.texts, self.spec.window.as_ref());
        self.sink.take(record, self.line)
    }

    /// Takes one row of a Parquet object, decoded or refused.
    pub(super) fn row<'t>(&mut self, record: &mut Record<'t>, decoded: Result<(), Refusal>) -> bool
    where
        'a: 't,
    {
        self.line += 1;
        match decoded {
            Ok(()) => self.record(record),
            Err(refusal) => {
                self.tally.refuse(self.line, refusal);
                true
            }
        }
    }
}

/// Whether the reason of a set-aside object is that its bytes are damaged, so that another fetch may give better ones.
pub(super) fn is_damage(reason: &str) -> bool {
    reason.starts_with("damaged ")
}

/// Whether the reason of a set-aside object only says that it is another kind of log, which nobody misses here.
pub fn is_other_log(reason: &str) -> bool {
    reason == TRANSIT_GATEWAY
}

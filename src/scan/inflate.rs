//! Decompression of one object's body, bounded. In: the stored bytes. Out: text, in chunks of whole lines.
//!
//! A body that fits `whole_bytes_max` is inflated at once; a larger one is first verified to its end, then streamed:
//! nothing of a damaged object is ever handed on.

use flate2::bufread::GzDecoder;
use libdeflater::{DecompressionError, Decompressor, crc32};
use std::io::Read;

/// How much an object may grow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Text of one object, bytes.
    pub bytes_max: u64,
    /// Text over stored size.
    pub ratio_max: u64,
    /// Text up to this size is inflated at once.
    pub whole_bytes_max: usize,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Truncated, or a wrong checksum, or bytes that are no gzip after the last member.
    Gzip,
    /// Over the limits of decompression.
    Limit,
    /// A line of more than [`LINE_MAX`] bytes in a streamed body.
    Line,
}

impl Damage {
    /// The reason in words.
    pub fn reason(self) -> &'static str {
        match self {
            Damage::Gzip => "damaged gzip: truncated, a wrong checksum, or garbage after the last member",
            Damage::Limit => "over the decompression limit (scan.decompressed_bytes_max, scan.decompressed_ratio_max)",
            Damage::Line => "a line of more than 8 MiB: not a flow log",
        }
    }
}

/// Inflates bodies one after the other into one buffer, so that pages are cleared once and not for every object.
pub struct Inflater {
    decompressor: Decompressor,
    buffer: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Inflater { decompressor: Decompressor::new(), buffer: Vec::new() }
    }
}

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Header and trailer of the shortest member.
const MEMBER_MIN: usize = 18;
const CHUNK: usize = 1 << 20;
/// Longest line of a streamed body: more than any record, little enough to hold.
const LINE_MAX: usize = 8 * CHUNK;

impl Inflater {
    /// Calls `take` with the text of `body`, gzipped or plain, in chunks that end with a line (but perhaps the last).
    /// Returns the number of bytes of text.
    ///
    /// All members of a gzip file are read; zero bytes after the last are padding. `take` is not called at all if the
    /// body is damaged or over the limits; it may stop the reading by returning `false`.
    pub fn read(&mut self, body: &[u8], limits: &Limits, mut take: impl FnMut(&[u8]) -> bool) -> Result<u64, Damage> {
        if !body.starts_with(&MAGIC) {
            if body.len() as u64 > limits.bytes_max {
                return Err(Damage::Limit);
            }
            take(body);
            return Ok(body.len() as u64);
        }
        let bytes_max = limits.bytes_max.min((body.len() as u64).saturating_mul(limits.ratio_max));
        if let Some(size) = self.inflate_whole(body, bytes_max.min(limits.whole_bytes_max as u64) as usize)? {
            take(&self.buffer[..size]);
            return Ok(size as u64);
        }
        verify(body, bytes_max)?;
        self.stream(body, take)
    }

    /// Inflates every member into the buffer; `None` if they do not fit `size_max`.
    fn inflate_whole(&mut self, body: &[u8], size_max: usize) -> Result<Option<usize>, Damage> {
        let (mut rest, mut size) = (body, 0);
        while !is_padding(rest) {
            let Some((member, written)) = self.inflate_member(rest, size, size_max)? else { return Ok(None) };
            rest = &rest[member..];
            size += written;
        }
        Ok(Some(size))
    }

    /// Inflates the member that `input` begins with behind `at`. Returns its stored length and its text's.
    fn inflate_member(&mut self, input: &[u8], at: usize, size_max: usize) -> Result<Option<(usize, usize)>, Damage> {
        if input.len() < MEMBER_MIN || !input.starts_with(&MAGIC) {
            return Err(Damage::Gzip);
        }
        // The last member's length stands at the end of the body; for others it is a guess that may be too small.
        let stated = u32::from_le_bytes(*input.last_chunk().expect("longer than a trailer")) as usize;
        let mut room = stated.min(size_max.saturating_sub(at)).max(64);
        loop {
            if self.buffer.len() < at + room {
                self.buffer.resize(at + room, 0);
            }
            match self.decompressor.gzip_decompress(input, &mut self.buffer[at..at + room]) {
                Ok(written) if at + written > size_max => return Ok(None),
                Ok(written) => return Ok(Some((member_length(input, &self.buffer[at..at + written])?, written))),
                Err(DecompressionError::BadData) => return Err(Damage::Gzip),
                Err(DecompressionError::InsufficientSpace) if at + room >= size_max => return Ok(None),
                Err(DecompressionError::InsufficientSpace) => room = (room * 2).max(CHUNK).min(size_max - at),
            }
        }
    }

    fn stream(&mut self, body: &[u8], mut take: impl FnMut(&[u8]) -> bool) -> Result<u64, Damage> {
        let mut text = Members { rest: body, member: None };
        let (mut kept, mut total) = (0, 0);
        loop {
            if self.buffer.len() < kept + CHUNK {
                self.buffer.resize(kept + CHUNK, 0);
            }
            let read = text.read(&mut self.buffer[kept..kept + CHUNK])?;
            total += read as u64;
            let filled = kept + read;
            if read == 0 {
                if filled > 0 {
                    take(&self.buffer[..filled]);
                }
                return Ok(total);
            }
            if let Some(end) = memchr::memrchr(b'\n', &self.buffer[..filled]) {
                if !take(&self.buffer[..=end]) {
                    return Ok(total);
                }
                self.buffer.copy_within(end + 1..filled, 0);
                kept = filled - end - 1;
            } else {
                kept = filled;
            }
        }
    }
}

/// How many bytes of `input` the member takes that inflated to `text`.
///
/// The decompressor does not tell, but the member ends with its text's checksum and length: eight bytes that are
/// searched for. Where no other member can begin and the body ends with the length, the search is spared.
fn member_length(input: &[u8], text: &[u8]) -> Result<usize, Damage> {
    let length = (text.len() as u32).to_le_bytes();
    if input.ends_with(&length) && memchr::memmem::find(&input[MEMBER_MIN..], &[MAGIC[0], MAGIC[1], 8]).is_none() {
        return Ok(input.len());
    }
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc32(text).to_le_bytes());
    trailer[4..].copy_from_slice(&length);
    memchr::memmem::find(input, &trailer).map(|at| at + trailer.len()).ok_or(Damage::Gzip)
}

fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|&byte| byte == 0)
}

/// Reads a body to its end without keeping it: checksums hold, the text is within `bytes_max`, lines are of sane length.
fn verify(body: &[u8], bytes_max: u64) -> Result<(), Damage> {
    let mut text = Members { rest: body, member: None };
    let mut scratch = vec![0; CHUNK];
    let (mut total, mut line) = (0, 0);
    loop {
        let read = text.read(&mut scratch)?;
        if read == 0 {
            return Ok(());
        }
        total += read as u64;
        if total > bytes_max {
            return Err(Damage::Limit);
        }
        line = memchr::memrchr(b'\n', &scratch[..read]).map_or(line + read, |end| read - end - 1);
        if line > LINE_MAX {
            return Err(Damage::Line);
        }
    }
}

/// The texts of all members of a gzip file, one after the other.
struct Members<'a> {
    rest: &'a [u8],
    member: Option<GzDecoder<&'a [u8]>>,
}

impl Members<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        loop {
            match &mut self.member {
                None if is_padding(self.rest) => return Ok(0),
                None => self.member = Some(GzDecoder::new(self.rest)),
                Some(member) => match member.read(buffer).map_err(|_| Damage::Gzip)? {
                    0 => {
                        self.rest = member.get_ref();
                        self.member = None;
                    }
                    read => return Ok(read),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    const LIMITS: Limits = Limits { bytes_max: 4 << 30, ratio_max: 1100, whole_bytes_max: 64 << 20 };
    const STREAMED: Limits = Limits { whole_bytes_max: 0, ..LIMITS };

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(body: &[u8], limits: &Limits) -> Result<Vec<u8>, Damage> {
        let mut text = Vec::new();
        Inflater::default().read(body, limits, |chunk| {
            text.extend_from_slice(chunk);
            true
        })?;
        Ok(text)
    }

    #[test]
    fn equal_members_are_all_read() {
        let body = [gzip(b"same\n"), gzip(b"same\n"), gzip(b"same\n")].concat();
        for limits in [LIMITS, STREAMED] {
            assert_eq!(read(&body, &limits).unwrap(), b"same\nsame\nsame\n");
        }
    }

    #[test]
    fn padding_is_ignored_and_garbage_is_not() {
        for limits in [LIMITS, STREAMED] {
            assert_eq!(read(&[gzip(b"a\n"), vec![0; 512]].concat(), &limits).unwrap(), b"a\n");
            assert_eq!(read(&[gzip(b"a\n"), b"junk that is no gzip member".to_vec()].concat(), &limits), Err(Damage::Gzip));
        }
    }

    #[test]
    fn no_byte_of_a_damaged_body_is_handed_on() {
        let whole = gzip("some line of text\n".repeat(100_000).as_bytes());
        let truncated = whole[..whole.len() - 9].to_vec();
        let mut flipped = whole.clone();
        let at = flipped.len() - 6;
        flipped[at] ^= 1;
        for body in [truncated, flipped] {
            for limits in [LIMITS, STREAMED] {
                let taken = Inflater::default().read(&body, &limits, |_| panic!("text of a damaged body"));
                assert_eq!(taken, Err(Damage::Gzip));
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_by_size_and_by_ratio() {
        let body = gzip(&vec![b'a'; 10 << 20]);
        assert_eq!(read(&body, &Limits { bytes_max: 1 << 20, ..LIMITS }), Err(Damage::Limit));
        assert_eq!(read(&body, &Limits { ratio_max: 100, ..LIMITS }), Err(Damage::Limit));
        assert_eq!(read(&body, &LIMITS).unwrap().len(), 10 << 20);
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        assert_eq!(read(&gzip(&vec![b'a'; LINE_MAX + 2 * CHUNK]), &Limits { ratio_max: 5000, ..STREAMED }), Err(Damage::Line));
    }

    #[test]
    fn text_without_the_magic_is_read_as_text() {
        assert_eq!(read(b"version srcaddr\n", &LIMITS).unwrap(), b"version srcaddr\n");
        assert_eq!(read(b"", &LIMITS).unwrap(), b"");
    }

    #[test]
    fn streamed_chunks_end_with_lines() {
        let text = "a line of some length, again and again\n".repeat(100_000) + "the last has no end";
        let mut chunks = Vec::new();
        Inflater::default()
            .read(&gzip(text.as_bytes()), &STREAMED, |chunk| {
                chunks.push(chunk.to_vec());
                true
            })
            .unwrap();
        assert!(chunks.len() > 2);
        assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.ends_with(b"\n")));
        assert_eq!(chunks.concat(), text.as_bytes());
    }

    proptest! {
        #[test]
        fn any_members_read_back_in_both_ways(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5)) {
            let body: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            for limits in [LIMITS, STREAMED] {
                prop_assert_eq!(read(&body, &limits), Ok(parts.concat()));
            }
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let body = [&MAGIC[..], &body].concat();
            let _ = read(&body, &LIMITS);
            let _ = read(&body, &STREAMED);
        }
    }
}

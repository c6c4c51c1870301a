//! Validators: what a client holds is still right while the digests it was made from have no newer version.

use crate::catalog::{Manifest, State};
use axum::http::{HeaderMap, HeaderValue, header};
use ring::digest::{Context, SHA256};

/// Bytes of the checksum that an entity tag shows: a collision of 2^64 requests away.
pub const TAG_BYTES: usize = 16;

/// A strong entity tag and how long what it marks is fresh. Source: RFC 9110, section 8.8.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// The tag, in its quotes.
    pub tag: String,
    /// Whether every digest it was made from is final.
    is_final: bool,
}

impl Validator {
    /// The tag of what `parts` (all that decides the bytes) make of `digests`.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>, digests: &[&Manifest]) -> Validator {
        let mut context = Context::new(&SHA256);
        // Another release may write the same rows otherwise.
        for part in std::iter::once(env!("CARGO_PKG_VERSION")).chain(parts) {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        for digest in digests {
            for number in [digest.start.timestamp(), digest.stop.timestamp(), digest.version.cast_signed()] {
                context.update(&number.to_le_bytes());
            }
            // A window that was removed and built again has the same version with other files.
            for file in &digest.files {
                context.update(file.checksum.as_bytes());
            }
        }
        Validator { tag: quoted(context), is_final: digests.iter().all(|digest| digest.state == State::Final) }
    }

    /// The tag of an answer by its bytes, where the next question may find another one: it is never fresh.
    pub fn of(answer: &[u8]) -> Validator {
        let mut context = Context::new(&SHA256);
        context.update(answer);
        Validator { tag: quoted(context), is_final: false }
    }

    /// Whether the client holds what this tag marks, in any encoding.
    pub fn is_held(&self, headers: &HeaderMap) -> bool {
        let own = self.tag.trim_matches('"');
        headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
            value.split(',').map(str::trim).any(|tag| {
                let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
                tag == "*" || tag == own || tag.strip_prefix(own).is_some_and(|encoding| encoding.starts_with('-'))
            })
        })
    }

    /// The headers of an answer with this tag; `max_age` seconds of freshness if its digests are final.
    pub fn headers(&self, max_age: u64) -> [(header::HeaderName, HeaderValue); 3] {
        let cache = match self.is_final {
            true => format!("private, max-age={max_age}, must-revalidate"),
            false => "private, no-cache".to_owned(),
        };
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        [
            (header::ETAG, value(&self.tag)),
            (header::CACHE_CONTROL, value(&cache)),
            (header::VARY, HeaderValue::from_static("accept, accept-encoding, authorization")),
        ]
    }
}

/// The tag of what `context` has seen.
fn quoted(context: Context) -> String {
    let hex: String = context.finish().as_ref()[..TAG_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Marks the tag of an answer that was encoded on the way out: other bytes, another tag.
pub fn mark_encoding(headers: &mut HeaderMap) {
    let (Some(tag), Some(encoding)) = (headers.get(header::ETAG), headers.get(header::CONTENT_ENCODING)) else {
        return;
    };
    let (Ok(tag), Ok(encoding)) = (tag.to_str(), encoding.to_str()) else { return };
    if let Ok(marked) = HeaderValue::from_str(&format!("\"{}-{encoding}\"", tag.trim_matches('"'))) {
        headers.insert(header::ETAG, marked);
    }
}

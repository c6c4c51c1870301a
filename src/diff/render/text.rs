//! Text for people: hostile characters made visible, octets made short, links told in a few words.

use super::link::{Change, Link};
use crate::flow::protocol_name;
use std::borrow::Cow;
use std::fmt::Write;

/// Shows what could steer a terminal, a viewer or a reader's eye as `\u{...}`: control characters, line separators,
/// zero-width and bidirectional marks. Flow logs are written by strangers' packets and by third parties' tools.
///
/// ```
/// assert_eq!(flowdiff::diff::printable("a\u{1b}[2J\n"), r"a\u{1b}[2J\u{a}");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// Octets in decimal units with one digit after the point: `532 B`, `12.3 kB`.
pub(super) fn short_bytes(bytes: i64) -> String {
    if bytes.unsigned_abs() < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut units = ["kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut unit = "B";
    // 999.95 would be rounded to 1000.0.
    while value.abs() >= 999.95
        && let Some(next) = units.next()
    {
        value /= 1_000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// An edge in a few words: `tcp/443 12.3 kB`. What a server answers is `from tcp/443`; in a diff a sign comes first,
/// changed octets are given before and after, and blindness is said.
pub(super) fn label(link: &Link<'_>) -> String {
    let mut words: Vec<String> = Vec::new();
    match link.change {
        Some(Change::Added) => words.push("+".to_owned()),
        Some(Change::Removed) => words.push("-".to_owned()),
        Some(Change::Changed) | None => {}
    }
    words.extend(service(link));
    match (link.bytes, link.bytes_before) {
        (Some(after), Some(before)) if link.change == Some(Change::Changed) => {
            words.push(format!("{} -> {}", short_bytes(before), short_bytes(after)));
        }
        (Some(bytes), _) | (None, Some(bytes)) => words.push(short_bytes(bytes)),
        (None, None) => {}
    }
    if let Some(evidence) = link.evidence.filter(|evidence| evidence.starts_with("unobserved")) {
        words.push(format!("({})", printable(evidence).replace('_', " ")));
    }
    words.join(" ")
}

/// Protocol and port: `tcp/443`, `from udp/53`, `icmp`, `protocol 254`.
fn service(link: &Link<'_>) -> Option<String> {
    let protocol = link.protocol?;
    let mut service = match protocol_name(protocol) {
        Some(name) => name.to_owned(),
        None => format!("protocol {protocol}"),
    };
    let port = match (link.srcport.unwrap_or(0), link.dstport.unwrap_or(0)) {
        (0, 0) => return Some(service),
        (port, 0) => {
            service.insert_str(0, "from ");
            port.to_string()
        }
        (0, port) => port.to_string(),
        (source, destination) => format!("{source}-{destination}"),
    };
    write!(service, "/{port}").ok()?;
    Some(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short_and_never_a_thousand_of_a_unit() {
        let cases = [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (12_345, "12.3 kB"), (999_949, "999.9 kB")];
        for (bytes, text) in cases.into_iter().chain([(999_950, "1.0 MB"), (i64::MAX, "9.2 EB")]) {
            assert_eq!(short_bytes(bytes), text);
        }
    }

    #[test]
    fn ordinary_text_is_untouched() {
        assert!(matches!(printable("2001:db8::1 \"ü\" \\"), Cow::Borrowed(_)));
        assert_eq!(printable("a\tb\u{202e}c\u{9b}"), r"a\u{9}b\u{202e}c\u{9b}");
    }
}

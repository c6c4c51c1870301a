//! Sizes and durations as people write them in settings. In: `"4GiB"`, `"30m"`. Out: bytes and time spans.

/// Sizes in settings: `"4GiB"`, `"512MB"`, or a number of bytes.
pub mod byte_size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const UNITS: [(&str, u64); 8] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];

    /// Reads a size, its unit in either case; `None` if it is none.
    pub fn parse(text: &str) -> Option<u64> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (text[..digits].parse::<u64>().ok()?, text[digits..].trim_start());
        if unit.is_empty() || unit.eq_ignore_ascii_case("B") {
            return Some(number);
        }
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.checked_mul(*factor)
    }

    /// Writes a size in the largest unit of 1024 that divides it.
    pub fn format(bytes: u64) -> String {
        let unit = UNITS[..4].iter().rev().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
        unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u64),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let bytes = match Size::deserialize(deserializer) {
            Ok(Size::Number(bytes)) => Some(bytes),
            Ok(Size::Text(text)) => parse(&text),
            Err(_) => None,
        };
        bytes.ok_or_else(|| D::Error::custom("expected a size such as \"512MiB\", \"4GiB\" or a number of bytes"))
    }
}

/// Durations in settings: `"30m"`, `"PT1H"`.
pub mod duration {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// The longest duration of any setting: instants so far off can still be reckoned with.
    pub const MAX: TimeDelta = TimeDelta::days(36_600);

    /// Writes a duration in the largest unit that divides it.
    pub fn format(duration: &TimeDelta) -> String {
        let seconds = duration.num_seconds();
        [(86_400, "d"), (3_600, "h"), (60, "m")]
            .iter()
            .find(|(unit, _)| seconds % unit == 0)
            .map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
    }

    pub(crate) fn serialize<S: Serializer>(duration: &TimeDelta, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeDelta, D::Error> {
        let expected = || D::Error::custom("expected a duration such as \"30m\", \"1h\" or \"PT1H\"");
        let text = String::deserialize(deserializer).map_err(|_| expected())?;
        let duration = crate::window::parse_duration(&text).map_err(|_| expected())?;
        match duration <= MAX {
            true => Ok(duration),
            false => Err(D::Error::custom(format!("a duration is {} at the most", format(&MAX)))),
        }
    }
}

/// Durations in settings that may be absent.
pub mod optional_duration {
    use chrono::TimeDelta;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Option<TimeDelta>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeDelta>, D::Error> {
        super::duration::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::byte_size;

    #[test]
    fn sizes_read_back_as_they_are_written() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 30) + 1, 4 << 30] {
            assert_eq!(byte_size::parse(&byte_size::format(bytes)), Some(bytes));
        }
    }

    #[test]
    fn units_are_read_in_either_case_and_anything_else_is_refused() {
        for (text, bytes) in [("512MB", 512_000_000), ("4gib", 4 << 30), ("2 TB", 2_000_000_000_000), ("7", 7)] {
            assert_eq!(byte_size::parse(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "1.5GiB", "-1", "4 gigs", "99999999TiB", "é"] {
            assert_eq!(byte_size::parse(text), None, "{text}");
        }
    }
}

//! A parameter of a query file. In: what the user typed. Out: a value of the declared type.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::session::parse_cidr;
use crate::session::planning::timestamp_value;
use crate::window::parse_time;
use datafusion::common::ScalarValue;
use std::fmt;

/// A parameter of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name, without `$`.
    pub name: String,
    /// What it takes.
    pub param_type: ParamType,
    /// Text used where none is given; without it the parameter must be given.
    pub default: Option<String>,
    /// What it means, as the header says; may be empty.
    pub doc: String,
}

/// What a parameter takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// An instant in any form of [`crate::window::parse_time`].
    Timestamp,
    /// A number from 0 to 2^63-1.
    Count,
    /// Any text.
    Text,
    /// A network, `10.0.0.0/8`.
    Cidr,
    /// A port, 0 to 65535.
    Port,
    /// A finite number.
    Float,
    /// One of these texts, declared as `a|b`.
    Choice(Vec<String>),
}

impl ParamType {
    /// Reads the word of a header; `None` if it is no type.
    pub(super) fn parse(word: &str) -> Option<ParamType> {
        Some(match word {
            "timestamp" => ParamType::Timestamp,
            "count" => ParamType::Count,
            "text" => ParamType::Text,
            "cidr" => ParamType::Cidr,
            "port" => ParamType::Port,
            "float" => ParamType::Float,
            choice if choice.contains('|') => ParamType::Choice(choice.split('|').map(str::to_owned).collect()),
            _ => return None,
        })
    }
}

impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamType::Timestamp => f.write_str("timestamp"),
            ParamType::Count => f.write_str("count"),
            ParamType::Text => f.write_str("text"),
            ParamType::Cidr => f.write_str("cidr"),
            ParamType::Port => f.write_str("port"),
            ParamType::Float => f.write_str("float"),
            ParamType::Choice(choices) => f.write_str(&choices.join("|")),
        }
    }
}

impl fmt::Display for Param {
    /// Writes `limit (count, default 20)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.param_type)?;
        match &self.default {
            Some(default) => write!(f, ", default {default})"),
            None => f.write_str(")"),
        }
    }
}

impl Param {
    /// Reads `text` as the declared type.
    ///
    /// # Errors
    /// `Invalid`, quoting the text.
    pub(super) fn value(&self, text: &str, now: Timestamp) -> Result<ScalarValue> {
        let value = match &self.param_type {
            ParamType::Timestamp => Some(timestamp_value(parse_time(text, now)?)),
            ParamType::Count => {
                text.parse().ok().filter(|count| *count >= 0).map(|count| ScalarValue::Int64(Some(count)))
            }
            ParamType::Text => Some(text_value(text)),
            ParamType::Cidr => parse_cidr(text).map(|_| Some(text_value(text)))?,
            ParamType::Port => text.parse().ok().map(|port| ScalarValue::UInt16(Some(port))),
            ParamType::Float => {
                text.parse().ok().filter(|number: &f64| number.is_finite()).map(|n| ScalarValue::Float64(Some(n)))
            }
            ParamType::Choice(choices) => choices.iter().any(|choice| choice == text).then(|| text_value(text)),
        };
        value.ok_or_else(|| Error::invalid(format!("{text:?} is not of type {}", self.param_type)))
    }
}

fn text_value(text: &str) -> ScalarValue {
    ScalarValue::Utf8View(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(word: &str, text: &str) -> Result<ScalarValue> {
        let now = "2026-11-21T09:30:00Z".parse().unwrap();
        let param_type = ParamType::parse(word).unwrap();
        Param { name: "p".into(), param_type, default: None, doc: String::new() }.value(text, now)
    }

    #[test]
    fn each_type_reads_its_own_texts() {
        let hour_ago = 1_795_249_800;
        assert_eq!(
            value("timestamp", "-1h").unwrap(),
            ScalarValue::TimestampSecond(Some(hour_ago), Some("UTC".into()))
        );
        assert_eq!(value("count", "20").unwrap(), ScalarValue::Int64(Some(20)));
        assert_eq!(value("port", "65535").unwrap(), ScalarValue::UInt16(Some(65535)));
        assert_eq!(value("float", "1.5").unwrap(), ScalarValue::Float64(Some(1.5)));
        assert_eq!(value("cidr", "10.0.0.0/8").unwrap(), text_value("10.0.0.0/8"));
        assert_eq!(value("text", "'; DROP").unwrap(), text_value("'; DROP"));
        assert_eq!(value("service|lower", "lower").unwrap(), text_value("lower"));
    }

    #[test]
    fn what_a_type_does_not_take_is_quoted() {
        for (word, text) in [
            ("timestamp", "noon"),
            ("count", "-1"),
            ("count", "9223372036854775808"),
            ("port", "65536"),
            ("float", "inf"),
            ("cidr", "10.0.0.0"),
            ("service|lower", "larger"),
        ] {
            let error = value(word, text).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert_eq!(ParamType::parse("integer"), None);
    }
}

//! Messages for Alertmanager's API (`POST /api/v2/alerts`): one alert for each id. In: a message. Out: JSON.
//!
//! Labels tell alerts apart, so they are those of the id alone and stay through all of its revisions; annotations are taken
//! from the last one. An alert ends by itself a day after it was told, and at once when it is retracted. Source:
//! "Alerts API", Prometheus documentation.

use super::message::{Message, MessageState};
use super::slack::line;
use crate::error::Result;
use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};

/// How long an alert lasts unless it is amended or retracted.
const LASTS: TimeDelta = TimeDelta::days(1);
/// Rows that anybody reads in an alert.
const ROWS_MAX: usize = 20;

/// The body of the request.
pub(super) fn body(message: &Message) -> Result<Value> {
    let ends = match message.state {
        MessageState::Retracted => message.made,
        MessageState::First | MessageState::Amended => message.made + LASTS,
    };
    let time = |time: crate::clock::Timestamp| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let shown = message.rows.len().min(ROWS_MAX);
    let mut rows: Vec<String> = message.rows.iter().take(shown).map(line).collect();
    let left_out = message.counts.total() - shown as u64;
    if left_out > 0 {
        let (command, what) = message.command()?;
        rows.push(format!("{left_out} more: {command}{what}"));
    }
    Ok(json!([{
        "labels": {
            "alertname": "FlowdiffChange",
            "report": message.report,
            "id": message.id,
            "window": message.after.window()?.to_string(),
            "compared_with": message.before.window()?.to_string(),
        },
        "annotations": {
            "summary": format!("{} ({})", message.summary(), message.state.name()),
            "description": rows.join("\n"),
            "revision": message.revision.to_string(),
        },
        "startsAt": time(message.after.stop.min(ends)),
        "endsAt": time(ends),
    }]))
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::{message, pretty, retracted};
    use super::super::options::Body;
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn an_alert() {
        insta::assert_snapshot!(pretty(&message(), Body::Alertmanager));
        insta::assert_snapshot!(pretty(&retracted(), Body::Alertmanager));
    }

    /// The schema of postable alerts in Alertmanager's openapi.yaml, and its own checks of them: names of labels, texts
    /// for values, an end that does not lie before the start.
    #[test]
    fn alerts_are_as_alertmanager_takes_them() {
        for message in [message(), retracted()] {
            let body = body(&message).unwrap();
            for alert in body.as_array().unwrap() {
                for set in ["labels", "annotations"] {
                    for (name, value) in alert[set].as_object().unwrap() {
                        let mut characters = name.chars();
                        let first = characters.next().unwrap();
                        assert!(first.is_ascii_alphabetic() || first == '_', "{name}");
                        assert!(characters.all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
                        assert!(value.is_string(), "{name}");
                    }
                }
                assert!(!alert["labels"]["alertname"].as_str().unwrap().is_empty());
                let time = |name: &str| alert[name].as_str().unwrap().parse::<Timestamp>().unwrap();
                assert!(time("startsAt") <= time("endsAt"));
            }
        }
    }

    #[test]
    fn a_retraction_ends_the_alert_that_was_told() {
        let (told, back) = (body(&message()).unwrap(), body(&retracted()).unwrap());
        assert_eq!(told[0]["labels"], back[0]["labels"]);
        assert_eq!(back[0]["endsAt"], "2026-11-20T14:31:00Z");
        assert_eq!(told[0]["endsAt"], "2026-11-21T14:31:00Z");
    }
}

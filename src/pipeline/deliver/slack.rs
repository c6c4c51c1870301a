//! Messages for an incoming webhook of Slack: a text for notifications, and blocks. In: a message. Out: JSON.
//!
//! Slack's limits: a header has 150 characters, the text of a section 3000, a message 50 blocks. Source: "Block Kit
//! reference" and "Sending messages using incoming webhooks", Slack API documentation.

use super::message::{Message, MessageState};
use super::row::Row;
use crate::diff::printable;
use crate::error::Result;
use crate::flow::protocol_name;
use serde_json::{Value, json};

const HEADER_CHARS: usize = 150;
/// Of a section's 3000, what rows may take; the rest is for the fence around them.
const ROWS_CHARS: usize = 2900;
/// Rows that anybody reads in a chat.
const ROWS_MAX: usize = 20;

/// The body of the request.
pub(super) fn body(message: &Message) -> Result<Value> {
    let summary = match message.state {
        MessageState::First => message.summary(),
        MessageState::Amended => format!("amended: {}", message.summary()),
        MessageState::Retracted => "retracted: nothing of what was told before is left".to_owned(),
    };
    let title: String = format!("flowdiff {}: {summary}", message.report).chars().take(HEADER_CHARS).collect();
    let windows = format!("`{}` after `{}`", message.after.window()?, message.before.window()?);
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": title}}),
        json!({"type": "section", "text": {"type": "mrkdwn", "text": windows}}),
    ];
    let (lines, shown) = lines(message);
    if shown > 0 {
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": format!("```\n{lines}```")}}));
    }
    let left_out = message.counts.total() - shown;
    if left_out > 0 {
        let (command, what) = message.command()?;
        let text = format!("{left_out} more: `{command}`{what}");
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}));
    }
    let context = format!("{} revision {}", message.id, message.revision);
    blocks.push(json!({"type": "context", "elements": [{"type": "plain_text", "text": context}]}));
    Ok(json!({"text": title, "blocks": blocks}))
}

/// As many rows as a section holds, a line each.
fn lines(message: &Message) -> (String, u64) {
    let (mut text, mut shown) = (String::new(), 0);
    for row in message.rows.iter().take(ROWS_MAX) {
        let line = escaped(&line(row));
        // What Slack counts are characters; bytes are no fewer.
        if text.len() + line.len() >= ROWS_CHARS {
            break;
        }
        text += &line;
        text.push('\n');
        shown += 1;
    }
    (text, shown)
}

/// A row in a line: `+ 10.1.2.3 -> 198.51.100.7:443 tcp ACCEPT 1200 B eni-0a`.
pub(super) fn line(row: &Row<String>) -> String {
    let sign = match row.change.as_str() {
        "added" => "+",
        "removed" => "-",
        _ => "~",
    };
    let port = |port: Option<u16>| port.filter(|port| *port != 0).map_or(String::new(), |port| format!(":{port}"));
    let mut words = vec![sign.to_owned()];
    if let (Some(source), Some(destination)) = (&row.srcaddr, &row.dstaddr) {
        words.push(format!("{source}{} -> {destination}{}", port(row.srcport), port(row.dstport)));
    }
    words.extend(row.protocol.map(|number| protocol_name(number).map_or(number.to_string(), str::to_owned)));
    words.extend(row.action.clone());
    words.push(match row.bytes_before.filter(|_| row.change == "changed") {
        Some(before) => format!("{before} -> {} B", row.bytes),
        None => format!("{} B", row.bytes),
    });
    words.extend(row.interface_id.clone());
    if row.is_unobserved() {
        words.push(format!("({})", row.evidence));
    }
    printable(&words.join(" ")).into_owned()
}

/// Text that can neither mention anybody nor end the fence that it stands in.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('`', "'")
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::{message, pretty, retracted};
    use super::super::options::Body;
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn a_message_for_slack() {
        insta::assert_snapshot!(pretty(&message(), Body::Slack));
        insta::assert_snapshot!(pretty(&retracted(), Body::Slack));
    }

    /// Block Kit, as far as we use it: what a block must have, and how long it may be.
    fn check(body: &Value) {
        let text = |value: &Value, limit: usize| {
            let text = value["text"].as_str().unwrap();
            assert!(!text.is_empty() && text.chars().count() <= limit, "{} characters", text.chars().count());
            text.to_owned()
        };
        assert!(body["text"].is_string());
        let blocks = body["blocks"].as_array().unwrap();
        assert!((1..=50).contains(&blocks.len()));
        for block in blocks {
            match block["type"].as_str().unwrap() {
                "header" => {
                    assert_eq!(block["text"]["type"], "plain_text");
                    text(&block["text"], 150);
                }
                "section" => {
                    assert_eq!(block["text"]["type"], "mrkdwn");
                    let text = text(&block["text"], 3000);
                    assert!(!text.contains("<!"), "{text}");
                    assert!(matches!(text.matches("```").count(), 0 | 2), "{text}");
                }
                "context" => {
                    let elements = block["elements"].as_array().unwrap();
                    assert!((1..=10).contains(&elements.len()));
                    assert!(elements.iter().all(|element| element["type"] == "plain_text"));
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn long_and_hostile_rows_stay_within_the_limits_and_what_is_left_out_is_counted() {
        let mut message = message();
        check(&body(&message).unwrap());
        let long = "<!channel>`&".repeat(40);
        message.report = "x".repeat(64);
        message.rows = vec![Row { action: Some(long.as_str()), ..row() }.to_owned(); 100];
        message.counts.added = 1_000;
        let body = body(&message).unwrap();
        check(&body);
        let (_, shown) = lines(&message);
        assert!(shown > 0 && shown < 20, "{shown}");
        let told = format!("{} more: ", message.counts.total() - shown);
        assert!(body.to_string().contains(&told), "{body}");
    }
}

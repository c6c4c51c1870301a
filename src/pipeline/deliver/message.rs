//! A message: what is told of one comparison, and its bodies. In: what was found. Out: JSON in the shape that a receiver
//! takes. `docs/deliveries.md` holds the shapes for readers.

use super::destination::Envelope;
use super::found::{Counts, Found};
use super::options::{Body, Compare, Report};
use super::record::{Attempt, Record};
use super::row::Row;
use super::{alertmanager, slack};
use crate::catalog::{Manifest, State};
use crate::clock::Timestamp;
use crate::diff::Grain;
use crate::error::Result;
use crate::window::Window;
use serde::Serialize;
use uuid::Uuid;

/// Version of the shape of a message.
pub(super) const FORMAT_VERSION: u32 = 1;

/// What is told of one comparison.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Message {
    format_version: u32,
    /// The same for every message of one report on the same two windows: a receiver keeps the highest revision of each.
    pub(super) id: Uuid,
    pub(super) revision: u64,
    pub(super) state: MessageState,
    pub(super) report: String,
    pub(super) compare: Compare,
    pub(super) by: Grain,
    pub(super) before: Side,
    pub(super) after: Side,
    /// When it was made; of one that is sent again later, when that was.
    pub(super) made: Timestamp,
    pub(super) counts: Counts,
    pub(super) rows: Vec<Row<String>>,
    pub(super) rows_left_out: u64,
    /// How the whole of it is had.
    #[serde(skip)]
    pub(super) more: More,
}

/// How the whole of what a message tells is had.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct More {
    min_bytes: Option<u64>,
    ratio: Option<f64>,
    /// Whether the report leaves out rows that the command shows.
    is_filtered: bool,
}

impl More {
    fn of(report: &Report) -> More {
        let Report { min_bytes, ratio, changes, unobserved, cidrs, ports, ignore, .. } = report;
        let is_narrow = !changes.is_empty() || !cidrs.is_empty() || !ports.is_empty() || !ignore.is_empty();
        More { min_bytes: *min_bytes, ratio: *ratio, is_filtered: is_narrow || !unobserved || min_bytes.is_some() }
    }
}

/// What a message is to those before it with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MessageState {
    /// There is none before it.
    First,
    /// It takes their place.
    Amended,
    /// It takes them back: nothing of what they told is left.
    Retracted,
}

impl MessageState {
    pub(super) fn name(self) -> &'static str {
        match self {
            MessageState::First => "first",
            MessageState::Amended => "amended",
            MessageState::Retracted => "retracted",
        }
    }
}

/// One of the windows that were compared.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Side {
    pub(super) start: Timestamp,
    pub(super) stop: Timestamp,
    pub(super) version: u64,
    pub(super) state: State,
}

impl Side {
    fn of(manifest: &Manifest) -> Side {
        Side { start: manifest.start, stop: manifest.stop, version: manifest.version, state: manifest.state }
    }

    /// The window as people write it.
    pub(super) fn window(&self) -> Result<Window> {
        Window::new(self.start, self.stop)
    }
}

impl Message {
    /// The message of an attempt.
    pub(super) fn new(
        (record, attempt): (&Record, &Attempt),
        report: &Report,
        (before, after): (&Manifest, &Manifest),
        found: Found,
        made: Timestamp,
    ) -> Message {
        let state = match (attempt.revision, found.counts.total()) {
            (1, _) => MessageState::First,
            (_, 0) => MessageState::Retracted,
            _ => MessageState::Amended,
        };
        Message {
            format_version: FORMAT_VERSION,
            id: record.id(),
            revision: attempt.revision,
            state,
            report: report.name.clone(),
            compare: report.compare,
            by: report.by,
            before: Side::of(before),
            after: Side::of(after),
            made,
            counts: found.counts,
            rows_left_out: found.left_out(),
            rows: found.rows,
            more: More::of(report),
        }
    }

    /// The same message, made at another time.
    pub(super) fn made_at(&self, made: Timestamp) -> Message {
        Message { made, ..self.clone() }
    }

    /// The message in the shape of a receiver.
    ///
    /// # Errors
    /// None that is known: every part of it can be written as JSON.
    fn to_body(&self, body: Body) -> Result<Vec<u8>> {
        let json = match body {
            Body::Flowdiff => serde_json::to_vec(self),
            Body::Slack => serde_json::to_vec(&slack::body(self)?),
            Body::Alertmanager => serde_json::to_vec(&alertmanager::body(self)?),
            Body::Event => serde_json::to_vec(&Event::of(self)),
        };
        Ok(json?)
    }

    /// The message as it is sent.
    ///
    /// # Errors
    /// As [`Message::to_body`].
    pub(super) fn envelope(&self, body: Body) -> Result<Envelope> {
        Ok(Envelope { id: self.id, revision: self.revision, body: self.to_body(body)? })
    }

    /// How the whole of it is had: a command, and what is to be said of what it shows.
    pub(super) fn command(&self) -> Result<(String, &'static str)> {
        let grain = serde_json::to_value(self.by)?;
        let grain = grain.as_str().unwrap_or_default();
        let mut command = format!("flowdiff diff {} {} --by {grain}", self.before.window()?, self.after.window()?);
        let More { min_bytes, ratio, is_filtered } = self.more;
        command += &min_bytes.map(|bytes| format!(" --min-bytes {bytes}")).unwrap_or_default();
        command += &ratio.map(|ratio| format!(" --ratio {ratio}")).unwrap_or_default();
        Ok((command, if is_filtered { " (before the filters of this report)" } else { "" }))
    }

    /// What changed in a few words: `3 added, 1 removed`.
    pub(super) fn summary(&self) -> String {
        let Counts { added, removed, changed } = self.counts;
        let parts = [(added, "added"), (removed, "removed"), (changed, "changed")];
        let parts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
        match parts.is_empty() {
            true => "nothing differs".to_owned(),
            false => parts.join(", "),
        }
    }
}

/// What the earlier services put on their bus.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    id: Uuid,
    previous_start: Timestamp,
    previous_stop: Timestamp,
    next_start: Timestamp,
    next_stop: Timestamp,
}

impl Event {
    fn of(message: &Message) -> Event {
        let Message { id, before, after, .. } = message;
        Event {
            id: *id,
            previous_start: before.start,
            previous_stop: before.stop,
            next_start: after.start,
            next_stop: after.stop,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::row::tests::row;
    use super::*;

    fn side(hour: u32) -> Side {
        let time = |hour: u32| format!("2026-11-20T{hour:02}:00:00Z").parse().unwrap();
        Side { start: time(hour), stop: time(hour + 1), version: 1, state: State::Final }
    }

    /// Three of five rows, with what strangers may write into a flow log.
    pub(in super::super) fn message() -> Message {
        let hostile = "ACCEPT\"</b> <!channel> ```\u{1b}[2J & *x*";
        let rows = [
            row().to_owned(),
            Row {
                change: "removed",
                evidence: "gone",
                dstport: Some(22),
                bytes: 900,
                bytes_before: Some(900),
                ..row()
            }
            .to_owned(),
            Row {
                change: "changed",
                evidence: "volume",
                srcaddr: Some("2001:db8::1"),
                protocol: Some(17),
                action: Some(hostile),
                bytes: 10_000,
                bytes_before: Some(2_000),
                ..row()
            }
            .to_owned(),
        ];
        Message {
            format_version: FORMAT_VERSION,
            id: Uuid::from_u128(0x0123_4567_89ab_5def_8123_4567_89ab_cdef),
            revision: 1,
            state: MessageState::First,
            report: "security".to_owned(),
            compare: Compare::Previous,
            by: Grain::Edge,
            before: side(12),
            after: side(13),
            made: "2026-11-20T14:31:00Z".parse().unwrap(),
            counts: Counts { added: 2, removed: 1, changed: 2 },
            rows: rows.to_vec(),
            rows_left_out: 2,
            more: More { min_bytes: Some(1_000), ratio: None, is_filtered: true },
        }
    }

    pub(in super::super) fn retracted() -> Message {
        let (counts, rows) = (Counts::default(), Vec::new());
        Message { revision: 3, state: MessageState::Retracted, counts, rows, rows_left_out: 0, ..message() }
    }

    pub(in super::super) fn pretty(message: &Message, body: Body) -> String {
        let body: serde_json::Value = serde_json::from_slice(&message.envelope(body).unwrap().body).unwrap();
        serde_json::to_string_pretty(&body).unwrap()
    }

    #[test]
    fn our_own_shape_tells_everything() {
        insta::assert_snapshot!(pretty(&message(), Body::Flowdiff));
        insta::assert_snapshot!(pretty(&retracted(), Body::Flowdiff));
    }

    #[test]
    fn the_event_is_that_of_the_earlier_services() {
        insta::assert_snapshot!(pretty(&message(), Body::Event));
    }
}

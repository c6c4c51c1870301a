//! What a notification says, in each of the shapes that S3's come in. In: the text of a message. Out: the objects that
//! were created, as text tells it. Knows neither queues nor which objects are wanted.
//!
//! ```text
//! direct       {"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name"},"object":{"key","size","eTag"}}}]}
//! through SNS  {"Type":"Notification","Message":"<any of these, as text>"}, or just its message where delivery is raw
//! EventBridge  {"detail-type":"Object Created","detail":{"bucket":{"name"},"object":{"key","size","etag"}}}
//! a test       {"Event":"s3:TestEvent","Bucket":"..."}, sent once when a bucket's notifications are configured
//! ```
//! Keys of S3's own shape are URL-encoded as forms are (a space is `+`), those of EventBridge are as they are. Versions
//! of either shape only add fields, so what is not known is passed over. Sources: "Event message structure" and "EventBridge
//! event message structure", Amazon S3 User Guide.

use serde::Deserialize;

/// How deep messages are taken out of messages: one is what SNS does.
const DEPTH_MAX: usize = 3;

/// What one message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notice {
    /// Objects that were created.
    pub(super) created: Vec<Created>,
    /// Events that tell of something else: removals, tags, restorations, tests.
    pub(super) others: u64,
}

/// An object that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Created {
    pub(super) bucket: String,
    /// Its key, decoded.
    pub(super) key: String,
    /// Bytes.
    pub(super) size: u64,
    /// Its tag as S3 writes it in headers and listings, in quotes.
    pub(super) etag: Option<String>,
}

/// Everything that a body of any shape may hold.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "Event")]
    event: Option<String>,
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Message")]
    message: Option<String>,
    #[serde(rename = "detail-type")]
    detail_kind: Option<String>,
    detail: Option<Entity>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventName")]
    name: String,
    s3: Option<Entity>,
}

#[derive(Deserialize)]
struct Entity {
    bucket: Option<Bucket>,
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    size: Option<u64>,
    #[serde(alias = "eTag")]
    etag: Option<String>,
}

/// Reads a message.
///
/// # Errors
/// Why it is no notification of S3's, in words.
pub(super) fn parse(body: &str) -> Result<Notice, String> {
    parse_at(body, 0)
}

fn parse_at(body: &str, depth: usize) -> Result<Notice, String> {
    let body: Body = serde_json::from_str(body).map_err(|error| format!("it is no notification: {error}"))?;
    if let Some(records) = body.records {
        let mut notice = Notice::default();
        for record in records {
            let name = record.name.strip_prefix("s3:").unwrap_or(&record.name);
            match name.starts_with("ObjectCreated:") {
                true => notice.created.push(created(record.s3, decode_key)?),
                false => notice.others += 1,
            }
        }
        return Ok(notice);
    }
    if let Some(kind) = body.detail_kind {
        return match kind.as_str() {
            "Object Created" => {
                Ok(Notice { created: vec![created(body.detail, |key| Ok(key.to_owned()))?], others: 0 })
            }
            _ => Ok(Notice { created: Vec::new(), others: 1 }),
        };
    }
    match (body.event.as_deref(), body.kind.as_deref(), body.message) {
        (Some("s3:TestEvent"), ..) => Ok(Notice { created: Vec::new(), others: 1 }),
        (_, Some("Notification"), Some(message)) if depth < DEPTH_MAX => parse_at(&message, depth + 1),
        _ => Err("it has none of the shapes of S3's notifications".to_owned()),
    }
}

fn created(entity: Option<Entity>, decode: fn(&str) -> Result<String, String>) -> Result<Created, String> {
    let missing = |what: &str| format!("the event has no {what}");
    let entity = entity.ok_or_else(|| missing("object"))?;
    let bucket = entity.bucket.ok_or_else(|| missing("bucket"))?.name;
    let object = entity.object.ok_or_else(|| missing("object"))?;
    let size = object.size.ok_or_else(|| missing("size"))?;
    let etag = object.etag.map(|etag| format!("\"{}\"", etag.trim_matches('"')));
    Ok(Created { bucket, key: decode(&object.key)?, size, etag })
}

/// Decodes a key as S3 encodes it in notifications.
pub(super) fn decode_key(text: &str) -> Result<String, String> {
    let wrong = || format!("the key {text:?} is not URL-encoded");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                let (high, low) = (digit(), digit());
                let number = high.zip(low).map(|(high, low)| high * 16 + low).ok_or_else(wrong)?;
                u8::try_from(number).map_err(|_| wrong())?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/20/\
                       123456789012_vpcflowlogs_eu-west-1_fl-0123456789abcdef0_20261120T1205Z_0a1b2c3d.log.gz";
    const ETAG: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";

    fn created_as(bucket: &str, key: &str) -> Created {
        Created { bucket: bucket.to_owned(), key: key.to_owned(), size: 1024, etag: Some(ETAG.to_owned()) }
    }

    fn fixture(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/notifications");
        std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
    }

    #[test]
    fn each_shape_tells_the_same_object() {
        for name in ["direct.json", "direct_versioned.json", "sns.json", "sns_eventbridge.json", "eventbridge.json"] {
            let notice = parse(&fixture(name)).unwrap();
            assert_eq!(notice, Notice { created: vec![created_as("flow-logs", KEY)], others: 0 }, "{name}");
        }
    }

    #[test]
    fn keys_are_decoded_where_they_are_encoded_and_only_there() {
        let notice = parse(&fixture("direct_encoded.json")).unwrap();
        let keys: Vec<&str> = notice.created.iter().map(|created| created.key.as_str()).collect();
        assert_eq!(keys, ["archive 2026/100% sure+ä.log.gz", "archive 2026/plain.log.gz"]);
        let notice = parse(&fixture("eventbridge_plain_key.json")).unwrap();
        assert_eq!(notice.created[0].key, "archive+2026/100%25 sure.log.gz");
    }

    #[test]
    fn events_that_create_nothing_are_counted_and_no_objects() {
        for (name, others) in [
            ("test_event.json", 1),
            ("sns_test_event.json", 1),
            ("removed.json", 1),
            ("eventbridge_deleted.json", 1),
            ("empty_records.json", 0),
        ] {
            assert_eq!(parse(&fixture(name)).unwrap(), Notice { created: Vec::new(), others }, "{name}");
        }
        let mixed = parse(&fixture("mixed.json")).unwrap();
        assert_eq!((mixed.created.len(), mixed.others), (2, 1));
    }

    #[test]
    fn what_is_no_notification_is_refused_in_words() {
        for (body, word) in [
            ("", "no notification"),
            ("hello", "no notification"),
            ("[]", "no notification"),
            ("{}", "none of the shapes"),
            (r#"{"Type":"SubscriptionConfirmation","Message":"You have chosen"}"#, "none of the shapes"),
            (r#"{"Type":"Notification","Message":"hello"}"#, "no notification"),
            (r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#, "no object"),
            (r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"object":{"key":"a","size":1}}}]}"#, "no bucket"),
            (
                r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a"}}}]}"#,
                "no size",
            ),
            (
                r#"{"Records":[{"eventName":"ObjectCreated:Put",
                   "s3":{"bucket":{"name":"b"},"object":{"key":"a%zz","size":1}}}]}"#,
                "not URL-encoded",
            ),
        ] {
            let error = parse(body).unwrap_err();
            assert!(error.contains(word), "{body}: {error}");
        }
        let nested = (0..9).fold(fixture("direct.json"), |inner, _| {
            serde_json::json!({"Type": "Notification", "Message": inner}).to_string()
        });
        assert!(parse(&nested).is_err(), "messages are not unwrapped without end");
    }

    proptest! {
        #[test]
        fn a_key_decodes_to_what_was_encoded(key in "\\PC{0,60}") {
            // As AWS does it: forms' encoding, in which a slash stays.
            let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
            prop_assert_eq!(decode_key(&encoded), Ok(key.clone()));
            prop_assert_eq!(decode_key(&encoded.replace("%2F", "/")), Ok(key));
        }

        #[test]
        fn no_message_panics(body in "\\PC{0,80}", key in "[a-z0-9%+/]{0,20}") {
            let _ = parse(&body);
            let _ = decode_key(&key);
        }
    }
}

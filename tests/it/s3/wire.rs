//! What goes out on the wire because a setting asks for it: headers of each request.

use super::proxy::recorder;
use super::server::run;
use super::{BEFORE, Logs, emulator};
use flowdiff::aws::{Access, Bucket, Encryption};
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStoreExt};

/// Whether the head of a request has this header with this value.
fn has(head: &str, name: &str, value: &str) -> bool {
    head.lines().any(|line| line.split_once(": ").is_some_and(|(n, v)| n.eq_ignore_ascii_case(name) && v == value))
}

fn has_name(head: &str, name: &str) -> bool {
    head.lines().any(|line| line.to_ascii_lowercase().starts_with(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_agrees_to_pay_says_so_with_every_request() {
    let Some(logs) = Logs::put().await else { return };
    let (url, seen) = recorder(&logs.server.url);
    run(&mut logs.command(&["digest", BEFORE, "--requester-pays", "--endpoint-url", &url]), 0);
    let seen = seen.take();
    for method in ["GET ", "PUT ", "POST "] {
        assert!(seen.iter().any(|head| head.starts_with(method)), "{method}");
    }
    assert!(seen.iter().any(|head| head.contains("list-type=2")));
    for head in seen {
        assert!(has(&head, "x-amz-request-payer", "requester"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_nothing_sends_no_signature() {
    let Some(logs) = Logs::put().await else { return };
    let (url, seen) = recorder(&logs.server.url);
    let sql = ["sql", "SELECT count(*) FROM flows", "--no-sign-request", "--endpoint-url", &url];
    run(&mut logs.command(&sql), 0);
    let seen = seen.take();
    assert!(!seen.is_empty());
    for head in seen {
        assert!(!has_name(&head, "authorization"), "{head}");
    }
}

/// Also that a bucket with Object Lock takes what is written: it wants a checksum, and nothing is asked of its locks.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_encrypted_as_asked_in_one_request_and_in_parts() {
    let Some(aws) = emulator() else { return };
    let bucket = aws.bucket();
    const KIND: &str = "x-amz-server-side-encryption";
    const KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
    const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
    for (encryption, kms_key_id, bucket_key, expected) in [
        (Encryption::Bucket, None, None, &[][..]),
        (Encryption::S3, None, None, &[(KIND, "AES256")]),
        (Encryption::Kms, None, None, &[(KIND, "aws:kms")]),
        (
            Encryption::Kms,
            Some("arn:aws:kms:us-east-1:123456789012:key/k"),
            Some(true),
            &[(KIND, "aws:kms"), (KEY, "arn:aws:kms:us-east-1:123456789012:key/k"), (BUCKET_KEY, "true")],
        ),
    ] {
        let (url, seen) = recorder(&aws.url);
        let mut access = Access { encryption, kms_key_id: kms_key_id.map(str::to_owned), bucket_key, ..aws.access() };
        access.options.endpoint_url = Some(url);
        let store = Bucket::new(bucket.name(), access);
        store.put(&Key::from("whole"), "whole".into()).await.unwrap();
        let mut upload = store.put_multipart(&Key::from("parts")).await.unwrap();
        upload.put_part("part".into()).await.unwrap();
        upload.complete().await.unwrap();
        store.get(&Key::from("parts")).await.unwrap().bytes().await.unwrap();
        let seen = seen.take();
        let find = |start: &str, part: &str| {
            let found = seen.iter().find(|head| head.starts_with(start) && head.contains(part));
            found.unwrap_or_else(|| panic!("{start}{part}: {seen:?}"))
        };
        for head in [find("PUT ", "/whole "), find("POST ", "/parts?uploads")] {
            for name in [KIND, KEY, BUCKET_KEY] {
                let wanted = expected.iter().find(|(wanted, _)| *wanted == name);
                match wanted {
                    Some((_, value)) => assert!(has(head, name, value), "{name}: {head}"),
                    None => assert!(!has_name(head, &format!("{name}:")), "{name}: {head}"),
                }
            }
        }
        for head in [find("PUT ", "/whole "), find("PUT ", "/parts?partNumber=1")] {
            assert!(has_name(head, "x-amz-checksum-sha256: "), "{head}");
        }
        assert!(!has_name(find("GET ", "/parts "), KIND), "S3 refuses such a header of a GET");
        assert!(seen.iter().all(|head| !head.contains("x-amz-object-lock")), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_the_store_encrypt_digests_and_not_reading() {
    let Some(logs) = Logs::put().await else { return };
    let (url, seen) = recorder(&logs.server.url);
    let mut command = logs.command(&["digest", BEFORE, "--endpoint-url", &url]);
    run(command.env("FLOWDIFF__STORE__KMS_KEY_ID", "k").env("FLOWDIFF__STORE__BUCKET_KEY", "true"), 0);
    for head in seen.take() {
        let is_put = head.starts_with("PUT ");
        assert_eq!(has(&head, "x-amz-server-side-encryption", "aws:kms"), is_put, "{head}");
        assert_eq!(has(&head, "x-amz-server-side-encryption-bucket-key-enabled", "true"), is_put, "{head}");
    }
}

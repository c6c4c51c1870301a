//! The least policy that an identity needs: statements for the side that is read and the side that is written.

use super::options::Role;
use serde_json::{Value, json};

/// A bucket and a prefix in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix; empty for the whole bucket.
    pub prefix: String,
    /// Role by which it is reached.
    pub role: Option<Role>,
    /// Key of KMS that encrypts what is written there.
    pub kms_key: Option<String>,
    /// ARN of the queue that is notified of its objects.
    pub queue: Option<String>,
}

/// One policy for each identity: for each role its own, and one for the identity that flowdiff runs as. The last of
/// these also lets it take on the roles. `partition` is `aws`, `aws-cn` or `aws-us-gov`.
pub fn least_policy(partition: &str, read: Option<&Place>, write: Option<&Place>) -> Value {
    let sides =
        [read.map(|place| (place, reading(partition, place))), write.map(|place| (place, writing(partition, place)))];
    let mut policies = serde_json::Map::new();
    let mut own = Vec::new();
    for (place, statements) in sides.into_iter().flatten() {
        match &place.role {
            Some(role) => {
                own.push(json!({"Sid": format!("TakeOn{}", own.len()), "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role.arn}));
                let policy = policies.entry(role.arn.clone()).or_insert_with(|| policy(Vec::new()));
                if let Some(all) = policy["Statement"].as_array_mut() {
                    all.extend(statements);
                }
            }
            None => own.extend(statements),
        }
    }
    if policies.is_empty() {
        return policy(own);
    }
    if !own.is_empty() {
        policies.insert("flowdiff".to_owned(), policy(own));
    }
    Value::Object(policies)
}

fn policy(statements: Vec<Value>) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn reading(partition: &str, place: &Place) -> Vec<Value> {
    let mut statements =
        vec![list("ListLogs", partition, place), objects("ReadLogs", &["s3:GetObject"], partition, place, "")];
    statements.extend(key("DecryptLogs", &["kms:Decrypt"], place));
    statements.extend(place.queue.as_ref().map(|queue| {
        json!({
            "Sid": "TakeNotifications",
            "Effect": "Allow",
            "Action": [
                "sqs:ReceiveMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                // For `check`, which works without.
                "sqs:GetQueueAttributes",
            ],
            "Resource": queue,
        })
    }));
    statements
}

fn writing(partition: &str, place: &Place) -> Vec<Value> {
    let mut statements = vec![
        list("ListDigests", partition, place),
        objects(
            "ReadAndWriteDigests",
            &["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
            partition,
            place,
            "v1/",
        ),
        objects("DeleteProbes", &["s3:DeleteObject"], partition, place, "v1/.probe/"),
        // Entries of jobs that newer ones have followed.
        objects("DeleteJobs", &["s3:DeleteObject"], partition, place, "v1/jobs/"),
        // Likewise those of followers: who works, and what was handed on to be delivered.
        objects("DeleteFollowers", &["s3:DeleteObject"], partition, place, "v1/followers/"),
        objects("DeleteMessages", &["s3:DeleteObject"], partition, place, "v1/messages/"),
        objects("DeleteNotices", &["s3:DeleteObject"], partition, place, "v1/notices/"),
        objects("DeleteClosings", &["s3:DeleteObject"], partition, place, "v1/closings/"),
        // Superseded versions, and what `retain` lets go. Without it they stay, and a follower says so in its log.
        objects("DeleteDigests", &["s3:DeleteObject"], partition, place, "v1/digests/"),
    ];
    // S3 decrypts the parts of a large upload when it puts them together.
    statements.extend(key("EncryptDigests", &["kms:GenerateDataKey", "kms:Decrypt"], place));
    statements
}

fn list(sid: &str, partition: &str, place: &Place) -> Value {
    let mut statement = json!({
        "Sid": sid,
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": format!("arn:{partition}:s3:::{}", place.bucket),
    });
    if !place.prefix.is_empty() {
        statement["Condition"] = json!({"StringLike": {"s3:prefix": [format!("{}/*", place.prefix)]}});
    }
    statement
}

fn objects(sid: &str, actions: &[&str], partition: &str, place: &Place, below: &str) -> Value {
    let prefix = match place.prefix.as_str() {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    json!({
        "Sid": sid,
        "Effect": "Allow",
        "Action": actions,
        "Resource": format!("arn:{partition}:s3:::{}/{prefix}{below}*", place.bucket),
    })
}

fn key(sid: &str, actions: &[&str], place: &Place) -> Option<Value> {
    let key = place.kms_key.as_ref()?;
    Some(json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": key}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bucket: &str, prefix: &str) -> Place {
        Place { bucket: bucket.into(), prefix: prefix.into(), role: None, kms_key: None, queue: None }
    }

    #[test]
    fn one_identity_reads_the_logs_and_writes_below_the_format_version() {
        let write = Place { kms_key: Some("arn:aws:kms:us-east-1:1:key/k".into()), ..place("digests", "") };
        let policy = least_policy("aws", Some(&place("logs", "archive/flow")), Some(&write));
        insta::assert_snapshot!(serde_json::to_string_pretty(&policy).unwrap());
    }

    #[test]
    fn each_role_has_a_policy_of_its_own_and_may_be_taken_on() {
        let role = |name: &str| {
            let arn = format!("arn:aws:iam::123456789012:role/{name}");
            Some(Role { arn, external_id: None, session_name: "flowdiff".into() })
        };
        let queue = Some("arn:aws-us-gov:sqs:us-gov-west-1:1:q".to_owned());
        let read = Place { role: role("reader"), queue, ..place("logs", "") };
        let write = Place { role: role("writer"), ..place("digests", "a") };
        let policy = least_policy("aws-us-gov", Some(&read), Some(&write));
        let text = policy.to_string();
        assert_eq!(policy.as_object().unwrap().len(), 3, "{text}");
        let own = &policy["flowdiff"]["Statement"];
        assert_eq!(own.as_array().unwrap().len(), 2, "only to take the roles on: {own}");
        let reader = policy["arn:aws:iam::123456789012:role/reader"].to_string();
        assert!(reader.contains("s3:GetObject") && !reader.contains("s3:PutObject"), "{reader}");
        assert!(reader.contains("sqs:DeleteMessage") && !own.to_string().contains("sqs:"), "{text}");
        assert!(text.contains("arn:aws-us-gov:s3:::digests/a/v1/*"), "{text}");
    }
}

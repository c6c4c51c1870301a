//! What S3 refused, said so that it can be mended: which bucket and key, which permission, which setting.

use crate::error::{Error, ErrorKind};
use object_store::Error as StoreError;

/// What was being done, and to what.
#[derive(Clone, Debug)]
pub(super) struct Doing {
    pub(super) bucket: String,
    /// Key or prefix.
    pub(super) key: String,
    /// The permission that it takes.
    pub(super) permission: &'static str,
}

impl Doing {
    /// Puts the explanation in the place of the cause, where there is one. What callers tell apart by its variant (not
    /// found, exists already) stays as it is.
    pub(super) fn explain(&self, error: StoreError) -> StoreError {
        let text = format!("{error}");
        match self.explanation(&error, &text) {
            Some(explained) => StoreError::Generic { store: "S3", source: Box::new(explained.with_source(error)) },
            None => error,
        }
    }

    fn explanation(&self, error: &StoreError, text: &str) -> Option<Error> {
        let Doing { bucket, key, permission } = self;
        let code = |code: &str| text.contains(&format!("<Code>{code}</Code>"));
        let invalid = |message: String, hint: &str| Some(Error::invalid(message).with_hint(hint.to_owned()));
        match () {
            // The adapter of credentials has said it already.
            () if text.contains("no AWS credentials") => None,
            () if code("NoSuchBucket") => Some(
                Error::not_found(format!("bucket {bucket} does not exist"))
                    .with_hint("look at the name in the URL, and at the endpoint if you gave one"),
            ),
            () if code("RequestTimeTooSkewed") => invalid(
                format!(
                    "bucket {bucket}: the clock of this machine is wrong: S3 refuses what is signed 15 minutes off"
                ),
                "set the clock (NTP)",
            ),
            () if ["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"]
                .into_iter()
                .any(code)
                || text.contains("incorrectly configured region") =>
            {
                invalid(
                    format!("bucket {bucket} is in another region{}", region_in(text)),
                    "give --region, or no region at all: then S3 is asked where the bucket is",
                )
            }
            // Garage gives both the code of any refusal, and tells them apart in its message.
            () if code("InvalidAccessKeyId") || text.contains("No such key:") => invalid(
                format!("bucket {bucket}: AWS does not know the access key"),
                "look at the profile or at AWS_ACCESS_KEY_ID; temporary keys also need AWS_SESSION_TOKEN",
            ),
            () if code("SignatureDoesNotMatch") || text.contains("Invalid signature") => invalid(
                format!("bucket {bucket}: the secret key does not fit the access key"),
                "look at the profile or at AWS_SECRET_ACCESS_KEY",
            ),
            () if ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"].into_iter().any(code) => invalid(
                format!("bucket {bucket}: the session token has expired or does not fit the keys"),
                "sign in again (`aws sso login`), or renew AWS_SESSION_TOKEN",
            ),
            () if is_denied(error, text) => {
                let (permission, what) = match kms_permission(text) {
                    Some(permission) => (permission, format!("the KMS key of s3://{bucket}/{key}")),
                    None => (*permission, format!("s3://{bucket}/{key}")),
                };
                let said = message_in(text).map(|said| format!(" ({said})")).unwrap_or_default();
                invalid(
                    format!("access denied: {permission} on {what}{said}"),
                    "`flowdiff check` tells whom AWS takes you for, `flowdiff iam-policy` what that identity needs",
                )
            }
            () if code("SlowDown") => Some(
                Error::new(ErrorKind::Unavailable, format!("bucket {bucket} is throttled, also after retries"))
                    .with_hint(
                        "lower source.listing_concurrency or scan.prefetch_objects_max, or raise aws.retries_max",
                    ),
            ),
            () => None,
        }
    }
}

/// Of a LIST that is refused, the variant of the error does not tell.
fn is_denied(error: &StoreError, text: &str) -> bool {
    matches!(error, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. })
        || ["401", "403"].iter().any(|status| text.contains(&format!("status code: {status} ")))
}

fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

fn region_in(text: &str) -> String {
    let region =
        element(text, "Region").filter(|region| region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    region.map(|region| format!(": {region}")).unwrap_or_default()
}

/// S3's own words, which name the identity and the missing permission where it tells them.
fn message_in(text: &str) -> Option<&str> {
    element(text, "Message").filter(|message| !message.eq_ignore_ascii_case("access denied"))
}

fn kms_permission(text: &str) -> Option<&'static str> {
    ["kms:GenerateDataKey", "kms:Decrypt"].into_iter().find(|permission| text.contains(permission))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(status: StoreError) -> Error {
        let doing = Doing { bucket: "logs".into(), key: "AWSLogs/1".into(), permission: "s3:ListBucket" };
        Error::from(doing.explain(status))
    }

    fn generic(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.to_owned().into() }
    }

    fn denied(text: &str) -> StoreError {
        StoreError::PermissionDenied { path: "AWSLogs/1".into(), source: text.to_owned().into() }
    }

    #[test]
    fn each_refusal_names_the_bucket_and_what_to_do() {
        for (error, words) in [
            (generic("<Error><Code>NoSuchBucket</Code></Error>"), "bucket logs does not exist"),
            (denied("<Code>RequestTimeTooSkewed</Code>"), "clock"),
            (generic("<Code>PermanentRedirect</Code>"), "another region"),
            (generic("<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>"), "region: eu-west-1"),
            (denied("<Code>InvalidAccessKeyId</Code>"), "access key"),
            (denied("<Code>SignatureDoesNotMatch</Code>"), "secret key"),
            (denied("<Code>AccessDenied</Code><Message>Forbidden: No such key: GK1</Message>"), "access key"),
            (denied("<Code>AccessDenied</Code><Message>Forbidden: Invalid signature</Message>"), "secret key"),
            (generic("<Code>ExpiredToken</Code>"), "expired"),
            (denied("<Code>AccessDenied</Code>"), "s3:ListBucket on s3://logs/AWSLogs/1"),
            (generic("non-2xx status code: 403 Forbidden: "), "s3:ListBucket on s3://logs/AWSLogs/1"),
            (denied("not authorized to perform: kms:Decrypt on resource"), "kms:Decrypt on the KMS key"),
            (generic("<Code>SlowDown</Code>"), "throttled"),
        ] {
            let error = explained(error);
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn the_words_of_s3_are_repeated_where_they_name_the_identity() {
        let error = explained(denied("<Code>AccessDenied</Code><Message>User: arn:aws:iam::1:user/a is not</Message>"));
        assert!(error.to_string().contains("arn:aws:iam::1:user/a"), "{error}");
    }

    #[test]
    fn what_callers_tell_apart_stays_as_it_is() {
        let doing = Doing { bucket: "logs".into(), key: "a".into(), permission: "s3:PutObject" };
        let exists = StoreError::AlreadyExists { path: "a".into(), source: "412".into() };
        assert!(matches!(doing.explain(exists), StoreError::AlreadyExists { .. }));
        let missing = StoreError::NotFound { path: "a".into(), source: "<Code>NoSuchKey</Code>".into() };
        assert!(matches!(doing.explain(missing), StoreError::NotFound { .. }));
    }
}

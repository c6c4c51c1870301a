//! Credentials from everywhere that AWS tools take them, each shown by whom STS takes the command for.

use super::file;
use super::proxy::recorder;
use super::server::{Server, emulator, run};
use std::time::Instant;

const OBJECT: &str = "AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/20/\
                      123456789012_vpcflowlogs_us-east-1_fl-0123456789abcdef0_20261120T1205Z_0a1b2c3d.log.gz";

/// Runs `check` on a bucket with one object and this environment; the identity that it tells.
fn identity(aws: &Server, folder: &std::path::Path, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let bucket = aws.bucket();
    aws.put(&format!("{}/{OBJECT}", bucket.name()), b"version srcaddr\n");
    let mut command = aws.command(folder);
    command.envs(environment.iter().copied()).arg("check").args(arguments);
    let (checked, _) = run(command.args(["--source", &format!("s3://{}", bucket.name()), "--store", "digests"]), 0);
    checked.lines().find_map(|line| line.strip_prefix("ok      source identity: ")).unwrap().to_owned()
}

#[test]
fn every_source_of_credentials_is_found() {
    let Some(aws) = emulator() else { return };
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    file(folder, ".aws/credentials", "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = s\n");
    let process = r#"echo '{"Version":1,"AccessKeyId":"AKIAPROC","SecretAccessKey":"p","SessionToken":"t"}'"#;
    let process = file(folder, "process.sh", process);
    file(
        folder,
        ".aws/config",
        &format!(
            "[profile chained]\nrole_arn = arn:aws:iam::123456789012:role/chained\nsource_profile = base\n\
             [profile process]\ncredential_process = sh {process}\n\
             [profile sso]\nsso_start_url = https://sso.test/start\nsso_region = us-east-1\n\
             sso_account_id = 123456789012\nsso_role_name = reader\n"
        ),
    );
    // The name is the SHA-1 of the start URL.
    file(
        folder,
        ".aws/sso/cache/c2e09b4fac288e7a35fb1a0f7b55446a509137e5.json",
        r#"{"accessToken":"t","expiresAt":"2099-01-01T00:00:00Z","region":"us-east-1","startUrl":"https://sso.test/start"}"#,
    );
    let token = file(folder, "token", "a.b.c");
    let machine = aws.metadata_url.as_str();
    let container = format!("{machine}/container");
    let role = "arn:aws:iam::123456789012:role/logs";
    let keys = [("AWS_ACCESS_KEY_ID", "AKIABASE"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
    let user = "arn:aws:sts::123456789012:user/moto";
    let assumed = |name: &str| format!("arn:aws:sts::123456789012:assumed-role/{name}");
    for (what, environment, arguments, expected) in [
        ("keys of the environment", &keys[..], &[][..], user.to_owned()),
        ("a profile by name", &[], &["--profile", "base"], user.to_owned()),
        ("a profile of the environment", &[("AWS_PROFILE", "base")], &[], user.to_owned()),
        ("a profile with a role", &[], &["--profile", "chained"], assumed("chained/")),
        ("a profile by name before keys", &keys[..], &["--profile", "chained"], assumed("chained/")),
        ("a process", &[("AWS_PROFILE", "process")], &[], user.to_owned()),
        ("single sign-on", &[("AWS_ENDPOINT_URL_SSO", machine)], &["--profile", "sso"], user.to_owned()),
        (
            "a role for this bucket, from a profile",
            &[
                ("FLOWDIFF__SOURCE__ROLE", role),
                ("FLOWDIFF__SOURCE__ROLE_EXTERNAL_ID", "them"),
                ("FLOWDIFF__SOURCE__ROLE_SESSION_NAME", "nightly"),
            ],
            &["--profile", "chained"],
            assumed("logs/nightly"),
        ),
        (
            "the name of the earlier service",
            &[("VPC_FLOW_LOGS_BUCKET_ROLE", role), keys[0], keys[1]],
            &[],
            assumed("logs/"),
        ),
        (
            "web identity",
            &[("AWS_ROLE_ARN", role), ("AWS_WEB_IDENTITY_TOKEN_FILE", &token), ("AWS_ROLE_SESSION_NAME", "pod")],
            &[],
            assumed("logs/pod"),
        ),
        ("a container's role", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)], &[], user.to_owned()),
        (
            "an instance's role",
            &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine), ("AWS_EC2_METADATA_DISABLED", "false")],
            &[],
            user.to_owned(),
        ),
        ("no signature", &[], &["--no-sign-request"], "anonymous".to_owned()),
    ] {
        let told = identity(aws, folder, environment, arguments);
        assert!(told.starts_with(&expected), "{what}: {told}");
    }
}

/// The emulator takes any external id, so the request itself is looked at.
#[test]
fn each_side_takes_on_its_own_role_with_what_its_owner_wants_to_be_told() {
    let Some(aws) = emulator() else { return };
    let folder = tempfile::tempdir().unwrap();
    let bucket = aws.bucket();
    aws.put(&format!("{}/{OBJECT}", bucket.name()), b"version srcaddr\n");
    let (url, seen) = recorder(&aws.url);
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    let mut command = aws.command_with_keys(folder.path());
    command.args(["check", "--endpoint-url", &url]);
    for (name, value) in [
        ("AWS_ENDPOINT_URL", url.clone()),
        ("FLOWDIFF__SOURCE__URL", format!("s3://{}", bucket.name())),
        ("FLOWDIFF__SOURCE__ROLE", role("logs")),
        ("FLOWDIFF__SOURCE__ROLE_EXTERNAL_ID", "them".to_owned()),
        ("FLOWDIFF__SOURCE__ROLE_SESSION_NAME", "nightly".to_owned()),
        ("FLOWDIFF__STORE__URL", format!("s3://{}/digests", bucket.name())),
        ("FLOWDIFF__STORE__ROLE", role("digests")),
    ] {
        command.env(name, value);
    }
    let (checked, _) = run(&mut command, 0);
    for (side, session) in [("source", "logs/nightly"), ("store", "digests/flowdiff")] {
        let told = format!("{side} identity: arn:aws:sts::123456789012:assumed-role/{session}");
        assert!(checked.contains(&told), "{told}: {checked}");
    }
    let asked: Vec<String> = seen.take().into_iter().filter(|head| head.contains("Action=AssumeRole")).collect();
    let of = |role: &str| asked.iter().find(|head| head.contains(&format!("role%2F{role}"))).unwrap();
    assert!(of("logs").contains("ExternalId=them") && of("logs").contains("RoleSessionName=nightly"), "{asked:?}");
    assert!(!of("digests").contains("ExternalId"), "{asked:?}");
}

/// Without a metadata service that answers, as on a laptop.
#[test]
fn without_credentials_what_was_asked_is_told_soon() {
    let Some(aws) = emulator() else { return };
    let folder = tempfile::tempdir().unwrap();
    for endpoint in ["http://192.0.2.1", "http://127.0.0.1:9"] {
        let mut command = aws.command(folder.path());
        command.env("AWS_EC2_METADATA_DISABLED", "false").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
        let started = Instant::now();
        let (_, told) = run(command.args(["windows", "--store", "s3://digests"]), 2);
        assert!(started.elapsed().as_secs_f64() < 6.0, "{endpoint}: {:?}", started.elapsed());
        for words in ["no AWS credentials", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "EC2", "--profile NAME"] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
    let (_, told) =
        run(aws.command(folder.path()).args(["windows", "--store", "s3://digests", "--profile", "none"]), 2);
    assert!(told.contains("profile none"), "{told}");
}

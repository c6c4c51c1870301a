//! What `check` says of reports, and that it tells nobody unless it is asked to.

use super::receiver::Receiver;
use assert_cmd::Command;
use std::path::Path;

fn check(folder: &Path, args: &[&str], code: i32) -> String {
    let mut command = Command::cargo_bin("flowdiff").unwrap();
    command.current_dir(folder).env_clear().env("SECRET", "whsec").arg("check").args(args);
    let output = command.args(["--config", "flowdiff.toml", "--source", "logs", "--store", "store"]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// A source with one object, for which nothing else is wrong.
fn site(reports: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (key, text) = crate::follow::object(1, "2026-11-20T12:05:00Z".parse().unwrap());
    let path = folder.path().join("logs").join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::write(folder.path().join("flowdiff.toml"), reports).unwrap();
    folder
}

fn report(name: &str, settings: &str) -> String {
    format!("[[deliver.reports]]\nname = \"{name}\"\n{settings}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_report_is_looked_at_and_nothing_is_sent() {
    let receiver = Receiver::start().await;
    let reports = [
        report("hook", &format!("to = \"{}\"\nsecret_env = \"SECRET\"", receiver.url)),
        report("lines", "to = \"stdout\""),
        report("files", "to = \"told\""),
        report("unset", "to_env = \"SLACK_URL\""),
        report("unsigned", "to = \"https://127.0.0.1/x\"\nsecret_file = \"nowhere\""),
        report("metadata", "to = \"http://169.254.169.254/latest\""),
        report("unknown", "to = \"https://hooks.invalid/services/secret\""),
    ];
    let folder = site(&reports.concat());
    let said = check(folder.path(), &[], 2);
    for words in [
        "ok      report hook: http://127.0.0.1:",
        " at 127.0.0.1, signed; nothing was sent\n",
        "ok      report lines: stdout; nothing was sent\n",
        "ok      report files: told; nothing was sent\n",
        "failed  report unset: to_env is SLACK_URL, which the environment does not have\n",
        "failed  report unsigned: read secret_file nowhere",
        "failed  report metadata: messages are not sent to 169.254.169.254: it is link-local\n",
        "failed  report unknown: host hooks.invalid cannot be resolved\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("whsec") && !said.contains("services/secret"), "{said}");
    assert!(receiver.received().is_empty());
    assert!(!folder.path().join("store/v1/reports").exists(), "no report has begun");
    assert_eq!(std::fs::read_dir(folder.path().join("told")).unwrap().count(), 0);

    let folder = site(&[report("twice", "to = \"stdout\""), report("twice", "to = \"stdout\"")].concat());
    let said = check(folder.path(), &[], 2);
    assert!(said.contains("failed  reports: two reports of [[deliver.reports]] are named twice"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_goes_to_every_receiver_that_is_asked_for_one() {
    let receiver = Receiver::start().await;
    let (url, signed) = (format!("to = \"{}\"", receiver.url), "secret_env = \"SECRET\"");
    let reports = [
        report("hook", &format!("{url}\n{signed}")),
        report("chat", &format!("{url}\nbody = \"slack\"")),
        report("old", &format!("{url}\nbody = \"event\"")),
        report("lines", "to = \"stdout\""),
        report("files", "to = \"told\""),
    ];
    let folder = site(&reports.concat());
    let said = check(folder.path(), &["--send-test"], 0);
    assert_eq!(said.matches("; a test message was taken\n").count(), 4, "{said}");
    assert!(said.contains("have no form for a test"), "{said}");
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    let message = received[0].json();
    assert_eq!((&message["state"], &message["notice"]), (&"notice".into(), &"test".into()));
    assert!(received[0].headers.contains_key("flowdiff-signature"));
    assert!(received[1].json()["text"].as_str().unwrap().starts_with("flowdiff chat: "));
    assert!(said.lines().any(|line| line.contains("\"report\":\"lines\"")), "{said}");
    assert_eq!(std::fs::read_dir(folder.path().join("told")).unwrap().count(), 1);

    receiver.always(Some(super::Answer::Status(404)));
    let folder = site(&report("hook", &url));
    let said = check(folder.path(), &["--send-test"], 2);
    assert!(said.contains("failed  report hook: ") && said.contains("answers 404"), "{said}");
}

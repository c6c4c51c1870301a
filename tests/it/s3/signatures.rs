//! A server that checks signatures, as AWS does and the emulator does not: Garage.

use super::Logs;
use super::server::{garage, run};

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_regions_that_do_not_fit_are_explained() {
    let Some(garage) = garage() else { return };
    let logs = Logs::put_on(garage).await;
    let (checked, _) = run(&mut logs.command(&["check", "--single-writer"]), 0);
    assert!(checked.contains("LIST requests found"), "{checked}");
    for (name, value, words, hint) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "the secret key does not fit the access key", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "GK000000000000000000000002", "AWS does not know the access key", "AWS_ACCESS_KEY_ID"),
        ("AWS_REGION", "eu-west-1", "is in another region", "--region"),
        ("FLOWDIFF__AWS__NO_SIGN_REQUEST", "true", "access denied: s3:ListBucket", "flowdiff check"),
    ] {
        let with = |arguments: &[&str]| {
            let mut command = logs.command(arguments);
            command.env(name, value);
            command
        };
        let (_, told) = run(&mut with(&["sql", "SELECT count(*) FROM flows"]), 2);
        assert!(told.contains(words) && told.contains(hint), "{name}: {told}");
        let (checked, _) = run(&mut with(&["check"]), 2);
        assert!(checked.contains(words), "{name}: {checked}");
        // The flag goes before the environment.
        if name == "AWS_REGION" {
            run(&mut with(&["check", "--single-writer", "--region", &garage.region]), 0);
        }
    }
}

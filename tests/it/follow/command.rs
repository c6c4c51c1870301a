//! `flowdiff follow` as a process: what it says, how it ends, which settings it refuses.

use super::{HEADER, Site, command, object};
use crate::corpora::builder;
use chrono::TimeDelta;
use flowdiff::catalog::State;
use flowdiff::clock::Clock;
use flowdiff::pipeline::follow::{GRACE, Options};

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[test]
fn follow_once_takes_what_is_there_and_has_nothing_to_do_the_second_time() {
    let site = Site::new();
    let then = Clock::system().now() - TimeDelta::hours(4);
    site.write(1, &then.format("%Y-%m-%dT%H:05:00Z").to_string());
    for expected in ["published 2 versions from 1 objects", "published 0 versions from 0 objects"] {
        let output = command(&site, &["follow", "--once"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(expected), "{said}");
        assert!(output.stdout.is_empty());
    }
}

/// Two hours of which a report tells something, both over long ago, and a report of them.
fn told_site(settings: &str) -> Site {
    let site = Site::new();
    let then = Clock::system().now() - TimeDelta::hours(5);
    for (flow_log, hour) in [(1, 0), (2, 1)] {
        site.write(flow_log, &(then + TimeDelta::hours(hour)).format("%Y-%m-%dT%H:20:00Z").to_string());
    }
    let report = format!(
        "[deliver]\nattempts_max = 1\n[[deliver.reports]]\nname = \"all\"\nempty = true\nhistory = true\n{settings}\n"
    );
    std::fs::write(site.path("flowdiff.toml"), report).unwrap();
    site
}

#[test]
fn delivered_is_said_of_what_a_receiver_took_and_of_nothing_else() {
    let waits = ["messages wait to be delivered", "is to be delivered, version 1"];
    for (to, code, words) in [("http://127.0.0.1:1/", 5, waits), ("told", 0, ["messages delivered", waits[1]])] {
        let site = told_site(&format!("to = {to:?}"));
        let output = command(&site, &["follow", "--once", "--config", "flowdiff.toml"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert_eq!(said.contains("messages delivered"), code == 0, "{said}");
    }
}

/// Waits until a follower ends by itself.
fn ended(child: &mut std::process::Child) -> std::process::ExitStatus {
    for _ in 0..300 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    panic!("it does not end");
}

#[test]
fn a_follower_ends_when_the_reader_of_its_lines_has_gone() {
    for args in [&["follow", "--config", "flowdiff.toml"][..], &["follow", "--once", "--config", "flowdiff.toml"]] {
        let site = told_site("to = \"stdout\"");
        let mut child = command(&site, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert!(ended(&mut child).success());
        let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(!said.contains("was not taken"), "{said}");
    }
}

/// A message is longer than what a pipe holds.
#[cfg(unix)]
#[test]
fn a_reader_that_does_not_read_does_not_hold_up_the_end() {
    let site = told_site("to = \"stdout\"\nrows_max = 1000");
    let then = Clock::system().now() - TimeDelta::hours(4);
    let (key, text) = object(1, then.format("%Y-%m-%dT%H:25:00Z").to_string().parse().unwrap());
    let lines = (1..1000).map(|port| text.lines().nth(1).unwrap().replace(" 443 ", &format!(" {port} ")) + "\n");
    std::fs::write(site.path("logs").join(key), format!("{HEADER}\n{}", lines.collect::<String>())).unwrap();
    let mut follow = command(&site, &["follow", "--config", "flowdiff.toml"]);
    let mut child = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(std::result::Result::unwrap);
    lines.find(|line| line.contains("is to be delivered")).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(ended(&mut child).success());
}

/// SIGTERM, as systemd sends it.
#[cfg(unix)]
#[test]
fn a_follower_that_is_told_to_end_finishes_its_round() {
    let site = Site::new();
    let then = Clock::system().now() - TimeDelta::hours(4);
    site.write(1, &then.format("%Y-%m-%dT%H:05:00Z").to_string());
    let mut child = command(&site, &["follow", "--log-format", "json"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(std::result::Result::unwrap);
    let published = lines.find(|line| line.contains("\"published\"")).unwrap();
    let event: serde_json::Value = serde_json::from_str(&published).unwrap();
    assert_eq!((&event["version"], &event["state"]), (&1.into(), &State::Final.name().into()));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let told: Vec<String> = lines.collect();
    assert!(told.iter().any(|line| line.contains("finishing the round")), "{told:?}");
    assert!(told.last().unwrap().contains(r#"{"event":"stopped","is_dropped":false}"#), "{told:?}");
    assert!(child.wait().unwrap().success());
}

/// A store, or a source, that does not answer: like a network that swallows everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_network_that_does_not_answer() {
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", hole.local_addr().unwrap());
    // Connections are taken and nothing is said.
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = hole.accept().await {
            held.push(stream);
        }
    });
    let access = flowdiff::aws::Options {
        endpoint_url: Some(endpoint),
        region: Some("eu-west-1".to_owned()),
        no_sign_request: true,
        ..Default::default()
    };
    let access = flowdiff::aws::Access { options: access, ..Default::default() };
    let bucket = flowdiff::aws::Bucket::new("logs", access);
    for is_source in [true, false] {
        let site = Site::new();
        let mut builder = builder(&site.path("logs"), &site.path("store"));
        match is_source {
            true => builder.source.store = Arc::new(bucket.clone()),
            false => {
                builder.catalog = flowdiff::catalog::Catalog::new(Arc::new(bucket.clone()), Default::default(), "s3")
            }
        }
        let mut follower = site.follower_of(builder, Options::default());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { follower.run(&stopped).await });
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.cancel();
        let ended = tokio::time::timeout(GRACE + Duration::from_secs(7), task).await;
        ended.expect("within the time that systemd gives").unwrap().unwrap();
        let told = site.told();
        assert!(told.contains(&format!("stopped, dropped {is_source}")), "{told:?}");
    }
}

#[test]
fn a_source_folder_that_disappears_is_no_silence() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:00:00Z");
    std::fs::write(site.path("flowdiff.toml"), "[follow]\npublish_every = \"1s\"\n").unwrap();
    let args = ["follow", "--log-format", "json", "--config", "flowdiff.toml"];
    let mut child = command(&site, &args).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(std::result::Result::unwrap);
    lines.find(|line| line.contains("\"leads\"")).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    std::fs::rename(site.path("logs"), site.path("aside")).unwrap();
    let said = lines.find(|line| line.contains("\"interrupted\"")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.contains("folder logs does not exist"), "{said}");
}

/// A supervisor starts it again where it ends; nobody sees that one follows without its metrics.
#[test]
fn a_follower_that_cannot_serve_its_metrics_ends() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:00:00Z");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command(&site, &["follow", "--metrics", &address]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains(&format!("listen on {address}")), "{told}");
}

#[cfg(unix)]
#[test]
fn a_follower_sends_its_counts_to_an_agent_without_an_address_for_metrics() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:00:00Z");
    let agent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    agent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let settings = [("STATSD", "true".to_owned()), ("STATSD_FLUSH_INTERVAL", "1s".to_owned())];
    let mut command = command(&site, &["follow"]);
    command.env("FLOWDIFF__TELEMETRY__STATSD_ADDRESS", agent.local_addr().unwrap().to_string());
    command.envs(settings.map(|(name, value)| (format!("FLOWDIFF__TELEMETRY__{name}"), value)));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let (mut sent, mut datagram) = (String::new(), [0; 65_536]);
    while !sent.contains("flowdiff_follow_rounds_total") {
        match agent.recv(&mut datagram) {
            Ok(length) => sent += &String::from_utf8_lossy(&datagram[..length]),
            Err(error) => {
                child.kill().unwrap();
                panic!("{error}; so far: {sent}");
            }
        }
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_horizon_that_holds_no_two_windows_is_refused() {
    let site = Site::new();
    let output = command(&site, &["follow", "--once", "--width", "1d"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("follow.horizon"));
}

#[test]
fn settings_that_would_cut_off_readers_or_forget_what_was_told_too_soon_are_refused() {
    let site = Site::new();
    let told = "[deliver]\nkept_for = \"3d\"\n[[deliver.reports]]\nname = \"all\"\nto = \"stdout\"\n";
    for (settings, words) in [
        ("[follow]\nkeep_superseded = \"10s\"\n", ["follow.keep_superseded is 10s", "1m to 3660d"]),
        (told, ["deliver.kept_for is 72 h", "follow.horizon 48 h"]),
        ("[follow]\nhorizon = \"99999999d\"\n", ["follow.horizon", "36600d at the most"]),
        ("[follow]\nhorizon = \"9999d\"\n", ["follow.horizon is 9999d", "366d"]),
        ("[follow]\nidle = \"32d\"\n", ["follow.idle is 32d", "31d"]),
        ("[digest]\nlateness = \"9999999999999s\"\n", ["digest.lateness", "at the most"]),
    ] {
        std::fs::write(site.path("flowdiff.toml"), settings).unwrap();
        let output = command(&site, &["follow", "--once", "--config", "flowdiff.toml"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

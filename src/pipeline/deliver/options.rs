//! Settings of deliveries: what is compared, which rows are told, to whom. In: text. Out: checked settings.

use super::filter::Filter;
use crate::diff::Grain;
use crate::error::{Error, Result};
use crate::pipeline::bounds::{self, KEPT_MAX, LEASE_MAX, LEASE_MIN, PAUSE_MAX};
use crate::window::Window;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::PathBuf;

/// How deliveries go out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Times that a message is sent in one round before it waits for the next; default 4.
    pub attempts_max: usize,
    /// How long a receiver may take to answer; default 10 seconds.
    #[serde(with = "crate::config::duration")]
    pub timeout: TimeDelta,
    /// Longest pause between two attempts of a round; pauses are random and grow up to it. A receiver that asks for a
    /// longer one (Retry-After) is left alone for so long. Default 15 seconds.
    #[serde(with = "crate::config::duration")]
    pub backoff_max: TimeDelta,
    /// Longest time between two rounds to a receiver that does not take a message, unless it asks for a longer one
    /// (Retry-After, a day at the most); default 10 minutes.
    #[serde(with = "crate::config::duration")]
    pub retry_max: TimeDelta,
    /// How long one process has a message to itself while it sends it; default 2 minutes. If it dies, another one sends the
    /// message after that.
    #[serde(with = "crate::config::duration")]
    pub lease: TimeDelta,
    /// How long what was told is remembered, counted from the stop of its window, of a notice from when it was made; default
    /// 31 days. A message that nobody took in that time is given up. At least twice `follow.horizon`.
    #[serde(with = "crate::config::duration")]
    pub kept_for: TimeDelta,
    /// What is delivered: none by default.
    pub reports: Vec<Report>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            attempts_max: 4,
            timeout: TimeDelta::seconds(10),
            backoff_max: TimeDelta::seconds(15),
            retry_max: TimeDelta::minutes(10),
            lease: TimeDelta::minutes(2),
            kept_for: TimeDelta::days(31),
            reports: Vec::new(),
        }
    }
}

/// One comparison that runs for each closed window, and who is told of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Report {
    /// Its name: letters, digits, `-` and `_`. Part of the id of every message: one that is renamed begins anew.
    pub name: String,
    /// What the window is compared with; default: the one before.
    pub compare: Compare,
    /// Grain of the comparison; default `edge`.
    pub by: Grain,
    /// Who is told: `stdout`, a URL (`https://...`), a folder or `s3://bucket/prefix`.
    pub to: Option<String>,
    /// Variable of the environment that holds `to`, where the URL itself is a secret.
    pub to_env: Option<String>,
    /// File that holds `to`.
    pub to_file: Option<PathBuf>,
    /// Shape of the message; default `flowdiff`.
    pub body: Body,
    /// Variable of the environment that holds the secret by which messages to a URL are signed.
    pub secret_env: Option<String>,
    /// File that holds the secret.
    pub secret_file: Option<PathBuf>,
    /// Whether windows are told before they close; then again as they change. Default: only closed ones.
    pub provisional: bool,
    /// Whether a window in which nothing changed is told, too.
    pub empty: bool,
    /// Whether objects that came too late, windows without any and silence are told, too (see `[follow]`).
    pub notices: bool,
    /// Whether windows are told that ended before the report was first configured, as far back as they are followed.
    /// Default: only those that end after it.
    pub history: bool,
    /// Rows of a message at the most, those that moved most bytes; default 100. How many more there are is said.
    pub rows_max: Option<usize>,
    /// Only rows that appeared, disappeared or moved by at least so many bytes. Default: for changed rows that of `[diff]`,
    /// all others.
    pub min_bytes: Option<u64>,
    /// Ratio from which bytes count as changed; default: that of `[diff]`.
    pub ratio: Option<f64>,
    /// Only these kinds of change: `added`, `removed`, `changed`; default: all.
    pub changes: Vec<Change>,
    /// Whether rows are told though they may only have been out of sight before or after. Default: only what is certain.
    pub unobserved: bool,
    /// Only rows of which an address is in one of these networks; default: all.
    pub cidrs: Vec<String>,
    /// Only rows with one of these ports; default: all.
    pub ports: Vec<u16>,
    /// What is never told.
    pub ignore: Vec<Ignore>,
}

/// What is never told: rows for which everything that is set is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ignore {
    /// An address is in this network.
    pub cidr: Option<String>,
    /// One of the ports is this one.
    pub port: Option<u16>,
    /// The protocol, by IANA's number.
    pub protocol: Option<u8>,
    /// The action: `ACCEPT` or `REJECT`.
    pub action: Option<String>,
}

/// What a window is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// The window of the same width that ends where it begins.
    #[default]
    Previous,
    /// The same window a day before.
    Day,
    /// The same window a week before.
    Week,
}

impl Compare {
    fn distance(self, window: &Window) -> TimeDelta {
        match self {
            Compare::Previous => window.width(),
            Compare::Day => TimeDelta::days(1),
            Compare::Week => TimeDelta::weeks(1),
        }
    }

    /// The window that `window` is compared with; `None` where time ends.
    pub(super) fn before(self, window: &Window) -> Option<Window> {
        let distance = self.distance(window);
        Window::new(window.start().checked_sub_signed(distance)?, window.stop().checked_sub_signed(distance)?).ok()
    }

    /// The window that is compared with `window`.
    pub(super) fn after(self, window: &Window) -> Option<Window> {
        let distance = self.distance(window);
        Window::new(window.start().checked_add_signed(distance)?, window.stop().checked_add_signed(distance)?).ok()
    }
}

/// Shape of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// All that there is to tell, as JSON.
    #[default]
    Flowdiff,
    /// For an incoming webhook of Slack, or what takes the same.
    Slack,
    /// For the API of Alertmanager, `/api/v2/alerts`.
    Alertmanager,
    /// The event that the earlier services put on their bus: which windows differ, nothing of how. Only 200 is success.
    Event,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only in the window.
    Added,
    /// Only in the one that it is compared with.
    Removed,
    /// In both, with other volume.
    Changed,
}

impl Change {
    /// Its name in the rows of a diff.
    pub(super) fn name(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        }
    }
}

/// Rows of a message unless a report says otherwise.
const ROWS_MAX: usize = 100;

impl Report {
    /// Rows of a message at the most.
    pub(super) fn rows_max(&self) -> usize {
        self.rows_max.unwrap_or(ROWS_MAX)
    }

    fn check(&self) -> Result<()> {
        let Report { name, to, to_env, to_file, secret_env, secret_file, .. } = self;
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
            return Err(Error::invalid(format!("{name:?} cannot name a report"))
                .with_hint("a name is up to 64 letters, digits, - and _"));
        }
        let doing = |error: Error| error.context(format!("read report {name} of [[deliver.reports]]"));
        let count = |is_set: [bool; 3]| is_set.into_iter().filter(|is_set| *is_set).count();
        if count([to.is_some(), to_env.is_some(), to_file.is_some()]) != 1 {
            return Err(doing(Error::invalid("one of to, to_env and to_file says who is told")));
        }
        if count([secret_env.is_some(), secret_file.is_some(), false]) > 1 {
            return Err(doing(Error::invalid("one of secret_env and secret_file holds the secret")));
        }
        if self.notices && self.body == Body::Event {
            return Err(doing(
                Error::invalid("event bodies have no form for notices")
                    .with_hint("leave notices out, or name another report with another body for them"),
            ));
        }
        Filter::new(self).map(drop).map_err(doing)
    }
}

impl Options {
    /// How long a round of attempts may take.
    fn round(&self) -> TimeDelta {
        let attempts = i32::try_from(self.attempts_max).unwrap_or(i32::MAX);
        let all = self.timeout.checked_mul(attempts).zip(self.backoff_max.checked_mul(attempts - 1));
        all.and_then(|(sent, paused)| sent.checked_add(&paused)).unwrap_or(TimeDelta::MAX)
    }

    /// Checks what can be checked without asking anybody.
    pub(super) fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        for report in &self.reports {
            report.check()?;
            if !names.insert(report.name.as_str()) {
                return Err(Error::invalid(format!("two reports of [[deliver.reports]] are named {}", report.name)));
            }
        }
        if self.attempts_max == 0 {
            return Err(Error::invalid("deliver.attempts_max is 0"));
        }
        if self.round() > self.lease {
            let (round, lease) = (self.round().num_seconds(), self.lease.num_seconds());
            let message = format!("deliver.lease is {lease} s, and the attempts of a round may take {round} s");
            return Err(
                Error::invalid(message).with_hint("another process would send the same meanwhile: give a longer lease")
            );
        }
        let second = TimeDelta::seconds(1);
        bounds::check(&[
            ("deliver.timeout", self.timeout, second, LEASE_MAX),
            ("deliver.backoff_max", self.backoff_max, TimeDelta::zero(), LEASE_MAX),
            ("deliver.retry_max", self.retry_max, TimeDelta::zero(), PAUSE_MAX),
            ("deliver.lease", self.lease, LEASE_MIN, LEASE_MAX),
            ("deliver.kept_for", self.kept_for, second, KEPT_MAX),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Options, String> {
        let options: Options = toml::from_str(text).map_err(|error| error.to_string())?;
        let told = |error: Error| format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
        options.check().map(|()| options).map_err(told)
    }

    #[test]
    fn a_report_reads_as_it_is_written() {
        let options = options(
            r#"
            [[reports]]
            name = "security"
            compare = "week"
            by = "link"
            to_env = "SLACK_URL"
            body = "slack"
            changes = ["added"]
            cidrs = ["10.0.0.0/8"]
            ignore = [{ cidr = "10.9.0.0/16", port = 443 }, { protocol = 1 }]
            "#,
        )
        .unwrap();
        let report = &options.reports[0];
        assert_eq!((report.compare, report.by, report.body), (Compare::Week, Grain::Link, Body::Slack));
        assert_eq!(report.rows_max(), 100);
        assert_eq!(report.ignore[1].protocol, Some(1));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (text, word) in [
            ("[[reports]]\nto = \"stdout\"", "cannot name a report"),
            ("[[reports]]\nname = \"../a\"\nto = \"stdout\"", "cannot name a report"),
            ("[[reports]]\nname = \"a\"", "who is told"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\nto_env = \"X\"", "who is told"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\n[[reports]]\nname = \"a\"\nto = \"stdout\"", "two reports"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\ncidrs = [\"10.0.0.0/33\"]", "10.0.0.0/33"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\nby = \"host\"\nports = [22]", "ports"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\nignore = [{}]", "everything"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\nbody = \"event\"\nnotices = true", "no form for notices"),
            ("[[reports]]\nname = \"a\"\nwhom = \"stdout\"", "whom"),
            ("attempts_max = 0", "attempts_max"),
            ("lease = \"0s\"", "lease"),
            ("attempts_max = 6", "135"),
            ("attempts_max = 4294967296", "lease"),
            ("lease = \"2h\"", "deliver.lease is 2h, not 2s to 1h"),
            ("kept_for = \"99999999d\"", "36600d at the most"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\nports = [0]", "port 0"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\nignore = [{ port = 0 }]", "port 0"),
            ("[[reports]]\nname = \"a\"\nto = \"stdout\"\nignore = [{ action = \"accept\" }]", "is no action"),
        ] {
            let error = options(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn windows_are_compared_with_those_before() {
        let now = "2026-11-20T00:00:00Z".parse().unwrap();
        let window = Window::parse("2026-11-20T12", now).unwrap();
        for (compare, before) in
            [(Compare::Previous, "2026-11-20T11"), (Compare::Day, "2026-11-19T12"), (Compare::Week, "2026-11-13T12")]
        {
            let before = Window::parse(before, now).unwrap();
            assert_eq!(compare.before(&window), Some(before));
            assert_eq!(compare.after(&before), Some(window));
        }
    }

    /// A report is a table in an array, which the test of all settings does not look into.
    #[test]
    fn every_setting_of_a_report_is_in_the_documented_settings() {
        let text = include_str!("../../../config/default.toml");
        let section = text.split("# [[deliver.reports]]\n").nth(1).unwrap().split("\n[").next().unwrap();
        let names = |text: &str| -> Vec<String> {
            let error = toml::from_str::<Report>(text).unwrap_err();
            let names = error.message().split('`').skip(1).step_by(2).filter(|name| *name != "x");
            names.map(str::to_owned).collect()
        };
        for name in names("x = 1") {
            let line = section.lines().find(|line| line.starts_with(&format!("# {name} = ")));
            assert!(line.is_some_and(|line| line[2..].contains(" # ")), "{name}");
        }
    }
}

//! `backfill` and `compact`: says what there is to do, does it, and says what came of it.

use super::args::BackfillArgs;
use super::failure;
use super::say::say;
use super::setup::Setup;
use super::signals::{INTERRUPTED, stop_on_signals};
use crate::config::LogFormat;
use crate::diff::printable;
use crate::digest::Builder;
use crate::error::{Error, Result};
use crate::pipeline::{self, Event, Options, Plan, Summary};
use crate::scan::{Figures, Report};
use crate::window::{Timestamp, Window, join, parse_duration, parse_time, split};
use chrono::{DurationRound, TimeDelta};
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many spans of windows without digests are named.
const SPANS_TOLD: usize = 5;
const FINISHING: &str = "finishing the windows under way; Ctrl-C again drops them";
/// Stored bytes that one thread folds in a second: 149 MB of gzip took 6.5 CPU seconds (benches/README.md).
const BYTES_PER_SECOND: u64 = 20_000_000;

/// Runs `backfill`; returns the exit code.
pub(super) async fn run(setup: &Setup, args: BackfillArgs) -> Result<u8> {
    let stop = stop_on_signals(FINISHING);
    let range = range(setup, &args.from, &args.to, &args.width)?;
    let options = Options { width: parse_duration(&args.width)?, force: args.force, only_late: args.only_late };
    let roll_up = args.roll_up.as_deref().map(parse_duration).transpose()?;
    let mut builder = setup.builder()?;
    builder.options.publishing_max = args.jobs.unwrap_or(builder.options.publishing_max);
    let teller = Teller { json: setup.config().log.format == LogFormat::Json };
    let plan = pipeline::plan(&builder, &range, &options).await?;
    let text = describe(setup, &range, &args.width, &plan, builder.session.options().threads);
    if args.dry_run {
        setup.print(&text)?;
        return Ok(0);
    }
    teller.tell(text.trim_end(), || {
        json!({"event": "plan", "range": range.to_string(), "windows": plan.windows, "published": plan.done,
               "to_build": plan.targets.len(), "without_objects": plan.empty, "objects": plan.objects, "bytes": plan.bytes})
    });
    if plan.windows == plan.empty && !args.only_late {
        return Err(Error::not_found(format!("no flow-log object of {} is of {range}", builder.source.url))
            .with_hint("look at the source and the range; `flowdiff check` names the newest object"));
    }
    let mut summary = Summary::default();
    let report = Report::new();
    let started = Instant::now();
    if !plan.targets.is_empty() {
        setup.check_store(&builder.catalog).await?;
        report.progress.plan(plan.objects, plan.bytes);
        report.progress.windows_total.store(plan.targets.len() as u64, Ordering::Relaxed);
        let _meter = setup.meter(&report);
        summary = pipeline::backfill(&builder, plan, &stop, &report, |event| {
            report.progress.windows_done.fetch_add(1, Ordering::Relaxed);
            teller.ended(&event, "published");
        })
        .await?;
    }
    setup.print(&closing(&summary, &report.figures(), started.elapsed()))?;
    teller.summary(&summary, "backfill");
    let mut code = exit_code(&summary);
    if let Some(width) = roll_up
        && !stop.load(Ordering::Relaxed)
    {
        code = code.max(merge(setup, &builder, &range, width, &stop, &teller).await?);
    }
    if stop.load(Ordering::Relaxed) && summary.left > 0 {
        let go_on = if summary.failed.is_empty() { "interrupted" } else { "too many windows failed" };
        setup.note(&format!("{go_on}: {} windows are left; the same command goes on with them", summary.left));
        code = if summary.failed.is_empty() { INTERRUPTED } else { code };
    }
    Ok(code)
}

/// Runs `compact`; returns the exit code.
pub(super) async fn compact(setup: &Setup, from: &str, to: &str, width: &str) -> Result<u8> {
    let stop = stop_on_signals(FINISHING);
    let range = range(setup, from, to, width)?;
    let builder = setup.merger()?;
    setup.check_store(&builder.catalog).await?;
    let teller = Teller { json: setup.config().log.format == LogFormat::Json };
    merge(setup, &builder, &range, parse_duration(width)?, &stop, &teller).await
}

async fn merge(
    setup: &Setup,
    builder: &Builder,
    range: &Window,
    width: TimeDelta,
    stop: &AtomicBool,
    teller: &Teller,
) -> Result<u8> {
    let summary = pipeline::roll_up(builder, range, width, stop, |event| teller.ended(&event, "rolled up")).await?;
    let Summary { published, unchanged, empty, bare, failed, left } = &summary;
    if !bare.is_empty() && !teller.json {
        let spans = join(bare.iter().copied());
        let told: Vec<String> = spans.iter().take(SPANS_TOLD).map(Window::to_string).collect();
        let more = if spans.len() > SPANS_TOLD { ", ..." } else { "" };
        setup.note(&format!("nothing to merge in {} windows: {}{more}", bare.len(), told.join(", ")));
    }
    setup.print(&format!(
        "rolled up {published}, unchanged {unchanged}, without digests {}, incomplete {empty}, failed {}, left {left}\n",
        bare.len(),
        failed.len(),
    ))?;
    teller.summary(&summary, "roll-up");
    Ok(exit_code(&summary))
}

/// The code of the first failure.
fn exit_code(summary: &Summary) -> u8 {
    summary.failed.first().map_or(0, |(_, error)| error.kind().exit_code())
}

/// The range of a command, cut to whole minutes. It holds at least one window of `width`.
fn range(setup: &Setup, from: &str, to: &str, width: &str) -> Result<Window> {
    let now = setup.clock.now();
    let minute = |text: &str| -> Result<Timestamp> {
        let time = parse_time(text, now)?;
        time.duration_trunc(TimeDelta::minutes(1))
            .map_err(|error| Error::invalid(format!("{text:?} is out of range")).with_source(error))
    };
    let range = Window::new(minute(from)?, minute(to)?)?;
    if split(&range, parse_duration(width)?)?.len() == 0 {
        return Err(Error::invalid(format!("no whole window of {width} lies in {range}"))
            .with_hint("windows begin at multiples of their width: take a longer range, or a narrower --width"));
    }
    Ok(range)
}

/// The plan in words.
fn describe(setup: &Setup, range: &Window, width: &str, plan: &Plan, threads: usize) -> String {
    let (gets, puts) = (plan.get_requests(), plan.put_requests());
    let dollars = setup.config().prices.dollars(plan.list_requests + puts, gets, plan.bytes);
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, |threads| threads.get()),
        threads => threads,
    };
    let seconds = plan.bytes / (BYTES_PER_SECOND * threads as u64);
    let time = match seconds {
        0 => "a second".to_owned(),
        seconds => HumanDuration(Duration::from_secs(seconds)).to_string(),
    };
    format!(
        "range {range} in windows of {width}\n\
         windows {}: {} published, {} without objects, {} to build\n\
         objects {} ({}), each read once\n\
         requests {} LIST, {gets} GET, {puts} PUT\n\
         dollars {dollars:.6}\n\
         time about {time} on {threads} threads\n",
        HumanCount(plan.windows as u64),
        HumanCount(plan.done as u64),
        HumanCount(plan.empty as u64),
        HumanCount(plan.targets.len() as u64),
        HumanCount(plan.objects),
        HumanBytes(plan.bytes),
        HumanCount(plan.list_requests),
    )
}

/// The closing report of a backfill.
fn closing(summary: &Summary, figures: &Figures, elapsed: Duration) -> String {
    let Summary { published, unchanged, empty, failed, left, .. } = summary;
    let seconds = elapsed.as_secs_f64();
    let mut text = format!(
        "published {published}, unchanged {unchanged}, without objects {empty}, failed {}, left {left}\n\
         read {} objects ({}) and {} records in {seconds:.1} s ({} records/s)\n",
        failed.len(),
        HumanCount(figures.read),
        HumanBytes(figures.bytes_read),
        HumanCount(figures.totals.records),
        HumanCount((figures.totals.records as f64 / seconds.max(0.001)) as u64),
    );
    for ((account, region), place) in &figures.places {
        let _ = write!(text, "  {account} {region}: {} objects, {} records", place.read, place.records);
        for (count, what) in [(place.set_aside, "set aside"), (place.refused, "lines refused")] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text.push('\n');
    }
    for (window, error) in failed {
        let _ = writeln!(text, "failed {window}");
        for (label, line) in failure::lines(error) {
            let _ = writeln!(text, "  {label}: {line}");
        }
    }
    for sample in figures.set_aside_samples.iter().chain(&figures.refused_samples) {
        let _ = writeln!(text, "  {}", printable(sample));
    }
    for (time, location) in &figures.slowest {
        let _ = writeln!(text, "slow {:.2} s {}", time.as_secs_f64(), printable(location.as_ref()));
    }
    text
}

/// Says on stderr what happens: lines for people, or JSON objects.
struct Teller {
    json: bool,
}

impl Teller {
    fn tell(&self, text: &str, event: impl FnOnce() -> serde_json::Value) {
        match self.json {
            true => say(event()),
            false => say(text),
        }
    }

    /// The end of a window.
    fn ended(&self, event: &Event<'_>, done: &str) {
        let Event { window, result, left } = event;
        match result {
            Ok(built) => {
                let manifest = &built.manifest;
                let (edges, records) = (manifest.totals.edges, manifest.coverage.records);
                let done = if built.is_new { done } else { "already published" };
                let (version, state) = (manifest.version, manifest.state.name());
                let text = format!("{window} {done} version {version} ({state}): {edges} edges from {records} records");
                self.tell(&text, || {
                    json!({"event": "window", "window": window.to_string(), "is_new": built.is_new, "version": version,
                           "state": state, "edges": edges, "records": records, "left": left})
                });
            }
            Err(error) => {
                let lines: Vec<String> =
                    failure::lines(error).into_iter().map(|(label, line)| format!("{label}: {line}")).collect();
                self.tell(&format!("{window} {}", lines.join("; ")), || {
                    json!({"event": "window", "window": window.to_string(), "error": lines.join("; "), "left": left})
                });
            }
        }
    }

    fn summary(&self, summary: &Summary, of: &str) {
        if self.json {
            let Summary { published, unchanged, empty, bare, failed, left } = summary;
            self.tell("", || {
                json!({"event": "end", "of": of, "published": published, "unchanged": unchanged, "without": empty,
                       "nothing_to_merge": bare.len(), "failed": failed.len(), "left": left})
            });
        }
    }
}

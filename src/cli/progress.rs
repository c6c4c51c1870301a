//! Progress on stderr: how many objects and bytes of a scan are done. In: the counters of a report. Out: on a terminal
//! one line that is drawn over, elsewhere a line now and then. Knows nothing of what is computed.

use super::args::When;
use super::say::{draw, say};
use crate::scan::{Progress, Report};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// Work that ends sooner shows nothing.
const DELAY: Duration = Duration::from_millis(500);
const REDRAW_INTERVAL: Duration = Duration::from_millis(150);
/// Between two lines where there is no terminal, as in the log of a job.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress until it is dropped.
pub(super) struct Meter {
    bar: ProgressBar,
    task: Option<AbortHandle>,
}

impl Meter {
    /// Shows the progress of `report`, or nothing: `Auto` shows it on a terminal alone. Must be called in a runtime.
    pub(super) fn start(report: &Arc<Report>, when: When) -> Meter {
        let report = report.clone();
        Meter::show(when, move |elapsed| describe(&report.progress, elapsed))
    }

    /// Likewise what `describe` says after some time.
    pub(super) fn show(when: When, describe: impl Fn(Duration) -> String + Send + 'static) -> Meter {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::no_length();
        if when == When::Never || (when == When::Auto && !terminal) {
            return Meter { bar, task: None };
        }
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        let shown = bar.clone();
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            let interval = if terminal { REDRAW_INTERVAL } else { LINE_INTERVAL };
            tokio::time::sleep(if terminal { DELAY } else { LINE_INTERVAL }).await;
            draw(Some(shown.clone()));
            loop {
                let line = describe(begun.elapsed());
                match terminal {
                    true => shown.set_message(line),
                    false => say(line),
                }
                tokio::time::sleep(interval).await;
            }
        });
        Meter { bar, task: Some(task.abort_handle()) }
    }

    /// Passes rows on and shows progress meanwhile: until the last row or, if `yields` because they go to the same
    /// terminal, until the first.
    pub(super) fn over(self, rows: SendableRecordBatchStream, yields: bool) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let rows = stream::unfold((rows, Some(self)), move |(mut rows, mut meter)| async move {
            let next = rows.next().await;
            if yields || next.is_none() {
                meter = None;
            }
            Some((next?, (rows, meter)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            draw(None);
            // A bar that was cleared draws nothing any more, though the task may be in the middle of a turn.
            self.bar.finish_and_clear();
        }
    }
}

fn describe(progress: &Progress, elapsed: Duration) -> String {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let seconds = elapsed.as_secs();
    let objects = read(&progress.objects_total);
    if objects == 0 {
        return format!("listing objects, {seconds} s");
    }
    let windows = match read(&progress.windows_total) {
        0 => String::new(),
        total => format!("{} of {} windows, ", HumanCount(read(&progress.windows_done)), HumanCount(total)),
    };
    let (done, total) = (read(&progress.bytes_done), read(&progress.bytes_total));
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = match total.saturating_sub(done) as f64 / rate {
        left if done > 0 && left >= 1.0 => format!(", about {} left", HumanDuration(Duration::from_secs(left as u64))),
        _ => String::new(),
    };
    format!(
        "{windows}{} of {} objects, {} of {}, {}/s, {} records, {seconds} s{left}",
        HumanCount(read(&progress.objects_done)),
        HumanCount(objects),
        HumanBytes(done),
        HumanBytes(total),
        HumanBytes(rate as u64),
        HumanCount(read(&progress.records)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_objects_bytes_and_records() {
        let progress = Progress::default();
        assert_eq!(describe(&progress, Duration::from_secs(1)), "listing objects, 1 s");
        progress.objects_total.store(72, Ordering::Relaxed);
        progress.bytes_total.store(149 << 20, Ordering::Relaxed);
        progress.objects_done.store(5, Ordering::Relaxed);
        progress.bytes_done.store(10 << 20, Ordering::Relaxed);
        progress.records.store(1_234_567, Ordering::Relaxed);
        assert_eq!(
            describe(&progress, Duration::from_millis(12_500)),
            "5 of 72 objects, 10.00 MiB of 149.00 MiB, 819.20 KiB/s, 1,234,567 records, 12 s, about 3 minutes left"
        );
    }
}

//! What is said to people and programs beside the data. In: text. Out: lines on stderr, above the progress that is drawn
//! there.

use indicatif::ProgressBar;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The progress that is on the terminal, if any is.
static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn drawn() -> MutexGuard<'static, Option<ProgressBar>> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on `bar` is what lines are written above.
pub(super) fn draw(bar: Option<ProgressBar>) {
    *drawn() = bar;
}

/// Writes to the terminal while no progress is drawn there.
pub(super) fn above_progress<T>(write: impl FnOnce() -> T) -> T {
    match &*drawn() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes a line to stderr. If nobody reads it any more (`2>&1 | head`), nobody misses it: no reason to end what runs.
pub(super) fn say(line: impl Display) {
    let _ = above_progress(|| writeln!(io::stderr().lock(), "{line}"));
}

/// Stderr for the log, a line at a time.
pub(super) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        above_progress(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

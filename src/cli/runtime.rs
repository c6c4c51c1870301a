//! Runs a command on the async runtime, to its end or to Ctrl-C.

use super::say::say;
use crate::error::{Context, Result};
use std::future::Future;
use std::time::Duration;

/// How long a thread for blocking calls waits for the next one: listing a folder starts dozens.
const IDLE_MAX: Duration = Duration::from_millis(500);

/// What shells report for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Runs `command` on `threads` threads (0: one for each core) and returns its exit code.
///
/// Ctrl-C drops the command, so that what it wrote in part is removed; a second one ends the process at once. A command
/// that is `interactive` looks after Ctrl-C itself.
///
/// # Errors
/// What the command met; `Unavailable` if no thread can be started.
pub(super) fn run_to_end(threads: usize, interactive: bool, command: impl Future<Output = Result<u8>>) -> Result<u8> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    // Every thread keeps freed memory for itself until it ends.
    builder.thread_keep_alive(IDLE_MAX);
    let runtime = builder.enable_all().build().context(|| "start the async runtime")?;
    if !interactive {
        runtime.spawn(async {
            // A command that is deep in a computation may be slow to notice the first.
            for _ in 0..2 {
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
            }
            std::process::exit(INTERRUPTED.into());
        });
    }
    let ended = runtime.block_on(async {
        tokio::select! {
            // Listened for before the command begins, so that the earliest is not lost.
            biased;
            Ok(()) = tokio::signal::ctrl_c(), if !interactive => None,
            ended = command => Some(ended),
        }
    });
    // Threads may be in the middle of an object; nobody waits for what they find.
    runtime.shutdown_background();
    ended.unwrap_or_else(|| {
        say("interrupted: what is published is complete, the rest was dropped");
        Ok(INTERRUPTED)
    })
}

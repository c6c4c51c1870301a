//! Ctrl-C and SIGTERM for commands that finish what is under way before they end.

use super::say::say;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// What shells report for a program that Ctrl-C ended.
pub(super) const INTERRUPTED: u8 = 130;

/// Set by the first Ctrl-C or SIGTERM, which says `note` on stderr; the second ends the process.
pub(super) fn stop_on_signals(note: &'static str) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    on_signals(note, move || stopping.store(true, Ordering::Relaxed));
    stop
}

/// Likewise a token that is cancelled.
pub(super) fn cancel_on_signals(note: &'static str) -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    on_signals(note, move || stopping.cancel());
    stop
}

fn on_signals(note: &'static str, stop: impl Fn() + Send + Sync + 'static) {
    tokio::spawn(async move {
        let mut terminate = Terminate::new();
        terminate.or_ctrl_c().await;
        stop();
        say(note);
        terminate.or_ctrl_c().await;
        std::process::exit(INTERRUPTED.into());
    });
}

/// SIGTERM, where there is such a thing.
struct Terminate {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Terminate {
    fn new() -> Terminate {
        Terminate {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok(),
        }
    }

    async fn or_ctrl_c(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = signal.recv() => {}
            }
            return;
        }
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

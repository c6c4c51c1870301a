//! How a follower ends: the work under way is given its time, and what takes longer is dropped, which loses nothing: what is
//! published is known from the store, and the rest is done anew by whoever follows next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long what is under way may take once a follower is told to stop. With what comes after it, well below the time that
/// `serve.shutdown_timeout` (30 seconds) and `TimeoutStopSec` of `deploy/flowdiff.service` (45 seconds) leave.
pub const GRACE: Duration = Duration::from_secs(20);
/// How long the last word to the store may take.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// What `work` comes to, or nothing if it is not done within [`GRACE`] after `stop`: it is then dropped.
pub async fn within_grace<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    let is_late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        ended = work => Some(ended),
        () = is_late => None,
    }
}

/// Sets `flag` once `stop` is cancelled while `work` is under way.
pub(super) async fn set_when_stopped<T>(
    flag: &AtomicBool,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> T {
    let watch = async {
        stop.cancelled().await;
        flag.store(true, Ordering::Relaxed);
        std::future::pending().await
    };
    tokio::select! {
        ended = work => ended,
        never = watch => never,
    }
}

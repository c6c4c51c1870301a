//! Objects that a follower is told of before a listing shows them.

use crate::source::Object;
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A channel of notifications. What it says may be late, repeated, out of order or lost: it only saves waiting for the
/// next listing.
#[async_trait]
pub trait Arrivals: fmt::Debug + Send + Sync {
    /// Waits for the next arrivals. It does not fail: it tries again. Dropped while it waits, it loses nothing, but what it
    /// was about to receive may take a while to come again: so it is dropped only where following ends.
    async fn next(&self) -> Vec<Arrival>;

    /// What has arrived and was not told yet, without waiting for more; a part of it if it is much. Nothing by default.
    async fn waiting(&self) -> Vec<Arrival> {
        Vec::new()
    }

    /// Sees to it that what was acknowledged does not come again.
    async fn settle(&self) {}
}

/// One notification.
#[derive(Debug)]
pub struct Arrival {
    /// The objects that it names; none if it is about something else.
    pub objects: Vec<Arc<Object>>,
    /// What to return it with.
    pub receipt: Box<dyn Receipt>,
}

/// What a notification is returned with. Dropped instead, it comes again.
pub trait Receipt: fmt::Debug + Send + Sync {
    /// Says that every effect of the notification is durable.
    fn acknowledge(self: Box<Self>);
}

/// Sends on what `arrivals` tells, for as long as somebody waits for it. What is received and not sent on comes again.
pub(super) async fn gather<T>(arrivals: Option<Arc<dyn Arrivals>>, told: mpsc::Sender<Arrival>) -> T {
    if let Some(arrivals) = arrivals {
        while !told.is_closed() {
            for arrival in arrivals.next().await {
                let _ = told.send(arrival).await;
            }
        }
    }
    std::future::pending().await
}

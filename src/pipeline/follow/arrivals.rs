//! Objects that a follower is told of before a listing shows them.

use crate::source::Object;
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;

/// A channel of notifications. What it says may be late, repeated, out of order or lost: it only saves waiting for the
/// next listing.
#[async_trait]
pub trait Arrivals: fmt::Debug + Send + Sync {
    /// Waits for the next arrivals. If it is dropped while it waits, nothing is lost. It does not fail: it tries again.
    async fn next(&self) -> Vec<Arrival>;
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

//! What happens while a store is followed, for those who show it and those who act on it.

use crate::catalog::Manifest;
use crate::clock::Timestamp;
use crate::error::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A version of a window was published. It may be provisional, and may be superseded before anybody reads it.
    Published {
        /// Its manifest.
        manifest: Box<Manifest>,
    },
    /// A window has its final digest, and nothing was delivered of it before.
    Closed {
        /// The manifest of its newest version.
        manifest: Box<Manifest>,
    },
    /// A window of which a final digest was delivered has another one, with late objects in it.
    Amended {
        /// The manifest of its newest version.
        manifest: Box<Manifest>,
        /// The version that was delivered last.
        previous: u64,
    },
    /// Objects arrived that belong to windows beyond the horizon, each counted once: no digest takes them up by itself.
    Late {
        /// First instant of the first window.
        start: Timestamp,
        /// First instant after the last window.
        stop: Timestamp,
        /// How many objects.
        objects: u64,
        /// Tells them from others that are late in the same windows: the same whenever the same are found again.
        tag: String,
    },
    /// No new object has arrived for as long as `follow.canary` says.
    Canary {
        /// File time of the newest one; when following began if there is none within the horizon.
        since: Timestamp,
        /// Whether the source, or the store, could not be looked at: objects may have come that nobody has seen.
        #[serde(default)]
        is_blind: bool,
    },
    /// A window could not be built; it is tried again.
    Failed {
        /// First instant of the window.
        start: Timestamp,
        /// First instant after the window.
        stop: Timestamp,
        /// Why.
        reason: String,
    },
    /// What a window calls for could not be handed over for delivery; it is tried again.
    Undelivered {
        /// First instant of the window.
        start: Timestamp,
        /// First instant after the window.
        stop: Timestamp,
        /// Why.
        reason: String,
    },
    /// What a window calls for was handed over, to be delivered from now on.
    HandedOver {
        /// First instant of the window.
        start: Timestamp,
        /// First instant after the window.
        stop: Timestamp,
        /// The version that it is delivered of.
        version: u64,
    },
    /// A round could not be finished, such as because the source could not be listed; the next one tries again.
    Interrupted {
        /// Why.
        reason: String,
    },
    /// Nothing can be done because the store does not say who is to work; it is asked again and again.
    Blocked {
        /// Why.
        reason: String,
    },
    /// Following ended because it was told to.
    Stopped {
        /// Whether the round under way took too long and was dropped; else it is finished.
        is_dropped: bool,
    },
    /// This follower works from now on, or stands by because another one does.
    Leads {
        /// Whether it works.
        leads: bool,
    },
}

/// Where what happens goes to have an effect: the comparisons of windows and the deliveries of their results.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// Does what `event` calls for.
    ///
    /// Called with [`Event::Closed`] and [`Event::Amended`] until it returns without an error, before and after restarts:
    /// at least once for the newest final version of each window, and now and then again, so what goes out carries an
    /// identity made of window and version. With [`Event::Late`] and [`Event::Canary`] likewise; the notification of an
    /// object that is too late is acknowledged after that. Called with [`Event::Published`] of a provisional version, too,
    /// and with no other.
    ///
    /// # Errors
    /// Whatever keeps the effect from being durable.
    async fn deliver(&self, event: &Event) -> Result<()>;
}

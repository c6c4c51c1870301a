//! What a follower leaves behind, and that it goes: versions of windows that were superseded before they closed, and what
//! was delivered of windows that nobody looks at any more.

use super::Follower;
use super::deliveries::Deliveries;
use super::lease::Lease;
use crate::catalog::Catalog;
use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::pipeline::superseded::{Superseded, remove_superseded, superseded};
use chrono::TimeDelta;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a follower that works sweeps.
const EVERY: Duration = Duration::from_secs(600);

/// Sweeps beside the rounds. Whatever it is at may be broken off at any time: the next sweep goes on.
pub(super) struct Sweeper {
    catalog: Catalog,
    clock: Clock,
    deliveries: Option<Arc<Deliveries>>,
    width: TimeDelta,
    horizon: TimeDelta,
    kept: TimeDelta,
}

impl Sweeper {
    /// Sweeps at intervals while `lease` is held, until `done`.
    pub(super) async fn run(&self, lease: &Lease, done: &CancellationToken) {
        loop {
            if lease.is_held() {
                let _ = done.run_until_cancelled(self.try_sweep()).await;
            }
            if done.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Sweeps once; what it cannot do is left to the next time.
    pub(super) async fn try_sweep(&self) {
        match self.sweep().await {
            Ok(versions) => tracing::debug!(versions, "superseded versions were removed"),
            Err(error) => tracing::warn!(error = error.copy().to_string(), "what was superseded could not be removed"),
        }
    }

    async fn sweep(&self) -> Result<u64> {
        let now = self.clock.now();
        // No window that begins before this is looked at again, see `look_beyond`.
        let first = now - self.horizon * 2;
        if let Some(deliveries) = &self.deliveries {
            deliveries.sweep(first, self.width).await?;
        }
        let found = superseded(&self.catalog, Some(&(first..Timestamp::MAX_UTC)), self.kept, now).await?;
        remove_superseded(&self.catalog, &found).await?;
        Ok(found.values().map(|Superseded { versions }| versions.len() as u64).sum())
    }
}

impl Follower {
    /// Removes what was superseded long enough ago in the windows that it may still look at, as [`Follower::run`] does now
    /// and then; returns how many versions that was.
    ///
    /// # Errors
    /// What the store says; the next sweep goes on.
    pub async fn sweep(&self) -> Result<u64> {
        self.sweeper().sweep().await
    }

    pub(super) fn sweeper(&self) -> Sweeper {
        Sweeper {
            catalog: self.builder.catalog.clone(),
            clock: self.builder.clock,
            deliveries: self.deliveries.clone(),
            width: self.options.width,
            horizon: self.options.horizon,
            kept: self.options.keep_superseded,
        }
    }
}

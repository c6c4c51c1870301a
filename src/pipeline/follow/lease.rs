//! Who of several followers works: the one that the newest entry of a journal names, until the time it says. Two that
//! work at once do no harm; the lease only keeps them from doing everything twice.

use crate::catalog::{Catalog, Entry, Journal};
use crate::clock::{Clock, Timestamp};
use crate::error::{ErrorKind, Result};
use crate::pipeline::bounds::is_over;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Times that a lease is renewed before it runs out.
const RENEWALS: i32 = 3;
/// How often it is looked whether a lease has run out.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An entry: who works, and until when.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Holding {
    holder: Uuid,
    until: Timestamp,
}

/// The lease of one kind of work in a store.
#[derive(Debug)]
pub(super) struct Lease {
    journal: Journal,
    /// Name of the work.
    id: String,
    holder: Uuid,
    length: TimeDelta,
    clock: Clock,
    /// Until when it is held, as far as is known.
    until: watch::Sender<Option<Timestamp>>,
}

impl Lease {
    pub(super) fn new(catalog: &Catalog, id: String, length: TimeDelta, clock: Clock) -> Lease {
        let (journal, holder) = (Journal::new(catalog, "followers"), Uuid::new_v4());
        Lease { journal, id, holder, length, clock, until: watch::Sender::new(None) }
    }

    /// Takes the lease if it is free, or holds it longer if it is ours. Returns whether it is.
    ///
    /// # Errors
    /// What the store says; the lease is then held for as long as it was.
    pub(super) async fn hold(&self) -> Result<bool> {
        let now = self.clock.now();
        let newest = self.journal.newest::<Holding>(&self.id).await?;
        let is_anothers = |entry: &Entry<Holding>| {
            let name = || format!("v1/followers/{}, entry {}", self.id, entry.number);
            entry.value.holder != self.holder && !is_over(entry.value.until, now, name)
        };
        let until = if newest.as_ref().is_some_and(is_anothers) {
            None
        } else {
            let holding = Holding { holder: self.holder, until: now + self.length };
            match self.journal.append(&self.id, newest.map_or(0, |entry| entry.number), &holding).await {
                Ok(_) => Some(holding.until),
                Err(error) if error.kind() == ErrorKind::Conflict => None,
                Err(error) => return Err(error),
            }
        };
        self.until.send_replace(until);
        Ok(until.is_some())
    }

    /// Whether it is held now.
    pub(super) fn is_held(&self) -> bool {
        self.until.borrow().is_some_and(|until| self.clock.now() < until)
    }

    /// Waits until it is held.
    pub(super) async fn held(&self) {
        let mut until = self.until.subscribe();
        while !self.is_held() {
            // What was held may have run out without a word.
            let _ = tokio::time::timeout(LOOK_AGAIN, until.changed()).await;
        }
    }

    /// Holds it on, or tries to get it, until `done`.
    pub(super) async fn keep(&self, done: &CancellationToken) {
        let pause = (self.length / RENEWALS).to_std().unwrap_or_default();
        while done.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            if let Err(error) = self.hold().await {
                tracing::warn!(error = error.copy().to_string(), "the lease of the follower could not be renewed");
            }
        }
    }

    /// Lets others have it at once.
    ///
    /// # Errors
    /// What the store says: it then runs out by itself.
    pub(super) async fn release(&self) -> Result<()> {
        if self.until.send_replace(None).is_none() {
            return Ok(());
        }
        match self.journal.newest::<Holding>(&self.id).await? {
            Some(newest) if newest.value.holder == self.holder => {
                let ended = Holding { holder: self.holder, until: self.clock.now() };
                self.journal.append(&self.id, newest.number, &ended).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use std::sync::Arc;

    #[tokio::test]
    async fn one_works_and_another_takes_over_when_it_ends_or_falls_silent() {
        let catalog = Catalog::new(Arc::new(InMemory::new()), Path::default(), "memory://");
        let at = |minute: i64| Clock::fixed(chrono::DateTime::from_timestamp(minute * 60, 0).unwrap());
        let mut first = Lease::new(&catalog, "1h".into(), TimeDelta::minutes(3), at(0));
        let mut second = Lease::new(&catalog, "1h".into(), TimeDelta::minutes(3), at(1));
        assert!(first.hold().await.unwrap() && first.is_held());
        assert!(!second.hold().await.unwrap() && !second.is_held());
        first.clock = at(2);
        assert!(first.hold().await.unwrap(), "it renews its own");
        second.clock = at(4);
        assert!(!second.hold().await.unwrap());
        second.clock = at(5);
        assert!(second.hold().await.unwrap(), "what is not renewed runs out");
        first.clock = at(6);
        assert!(!first.is_held() && !first.hold().await.unwrap());
        second.release().await.unwrap();
        assert!(first.hold().await.unwrap());
        let mut ahead = Lease::new(&catalog, "1d".into(), TimeDelta::minutes(3), at(3_000_000));
        assert!(ahead.hold().await.unwrap());
        ahead.holder = Uuid::new_v4();
        ahead.clock = at(6);
        assert!(ahead.hold().await.unwrap(), "what a wrong clock has written down holds nobody up");
        let other = Lease::new(&catalog, "10m".into(), TimeDelta::minutes(3), at(6));
        assert!(other.hold().await.unwrap(), "windows of another width are other work");
    }
}

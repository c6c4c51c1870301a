//! Who of several followers works: the one that the newest entry of a journal names, until the time it says. Two that
//! work at once do no harm; the lease only keeps them from doing everything twice.

use crate::catalog::{Catalog, Entry, Journal};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::bounds::is_over;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Times that a lease is renewed before it runs out.
const RENEWALS: i32 = 3;
/// How often it is looked at least whether a lease has run out.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An entry: who works, and until when.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Holding {
    holder: Uuid,
    until: Timestamp,
}

/// Who is to work, as far as the store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Whoever asks.
    Ours,
    /// Another one.
    Anothers,
    /// The store does not say.
    Unknown { reason: String },
}

/// What the store said last.
#[derive(Clone, Debug, Default)]
struct Said {
    /// Until when the lease is held.
    until: Option<Timestamp>,
    /// Whether another one holds it.
    is_anothers: bool,
    /// Why it said nothing when it was asked last.
    trouble: Option<String>,
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
    said: watch::Sender<Said>,
}

impl Lease {
    pub(super) fn new(catalog: &Catalog, id: String, length: TimeDelta, clock: Clock) -> Lease {
        let (journal, holder) = (Journal::new(catalog, "followers"), Uuid::new_v4());
        Lease { journal, id, holder, length, clock, said: watch::Sender::default() }
    }

    /// Takes the lease if it is free, or holds it longer if it is ours. Returns whether it is.
    ///
    /// # Errors
    /// What the store says, `Unavailable` if it says nothing for as long as a lease lasts; the lease is then held for as
    /// long as it was.
    pub(super) async fn hold(&self) -> Result<bool> {
        let silent = |_| {
            let seconds = self.length.num_seconds();
            Err(Error::new(ErrorKind::Unavailable, format!("the store has not answered for {seconds} s")))
        };
        let length = self.length.to_std().unwrap_or_default();
        let held = tokio::time::timeout(length, self.ask()).await.unwrap_or_else(silent);
        match &held {
            Ok(until) => {
                self.said.send_replace(Said { until: *until, is_anothers: until.is_none(), trouble: None });
            }
            Err(error) => self.said.send_modify(|said| said.trouble = Some(error.copy().to_string())),
        }
        held.map(|until| until.is_some())
    }

    /// Asks the store for the lease; returns until when it is held, or nothing if it is another's.
    async fn ask(&self) -> Result<Option<Timestamp>> {
        let now = self.clock.now();
        let newest = self.journal.newest::<Holding>(&self.id).await?;
        let is_anothers = |entry: &Entry<Holding>| {
            let name = || format!("v1/followers/{}, entry {}", self.id, entry.number);
            entry.value.holder != self.holder && !is_over(entry.value.until, now, name)
        };
        if newest.as_ref().is_some_and(is_anothers) {
            return Ok(None);
        }
        let holding = Holding { holder: self.holder, until: now + self.length };
        match self.journal.append(&self.id, newest.map_or(0, |entry| entry.number), &holding).await {
            Ok(_) => Ok(Some(holding.until)),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it is held now.
    pub(super) fn is_held(&self) -> bool {
        self.standing() == Standing::Ours
    }

    /// Who is to work now. That another one is, nobody can say of a store that does not answer.
    pub(super) fn standing(&self) -> Standing {
        let said = self.said.borrow();
        match &said.trouble {
            _ if said.until.is_some_and(|until| self.clock.now() < until) => Standing::Ours,
            None if said.is_anothers => Standing::Anothers,
            None => Standing::Unknown { reason: "the store has not answered yet".to_owned() },
            Some(reason) => Standing::Unknown { reason: reason.clone() },
        }
    }

    /// Waits until the store has said something, or time has passed: what was held may have run out without a word.
    pub(super) async fn changed(&self) {
        let _ = tokio::time::timeout(LOOK_AGAIN, self.said.subscribe().changed()).await;
    }

    /// Holds it on, or tries to get it, until `done`.
    pub(super) async fn keep(&self, done: &CancellationToken) {
        let pause = (self.length / RENEWALS).to_std().unwrap_or_default();
        while done.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            if let Some(Err(error)) = done.run_until_cancelled(self.hold()).await {
                tracing::warn!(error = error.copy().to_string(), "the lease of the follower could not be had");
            }
        }
    }

    /// Lets others have it at once.
    ///
    /// # Errors
    /// What the store says: it then runs out by itself.
    pub(super) async fn release(&self) -> Result<()> {
        if self.said.send_replace(Said::default()).until.is_none() {
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

    /// Nobody can write where a file lies in the way.
    #[tokio::test]
    async fn of_a_store_that_fails_nobody_says_that_another_one_works() {
        let folder = tempfile::tempdir().unwrap();
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let catalog = Catalog::new(Arc::new(store), Path::default(), "folder");
        let at = |minute: i64| Clock::fixed(chrono::DateTime::from_timestamp(minute * 60, 0).unwrap());
        let mut lease = Lease::new(&catalog, "1h".into(), TimeDelta::minutes(3), at(0));
        assert!(matches!(lease.standing(), Standing::Unknown { .. }), "nobody was asked");
        let journals = folder.path().join("v1");
        std::fs::write(&journals, "in the way").unwrap();
        let reason = lease.hold().await.unwrap_err().copy().to_string();
        assert_eq!(lease.standing(), Standing::Unknown { reason });
        std::fs::remove_file(&journals).unwrap();
        assert!(lease.hold().await.unwrap());
        std::fs::rename(&journals, folder.path().join("aside")).unwrap();
        std::fs::write(&journals, "in the way").unwrap();
        assert!(lease.hold().await.is_err());
        lease.clock = at(2);
        assert_eq!(lease.standing(), Standing::Ours, "it is held for as long as it was");
        lease.clock = at(3);
        assert!(matches!(lease.standing(), Standing::Unknown { .. }));
    }

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

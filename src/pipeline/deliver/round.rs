//! Tells what is due: finds it in the store, takes it so that no other process does, compares, sends, writes down. In: ids.
//! Out: messages.

use super::found::{collect, diff_options};
use super::message::{Message, MessageState};
use super::record::{Record, Told, Versions};
use super::webhook::Failure;
use super::{Deliveries, Line, Parts, duration};
use crate::catalog::Entry;
use crate::clock::Timestamp;
use crate::diff::diff;
use crate::error::{Error, Result};
use crate::meters;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// States that are read at once.
const CONCURRENCY: usize = 16;

/// What came of one delivery.
enum Outcome {
    /// It is told, or there was nothing to tell, or nothing is left to be compared.
    Done,
    /// Another process is at it, or the digests are not there yet.
    Later,
}

impl Deliveries {
    /// Tells what is due and what becomes due, until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        let look = async {
            while !stop.is_cancelled() {
                if let Err(error) = self.look().await {
                    tracing::warn!(error = error.copy().to_string(), "what is due could not be looked for");
                }
                stop.run_until_cancelled(tokio::time::sleep(duration(self.parts.options.lease))).await;
            }
        };
        let work = self.lines.iter().map(|line| async move {
            while let Some((time, id)) = stop.run_until_cancelled(line.queue.next()).await {
                self.deliver(line, time, id, stop).await;
            }
        });
        tokio::join!(look, join_all(work));
    }

    /// Tries everything that is due once, and returns how much is left.
    ///
    /// # Errors
    /// What the store says when it is asked what is due.
    pub async fn settle(&self) -> Result<u64> {
        self.look().await?;
        let never = &CancellationToken::new();
        let work = self.lines.iter().map(|line| async move {
            for (time, id) in line.queue.all() {
                if self.deliver(line, time, id, never).await {
                    break;
                }
            }
        });
        join_all(work).await;
        Ok(self.figures().pending)
    }

    /// Looks for what is due in the store: what was there before this process, and what others left.
    async fn look(&self) -> Result<()> {
        let heads = self.messages.heads().await?;
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let known = |id: &str| id.parse::<Uuid>().ok();
        seen.retain(|id, _| heads.contains_key(&id.to_string()));
        let unread = heads.iter().filter_map(|(id, head)| {
            let id = known(id)?;
            (seen.get(&id) != Some(&head.number)).then_some(id)
        });
        let entries: Result<Vec<_>> = stream::iter(unread)
            .map(|id| async move { Ok((id, self.messages.newest::<Record>(&id.to_string()).await?)) })
            .buffered(CONCURRENCY)
            .try_collect()
            .await;
        let looked = match entries {
            Ok(entries) => self.sort(entries, &mut seen).await,
            Err(error) => Err(error),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        looked
    }

    async fn sort(&self, entries: Vec<(Uuid, Option<Entry<Record>>)>, seen: &mut HashMap<Uuid, u64>) -> Result<()> {
        let oldest = self.parts.clock.now() - self.parts.options.kept_for;
        for (id, entry) in entries {
            let Some(Entry { number, value: record }) = entry else { continue };
            let line = self.lines.iter().find(|line| line.report.name == record.report);
            if record.after.stop < oldest {
                if record.is_due() {
                    tracing::warn!(report = record.report, %id, "a message that nobody took is given up");
                }
                self.messages.remove(&id.to_string(), number).await?;
            } else if let Some(line) = line.filter(|_| record.is_due()) {
                line.queue.add(record.after.start, id);
            } else {
                seen.insert(id, number);
            }
        }
        Ok(())
    }

    /// Tells one delivery. Returns whether the receiver is down.
    async fn deliver(&self, line: &Line, time: Timestamp, id: Uuid, stop: &CancellationToken) -> bool {
        line.queue.begin(time, id);
        match self.tell(line, id, stop).await {
            Ok(Outcome::Done) => line.queue.remove(time, id),
            Ok(Outcome::Later) => line.queue.pause(time, id, false, duration(self.parts.options.lease), None),
            Err(Failure { error, is_down, retry_after }) => {
                self.counts.failed.fetch_add(1, Relaxed);
                meters::delivery(&line.report.name, "failed");
                let (report, to) = (&line.report.name, line.destination.to_string());
                let error = error.context(format!("tell report {report}")).copy().to_string();
                tracing::warn!(report, to, %id, error, "a message was not taken; it is sent again later");
                line.queue.pause(time, id, is_down, duration(self.parts.options.retry_max), retry_after);
                return is_down;
            }
        }
        false
    }

    /// Tells the newest versions of both windows, and then those that have become newer meanwhile.
    async fn tell(&self, line: &Line, id: Uuid, stop: &CancellationToken) -> Result<Outcome, Failure> {
        let (me, clock, lease) = (self.holder, self.parts.clock, self.parts.options.lease);
        while let Some(claimed) = self.update(id, |record| record?.claim(me, clock.now(), lease)).await? {
            let told = self.tell_claimed(line, claimed.value, stop).await;
            if !matches!(told, Ok(Outcome::Done)) {
                let mine =
                    |record: Option<&Record>| record.filter(|record| record.is_claimed_by(me)).map(Record::released);
                if let Err(error) = self.update(id, mine).await {
                    tracing::debug!(%id, error = error.copy().to_string(), "a claim runs out by itself");
                }
                return told;
            }
        }
        let newest = self.messages.newest::<Record>(&id.to_string()).await?;
        let is_due = newest.is_some_and(|entry| entry.value.is_due());
        Ok(if is_due { Outcome::Later } else { Outcome::Done })
    }

    async fn tell_claimed(&self, line: &Line, record: Record, stop: &CancellationToken) -> Result<Outcome, Failure> {
        let (before, window) = (record.before.window()?, record.after.window()?);
        let catalog = &self.parts.catalog;
        let (Some(before), Some(after)) = (catalog.latest(&before).await?, catalog.latest(&window).await?) else {
            tracing::info!(report = record.report, %window, "a digest is no more: there is nothing to compare");
            return self.finish(&record, record.wanted, None).await;
        };
        let versions = Versions { before: before.version, after: after.version };
        if !versions.cover(&record.wanted) || !line.takes(&before) || !line.takes(&after) {
            return Ok(Outcome::Later);
        }
        let Parts { session, clock, diff: defaults, .. } = &self.parts;
        let options = diff_options(&line.report, defaults);
        let rows = diff(session, catalog, &before, &after, &options, clock.now()).await?;
        let found = collect(rows, &line.report).await?;
        let contents = found.contents();
        if !record.must_tell(&contents, line.report.empty) {
            self.counts.silent.fetch_add(1, Relaxed);
            meters::delivery(&line.report.name, "silent");
            return self.finish(&record, versions, None).await;
        }
        let me = self.holder;
        let until = clock.now() + self.parts.options.lease;
        let attempted = self.update(record.id(), |newest| {
            let newest = newest.filter(|newest| newest.is_claimed_by(me))?;
            Some(newest.attempt(versions, contents.clone(), me, until))
        });
        // Comparing took longer than the lease, and another process has it.
        let Some(Entry { value: record, .. }) = attempted.await? else { return Ok(Outcome::Later) };
        let Some(attempt) = &record.attempt else {
            return Err(Error::internal("an attempt that was written is not there").into());
        };
        let message = Message::new((&record, attempt), &line.report, (&before, &after), found, clock.now());
        line.destination.deliver(&message.envelope(line.report.body)?, *clock, stop).await?;
        self.counts.told.fetch_add(1, Relaxed);
        let result = match message.state {
            MessageState::First => "told",
            MessageState::Amended => {
                self.counts.amended.fetch_add(1, Relaxed);
                "amended"
            }
            MessageState::Retracted => {
                self.counts.retracted.fetch_add(1, Relaxed);
                "retracted"
            }
        };
        meters::delivery(&line.report.name, result);
        let told = Told { revision: attempt.revision, contents: attempt.contents.clone() };
        self.finish(&record, versions, Some(told)).await
    }

    /// Writes down that `versions` were told, or had nothing to tell. Newer ones may be wanted by now.
    async fn finish(&self, record: &Record, versions: Versions, told: Option<Told>) -> Result<Outcome, Failure> {
        let (id, me) = (record.id(), self.holder);
        let finished = self.update(id, |newest| {
            Some(newest.filter(|newest| newest.is_claimed_by(me))?.finished(versions, told.clone()))
        });
        let Some(Entry { number, .. }) = finished.await? else { return Ok(Outcome::Later) };
        // One state is enough to go on from.
        if let Err(error) = self.messages.remove(&id.to_string(), number - 1).await {
            tracing::debug!(%id, error = error.copy().to_string(), "old states are left");
        }
        Ok(Outcome::Done)
    }
}

//! Tells what is due: finds it in the store, takes it so that no other process does, compares, sends, writes down. In: ids.
//! Out: messages.

use super::found::{collect, diff_options};
use super::message::{Message, MessageState};
use super::notice::NoticeRecord;
use super::options::Report;
use super::queue::Kept;
use super::record::{Attempt, Item, Record, Telling, Told, Versions};
use super::webhook::Failure;
use super::{Deliveries, Line, Parts, Seen, duration};
use crate::catalog::{Entry, Manifest};
use crate::clock::Timestamp;
use crate::diff::diff;
use crate::error::{Error, Result};
use crate::meters;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// States that are read at once.
const CONCURRENCY: usize = 16;
/// The least pause before what another process has is looked at again: clocks tell whole seconds.
const CLAIMED_MIN: Duration = Duration::from_secs(1);
/// Failures in a row after which a receiver is taken to be down.
const FAILURES_MAX: u32 = 3;

/// What came of one delivery.
pub(super) enum Outcome {
    /// It is told, or there was nothing to tell, or nothing is left to be compared.
    Done,
    /// It may not be begun before this instant: another process is at it until then.
    At(Timestamp),
    /// The digests are not there yet.
    Later,
}

impl Kept {
    /// Whether it is what a record that is claimed has to tell.
    fn is_told_by(&self, record: &Record, versions: &Versions, report: &Report) -> bool {
        let is_same = |attempt: &&Attempt| {
            self.versions == *versions && attempt.versions == *versions && attempt.revision == self.message.revision
        };
        let attempt = record.attempt.as_ref().filter(is_same);
        attempt.is_some_and(|attempt| record.must_tell(&attempt.contents, report.empty))
    }
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
            while let Some((time, item)) = stop.run_until_cancelled(line.queue.next()).await {
                self.deliver(line, time, item, stop).await;
            }
        });
        tokio::join!(look, join_all(work));
    }

    /// Tries everything that is due once, and returns how much is left. What a receiver fails to take holds up nothing
    /// else, until it has failed for different messages a few times in a row: then it is down, and the rest is left.
    ///
    /// # Errors
    /// What the store says when it is asked what is due.
    pub async fn settle(&self) -> Result<u64> {
        self.settle_until(&CancellationToken::new()).await
    }

    /// Likewise until `stop`: what fails because of it is not worth a word.
    ///
    /// # Errors
    /// As [`Deliveries::settle`].
    pub async fn settle_until(&self, stop: &CancellationToken) -> Result<u64> {
        self.look().await?;
        let work = self.lines.iter().map(|line| async move {
            let (mut left, mut failures) = (VecDeque::from(line.queue.all()), 0);
            // After a failure the newest: what else is old may be of the kind that failed.
            while let Some((time, item)) = if failures == 0 { left.pop_front() } else { left.pop_back() } {
                let is_down = self.deliver(line, time, item, stop).await;
                failures = if is_down { failures + 1 } else { 0 };
                if failures == FAILURES_MAX || stop.is_cancelled() {
                    break;
                }
            }
        });
        join_all(work).await;
        Ok(self.figures().pending)
    }

    /// Looks for what is due in the store: what was there before this process, and what others left. What is older than it
    /// is kept goes.
    async fn look(&self) -> Result<()> {
        self.look_through::<Record>(Item::Comparison).await?;
        self.look_through::<NoticeRecord>(Item::Notice).await
    }

    async fn look_through<T: Telling>(&self, item: fn(Uuid) -> Item) -> Result<()> {
        let journal = self.journal(item(Uuid::nil()));
        let oldest = self.parts.clock.now() - self.parts.options.kept_for;
        let heads = journal.heads().await?;
        self.seen().retain(|known, _| *known != item(known.id()) || heads.contains_key(&known.to_string()));
        let (mut unread, mut old) = (Vec::new(), Vec::new());
        for (id, head) in &heads {
            let Ok(id) = id.parse::<Uuid>() else { continue };
            match self.seen().get(&item(id)).filter(|seen| seen.number == head.number) {
                Some(seen) if seen.dated < oldest => old.push((item(id), head.number)),
                Some(_) => {}
                None => unread.push(item(id)),
            }
        }
        let mut entries = stream::iter(unread)
            .map(|item| async move { Ok::<_, Error>((item, journal.newest::<T>(&item.to_string()).await?)) })
            .buffered(CONCURRENCY);
        while let Some((item, entry)) = entries.try_next().await? {
            let Some(Entry { number, value: record }) = entry else { continue };
            let line = self.lines.iter().find(|line| line.report.name == record.report());
            if record.dated() < oldest {
                if record.is_due() {
                    tracing::warn!(report = record.report(), id = %item, "a message that nobody took is given up");
                }
                old.push((item, number));
            } else if let Some(line) = line.filter(|_| record.is_due()) {
                line.queue.add(record.age(), item, record.rest());
            } else {
                self.seen().insert(item, Seen { number, dated: record.dated() });
            }
        }
        for (item, number) in old {
            journal.remove(&item.to_string(), number).await?;
        }
        Ok(())
    }

    /// Tells one delivery. Returns whether the receiver is down.
    async fn deliver(&self, line: &Line, time: Timestamp, item: Item, stop: &CancellationToken) -> bool {
        line.queue.begin(time, item);
        let told = match item {
            Item::Comparison(_) => self.tell(line, item, stop).await,
            Item::Notice(_) => self.tell_notice(line, item, stop).await,
        };
        match told {
            Ok(Outcome::Done) => line.queue.remove(time, item),
            Ok(Outcome::At(instant)) => {
                let wait = duration(instant - self.parts.clock.now()).max(CLAIMED_MIN);
                line.queue.postpone(time, item, wait);
            }
            Ok(Outcome::Later) => line.queue.postpone_longer(time, item, duration(self.parts.options.lease)),
            Err(Failure { error, is_down, retry_after }) => {
                self.counts.failed.fetch_add(1, Relaxed);
                meters::delivery(&line.report.name, "failed");
                let (report, to) = (&line.report.name, line.destination.to_string());
                let error = error.context(format!("tell report {report}")).copy();
                let (hint, error) = (error.hint(), error.to_string());
                // A message is tried again and again: what is the same as before need not be read as often.
                if !stop.is_cancelled() && line.queue.is_news(time, item, &error) {
                    tracing::warn!(report, to, id = %item, error, hint, "a message was not taken; it is sent again later");
                } else {
                    tracing::debug!(report, to, id = %item, error, hint, "a message was not taken again");
                }
                line.queue.pause(time, item, is_down, duration(self.parts.options.retry_max), retry_after);
                return is_down;
            }
        }
        false
    }

    /// Tells the newest versions of both windows, and then those that have become newer meanwhile.
    async fn tell(&self, line: &Line, item: Item, stop: &CancellationToken) -> Result<Outcome, Failure> {
        let (me, clock, lease) = (self.holder, self.parts.clock, self.parts.options.lease);
        let claim = |record: Option<&Record>| record?.claim(me, clock.now(), lease);
        while let Some(claimed) = self.update(item, claim).await? {
            let told = self.tell_claimed(line, claimed.value, stop).await;
            if !matches!(told, Ok(Outcome::Done)) {
                self.release::<Record>(item).await;
                return told;
            }
        }
        self.left::<Record>(item).await
    }

    /// Lets others have what this process has taken.
    pub(super) async fn release<T: Telling>(&self, item: Item) {
        let mine = |record: Option<&T>| record.filter(|record| record.is_claimed_by(self.holder)).map(T::released);
        if let Err(error) = self.update(item, mine).await {
            tracing::debug!(id = %item, error = error.copy().to_string(), "a claim runs out by itself");
        }
    }

    /// What is left to do for what this process could not take.
    pub(super) async fn left<T: Telling>(&self, item: Item) -> Result<Outcome, Failure> {
        let newest = self.journal(item).newest::<T>(&item.to_string()).await?;
        let Some(record) = newest.map(|entry| entry.value).filter(T::is_due) else { return Ok(Outcome::Done) };
        Ok(record.claimed().map_or(Outcome::Later, |claim| Outcome::At(claim.until)))
    }

    async fn tell_claimed(&self, line: &Line, record: Record, stop: &CancellationToken) -> Result<Outcome, Failure> {
        let (before, window) = (record.before.window()?, record.after.window()?);
        let catalog = &self.parts.catalog;
        let (Some(before), Some(after)) = (catalog.latest(&before).await?, catalog.latest(&window).await?) else {
            tracing::info!(report = record.report, %window, "a digest is no more: there is nothing to compare");
            return self.told(&record, record.wanted, None).await;
        };
        let versions = Versions { before: before.version, after: after.version };
        if !versions.cover(&record.wanted) || !line.takes(&before) || !line.takes(&after) {
            return Ok(Outcome::Later);
        }
        let (clock, item) = (self.parts.clock, Item::Comparison(record.id()));
        let kept = line.queue.kept(record.age(), item);
        let made = match kept.filter(|kept| kept.is_told_by(&record, &versions, &line.report)) {
            Some(kept) => ControlFlow::Continue((record, kept.message.made_at(clock.now()))),
            None => self.compare(line, record, versions, (&before, &after)).await?,
        };
        let (record, message) = match made {
            ControlFlow::Continue(made) => made,
            ControlFlow::Break(outcome) => return Ok(outcome),
        };
        let envelope = message.envelope(line.report.body)?;
        if let Err(failure) = line.destination.deliver(&envelope, clock, stop).await {
            let bytes = envelope.body.len();
            line.queue.keep(record.age(), item, Kept { versions, message, bytes });
            return Err(failure);
        }
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
        let told = record.attempt.as_ref().map(|attempt| {
            let Attempt { revision, contents, .. } = attempt.clone();
            Told { revision, contents }
        });
        self.told(&record, versions, told).await
    }

    /// Compares the windows of a record that is claimed, and writes down that its message is about to be sent. Where there
    /// is none, what came of it.
    async fn compare(
        &self,
        line: &Line,
        record: Record,
        versions: Versions,
        (before, after): (&Manifest, &Manifest),
    ) -> Result<ControlFlow<Outcome, (Record, Message)>, Failure> {
        let Parts { catalog, session, clock, diff: defaults, .. } = &self.parts;
        let options = diff_options(&line.report, defaults);
        let rows = diff(session, catalog, before, after, &options, clock.now()).await?;
        let found = collect(rows, &line.report).await?;
        let contents = found.contents();
        if !record.must_tell(&contents, line.report.empty) {
            self.counts.silent.fetch_add(1, Relaxed);
            meters::delivery(&line.report.name, "silent");
            return self.told(&record, versions, None).await.map(ControlFlow::Break);
        }
        let me = self.holder;
        let until = clock.now() + self.parts.options.lease;
        let attempted = self.update(Item::Comparison(record.id()), |newest: Option<&Record>| {
            let newest = newest.filter(|newest| newest.is_claimed_by(me))?;
            Some(newest.attempt(versions, contents.clone(), me, until))
        });
        // Comparing took longer than the lease, and another process has it.
        let Some(Entry { value: record, .. }) = attempted.await? else { return Ok(ControlFlow::Break(Outcome::Later)) };
        let Some(attempt) = &record.attempt else {
            return Err(Error::internal("an attempt that was written is not there").into());
        };
        let message = Message::new((&record, attempt), &line.report, (before, after), found, clock.now());
        Ok(ControlFlow::Continue((record, message)))
    }

    /// Writes down that `versions` were told, or had nothing to tell. Newer ones may be wanted by now.
    async fn told(&self, record: &Record, versions: Versions, told: Option<Told>) -> Result<Outcome, Failure> {
        self.finish(Item::Comparison(record.id()), |record: &Record| record.finished(versions, told.clone())).await
    }

    /// Writes down what `next` makes of an item, if it is still this process that has it.
    pub(super) async fn finish<T: Telling>(&self, item: Item, next: impl Fn(&T) -> T) -> Result<Outcome, Failure> {
        let mine = |record: Option<&T>| record.filter(|record| record.is_claimed_by(self.holder)).map(&next);
        let Some(Entry { number, .. }) = self.update(item, mine).await? else { return Ok(Outcome::Later) };
        // One state is enough to go on from.
        if let Err(error) = self.journal(item).remove(&item.to_string(), number - 1).await {
            tracing::debug!(id = %item, error = error.copy().to_string(), "old states are left");
        }
        Ok(Outcome::Done)
    }
}

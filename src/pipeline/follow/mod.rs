//! Keeps the digests of recent windows up to date as objects arrive. In: a builder, a source of notifications if there is
//! one, a sink. Out: versions of digests, and events.
//!
//! It goes in rounds. A round lists recent file times (or is told of objects), reads what the newest versions of the
//! windows have not taken, each object once, and publishes. A window is provisional until the watermark has passed the
//! time in which its objects come; what comes later makes another final version. Whenever a window has a new final
//! version, the sink is told, until it says that it has done its part.
//!
//! What was taken and what was delivered is known from the store alone: rounds begin with what is published, whoever
//! published it, so a follower may end at any time, and several may work at once without harm (see `lease`).

mod arrivals;
mod beyond;
mod connect;
mod deliveries;
mod event;
mod lease;
mod options;
mod place;
mod publish;
mod round;
mod status;
mod stop;
mod sweep;

pub use arrivals::{Arrival, Arrivals, Receipt};
pub use event::{Event, Sink};
pub use options::Options;
pub use round::Round;
pub use status::{Facts, Status};
pub use stop::{GRACE, within_grace};

use crate::clock::{Clock, Timestamp};
use crate::digest::Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::scan::Report;
use crate::window::{Window, split};
use arrivals::gather;
use chrono::TimeDelta;
use deliveries::Deliveries;
use lease::{Lease, Standing};
use place::Place;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stop::{FAREWELL, set_when_stopped};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Shows what happens. Called at once, so it must not wait.
pub type Tell = Arc<dyn Fn(&Event) + Send + Sync>;

/// Says whether the source is there, where a listing does not tell.
pub type Check = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// Follows a source.
pub struct Follower {
    builder: Builder,
    options: Options,
    tell: Tell,
    check: Option<Check>,
    arrivals: Option<Arc<dyn Arrivals>>,
    deliveries: Option<Arc<Deliveries>>,
    status: Arc<Status>,
    report: Arc<Report>,
    place: Place,
}

/// Notifications that wait for a round at the most, and that [`Follower::run_once`] takes at the most.
const TOLD_MAX: usize = 10_000;

impl Follower {
    /// Follows the source of `builder`; what happens is shown by `tell`.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of its bounds, the width does not fit into days, or the horizon is too short for it.
    pub fn new(mut builder: Builder, options: Options, tell: Tell) -> Result<Follower> {
        options.check()?;
        // Each holds row groups of its own, and a round has time: late objects and closings come several windows at once.
        builder.options.publishing_max = 1;
        let epoch = Timestamp::UNIX_EPOCH;
        split(&Window::new(epoch, epoch + TimeDelta::days(1))?, options.width).map(drop)?;
        if options.horizon < options.width * 2 + builder.options.lateness {
            let least = options.width * 2 + builder.options.lateness;
            return Err(Error::invalid("follow.horizon is shorter than two windows and digest.lateness")
                .with_hint(format!("give it {} hours or more", least.num_minutes().unsigned_abs().div_ceil(60))));
        }
        let place = Place::new(builder.clock.now());
        let (status, report) = (Arc::<Status>::default(), Report::remembering(options.remembered_max));
        status.update(|facts| facts.began = Some(builder.clock.now()));
        Ok(Follower { builder, options, tell, check: None, arrivals: None, deliveries: None, status, report, place })
    }

    /// Asks `check` before each round whether the source is there: a folder that is gone is listed as an empty one.
    pub fn with_check(self, check: Check) -> Follower {
        Follower { check: Some(check), ..self }
    }

    /// Is told of objects by `arrivals`, and lists the source less often.
    pub fn with_arrivals(self, arrivals: Arc<dyn Arrivals>) -> Follower {
        Follower { arrivals: Some(arrivals), ..self }
    }

    /// Hands what windows call for to `sink`: that of every window within the horizon that is final, and of which nothing
    /// was handed over before.
    pub fn with_sink(self, sink: Arc<dyn Sink>) -> Follower {
        let deliveries = Deliveries::new(&self.builder.catalog, sink, self.tell.clone(), self.status.clone());
        Follower { deliveries: Some(Arc::new(deliveries)), ..self }
    }

    /// Goes by another clock from now on.
    pub fn set_clock(&mut self, clock: Clock) {
        self.builder.clock = clock;
    }

    /// How it is doing.
    pub fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Tries once to deliver everything that waits; returns how many windows and other events are left.
    pub async fn settle(&self) -> usize {
        match &self.deliveries {
            Some(deliveries) => deliveries.settle().await,
            None => 0,
        }
    }

    /// Takes what is there, publishes, delivers, and ends. Where another follower works, it does nothing and returns
    /// `None`. What is not done within [`GRACE`] after `stop` is dropped.
    ///
    /// # Errors
    /// As [`Follower::round`]; `Unavailable` if it was dropped.
    pub async fn run_once(&mut self, stop: &CancellationToken) -> Result<Option<Round>> {
        let lease = self.lease();
        let ended = within_grace(stop, self.take_and_settle(&lease, stop)).await;
        release(&lease).await;
        ended.unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Unavailable,
                format!("the round was dropped: {} s were not enough", GRACE.as_secs()),
            )
            .with_hint("the next run goes on from what is published"))
        })
    }

    async fn take_and_settle(&mut self, lease: &Lease, stop: &CancellationToken) -> Result<Option<Round>> {
        if !lease.hold().await? {
            return Ok(None);
        }
        let done = CancellationToken::new();
        let work = async {
            let flag = AtomicBool::new(false);
            let round = set_when_stopped(&flag, stop, self.take_all(&flag)).await;
            self.settle().await;
            self.sweeper().try_sweep().await;
            done.cancel();
            round
        };
        let (round, ()) = tokio::join!(work, lease.keep(&done));
        round.map(Some)
    }

    /// Rounds until everything is taken that it could be told of, or [`TOLD_MAX`] notifications: others may be coming for ever.
    async fn take_all(&mut self, stop: &AtomicBool) -> Result<Round> {
        let (mut all, mut count) = (Round::default(), 0);
        let Some(arrivals) = self.arrivals.clone() else { return self.round(Vec::new(), stop).await };
        loop {
            let told = arrivals.waiting().await;
            count += told.len();
            let is_last = told.is_empty() || count >= TOLD_MAX || stop.load(Ordering::Relaxed);
            // The first one lists, whatever it is told.
            if !told.is_empty() || count == 0 {
                all.add(self.round(told, stop).await?);
            }
            arrivals.settle().await;
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Follows until `stop`; a round that is under way is finished, or dropped if it is not done within [`GRACE`]. While
    /// another follower works, it stands by.
    ///
    /// # Errors
    /// What the first round met, unless it is the kind of thing that passes.
    pub async fn run(&mut self, stop: &CancellationToken) -> Result<()> {
        let lease = self.lease();
        let ended = within_grace(stop, self.follow(&lease, stop)).await;
        release(&lease).await;
        if stop.is_cancelled() {
            (self.tell)(&Event::Stopped { is_dropped: ended.is_none() });
        }
        ended.unwrap_or(Ok(()))
    }

    async fn follow(&mut self, lease: &Lease, stop: &CancellationToken) -> Result<()> {
        let done = CancellationToken::new();
        if let Some(Err(error)) = stop.run_until_cancelled(lease.hold()).await
            && !passes(&error)
        {
            return Err(error);
        }
        let deliveries = self.deliveries.clone();
        let deliver = async {
            if let Some(deliveries) = deliveries {
                deliveries.run(&done).await;
            }
        };
        let sweeper = self.sweeper();
        let work = async {
            let ended = self.rounds(lease, stop).await;
            done.cancel();
            ended
        };
        let (ended, (), (), ()) = tokio::join!(work, lease.keep(&done), deliver, sweeper.run(lease, &done));
        if let Some(arrivals) = &self.arrivals {
            arrivals.settle().await;
        }
        ended
    }

    async fn rounds(&mut self, lease: &Lease, stop: &CancellationToken) -> Result<()> {
        let mut before = None;
        while !stop.is_cancelled() {
            let standing = lease.standing();
            let kind = std::mem::discriminant(&standing);
            if before != Some(kind) {
                before = Some(kind);
                self.stand(&standing);
            }
            if matches!(standing, Standing::Unknown { .. }) {
                self.canary(None);
            }
            if standing != Standing::Ours {
                let _ = stop.run_until_cancelled(lease.changed()).await;
                continue;
            }
            // It is told without a break, across rounds: a request to a queue that is dropped may have been given messages.
            let (sender, told) = mpsc::channel(TOLD_MAX);
            let gathering = gather(self.arrivals.clone(), sender);
            tokio::select! {
                ended = self.work(lease, stop, told) => ended?,
                never = gathering => never,
            }
        }
        Ok(())
    }

    /// Rounds, for as long as the lease is held.
    async fn work(&mut self, lease: &Lease, stop: &CancellationToken, mut told: mpsc::Receiver<Arrival>) -> Result<()> {
        while !stop.is_cancelled() && lease.is_held() {
            let next = Instant::now() + self.options.publish_every.to_std().unwrap_or_default();
            let is_first = self.status.facts().rounds == 0;
            let flag = AtomicBool::new(false);
            let told = std::iter::from_fn(|| told.try_recv().ok()).collect();
            let trouble = match set_when_stopped(&flag, stop, self.round(told, &flag)).await {
                Ok(_) => None,
                Err(error) if is_first && !passes(&error) => return Err(error),
                Err(error) => Some(error.copy().to_string()),
            };
            if let Some(reason) = trouble.clone() {
                (self.tell)(&Event::Interrupted { reason });
            }
            self.status.update(|facts| facts.trouble = trouble);
            let _ = stop.run_until_cancelled(tokio::time::sleep_until(next)).await;
        }
        Ok(())
    }

    /// Begins to work, or to wait for whatever keeps it from working.
    fn stand(&mut self, standing: &Standing) {
        let leads = *standing == Standing::Ours;
        let (trouble, event) = match standing {
            Standing::Ours | Standing::Anothers => (None, Event::Leads { leads }),
            Standing::Unknown { reason } => (Some(reason.clone()), Event::Blocked { reason: reason.clone() }),
        };
        if leads {
            // Others may have worked meanwhile, so everything is looked at anew.
            self.place = Place::new(self.builder.clock.now());
        }
        self.status.update(|facts| (facts.leads, facts.trouble) = (leads, trouble));
        (self.tell)(&event);
    }

    fn lease(&self) -> Lease {
        // Windows of another width are other work.
        let id = format!("{}s", self.options.width.num_seconds());
        Lease::new(&self.builder.catalog, id, self.options.lease, self.builder.clock)
    }
}

/// Whether an error is of a kind that passes by itself.
fn passes(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal)
}

async fn release(lease: &Lease) {
    match tokio::time::timeout(FAREWELL, lease.release()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = error.copy().to_string(), "the lease of the follower runs out by itself")
        }
        Err(_) => tracing::warn!("the store does not answer: the lease of the follower runs out by itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server follows in a task of its own.
    #[test]
    fn following_may_be_spawned() {
        fn is_send<T: Send>(_: impl Fn(&'static mut Follower, &'static CancellationToken) -> T) {}
        is_send(|follower, stop| follower.run(stop));
    }
}

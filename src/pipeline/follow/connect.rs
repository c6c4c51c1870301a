//! Connects following with what tells it of objects and with what is told of windows.

use super::Options;
use super::arrivals::{Arrival, Arrivals, Receipt};
use super::event::{Event, Sink};
use crate::error::{Error, Result};
use crate::pipeline::deliver::{self, Deliveries, Notice};
use crate::source::notify::{Ack, Notifications, Received};
use async_trait::async_trait;

#[async_trait]
impl Arrivals for Notifications {
    async fn next(&self) -> Vec<Arrival> {
        Notifications::next(self).await.into_iter().map(Arrival::from).collect()
    }

    async fn waiting(&self) -> Vec<Arrival> {
        Notifications::waiting(self).await.into_iter().map(Arrival::from).collect()
    }

    async fn settle(&self) {
        self.flush().await;
    }
}

impl From<Received> for Arrival {
    fn from(Received { objects, ack }: Received) -> Self {
        Arrival { objects, receipt: Box::new(ack) }
    }
}

impl Receipt for Ack {
    fn acknowledge(self: Box<Self>) {
        self.done();
    }
}

#[async_trait]
impl Sink for Deliveries {
    async fn deliver(&self, event: &Event) -> Result<()> {
        match event {
            Event::Published { manifest } | Event::Closed { manifest } | Event::Amended { manifest, .. } => {
                self.note(manifest).await
            }
            Event::Late { start, stop, objects, tag } => {
                let (start, stop, objects, tag) = (*start, *stop, *objects, tag.clone());
                self.notice(&Notice::Late { start, stop, objects, tag }).await
            }
            Event::Canary { since, is_blind } => {
                self.notice(&Notice::Canary { since: *since, is_blind: *is_blind }).await
            }
            Event::Failed { .. }
            | Event::Undelivered { .. }
            | Event::HandedOver { .. }
            | Event::Interrupted { .. }
            | Event::Blocked { .. }
            | Event::Stopped { .. }
            | Event::Leads { .. } => Ok(()),
        }
    }
}

impl Options {
    /// Checks that what was told of a window is remembered for as long as the window may still change.
    ///
    /// A follower looks back as far as twice the horizon (see [`super::Follower`]). If a message were forgotten before, the
    /// next one of the same windows would begin again at revision 1, and a receiver that keeps the highest would drop it.
    ///
    /// # Errors
    /// `Invalid`, naming both settings.
    pub fn check_deliveries(&self, deliveries: &deliver::Options) -> Result<()> {
        let (kept_for, least) = (deliveries.kept_for, self.horizon * 2);
        if deliveries.reports.is_empty() || kept_for >= least {
            return Ok(());
        }
        let hours = |time: chrono::TimeDelta| time.num_minutes() as f64 / 60.0;
        Err(Error::invalid(format!(
            "deliver.kept_for is {} h and follow.horizon {} h: a window may change after what was told of it is forgotten",
            hours(kept_for),
            hours(self.horizon)
        ))
        .with_hint(format!("deliver.kept_for must be twice follow.horizon or more: here {} h", hours(least))))
    }
}

//! Connects following with what tells it of objects and with what is told of windows.

use super::arrivals::{Arrival, Arrivals, Receipt};
use super::event::{Event, Sink};
use crate::error::Result;
use crate::pipeline::deliver::{Deliveries, Notice};
use crate::source::notify::{Ack, Notifications};
use async_trait::async_trait;

#[async_trait]
impl Arrivals for Notifications {
    async fn next(&self) -> Vec<Arrival> {
        let received = Notifications::next(self).await.into_iter();
        received.map(|received| Arrival { objects: received.objects, receipt: Box::new(received.ack) }).collect()
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
            Event::Canary { since } => self.notice(&Notice::Canary { since: *since }).await,
            Event::Failed { .. }
            | Event::Undelivered { .. }
            | Event::Delivered { .. }
            | Event::Interrupted { .. }
            | Event::Leads { .. } => Ok(()),
        }
    }
}

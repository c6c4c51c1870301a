//! Objects that a follower is told of: what is read for it, and when that is acknowledged.

use super::{GO_ON, Notebook, Site};
use crate::corpora::builder;
use async_trait::async_trait;
use chrono::TimeDelta;
use flowdiff::clock::{Clock, Timestamp};
use flowdiff::pipeline::follow::{Arrival, Arrivals, Options, Receipt};
use flowdiff::source::{Object, Selection};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Counts what is acknowledged.
#[derive(Debug, Default, Clone)]
struct Told(Arc<AtomicUsize>);

impl Receipt for Told {
    fn acknowledge(self: Box<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Arrivals for Told {
    async fn next(&self) -> Vec<Arrival> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_is_told_of_is_read_without_a_listing_and_acknowledged() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let acknowledged = Told::default();
    let mut follower = site.follower("2026-11-20T12:10:00Z").with_arrivals(Arc::new(acknowledged.clone()));
    site.follow(&mut follower, "2026-11-20T12:10:00Z").await;
    site.write(1, "2026-11-20T12:35:00Z");
    assert!(site.follow(&mut follower, "2026-11-20T12:11:00Z").await.is_empty(), "it is told, so it does not list");
    let source = builder(&site.path("logs"), &site.path("store")).source;
    let objects = source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    let told = || vec![Arrival { objects: objects.clone(), receipt: Box::new(acknowledged.clone()) }];
    for expected in [&["20 12:00 v2 provisional 2"][..], &[]] {
        follower.round(told(), &GO_ON).await.unwrap();
        assert_eq!(site.told(), expected);
    }
    assert_eq!(acknowledged.0.load(Ordering::Relaxed), 2);
}

/// A queue that gives a message to one who asks, takes its time to say so, and counts how often it was given.
#[derive(Debug)]
struct SlowQueue {
    waiting: Mutex<Vec<Arc<Object>>>,
    given: AtomicUsize,
    acknowledged: Told,
}

#[async_trait]
impl Arrivals for SlowQueue {
    async fn next(&self) -> Vec<Arrival> {
        let taken = self.waiting.lock().unwrap().pop();
        let Some(object) = taken else { return std::future::pending().await };
        self.given.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(400)).await;
        vec![Arrival { objects: vec![object], receipt: Box::new(self.acknowledged.clone()) }]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_queue_is_about_to_tell_outlives_the_rounds() {
    let site = Site::new();
    let minute = |minutes: i64| {
        let time = Clock::system().now() - TimeDelta::minutes(minutes);
        time.format("%Y-%m-%dT%H:%M:00Z").to_string()
    };
    for minutes in 5..8 {
        site.write(1, &minute(minutes));
    }
    let builder = builder(&site.path("logs"), &site.path("store"));
    let objects = builder.source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    let queue = SlowQueue { waiting: Mutex::new(objects), given: AtomicUsize::new(0), acknowledged: Told::default() };
    let queue = Arc::new(queue);
    let options = Options { publish_every: TimeDelta::milliseconds(50), ..Options::default() };
    let mut follower = site.follower_of(builder, options).with_arrivals(queue.clone());
    let (stop, status) = (CancellationToken::new(), follower.status());
    let stopped = stop.clone();
    let task = tokio::spawn(async move { follower.run(&stopped).await });
    for _ in 0..400 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if queue.acknowledged.0.load(Ordering::Relaxed) == 3 {
            break;
        }
    }
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(status.facts().rounds > 4, "rounds are much shorter than what the queue takes: {:?}", status.facts());
    let (given, acknowledged) = (queue.given.load(Ordering::Relaxed), queue.acknowledged.0.load(Ordering::Relaxed));
    assert_eq!((given, acknowledged), (3, 3), "each message was given once, and taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_time_to_come_is_not_acknowledged_before_it_is_in_a_digest() {
    let site = Site::new();
    site.write(1, "2026-11-20T12:05:00Z");
    let acknowledged = Told::default();
    let mut follower = site.follower("2026-11-20T12:10:00Z").with_arrivals(Arc::new(acknowledged.clone()));
    site.follow(&mut follower, "2026-11-20T12:10:00Z").await;
    site.write(1, "2026-11-20T16:20:00Z");
    let source = builder(&site.path("logs"), &site.path("store")).source;
    let objects = source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    for (now, expected) in [("2026-11-20T12:11:00Z", 0), ("2026-11-20T14:59:00Z", 0), ("2026-11-20T16:25:00Z", 1)] {
        follower.set_clock(Clock::fixed(now.parse().unwrap()));
        let told = vec![Arrival { objects: objects[1..].to_vec(), receipt: Box::new(acknowledged.clone()) }];
        follower.round(told, &GO_ON).await.unwrap();
        assert_eq!(acknowledged.0.load(Ordering::Relaxed), expected, "{now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_late_is_acknowledged_once_that_is_taken_down() {
    let site = Site::new();
    site.write(1, "2026-11-10T12:05:00Z");
    site.write(1, "2026-11-10T12:10:00Z");
    let (acknowledged, notebook) = (Told::default(), Arc::new(Notebook::default()));
    let follower = site.follower("2026-11-20T12:10:00Z").with_arrivals(Arc::new(acknowledged.clone()));
    let mut follower = follower.with_sink(notebook.clone());
    let source = builder(&site.path("logs"), &site.path("store")).source;
    let objects = source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    let told = || vec![Arrival { objects: objects.clone(), receipt: Box::new(acknowledged.clone()) }];
    notebook.is_away.store(true, Ordering::Relaxed);
    follower.round(told(), &GO_ON).await.unwrap();
    assert_eq!(acknowledged.0.load(Ordering::Relaxed), 0);
    notebook.is_away.store(false, Ordering::Relaxed);
    // It comes again, as what is not acknowledged does.
    follower.round(told(), &GO_ON).await.unwrap();
    assert_eq!(acknowledged.0.load(Ordering::Relaxed), 1);
    follower.round(told(), &GO_ON).await.unwrap();
    assert_eq!(*notebook.events.lock().unwrap(), ["late 10 12:00 2"; 2]);
    let tags: Vec<String> = std::mem::take(&mut *notebook.tags.lock().unwrap());
    assert_eq!(tags[0], tags[1], "a receiver can tell that it is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_window_with_late_objects_is_told_before_their_notifications_are_acknowledged() {
    let site = Site::new();
    let first = "2026-11-01T00:05:00Z".parse::<Timestamp>().unwrap();
    for hours in 0..150 {
        site.write(1, &(first + TimeDelta::hours(hours)).to_rfc3339());
    }
    let (acknowledged, notebook) = (Told::default(), Arc::new(Notebook::default()));
    let follower = site.follower("2026-11-20T12:10:00Z").with_arrivals(Arc::new(acknowledged.clone()));
    let mut follower = follower.with_sink(notebook.clone());
    let source = builder(&site.path("logs"), &site.path("store")).source;
    let objects = source.list(&Selection::default(), &Default::default()).await.unwrap().objects;
    let arrival = |object: &Arc<flowdiff::source::Object>| {
        let receipt = Box::new(acknowledged.clone());
        Arrival { objects: vec![object.clone()], receipt }
    };
    let mut round = async |is_away| {
        notebook.is_away.store(is_away, Ordering::Relaxed);
        follower.round(objects.iter().map(arrival).collect(), &GO_ON).await.unwrap();
        (notebook.tags.lock().unwrap().len(), acknowledged.0.load(Ordering::Relaxed))
    };
    assert_eq!(round(true).await, (0, 0), "what could not be taken down comes again");
    assert_eq!(round(false).await, (150, 150));
}

//! Many windows in one pass: each object is read once, whatever windows its records fall in; a window is published as
//! soon as the last object that can reach it is folded.

use super::coverage::{Cadences, LOOKBACK};
use super::merge::{Part, Taken};
use super::raw::Scope;
use super::{Builder, Built};
use crate::catalog::{Manifest, State};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::scan::{Job, Pass, Report, WindowFold};
use crate::source::{Content, Listing, Object};
use crate::window::{Timestamp, Window, file_times};
use chrono::{Days, NaiveTime};
use futures::{StreamExt, stream};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// A window to build.
#[derive(Clone, Debug)]
pub struct Target {
    /// The window.
    pub window: Window,
    /// What is published of it. Its objects are not read again, unless `force`.
    pub before: Option<Manifest>,
    /// Builds it from the objects alone, whatever is published.
    pub force: bool,
    /// Keeps it open though the clock would close it: what is published is provisional, and only if there is anything new
    /// in it.
    pub hold: bool,
}

impl Target {
    /// A window of which nothing is published, as far as is known.
    pub fn new(window: Window) -> Target {
        Target { window, before: None, force: false, hold: false }
    }
}

/// Where the objects of windows are found. Whatever is given is in the order of file times.
#[derive(Clone, Debug)]
pub enum Objects {
    /// In the source, which is listed a day at a time.
    Source,
    /// In a listing that was made before of all the file times that the windows reach, with what is known of flow logs
    /// besides.
    Listed(Arc<[Arc<Object>]>, Arc<Cadences>),
    /// Among these there are new ones; there may be others. What is published of silent flow logs stays as it is.
    Told(Arc<[Arc<Object>]>),
}

/// How the building of a window ended.
#[derive(Debug)]
pub struct Ended {
    /// The window.
    pub window: Window,
    /// Its digest, or why there is none.
    pub result: Result<Built>,
}

impl Builder {
    /// The file times of the objects that can hold records of `targets` or tell how often flow logs deliver: in order,
    /// none twice, no piece longer than a day, so that the listing of one fits in memory.
    pub fn file_times(&self, targets: &[Target]) -> Vec<Range<Timestamp>> {
        let mut pieces: Vec<Range<Timestamp>> = Vec::new();
        for target in targets {
            let mut times = self.reach(&target.window);
            times.start -= LOOKBACK;
            times.start = pieces.last().map_or(times.start, |last| times.start.max(last.end));
            while times.start < times.end {
                let day = times.start.date_naive().checked_add_days(Days::new(1));
                let midnight = day.map_or(times.end, |day| day.and_time(NaiveTime::MIN).and_utc());
                let end = midnight.min(times.end);
                match pieces.last_mut() {
                    // Goes on in the same day.
                    Some(last) if last.end == times.start && last.start.date_naive() == times.start.date_naive() => {
                        last.end = end;
                    }
                    _ => pieces.push(times.start..end),
                }
                times.start = end;
            }
        }
        pieces
    }

    /// File times of the objects that can hold records of `window`.
    pub fn reach(&self, window: &Window) -> Range<Timestamp> {
        file_times(window, self.options.lateness)
    }

    /// The objects of some file times, and how many keys beside them are no flow logs or lie in folders of other times.
    ///
    /// # Errors
    /// What the source says.
    async fn objects_of(
        &self,
        objects: &Objects,
        times: Range<Timestamp>,
        report: &Report,
    ) -> Result<(Vec<Arc<Object>>, u64, u64)> {
        match objects {
            Objects::Source => {
                let Listing { objects, others, misfiled, .. } = self.list_times(times, report).await?;
                Ok((objects, others, misfiled))
            }
            Objects::Listed(listed, _) | Objects::Told(listed) => {
                let before = |time: Timestamp| listed.partition_point(|object| object.name.file_time < time);
                let wanted = listed.iter().take(before(times.end)).skip(before(times.start));
                Ok((wanted.cloned().collect(), 0, 0))
            }
        }
    }

    /// Builds and publishes `targets`, given in order of time and without overlap, from `objects`. What comes of each goes
    /// to `ended`, and the reading counts in `report`.
    ///
    /// Once `stop` is set no further window is begun; those under way are finished and published. A window that fails
    /// does not keep others from being built. Memory: the edges of the open windows, which spill beyond the session's
    /// memory, and the listing of a day.
    ///
    /// # Errors
    /// What the source says if it cannot be listed; `Internal` if a thread ended.
    pub async fn build_range(
        &self,
        targets: Vec<Target>,
        objects: &Objects,
        stop: &AtomicBool,
        report: &Arc<Report>,
        ended: mpsc::Sender<Ended>,
    ) -> Result<()> {
        self.catalog.adopt_rules(&self.options.rules()?).await?;
        let runtime = self.session.context().runtime_env();
        let pass = Pass::new(&self.source, &self.scan, runtime, self.threads(), report.clone());
        let (closing, closed) = mpsc::channel::<Open>(1);
        let order =
            Order { builder: self, pass: &pass, objects, report, stop, ended: &ended, failed: Mutex::default() };
        let read = pass.read(order.jobs(targets, closing));
        let closed = stream::unfold(closed, |mut closed| async { closed.recv().await.map(|open| (open, closed)) });
        let publish = async {
            let closing =
                closed.map(|open| self.close(open, report)).buffer_unordered(self.options.publishing_max.max(1));
            let mut closing = std::pin::pin!(closing);
            while let Some(end) = closing.next().await {
                // Nobody left to hear of it is no failure: the window is published all the same.
                let _ = ended.send(end).await;
            }
        };
        let (read, ()) = tokio::join!(read, publish);
        read.and(order.failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err))
    }

    /// Waits for the last object of a window, then writes and publishes it.
    async fn close(&self, open: Open, report: &Report) -> Ended {
        let window = open.target.window;
        let result = self.finish(open, report).await.context(|| format!("digest window {window}"));
        Ended { window, result }
    }

    async fn finish(&self, open: Open, report: &Report) -> Result<Built> {
        let Open { target: Target { window, before, force, hold }, taken, scope, replaced, fold, seen_at, started } =
            open;
        fold.settled().await;
        if let Some(key) = replaced {
            let message = format!("object {key} was replaced since the digest took it");
            return Err(Error::new(ErrorKind::Conflict, message)
                .with_hint(format!("flowdiff digest {window} --force builds it from the objects as they are now")));
        }
        if hold
            && !force
            && scope.objects.iter().all(|object| report.holds_nothing(&object.content(), &window.seconds()))
        {
            // An open window is not published anew for objects that hold nothing of it: they are taken when it closes.
            let none = || Error::not_found(format!("no object holds anything of window {window} yet"));
            return before.map(|manifest| Built { manifest, is_new: false }).ok_or_else(none);
        }
        let scope = if before.is_none() { scope.not_empty(self)? } else { scope };
        if force {
            taken.refuse_loss(scope.keys())?;
        }
        let silent_flow_logs = scope.silent_flow_logs.clone();
        let folded = fold.finish(self.threads())?;
        let mut contents = self.folded(scope, &fold.report, folded, seen_at).await?;
        if let Some(before) = before.as_ref().filter(|_| !force) {
            let parts = vec![Part::Published(Box::new(before.clone())), Part::Local(Box::new(contents))];
            contents = self.merged(&window, parts, seen_at).await?;
            contents.coverage.silent_flow_logs = silent_flow_logs;
        }
        if hold {
            contents.state = State::Provisional;
        }
        contents.cost.wall_seconds = started.elapsed().as_secs_f64();
        match self.publish(&window, before, contents).await {
            // Another process was faster; what it published may be all there is to say.
            Err(error) if error.kind() == ErrorKind::Conflict => match self.catalog.latest(&window).await? {
                Some(manifest) if manifest.state == State::Final => Ok(Built { manifest, is_new: false }),
                _ => Err(error),
            },
            published => published,
        }
    }
}

/// A window whose objects are being read.
struct Open {
    target: Target,
    /// Objects that need no reading, or, with force, that must not be lost.
    taken: Taken,
    /// What has been met of it so far.
    scope: Scope,
    /// A taken object that has other contents now.
    replaced: Option<String>,
    fold: Arc<WindowFold>,
    seen_at: Timestamp,
    started: Instant,
}

/// The order in which objects are listed and read, and windows are begun and closed.
struct Order<'a> {
    builder: &'a Builder,
    pass: &'a Pass,
    objects: &'a Objects,
    report: &'a Report,
    stop: &'a AtomicBool,
    ended: &'a mpsc::Sender<Ended>,
    /// Why the source could not be listed to the end.
    failed: Mutex<Option<Error>>,
}

/// Where an [`Order`] is.
struct Place {
    /// Windows that no object has reached yet.
    ahead: VecDeque<Target>,
    /// Windows that the next objects may reach.
    open: VecDeque<Open>,
    /// File times that are still to be listed.
    times: VecDeque<Range<Timestamp>>,
    /// Objects of the last listing that are still to be read, by file time.
    objects: VecDeque<Arc<Object>>,
    /// What of flow logs went by, as far back as open windows and those ahead look for silent ones.
    gone_by: Cadences,
    closing: mpsc::Sender<Open>,
}

impl<'a> Order<'a> {
    /// The objects in the order of their file times, each with the windows that want it.
    fn jobs(&'a self, targets: Vec<Target>, closing: mpsc::Sender<Open>) -> impl futures::Stream<Item = Job> + 'a {
        let place = Place {
            times: self.builder.file_times(&targets).into(),
            ahead: targets.into(),
            open: VecDeque::new(),
            objects: VecDeque::new(),
            gone_by: Cadences::default(),
            closing,
        };
        stream::unfold(place, move |mut place| async move {
            loop {
                if place.open.is_empty() && self.stop.load(Ordering::Relaxed) {
                    return None;
                }
                let Some(object) = place.objects.pop_front() else {
                    if !self.list(&mut place).await {
                        return None;
                    }
                    continue;
                };
                self.pass_to(&mut place, object.name.file_time).await;
                let content = object.content();
                let windows: Vec<_> = place.open.iter_mut().filter_map(|open| open.meet(&object, &content)).collect();
                if matches!(self.objects, Objects::Source) {
                    place.gone_by.observe(&object.name);
                }
                if !windows.is_empty() {
                    return Some((Job::new(object, windows), place));
                }
            }
        })
    }

    /// Lists the next objects. At the end, or where the source fails, the open windows are closed and told.
    async fn list(&self, place: &mut Place) -> bool {
        let Some(times) = place.times.pop_front() else {
            self.pass_to(place, Timestamp::MAX_UTC).await;
            return false;
        };
        match self.builder.objects_of(self.objects, times, self.report).await {
            Ok((objects, others, misfiled)) => {
                for open in &mut place.open {
                    open.scope.other_keys += others;
                    open.scope.misfiled += misfiled;
                }
                place.objects = objects.into();
                true
            }
            Err(error) => {
                for open in place.open.drain(..) {
                    self.tell(open.target.window, Err(error.copy())).await;
                }
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                false
            }
        }
    }

    /// Goes on to the objects of `time`: closes windows that they cannot reach any more, and begins those that they do.
    async fn pass_to(&self, place: &mut Place, time: Timestamp) {
        let reach = |window: &Window| self.builder.reach(window);
        loop {
            while let Some(mut open) = place.open.pop_front_if(|open| reach(&open.target.window).end <= time) {
                open.scope.silent_flow_logs = self.silent_flow_logs(&open, &place.gone_by);
                // Whoever publishes has failed if it does not take windows any more, and has said so.
                let _ = place.closing.send(open).await;
                let first = place.open.front().map(|open| &open.target).or(place.ahead.front());
                place.gone_by.forget(first.map_or(time, |target| reach(&target.window).start - LOOKBACK));
            }
            let is_stopped = self.stop.load(Ordering::Relaxed);
            let due = place.ahead.pop_front_if(|target| !is_stopped && reach(&target.window).start <= time);
            let Some(target) = due else { break };
            let window = target.window;
            match self.begin(target).await {
                Ok(Some(open)) => place.open.push_back(open),
                Ok(None) => {}
                Err(error) => self.tell(window, Err(error.context(format!("digest window {window}")))).await,
            }
        }
    }

    /// The flow logs that were silent in a window, by what went by of them or is known; those known before if it is not all.
    fn silent_flow_logs(&self, open: &Open, gone_by: &Cadences) -> Vec<String> {
        let window = open.target.window;
        let mut times = self.builder.reach(&window);
        times.start -= LOOKBACK;
        match self.objects {
            Objects::Source => gone_by.silent(times, &window, open.seen_at),
            Objects::Listed(_, cadences) => cadences.silent(times, &window, open.seen_at),
            Objects::Told(_) => {
                let before = open.target.before.as_ref();
                before.map(|before| before.coverage.silent_flow_logs.clone()).unwrap_or_default()
            }
        }
    }

    /// Begins a window, unless another process has finished it meanwhile.
    async fn begin(&self, mut target: Target) -> Result<Option<Open>> {
        let builder = self.builder;
        let known = target.before.take().map(|manifest| manifest.version);
        target.before = builder.catalog.latest(&target.window).await?;
        let version = target.before.as_ref().map(|manifest| manifest.version);
        if let Some(manifest) = target.before.take_if(|before| before.state == State::Final && known != version) {
            self.tell(target.window, Ok(Built { manifest, is_new: false })).await;
            return Ok(None);
        }
        let taken = match &target.before {
            Some(manifest) => builder.taken(manifest).await?,
            None => Taken::default(),
        };
        let fold = self.pass.open(builder.fold_rules(&target.window), Report::of_objects());
        let (seen_at, started) = (builder.clock.now(), Instant::now());
        Ok(Some(Open { target, taken, scope: Scope::default(), replaced: None, fold, seen_at, started }))
    }

    async fn tell(&self, window: Window, result: Result<Built>) {
        let _ = self.ended.send(Ended { window, result }).await;
    }
}

impl Open {
    /// Meets the next object that reaches it: tells where its records go if they are wanted.
    fn meet(&mut self, object: &Arc<Object>, content: &Content) -> Option<Arc<WindowFold>> {
        if !self.target.force {
            if self.taken.holds(content) {
                return None;
            }
            if self.taken.is_replaced(content) {
                self.replaced.get_or_insert_with(|| object.location.to_string());
                return None;
            }
        }
        self.scope.objects.push(object.clone());
        Some(self.fold.clone())
    }
}

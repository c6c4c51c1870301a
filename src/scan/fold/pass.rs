//! Reads objects, each once, and folds their records into every window that they fall in.

use super::folder::Folder;
use super::room::Room;
use super::{Fold, FoldRules, InterfaceFacts, lock, panicked};
use crate::error::{Error, Result};
use crate::flow::Field;
use crate::scan::Options;
use crate::scan::fetch::Body;
use crate::scan::object::{Counts, Sink, Spec};
use crate::scan::record::Record;
use crate::scan::report::{Outcome, Report};
use crate::scan::source::Shared;
use crate::source::{Object, Source};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::{Stream, StreamExt};
use object_store::ObjectStore;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// Reads the objects of one source, with one bound on what is fetched ahead and one memory for all windows.
pub struct Pass {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) shared: Arc<Shared>,
    pub(super) room: Arc<Room>,
    pub(super) threads: usize,
}

/// An object to read, and the open windows that its records may fall in.
pub struct Job {
    object: Arc<Object>,
    windows: Vec<Arc<WindowFold>>,
}

/// A window whose objects are being folded.
pub struct WindowFold {
    fold: Arc<Fold>,
    /// What was seen of its objects; the figures of each count only its own records as in the window.
    pub report: Arc<Report>,
    failed: Mutex<Option<Error>>,
    /// Jobs that are not done.
    jobs: watch::Sender<usize>,
}

impl Pass {
    /// A pass over objects of `source`: `threads` decode, memory and spill folder are those of `runtime`. What is read
    /// counts in `report`, whatever window it is for.
    pub fn new(
        source: &Source,
        options: &Options,
        runtime: Arc<RuntimeEnv>,
        threads: usize,
        report: Arc<Report>,
    ) -> Pass {
        let spec = Spec { window: None, extras: options.extra_fields.clone(), limits: options.limits() };
        let shared = Shared::new(spec, options, report, String::new(), None);
        Pass { store: source.store.clone(), shared: Arc::new(shared), room: Room::new(runtime), threads }
    }

    /// Begins a window. What its objects hold goes to `report`.
    pub fn open(&self, rules: FoldRules, report: Arc<Report>) -> Arc<WindowFold> {
        Arc::new(WindowFold {
            fold: Fold::new(rules, &self.room),
            report,
            failed: Mutex::default(),
            jobs: watch::Sender::new(0),
        })
    }

    /// Reads the objects of `jobs` and folds them. Several are fetched ahead and decoded side by side; they are taken up
    /// in the order given. What goes wrong with an object is kept for the windows that it was for.
    ///
    /// # Errors
    /// `Internal` if a thread ended.
    pub async fn read(&self, jobs: impl Stream<Item = Job>) -> Result<()> {
        let (sender, receiver) = mpsc::channel::<(Job, Body)>(1);
        let receiver = Arc::new(Mutex::new(receiver));
        let workers: Vec<_> = (0..self.threads)
            .map(|_| {
                let (shared, receiver, store) = (self.shared.clone(), receiver.clone(), self.store.clone());
                tokio::task::spawn_blocking(move || {
                    loop {
                        let next = lock(&receiver).blocking_recv();
                        let Some((job, body)) = next else { break };
                        job.fold(&shared, &store, body);
                    }
                })
            })
            .collect();
        drop(receiver);
        let fetched = jobs
            .map(|mut job| async move {
                job.spare(&self.shared);
                if job.windows.is_empty() {
                    return None;
                }
                let room = self.shared.prefetch.wait(&job.object).await;
                if job.windows.iter().all(|window| lock(&window.failed).is_some()) {
                    return None;
                }
                let reports = job.reports(&self.shared);
                let body = self.shared.prefetch.fetch(&self.store, &job.object, Some(room), &reports).await;
                match body {
                    Ok(Ok(body)) => Some((job, body)),
                    Ok(Err(reason)) => {
                        job.ended(&self.shared, Outcome::SetAside(reason), &[]);
                        None
                    }
                    Err(error) => {
                        job.fail(&error);
                        None
                    }
                }
            })
            .buffer_unordered(self.shared.prefetch.objects_max());
        let mut fetched = std::pin::pin!(fetched);
        while let Some(next) = fetched.next().await {
            if let Some(next) = next
                && sender.send(next).await.is_err()
            {
                break;
            }
        }
        drop(sender);
        for worker in workers {
            worker.await.map_err(panicked)?;
        }
        Ok(())
    }
}

impl Job {
    /// Asks for the records of `object` that fall in `windows`.
    pub fn new(object: Arc<Object>, windows: Vec<Arc<WindowFold>>) -> Job {
        windows.iter().for_each(|window| window.jobs.send_modify(|jobs| *jobs += 1));
        Job { object, windows }
    }

    /// Spares the reading for windows of which the object is known to hold nothing, and for all if it was set aside.
    fn spare(&mut self, shared: &Shared) {
        let Some(outcome) = shared.report.remembered(&self.object.content()) else { return };
        self.windows.retain(|window| {
            let is_spared = match &outcome {
                Outcome::Read(tally) => tally.misses(&window.fold.rules.window),
                Outcome::SetAside(_) => true,
            };
            if is_spared {
                window.report.ended(&self.object, outcome.clone());
                window.done();
            }
            !is_spared
        });
    }

    fn fold(&self, shared: &Shared, store: &Arc<dyn ObjectStore>, body: Body) {
        if let Some(first) = self.windows.first() {
            first.report.fetched(body.bytes.len() as u64);
        }
        let mut dealer =
            Dealer { windows: self.windows.iter().map(|window| (&*window.fold, None)).collect(), last: None };
        let started = Instant::now();
        let (outcome, is_sure) = shared.decode(store, &self.object, body, &mut dealer, &self.reports(shared));
        shared.report.took(&self.object, started.elapsed());
        let counts: Vec<Counts> = dealer
            .windows
            .into_iter()
            .zip(&self.windows)
            .map(|((_, folder), window)| match folder.map_or(Ok(Counts::default()), Folder::finish) {
                Ok(counts) => counts,
                Err(error) => {
                    window.fail(error.into());
                    Counts::default()
                }
            })
            .collect();
        if is_sure && self.windows.first().is_some_and(|window| window.report.is_as_listed(&self.object)) {
            shared.report.remember(&self.object, &outcome.within(Counts::default()));
        }
        self.ended(shared, outcome, &counts);
    }

    /// The report of the pass, then those of the windows.
    fn reports<'a>(&'a self, shared: &'a Shared) -> Vec<&'a Report> {
        std::iter::once(&*shared.report).chain(self.windows.iter().map(|window| &*window.report)).collect()
    }

    /// Reports how the object ended, to each window with its own counts (none if nothing was read).
    fn ended(&self, shared: &Shared, outcome: Outcome, counts: &[Counts]) {
        let nothing = outcome.within(Counts::default());
        for (index, window) in self.windows.iter().enumerate() {
            let counts = counts.get(index).copied().unwrap_or_default();
            window.report.ended(&self.object, nothing.within(counts));
        }
        shared.report.ended(&self.object, outcome);
    }

    fn fail(&self, error: &Error) {
        for window in &self.windows {
            window.fail(error.copy());
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.windows.iter().for_each(|window| window.done());
    }
}

impl WindowFold {
    /// Waits until no job of the window is left: give it none afterwards.
    pub async fn settled(&self) {
        let mut jobs = self.jobs.subscribe();
        let _ = jobs.wait_for(|jobs| *jobs == 0).await;
    }

    /// The interfaces, and the edges sorted by their key, once all jobs of the window are done. Built on `threads`
    /// threads.
    ///
    /// # Errors
    /// The first error that an object of the window met.
    pub fn finish(&self, threads: usize) -> Result<(Vec<InterfaceFacts>, SendableRecordBatchStream)> {
        if let Some(error) = lock(&self.failed).take() {
            return Err(error);
        }
        let folded = self.fold.finish(threads)?;
        Ok((folded.interfaces, folded.edges))
    }

    fn done(&self) {
        self.jobs.send_modify(|jobs| *jobs -= 1);
    }

    fn fail(&self, error: Error) {
        lock(&self.failed).get_or_insert(error);
    }
}

/// Deals the records of one object to the windows that they fall in.
struct Dealer<'f> {
    windows: Vec<(&'f Fold, Option<Folder<'f>>)>,
    /// The window that the record before was dealt to: the next one is mostly in it, too.
    last: Option<usize>,
}

impl Sink for Dealer<'_> {
    #[inline]
    fn take(&mut self, record: &Record<'_>, _line: u64) -> bool {
        let last = self.last.take();
        let Some(end) = record.number(Field::End) else { return true };
        let holds = |(fold, _): &(&Fold, Option<Folder<'_>>)| fold.rules.window.contains(&end);
        let window = match last.filter(|&last| holds(&self.windows[last])) {
            None => self.windows.iter().position(holds),
            same => same,
        };
        if let Some(window) = window {
            let (fold, folder) = &mut self.windows[window];
            let folder = folder.get_or_insert_with(|| Folder::new(fold));
            // A window that has failed does not keep the others from their records.
            folder.take(record, end, record.same_texts && last == Some(window));
            self.last = Some(window);
        }
        true
    }
}

//! How jobs behave: several processes are several handles on one store; a build is what a test wants it to be.

use super::lease::Lease;
use super::*;
use crate::clock::Timestamp;
use crate::scan::Report;
use crate::window::Window;
use async_trait::async_trait;
use chrono::TimeDelta;
use futures::future::join_all;
use object_store::memory::InMemory;
use object_store::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

fn start() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn job(text: &str) -> Job {
    Job::new(Kind::Digest, vec![Window::parse(text, start()).unwrap()]).unwrap()
}

fn options() -> Options {
    Options { poll: TimeDelta::milliseconds(10), stop_grace: TimeDelta::milliseconds(10), ..Options::default() }
}

/// A store, and the processes on it.
struct Store(Catalog);

impl Store {
    fn new() -> Store {
        Store(Catalog::new(Arc::new(InMemory::new()), Path::default(), "memory://"))
    }

    /// The jobs as a process sees them whose clock is so many seconds after the start.
    fn jobs(&self, seconds: i64, options: Options) -> Jobs {
        Jobs::new(self.0.clone(), Clock::fixed(start() + TimeDelta::seconds(seconds)), options)
    }
}

/// Builds nothing, in the way that a test wants.
struct Fake {
    way: Way,
    begun: AtomicUsize,
    under_way: Arc<AtomicUsize>,
    gate: Semaphore,
}

enum Way {
    /// Waits for the gate, then it is done.
    Gate,
    /// Fails.
    Fail(ErrorKind),
    /// Panics at the window, does any other.
    PanicAt(Job),
}

/// Counts a build as long as it lives.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Build for Fake {
    async fn build(&self, window: &Window, report: &Arc<Report>) -> Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _guard = Guard(self.under_way.clone());
        report.progress.plan(7, 70);
        match &self.way {
            Way::Gate => self.gate.acquire().await.unwrap().forget(),
            Way::Fail(kind) => return Err(Error::new(*kind, "the source says no").with_hint("ask it nicely")),
            Way::PanicAt(job) => assert!(job.windows() != [*window], "poison"),
        }
        Ok(())
    }
}

fn fake(way: Way) -> Arc<Fake> {
    Arc::new(Fake { way, begun: AtomicUsize::new(0), under_way: Arc::default(), gate: Semaphore::new(0) })
}

impl Fake {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

/// A worker under way, and what stops it.
struct Process(JoinHandle<()>, CancellationToken);

impl Process {
    fn start(jobs: &Jobs, build: &Arc<Fake>) -> Process {
        let stop = CancellationToken::new();
        Process(tokio::spawn(Worker::new(jobs.clone(), build.clone()).run(stop.clone())), stop)
    }

    async fn stop(self) {
        self.1.cancel();
        self.0.await.unwrap();
    }

    /// Ends it in the middle of whatever it does.
    async fn kill(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// Waits until a job's record is as `wanted`.
async fn until(jobs: &Jobs, job: &Job, wanted: impl Fn(&Record) -> bool) -> Record {
    for _ in 0..500 {
        if let Some(record) = jobs.find(job.id()).await.unwrap()
            && wanted(&record)
        {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the job is still {:?}", jobs.find(job.id()).await.unwrap());
}

async fn until_status(jobs: &Jobs, job: &Job, status: Status) -> Record {
    until(jobs, job, |record| record.status == status).await
}

fn accepted(requested: Requested) -> Record {
    let Requested::Accepted(record) = requested else { panic!("the queue is full") };
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_requests_of_many_processes_are_one_job_and_one_build() {
    let (store, build) = (Store::new(), fake(Way::Gate));
    let processes: Vec<Jobs> = (0..3).map(|_| store.jobs(0, options())).collect();
    let workers: Vec<Process> = processes.iter().map(|jobs| Process::start(jobs, &build)).collect();
    let requests = processes.iter().cycle().take(30).cloned().map(|jobs| async move {
        tokio::spawn(async move { jobs.request(job("2026-11-20T12")).await.unwrap() }).await.unwrap()
    });
    for requested in join_all(requests).await {
        assert_eq!(accepted(requested).job, job("2026-11-20T12"));
    }
    let running = until_status(&processes[0], &job("2026-11-20T12"), Status::Running).await;
    assert_eq!(running.attempt, 1);
    build.gate.add_permits(1);
    let done = until_status(&processes[1], &job("2026-11-20T12"), Status::Done).await;
    assert_eq!(done.progress, Progress { windows: 1, windows_done: 1, objects: 7, ..Progress::default() });
    assert_eq!((done.error, done.lease_until), (None, None));
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(build.begun(), 1);
    assert_eq!(processes[2].list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_workers_job_goes_on_once_its_lease_ran_out() {
    let (store, build, wanted) = (Store::new(), fake(Way::Gate), job("2026-11-20T12"));
    let first = store.jobs(0, options());
    let worker = Process::start(&first, &build);
    first.request(wanted.clone()).await.unwrap();
    until_status(&first, &wanted, Status::Running).await;
    worker.kill().await;
    assert!(Lease::claim(&store.jobs(59, options()), &wanted, "early").await.unwrap().is_none());
    let second = store.jobs(61, options());
    let worker = Process::start(&second, &build);
    let running = until(&second, &wanted, |record| record.attempt == 2).await;
    assert!(running.error.unwrap().message.contains("gave no sign of life since 2026-11-21T00:00Z, in try 1"));
    build.gate.add_permits(1);
    assert_eq!(until_status(&second, &wanted, Status::Done).await.error, None);
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_with_a_wrong_clock_holds_no_job_up() {
    let (store, wanted) = (Store::new(), job("2026-11-20T12"));
    let ahead = store.jobs(3 * 86400, Options { lease: TimeDelta::days(9), ..options() });
    ahead.request(wanted.clone()).await.unwrap();
    let lease = Lease::claim(&ahead, &wanted, "ahead").await.unwrap().unwrap();
    assert_eq!(
        lease.record().lease_until,
        Some(start() + TimeDelta::days(3) + TimeDelta::hours(1)),
        "the longest there is"
    );
    assert!(Lease::claim(&store.jobs(0, options()), &wanted, "right").await.unwrap().is_some());
}

#[tokio::test]
async fn a_job_that_kills_its_workers_stops_after_so_many_tries_with_its_reason() {
    let (store, wanted) = (Store::new(), job("2026-11-20T12"));
    let jobs = store.jobs(0, options());
    jobs.request(wanted.clone()).await.unwrap();
    for attempt in 0..3 {
        let jobs = store.jobs(attempt * 100, options());
        let lease = Lease::claim(&jobs, &wanted, &format!("worker-{attempt}")).await.unwrap();
        assert!(lease.is_some(), "try {attempt}");
    }
    let later = store.jobs(300, options());
    assert!(Lease::claim(&later, &wanted, "next").await.unwrap().is_none());
    let failed = later.find(wanted.id()).await.unwrap().unwrap();
    assert_eq!((failed.status, failed.attempt), (Status::Failed, 3));
    let message = failed.error.unwrap().message;
    assert!(message.starts_with("worker worker-2 gave no sign of life since"), "{message}");
    assert!(message.contains("before: worker worker-1"), "{message}");
}

#[tokio::test]
async fn who_lost_the_lease_learns_it_when_it_renews() {
    let (store, wanted) = (Store::new(), job("2026-11-20T12"));
    let (early, late) = (store.jobs(0, options()), store.jobs(100, options()));
    early.request(wanted.clone()).await.unwrap();
    let mut lost = Lease::claim(&early, &wanted, "a").await.unwrap().unwrap();
    lost.renew(Progress::default()).await.unwrap();
    let mut held = Lease::claim(&late, &wanted, "b").await.unwrap().unwrap();
    assert_eq!(lost.renew(Progress::default()).await.unwrap_err().kind(), ErrorKind::Conflict);
    held.renew(Progress::default()).await.unwrap();
    assert_eq!(lost.end(Status::Done, Progress::default(), None).await.unwrap_err().kind(), ErrorKind::Conflict);
    held.end(Status::Done, Progress::default(), None).await.unwrap();
    let done = late.find(wanted.id()).await.unwrap().unwrap();
    assert_eq!((done.status, done.worker.as_deref(), done.attempt), (Status::Done, Some("b"), 2));
}

#[tokio::test]
async fn an_own_entry_whose_reply_was_lost_costs_no_lease() {
    let (store, wanted) = (Store::new(), job("2026-11-20T12"));
    let jobs = store.jobs(0, options());
    jobs.request(wanted.clone()).await.unwrap();
    let mut lease = Lease::claim(&jobs, &wanted, "a").await.unwrap().unwrap();
    jobs.inner.journal.append(&wanted.id().to_string(), 2, lease.record()).await.unwrap();
    lease.renew(Progress::default()).await.unwrap();
    lease.end(Status::Done, Progress::default(), None).await.unwrap();
    assert_eq!(jobs.find(wanted.id()).await.unwrap().unwrap().status, Status::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_may_mend_is_repeated_and_another_is_not() {
    for (kind, tries) in [
        (ErrorKind::Unavailable, 3),
        (ErrorKind::Conflict, 3),
        (ErrorKind::Internal, 3),
        (ErrorKind::NotFound, 1),
        (ErrorKind::Invalid, 1),
        (ErrorKind::Data, 1),
    ] {
        let (store, build, wanted) = (Store::new(), fake(Way::Fail(kind)), job("2026-11-20T12"));
        let jobs = store.jobs(0, options());
        let worker = Process::start(&jobs, &build);
        jobs.request(wanted.clone()).await.unwrap();
        let failed = until_status(&jobs, &wanted, Status::Failed).await;
        worker.stop().await;
        assert_eq!((failed.attempt, build.begun()), (tries, tries as usize), "{kind:?}");
        let failure = failed.error.unwrap();
        assert_eq!((failure.kind, failure.message.as_str()), (kind, "the source says no"));
        assert_eq!(failure.hint.as_deref(), Some("ask it nicely"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_its_job_and_the_worker_goes_on() {
    let (poison, other) = (job("2026-11-20T12"), job("2026-11-20T13"));
    let (store, build) = (Store::new(), fake(Way::PanicAt(poison.clone())));
    let jobs = store.jobs(0, Options { workers: 1, ..options() });
    let worker = Process::start(&jobs, &build);
    jobs.request(poison.clone()).await.unwrap();
    jobs.request(other.clone()).await.unwrap();
    until_status(&jobs, &other, Status::Done).await;
    let failure = until_status(&jobs, &poison, Status::Failed).await.error.unwrap();
    assert_eq!((failure.kind, failure.message.as_str()), (ErrorKind::Internal, "the work panicked: poison"));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_stops_at_once_in_its_process_and_at_the_next_renewal_in_others() {
    let (store, build) = (Store::new(), fake(Way::Gate));
    let (here, there) = (job("2026-11-20T12"), job("2026-11-20T13"));
    let jobs = store.jobs(0, Options { lease: TimeDelta::seconds(1), ..options() });
    let other = store.jobs(0, options());
    let worker = Process::start(&jobs, &build);
    for (wanted, from) in [(&here, &jobs), (&there, &other)] {
        jobs.request(wanted.clone()).await.unwrap();
        until_status(&jobs, wanted, Status::Running).await;
        let cancelled = from.cancel(wanted.id()).await.unwrap().unwrap();
        assert_eq!(cancelled.status, Status::Cancelled);
        while build.under_way.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(jobs.find(wanted.id()).await.unwrap().unwrap().status, Status::Cancelled);
        assert_eq!(from.cancel(wanted.id()).await.unwrap().unwrap(), cancelled, "once is enough");
    }
    worker.stop().await;
    assert_eq!(jobs.cancel(job("2026-11-20T14").id()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_until_there_is_room_and_keeps_nothing_of_what_it_refused() {
    let (store, build) = (Store::new(), fake(Way::Gate));
    let jobs = store.jobs(0, Options { workers: 1, queue_max: 2, ..options() });
    let hours: Vec<Job> = (10..14).map(|hour| job(&format!("2026-11-20T{hour}"))).collect();
    for waiting in &hours[..2] {
        accepted(jobs.request(waiting.clone()).await.unwrap());
    }
    assert_eq!(jobs.request(hours[2].clone()).await.unwrap(), Requested::Full);
    assert_eq!(jobs.find(hours[2].id()).await.unwrap(), None);
    accepted(jobs.request(hours[0].clone()).await.unwrap());
    let worker = Process::start(&jobs, &build);
    until_status(&jobs, &hours[0], Status::Running).await;
    accepted(jobs.request(hours[2].clone()).await.unwrap());
    build.gate.add_permits(3);
    for done in &hours[..3] {
        until_status(&jobs, done, Status::Done).await;
    }
    worker.stop().await;
}

/// A queue that has no room when it comes to it.
#[derive(Debug)]
struct Refusing(Option<ErrorKind>);

#[async_trait]
impl Queue for Refusing {
    async fn post(&self, _: &Job) -> Result<Posted> {
        self.0.map_or(Ok(Posted::Full), |kind| Err(Error::new(kind, "the bus is away")))
    }
}

#[tokio::test]
async fn what_cannot_be_posted_is_as_it_was_before() {
    let (store, wanted) = (Store::new(), job("2026-11-20T12"));
    let clock = Clock::fixed(start());
    let refusing = |kind| Jobs::with_queue(store.0.clone(), clock, options(), Arc::new(Refusing(kind)));
    assert_eq!(refusing(None).request(wanted.clone()).await.unwrap(), Requested::Full);
    assert_eq!(refusing(None).find(wanted.id()).await.unwrap(), None);
    let jobs = store.jobs(0, options());
    jobs.request(wanted.clone()).await.unwrap();
    let cancelled = jobs.cancel(wanted.id()).await.unwrap();
    let error = refusing(Some(ErrorKind::Unavailable)).request(wanted.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(jobs.find(wanted.id()).await.unwrap(), cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_hands_its_jobs_back_and_another_goes_on() {
    let (store, build, wanted) = (Store::new(), fake(Way::Gate), job("2026-11-20T12"));
    let (first, second) = (store.jobs(0, options()), store.jobs(1, options()));
    let worker = Process::start(&first, &build);
    first.request(wanted.clone()).await.unwrap();
    until_status(&first, &wanted, Status::Running).await;
    worker.stop().await;
    let back = first.find(wanted.id()).await.unwrap().unwrap();
    assert_eq!((back.status, back.attempt), (Status::Queued, 0));
    assert_eq!(build.under_way.load(Ordering::SeqCst), 0);
    build.gate.add_permits(1);
    let worker = Process::start(&second, &build);
    assert_eq!(until_status(&second, &wanted, Status::Done).await.attempt, 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_workers_leaves_its_jobs_to_others_and_counts_those_that_wait() {
    let (store, build) = (Store::new(), fake(Way::Gate));
    let idle = store.jobs(0, Options { workers: 0, queue_max: 1, ..options() });
    let (first, second) = (job("2026-11-20T12"), job("2026-11-20T13"));
    Process::start(&idle, &build).0.await.unwrap();
    accepted(idle.request(first.clone()).await.unwrap());
    assert_eq!(idle.request(second.clone()).await.unwrap(), Requested::Full);
    build.gate.add_permits(2);
    let worker = Process::start(&store.jobs(0, options()), &build);
    until_status(&idle, &first, Status::Done).await;
    accepted(idle.request(second.clone()).await.unwrap());
    until_status(&idle, &second, Status::Done).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_failure_is_told_for_a_while_to_who_wants_the_result_and_tried_again_for_who_wants_the_job() {
    let (store, wanted) = (Store::new(), job("2026-11-20T12"));
    let jobs = store.jobs(0, options());
    accepted(jobs.want(wanted.clone()).await.unwrap());
    let lease = Lease::claim(&jobs, &wanted, "a").await.unwrap().unwrap();
    let failure = Failure { kind: ErrorKind::NotFound, message: "no objects".to_owned(), hint: None };
    lease.end(Status::Failed, Progress::default(), Some(failure.clone())).await.unwrap();
    let told = accepted(store.jobs(299, options()).want(wanted.clone()).await.unwrap());
    assert_eq!((told.status, told.error), (Status::Failed, Some(failure)));
    let again = accepted(store.jobs(300, options()).want(wanted.clone()).await.unwrap());
    assert_eq!((again.status, again.attempt, again.error), (Status::Queued, 0, None));
    jobs.cancel(wanted.id()).await.unwrap();
    assert_eq!(accepted(jobs.deliver(wanted.clone()).await.unwrap()).status, Status::Cancelled);
    assert_eq!(accepted(jobs.want(wanted.clone()).await.unwrap()).status, Status::Cancelled);
    assert_eq!(accepted(jobs.request(wanted.clone()).await.unwrap()).status, Status::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_job_is_worked_on_where_it_was_brought() {
    let (store, build, wanted) = (Store::new(), fake(Way::Gate), job("2026-11-20T12"));
    let api = store.jobs(0, Options { workers: 0, ..options() });
    // Looks so seldom that only the queue can have brought it.
    let slow = store.jobs(0, Options { poll: TimeDelta::hours(1), ..options() });
    let worker = Process::start(&slow, &build);
    tokio::time::sleep(Duration::from_millis(50)).await;
    accepted(api.request(wanted.clone()).await.unwrap());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(build.begun(), 0);
    slow.deliver(wanted.clone()).await.unwrap();
    until_status(&api, &wanted, Status::Running).await;
    slow.deliver(wanted.clone()).await.unwrap();
    build.gate.add_permits(1);
    until_status(&api, &wanted, Status::Done).await;
    worker.stop().await;
    assert_eq!(build.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_long_ago_is_forgotten_and_what_waits_is_not() {
    let (store, build) = (Store::new(), fake(Way::Gate));
    let (ended, waiting) = (job("2026-11-20T12"), job("2026-11-20T13"));
    let jobs = store.jobs(0, options());
    jobs.request(ended.clone()).await.unwrap();
    jobs.cancel(ended.id()).await.unwrap();
    jobs.request(waiting.clone()).await.unwrap();
    let week = TimeDelta::days(7).num_seconds();
    let (same_week, later) = (store.jobs(week, options()), store.jobs(week + 1, options()));
    same_week.clean().await.unwrap();
    assert_eq!(jobs.list().await.unwrap().len(), 2);
    let worker = Process::start(&later, &build);
    until_status(&later, &waiting, Status::Running).await;
    worker.stop().await;
    assert_eq!(jobs.find(ended.id()).await.unwrap(), None);
    assert_eq!(jobs.list().await.unwrap().into_iter().map(|record| record.job).collect::<Vec<_>>(), [waiting]);
}

#[tokio::test]
async fn a_list_reads_what_changed_and_passes_over_what_it_cannot_read() {
    let store = Store::new();
    let jobs = store.jobs(0, options());
    let (first, second) = (job("2026-11-20T12"), job("2026-11-20T13"));
    jobs.request(first.clone()).await.unwrap();
    jobs.request(second.clone()).await.unwrap();
    assert_eq!(jobs.list().await.unwrap().len(), 2);
    jobs.cancel(second.id()).await.unwrap();
    let damaged = Path::from(format!("v1/jobs/{}/00000001.json", Uuid::nil()));
    object_store::ObjectStoreExt::put(&*store.0.store, &damaged, "{".into()).await.unwrap();
    let statuses: Vec<Status> = jobs.list().await.unwrap().into_iter().map(|record| record.status).collect();
    assert_eq!(statuses.len(), 2);
    assert!(statuses.contains(&Status::Cancelled) && statuses.contains(&Status::Queued), "{statuses:?}");
}

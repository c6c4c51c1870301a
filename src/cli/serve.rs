//! `serve`: the service on the settings' source and store, and the worker on its jobs.

use super::follow::Following;
use super::setup::Setup;
use crate::catalog::Catalog;
use crate::digest::Builder;
use crate::error::{Error, Result};
use crate::meters::{self, StoreUse};
use crate::pipeline::follow::Event;
use crate::pipeline::jobs::{Jobs, Worker};
use crate::serve::front::{Front, Stop};
use crate::serve::{Bus, Parts, Service, router};
use crate::session::{Session, queries};
use crate::telemetry::Meters;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Serves until it is told to stop; then jobs under way end or are handed back.
pub(super) async fn run(setup: &Setup, follow: bool) -> Result<()> {
    let config = setup.config();
    // Settings that nobody could be answered with are told before anything is opened.
    let front = Front::new(&config.serve)?;
    config.sql.check()?;
    queries::list(config.queries.dir.as_deref())?;
    let stop = Stop::on_signals()?;
    let meters = Meters::install(&config.telemetry)?;
    let usage = setup.usage.clone();
    meters.sample_by(move || {
        let [list, get, put, delete] = [&usage.list, &usage.get, &usage.put, &usage.delete].map(|n| n.load(Relaxed));
        meters::store_use(&StoreUse { list, get, put, delete, bytes_read: usage.bytes_read.load(Relaxed) });
    });
    let catalog = setup.catalog(true)?;
    let session = setup.session()?;
    setup.register_flows(&session, &setup.report)?;
    crate::catalog::register(session.context(), &catalog)?;
    let jobs = jobs(setup, &catalog).await?;
    let working =
        worker(setup, &catalog, &session, jobs.as_ref())?.map(|worker| tokio::spawn(worker.run(stop.begin.clone())));
    let following = match follow {
        false => None,
        true => {
            let builder = Builder { catalog: catalog.clone(), session: session.clone(), ..setup.builder()? };
            let following = Following::new(setup, builder, Arc::new(log), &stop.begin).await?;
            following.count_in(&meters, setup.clock);
            Some(following)
        }
    };
    let service = Service::new(Parts {
        catalog,
        session,
        clock: setup.clock,
        diff: config.diff.clone(),
        queries_dir: config.queries.dir.clone(),
        limits: config.sql.clone(),
        jobs,
        options: config.serve.clone(),
    });
    let routes = front.wrap(router(service), move || meters.render());
    let serving = async {
        let served = front.run(routes, &stop, |url| setup.note(&format!("listening on {url}"))).await;
        stop.begin.cancel();
        served
    };
    let following = async {
        let Some(following) = following else { return Ok(()) };
        tokio::select! {
            ended = following.run(&stop.begin) => ended,
            () = stop.now.cancelled() => Ok(()),
        }
    };
    let (served, followed) = tokio::join!(serving, following);
    if let Some(working) = working {
        tokio::select! {
            ended = working => ended.map_err(|error| Error::internal("the worker broke off").with_source(error))?,
            () = stop.now.cancelled() => {}
        }
    }
    served.and(followed)
}

/// What happens while the source is followed, for the log.
fn log(event: &Event) {
    match event {
        Event::Published { .. } | Event::HandedOver { .. } | Event::Leads { .. } => tracing::debug!("{event:?}"),
        Event::Closed { .. } | Event::Amended { .. } | Event::Stopped { .. } => tracing::info!("{event:?}"),
        Event::Late { .. } | Event::Canary { .. } => tracing::warn!("{event:?}"),
        Event::Failed { .. } | Event::Undelivered { .. } | Event::Interrupted { .. } | Event::Blocked { .. } => {
            tracing::error!("{event:?}");
        }
    }
}

/// The jobs of the store, if this process has flow logs to build from or is told that others do the work.
async fn jobs(setup: &Setup, catalog: &Catalog) -> Result<Option<Jobs>> {
    let config = setup.config();
    let mut options = config.jobs.clone();
    if config.source.url.is_none() && options.workers > 0 {
        if config.bus.url.is_none() {
            return Ok(None);
        }
        options.workers = 0;
    }
    setup.check_store(catalog).await?;
    Ok(Some(match &config.bus.url {
        Some(url) => {
            let bus = Bus::new(url, &config.bus, &options)?;
            Jobs::with_queue(catalog.clone(), setup.clock, options, Arc::new(bus))
        }
        None => Jobs::new(catalog.clone(), setup.clock, options),
    }))
}

fn worker(setup: &Setup, catalog: &Catalog, session: &Session, jobs: Option<&Jobs>) -> Result<Option<Worker>> {
    let Some(jobs) = jobs.filter(|jobs| jobs.options().workers > 0) else { return Ok(None) };
    let builder = Builder { catalog: catalog.clone(), session: session.clone(), ..setup.builder()? };
    Ok(Some(Worker::new(jobs.clone(), Arc::new(builder))))
}

//! `serve`: the service on the settings' source and store, and the worker on its jobs.

use super::setup::Setup;
use crate::catalog::Catalog;
use crate::digest::Builder;
use crate::error::{Error, Result};
use crate::pipeline::jobs::{Jobs, Worker};
use crate::serve::{Bus, Parts, Service, listen, router};
use crate::session::Session;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Serves until it is told to stop; then jobs under way end or are handed back.
pub(super) async fn run(setup: &Setup) -> Result<()> {
    let config = setup.config();
    let catalog = setup.catalog(true)?;
    let session = setup.session()?;
    setup.register_flows(&session, &setup.report)?;
    crate::catalog::register(session.context(), &catalog)?;
    let jobs = jobs(setup, &catalog).await?;
    let stop = CancellationToken::new();
    let working =
        worker(setup, &catalog, &session, jobs.as_ref())?.map(|worker| tokio::spawn(worker.run(stop.clone())));
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
    let served =
        listen(router(service), &config.serve, |address| setup.note(&format!("listening on http://{address}"))).await;
    stop.cancel();
    if let Some(working) = working {
        working.await.map_err(|error| Error::internal("the worker broke off").with_source(error))?;
    }
    served
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

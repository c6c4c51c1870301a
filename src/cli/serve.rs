//! `serve`: the service on the settings' source and store.

use super::setup::Setup;
use crate::error::Result;
use crate::serve::{Parts, Service, listen, router};

/// Serves until it is told to stop.
pub(super) async fn run(setup: &Setup) -> Result<()> {
    let config = setup.config();
    let catalog = setup.catalog(true)?;
    let session = setup.session()?;
    setup.register_flows(&session, &setup.report)?;
    crate::catalog::register(session.context(), &catalog)?;
    let service = Service::new(Parts {
        catalog,
        session,
        clock: setup.clock,
        diff: config.diff.clone(),
        queries_dir: config.queries.dir.clone(),
        limits: config.sql.clone(),
        options: config.serve.clone(),
    });
    listen(router(service), &config.serve, |address| setup.note(&format!("listening on http://{address}"))).await
}

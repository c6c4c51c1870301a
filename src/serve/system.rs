//! What machines ask of the service itself: is it alive, can it work, what is it.

use super::Service;
use super::problem::Problem;
use crate::error::{Error, ErrorKind};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long the store may take to answer before the service is not ready.
const STORE_ANSWERS_IN: Duration = Duration::from_secs(5);

/// What answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// `flowdiff`.
    name: &'static str,
    /// Its version.
    version: &'static str,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200, description = "It is", body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests can be answered: the store can be reached.
#[utoipa::path(get, path = "/readyz", tag = "system", responses(
    (status = 200, description = "They can", body = String),
    (status = 503, description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn readyz(State(service): State<Service>) -> Result<&'static str, Problem> {
    match tokio::time::timeout(STORE_ANSWERS_IN, service.catalog.rules()).await {
        Ok(Ok(_)) => Ok("ready\n"),
        Ok(Err(error)) => Err(Error::new(ErrorKind::Unavailable, "the store cannot be read").with_source(error).into()),
        Err(_) => Err(Error::new(ErrorKind::Unavailable, "the store does not answer").into()),
    }
}

/// What answers here.
#[utoipa::path(get, path = "/version", tag = "system", responses((status = 200, description = "It", body = Version)))]
pub(super) async fn version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

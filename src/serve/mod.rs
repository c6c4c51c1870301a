//! The service: parse a request, call one function, format what it says. In: HTTP. Out: HTTP. What a digest or a diff is
//! is said elsewhere.

mod answer;
mod cursor;
mod diffs;
mod drop_in;
mod edges;
mod etag;
pub mod front;
mod jobs;
mod meter;
mod negotiate;
mod options;
mod page;
mod parameters;
mod problem;
mod sql;
mod system;
mod windows;

pub use drop_in::{Bus, Options as BusOptions};
pub use meter::Limits;
pub use options::Options;
pub use problem::Problem;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::diff;
use crate::output::Format;
use crate::pipeline::jobs::Jobs;
use crate::session::Session;
use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use meter::Turns;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Formats of rows; the first is the default.
const ROWS: [Format; 5] = [Format::Json, Format::Ndjson, Format::Csv, Format::Arrow, Format::Parquet];
/// Formats of graphs.
const GRAPHS: [Format; 4] = [Format::Dot, Format::Graphml, Format::Mermaid, Format::Cytoscape];
/// Every format that is served: of rows that are also graphs.
const ALL: [Format; 9] = {
    let [a, b, c, d, e] = ROWS;
    let [f, g, h, i] = GRAPHS;
    [a, b, c, d, e, f, g, h, i]
};

/// What requests are answered with. Clones share it.
#[derive(Clone, Debug)]
pub struct Service {
    parts: Arc<Parts>,
    turns: Turns,
    reads: Arc<Semaphore>,
}

/// The parts of a service; a program that embeds it replaces what it likes.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where the digests are.
    pub catalog: Catalog,
    /// Threads and tables of queries.
    pub session: Session,
    /// Tells the time.
    pub clock: Clock,
    /// How digests are compared unless a request says otherwise.
    pub diff: diff::Options,
    /// Folder of the user's own queries.
    pub queries_dir: Option<PathBuf>,
    /// What one query may take.
    pub limits: Limits,
    /// Builds windows that are asked for and not published; without it they are not found.
    pub jobs: Option<Jobs>,
    /// How the service answers.
    pub options: Options,
}

impl Service {
    /// A service of `parts`.
    pub fn new(parts: Parts) -> Service {
        let reads = Arc::new(Semaphore::new(parts.options.reads_max.clamp(1, Semaphore::MAX_PERMITS)));
        Service { turns: Turns::new(&parts.limits), reads, parts: Arc::new(parts) }
    }
}

impl std::ops::Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// What the service says of itself.
#[derive(OpenApi)]
#[openapi(
    info(title = "flowdiff", description = "Tells what changed in a network: digests of VPC Flow Logs and their diffs."),
    tags(
        (name = "read", description = "What is published, and what differs"),
        (name = "sql", description = "SQL over flows and digests"),
        (name = "jobs", description = "Windows that are being built"),
        (name = "system", description = "The service itself"),
    )
)]
struct Description;

/// The routes and their description, for a service that is set so.
fn described(options: &Options) -> (Router<Service>, utoipa::openapi::OpenApi) {
    let (routes, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(windows::list))
        .routes(routes!(edges::list))
        .routes(routes!(edges::graph))
        .routes(routes!(diffs::show))
        .routes(routes!(sql::sql))
        .routes(routes!(sql::list))
        .routes(routes!(sql::query))
        .routes(routes!(sql::explain))
        .routes(routes!(jobs::create, jobs::list))
        .routes(routes!(jobs::show, jobs::cancel))
        .routes(routes!(system::healthz))
        .routes(routes!(system::readyz))
        .routes(routes!(system::version))
        .split_for_parts();
    parameters::complete(&mut description, options);
    (routes, description)
}

/// The description of the API of a service that is set so: OpenAPI 3.1, JSON.
pub fn openapi(options: &Options) -> utoipa::openapi::OpenApi {
    described(options).1
}

/// Everything that `service` answers.
pub fn router(service: Service) -> Router {
    let (routes, description) = described(&service.options);
    let json = description.to_pretty_json().unwrap_or_default();
    routes
        .route("/openapi.json", get(move || async move { ([(header::CONTENT_TYPE, "application/json")], json) }))
        .merge(page::routes())
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(CompressionLayer::new())
        .layer(map_response(|mut response: Response| async move {
            etag::mark_encoding(response.headers_mut());
            response
        }))
        // Their bodies are what they were: nothing is compressed on the way.
        .merge(drop_in::routes())
        .with_state(service)
}

async fn no_such_page(uri: Uri) -> Response {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
        .with_hint("/openapi.json lists what there is")
        .into_response()
}

async fn no_such_method(uri: Uri) -> Response {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path())).into_response()
}

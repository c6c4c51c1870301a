//! `GET /v1/edges` and `GET /v1/graphs`: the edges of one window, as rows and as a graph.

use super::answer::Query;
use super::etag::Validator;
use super::front::Identity;
use super::negotiate::negotiate;
use super::problem::Problem;
use super::{ALL, GRAPHS, Service, parameters};
use crate::diff::{Grain, edges_by};
use crate::output::Format;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

/// Which window, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EdgesQuery {
    /// The window: `2026-11-20T12:00Z/PT1H`, `2026-11-20T12`, `2026-11-20`, `PT1H/now`.
    window: String,
    /// How they are written; goes before `Accept`.
    #[param(inline, value_type = Option<parameters::AnyFormat>)]
    format: Option<String>,
    /// Rows of a page; without it all rows are streamed.
    #[param(inline, value_type = Option<parameters::PageLimit>)]
    limit: Option<u64>,
    /// Where the page begins: `next` of the page before.
    #[param(inline, value_type = Option<parameters::Next>)]
    cursor: Option<String>,
}

/// Which window, and in which format.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct GraphQuery {
    /// The window.
    window: String,
    /// What edges are folded to; default: edge.
    #[param(inline)]
    by: Option<Grain>,
    /// How it is written; goes before `Accept`.
    #[param(inline, value_type = Option<parameters::GraphFormat>)]
    format: Option<String>,
}

/// The edges of a window, in the order of their key.
#[utoipa::path(get, path = "/v1/edges", operation_id = "list_edges", tag = "read", params(EdgesQuery), responses(
    (status = 200, description = "The edges", content_type = "application/json"),
    (status = 202, description = "The window is being built: the job"),
    (status = 304, description = "What the client holds is right"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(service): State<Service>,
    Query(query): Query<EdgesQuery>,
    who: Option<Identity>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = negotiate(query.format.as_deref(), &headers, &ALL)?;
    service.edges(&query, Grain::Edge, format, &headers, who.as_ref()).await
}

/// The edges of a window as a graph.
#[utoipa::path(get, path = "/v1/graphs", operation_id = "draw_graph", tag = "read", params(GraphQuery), responses(
    (status = 200, description = "The graph", content_type = "text/vnd.graphviz"),
    (status = 202, description = "The window is being built: the job"),
    (status = 304, description = "What the client holds is right"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn graph(
    State(service): State<Service>,
    Query(query): Query<GraphQuery>,
    who: Option<Identity>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = negotiate(query.format.as_deref(), &headers, &GRAPHS)?;
    let by = query.by.unwrap_or_default();
    let query = EdgesQuery { window: query.window, format: query.format, limit: None, cursor: None };
    service.edges(&query, by, format, &headers, who.as_ref()).await
}

impl Service {
    async fn edges(
        &self,
        query: &EdgesQuery,
        by: Grain,
        format: Format,
        headers: &HeaderMap,
        who: Option<&Identity>,
    ) -> Result<Response, Problem> {
        let window = self.window(&query.window)?;
        let manifests = match self.digests(&[window], who).await {
            Ok(manifests) => manifests,
            Err(answer) => return Ok(answer),
        };
        let validator =
            Validator::new(["edges", &format!("{by:?}"), &format.name()], &manifests.iter().collect::<Vec<_>>());
        let page = self.page(query.limit, query.cursor.as_deref(), format, &validator)?;
        if let Some(response) = self.not_modified(headers, &validator) {
            return Ok(response.into_response());
        }
        let turn = self.read_turn().await?;
        let rows = edges_by(&self.session, &self.catalog, &manifests[0], by, self.clock.now()).await?;
        self.answer(rows, format, page, &validator, turn).await
    }
}

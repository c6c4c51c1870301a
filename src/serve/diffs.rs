//! `GET /v1/diffs`: what differs between two windows.

use super::answer::{Query, streamed};
use super::etag::Validator;
use super::front::Identity;
use super::negotiate::{media_type, negotiate};
use super::problem::Problem;
use super::{ALL, Service, parameters};
use crate::diff::{Grain, diff};
use crate::output::{OutputOptions, chunks_at_once};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

/// Which windows, and how they are compared.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DiffQuery {
    /// The earlier window, or `previous`: the one of the same width that ends where `after` begins.
    before: String,
    /// The later window.
    after: String,
    /// What edges are folded to; default: as the service is set.
    #[param(inline)]
    by: Option<Grain>,
    /// Shows an edge in both as changed if its bytes moved by at least so many.
    min_bytes: Option<u64>,
    /// And by at least this ratio, up or down.
    #[param(inline, value_type = Option<parameters::Ratio>)]
    ratio: Option<f64>,
    /// How it is written; goes before `Accept`.
    #[param(inline, value_type = Option<parameters::AnyFormat>)]
    format: Option<String>,
    /// Rows of a page; without it all rows are streamed.
    #[param(inline, value_type = Option<parameters::PageLimit>)]
    limit: Option<u64>,
    /// Where the page begins: `next` of the page before.
    #[param(inline, value_type = Option<parameters::Next>)]
    cursor: Option<String>,
}

/// What differs between two windows: added, removed and changed edges, each with its evidence, in the order of the key.
#[utoipa::path(get, path = "/v1/diffs", operation_id = "show_diff", tag = "read", params(DiffQuery), responses(
    (status = 200, description = "The diff", content_type = "application/json"),
    (status = 202, description = "A window is being built: the job"),
    (status = 304, description = "What the client holds is right"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(
    State(service): State<Service>,
    Query(query): Query<DiffQuery>,
    who: Option<Identity>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = negotiate(query.format.as_deref(), &headers, &ALL)?;
    let after = service.window(&query.after)?;
    let before = if query.before == "previous" { after.previous() } else { service.window(&query.before)? };
    let mut options = service.diff.clone();
    options.by = query.by.unwrap_or(options.by);
    options.min_bytes = query.min_bytes.unwrap_or(options.min_bytes);
    options.ratio = query.ratio.unwrap_or(options.ratio);
    options.check()?;
    let manifests = match service.digests(&[before, after], who.as_ref()).await {
        Ok(manifests) => manifests,
        Err(answer) => return Ok(answer),
    };
    let [before, after] = &manifests[..] else { unreachable!("a digest for each of two windows") };
    let settings = format!("{:?} {} {}", options.by, options.min_bytes, options.ratio);
    let validator = Validator::new(["diff", &format.name(), &settings], &[before, after]);
    let page = service.page(query.limit, query.cursor.as_deref(), format, &validator)?;
    if let Some(response) = service.not_modified(&headers, &validator) {
        return Ok(response);
    }
    let turn = service.read_turn().await?;
    let rows = diff(&service.session, &service.catalog, before, after, &options, service.clock.now()).await?;
    match page {
        // Both digests are open, and edges are merged as they lie there: what is left to fail is their bytes.
        None if options.by == Grain::Edge => {
            let chunks = chunks_at_once(rows, format, OutputOptions::default());
            Ok(service.marked(streamed(chunks, &media_type(format), Some(turn)), &validator))
        }
        _ => service.answer(rows, format, page, &validator, turn).await,
    }
}

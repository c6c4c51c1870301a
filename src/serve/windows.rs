//! `GET /v1/windows`: what is published, and how complete it is.

use super::answer::Query;
use super::etag::Validator;
use super::negotiate::{media_type, negotiate};
use super::problem::Problem;
use super::{ROWS, Service, parameters};
use crate::output::{OutputOptions, write_rows};
use crate::session::{Params, queries};
use crate::window::{format_time, parse_time};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

/// Which windows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WindowsQuery {
    /// Windows that end after this time: RFC 3339, a date, `-7d`; default: all.
    from: Option<String>,
    /// Windows that begin before this time; default: all.
    to: Option<String>,
    /// How they are written; goes before `Accept`.
    #[param(inline, value_type = Option<parameters::RowFormat>)]
    format: Option<String>,
}

/// What is published, oldest first: the newest version of each window, with its coverage.
#[utoipa::path(get, path = "/v1/windows", operation_id = "list_windows", tag = "read", params(WindowsQuery), responses(
    (status = 200, description = "The rows of queries/windows.sql", content_type = "application/json"),
    (status = 304, description = "What the client holds is right"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(service): State<Service>,
    Query(query): Query<WindowsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = negotiate(query.format.as_deref(), &headers, &ROWS)?;
    let now = service.clock.now();
    let time = |text: Option<String>, default: &str| {
        text.map_or(Ok(default.to_owned()), |text| parse_time(&text, now).map(format_time))
    };
    let params = Params::from([
        ("from".to_owned(), time(query.from, "1970-01-01")?),
        ("to".to_owned(), time(query.to, "2200-01-01")?),
    ]);
    let frame = service.session.plan_query(&queries::load("windows", None)?, &params, now).await?;
    let rows = frame.execute_stream().await.map_err(crate::Error::from)?;
    // A row a window, of manifests that are in memory anyway: so the tag is that of the bytes, and who asks again and
    // again, as the page does, is sent them only when they are others.
    let mut body = Vec::new();
    write_rows(rows, format, &mut body, &OutputOptions::default()).await?;
    let validator = Validator::of(&body);
    if let Some(response) = service.not_modified(&headers, &validator) {
        return Ok(response);
    }
    let response = ([(header::CONTENT_TYPE, media_type(format))], body).into_response();
    Ok(service.marked(response, &validator))
}

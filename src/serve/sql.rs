//! `POST /v1/sql`, `GET /v1/queries` and `GET /v1/explain`: questions in SQL, within their limits.

use super::answer::{Query, stream_of};
use super::front::Identity;
use super::meter::run;
use super::negotiate::{negotiate, sent_media_type};
use super::problem::Problem;
use super::{ALL, ROWS, Service, parameters};
use crate::output::Format;
use crate::session::{Params, queries};
use crate::window::format_time;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use utoipa::{IntoParams, ToSchema};

/// A statement and its parameters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlBody {
    /// One statement that reads.
    sql: String,
    /// The values of `$name` in it, as texts or numbers.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, parameters::SqlValue>)]
    params: BTreeMap<String, serde_json::Value>,
}

/// In which format.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FormatQuery {
    /// How the rows are written, those of edges also as a graph; goes before `Accept`.
    #[param(inline, value_type = Option<parameters::AnyFormat>)]
    format: Option<String>,
}

/// A query that can be run by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamedQuery {
    name: String,
    summary: String,
    params: Vec<String>,
    returns: String,
}

/// Which edge of which window.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// The window.
    window: String,
    /// Source address of the edge.
    #[param(inline, value_type = parameters::Address)]
    srcaddr: IpAddr,
    /// Destination address of the edge.
    #[param(inline, value_type = parameters::Address)]
    dstaddr: IpAddr,
    /// Port on either side.
    #[param(inline, value_type = Option<parameters::Port>)]
    port: Option<u16>,
    /// IANA protocol number.
    #[param(inline, value_type = Option<parameters::Protocol>)]
    protocol: Option<u8>,
    /// Interface.
    interface_id: Option<String>,
    /// Lines at most; default 100.
    limit: Option<u64>,
    /// How they are written; goes before `Accept`.
    #[param(inline, value_type = Option<parameters::RowFormat>)]
    format: Option<String>,
}

/// Runs one statement of SQL that reads; times in parameters may be written as everywhere.
#[utoipa::path(post, path = "/v1/sql", operation_id = "run_sql", tag = "sql", params(FormatQuery), request_body(
    description = "The statement: JSON with parameters, or plain text", content((SqlBody = "application/json"), (String = "text/plain"), (String = "application/sql"))
), responses(
    (status = 200, description = "Its rows", content_type = "application/json"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn sql(
    State(service): State<Service>,
    who: Option<Identity>,
    Query(query): Query<FormatQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let format = negotiate(query.format.as_deref(), &headers, &ALL)?;
    let (sql, params) = statement(&headers, &body)?;
    let session = service.session.with_memory(service.limits.memory_bytes)?;
    service.rows_of(session.plan(&sql, &params, service.clock.now()), &sql, who, format).await
}

/// The queries that can be run by name.
#[utoipa::path(get, path = "/v1/queries", operation_id = "list_queries", tag = "read", responses(
    (status = 200, description = "The queries", body = [NamedQuery]),
))]
pub(super) async fn list(State(service): State<Service>) -> Result<Json<Vec<NamedQuery>>, Problem> {
    let queries = queries::list(service.queries_dir.as_deref())?;
    let named = queries.into_iter().filter(queries::Query::is_question).map(|query| NamedQuery {
        params: query.params.iter().map(ToString::to_string).collect(),
        name: query.name,
        summary: query.summary,
        returns: query.returns,
    });
    Ok(Json(named.collect()))
}

/// Runs a query by name; every other parameter is one of the query's.
#[utoipa::path(get, path = "/v1/queries/{name}", operation_id = "run_query", tag = "read", params(
    ("name" = String, Path, description = "Name of the query"), FormatQuery
), responses(
    (status = 200, description = "Its rows", content_type = "application/json"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn query(
    State(service): State<Service>,
    who: Option<Identity>,
    Path(name): Path<String>,
    Query(mut params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = negotiate(params.remove("format").as_deref(), &headers, &ALL)?;
    let query = queries::load(&name, service.queries_dir.as_deref())?;
    service.named(&query, &params, who, format).await
}

/// The raw records behind an edge, each with its object and line.
#[utoipa::path(get, path = "/v1/explain", operation_id = "explain_edge", tag = "read", params(ExplainQuery), responses(
    (status = 200, description = "The records", content_type = "application/json"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn explain(
    State(service): State<Service>,
    who: Option<Identity>,
    Query(query): Query<ExplainQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = negotiate(query.format.as_deref(), &headers, &ROWS)?;
    let window = service.window(&query.window)?;
    if !service.session.context().table_exist("flows").map_err(crate::Error::from)? {
        return Err(Problem::new(StatusCode::NOT_FOUND, "this service has no flow logs")
            .with_hint("set source.url where it runs"));
    }
    let given = [
        ("start", Some(format_time(window.start()))),
        ("stop", Some(format_time(window.stop()))),
        ("srcaddr", Some(query.srcaddr.to_string())),
        ("dstaddr", Some(query.dstaddr.to_string())),
        ("port", query.port.map(|port| port.to_string())),
        ("protocol", query.protocol.map(|protocol| protocol.to_string())),
        ("interface_id", query.interface_id),
        ("limit", query.limit.map(|limit| limit.to_string())),
    ];
    let params = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    service.named(&queries::load("explain", None)?, &params, who, format).await
}

impl Service {
    async fn named(
        &self,
        query: &queries::Query,
        params: &Params,
        who: Option<Identity>,
        format: Format,
    ) -> Result<Response, Problem> {
        let session = self.session.with_memory(self.limits.memory_bytes)?;
        self.rows_of(session.plan_query(query, params, self.clock.now()), &query.name, who, format).await
    }

    /// What `plan` makes of `statement`, in its turn and within the limits. It runs anew each time, so nobody keeps it.
    async fn rows_of(
        &self,
        plan: impl Future<Output = crate::Result<DataFrame>>,
        statement: &str,
        who: Option<Identity>,
        format: Format,
    ) -> Result<Response, Problem> {
        // Nobody asks where the routes have no front.
        let user = who.as_ref().map_or("", |who| &who.name);
        let turn = self.turns.take()?;
        let rows = run(turn, &self.limits, user, statement, plan).await?;
        let mut response = stream_of(rows, format).await?;
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        Ok(response)
    }
}

/// The statement of a body, by its content type.
fn statement(headers: &HeaderMap, body: &Bytes) -> Result<(String, Params), Problem> {
    let refuse = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    match sent_media_type(headers).as_deref().unwrap_or("text/plain") {
        "application/json" => {
            let body: SqlBody = serde_json::from_slice(body)
                .map_err(|error| refuse(format!("the body is not {{\"sql\": ..., \"params\": ...}}: {error}")))?;
            let text = |(name, value)| match value {
                serde_json::Value::String(text) => Ok((name, text)),
                serde_json::Value::Number(number) => Ok((name, number.to_string())),
                other => Err(refuse(format!("parameter {name} is {other}, not a text or a number"))),
            };
            Ok((body.sql, body.params.into_iter().map(text).collect::<Result<_, _>>()?))
        }
        "text/plain" | "application/sql" => {
            let text = std::str::from_utf8(body).map_err(|_| refuse("the statement is not UTF-8".to_owned()))?;
            Ok((text.to_owned(), Params::new()))
        }
        other => Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{other} is no statement"))
            .with_hint("send application/json or text/plain")),
    }
}

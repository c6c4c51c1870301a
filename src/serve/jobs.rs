//! `/v1/jobs`: windows that are being built, asked for by name or by asking for what they make.

use super::answer::Query;
use super::negotiate::sent_media_type;
use super::problem::Problem;
use super::{Service, parameters};
use crate::catalog::WIDTH_MAX;
use crate::error::Error;
use crate::pipeline::jobs::{Job, Jobs, Kind, Record, Requested, Status};
use crate::window::Window;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Seconds after which it makes sense to look at a job again.
const LOOK_AGAIN_SECONDS: u64 = 2;
/// Seconds after which there may be room for another job.
const ROOM_SECONDS: u64 = 10;
/// Jobs that are listed unless a request says otherwise.
const LISTED: usize = 100;
/// How many a request may ask for.
pub const LISTABLE: RangeInclusive<usize> = 1..=1_000;

/// Windows to build.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// One window, or two to compare: before and after. Written as in `GET /v1/edges`.
    #[schema(value_type = parameters::JobWindows)]
    windows: Vec<String>,
    /// What they are for; default: `digest` for one window, `diff` for two.
    kind: Option<Kind>,
}

/// A job, and where its result is.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobAnswer {
    #[serde(flatten)]
    record: Record,
    /// What the job made, once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

/// Jobs of the store.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    /// The jobs, those asked for last first.
    jobs: Vec<JobAnswer>,
    /// How many more there are.
    left_out: usize,
}

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    /// Only those in this state.
    #[param(inline)]
    status: Option<Status>,
    /// Jobs to list; default 100.
    #[param(inline, value_type = Option<parameters::JobsLimit>)]
    limit: Option<usize>,
}

/// Builds windows. A job that was asked for before is the same job; one that failed or was cancelled begins anew.
#[utoipa::path(post, path = "/v1/jobs", operation_id = "create_job", tag = "jobs", request_body = JobRequest, responses(
    (status = 200, description = "It is done already", body = JobAnswer),
    (status = 202, description = "The job; `Location` is where to look", body = JobAnswer),
    (status = 429, description = "Too many jobs wait", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn create(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let JobRequest { windows, kind } = read(&headers, &body)?;
    let windows = windows.iter().map(|text| service.window(text)).collect::<Result<Vec<_>, _>>()?;
    let kind = kind.unwrap_or(if windows.len() == 2 { Kind::Diff } else { Kind::Digest });
    let job = Job::new(kind, windows)?;
    if let Some(wide) = job.windows().iter().find(|window| window.width() > WIDTH_MAX) {
        let days = WIDTH_MAX.num_days();
        return Err(Problem::from(Error::invalid(format!("window {wide} is wider than {days} days"))));
    }
    match service.jobs()?.request(job).await? {
        Requested::Accepted(record) => Ok(answer(record)),
        Requested::Full => Err(full()),
    }
}

/// The jobs of the store, those that ended a while ago included.
#[utoipa::path(get, path = "/v1/jobs", operation_id = "list_jobs", tag = "jobs", params(JobsQuery), responses(
    (status = 200, description = "The jobs", body = JobList),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(service): State<Service>,
    Query(query): Query<JobsQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = query.limit.unwrap_or(LISTED);
    if !LISTABLE.contains(&limit) {
        let (least, most) = LISTABLE.into_inner();
        return Err(Problem::new(StatusCode::BAD_REQUEST, format!("limit {limit} is no length of a list"))
            .with_hint(format!("{least} to {most} jobs are listed, {LISTED} without limit")));
    }
    let mut records = service.jobs()?.list().await?;
    records.retain(|record| query.status.is_none_or(|status| record.status == status));
    let listed = limit.min(records.len());
    let left_out = records.len() - listed;
    let jobs = records.into_iter().take(listed).map(JobAnswer::from).collect();
    Ok((NO_STORE, Json(JobList { jobs, left_out })))
}

/// A job: where it is, how far, why it failed, and where its result is.
#[utoipa::path(get, path = "/v1/jobs/{id}", operation_id = "show_job", tag = "jobs", params(
    ("id" = Uuid, Path, description = "Id of the job")
), responses(
    (status = 200, description = "The job; `Retry-After` says when to look again", body = JobAnswer),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(State(service): State<Service>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = service.jobs()?.find(parse_id(&id)?).await?;
    Ok(shown(found.ok_or_else(|| no_such_job(&id))?))
}

/// Calls a job off, and stops the work on it. One that ended already stays as it is.
#[utoipa::path(delete, path = "/v1/jobs/{id}", operation_id = "cancel_job", tag = "jobs", params(
    ("id" = Uuid, Path, description = "Id of the job")
), responses(
    (status = 200, description = "The job as it is now", body = JobAnswer),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn cancel(State(service): State<Service>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = service.jobs()?.cancel(parse_id(&id)?).await?;
    Ok(shown(found.ok_or_else(|| no_such_job(&id))?))
}

impl Service {
    /// The answer to a request for what `windows` (one, or two to compare) make, of which `missing` is not published: the
    /// job that builds them, or why there is nothing to wait for.
    pub(super) async fn request_windows(&self, windows: &[Window], missing: &Window) -> Response {
        let Some(jobs) = &self.jobs else { return self.not_published(missing).await.into_response() };
        let kind = if windows.len() == 2 { Kind::Diff } else { Kind::Digest };
        let wanted = match Job::new(kind, windows.to_vec()) {
            Ok(job) => jobs.want(job).await,
            Err(error) => Err(error),
        };
        match wanted {
            Ok(Requested::Accepted(record)) => self.wait_or_told(jobs, record),
            Ok(Requested::Full) => full().into_response(),
            Err(error) => Problem::from(error).into_response(),
        }
    }

    /// The problem for a window that is not published: it names the nearest ones that are.
    pub(super) async fn not_published(&self, window: &Window) -> Problem {
        match self.catalog.nearest(window).await {
            Ok(nearest) => Problem {
                nearest: Some(nearest.iter().map(Window::to_string).collect()),
                ..Problem::from(self.catalog.not_published(window, &nearest))
            },
            Err(error) => error.into(),
        }
    }

    fn wait_or_told(&self, jobs: &Jobs, record: Record) -> Response {
        let id = record.job.id();
        let error = match (record.status, &record.error) {
            (Status::Failed, Some(failure)) => {
                Error::from(failure.clone()).context(format!("{} could not be built", record.job))
            }
            (Status::Cancelled, _) => {
                Error::new(crate::ErrorKind::Conflict, format!("job {id}, the {}, was cancelled", record.job))
                    .with_hint("POST /v1/jobs begins it anew")
            }
            // What is done by now was not yet when the window was looked for.
            _ => return accepted(record),
        };
        let left = record.updated + jobs.options().failed_for - self.clock.now();
        Problem::from(error).with_retry_after(left.num_seconds().max(1).unsigned_abs()).into_response()
    }

    pub(super) fn jobs(&self) -> Result<&Jobs, Problem> {
        self.jobs.as_ref().ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "this service builds no windows")
                .with_hint("it has no flow logs: set source.url where it runs")
        })
    }
}

impl From<Record> for JobAnswer {
    fn from(record: Record) -> JobAnswer {
        let result = (record.status == Status::Done).then(|| match (record.job.kind(), record.job.windows()) {
            (Kind::Graph, windows) => format!("/v1/graphs?window={}", windows[0]),
            (Kind::Diff, [before, after]) => format!("/v1/diffs?before={before}&after={after}"),
            (_, windows) => format!("/v1/edges?window={}", windows[0]),
        });
        JobAnswer { record, result }
    }
}

const NO_STORE: [(header::HeaderName, HeaderValue); 1] =
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];

/// A job that was asked for.
fn answer(record: Record) -> Response {
    match record.status {
        Status::Queued | Status::Running => accepted(record),
        Status::Done | Status::Failed | Status::Cancelled => shown(record),
    }
}

fn accepted(record: Record) -> Response {
    let location = location(record.job.id());
    let mut response = shown(record);
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::RETRY_AFTER, HeaderValue::from(LOOK_AGAIN_SECONDS));
    response
}

/// A job as it is.
fn shown(record: Record) -> Response {
    let retry_after = (!record.status.is_ended()).then_some(LOOK_AGAIN_SECONDS);
    let mut response = (NO_STORE, Json(JobAnswer::from(record))).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn location(id: Uuid) -> HeaderValue {
    HeaderValue::try_from(format!("/v1/jobs/{id}")).expect("an id of hexadecimal digits and dashes fits a header")
}

pub(super) fn full() -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many jobs wait to be worked on")
        .with_hint("ask again later; jobs.queue_max says how many may wait")
        .with_retry_after(ROOM_SECONDS)
}

fn no_such_job(id: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no job {id}"))
        .with_hint("GET /v1/jobs lists them; those that ended are forgotten after jobs.kept_for")
}

fn parse_id(id: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(id).map_err(|_| no_such_job(id))
}

/// The windows of a body. Its content type must be JSON's, which pages of other sites cannot send unasked.
fn read(headers: &HeaderMap, body: &Bytes) -> Result<JobRequest, Problem> {
    let media_type = sent_media_type(headers).unwrap_or_default();
    if media_type != "application/json" {
        let given = format!("a body of {media_type:?} asks for no job");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, given).with_hint("send application/json"));
    }
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body asks for no job: {error}"))
            .with_hint("send {\"windows\": [\"2026-11-20T12:00Z/PT1H\"]}, or two windows to compare")
    })
}

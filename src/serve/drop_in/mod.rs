//! The drop-in for the three earlier services: `/digest`, `/graph` and `/diff` with their parameters, statuses, bodies
//! and payloads, so that a program written for them changes its base URL alone.
//!
//! In: a window, or two, as times. Out: what is published of them. Nothing of its own is stored: a graph is its digest
//! rendered, a diff is two digests compared, and each can be had as soon as these are published.

mod ask;
mod bus;
mod lines;
mod message;

pub use bus::{Bus, Options};

use super::answer::streamed;
use super::jobs::full;
use super::{Problem, Service};
use crate::catalog::{Manifest, read_edges};
use crate::diff::{self, Grain, RenderOptions};
use crate::error::{Error, Result};
use crate::output::{ChunkWriter, Format, OutputOptions, chunks, chunks_by};
use crate::pipeline::jobs::{Job, Kind, Requested, Status};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use datafusion::execution::SendableRecordBatchStream;
use flate2::Compression;
use flate2::write::GzEncoder;
use lines::write_lines;
use message::{Message, Text};
use tokio::sync::OwnedSemaphorePermit;

/// What every body of the earlier services was.
const OCTETS: &str = "application/octet-stream";

/// The routes of the three services and of their workers. Each service had the root of an address of its own: a base URL
/// is theirs with the service's name, with or without a slash behind it.
pub(super) fn routes() -> Router<Service> {
    [Kind::Digest, Kind::Graph, Kind::Diff].into_iter().fold(Router::new(), |router, kind| {
        let name = kind.name();
        let asked = get(move |service, headers, query| fetch(kind, service, headers, query))
            .post(move |service, query| request(kind, service, query));
        router
            .route(&format!("/{name}"), asked.clone())
            .route(&format!("/{name}/"), asked)
            .route(&format!("/{name}/{{topic}}/{{event}}"), post(move |service, payload| work(kind, service, payload)))
    })
}

/// Answers with what is published; 204 while it is being built, 404 if it is not.
async fn fetch(
    kind: Kind,
    State(service): State<Service>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Message> {
    let job = ask::read_query(kind, query.as_deref().unwrap_or_default())?;
    if let Some(digests) = published(&service, &job).await? {
        return body(&service, kind, &digests, &headers).await;
    }
    let record = match &service.jobs {
        Some(jobs) => jobs.find(job.id()).await?,
        None => None,
    };
    let Some(record) = record else { return Err(not_found(format!("{job} was not asked for"))) };
    match record.status {
        Status::Queued | Status::Running => Ok(StatusCode::NO_CONTENT.into_response()),
        // Since the first look, or it was removed.
        Status::Done => match published(&service, &job).await? {
            Some(digests) => body(&service, kind, &digests, &headers).await,
            None => Err(not_found(format!("{job} is no longer there"))),
        },
        Status::Cancelled => Err(not_found(format!("{job} was cancelled"))),
        Status::Failed => {
            let reason = record.error.map_or_else(String::new, |failure| format!(": {}", failure.message));
            Err(not_found(format!("{job} failed{reason}")))
        }
    }
}

/// Has what is not published built; 409 if it is published, or being built already.
async fn request(kind: Kind, State(service): State<Service>, RawQuery(query): RawQuery) -> Result<StatusCode, Message> {
    let job = ask::read_query(kind, query.as_deref().unwrap_or_default())?;
    let said = job.to_string();
    if published(&service, &job).await?.is_some() {
        return Err(Message::new(StatusCode::CONFLICT, format!("{said} exists")));
    }
    let jobs = service.jobs()?;
    let before = jobs.find(job.id()).await?;
    if before.is_some_and(|record| !record.status.is_ended()) {
        return Err(Message::new(StatusCode::CONFLICT, format!("{said} is being built")));
    }
    accepted(jobs.request(job).await?)?;
    Ok(StatusCode::ACCEPTED)
}

/// Takes the job of a payload that a bus brings. 204 once it is this worker's or any other's: from then on the store holds
/// it, whatever becomes of the worker.
async fn work(kind: Kind, State(service): State<Service>, payload: Bytes) -> Result<StatusCode, Text> {
    let job = ask::read_payload(kind, &payload)?;
    if published(&service, &job).await?.is_none() {
        accepted(service.jobs()?.deliver(job).await?)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The newest digests of the windows of a job, if all are published.
async fn published(service: &Service, job: &Job) -> Result<Option<Vec<Manifest>>> {
    let mut digests = Vec::with_capacity(job.windows().len());
    for window in job.windows() {
        let Some(digest) = service.catalog.latest(window).await? else { return Ok(None) };
        digests.push(digest);
    }
    Ok(Some(digests))
}

fn accepted(requested: Requested) -> Result<(), Problem> {
    match requested {
        Requested::Accepted(_) => Ok(()),
        Requested::Full => Err(full()),
    }
}

fn not_found(message: String) -> Message {
    Message::new(StatusCode::NOT_FOUND, message)
}

/// What the earlier service of this kind answered.
async fn body(service: &Service, kind: Kind, digests: &[Manifest], headers: &HeaderMap) -> Result<Response, Message> {
    let turn = service.read_turn().await?;
    match (kind, digests) {
        (Kind::Digest, [digest]) => lines_of(edges(service, digest).await?, wants_text(headers), turn).await,
        (Kind::Graph, [digest]) => graph_of(edges(service, digest).await?, turn).await,
        (Kind::Diff, [before, after]) => {
            // Edges in both are no part of such a diff, however much they moved.
            let options = diff::Options { by: Grain::Edge, min_bytes: u64::MAX, ..diff::Options::default() };
            let now = service.clock.now();
            graph_of(diff::diff(&service.session, &service.catalog, before, after, &options, now).await?, turn).await
        }
        _ => Err(Error::internal("a job has other windows than its kind").into()),
    }
}

async fn edges(service: &Service, digest: &Manifest) -> Result<SendableRecordBatchStream> {
    Ok(read_edges(service.session.context(), &service.catalog, digest)?.execute_stream().await?)
}

async fn graph_of(edges: SendableRecordBatchStream, turn: OwnedSemaphorePermit) -> Result<Response, Message> {
    let graph = RenderOptions { dot_lines: true, ..RenderOptions::default() };
    let options = OutputOptions { graph, ..OutputOptions::default() };
    Ok(streamed(chunks(edges, Format::Dot, options).await?, OCTETS, Some(turn)))
}

/// Log lines in gzip, as the earlier digester stored and served them: its readers decompress the body themselves. As they
/// are for who asks for text.
async fn lines_of(
    edges: SendableRecordBatchStream,
    as_text: bool,
    turn: OwnedSemaphorePermit,
) -> Result<Response, Message> {
    if as_text {
        let write = async |edges, mut out: ChunkWriter| write_lines(edges, &mut out).await;
        return Ok(streamed(chunks_by(edges, write).await?, "text/plain; charset=utf-8", Some(turn)));
    }
    let write = async |edges, out: ChunkWriter| {
        let mut gzip = GzEncoder::new(out, Compression::fast());
        write_lines(edges, &mut gzip).await?;
        gzip.finish()?;
        Ok(())
    };
    Ok(streamed(chunks_by(edges, write).await?, OCTETS, Some(turn)))
}

fn wants_text(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains("text/plain")))
}

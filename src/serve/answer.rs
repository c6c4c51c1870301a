//! What every data route does: read the query string, find the digests, answer with rows.

use super::Service;
use super::cursor::Cursor;
use super::etag::Validator;
use super::front::{Identity, Role};
use super::negotiate::media_type;
use super::parameters::page_rows;
use super::problem::Problem;
use crate::catalog::Manifest;
use crate::diff::printable;
use crate::output::{Format, OutputOptions, chunks, write_rows};
use crate::window::Window;
use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::future::try_join_all;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use url::form_urlencoded;

/// The query string of a request, every parameter of it known.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Query(query)).map_err(
            |rejection| {
                let text = rejection.body_text();
                let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                let query = parts.uri.query().unwrap_or_default();
                let told = detail.split_once(": ").filter(|(_, reason)| !reason.starts_with("unknown field"));
                let wrong = told.and_then(|(name, reason)| {
                    let (_, value) = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
                    Some(format!("{name} cannot be {:?}: {reason}", printable(&value)))
                });
                Problem::new(StatusCode::BAD_REQUEST, wrong.as_deref().unwrap_or(detail))
                    .with_hint("/openapi.json lists the parameters")
            },
        )
    }
}

/// Which page of the rows is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Rows to pass over.
    pub offset: u64,
    /// Rows to give at the most.
    pub limit: u64,
}

impl Service {
    /// A window as a client wrote it.
    pub(super) fn window(&self, text: &str) -> Result<Window, Problem> {
        let parsed = Window::parse(text, self.clock.now());
        parsed.map_err(|error| match text.contains(' ') {
            true => error.with_hint("a + in an address means a space: write %2B").into(),
            false => error.into(),
        })
    }

    /// The newest digests of `windows`; where one is not published, the answer that says so: to `who` may have it built,
    /// the job that does.
    pub(super) async fn digests(&self, windows: &[Window], who: Option<&Identity>) -> Result<Vec<Manifest>, Response> {
        let latest = try_join_all(windows.iter().map(|window| self.catalog.latest(window))).await;
        let latest = latest.map_err(|error| Problem::from(error).into_response())?;
        match windows.iter().zip(&latest).find(|(_, latest)| latest.is_none()) {
            Some((window, _)) => Err(self.missing(windows, window, who).await),
            None => Ok(latest.into_iter().flatten().collect()),
        }
    }

    async fn missing(&self, windows: &[Window], missing: &Window, who: Option<&Identity>) -> Response {
        if let Some(who) = who.filter(|who| !who.may(Role::Operate)) {
            let problem = self.not_published(missing).await;
            let hint = format!("a token with the role operate has it built; {} has not", who.name);
            return problem.with_hint(hint).into_response();
        }
        self.request_windows(windows, missing).await
    }

    /// The page that is asked for, if any, of what `validator` marks.
    pub(super) fn page(
        &self,
        limit: Option<u64>,
        cursor: Option<&str>,
        format: Format,
        validator: &Validator,
    ) -> Result<Option<Page>, Problem> {
        let offset = cursor.map(|cursor| Cursor::offset(cursor, validator)).transpose()?;
        let limit = match (limit, offset) {
            (None, None) => return Ok(None),
            (limit, _) => limit.unwrap_or(self.options.page_rows_max),
        };
        let allowed = page_rows(&self.options);
        if !allowed.contains(&limit) {
            let (least, most) = allowed.into_inner();
            return Err(Problem::new(StatusCode::BAD_REQUEST, format!("limit {limit} is no size of a page"))
                .with_hint(format!("a page has {least} to {most} rows; without limit all rows are streamed")));
        }
        if format != Format::Json {
            return Err(Problem::new(StatusCode::BAD_REQUEST, format!("pages are JSON, not {}", format.name()))
                .with_hint("leave out limit and cursor to get all rows in this format"));
        }
        Ok(Some(Page { offset: offset.unwrap_or(0), limit }))
    }

    /// Waits for a turn to answer with what digests hold. It ends with the answer, when its last byte was taken: so the
    /// turns bound what is in memory, however many clients there are.
    pub(super) async fn read_turn(&self) -> crate::Result<OwnedSemaphorePermit> {
        let turn = self.reads.clone().acquire_owned().await;
        turn.map_err(|error| crate::Error::internal("digests are not read any more").with_source(error))
    }

    /// Rows as an answer that `validator` marks: one page of them, or all, streamed.
    pub(super) async fn answer(
        &self,
        rows: SendableRecordBatchStream,
        format: Format,
        page: Option<Page>,
        validator: &Validator,
        turn: OwnedSemaphorePermit,
    ) -> Result<Response, Problem> {
        let response = match page {
            Some(page) => page_of(rows, page, validator).await?,
            None => {
                let chunks = chunks(rows, format, OutputOptions::default()).await?;
                streamed(chunks, &media_type(format), Some(turn))
            }
        };
        Ok(self.marked(response, validator))
    }

    /// The answer with what says how long it is right.
    pub(super) fn marked(&self, mut response: Response, validator: &Validator) -> Response {
        response.headers_mut().extend(validator.headers(self.fresh_seconds()));
        response
    }

    /// The answer to a client that holds what it asks for already.
    pub(super) fn not_modified(&self, headers: &HeaderMap, validator: &Validator) -> Option<Response> {
        validator
            .is_held(headers)
            .then(|| (StatusCode::NOT_MODIFIED, validator.headers(self.fresh_seconds())).into_response())
    }

    fn fresh_seconds(&self) -> u64 {
        self.options.fresh_for.num_seconds().unsigned_abs()
    }
}

/// All rows, streamed.
pub(super) async fn stream_of(rows: SendableRecordBatchStream, format: Format) -> Result<Response, Problem> {
    let chunks = chunks(rows, format, OutputOptions::default()).await?;
    Ok(streamed(chunks, &media_type(format), None))
}

/// Chunks as they come; `turn` ends with them.
pub(super) fn streamed(
    chunks: impl Stream<Item = crate::Result<Bytes>> + Send + 'static,
    media_type: &str,
    turn: Option<OwnedSemaphorePermit>,
) -> Response {
    let chunks = chunks.inspect_err(move |error| {
        let _until_dropped = &turn;
        tracing::error!(error = error.copy().to_string(), "an answer broke off in the middle");
    });
    let media_type = HeaderValue::from_str(media_type).unwrap_or(HeaderValue::from_static("text/plain"));
    ([(header::CONTENT_TYPE, media_type)], Body::from_stream(chunks)).into_response()
}

/// One page, and the cursor of the next if there is one.
async fn page_of(mut rows: SendableRecordBatchStream, page: Page, validator: &Validator) -> Result<Response, Problem> {
    let (schema, mut skip, mut left) = (rows.schema(), page.offset, page.limit);
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut has_more = false;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(crate::Error::from)?;
        let count = batch.num_rows() as u64;
        let passed = skip.min(count);
        skip -= passed;
        let taken = left.min(count - passed);
        if taken > 0 {
            batches.push(batch.slice(passed as usize, taken as usize));
            left -= taken;
        }
        if passed + taken < count {
            has_more = true;
            break;
        }
    }
    let page_rows = RecordBatchStreamAdapter::new(schema, stream::iter(batches.into_iter().map(Ok)));
    let mut json = Vec::new();
    write_rows(Box::pin(page_rows), Format::Json, &mut json, &OutputOptions::default()).await?;
    let next = has_more.then(|| Cursor::at(page.offset + page.limit, validator));
    let mut body = b"{\"rows\":".to_vec();
    body.extend_from_slice(json.trim_ascii_end());
    body.extend_from_slice(format!(",\"next\":{}}}\n", serde_json::json!(next)).as_bytes());
    Ok(([(header::CONTENT_TYPE, media_type(Format::Json))], body).into_response())
}

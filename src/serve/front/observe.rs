//! What is told of each request: an id, one line of the log, counts, a span. In: requests and answers as they pass.
//! Out: the same, an answer's end included: it ends when its last byte is taken, or when its client is gone.

use super::access::Identity;
use super::limits::Turn;
use crate::meters;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tracing::{Instrument, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids are not taken over from clients.
const REQUEST_ID_MAX: usize = 64;
/// How requests to no route are counted: their paths are whatever a client thinks of.
const NO_ROUTE: &str = "none";

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that is being answered, if one is.
pub(in crate::serve) fn request_id() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Follows a request to the end of its answer.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = id_of(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let method = method_name(request.method());
    let name = format!("{method} {route}");
    // At the highest level: what is logged in it, be it an error alone, tells which request it was about.
    let span = tracing::error_span!("request", id, otel.name = name, otel.kind = "server");
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(request.headers())));
    span.set_attribute("http.request.method", method);
    span.set_attribute("http.route", route.clone());
    span.set_attribute("url.path", request.uri().path().to_owned());
    meters::request_began();
    let mut record = Record {
        began,
        id: id.clone(),
        method,
        route,
        status: 0,
        user: None,
        turn: None,
        bytes: 0,
        end: End::Gone,
        span: span.clone(),
    };
    let mut response = CURRENT.scope(id.clone(), next.run(request).instrument(span.clone())).await;
    record.status = response.status().as_u16();
    record.user = response.extensions_mut().remove::<Identity>();
    record.turn = response.extensions_mut().remove::<Turn>();
    span.set_attribute("http.response.status_code", i64::from(record.status));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    // Nobody asks for the body of these.
    if method == "HEAD" || response.body().is_end_stream() {
        record.end = End::Complete;
    }
    response.map(|body| Body::new(Observed { body, record }))
}

/// The client's id, if it is one that fits a log; else a new one.
fn id_of(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fits = |id: &&str| {
        (1..=REQUEST_ID_MAX).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    given.filter(fits).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// Methods as they are counted: what a client invents is one.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

/// Where a request says which trace it is part of. Source: W3C Trace Context.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    /// What made it failed after it had begun.
    Failed,
    /// The client went away, or was cut off.
    Gone,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::Failed => "failed",
            End::Gone => "gone",
        }
    }
}

/// What is known of a request; told when it is dropped, which is when its answer ended, however it did.
struct Record {
    began: Instant,
    id: String,
    method: &'static str,
    route: String,
    /// 0 until there is an answer: a request whose client left before has none.
    status: u16,
    user: Option<Identity>,
    turn: Option<Turn>,
    bytes: u64,
    end: End,
    span: Span,
}

impl Drop for Record {
    fn drop(&mut self) {
        drop(self.turn.take());
        let elapsed = self.began.elapsed();
        meters::request_ended(&meters::Request {
            method: self.method,
            route: &self.route,
            status: self.status,
            seconds: elapsed.as_secs_f64(),
            bytes: self.bytes,
            cut: (self.end != End::Complete).then_some(self.end.name()),
        });
        self.span.set_attribute("http.response.body.size", i64::try_from(self.bytes).unwrap_or(i64::MAX));
        tracing::info!(
            target: "flowdiff::requests",
            parent: None,
            method = self.method,
            route = self.route,
            status = self.status,
            ms = elapsed.as_micros() as f64 / 1e3,
            bytes = self.bytes,
            end = self.end.name(),
            user = self.user.as_ref().map(|user| field::display(user.name.clone())),
            request_id = self.id,
            "request"
        );
    }
}

/// A body that is counted as it is taken.
struct Observed {
    body: Body,
    record: Record,
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = this.record.span.in_scope(|| Pin::new(&mut this.body).poll_frame(cx));
        let frame = ready!(frame);
        match &frame {
            Some(Ok(frame)) => this.record.bytes += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) => this.record.end = End::Failed,
            None => {}
        }
        if frame.is_none() || (this.body.is_end_stream() && this.record.end == End::Gone) {
            this.record.end = End::Complete;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_kept_if_it_fits_a_log() {
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(text).unwrap());
            id_of(&headers)
        };
        assert_eq!(id("abc-1_2.3"), "abc-1_2.3");
        for text in ["", "a b", "a\"b", "é", &"a".repeat(65)] {
            assert_eq!(id(text).len(), 36, "{text:?} became a UUID");
        }
        assert_ne!(id_of(&HeaderMap::new()), id_of(&HeaderMap::new()));
    }
}

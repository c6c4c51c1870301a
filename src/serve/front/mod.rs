//! What stands between the network and the routes: who may ask, how much, for how long, and what is told of it. In: a
//! router. Out: the same router, fit for the network, and a listener for it.
//!
//! From outside to inside: `observe` (id, log, counts), `guard` (tokens, rate, turns, time), panics, body size, routes.

mod access;
mod connection;
mod limits;
mod listen;
mod observe;
mod origin;
mod stamp;
mod tls;
mod tokens;

pub use access::{Identity, Role};
pub use listen::Stop;
pub(super) use observe::request_id;
pub use tokens::NewToken;

use super::{Options, Problem};
use crate::error::{Error, Result};
use access::{Access, METRICS};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::TimeDelta;
use limits::{Rate, Turns};
use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tls::Tls;
use tokens::Tokens;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

/// Where the service tells whether it takes requests.
const READY: &str = "/readyz";
/// Text of an error that somebody else than this crate wrote; longer ones are cut.
const FOREIGN_ERROR_BYTES_MAX: usize = 4096;
/// What is taken of the body of a request that is refused, and how long that may last.
const REST_BYTES_MAX: usize = 64 * 1024;
const REST_IN: Duration = Duration::from_secs(1);
/// The form in which Prometheus reads metrics. Source: its exposition format, version 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What stands before the routes of a service. Clones share it.
#[derive(Clone, Debug)]
pub struct Front {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    options: Options,
    access: Access,
    tls: Option<Tls>,
    rate: Rate,
    turns: Turns,
    stopping: AtomicBool,
}

impl Front {
    /// A front as the settings say; reads the tokens and the certificate.
    ///
    /// # Errors
    /// `Invalid` if the service would listen beyond this machine without tokens, for half a pair of TLS files, for a
    /// bound of 0, and for tokens and certificates that cannot be read.
    pub fn new(options: &Options) -> Result<Front> {
        let nothing_fits = [
            ("connections_max", options.connections_max == 0),
            ("requests_max", options.requests_max == 0),
            ("page_rows_max", options.page_rows_max == 0),
        ];
        for (name, is_nothing) in nothing_fits {
            if is_nothing {
                return Err(Error::invalid(format!("serve.{name} is 0")).with_hint("give it a positive number"));
            }
        }
        let tls = match (&options.tls_cert, &options.tls_key) {
            (Some(cert), Some(key)) => Some(Tls::open(cert, key)?),
            (None, None) => None,
            _ => {
                return Err(Error::invalid("TLS needs a certificate and its key")
                    .with_hint("set both serve.tls_cert and serve.tls_key"));
            }
        };
        let is_local = options.listen.ip().is_loopback();
        let has_tokens = options.tokens_file.is_some() || !options.tokens.is_empty();
        if !has_tokens && !is_local && !options.insecure {
            let detail = format!("{} is reached from beyond this machine, and there are no tokens", options.listen);
            return Err(Error::invalid(detail).with_hint(
                "make one with `flowdiff token new` and set serve.tokens_file, or serve.insecure = true if something \
                 in front asks who it is",
            ));
        }
        let access = match has_tokens {
            true => Access::Tokens(Tokens::open(&options.tokens, options.tokens_file.as_deref())?),
            false => Access::Everybody { local: is_local },
        };
        if has_tokens && tls.is_none() && !is_local {
            tracing::warn!(
                "tokens travel in the clear: set serve.tls_cert and serve.tls_key, or let a proxy speak TLS"
            );
        }
        let (rate, turns) = (Rate::new(options), Turns::new(options.requests_max));
        let parts = Parts { options: options.clone(), access, tls, rate, turns, stopping: AtomicBool::new(false) };
        Ok(Front { parts: Arc::new(parts) })
    }

    /// Puts `router`, all of it, behind this front, and adds `/metrics`, which answers what `metrics` says.
    ///
    /// Handlers can take an [`Identity`] as an argument.
    pub fn wrap(&self, router: Router, metrics: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
        let body_bytes_max = usize::try_from(self.parts.options.body_bytes_max).unwrap_or(usize::MAX);
        router
            .route(METRICS, get(move || async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics()) }))
            .layer(DefaultBodyLimit::disable())
            .layer(RequestBodyLimitLayer::new(body_bytes_max))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(from_fn_with_state(self.clone(), guard))
            .layer(from_fn_with_state(self.clone(), as_problem))
            .layer(from_fn(observe::observe))
    }

    /// Whether it was told to stop: nothing new is begun then.
    pub fn is_stopping(&self) -> bool {
        self.parts.stopping.load(Relaxed)
    }

    /// Reads tokens and certificate again if their files changed, or `always`. What cannot be read is logged, and what
    /// was read before stays.
    pub fn reload(&self, always: bool) {
        let tls = self.parts.tls.as_ref().map_or(Ok(()), |tls| tls.reload(always));
        for error in [self.parts.access.reload(always), tls].into_iter().filter_map(Result::err) {
            tracing::error!(error = error.copy().to_string(), "what was read before stays in use");
        }
    }
}

/// Lets a request in, or says why not.
async fn guard(State(front): State<Front>, request: Request, next: Next) -> Response {
    let parts = &front.parts;
    if parts.stopping.load(Relaxed) && request.uri().path() == READY {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping").into_response();
    }
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
    let (head, body) = request.into_parts();
    let identity = match parts.access.admit(&head, parts.options.metrics_open) {
        Ok(identity) => identity,
        // Whoever tries tokens is slowed down, too.
        Err(refusal) => {
            take_rest(body).await;
            return parts
                .rate
                .count(None, address)
                .map_or_else(IntoResponse::into_response, |()| refusal.into_response());
        }
    };
    let mut request = Request::from_parts(head, body);
    // What is open to all is cheap, and health must be told however busy the service is.
    let Some(identity) = identity else { return next.run(request).await };
    let turn = parts.rate.count(Some(&identity), address).and_then(|()| parts.turns.take());
    request.extensions_mut().insert(identity.clone());
    let mut response = match turn {
        Ok(turn) => {
            let timeout = span(parts.options.request_timeout);
            let mut response =
                tokio::time::timeout(timeout, next.run(request)).await.unwrap_or_else(|_| too_long(timeout));
            response.extensions_mut().insert(turn);
            response
        }
        Err(problem) => {
            take_rest(request.into_body()).await;
            problem.into_response()
        }
    };
    response.extensions_mut().insert(identity);
    response
}

/// Takes what a refused client still sends, if it is little and comes soon: over HTTP/2 some clients lose an answer that
/// comes before they have sent all (curl 7.88 does).
async fn take_rest(body: Body) {
    let _ = tokio::time::timeout(REST_IN, to_bytes(body, REST_BYTES_MAX)).await;
}

fn too_long(timeout: Duration) -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("no answer in {} s", timeout.as_secs()))
        .with_hint("ask for less, or raise serve.request_timeout")
        .into_response()
}

/// What a handler that panicked answers. The panic itself is on stderr.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a defect of flowdiff")
        .with_hint("report it with the request's id")
        .into_response()
}

/// Marks a refusal whose plain text is meant: its reader knows no problems.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeantAsText;

/// Makes a problem of what a library refused in plain text.
async fn as_problem(State(front): State<Front>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_meant = response.extensions().get::<MeantAsText>().is_some();
    if !is_error || is_meant || !is_plain_text(response.headers()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = to_bytes(body, FOREIGN_ERROR_BYTES_MAX).await.unwrap_or_default();
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, format!("the body has more than {} bytes", front.parts.options.body_bytes_max))
                .with_hint("send less, or raise serve.body_bytes_max")
        }
        _ => Problem::new(status, String::from_utf8_lossy(&text)),
    };
    let (described, body) = problem.into_response().into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.extend(described.headers);
    Response::from_parts(head, Body::new(body))
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/plain"))
}

/// A setting's duration; they are positive.
fn span(duration: TimeDelta) -> Duration {
    duration.to_std().unwrap_or_default()
}

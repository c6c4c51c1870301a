//! The HTTP client below a bucket: object_store's own, with every request counted and every silence bounded.

use super::cost::Usage;
use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Makes clients that count into `usage` and give up on an answer that stays silent for `stall`.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) usage: Arc<Usage>,
    pub(super) stall: Duration,
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Client { inner, usage: self.usage.clone(), stall: self.stall }))
    }
}

#[derive(Debug)]
struct Client {
    inner: HttpClient,
    usage: Arc<Usage>,
    stall: Duration,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_list = request.uri().query().is_some_and(|query| query.contains("list-type="));
        let is_deletion = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "delete"));
        let count = match request.method().as_str() {
            "GET" if is_list => &self.usage.list,
            "GET" | "HEAD" => &self.usage.get,
            "DELETE" => &self.usage.delete,
            _ if is_deletion => &self.usage.delete,
            _ => &self.usage.put,
        };
        count.fetch_add(1, Relaxed);
        let is_read = request.method().as_str() == "GET" && !is_list;
        let is_creation = request.headers().contains_key("if-none-match");
        // A large part may take long to send: it is the silence after it that counts, so its size buys time.
        let sending = Duration::from_secs(request.body().content_length() as u64 / SLOWEST_UPLOAD);
        let answer = tokio::time::timeout(self.stall + sending, self.inner.execute(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(stalled(self.stall)));
        let (parts, body) = answer.map_err(|error| if is_creation { sent_again(error) } else { error })?.into_parts();
        let usage = is_read.then(|| self.usage.clone());
        let body = Watched { inner: body, usage, stall: self.stall, silence: None };
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// Bytes a second below which an upload counts as stalled.
const SLOWEST_UPLOAD: u64 = 64 * 1024;

/// A body whose bytes are counted and whose silences are bounded.
struct Watched {
    inner: HttpResponseBody,
    usage: Option<Arc<Usage>>,
    stall: Duration,
    /// Runs while a reader waits for bytes; a reader that takes its time is not the server's fault.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let stall = self.stall;
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
            return silence.as_mut().poll(context).map(|()| Some(Err(stalled(stall))));
        };
        self.silence = None;
        if let (Some(usage), Some(Ok(frame))) = (&self.usage, &frame) {
            usage.bytes_read.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Lets a put-if-absent be tried again as any other request, though nobody knows whether it happened: whoever then finds
/// the object there reads whose it is.
fn sent_again(error: HttpError) -> HttpError {
    match error.kind() {
        HttpErrorKind::Timeout | HttpErrorKind::Interrupted => HttpError::new(HttpErrorKind::Request, error),
        _ => error,
    }
}

fn stalled(stall: Duration) -> HttpError {
    let message = format!("no byte for {} s (aws.stall_timeout)", stall.as_secs_f64());
    HttpError::new(HttpErrorKind::Timeout, std::io::Error::new(std::io::ErrorKind::TimedOut, message))
}

//! Connections: how many there are, and how long each may be silent. In: accepted sockets. Out: streams that end by
//! themselves where a client neither asks nor takes what it asked for.
//!
//! hyper bounds the time for the head of a request, but not for the first bytes of a connection, by which it tells
//! HTTP/1 from HTTP/2, nor for a client that takes nothing of an answer.

use crate::meters;
use axum_server::accept::Accept;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Bytes by which hyper knows the version: the preface of HTTP/2. Source: RFC 9113, section 3.4.
const PREFACE_BYTES: usize = 24;

/// Lets connections in, over TLS or not (`A`).
#[derive(Clone, Debug)]
pub(super) struct Gate<A> {
    pub(super) inner: A,
    pub(super) places: Arc<Semaphore>,
    /// For the first bytes of a connection.
    pub(super) first_bytes_in: Duration,
    /// For a client to take something of an answer.
    pub(super) stall_max: Duration,
}

impl<A> Gate<A> {
    /// The same over another acceptor.
    pub(super) fn with_inner<B>(self, inner: B) -> Gate<B> {
        let Gate { places, first_bytes_in, stall_max, .. } = self;
        Gate { inner, places, first_bytes_in, stall_max }
    }
}

impl<A, S> Accept<TcpStream, S> for Gate<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
{
    type Stream = Watched<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(place) = Place::take(&self.places) else {
            meters::connection_refused();
            return futures::future::ready(Err(io::ErrorKind::ConnectionRefused.into())).boxed();
        };
        let (first_bytes_in, stall_max) = (self.first_bytes_in, self.stall_max);
        // Small answers leave at once. A socket that cannot be told so is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let accepted = self.inner.accept(stream, service);
        async move {
            let (inner, service) = accepted.await?;
            let opening = Some(Opening { bytes: 0, deadline: Box::pin(sleep(first_bytes_in)) });
            Ok((Watched { inner, opening, stall: None, stall_max, _place: place }, service))
        }
        .boxed()
    }
}

/// One of the connections that there may be.
struct Place(#[expect(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit);

impl Place {
    fn take(places: &Arc<Semaphore>) -> Result<Place, tokio::sync::TryAcquireError> {
        let permit = places.clone().try_acquire_owned()?;
        meters::connections(1.0);
        Ok(Place(permit))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        meters::connections(-1.0);
    }
}

/// A stream that fails where its client is silent for too long.
pub(super) struct Watched<S> {
    inner: S,
    /// Until the version is known, or something was answered.
    opening: Option<Opening>,
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    stall_max: Duration,
    _place: Place,
}

struct Opening {
    bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Watched<S> {
    /// What comes of an attempt to write: while it waits, the client's time runs.
    fn written<T>(&mut self, attempt: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if attempt.is_ready() {
            self.stall = None;
            return attempt;
        }
        let stall_max = self.stall_max;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(stall_max)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        let attempt = Pin::new(&mut this.inner).poll_read(cx, into);
        let Some(opening) = &mut this.opening else { return attempt };
        if attempt.is_ready() {
            opening.bytes += into.filled().len() - before;
            if opening.bytes >= PREFACE_BYTES {
                this.opening = None;
            }
            return attempt;
        }
        ready!(opening.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.opening = None;
        let attempt = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(attempt, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.opening = None;
        let attempt = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.written(attempt, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.inner).poll_flush(cx);
        self.written(attempt, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.written(attempt, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// Long enough for a machine with other things to do.
    const ALLOWED: Duration = Duration::from_millis(400);

    fn watched(room: usize) -> (DuplexStream, Watched<DuplexStream>) {
        let (client, inner) = duplex(room);
        let place = Place::take(&Arc::new(Semaphore::new(1))).unwrap();
        let opening = Some(Opening { bytes: 0, deadline: Box::pin(sleep(ALLOWED)) });
        (client, Watched { inner, opening, stall: None, stall_max: ALLOWED, _place: place })
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_or_too_little_is_cut_off() {
        let (mut client, mut stream) = watched(1024);
        client.write_all(b"PRI * HTTP/2").await.unwrap();
        let mut bytes = [0; 64];
        assert_eq!(stream.read(&mut bytes).await.unwrap(), 12);
        assert_eq!(stream.read(&mut bytes).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_asked_may_wait_as_long_as_it_takes() {
        let (mut client, mut stream) = watched(1024);
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut bytes = [0; 64];
        assert_eq!(stream.read(&mut bytes).await.unwrap(), 27);
        assert!(tokio::time::timeout(2 * ALLOWED, stream.read(&mut bytes)).await.is_err(), "still open");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off_and_a_slow_one_is_not() {
        let (mut client, mut stream) = watched(10);
        let reader = tokio::spawn(async move {
            let mut taken = [0; 10];
            for _ in 0..5 {
                sleep(ALLOWED / 8).await;
                client.read_exact(&mut taken).await.unwrap();
            }
            sleep(100 * ALLOWED).await;
        });
        stream.write_all(&[0; 60]).await.unwrap();
        assert_eq!(stream.write_all(&[0; 10]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        reader.abort();
    }
}

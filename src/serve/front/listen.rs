//! Binding, serving, ending. In: a router, when to stop. Out: the address, then nothing until the last answer was taken.

use super::connection::Gate;
use super::{Front, span};
use crate::error::{Context, Error, Result};
use axum::Router;
use axum_server::Handle;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use futures::FutureExt;
use hyper_util::rt::TokioTimer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often files of tokens and certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What a connection buffers of answers, and the largest head of a request.
const CONNECTION_BYTES_MAX: usize = 64 << 10;
/// How often an idle HTTP/2 connection is asked whether its client is alive.
const PING_EVERY: Duration = Duration::from_secs(20);

/// When a service ends. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take nothing new, finish what is under way.
    pub begin: CancellationToken,
    /// And do not wait for it.
    pub now: CancellationToken,
}

impl Stop {
    /// Ends as the system asks: with the first SIGTERM or SIGINT in good order, with the second at once.
    ///
    /// # Errors
    /// `Unavailable` if signals cannot be listened for.
    pub fn on_signals() -> Result<Stop> {
        let stop = Stop::default();
        let listen = |kind| signal(kind).context(|| "listen for signals");
        let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let told = stop.clone();
        tokio::spawn(async move {
            for token in [&told.begin, &told.now] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(stop)
    }
}

impl Front {
    /// Listens as the settings say and answers with `router`, which [`Front::wrap`] made, until `stop`; then takes no
    /// connection any more, and ends when the last answer was taken or `serve.shutdown_timeout` is over. `listening` is
    /// told the URL, with the real port, once connections are taken.
    ///
    /// Tokens and certificates are read again when their files change, and on SIGHUP.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` if the address cannot be listened on.
    pub async fn run(&self, router: Router, stop: &Stop, listening: impl FnOnce(&str)) -> Result<()> {
        let options = &self.parts.options;
        let listener = TcpListener::bind(options.listen).await.map_err(|error| {
            Error::from(error)
                .context(format!("listen on {}", options.listen))
                .with_hint("choose another address with --listen or serve.listen; port 0 takes a free one")
        })?;
        let doing = || format!("listen on {}", options.listen);
        let address = listener.local_addr().context(doing)?;
        let listener = listener.into_std().context(doing)?;
        let _tending = AbortOnDropHandle::new(tokio::spawn(self.clone().tend()));
        let mut server = axum_server::from_tcp(listener).context(doing)?;
        let head = span(options.header_timeout);
        let mut builder = server.http_builder().http1();
        builder.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(CONNECTION_BYTES_MAX);
        let mut builder = builder.http2();
        builder.timer(TokioTimer::new()).keep_alive_interval(PING_EVERY).keep_alive_timeout(head);
        let handle = Handle::new();
        let server = server.handle(handle.clone());
        let ending = async {
            stop.begin.cancelled().await;
            self.parts.stopping.store(true, Relaxed);
            handle.graceful_shutdown(Some(span(options.shutdown_timeout)));
            stop.now.cancelled().await;
            handle.shutdown();
            std::future::pending::<()>().await
        };
        let routes = router.into_make_service_with_connect_info::<SocketAddr>();
        let gate = Gate {
            inner: DefaultAcceptor,
            places: Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS))),
            first_bytes_in: head,
            stall_max: span(options.stall_timeout),
        };
        let serving = match &self.parts.tls {
            None => server.acceptor(gate).serve(routes).boxed(),
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls.config()).handshake_timeout(head);
                server.acceptor(gate.with_inner(acceptor)).serve(routes).boxed()
            }
        };
        let scheme = if self.parts.tls.is_some() { "https" } else { "http" };
        listening(&format!("{scheme}://{address}"));
        tokio::select! {
            served = serving => served.context(|| "answer requests"),
            () = ending => Ok(()),
        }
    }

    /// Reads files again that changed, until it is dropped.
    async fn tend(self) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return tracing::error!("SIGHUP cannot be listened for: tokens and certificates stay as they are");
        };
        loop {
            let always = tokio::select! {
                told = hangup.recv() => told.is_some(),
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            self.reload(always);
        }
    }
}

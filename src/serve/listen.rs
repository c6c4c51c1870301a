//! Listens, and ends when it is told to.

use super::Options;
use crate::error::{Context, Result};
use axum::Router;
use std::net::SocketAddr;

/// Serves `router` until SIGINT or SIGTERM; `tell` learns the address.
///
/// # Errors
/// `Unavailable` if the address cannot be listened on.
pub async fn listen(router: Router, options: &Options, tell: impl FnOnce(SocketAddr)) -> Result<()> {
    let doing = || format!("listen on {}", options.listen);
    let listener = tokio::net::TcpListener::bind(options.listen).await.context(doing)?;
    tell(listener.local_addr().context(doing)?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await.context(doing)?)
}

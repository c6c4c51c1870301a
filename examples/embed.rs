//! The service within another program, with two of its parts replaced: jobs go to a queue of the program's own, and a
//! middleware of its own sees every request. `cargo run --example embed` serves an empty store in memory on
//! http://127.0.0.1:8081 until Ctrl-C; `curl -i '127.0.0.1:8081/v1/edges?window=2026-11-20T12'` asks for a window that is
//! not there.

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use flowdiff::catalog::{Catalog, register};
use flowdiff::pipeline::jobs::{Job, Jobs, Posted, Queue};
use flowdiff::serve::{Parts, Service, router};
use flowdiff::session::Session;
use flowdiff::{Clock, Result};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Brings jobs to workers that this program has elsewhere.
#[derive(Debug)]
struct OwnQueue;

#[async_trait::async_trait]
impl Queue for OwnQueue {
    async fn post(&self, job: &Job) -> Result<Posted> {
        println!("somebody asks for {job}: job {}", job.id());
        Ok(Posted::Accepted)
    }
}

/// Tells of every request, and signs every answer.
async fn own_middleware(request: Request, next: Next) -> Response {
    println!("{} {}", request.method(), request.uri());
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-served-by", "a program that embeds flowdiff".parse().expect("it is ASCII"));
    response
}

#[tokio::main]
async fn main() -> Result<()> {
    let clock = Clock::system();
    // Any object store will do; so will a source of flow logs, where this program builds digests itself.
    let store = Arc::new(object_store::memory::InMemory::new());
    let catalog = Catalog::new(store, object_store::path::Path::default(), "memory");
    let session = Session::new(&Default::default())?;
    register(session.context(), &catalog)?;
    let jobs = Jobs::with_queue(catalog.clone(), clock, Default::default(), Arc::new(OwnQueue));
    let service = Service::new(Parts {
        catalog,
        session,
        clock,
        jobs: Some(jobs),
        diff: Default::default(),
        queries_dir: None,
        limits: Default::default(),
        options: Default::default(),
    });
    let app = router(service).layer(from_fn(own_middleware));
    let listener = TcpListener::bind("127.0.0.1:8081").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(axum::serve(listener, app).with_graceful_shutdown(stop).await?)
}

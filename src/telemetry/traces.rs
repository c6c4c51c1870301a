//! Spans to a collector, by OTLP over HTTP. In: settings. Out: a layer for spans of flowdiff, sent in batches.
//!
//! They are sent from a runtime of their own, so that they are still sent when the command's runtime has ended.

use super::Options;
use crate::error::{Error, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData};
use reqwest::redirect::Policy;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

/// Where a collector takes traces. Source: OTLP specification, "OTLP/HTTP Request".
const TRACES_PATH: &str = "/v1/traces";
/// How long a batch, and the last of them at the end, may take.
const SEND_IN: Duration = Duration::from_secs(5);

/// Traces under way; dropped, it sends what is left.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
    runtime: Option<Runtime>,
}

impl Traces {
    /// Traces as the settings say; `None` if they name no collector.
    ///
    /// # Errors
    /// `Invalid` naming the setting that is wrong.
    pub(super) fn open(options: &Options) -> Result<Option<Traces>> {
        let Some(endpoint) = &options.otlp_endpoint else { return Ok(None) };
        if !(0.0..=1.0).contains(&options.trace_ratio) {
            return Err(Error::invalid(format!("telemetry.trace_ratio is {}", options.trace_ratio))
                .with_hint("it is a part: from 0 to 1"));
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("traces").enable_all().build()?;
        let exporter = OnRuntime { exporter: Arc::new(exporter(endpoint)?), runtime: runtime.handle().clone() };
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.trace_ratio)));
        let resource = Resource::builder().with_service_name(options.service_name.clone()).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Some(Traces { provider, runtime: Some(runtime) }))
    }

    /// Takes the spans of flowdiff, not those of the libraries that send them.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.provider.tracer("flowdiff");
        let ours = Targets::new().with_target("flowdiff", LevelFilter::INFO);
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SEND_IN) {
            tracing::warn!("the last traces were not sent: {error}");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn exporter(endpoint: &str) -> Result<SpanExporter> {
    let invalid = |why: String| {
        Error::invalid(format!("telemetry.otlp_endpoint: {why}")).with_hint("write http://localhost:4318")
    };
    let mut url = Url::parse(endpoint).map_err(|error| invalid(error.to_string()))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(invalid(format!("{} is neither http nor https", url.scheme())));
    }
    if !url.path().ends_with(TRACES_PATH) {
        let path = format!("{}{TRACES_PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    // Whoever installed one before has the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(Policy::none()).timeout(SEND_IN).build();
    let client = client.map_err(|error| Error::internal("set up a client for traces").with_source(error))?;
    SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .with_timeout(SEND_IN)
        .build()
        .map_err(|error| invalid(error.to_string()))
}

/// Sends from a runtime: the thread that collects batches has none.
#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<SpanExporter>,
    runtime: Handle,
}

impl opentelemetry_sdk::trace::SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let sent = self
            .runtime
            .spawn(async move { opentelemetry_sdk::trace::SpanExporter::export(exporter.as_ref(), batch).await });
        sent.await.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;
    use tracing_subscriber::layer::SubscriberExt;

    /// A collector that takes one request and gives its head and its body.
    fn collector() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (send, received) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            let (head, length) = loop {
                let mut some = [0; 4096];
                let count = stream.read(&mut some).unwrap();
                bytes.extend_from_slice(&some[..count]);
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    let length: usize = length.parse().unwrap();
                    break (head, end + 4 + length);
                }
            };
            while bytes.len() < length {
                let mut some = [0; 4096];
                let count = stream.read(&mut some).unwrap();
                bytes.extend_from_slice(&some[..count]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            send.send((head, bytes)).unwrap();
        });
        (url, received)
    }

    #[test]
    fn a_span_of_ours_reaches_the_collector_at_the_end_and_no_other_does() {
        let (endpoint, received) = collector();
        let options =
            Options { otlp_endpoint: Some(endpoint), service_name: "test-service".into(), ..Options::default() };
        let traces = Traces::open(&options).unwrap().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(traces.layer()), || {
            tracing::error_span!(target: "flowdiff::test", "request", otel.name = "GET /v1/diffs").in_scope(|| {});
            tracing::error_span!(target: "hyper", "of-a-library").in_scope(|| {});
        });
        drop(traces);
        let (head, body) = received.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        let holds = |text: &str| body.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(holds("GET /v1/diffs") && holds("test-service") && !holds("of-a-library"));
    }

    #[test]
    fn without_a_collector_there_is_nothing_and_a_wrong_one_is_named() {
        assert!(Traces::open(&Options::default()).unwrap().is_none());
        for endpoint in ["localhost:4318", "grpc://localhost", ""] {
            let options = Options { otlp_endpoint: Some(endpoint.to_owned()), ..Options::default() };
            let error = Traces::open(&options).unwrap_err();
            assert!(error.to_string().contains("telemetry.otlp_endpoint"), "{error}");
        }
        let options =
            Options { otlp_endpoint: Some("http://localhost".to_owned()), trace_ratio: 2.0, ..Options::default() };
        assert!(Traces::open(&options).unwrap_err().to_string().contains("trace_ratio"));
    }
}

//! Where counts go: to a table that `/metrics` prints, and to a DogStatsD agent. In: [`crate::meters`]. Out: text,
//! datagrams.

use super::Options;
use crate::error::{Error, Result};
use crate::meters::{self, Kind};
use metrics::Label;
use metrics_exporter_dogstatsd::{BuildError, DogStatsDBuilder, DogStatsDRecorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::layers::FanoutBuilder;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How often what others count is taken over, and histograms are folded.
const TEND_EVERY: Duration = Duration::from_secs(5);

type Sampler = Box<dyn Fn() + Send>;

/// The counts of this process. Clones share them.
#[derive(Clone)]
pub struct Meters {
    prometheus: PrometheusHandle,
    samplers: Arc<Mutex<Vec<Sampler>>>,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meters {
    /// Begins to count, and to send as the settings say. One process counts once: a second call gives the same counts,
    /// whatever its settings.
    ///
    /// # Errors
    /// `Invalid` for an agent that cannot be found or a datagram that is too large; `Conflict` if an embedding program
    /// counts by itself.
    pub fn install(options: &Options) -> Result<Meters> {
        static INSTALLED: OnceLock<Meters> = OnceLock::new();
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _turn = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meters) = INSTALLED.get() {
            return Ok(meters.clone());
        }
        let prometheus = prometheus()?.build_recorder();
        let handle = prometheus.handle();
        let mut fanout = FanoutBuilder::default().add_recorder(prometheus);
        if options.statsd {
            fanout = fanout.add_recorder(statsd(options)?);
        }
        metrics::set_global_recorder(fanout.build()).map_err(|_| {
            Error::new(crate::error::ErrorKind::Conflict, "another recorder of metrics is installed already")
        })?;
        meters::describe();
        let meters = Meters { prometheus: handle, samplers: Arc::default() };
        meters.sample_by(meters::process);
        let tended = meters.clone();
        std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(TEND_EVERY);
                tended.sample();
                tended.prometheus.run_upkeep();
            }
        })?;
        Ok(INSTALLED.get_or_init(|| meters).clone())
    }

    /// Lets `sampler` take over what is counted elsewhere, before counts are sent or printed.
    pub fn sample_by(&self, sampler: impl Fn() + Send + 'static) {
        self.samplers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(sampler));
    }

    /// All counts, as Prometheus reads them.
    pub fn render(&self) -> String {
        self.sample();
        self.prometheus.render()
    }

    fn sample(&self) {
        for sampler in self.samplers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sampler();
        }
    }
}

fn prometheus() -> Result<PrometheusBuilder> {
    let mut builder = PrometheusBuilder::new();
    for metric in meters::METRICS.iter().filter(|metric| metric.kind == Kind::Histogram) {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), metric.buckets)
            .map_err(|error| Error::internal(error.to_string()))?;
    }
    Ok(builder)
}

fn statsd(options: &Options) -> Result<DogStatsDRecorder> {
    let invalid = |setting: &str| {
        let setting = format!("telemetry.{setting}");
        move |error: BuildError| Error::invalid(format!("{setting}: {error}"))
    };
    let bytes_max = usize::try_from(options.statsd_packet_bytes_max).unwrap_or(usize::MAX);
    let tag = |tag: &String| match tag.split_once(':') {
        Some((name, value)) => Label::new(name.to_owned(), value.to_owned()),
        None => Label::new(tag.clone(), ""),
    };
    DogStatsDBuilder::default()
        .with_remote_address(&options.statsd_address)
        .map_err(invalid("statsd_address"))?
        .with_maximum_payload_length(bytes_max)
        .map_err(invalid("statsd_packet_bytes_max"))?
        .with_flush_interval(options.statsd_flush_interval.to_std().unwrap_or_default())
        .with_global_labels(options.statsd_tags.iter().map(tag).collect())
        // What the earlier services sent; and memory that does not grow between two flushes.
        .send_histograms_as_distributions(false)
        .with_histogram_sampling(true)
        .with_telemetry(false)
        .build()
        .map_err(invalid("statsd"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::with_local_recorder;
    use std::net::UdpSocket;

    #[test]
    fn an_agent_is_sent_what_happened_with_the_tags_of_the_settings() {
        let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
        agent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let options = Options {
            statsd_address: agent.local_addr().unwrap().to_string(),
            statsd_flush_interval: chrono::TimeDelta::seconds(1),
            statsd_tags: vec!["env:test".to_owned(), "alone".to_owned()],
            ..Options::default()
        };
        with_local_recorder(&statsd(&options).unwrap(), || {
            meters::JobRunning::begin("diff").end("done");
            meters::jobs_queued(3);
        });
        let mut sent = String::new();
        let mut datagram = [0; 65_536];
        while !["flowdiff_jobs_ended_total:1|c", "flowdiff_job_duration_seconds:", "flowdiff_jobs_queued:3"]
            .iter()
            .all(|line| sent.contains(line))
        {
            let length = agent.recv(&mut datagram).unwrap_or_else(|error| panic!("{error}; so far: {sent}"));
            assert!(length <= 1432);
            sent += &String::from_utf8_lossy(&datagram[..length]);
        }
        let line = sent.lines().find(|line| line.starts_with("flowdiff_jobs_ended_total")).unwrap();
        for tag in ["kind:diff", "status:done", "env:test", "alone"] {
            assert!(line.contains(tag), "{line}");
        }
        assert!(sent.contains("|h|"), "histograms, not distributions: {sent}");
    }

    #[test]
    fn an_agent_that_cannot_be_found_is_named() {
        let options = Options { statsd_address: "no port".to_owned(), ..Options::default() };
        let error = statsd(&options).err().unwrap();
        assert!(error.to_string().contains("telemetry.statsd_address"), "{error}");
    }

    #[test]
    fn every_histogram_has_the_buckets_of_its_description() {
        let recorder = prometheus().unwrap().build_recorder();
        with_local_recorder(&recorder, || {
            meters::describe();
            meters::JobRunning::begin("digest").end("failed");
        });
        let text = recorder.handle().render();
        assert!(text.contains("flowdiff_job_duration_seconds_bucket{kind=\"digest\",le=\"3600\"} 1"), "{text}");
        assert!(text.contains("# TYPE flowdiff_job_duration_seconds histogram"), "{text}");
        assert!(text.contains("flowdiff_jobs_ended_total{kind=\"digest\",status=\"failed\"} 1"), "{text}");
        assert!(text.contains("# HELP flowdiff_jobs_ended_total Jobs that ended"), "{text}");
    }
}

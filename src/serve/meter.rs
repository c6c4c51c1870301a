//! Queries within their limits: rows, bytes, time and how many at once; and the line that says what each one cost.

use super::problem::Problem;
use crate::error::{Error, ErrorKind, Result};
use axum::http::StatusCode;
use datafusion::arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::DataFrame;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one query may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory that the operators of one query may hold before they spill, bytes; default 1 GiB.
    #[serde(with = "crate::config::byte_size")]
    pub memory_bytes: u64,
    /// Rows of its result; default 10,000,000. One more is an error.
    pub rows_max: u64,
    /// Bytes of its result in memory; default 4 GiB.
    #[serde(with = "crate::config::byte_size")]
    pub bytes_max: u64,
    /// How long it may run; default 5 minutes.
    #[serde(with = "crate::config::duration")]
    pub timeout: chrono::TimeDelta,
    /// Queries that run at once; one more is told to wait. Default 8.
    pub concurrent_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 1 << 30,
            rows_max: 10_000_000,
            bytes_max: 4 << 30,
            timeout: chrono::TimeDelta::minutes(5),
            concurrent_max: 8,
        }
    }
}

impl Limits {
    /// Refuses limits under which no query could run.
    ///
    /// # Errors
    /// `Invalid` naming the setting.
    pub fn check(&self) -> Result<()> {
        match self.concurrent_max {
            0 => Err(Error::invalid("sql.concurrent_max is 0").with_hint("give it a positive number")),
            _ => Ok(()),
        }
    }
}

/// The turns that queries take.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

/// How long a client waits before it asks for a turn again.
const RETRY_SECONDS: u64 = 2;

impl Turns {
    /// As many turns as `limits` say.
    pub fn new(limits: &Limits) -> Turns {
        Turns(Arc::new(Semaphore::new(limits.concurrent_max.min(Semaphore::MAX_PERMITS))))
    }

    /// A turn, if there is one.
    pub fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many queries run at once")
                .with_hint("wait, or raise sql.concurrent_max")
                .with_retry_after(RETRY_SECONDS)
        })
    }
}

/// Who asked what: written to the log when the query ends, however it ends.
#[derive(Debug)]
struct Audit {
    user: String,
    statement: String,
    plan: Option<Arc<dyn ExecutionPlan>>,
    began: Instant,
    rows: u64,
    bytes: u64,
    outcome: &'static str,
}

impl Drop for Audit {
    fn drop(&mut self) {
        let scanned = self.plan.as_deref().map_or(0, bytes_scanned);
        tracing::info!(
            target: "flowdiff::audit",
            user = self.user,
            statement = self.statement,
            outcome = self.outcome,
            rows = self.rows,
            bytes = self.bytes,
            bytes_scanned = scanned,
            seconds = self.began.elapsed().as_secs_f64(),
            "query"
        );
    }
}

/// Stored bytes that the scans of a plan have read so far.
fn bytes_scanned(plan: &dyn ExecutionPlan) -> u64 {
    let own =
        plan.metrics().and_then(|metrics| metrics.sum_by_name("bytes_scanned")).map_or(0, |value| value.as_usize());
    own as u64 + plan.children().into_iter().map(|child| bytes_scanned(child.as_ref())).sum::<u64>()
}

/// Runs what `plan` makes of `statement` within `limits`; its turn ends with its rows.
///
/// # Errors
/// What planning says. A limit that is passed later is the last item of the rows.
pub async fn run(
    turn: OwnedSemaphorePermit,
    limits: &Limits,
    user: &str,
    statement: &str,
    plan: impl Future<Output = Result<DataFrame>>,
) -> Result<SendableRecordBatchStream> {
    let timeout = limits.timeout.to_std().unwrap_or(Duration::MAX);
    let mut audit = Audit {
        user: user.to_owned(),
        statement: statement.to_owned(),
        plan: None,
        began: Instant::now(),
        rows: 0,
        bytes: 0,
        outcome: "refused",
    };
    let frame = plan.await?;
    audit.end("left");
    let context = Arc::new(frame.task_ctx());
    let planned = tokio::time::timeout(timeout, frame.create_physical_plan()).await;
    let plan = planned.map_err(|_| too_long(limits))?.map_err(Error::from)?;
    audit.plan = Some(plan.clone());
    let rows = execute_stream(plan, context)?;
    let (schema, limits) = (rows.schema(), limits.clone());
    let metered = stream::try_unfold((rows, audit, turn), move |(mut rows, mut audit, turn)| {
        let limits = limits.clone();
        async move {
            let left = timeout.saturating_sub(audit.began.elapsed());
            let next = tokio::time::timeout(left, rows.next()).await.map_err(|_| too_long(&limits));
            let batch = match next.and_then(|batch| batch.transpose().map_err(Error::from)) {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    audit.end("done");
                    return Ok(None);
                }
                Err(error) => {
                    audit.end("failed");
                    return Err(DataFusionError::External(Box::new(error)));
                }
            };
            if let Err(error) = audit.count(&batch, &limits) {
                audit.end("over a limit");
                return Err(DataFusionError::External(Box::new(error)));
            }
            Ok(Some((batch, (rows, audit, turn))))
        }
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, metered)))
}

impl Audit {
    fn end(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }

    fn count(&mut self, batch: &RecordBatch, limits: &Limits) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.bytes += batch.get_array_memory_size() as u64;
        let passed = |what: &str, max: u64, setting: &str| {
            Err(Error::invalid(format!("the result has more than {max} {what}"))
                .with_hint(format!("narrow it, add LIMIT, or raise {setting}")))
        };
        if self.rows > limits.rows_max {
            return passed("rows", limits.rows_max, "sql.rows_max");
        }
        if self.bytes > limits.bytes_max {
            return passed("bytes", limits.bytes_max, "sql.bytes_max");
        }
        Ok(())
    }
}

fn too_long(limits: &Limits) -> Error {
    let seconds = limits.timeout.num_seconds();
    Error::new(ErrorKind::Unavailable, format!("the query ran for more than {seconds} s"))
        .with_hint("narrow it by time, or raise sql.timeout")
}

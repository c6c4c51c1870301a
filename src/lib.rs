//! flowdiff tells what changed in a network.
//!
//! VPC Flow Log objects are scanned into Arrow batches, folded by SQL into edges per window, published as Parquet
//! digests, and compared. Data moves to the right only:
//!
//! ```text
//! source ─► scan ─► digest ─► catalog ─► diff ─► cli
//!                 driven by pipeline
//! ```
//!
//! `flow` and `window` hold what a flow and a window are; `session` sets DataFusion up once for all of them; `aws` finds
//! credentials and opens buckets.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod aws;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod diff;
pub mod digest;
pub mod error;
pub mod flow;
pub mod meters;
pub mod output;
pub mod pipeline;
pub mod process;
pub mod scan;
pub mod serve;
pub mod session;
pub mod source;
pub mod telemetry;
pub mod window;

pub use clock::{Clock, Timestamp};
pub use error::{Context, Error, ErrorKind, Result};

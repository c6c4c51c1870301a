//! Many digests: which windows, in which order, and what came of them. In: a builder, a range of time. Out: summaries.
//! Knows no SQL; of HTTP only where messages go.

mod backfill;
mod bounds;
pub mod deliver;
pub mod follow;
pub mod jobs;
mod plan;
mod retain;
mod superseded;
mod survey;

pub use backfill::{Event, Summary, backfill, roll_up};
pub use plan::{Options, Plan, plan};
pub use retain::{Expired, Expiry, Policy, expired, remove};
pub use superseded::{Superseded, remove_superseded, superseded};

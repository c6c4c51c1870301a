//! Integration tests: one binary, because every one links DataFusion anew. A module for each subject.

#![allow(clippy::unwrap_used)]

mod backfill;
mod cli;
mod corpora;
mod deliver;
mod described;
mod diff;
mod drop_in;
mod follow;
mod jobs;
mod operating;
mod random;
mod reference;
mod s3;
mod serve;
mod serve_follow;
mod simulation;
mod slt;
mod store_contract;
mod tidy;

//! Integration tests: one binary, because every one links DataFusion anew. A module for each subject.

#![allow(clippy::unwrap_used)]

#![allow(clippy::unwrap_used)]

mod slt;
mod store_contract;

//! The integration tests: one binary, a module for each subject.

#![allow(clippy::unwrap_used)]

mod slt;

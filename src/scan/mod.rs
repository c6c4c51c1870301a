//! scan

pub mod prune;

//! cli

pub mod demo;
pub mod output;

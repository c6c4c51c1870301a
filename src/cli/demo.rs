//! `flowdiff demo`: what it shows comes from the sample generator.

pub mod sample;

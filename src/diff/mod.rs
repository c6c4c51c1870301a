//! diff

pub mod render;

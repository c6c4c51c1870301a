//! session

mod store;

pub use store::{Location, open_location};

//! AWS: credentials as every AWS tool finds them, and buckets as stores. In: settings. Out: an `ObjectStore` that says
//! what it was refused and counts what it asks for. Knows nothing of flow logs and digests.
//!
//! Nothing here is touched before the first request to a bucket: a run on local folders reads no profile and asks no
//! metadata service.

mod bucket;
mod cost;
mod credentials;
mod explain;
mod options;
mod policy;
mod wire;

pub use bucket::Bucket;
pub use cost::{Prices, Usage};
pub use options::{Access, Encryption, Options, Role};
pub use policy::{Place, least_policy};

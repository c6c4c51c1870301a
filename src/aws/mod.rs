//! AWS: credentials as every AWS tool finds them, buckets as stores, and queues. In: settings. Out: an `ObjectStore` that
//! says what it was refused and counts what it asks for; messages. Knows nothing of flow logs and digests.
//!
//! Nothing here is touched before the first request to a bucket or a queue: a run on local folders reads no profile and asks no
//! metadata service.

mod bucket;
mod cost;
mod credentials;
mod explain;
mod options;
mod policy;
mod queue;
mod wire;

pub use bucket::Bucket;
pub use cost::{Prices, Usage};
pub use options::{Access, Encryption, Options, Role};
pub use policy::{Place, least_policy};
pub use queue::{Message, QUEUE_BATCH, Queue, QueueAttributes};

//! The service: parse a request, call one function, format what it says. In: HTTP. Out: HTTP. What a digest or a diff is
//! is said elsewhere.

mod etag;
mod negotiate;
mod options;
mod problem;

pub use options::Options;
pub use problem::Problem;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::diff;
use crate::session::Session;
use std::path::PathBuf;
use std::sync::Arc;

/// What requests are answered with. Clones share it.
#[derive(Clone, Debug)]
pub struct Service {
    parts: Arc<Parts>,
}

/// The parts of a service; a program that embeds it replaces what it likes.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where the digests are.
    pub catalog: Catalog,
    /// Memory, threads and tables of queries.
    pub session: Session,
    /// Tells the time.
    pub clock: Clock,
    /// How digests are compared unless a request says otherwise.
    pub diff: diff::Options,
    /// Folder of the user's own queries.
    pub queries_dir: Option<PathBuf>,
    /// How the service answers.
    pub options: Options,
}

impl Service {
    /// A service of `parts`.
    pub fn new(parts: Parts) -> Service {
        Service { parts: Arc::new(parts) }
    }
}

impl std::ops::Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

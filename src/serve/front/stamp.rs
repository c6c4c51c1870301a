//! Whether files changed since somebody looked. In: paths. Out: something to compare.

use std::path::Path;
use std::time::SystemTime;

/// What tells one state of some files from another: time, length and, where a file is replaced by another, its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<(Option<SystemTime>, u64, u64)>>);

impl Stamp {
    /// The present state of `files`, absent ones included.
    pub(super) fn of(files: &[impl AsRef<Path>]) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        let state = |file: &Path| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok(), metadata.len(), metadata.ino()))
        };
        Stamp(files.iter().map(|file| state(file.as_ref())).collect())
    }
}

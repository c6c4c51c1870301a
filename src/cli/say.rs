//! What is said to people and programs beside the data. In: text. Out: lines on stderr.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to stderr. If nobody reads it any more (`2>&1 | head`), nobody misses it: no reason to end what runs.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

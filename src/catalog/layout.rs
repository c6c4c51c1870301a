//! Where things lie in a store. In: windows, versions, kinds of file. Out: paths, and back. Pure: no store.
//!
//! ```text
//! v1/store.json                                                            the rules of the store
//! v1/digests/date=2026-11-20/start=20261120T1200Z/stop=20261120T1300Z/     the folder of a window
//!     _00000001.json                                                       manifest of version 1
//!     00000001-0123456789abcdef.edges.parquet                              a file of it, by the start of its checksum
//! v1/jobs/6f1c.../00000003.json                                            an entry of a journal (see `journal`)
//! ```
//! The underscore hides manifests from tools of Hive's kind (Athena, Spark), which read every file of a folder as a part of
//! the table and fail on the first that is no Parquet.
//!
//! The date is that of the window's start. A key is read back only if it is exactly what would be written: whatever
//! else lies in the store is no part of the catalog.

use super::{FileKind, WIDTH_MAX};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::window::Window;
use chrono::{Datelike, NaiveDate, NaiveDateTime};
use object_store::path::Path;

/// Folder of the format version.
const FORMAT: &str = "v1";
/// Folder of all digests, for tools that find them without us.
pub const DIGESTS: &str = "v1/digests";
/// How many hexadecimal digits of a file's checksum its name carries.
const CHECKSUM_DIGITS: usize = 16;
const DATE: &str = "%Y-%m-%d";
const TIME: &str = "%Y%m%dT%H%MZ";

/// What a key of the catalog names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The manifest of a version.
    Manifest(u64),
    /// A file of a version.
    File(FileName),
}

/// The name of a digest's file, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileName {
    /// The version that the file was written for.
    pub(super) version: u64,
    /// The start of its checksum.
    pub(super) checksum: String,
    /// Which file it is.
    pub(super) kind: FileKind,
}

/// Path of the file that holds the rules of the store.
pub(super) fn rules_path(root: &Path) -> Path {
    root.clone().join(FORMAT).join("store.json")
}

/// Path of an object that a probe writes.
pub(super) fn probe_path(root: &Path, id: &str) -> Path {
    root.clone().join(FORMAT).join(".probe").join(id)
}

/// Folder of a journal.
pub(super) fn journal_path(root: &Path, name: &str) -> Path {
    root.clone().join(FORMAT).join(name)
}

/// Folder of all digests.
pub(super) fn digests_path(root: &Path) -> Path {
    DIGESTS.split('/').fold(root.clone(), |path, part| path.join(part))
}

/// Reads the date of a folder directly in [`digests_path`].
pub(super) fn parse_date(folder: &Path) -> Option<NaiveDate> {
    let text = folder.filename()?.strip_prefix("date=")?;
    NaiveDate::parse_from_str(text, DATE).ok().filter(|date| date.format(DATE).to_string() == text)
}

/// Folder of the versions of a window.
///
/// # Errors
/// `Invalid` if the window is wider than [`WIDTH_MAX`] or does not lie in the years 0 to 9999.
pub(super) fn window_path(root: &Path, window: &Window) -> Result<Path> {
    check(window)?;
    let (start, stop) = (window.start(), window.stop());
    Ok(digests_path(root)
        .join(format!("date={}", start.format(DATE)))
        .join(format!("start={}", start.format(TIME)))
        .join(format!("stop={}", stop.format(TIME))))
}

/// Path of the manifest of a version.
///
/// # Errors
/// As [`window_path`].
pub(super) fn manifest_path(root: &Path, window: &Window, version: u64) -> Result<Path> {
    Ok(window_path(root, window)?.join(manifest_name(version)))
}

/// Takes a key of the catalog apart; `None` if it is not exactly as this module writes it.
pub(super) fn parse_key(root: &Path, key: &Path) -> Option<(Window, Entry)> {
    let mut parts = key.prefix_match(&digests_path(root))?;
    let date = parts.next()?;
    let start = parse_instant(parts.next()?.as_ref().strip_prefix("start=")?)?;
    let stop = parse_instant(parts.next()?.as_ref().strip_prefix("stop=")?)?;
    let name = parts.next()?;
    let window = Window::new(start, stop).ok().filter(|window| check(window).is_ok())?;
    let is_canonical = parts.next().is_none() && date.as_ref() == format!("date={}", start.format(DATE));
    is_canonical.then_some((window, parse_name(name.as_ref())?))
}

impl FileName {
    /// Names the file of `kind` whose checksum is `checksum`; `None` if that is no SHA-256 in hexadecimal.
    pub(super) fn new(version: u64, kind: FileKind, checksum: &str) -> Option<FileName> {
        let start = checksum.get(..CHECKSUM_DIGITS).filter(|_| checksum.len() == 64 && is_hex(checksum))?;
        Some(FileName { version, checksum: start.to_owned(), kind })
    }

    /// Reads a name as [`std::fmt::Display`] writes it.
    pub(super) fn parse(name: &str) -> Option<FileName> {
        let (stem, kind) = name.strip_suffix(".parquet")?.split_once('.')?;
        let (version, checksum) = stem.split_once('-')?;
        let kind = FileKind::ALL.into_iter().find(|known| known.name() == kind)?;
        let is_checksum = checksum.len() == CHECKSUM_DIGITS && is_hex(checksum);
        is_checksum.then_some(FileName { version: parse_version(version)?, checksum: checksum.to_owned(), kind })
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08}-{}.{}.parquet", self.version, self.checksum, self.kind.name())
    }
}

fn manifest_name(version: u64) -> String {
    format!("_{version:08}.json")
}

fn parse_name(name: &str) -> Option<Entry> {
    match name.strip_suffix(".json") {
        Some(stem) => parse_version(stem.strip_prefix('_')?).map(Entry::Manifest),
        None => FileName::parse(name).map(Entry::File),
    }
}

/// Reads a number of eight digits and more as it is written.
pub(super) fn parse_version(text: &str) -> Option<u64> {
    let version: u64 = text.parse().ok()?;
    (version > 0 && format!("{version:08}") == text).then_some(version)
}

fn parse_instant(text: &str) -> Option<Timestamp> {
    let instant = NaiveDateTime::parse_from_str(text, TIME).ok()?.and_utc();
    (instant.format(TIME).to_string() == text).then_some(instant)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Bounds what a store holds: four digits of the year, and the width by which a search by time reaches back.
fn check(window: &Window) -> Result<()> {
    if !(0..=9999).contains(&window.start().year()) || !(0..=9999).contains(&window.stop().year()) {
        return Err(Error::invalid(format!("window {window} is outside the years 0 to 9999")));
    }
    if window.width() > WIDTH_MAX {
        let days = WIDTH_MAX.num_days();
        return Err(Error::invalid(format!("window {window} is wider than {days} days"))
            .with_hint("publish its days instead and merge them"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    const CHECKSUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const FOLDER: &str = "a/b/v1/digests/date=2026-11-20/start=20261120T1200Z/stop=20261120T1300Z";

    fn window(text: &str) -> Window {
        Window::parse(text, DateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn paths_are_as_documented() {
        let root = Path::from("a/b");
        let hour = window("2026-11-20T12");
        assert_eq!(manifest_path(&root, &hour, 1).unwrap().as_ref(), format!("{FOLDER}/_00000001.json"));
        let name = FileName::new(1, FileKind::Edges, CHECKSUM).unwrap();
        assert_eq!(name.to_string(), "00000001-0123456789abcdef.edges.parquet");
        assert_eq!(rules_path(&Path::default()).as_ref(), "v1/store.json");
    }

    #[test]
    fn the_date_is_that_of_the_start() {
        let path = window_path(&Path::default(), &window("2026-11-20T23:30Z/PT1H")).unwrap();
        assert_eq!(path.as_ref(), "v1/digests/date=2026-11-20/start=20261120T2330Z/stop=20261121T0030Z");
    }

    #[test]
    fn windows_wider_than_the_limit_are_refused() {
        let error = window_path(&Path::default(), &window("2026-01-01/P32D")).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Invalid);
        assert_eq!(error.to_string(), "window 2026-01-01T00:00Z/2026-02-02T00:00Z is wider than 31 days");
        assert!(window_path(&Path::default(), &window("2026-01-01/P31D")).is_ok());
    }

    #[test]
    fn what_is_not_exactly_a_key_is_no_key() {
        let root = Path::from("a/b");
        let good = Path::from(format!("{FOLDER}/_00000001.json"));
        assert!(parse_key(&root, &good).is_some());
        for (from, to) in [
            ("date=2026-11-20", "date=2026-11-21"),
            ("stop=20261120T1300Z", "stop=20261120T1200Z"),
            ("start=20261120T1200Z", "start=20261120T12:00Z"),
            ("_00000001.json", "00000001.json"),
            ("_00000001.json", "_1.json"),
            ("_00000001.json", "_00000000.json"),
            ("_00000001.json", "_+0000001.json"),
            ("_00000001.json", "_00000001.json/x"),
            ("_00000001.json", "00000001-0123.edges.parquet"),
            ("_00000001.json", "00000001-0123456789ABCDEF.edges.parquet"),
            ("_00000001.json", "00000001-0123456789abcdef.nodes.parquet"),
            ("a/b/v1", "a/v1"),
        ] {
            let key = Path::from(good.as_ref().replace(from, to));
            assert_eq!(parse_key(&root, &key), None, "{key}");
        }
        assert_eq!(FileName::new(1, FileKind::Edges, "../../etc/passwd"), None);
    }

    proptest! {
        #[test]
        fn keys_read_back_as_they_were_written(
            root in prop::sample::select(vec!["", "a", "a/b=c/v1"]),
            start in -1_000_000_000i64..4_000_000_000,
            minutes in 1..=WIDTH_MAX.num_minutes(),
            version in prop_oneof![1u64..20, 1u64..],
            kind in prop::option::of(prop::sample::select(FileKind::ALL.to_vec())),
            checksum in "[0-9a-f]{64}",
        ) {
            let root = Path::from(root);
            let start = DateTime::from_timestamp(start / 60 * 60, 0).unwrap();
            let window = Window::new(start, start + TimeDelta::minutes(minutes)).unwrap();
            let (entry, path) = match kind {
                None => (Entry::Manifest(version), manifest_path(&root, &window, version).unwrap()),
                Some(kind) => {
                    let name = FileName::new(version, kind, &checksum).unwrap();
                    let path = window_path(&root, &window).unwrap().join(name.to_string());
                    (Entry::File(name), path)
                }
            };
            prop_assert_eq!(parse_key(&root, &path), Some((window, entry)));
        }

        #[test]
        fn no_key_panics(key in "[a-z0-9=/.TZ-]{0,80}") {
            let _ = parse_key(&Path::default(), &Path::from(format!("v1/digests/{key}")));
            let _ = parse_date(&Path::from(key));
        }
    }
}

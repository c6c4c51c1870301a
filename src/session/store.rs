//! Opens the places that users name: folders and buckets. In: the text of a URL. Out: a store and a prefix in it.
//! Knows nothing of what lies there.

use crate::aws::{Access, Bucket};
use crate::catalog::Catalog;
use crate::error::{Context, Error, Result};
use crate::source::Source;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, path::Path};
use std::path::{self, PathBuf};
use std::sync::Arc;

/// A store, and the prefix in it that a URL names.
#[derive(Clone, Debug)]
pub struct Location {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The prefix; empty for the whole store.
    pub root: Path,
    /// The place as the user wrote it, for messages.
    pub url: String,
    /// The bucket, where the place is in one.
    pub bucket: Option<Bucket>,
    /// The folder, where the place is one.
    pub folder: Option<PathBuf>,
}

const KNOWN: &str = "a place is a folder, file:///FOLDER or s3://BUCKET/PREFIX";

/// Opens the place that `text` names.
///
/// - a folder, absolute or relative, or `file://` and an absolute one: it must exist, or is made if `create` is set.
///   Paths in the store begin at the folder; for a folder inside `AWSLogs` they begin at `AWSLogs`, so that keys read
///   as they do in the bucket.
/// - `s3://bucket/prefix`, by `access`: nothing is read or asked before the first request.
/// - `memory://prefix`: an empty store that lasts as long as the result, for tests.
///
/// # Errors
/// `NotFound` if a folder does not exist; `Invalid` if the URL cannot be read or its scheme is not known.
pub fn open_location(text: &str, create: bool, access: &Access) -> Result<Location> {
    let (mut bucket, mut folder) = (None, None);
    let (store, root): (Arc<dyn ObjectStore>, Path) = match text.split_once("://") {
        None if text.is_empty() => return Err(Error::invalid("the place is empty").with_hint(KNOWN)),
        None if let Some(hint) = meant_otherwise(text) => {
            return Err(Error::invalid(format!("{text} is not taken for a folder")).with_hint(hint));
        }
        None => open_folder(folder.insert(find_folder(path::Path::new(text), create)?))?,
        Some(("file", _)) => open_folder(folder.insert(find_folder(&parse_file_url(text)?, create)?))?,
        Some(("s3", rest)) => {
            let (name, prefix) = parse_bucket(rest)?;
            let opened = bucket.insert(Bucket::new(name, access.clone()));
            (Arc::new(opened.clone()), prefix)
        }
        Some(("memory", prefix)) => (Arc::new(InMemory::new()), parse_prefix(prefix)?),
        Some((scheme, _)) => {
            return Err(Error::invalid(format!("unknown kind of place {scheme}://")).with_hint(KNOWN));
        }
    };
    Ok(Location { store, root, url: text.to_owned(), bucket, folder })
}

impl From<Location> for Source {
    fn from(Location { store, root, url, .. }: Location) -> Self {
        Source { store, root, url }
    }
}

impl From<Location> for Catalog {
    fn from(Location { store, root, url, .. }: Location) -> Self {
        Catalog::new(store, root, url)
    }
}

/// What to write instead of a text that could be a folder but was hardly meant as one: it would be made and filled.
fn meant_otherwise(text: &str) -> Option<String> {
    if text.starts_with('~') {
        return Some("write the path in full: no shell has replaced the ~; ./~ is a folder of that name".to_owned());
    }
    let bucket = match text.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":::").map_or("BUCKET/PREFIX", |(_, bucket)| bucket),
        None => text.strip_prefix("s3:")?.trim_start_matches('/'),
    };
    Some(format!("write s3://{bucket}"))
}

/// The absolute path of a folder, which is made if `create` is set.
fn find_folder(folder: &path::Path, create: bool) -> Result<PathBuf> {
    let name = folder.display();
    if create {
        std::fs::create_dir_all(folder).context(|| format!("create folder {name}"))?;
    } else if !folder.exists() {
        return Err(Error::not_found(format!("folder {name} does not exist")).with_hint(KNOWN));
    }
    let folder = folder.canonicalize().context(|| format!("open folder {name}"))?;
    if !folder.is_dir() {
        return Err(Error::invalid(format!("{name} is a file, not a folder"))
            .with_hint("name the folder that the file lies in"));
    }
    Ok(folder)
}

fn open_folder(folder: &path::Path) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let (base, root) = split_at_logs(folder);
    let store = LocalFileSystem::new_with_prefix(base).context(|| format!("open folder {}", folder.display()))?;
    Ok((Arc::new(store), root))
}

/// Splits a folder before its last `AWSLogs`: the folders from there on are part of the key.
fn split_at_logs(folder: &path::Path) -> (PathBuf, Path) {
    let logs = folder.ancestors().find(|ancestor| ancestor.file_name().is_some_and(|name| name == "AWSLogs"));
    let inside = logs.and_then(path::Path::parent).and_then(|base| {
        let root = folder.strip_prefix(base).ok()?.to_str()?;
        Some((base.to_owned(), Path::parse(root).ok()?))
    });
    inside.unwrap_or_else(|| (folder.to_owned(), Path::default()))
}

fn parse_file_url(text: &str) -> Result<PathBuf> {
    let refused = || Error::invalid(format!("cannot read {text} as the URL of a folder"));
    let hint = "a file URL holds an absolute path: file:///FOLDER";
    let url = url::Url::parse(text).map_err(|error| refused().with_source(error).with_hint(hint))?;
    url.to_file_path().map_err(|()| refused().with_hint(hint))
}

/// Splits `bucket/prefix`. The prefix is taken as it stands, as the AWS command line does: no percent-decoding.
fn parse_bucket(rest: &str) -> Result<(&str, Path)> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // What is no bucket name may hold a secret (`s3://KEY:SECRET@bucket`), so it is not repeated.
    if bucket.is_empty() || !bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Err(Error::invalid("the part of the s3:// URL before the first / is not the name of a bucket")
            .with_hint("write s3://BUCKET/PREFIX; credentials come as with every AWS tool, never from the URL"));
    }
    Ok((bucket, parse_prefix(prefix)?))
}

fn parse_prefix(prefix: &str) -> Result<Path> {
    let refused = || {
        Error::invalid(format!("cannot use prefix {prefix:?}"))
            .with_hint("a prefix holds no empty segment (//), no . and no .. segment")
    };
    if prefix.starts_with('/') {
        return Err(refused());
    }
    Path::parse(prefix).map_err(|error| refused().with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use futures::executor::block_on;
    use object_store::ObjectStoreExt;

    fn kind(text: &str) -> ErrorKind {
        open_location(text, false, &Access::default()).unwrap_err().kind()
    }

    #[test]
    fn a_folder_opens_as_a_path_and_as_a_url() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "x").unwrap();
        let path = folder.path().to_str().unwrap();
        for text in [path.to_owned(), format!("{path}/"), format!("file://{path}")] {
            let location = open_location(&text, false, &Access::default()).unwrap();
            assert_eq!((location.root.as_ref(), &location.url), ("", &text));
            block_on(location.store.head(&Path::from("a.txt"))).unwrap();
        }
    }

    #[test]
    fn a_folder_inside_the_logs_keeps_the_keys_of_the_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("AWSLogs/123456789012/vpcflowlogs");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("a.txt"), "x").unwrap();
        let location = open_location(path.to_str().unwrap(), false, &Access::default()).unwrap();
        assert_eq!(location.root.as_ref(), "AWSLogs/123456789012/vpcflowlogs");
        block_on(location.store.head(&location.root.clone().join("a.txt"))).unwrap();
        assert_eq!(Source::from(location.clone()).root, location.root);
        assert_eq!(Catalog::from(location.clone()).url, location.url);
    }

    #[test]
    fn a_missing_folder_is_not_found_or_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let text = path.to_str().unwrap();
        let error = open_location(text, false, &Access::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), format!("folder {text} does not exist"));
        assert!(error.hint().is_some());
        open_location(text, true, &Access::default()).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn a_bucket_opens_without_a_request() {
        let location = open_location("s3://my-bucket/a b/logs/", false, &Access::default()).unwrap();
        assert_eq!(location.root.as_ref(), "a b/logs");
        assert_eq!(open_location("s3://my-bucket", false, &Access::default()).unwrap().root, Path::default());
    }

    #[test]
    fn what_is_no_place_is_refused_with_advice() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in [
            "",
            "gs://bucket/a",
            "s3://",
            "s3://bucket//a",
            "s3://bucket/a//b",
            "file://relative/path",
            "memory://a/../b",
        ] {
            assert_eq!(kind(text), ErrorKind::Invalid, "{text}");
            assert!(open_location(text, false, &Access::default()).unwrap_err().hint().is_some(), "{text}");
        }
        assert_eq!(kind(file.path().to_str().unwrap()), ErrorKind::Invalid);
    }

    #[test]
    fn what_was_hardly_meant_as_a_folder_is_not_made() {
        for (text, hint) in [
            ("~/logs", "in full"),
            ("s3:/bucket/a", "write s3://bucket/a"),
            ("s3:bucket", "write s3://bucket"),
            ("arn:aws:s3:::bucket/a", "write s3://bucket/a"),
            ("arn:aws:iam::123456789012:role/a", "write s3://BUCKET/PREFIX"),
        ] {
            let error = open_location(text, true, &Access::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.hint().unwrap().contains(hint), "{text}: {:?}", error.hint());
        }
    }

    #[test]
    fn a_secret_in_a_url_is_not_repeated() {
        let error = open_location("s3://KEY:SECRET@bucket/a", false, &Access::default()).unwrap_err();
        assert!(!format!("{error:?}").contains("SECRET"));
    }
}

//! The file of `--output`: whole or not at all.

use crate::error::{Context, Error, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A file that takes its name only when everything is written.
///
/// Bytes go to a hidden file beside it. [`OutputFile::finish`] renames that; dropped before, it is removed, and a file
/// that was there stays as it was. What is no regular file (`/dev/null`, a named pipe) is written to directly.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    /// The hidden file, until it is renamed.
    temporary: Option<PathBuf>,
    writer: BufWriter<File>,
}

impl OutputFile {
    /// Opens the way to `path`.
    ///
    /// # Errors
    /// `Invalid` if `path` is a folder or names no file; else what the file system says (`NotFound` for its folder).
    pub fn create(path: &Path) -> Result<Self> {
        let named = path.display();
        let doing = || format!("open output {named}");
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let present = fs::metadata(&path).ok();
        if present.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Error::invalid(format!("output {named} is a folder")).with_hint("name a file"));
        }
        if present.as_ref().is_some_and(|present| !present.is_file()) {
            let file = File::options().write(true).open(&path).context(doing)?;
            return Ok(OutputFile { path, temporary: None, writer: BufWriter::new(file) });
        }
        let Some(name) = path.file_name() else {
            return Err(Error::invalid(format!("output {named} names no file")));
        };
        let hidden = format!(".{}.{}.tmp", name.to_string_lossy(), Uuid::new_v4().simple());
        let temporary = path.with_file_name(hidden);
        let file = File::create_new(&temporary).context(doing)?;
        if let Some(present) = present {
            file.set_permissions(present.permissions()).context(doing)?;
        }
        Ok(OutputFile { path, temporary: Some(temporary), writer: BufWriter::new(file) })
    }

    /// Writes out what is buffered and gives the file its name.
    ///
    /// # Errors
    /// What the file system says; the hidden file is removed then.
    pub fn finish(mut self) -> Result<()> {
        let doing = format!("write output {}", self.path.display());
        self.writer.flush().context(|| doing.as_str())?;
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path).context(|| doing.as_str())?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary
            && let Err(error) = fs::remove_file(temporary)
        {
            tracing::warn!(path = %temporary.display(), %error, "an unfinished output file was left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_finished_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edges.csv");
        fs::write(&path, "old").unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["edges.csv"]);
    }

    #[test]
    fn an_unfinished_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = OutputFile::create(&folder.path().join("edges.csv")).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_folder_and_a_missing_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(OutputFile::create(folder.path()).unwrap_err().kind(), crate::ErrorKind::Invalid);
        let missing = folder.path().join("none").join("edges.csv");
        assert_eq!(OutputFile::create(&missing).unwrap_err().kind(), crate::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_stays() {
        let mut file = OutputFile::create(Path::new("/dev/null")).unwrap();
        file.write_all(b"gone").unwrap();
        file.finish().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = OutputFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }
}

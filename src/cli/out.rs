//! Where a command's data goes. In: bytes. Out: stdout, or a file that appears when it is complete.

use crate::error::Result;
use crate::output::OutputFile;
use std::io::{BufWriter, Stdout, Write};
use std::path::Path;

/// Writes all of a command's data at once.
pub(super) fn print(output: Option<&Path>, data: &[u8]) -> Result<()> {
    let mut out = Output::open(output)?;
    out.write_all(data)?;
    out.commit()
}

/// Where data goes: stdout, or a file that appears when it is complete.
pub(super) enum Output {
    Stdout(BufWriter<Stdout>),
    File(OutputFile),
}

impl Output {
    pub(super) fn open(path: Option<&Path>) -> Result<Output> {
        Ok(match path {
            Some(path) => Output::File(OutputFile::create(path)?),
            None => Output::Stdout(BufWriter::new(std::io::stdout())),
        })
    }

    pub(super) fn commit(self) -> Result<()> {
        match self {
            Output::Stdout(mut out) => Ok(out.flush()?),
            Output::File(file) => file.finish(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Output::Stdout(out) => out.write(bytes),
            Output::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Output::Stdout(out) => out.flush(),
            Output::File(out) => out.flush(),
        }
    }
}

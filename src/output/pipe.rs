//! A writer that remembers whether its reader went away.

use std::io::{ErrorKind, IoSlice, Result, Write};

/// Passes everything on, and remembers a broken pipe.
///
/// Encoders wrap the errors of their writer, each in its own way; asking the pipe is how to tell `| head` from a
/// failure.
pub struct Pipe<'a> {
    inner: &'a mut (dyn Write + Send),
    reader_gone: bool,
}

impl<'a> Pipe<'a> {
    /// Wraps a writer.
    pub fn new(inner: &'a mut (dyn Write + Send)) -> Self {
        Pipe { inner, reader_gone: false }
    }

    /// Whether a write failed because nobody reads any more.
    pub fn is_reader_gone(&self) -> bool {
        self.reader_gone
    }

    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.reader_gone |= error.kind() == ErrorKind::BrokenPipe;
        }
        result
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let result = self.inner.write(bytes);
        self.note(result)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Result<usize> {
        let result = self.inner.write_vectored(slices);
        self.note(result)
    }

    fn flush(&mut self) -> Result<()> {
        let result = self.inner.flush();
        self.note(result)
    }
}

//! Rows as the chunks of bytes of a response: as fast as somebody takes them, and no longer than somebody does.

use super::{Format, OutputOptions, write_rows};
use crate::error::{Error, Result};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::future::BoxFuture;
use futures::stream::{self, Fuse};
use futures::{FutureExt, Stream, StreamExt};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::Instrument;

/// Chunks that may wait for a slow reader.
const CHUNKS_WAITING: usize = 2;
/// Bytes of a chunk at the most: what a connection buffers must not be as large as a batch happens to be.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// The bytes of `rows` as `format`, in chunks.
///
/// Rows are only asked for while the chunks before them are taken, and the work stops where nobody takes them any more:
/// memory holds a few batches (Parquet: one row group), whatever the number of rows.
///
/// # Errors
/// As [`write_rows`], as far as the first chunk tells; later failures are items of the stream, the last ones.
pub async fn chunks(
    rows: SendableRecordBatchStream,
    format: Format,
    options: OutputOptions,
) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static> {
    chunks_by(rows, writes(format, options)).await
}

/// Likewise, but nothing is waited for: what a format says before the first row is there before it. For rows of which it
/// is known that they can be had; every failure is an item of the stream, the last one.
pub fn chunks_at_once(
    rows: SendableRecordBatchStream,
    format: Format,
    options: OutputOptions,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    received(None, start(rows.fuse(), None, writes(format, options)))
}

fn writes(
    format: Format,
    options: OutputOptions,
) -> impl FnOnce(SendableRecordBatchStream, ChunkWriter) -> BoxFuture<'static, Result<()>> + Send + 'static {
    move |rows, mut out| async move { write_rows(rows, format, &mut out, &options).await.map(drop) }.boxed()
}

/// As [`chunks`], whatever `write` makes of the rows; what it wrote leaves whenever it asks for more of them.
///
/// # Errors
/// What `write` says before the first chunk; later failures are items of the stream, the last ones.
pub async fn chunks_by<W, F>(
    rows: SendableRecordBatchStream,
    write: W,
) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static>
where
    W: FnOnce(SendableRecordBatchStream, ChunkWriter) -> F + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    // Not every stream may be asked again after its end, which may come before the first row.
    let mut rows = rows.fuse();
    // Before anything is written: an error here can still be told as one.
    let first = rows.next().await.transpose()?;
    let mut receiver = start(rows, first, write);
    let head = receiver.recv().await.transpose()?;
    Ok(received(head, receiver))
}

/// Writes in a task of its own, which ends when nobody receives any more.
fn start<W, F>(rows: Fuse<SendableRecordBatchStream>, first: Option<RecordBatch>, write: W) -> Receiver<Result<Bytes>>
where
    W: FnOnce(SendableRecordBatchStream, ChunkWriter) -> F + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let writing = async move {
        let stop = sender.clone();
        tokio::select! {
            () = stop.closed() => {}
            () = send(rows, first, write, sender) => {}
        }
    };
    // What is logged on the way belongs to the request that wants the rows.
    tokio::spawn(writing.in_current_span());
    receiver
}

fn received(
    head: Option<Bytes>,
    receiver: Receiver<Result<Bytes>>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let rest = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    // Encoders ask again after the end.
    stream::iter(head.map(Ok)).chain(rest).fuse()
}

async fn send<F: Future<Output = Result<()>>>(
    rows: Fuse<SendableRecordBatchStream>,
    first: Option<RecordBatch>,
    write: impl FnOnce(SendableRecordBatchStream, ChunkWriter) -> F,
    sender: Sender<Result<Bytes>>,
) {
    let written = ChunkWriter::default();
    let schema = rows.get_ref().schema();
    let waiting = (stream::iter(first.map(Ok)).chain(rows), written.clone(), sender.clone());
    let paced = stream::try_unfold(waiting, |(mut rows, written, sender)| async move {
        written.send(&sender).await?;
        Ok::<_, DataFusionError>(rows.next().await.transpose()?.map(|batch| (batch, (rows, written, sender))))
    });
    let paced = Box::pin(RecordBatchStreamAdapter::new(schema, paced));
    let end = match write(paced, written.clone()).await {
        Ok(()) => written.send(&sender).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    if let Err(error) = end {
        // Nobody hears it if the reader is gone.
        let _ = sender.send(Err(error)).await;
    }
}

/// Takes what a format writes, until it is sent on.
#[derive(Clone, Debug, Default)]
pub struct ChunkWriter(Arc<Mutex<Vec<u8>>>);

impl ChunkWriter {
    async fn send(&self, sender: &Sender<Result<Bytes>>) -> Result<(), DataFusionError> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let gone = |_| DataFusionError::IoError(io::Error::from(io::ErrorKind::BrokenPipe));
        for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
            // Copied, so that a chunk which waits holds on to no more than itself.
            sender.send(Ok(Bytes::copy_from_slice(chunk))).await.map_err(gone)?;
        }
        Ok(())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Int64Array;
    use futures::TryStreamExt;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    fn batch(value: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![value; 3])) as _)]).unwrap()
    }

    /// Rows without end, which counts the batches that were asked for.
    fn endless(asked: Arc<AtomicU64>) -> SendableRecordBatchStream {
        let rows = stream::repeat_with(move || {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(batch(7))
        });
        Box::pin(RecordBatchStreamAdapter::new(batch(0).schema(), rows))
    }

    #[tokio::test]
    async fn the_chunks_are_what_is_written_at_once() {
        for format in [Format::Csv, Format::Json, Format::Ndjson, Format::Arrow, Format::Parquet] {
            let rows = || -> SendableRecordBatchStream {
                let batches = stream::iter((0..5).map(|value| Ok(batch(value))));
                Box::pin(RecordBatchStreamAdapter::new(batch(0).schema(), batches))
            };
            let mut whole = Vec::new();
            write_rows(rows(), format, &mut whole, &OutputOptions::default()).await.unwrap();
            let mut chunks = Box::pin(chunks(rows(), format, OutputOptions::default()).await.unwrap());
            let mut received = Vec::new();
            while let Some(chunk) = chunks.try_next().await.unwrap() {
                received.extend_from_slice(&chunk);
            }
            assert_eq!(received, whole, "{format:?}");
            assert!(chunks.next().await.is_none(), "there is something after the end");
        }
    }

    #[tokio::test]
    async fn rows_wait_for_a_reader_and_end_with_it() {
        let asked = Arc::new(AtomicU64::new(0));
        let chunks = chunks(endless(asked.clone()), Format::Ndjson, OutputOptions::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = asked.load(Ordering::Relaxed);
        assert!(before <= 8, "{before} batches were made for a reader who takes none");
        drop(chunks);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(Arc::strong_count(&asked), 1, "the rows are still there");
    }

    #[tokio::test]
    async fn the_head_of_a_format_is_there_before_the_first_row_for_who_asks_at_once() {
        // The mark by which a message begins, and the names of the columns.
        for (format, head) in [(Format::Arrow, &[0xff; 4][..]), (Format::Csv, b"n\n")] {
            let rows = Box::pin(RecordBatchStreamAdapter::new(batch(0).schema(), stream::pending()));
            let mut chunks = Box::pin(chunks_at_once(rows, format, OutputOptions::default()));
            assert!(chunks.try_next().await.unwrap().unwrap().starts_with(head), "{format:?}");
        }
    }

    #[tokio::test]
    async fn no_chunk_is_as_large_as_a_large_batch() {
        let rows = batch(7).column(0).len() * 100_000;
        let long = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![7; rows])) as _)]).unwrap();
        let rows = Box::pin(RecordBatchStreamAdapter::new(long.schema(), stream::iter([Ok(long)])));
        let chunks: Vec<_> = chunks(rows, Format::Arrow, OutputOptions::default()).await.unwrap().collect().await;
        assert!(chunks.len() > 2 && chunks.into_iter().all(|chunk| chunk.unwrap().len() <= CHUNK_BYTES_MAX));
    }

    #[tokio::test]
    async fn rows_that_must_not_be_asked_after_their_end_are_not() {
        let none = stream::unfold((), |()| async { None::<(Result<RecordBatch, DataFusionError>, ())> });
        let none = Box::pin(RecordBatchStreamAdapter::new(batch(0).schema(), none));
        let chunks = chunks(none, Format::Csv, OutputOptions::default()).await.unwrap();
        assert_eq!(chunks.try_collect::<Vec<_>>().await.unwrap().concat(), b"n\n");
    }

    #[tokio::test]
    async fn an_error_before_the_first_row_is_told_and_a_later_one_ends_the_chunks() {
        let failing = |before: usize| -> SendableRecordBatchStream {
            let batches = stream::iter((0..before).map(|_| Ok(batch(1))).collect::<Vec<_>>())
                .chain(stream::iter([Err(DataFusionError::Execution("broken".to_owned()))]));
            Box::pin(RecordBatchStreamAdapter::new(batch(0).schema(), batches))
        };
        assert!(chunks(failing(0), Format::Csv, OutputOptions::default()).await.is_err());
        let items: Vec<_> = chunks(failing(4), Format::Csv, OutputOptions::default()).await.unwrap().collect().await;
        let (last, others) = items.split_last().unwrap();
        assert!(last.is_err() && others.iter().all(Result::is_ok));
    }
}

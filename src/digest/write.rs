//! Writing a digest's files: Parquet that any tool reads, the same bytes for the same rows. In: sorted batches. Out: a
//! local file, its size, rows and checksum.

use crate::error::{Context, Error, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::BatchCoalescer;
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::runtime::SpawnedTask;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use ring::digest::{Context as Checksum, SHA256, digest};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tempfile::NamedTempFile;

/// A file that is written and not yet published.
pub(super) struct Written {
    pub(super) file: NamedTempFile,
    pub(super) size: u64,
    pub(super) rows: u64,
    /// SHA-256, hexadecimal.
    pub(super) checksum: String,
}

/// Writes `batches` as row groups of exactly `row_group_rows` rows (the last may have fewer). Boundaries depend on the rows
/// alone, so the bytes do too.
///
/// `threads` columns of a group are encoded at a time, of two groups where there are several threads. Memory: these groups,
/// and the one that is being gathered.
pub(super) async fn write(
    schema: SchemaRef,
    batches: BoxStream<'_, Result<RecordBatch>>,
    row_group_rows: usize,
    threads: usize,
    folder: &Path,
) -> Result<Written> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        // Hardly two edges have the same bytes: a dictionary of them is work for nothing.
        .set_column_dictionary_enabled("bytes".into(), false)
        .set_column_encoding("bytes".into(), Encoding::DELTA_BINARY_PACKED)
        .set_max_row_group_row_count(Some(row_group_rows))
        .set_created_by("flowdiff".to_owned())
        .build();
    // Without Arrow's own schema in the footer, every reader sees plain Parquet types.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = NamedTempFile::new_in(folder).context(|| format!("make a file in {}", folder.display()))?;
    let hashing = Hashing { file, checksum: Checksum::new(&SHA256), size: 0 };
    let writer = ArrowWriter::try_new_with_options(hashing, schema.clone(), options)?;
    let (mut writer, factory) = writer.into_serialized_writer()?;
    let factory = Arc::new(factory);
    let mut rows = 0;
    let groups = row_groups(schema, batches, row_group_rows).enumerate().map(|(index, group)| {
        let factory = factory.clone();
        async move { encode(&factory, index, group?, threads).await }
    });
    let mut groups = Box::pin(groups.buffered(threads.min(2)));
    while let Some((group_rows, chunks)) = groups.try_next().await? {
        rows += group_rows;
        let mut group = writer.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
    }
    drop(groups);
    let mut hashing = writer.into_inner()?;
    hashing.flush()?;
    Ok(Written { file: hashing.file, size: hashing.size, rows, checksum: hex(hashing.checksum.finish().as_ref()) })
}

/// SHA-256 of a text, hexadecimal.
pub(super) fn checksum(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Regroups batches into row groups of exactly `rows` rows. Texts are copied as they come: a batch may hold far more memory
/// than its rows take.
fn row_groups(
    schema: SchemaRef,
    batches: BoxStream<'_, Result<RecordBatch>>,
    rows: usize,
) -> BoxStream<'_, Result<RecordBatch>> {
    let state = (batches.fuse(), BatchCoalescer::new(schema, rows));
    futures::stream::try_unfold(state, move |(mut batches, mut pending)| async move {
        while !pending.has_completed_batch() {
            match batches.try_next().await? {
                Some(batch) => pending.push_batch(batch)?,
                None => {
                    pending.finish_buffered_batch()?;
                    break;
                }
            }
        }
        Ok(pending.next_completed_batch().map(|group| (group, (batches, pending))))
    })
    .boxed()
}

async fn encode(
    factory: &ArrowRowGroupWriterFactory,
    index: usize,
    group: RecordBatch,
    threads: usize,
) -> Result<(u64, Vec<ArrowColumnChunk>)> {
    let (schema, columns, rows) = group.into_parts();
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let columns = factory.create_column_writers(index)?.into_iter().zip(columns).zip(fields);
    let encoded = futures::stream::iter(columns).map(|((mut writer, column), field)| {
        // On the runtime's own threads: those for blocking calls may be many, and each would keep memory of its own.
        let encoded = SpawnedTask::spawn(async move {
            for leaf in compute_leaves(&field, &column)? {
                writer.write(&leaf)?;
            }
            writer.close()
        });
        async {
            let encoded = encoded.join().await;
            Ok::<_, Error>(encoded.map_err(|error| Error::internal(format!("an encoding thread ended: {error}")))??)
        }
    });
    // Boxed, or the compiler does not see that it may go from thread to thread.
    Ok((rows as u64, encoded.buffered(threads).boxed().try_collect().await?))
}

/// Writes to a file and sums what goes by.
struct Hashing {
    file: NamedTempFile,
    checksum: Checksum,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.checksum.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

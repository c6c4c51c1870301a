//! An edge file in a store, read by ranges of the key. In: its path. Out: bounds of its row groups, and the rows of a
//! range as one side of a merge. Knows nothing of how ranges are cut.

use super::merge::{Batches, Side};
use super::rows::BATCH_ROWS;
use crate::error::{Context, Error, Result};
use crate::flow::{EDGE_KEY, edges_schema};
use bytes::Bytes;
use datafusion::arrow::array::{AsArray, RecordBatch};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::{OBJECT_STORE_COALESCE_DEFAULT, ObjectStore, ObjectStoreExt, coalesce_ranges, path::Path};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use std::cmp::Ordering;
use std::sync::Arc;

/// Text columns at the head of the edge key, by which row groups are told apart: account to destination address.
const PREFIX_COLUMNS: usize = 4;

/// The first columns of a key, as many as are known. As a bound it stands before every key that begins with it.
pub(super) type Prefix = Vec<Vec<u8>>;

/// Keys from a bound (or the very first) up to, not including, another (or to the last).
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    pub(super) from: Option<Prefix>,
    pub(super) to: Option<Prefix>,
}

/// An edge file, opened: its footer is read, its rows are not.
#[derive(Clone, Debug)]
pub(super) struct EdgeFile {
    object: StoredObject,
    metadata: ArrowReaderMetadata,
    pub(super) row_groups: Vec<RowGroup>,
}

/// What the footer says of one row group: bounds of its keys, as far as statistics know them.
#[derive(Clone, Debug)]
pub(super) struct RowGroup {
    pub(super) rows: u64,
    pub(super) first: Prefix,
    last: Prefix,
}

impl EdgeFile {
    /// Reads the footer of the edge file of `size` bytes at `path`.
    ///
    /// # Errors
    /// Those of the store; `Data` if it is no Parquet file with the columns of edges.
    pub(super) async fn open(store: Arc<dyn ObjectStore>, path: Path, size: u64) -> Result<EdgeFile> {
        let mut object = StoredObject { store, path, size };
        let options = ArrowReaderOptions::new().with_schema(edges_schema());
        let metadata = ArrowReaderMetadata::load_async(&mut object, options)
            .await
            .context(|| format!("read footer of {}", object.path))?;
        let row_groups = metadata.metadata().row_groups().iter().map(RowGroup::new).collect();
        Ok(EdgeFile { object, metadata, row_groups })
    }

    /// The rows of `range`, as a side of a merge.
    pub(super) fn side(&self, range: Range) -> Side {
        let groups = (0..self.row_groups.len()).filter(|&group| range.may_hold(&self.row_groups[group])).collect();
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(self.object.clone(), self.metadata.clone());
        let batches: Batches = match builder.with_row_groups(groups).with_batch_size(BATCH_ROWS).build() {
            Ok(batches) => {
                batches.map_err(Error::from).try_filter_map(move |batch| std::future::ready(range.cut(&batch))).boxed()
            }
            Err(error) => futures::stream::once(std::future::ready(Err(error.into()))).boxed(),
        };
        Side::new(self.object.path.as_ref(), batches)
    }
}

impl RowGroup {
    /// Goes down the key as long as a column has one value throughout: only then is the next one sorted, too.
    fn new(metadata: &RowGroupMetaData) -> RowGroup {
        let (mut first, mut last) = (Prefix::new(), Prefix::new());
        for name in &EDGE_KEY[..PREFIX_COLUMNS] {
            let column = metadata.columns().iter().find(|column| column.column_path().parts() == [*name]);
            let Some(statistics) = column.and_then(|column| column.statistics()) else { break };
            let (Some(min), Some(max)) = (statistics.min_bytes_opt(), statistics.max_bytes_opt()) else { break };
            if statistics.is_min_max_deprecated() {
                break;
            }
            let single = min == max && statistics.min_is_exact() && statistics.max_is_exact();
            first.push(min.to_vec());
            last.push(max.to_vec());
            if !single {
                break;
            }
        }
        RowGroup { rows: metadata.num_rows().unsigned_abs(), first, last }
    }
}

impl Range {
    /// Whether a row group may hold keys of the range; true where its statistics do not say.
    fn may_hold(&self, group: &RowGroup) -> bool {
        let common = |a: &Prefix, b: &Prefix| {
            let known = a.len().min(b.len());
            a[..known].cmp(&b[..known])
        };
        let ends_before = self.from.as_ref().is_some_and(|from| common(&group.last, from).is_lt());
        let begins_after = self.to.as_ref().is_some_and(|to| match common(&group.first, to) {
            Ordering::Less => false,
            Ordering::Equal => group.first.len() >= to.len(),
            Ordering::Greater => true,
        });
        !ends_before && !begins_after
    }

    /// The rows of a sorted batch that lie in the range; nothing if none does.
    fn cut(&self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let from = self.from.as_ref().map_or(Ok(0), |bound| rows_before(batch, bound))?;
        let to = self.to.as_ref().map_or(Ok(batch.num_rows()), |bound| rows_before(batch, bound))?;
        Ok((from < to).then(|| batch.slice(from, to - from)))
    }
}

/// How many rows of a sorted batch stand before `bound`.
fn rows_before(batch: &RecordBatch, bound: &Prefix) -> Result<usize> {
    let columns = EDGE_KEY.iter().zip(bound).map(|(name, value)| {
        let array = batch.column_by_name(name).and_then(|column| column.as_string_view_opt());
        let array = array.ok_or_else(|| Error::data(format!("key column {name} is missing or no text")))?;
        Ok((array, value.as_slice()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let is_before = |row: usize| {
        let order =
            columns.iter().map(|(array, value)| array.value(row).as_bytes().cmp(value)).find(|order| order.is_ne());
        order == Some(Ordering::Less)
    };
    let (mut low, mut high) = (0, batch.num_rows());
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// An object of known size, as the Parquet reader wants it.
#[derive(Clone, Debug)]
struct StoredObject {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

/// Read from the end of a file at first, with one byte more for so many of the file: a footer has some 2 kB for a row
/// group, which has more than a megabyte. Little, where it can be: buffers of hundreds of kilobytes are what allocators
/// keep for the thread that read them, and in a service many threads read.
const FOOTER_BYTES: u64 = 16 << 10;
const FILE_BYTES_PER_FOOTER_BYTE: u64 = 256;

impl AsyncFileReader for StoredObject {
    fn get_bytes(&mut self, range: std::ops::Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.store.get_range(&self.path, range).map_err(stored).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<std::ops::Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        // The columns of a row group lie side by side: one buffer of megabytes goes back to the system when it is freed.
        // A folder would read each on its own, into buffers that allocators keep for the thread which read them.
        let fetch = |range| self.store.get_range(&self.path, range);
        async move { coalesce_ranges(&ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await.map_err(stored) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
        let size = self.size;
        let footer = FOOTER_BYTES + size / FILE_BYTES_PER_FOOTER_BYTE;
        let reader = reader.with_prefetch_hint(usize::try_from(footer).ok());
        async move { Ok(Arc::new(reader.load_and_finish(self, size).await?)) }.boxed()
    }
}

fn stored(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

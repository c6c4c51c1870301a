//! What a digest holds, before it is published: three files on the local disk, and what the manifest says of them.

use super::Builder;
use super::write::Written;
use crate::catalog::{Cost, Coverage, Draft, DraftFile, FileKind, Manifest, Origin, Rules, State, Totals};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::window::Window;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::BoxStream;

/// The contents of a digest.
pub(super) struct Contents {
    pub(super) edges: Written,
    pub(super) interfaces: Written,
    pub(super) objects: Written,
    pub(super) totals: Totals,
    pub(super) coverage: Coverage,
    pub(super) cost: Cost,
    /// `Provisional` if a part was.
    pub(super) state: State,
    /// The published digests that it was merged from.
    pub(super) made_from: Vec<Origin>,
    /// An instant before the first look at what there is.
    pub(super) seen_at: Timestamp,
}

impl Contents {
    /// Whether `manifest` has the very same files.
    pub(super) fn is_in(&self, manifest: &Manifest) -> bool {
        self.files()
            .iter()
            .all(|(kind, file)| manifest.file(*kind).is_some_and(|published| published.checksum == file.checksum))
    }

    pub(super) fn files(&self) -> [(FileKind, &Written); 3] {
        [(FileKind::Edges, &self.edges), (FileKind::Interfaces, &self.interfaces), (FileKind::Objects, &self.objects)]
    }

    /// The draft of the version after `previous`; its files live as long as what is returned beside it.
    pub(super) fn into_draft(
        self,
        window: &Window,
        previous: Option<u64>,
        state: State,
        rules: Rules,
    ) -> (Draft, [Written; 3]) {
        let file = |(kind, written): (FileKind, &Written)| DraftFile {
            kind,
            path: written.file.path().to_owned(),
            size: written.size,
            rows: written.rows,
            checksum: written.checksum.clone(),
        };
        let draft = Draft {
            window: *window,
            version: previous.unwrap_or(0) + 1,
            previous,
            state,
            published: self.seen_at,
            rules,
            files: self.files().map(file).to_vec(),
            totals: self.totals,
            coverage: self.coverage,
            cost: self.cost,
            made_from: self.made_from,
        };
        (draft, [self.edges, self.interfaces, self.objects])
    }
}

impl Builder {
    /// Writes the edge file, and sums it.
    pub(super) async fn write_edges(&self, edges: SendableRecordBatchStream) -> Result<(Written, Totals)> {
        let mut totals = Totals::default();
        let written = self.write_rows(FileKind::Edges, edges, |batch| add(&mut totals, batch)).await?;
        Ok((written, totals))
    }

    /// Writes the rows of a query as a file; `meet` sees what is written.
    pub(super) async fn write_rows(
        &self,
        kind: FileKind,
        rows: SendableRecordBatchStream,
        mut meet: impl FnMut(&RecordBatch) + Send,
    ) -> Result<Written> {
        let schema = kind.schema();
        let batches = rows.map(|batch| conform(&batch?, &schema).inspect(&mut meet));
        self.write(schema.clone(), batches.boxed()).await
    }

    /// Writes batches as a file.
    pub(super) async fn write_batches(
        &self,
        kind: FileKind,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send,
    ) -> Result<Written> {
        self.write(kind.schema(), futures::stream::iter(batches).boxed()).await
    }

    async fn write(&self, schema: SchemaRef, batches: BoxStream<'_, Result<RecordBatch>>) -> Result<Written> {
        let spill = &self.session.options().spill_dir;
        let folder = spill.clone().unwrap_or_else(std::env::temp_dir);
        super::write::write(schema, batches, self.options.row_group_rows.max(1), self.threads(), &folder).await
    }

    /// Threads that decode, sort and encode.
    pub(super) fn threads(&self) -> usize {
        self.session.context().copied_config().target_partitions()
    }
}

/// Gives a batch the schema of a file: same names, types cast, nothing null that must not be.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch
                .column_by_name(field.name())
                .ok_or_else(|| Error::internal(format!("the query returns no column {}", field.name())))?;
            Ok(if column.data_type() == field.data_type() { column.clone() } else { cast(column, field.data_type())? })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn add(totals: &mut Totals, batch: &RecordBatch) {
    let sum = |name: &str| {
        let column = batch.column_by_name(name).map(|column| column.as_primitive::<Int64Type>().values());
        column.into_iter().flatten().fold(0i64, |sum, value| sum.saturating_add(*value))
    };
    totals.edges += batch.num_rows() as u64;
    totals.flows = totals.flows.saturating_add(sum("flows"));
    totals.packets = totals.packets.saturating_add(sum("packets"));
    totals.bytes = totals.bytes.saturating_add(sum("bytes"));
}

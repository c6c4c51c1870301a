//! Publishes a digest from rows that a test or a bench made up, as the real writer would.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use flowdiff::catalog::{Catalog, Cost, Coverage, Draft, DraftFile, FileKind, Manifest, State, Totals};
use flowdiff::window::Window;
use flowdiff::{digest, flow};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;

/// What a digest holds besides its window.
pub struct Contents<E> {
    /// Batches of the edge file, sorted.
    pub edges: E,
    /// The interface file.
    pub interfaces: RecordBatch,
    /// The object file.
    pub objects: RecordBatch,
    /// Whether objects may still arrive.
    pub state: State,
    /// Flow logs that fell silent.
    pub silent_flow_logs: Vec<String>,
    /// Rows of a row group of the edge file.
    pub row_group_rows: usize,
}

/// Publishes `contents` as version 1 of `window`.
pub async fn publish<E>(catalog: &Catalog, window: &str, contents: Contents<E>) -> Manifest
where
    E: IntoIterator<Item = RecordBatch>,
{
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rows = contents.row_group_rows;
    let files = vec![
        write(folder.path(), FileKind::Edges, flow::edges_schema(), contents.edges, rows),
        write(folder.path(), FileKind::Interfaces, flow::interfaces_schema(), [contents.interfaces], 131_072),
        write(folder.path(), FileKind::Objects, flow::objects_schema(), [contents.objects], 131_072),
    ];
    let draft = Draft {
        window: Window::parse(window, now).unwrap(),
        version: 1,
        previous: None,
        state: contents.state,
        published: now,
        rules: digest::Options::default().rules().unwrap(),
        totals: Totals { edges: files[0].rows, ..Totals::default() },
        files,
        coverage: Coverage { silent_flow_logs: contents.silent_flow_logs, ..Coverage::default() },
        cost: Cost::default(),
        made_from: Vec::new(),
    };
    catalog.publish(draft).await.unwrap()
}

fn write(
    folder: &Path,
    kind: FileKind,
    schema: SchemaRef,
    batches: impl IntoIterator<Item = RecordBatch>,
    row_group_rows: usize,
) -> DraftFile {
    let path = folder.join(kind.name());
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_max_row_group_row_count(Some(row_group_rows))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, schema, options).unwrap();
    let mut rows = 0;
    for batch in batches {
        rows += batch.num_rows() as u64;
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
    let (checksum, size) = checksum(&path);
    DraftFile { kind, size, rows, checksum, path }
}

fn checksum(path: &Path) -> (String, u64) {
    let mut sum = Sha256::new();
    let size = std::io::copy(&mut std::fs::File::open(path).unwrap(), &mut HashWriter(&mut sum)).unwrap();
    let text = sum.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    (text, size)
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

//! Small digests to publish: real Parquet files with a few rows.

use datafusion::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use datafusion::arrow::array::{Int64Array, StringViewArray, TimestampMillisecondArray, UInt8Array, UInt16Array};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use flowdiff::catalog::{Cost, Coverage, Draft, DraftFile, FORMAT_VERSION, FileKind, Rules, State, Totals};
use flowdiff::flow::{AddressRule, PortRule, edges_schema, interfaces_schema, objects_schema};
use flowdiff::window::Window;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn window(text: &str) -> Window {
    Window::parse(text, "2026-11-21T00:00:00Z".parse().unwrap()).unwrap()
}

pub(super) fn rules() -> Rules {
    Rules {
        format_version: FORMAT_VERSION,
        port_rule: PortRule::Service,
        addresses: AddressRule::Packet,
        query_checksum: "ab".repeat(32),
    }
}

/// A draft of version 1 whose edge file has `edges` rows; its files lie in `folder`.
///
/// `with_arrow_schema` tells whether the files carry Arrow's own schema beside Parquet's.
pub(crate) fn draft(folder: &Path, window: Window, edges: usize, with_arrow_schema: bool) -> Draft {
    let file = |kind: FileKind, schema: SchemaRef, rows: usize| {
        let bytes = parquet(&schema, rows, with_arrow_schema);
        let checksum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(format!("{checksum}.{}", kind.name()));
        std::fs::write(&path, &bytes).unwrap();
        DraftFile { kind, path, size: bytes.len() as u64, rows: rows as u64, checksum }
    };
    Draft {
        window,
        version: 1,
        previous: None,
        state: State::Final,
        published: "2026-11-21T00:00:00Z".parse().unwrap(),
        rules: rules(),
        files: vec![
            file(FileKind::Objects, objects_schema(), 1),
            file(FileKind::Edges, edges_schema(), edges),
            file(FileKind::Interfaces, interfaces_schema(), 1),
        ],
        totals: Totals { edges: edges as u64, flows: edges as i64, packets: 2, bytes: 3 },
        coverage: Coverage { objects_listed: 7, silent_flow_logs: vec!["a/b/c".into()], ..Coverage::default() },
        cost: Cost { bytes_read: 5, wall_seconds: 0.5, ..Cost::default() },
        made_from: Vec::new(),
    }
}

/// Swaps the edge file of a draft for one of `size` bytes that are no Parquet.
pub(super) fn with_large_edge_file(mut draft: Draft, folder: &Path, size: usize) -> Draft {
    let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    let path: PathBuf = folder.join("large");
    std::fs::write(&path, &bytes).unwrap();
    let edges = draft.files.iter_mut().find(|file| file.kind == FileKind::Edges).unwrap();
    (edges.path, edges.size) = (path, size as u64);
    draft
}

/// Rows whose numbers and last letters ascend; nullable columns are null.
fn parquet(schema: &SchemaRef, rows: usize, with_arrow_schema: bool) -> Vec<u8> {
    let column = |nullable: bool, data_type: &DataType| -> ArrayRef {
        match data_type {
            _ if nullable => new_null_array(data_type, rows),
            DataType::Utf8View => {
                Arc::new(StringViewArray::from_iter_values((0..rows).map(|i| format!("text-{i:06}"))))
            }
            DataType::UInt8 => Arc::new(UInt8Array::from_iter_values((0..rows).map(|i| i as u8))),
            DataType::UInt16 => Arc::new(UInt16Array::from_iter_values((0..rows).map(|i| i as u16))),
            DataType::Int64 => Arc::new(Int64Array::from_iter_values((0..rows).map(|i| i as i64))),
            _ => Arc::new(
                TimestampMillisecondArray::from_iter_values((0..rows).map(|i| i as i64 * 1000)).with_timezone("UTC"),
            ),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.is_nullable(), field.data_type())).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(!with_arrow_schema);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, schema.clone(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

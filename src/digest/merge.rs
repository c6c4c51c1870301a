//! The contents of a digest from those of its parts, published or just built: the parts' records are the window's, each
//! once.

use super::Builder;
use super::contents::{Contents, conform};
use super::coverage::last_seen;
use crate::catalog::{self, Cost, Coverage, FileKind, Manifest, Origin, State};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Params, Session, queries};
use crate::source::Object;
use crate::window::Window;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::prelude::{DataFrame, ParquetReadOptions, ident};
use futures::TryStreamExt;
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// A part of a window.
pub(super) enum Part {
    /// A published digest.
    Published(Box<Manifest>),
    /// What was built just now, for this merge alone.
    Local(Box<Contents>),
}

/// Most samples of refused lines in a manifest.
const SAMPLES_MAX: usize = 10;

impl Builder {
    /// Merges parts that have no record in common.
    ///
    /// # Errors
    /// `Conflict` if two parts have read different contents of one object.
    pub(super) async fn merged(&self, window: &Window, parts: Vec<Part>, seen_at: Timestamp) -> Result<Contents> {
        let started = Instant::now();
        // The files of the parts are sorted as the merged ones are to be.
        let session = self.session.without_tables(Vec::new())?.in_order();
        for kind in FileKind::ALL {
            let mut union: Option<DataFrame> = None;
            for part in &parts {
                let rows = self.rows(&session, part, kind).await?;
                union = Some(match union {
                    Some(union) => union.union(rows)?,
                    None => rows,
                });
            }
            let union = union.ok_or_else(|| Error::internal(format!("window {window} has no part")))?;
            session.register_table(kind.name(), union.into_view())?;
        }
        if let Some(key) = self.collect(&session, "replaced_objects", None).await?.1.first() {
            let message = format!("object {key} was replaced while the digests within {window} were built");
            return Err(Error::new(ErrorKind::Conflict, message)
                .with_hint(format!("flowdiff digest {window} --force builds it from the objects as they are now")));
        }
        let frame = self.query(&session, "merge_edges").await?;
        let (edges, totals) = self.write_edges(frame.execute_stream().await?).await?;
        let interfaces = self.collect(&session, "merge_interfaces", Some(FileKind::Interfaces.schema())).await?.0;
        let objects = self.collect(&session, "merge_objects", Some(FileKind::Objects.schema())).await?.0;
        let mut coverage = summed(&objects, parts.iter().map(Part::coverage));
        coverage.interfaces = interfaces.num_rows() as u64;
        coverage.last_seen = last_seen(&interfaces);
        let mut cost = Cost::default();
        let mut made_from = Vec::new();
        let mut state = State::Final;
        for part in &parts {
            match part {
                Part::Published(manifest) => {
                    made_from.push(Origin::of(manifest));
                    if manifest.state == State::Provisional && manifest.window()? != *window {
                        state = State::Provisional;
                    }
                }
                Part::Local(contents) => cost.add(&contents.cost),
            }
        }
        cost.wall_seconds += started.elapsed().as_secs_f64();
        cost.peak_memory_bytes = crate::process::peak_memory_bytes();
        let interfaces = self.write_rows(FileKind::Interfaces, interfaces).await?;
        let objects = self.write_rows(FileKind::Objects, objects).await?;
        Ok(Contents { edges, interfaces, objects, totals, coverage, cost, state, made_from, seen_at })
    }

    /// The rows of one file of a part, without the columns that name its window.
    async fn rows(&self, session: &Session, part: &Part, kind: FileKind) -> Result<DataFrame> {
        let context = session.context();
        let rows = match part {
            Part::Published(manifest) => catalog::read_file(context, &self.catalog, manifest, kind)?,
            Part::Local(contents) => {
                let [(_, edges), (_, interfaces), (_, objects)] = contents.files();
                let written = match kind {
                    FileKind::Edges => edges,
                    FileKind::Interfaces => interfaces,
                    FileKind::Objects => objects,
                };
                let path = written.file.path().display().to_string();
                let schema = kind.schema();
                // Temporary files have no extension.
                let order = vec![kind.key().iter().map(|name| ident(*name).sort(true, true)).collect()];
                let options = ParquetReadOptions::default().file_extension("").schema(&schema).file_sort_order(order);
                context.read_parquet(path, options).await?
            }
        };
        Ok(rows.select(kind.schema().fields().iter().map(|field| ident(field.name())).collect::<Vec<_>>())?)
    }

    async fn query(&self, session: &Session, name: &str) -> Result<DataFrame> {
        session.plan_query(&queries::load(name, None)?, &Params::new(), self.clock.now()).await
    }

    /// The rows of a query as one batch (of the given schema), and the texts of its first column.
    async fn collect(
        &self,
        session: &Session,
        name: &str,
        schema: Option<SchemaRef>,
    ) -> Result<(RecordBatch, Vec<String>)> {
        let stream = self.query(session, name).await?.execute_stream().await?;
        let schema = schema.unwrap_or_else(|| stream.schema());
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        let batches = batches.iter().map(|batch| conform(batch, &schema)).collect::<Result<Vec<_>>>()?;
        let batch = concat_batches(&schema, &batches)?;
        let texts = texts(&batch, 0).into_iter().flatten().collect();
        Ok((batch, texts))
    }

    /// The objects that a published digest has taken.
    ///
    /// # Errors
    /// What the store says.
    pub async fn taken(&self, manifest: &Manifest) -> Result<Taken> {
        let session = self.session.without_tables(Vec::new())?;
        let rows = catalog::read_file(session.context(), &self.catalog, manifest, FileKind::Objects)?;
        let rows = rows.select_columns(&["object_key", "etag", "set_aside"])?;
        let mut taken = Taken::default();
        let mut batches = rows.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            for (row, object) in texts(&batch, 0).into_iter().flatten().zip(texts(&batch, 1)).enumerate() {
                let is_read = batch.column(2).is_null(row);
                let objects = if is_read { &mut taken.read } else { &mut taken.set_aside };
                objects.extend([object]);
            }
        }
        Ok(taken)
    }
}

/// The values of a column of text.
fn texts(batch: &RecordBatch, column: usize) -> Vec<Option<String>> {
    let column = batch.column(column).as_string_view_opt();
    column.into_iter().flat_map(|column| column.iter().map(|text| text.map(str::to_owned))).collect()
}

impl Part {
    fn coverage(&self) -> &Coverage {
        match self {
            Part::Published(manifest) => &manifest.coverage,
            Part::Local(contents) => &contents.coverage,
        }
    }
}

/// The coverage of a window, by its objects and by that of its parts. Each object counts once.
fn summed<'a>(objects: &RecordBatch, parts: impl Iterator<Item = &'a Coverage> + Clone) -> Coverage {
    let sum = |wanted: &dyn Fn(&str) -> bool| {
        let schema = objects.schema();
        let columns = schema.fields().iter().zip(objects.columns()).filter(|(field, _)| wanted(field.name()));
        let sums = columns.flat_map(|(_, column)| column.as_primitive_opt::<Int64Type>());
        sums.flat_map(|column| column.values().iter()).map(|count| count.unsigned_abs()).sum::<u64>()
    };
    let set_aside = objects.column_by_name("set_aside").map_or(0, |column| column.len() - column.null_count()) as u64;
    let samples: BTreeSet<&String> = parts.clone().flat_map(|part| &part.refused_samples).collect();
    let silent: BTreeSet<&String> = parts.clone().flat_map(|part| &part.silent_flow_logs).collect();
    let most = |of: fn(&Coverage) -> u64| parts.clone().map(of).max().unwrap_or(0);
    Coverage {
        objects_listed: objects.num_rows() as u64,
        objects_read: objects.num_rows() as u64 - set_aside,
        objects_set_aside: set_aside,
        // The listings of neighbours see the same keys.
        other_keys: most(|part| part.other_keys),
        misfiled: most(|part| part.misfiled),
        records: sum(&|name| name == "in_window"),
        nodata: sum(&|name| name == "nodata"),
        skipdata: sum(&|name| name == "skipdata"),
        lines_refused: sum(&|name| name.starts_with("refused_")),
        refused_samples: samples.into_iter().take(SAMPLES_MAX).cloned().collect(),
        interfaces: 0,
        last_seen: None,
        silent_flow_logs: silent.into_iter().cloned().collect(),
    }
}

/// Objects that a digest has taken: keys with the tags of the contents that were read, and of those set aside.
#[derive(Debug, Default)]
pub struct Taken {
    read: HashMap<String, Option<String>>,
    set_aside: HashMap<String, Option<String>>,
}

/// What a digest knows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    No,
    /// This very content: it was read, or looked at and set aside.
    Same,
    /// Other contents.
    Replaced,
}

impl Taken {
    /// Whether this very content was read.
    pub fn holds(&self, object: &Object) -> bool {
        self.read.get(object.location.as_ref()) == Some(&object.etag)
    }

    /// What is known of an object, be it set aside.
    pub fn knows(&self, object: &Object) -> Known {
        let key = object.location.as_ref();
        match self.read.get(key).or_else(|| self.set_aside.get(key)) {
            None => Known::No,
            Some(etag) if *etag == object.etag => Known::Same,
            Some(_) => Known::Replaced,
        }
    }

    /// Whether an object has other contents now than when it was read.
    pub(super) fn is_replaced(&self, objects: &[Object]) -> bool {
        let other = |object: &Object| self.read.get(object.location.as_ref()).is_some_and(|etag| *etag != object.etag);
        objects.iter().any(other)
    }

    /// The keys of the objects read, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.read.keys().map(String::as_str)
    }

    /// Takes what another digest has read besides.
    pub(super) fn extend(&mut self, other: Taken) {
        self.read.extend(other.read);
    }

    /// Refuses to build again from the objects of `keys`, each given once, if there were others.
    pub(super) fn refuse_loss<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Result<()> {
        match self.read.len() - keys.filter(|key| self.read.contains_key(*key)).count() {
            0 => Ok(()),
            gone => {
                let message = format!("{gone} objects of the published digest are not there to build it from");
                Err(Error::new(ErrorKind::Conflict, message)
                    .with_hint("the digest is kept as it is: built again it would lose them"))
            }
        }
    }
}

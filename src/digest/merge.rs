//! The contents of a digest from those of its parts, published or just built: the parts' records are the window's, each
//! once.

use super::Builder;
use super::contents::Contents;
use super::coverage::last_seen;
use crate::catalog::{self, Cost, Coverage, FileKind, Manifest, Origin, State};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Params, Session, queries};
use crate::source::{Checksum, Content};
use crate::window::Window;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
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
        let mut replaced = self.query(&session, "replaced_objects").await?.execute_stream().await?;
        if let Some(keys) = replaced.try_next().await?.filter(|keys| keys.num_rows() > 0) {
            let key = keys.column(0).as_string_view().value(0);
            let message = format!("object {key} was replaced while the digests within {window} were built");
            return Err(Error::new(ErrorKind::Conflict, message)
                .with_hint(format!("flowdiff digest {window} --force builds it from the objects as they are now")));
        }
        let frame = self.query(&session, "merge_edges").await?;
        let (edges, totals) = self.write_edges(frame.execute_stream().await?).await?;
        let mut coverage = coverage_of(parts.iter().map(Part::coverage));
        let rows = self.query(&session, "merge_interfaces").await?.execute_stream().await?;
        let interfaces = self.write_rows(FileKind::Interfaces, rows, |batch| {
            coverage.interfaces += batch.num_rows() as u64;
            coverage.last_seen = coverage.last_seen.max(last_seen(batch));
        });
        let interfaces = interfaces.await?;
        let rows = self.query(&session, "merge_objects").await?.execute_stream().await?;
        let objects = self.write_rows(FileKind::Objects, rows, |batch| add_objects(&mut coverage, batch)).await?;
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
            let [keys, tags, set_aside] = [0, 1, 2].map(|column| batch.column(column).as_string_view());
            for ((key, tag), set_aside) in keys.iter().zip(tags).zip(set_aside) {
                let Content { key, tag } = Content::of(key.unwrap_or_default(), tag);
                let objects = if set_aside.is_none() { &mut taken.read } else { &mut taken.set_aside };
                objects.insert(key, tag);
            }
        }
        Ok(taken)
    }
}

impl Part {
    fn coverage(&self) -> &Coverage {
        match self {
            Part::Published(manifest) => &manifest.coverage,
            Part::Local(contents) => &contents.coverage,
        }
    }
}

/// What the parts of a window know of it beside its objects.
fn coverage_of<'a>(parts: impl Iterator<Item = &'a Coverage> + Clone) -> Coverage {
    let samples: BTreeSet<&String> = parts.clone().flat_map(|part| &part.refused_samples).collect();
    let silent: BTreeSet<&String> = parts.clone().flat_map(|part| &part.silent_flow_logs).collect();
    let most = |of: fn(&Coverage) -> u64| parts.clone().map(of).max().unwrap_or(0);
    Coverage {
        // The listings of neighbours see the same keys.
        other_keys: most(|part| part.other_keys),
        misfiled: most(|part| part.misfiled),
        refused_samples: samples.into_iter().take(SAMPLES_MAX).cloned().collect(),
        silent_flow_logs: silent.into_iter().cloned().collect(),
        ..Coverage::default()
    }
}

/// Adds objects of a window, each once.
fn add_objects(coverage: &mut Coverage, objects: &RecordBatch) {
    let sum = |wanted: &dyn Fn(&str) -> bool| {
        let schema = objects.schema();
        let columns = schema.fields().iter().zip(objects.columns()).filter(|(field, _)| wanted(field.name()));
        let sums = columns.flat_map(|(_, column)| column.as_primitive_opt::<Int64Type>());
        sums.flat_map(|column| column.values().iter()).map(|count| count.unsigned_abs()).sum::<u64>()
    };
    let set_aside = objects.column_by_name("set_aside").map_or(0, |column| column.len() - column.null_count()) as u64;
    coverage.objects_listed += objects.num_rows() as u64;
    coverage.objects_read += objects.num_rows() as u64 - set_aside;
    coverage.objects_set_aside += set_aside;
    coverage.records += sum(&|name| name == "in_window");
    coverage.nodata += sum(&|name| name == "nodata");
    coverage.skipdata += sum(&|name| name == "skipdata");
    coverage.lines_refused += sum(&|name| name.starts_with("refused_"));
}

/// Objects that a digest has taken: keys with the tags of the contents that were read, and of those set aside. About 40
/// bytes for each.
#[derive(Debug, Default)]
pub struct Taken {
    read: HashMap<Checksum, Option<Checksum>>,
    set_aside: HashMap<Checksum, Option<Checksum>>,
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
    pub fn holds(&self, content: &Content) -> bool {
        self.read.get(&content.key) == Some(&content.tag)
    }

    /// What is known of an object, be it set aside.
    pub fn knows(&self, content: &Content) -> Known {
        match self.read.get(&content.key).or_else(|| self.set_aside.get(&content.key)) {
            None => Known::No,
            Some(tag) if *tag == content.tag => Known::Same,
            Some(_) => Known::Replaced,
        }
    }

    /// Whether an object has other contents now than when it was read.
    pub(super) fn is_replaced(&self, content: &Content) -> bool {
        self.read.get(&content.key).is_some_and(|tag| *tag != content.tag)
    }

    /// The keys of the objects read, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Checksum> {
        self.read.keys().copied()
    }

    /// Takes what another digest has read besides.
    pub(super) fn extend(&mut self, other: Taken) {
        self.read.extend(other.read);
    }

    /// Refuses to build again from the objects of `keys`, each given once, if there were others.
    pub(super) fn refuse_loss(&self, keys: impl Iterator<Item = Checksum>) -> Result<()> {
        match self.read.len() - keys.filter(|key| self.read.contains_key(key)).count() {
            0 => Ok(()),
            gone => {
                let message = format!("{gone} objects of the published digest are not there to build it from");
                Err(Error::new(ErrorKind::Conflict, message)
                    .with_hint("the digest is kept as it is: built again it would lose them"))
            }
        }
    }
}

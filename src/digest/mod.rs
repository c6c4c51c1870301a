//! One window to one digest: runs `queries/edges.sql`, counts coverage, writes sorted Parquet, publishes.
//! In: a source, a catalog, windows. Out: manifests. Knows nothing of HTTP or of diffs.
//!
//! What a digest holds is made in one of three ways, which give the same files: from raw objects (`raw`), from raw
//! objects that many windows share, each read once (`range`), and from published digests (`merge`).

mod contents;
mod coverage;
mod merge;
mod range;
mod raw;
mod sighted;
mod write;

pub use coverage::{Cadences, LOOKBACK};
pub use merge::{Known, Taken};
pub use range::{Ended, Objects, Target};
pub use sighted::Sighted;

use crate::catalog::{Catalog, FORMAT_VERSION, Manifest, Origin, Rules, State};
use crate::clock::{Clock, Timestamp};
use crate::error::{Context, Error, Result};
use crate::flow::{AddressRule, PortRule};
use crate::meters;
use crate::scan::{self, Report};
use crate::session::{Session, queries};
use crate::source::Source;
use crate::window::{Prefer, Tiling, Window, tile};
use chrono::TimeDelta;
use contents::Contents;
use datafusion::physical_plan::displayable;
use merge::Part;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How digests are built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Which port of a flow is ephemeral. One rule for a store.
    pub port_rule: PortRule,
    /// Whose addresses make an edge. One rule for a store.
    pub addresses: AddressRule,
    /// How long after a window's stop objects with its records may still arrive; default 30 minutes. AWS gives no bound.
    #[serde(with = "crate::config::duration")]
    pub lateness: TimeDelta,
    /// Fold below the plan; off, `edges.sql` and `interfaces.sql` run as they stand, in two passes over the objects.
    pub fold: bool,
    /// Rows of a row group. Not to be changed within a store: the same digest would have other bytes.
    pub row_group_rows: usize,
    /// Windows of a backfill that are written and published at once, while the next ones are read; default 2. Each holds
    /// its edges until they are written.
    pub publishing_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            port_rule: PortRule::default(),
            addresses: AddressRule::default(),
            lateness: TimeDelta::minutes(30),
            fold: true,
            row_group_rows: 131_072,
            publishing_max: 2,
        }
    }
}

impl Options {
    /// The rules that a store built with these options has.
    pub fn rules(&self) -> Result<Rules> {
        Ok(Rules {
            format_version: FORMAT_VERSION,
            port_rule: self.port_rule,
            addresses: self.addresses,
            query_checksum: write::checksum(&queries::load("edges", None)?.text),
        })
    }
}

/// Everything that building digests needs.
#[derive(Clone, Debug)]
pub struct Builder {
    /// Where the flow logs are.
    pub source: Source,
    /// Where the digests go.
    pub catalog: Catalog,
    /// Memory, threads and spill folder.
    pub session: Session,
    /// How objects are read.
    pub scan: scan::Options,
    /// How they are listed.
    pub listing: crate::source::Options,
    /// How digests are built.
    pub options: Options,
    /// Tells whether a window may still change.
    pub clock: Clock,
}

/// A digest that was asked for.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether this call published it; else it was there already.
    pub is_new: bool,
}

/// What a digest would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Objects to read.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// LIST requests, those of the estimate included.
    pub list_requests: u64,
    /// GET requests.
    pub get_requests: u64,
    /// PUT requests; a file of more than 8 MiB takes one for each part.
    pub put_requests: u64,
}

/// What publishing a first version to a store in use takes: the versions of the window are listed, then the days, and for
/// narrower digests each day of the window, and in the end what follows it; the rules are read twice; a probe is put twice,
/// then three files and the manifest.
const CATALOG_LISTS: u64 = 3;
const CATALOG_GETS: u64 = 2;
const CATALOG_PUTS: u64 = 6;

impl Builder {
    /// Builds and publishes the digest of `window`.
    ///
    /// A final digest that is published already is returned as it is. A provisional one takes up the objects that have
    /// arrived since. Where final digests of parts of the window are published, these are merged, and objects are read
    /// only for the rest. `force` builds from the objects alone, whatever is published. A build that gives the same
    /// files and state publishes nothing. Figures go to `report` while the build runs.
    ///
    /// # Errors
    /// `NotFound` if the source has no object of that time: nothing is published then. `Conflict` if the store has
    /// other rules, if somebody else published first, or if `force` would lose objects that the source no longer has;
    /// `Unavailable`, `Data` and so on as the source and the store say. Damaged objects are no error: they are set
    /// aside by name.
    #[tracing::instrument(name = "digest", skip_all, fields(%window))]
    pub async fn build(&self, window: &Window, force: bool, report: &Arc<Report>) -> Result<Built> {
        let before = self.published(window).await?;
        if let Some(manifest) = before.as_ref().filter(|manifest| manifest.state == State::Final && !force) {
            return Ok(Built { manifest: manifest.clone(), is_new: false });
        }
        let made = match (&before, force) {
            (before, true) => self.rebuilt(window, before.as_ref(), report).await,
            (Some(before), false) => self.updated(window, before, report).await,
            (None, false) => self.composed(window, report).await,
        };
        let contents = made.context(|| format!("digest window {window}"))?;
        self.publish(window, before, contents).await
    }

    /// Makes the digest of `window` from published digests alone, reading no object.
    ///
    /// # Errors
    /// `NotFound` naming what no final digest covers; `Conflict` if it would lose objects that are in the published
    /// digest; else as [`Builder::build`].
    pub async fn roll_up(&self, window: &Window) -> Result<Built> {
        let before = self.published(window).await?;
        let (tiling, tiles) = self.tiles(window, window.width()).await?;
        if let Some(gap) = tiling.gaps.first() {
            let message = format!("window {window} cannot be rolled up: no final digest covers {gap}");
            return Err(Error::not_found(message).with_hint(format!("flowdiff backfill builds it: {gap}")));
        }
        let origins: Vec<Origin> = tiles.iter().map(Origin::of).collect();
        if let Some(manifest) = before.as_ref().filter(|manifest| manifest.made_from == origins) {
            return Ok(Built { manifest: manifest.clone(), is_new: false });
        }
        if let Some(before) = &before {
            // It may have been built from objects that arrived after the narrower digests were.
            let mut taken = Taken::default();
            for tile in &tiles {
                taken.extend(self.taken(tile).await?);
            }
            self.taken(before).await?.refuse_loss(taken.keys()).context(|| format!("roll up {window}"))?;
        }
        let parts = tiles.into_iter().map(Box::new).map(Part::Published).collect();
        let contents = self.merged(window, parts, self.clock.now()).await.context(|| format!("roll up {window}"))?;
        self.publish(window, before, contents).await
    }

    /// The physical plan that [`Builder::build`] runs for the edges, as EXPLAIN shows it.
    pub async fn explain(&self, window: &Window) -> Result<String> {
        let report = Report::new();
        let scope = self.scope(window, &report).await?;
        let plan = self.plan("edges", window, scope.objects, &report, self.options.fold).await?;
        Ok(displayable(plan.1.as_ref()).indent(false).to_string())
    }

    /// What building the digest of `window` from raw objects would take, from the listing alone: no object is read.
    pub async fn estimate(&self, window: &Window) -> Result<Estimate> {
        let report = Report::new();
        let scope = self.scope(window, &report).await?;
        let days = (window.stop().date_naive() - window.start().date_naive()).num_days() + 1;
        Ok(Estimate {
            objects: scope.objects.len() as u64,
            bytes: scope.objects.iter().map(|object| object.size).sum(),
            list_requests: report.figures().list_requests + CATALOG_LISTS + days.unsigned_abs(),
            get_requests: scope.objects.len() as u64 + CATALOG_GETS,
            put_requests: CATALOG_PUTS,
        })
    }

    /// The newest digest of a window, once the store is known to have the builder's rules.
    pub async fn published(&self, window: &Window) -> Result<Option<Manifest>> {
        self.catalog.adopt_rules(&self.options.rules()?).await?;
        self.catalog.latest(window).await
    }

    /// The final digests, narrower than `width`, that tile most of `window`, and how they do.
    async fn tiles(&self, window: &Window, width: TimeDelta) -> Result<(Tiling, Vec<Manifest>)> {
        let mut manifests = self.catalog.list_within(window).await?;
        manifests.retain(|manifest| {
            manifest.state == State::Final && manifest.window().is_ok_and(|window| window.width() < width)
        });
        let windows = manifests.iter().map(Manifest::window).collect::<Result<Vec<_>>>()?;
        let tiling = tile(window, &windows, Prefer::Fewest);
        manifests.retain(|manifest| manifest.window().is_ok_and(|window| tiling.tiles.contains(&window)));
        Ok((tiling, manifests))
    }

    /// From the objects alone.
    async fn rebuilt(&self, window: &Window, before: Option<&Manifest>, report: &Arc<Report>) -> Result<Contents> {
        let now = self.clock.now();
        let scope = self.scope(window, report).await?.not_empty(self)?;
        if let Some(before) = before {
            self.taken(before).await?.refuse_loss(scope.keys())?;
        }
        self.read(window, scope, report, now).await
    }

    /// What is published, with the objects that have arrived since.
    async fn updated(&self, window: &Window, before: &Manifest, report: &Arc<Report>) -> Result<Contents> {
        let now = self.clock.now();
        let taken = self.taken(before).await?;
        let mut scope = self.scope(window, report).await?;
        if scope.objects.iter().any(|object| taken.is_replaced(&object.content())) {
            return self.read(window, scope, report, now).await;
        }
        let silent_flow_logs = scope.silent_flow_logs.clone();
        scope.objects.retain(|object| !taken.holds(&object.content()));
        let late = self.read(window, scope, report, now).await?;
        let mut contents = self
            .merged(window, vec![Part::Published(Box::new(before.clone())), Part::Local(Box::new(late))], now)
            .await?;
        contents.coverage.silent_flow_logs = silent_flow_logs;
        Ok(contents)
    }

    /// From published digests of its parts where there are any, and from objects for the rest. A digest that lacks an
    /// object which has come since is no such part: the object's records would be lost in its window, and count as taken.
    async fn composed(&self, window: &Window, report: &Arc<Report>) -> Result<Contents> {
        let now = self.clock.now();
        let (_, mut tiles) = self.tiles(window, window.width()).await?;
        let scope = self.scope(window, report).await?;
        let mut spans = Vec::new();
        for manifest in std::mem::take(&mut tiles) {
            let (span, taken) = (manifest.window()?, self.taken(&manifest).await?);
            let reach = self.reach(&span);
            let mut within = scope.objects.iter().filter(|object| reach.contains(&object.name.file_time));
            if within.all(|object| taken.holds(&object.content())) {
                spans.push(span);
                tiles.push(manifest);
            }
        }
        if tiles.is_empty() {
            return self.read(window, scope.not_empty(self)?, report, now).await;
        }
        let mut parts: Vec<Part> = tiles.into_iter().map(Box::new).map(Part::Published).collect();
        for gap in tile(window, &spans, Prefer::Fewest).gaps {
            let own = report.part();
            let scope = self.scope(&gap, &own).await?;
            parts.push(Part::Local(Box::new(self.read(&gap, scope, &own, now).await?)));
        }
        self.merged(window, parts, now).await
    }

    /// Publishes what was made as the version after `before`, unless it is the same.
    async fn publish(&self, window: &Window, before: Option<Manifest>, contents: Contents) -> Result<Built> {
        let state = if is_open(window, &self.options, contents.seen_at) { State::Provisional } else { contents.state };
        if let Some(manifest) = before.as_ref().filter(|before| before.state == state && contents.is_in(before)) {
            return Ok(Built { manifest: manifest.clone(), is_new: false });
        }
        let previous = before.map(|manifest| manifest.version);
        let (draft, _files) = contents.into_draft(window, previous, state, self.options.rules()?);
        let cost = draft.cost;
        let manifest = self.catalog.publish(draft).await?;
        // Another process may have published the very same files; what they cost it is not what they cost here.
        let is_new = manifest.cost == cost;
        if is_new {
            meters::digest_built(state.name(), cost.wall_seconds);
        }
        Ok(Built { is_new, manifest })
    }
}

/// Whether a window is still open at `now`.
pub fn is_open(window: &Window, options: &Options, now: Timestamp) -> bool {
    now < window.stop() + options.lateness
}

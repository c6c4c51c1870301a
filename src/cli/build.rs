//! The digests that a command wants, built if they are not published, and what is said of it.

use super::setup::Setup;
use crate::catalog::Manifest;
use crate::diff::printable;
use crate::digest::Builder;
use crate::error::{ErrorKind, Result};
use crate::scan::Report;
use crate::window::{Prefer, Window, tile};

/// How many of the digests that a window was made from are named.
const ORIGINS_TOLD: usize = 5;

impl Setup {
    /// The newest digest of a window, built if it is not published.
    pub(super) async fn digest(&self, window: &Window, no_build: bool) -> Result<Manifest> {
        let catalog = self.catalog(!no_build && self.config().source.url.is_some())?;
        if let Some(manifest) = catalog.latest(window).await? {
            return Ok(manifest);
        }
        if no_build {
            return Err(catalog.not_found(window).await);
        }
        if self.config().source.url.is_some() {
            self.note(&format!("window {window} is not published: building it"));
            return self.build(&self.builder()?, window, false).await;
        }
        // Without flow logs, digests that tile the window may still make it. A store that holds none is not written to:
        // it may be another place than was meant.
        let not_found = async || {
            let error = catalog.not_found(window).await;
            error.with_hint("give --source, and it is built from the flow logs there")
        };
        if catalog.windows_within(window).await?.is_empty() {
            return Err(not_found().await);
        }
        self.check_store(&catalog).await?;
        match self.merger()?.roll_up(window).await {
            Ok(built) => {
                self.tell_origins(&built.manifest)?;
                Ok(built.manifest)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(not_found().await),
            Err(error) => Err(error),
        }
    }

    /// Says which published digests a window was made from, and what was read from objects.
    fn tell_origins(&self, manifest: &Manifest) -> Result<()> {
        if manifest.made_from.is_empty() {
            return Ok(());
        }
        let tiles =
            manifest.made_from.iter().map(|tile| Window::new(tile.start, tile.stop)).collect::<Result<Vec<_>>>()?;
        let listed: Vec<String> = tiles.iter().take(ORIGINS_TOLD).map(Window::to_string).collect();
        let more = if tiles.len() > ORIGINS_TOLD { ", ..." } else { "" };
        self.note(&format!("  made from {} published digests: {}{more}", tiles.len(), listed.join(", ")));
        for gap in tile(&manifest.window()?, &tiles, Prefer::Fewest).gaps {
            self.note(&format!("  from objects: {gap}"));
        }
        Ok(())
    }

    /// Builds one window with progress, and says what came of it.
    pub(super) async fn build(&self, builder: &Builder, window: &Window, force: bool) -> Result<Manifest> {
        self.check_store(&builder.catalog).await?;
        let report = Report::of_objects();
        let meter = self.meter(&report);
        let built = builder.build(window, force, &report).await;
        drop(meter);
        let built = built?;
        let manifest = built.manifest;
        let (coverage, totals) = (&manifest.coverage, &manifest.totals);
        self.note(&format!(
            "{} version {} ({}): {} edges from {} records of {} objects in {:.2} s",
            if built.is_new { "published" } else { "already published" },
            manifest.version,
            manifest.state.name(),
            totals.edges,
            coverage.records,
            coverage.objects_read,
            manifest.cost.wall_seconds,
        ));
        if built.is_new {
            self.tell_origins(&manifest)?;
        }
        let blind = [
            (coverage.objects_set_aside, "objects set aside"),
            (coverage.lines_refused, "lines refused"),
            (coverage.skipdata, "SKIPDATA records (flows were lost)"),
            (coverage.silent_flow_logs.len() as u64, "flow logs fell silent"),
            (coverage.other_keys, "keys that are no flow logs"),
        ];
        for (count, what) in blind.into_iter().filter(|(count, _)| *count > 0) {
            self.note(&format!("  {count} {what}"));
        }
        let figures = report.figures();
        for sample in figures.set_aside_samples.iter().chain(&figures.refused_samples) {
            self.note(&format!("  {}", printable(sample)));
        }
        Ok(manifest)
    }
}

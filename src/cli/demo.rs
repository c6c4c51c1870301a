//! `demo`: sample logs, their digests, and the diff that shows what was planted.

mod sample;

use super::setup::Setup;
use crate::error::{Context, Error, Result};
use crate::output::Format;
use sample::{demo_hour, write_sample};
use std::path::Path;

/// Writes the sample below `dir`, digests both hours and prints what differs.
pub(super) async fn run(setup: &Setup, dir: &Path) -> Result<()> {
    let (logs, digests) = (dir.join("logs"), dir.join("digests"));
    std::fs::create_dir_all(&logs).context(|| format!("make folder {}", logs.display()))?;
    let sample = write_sample(&logs, demo_hour())?;
    setup.note(&format!(
        "wrote {} flow-log objects with {} records ({} bytes) below {}",
        sample.objects,
        sample.records,
        sample.bytes,
        logs.display()
    ));
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::invalid(format!("{} is not UTF-8: choose another --dir", path.display())))
    };
    let (source, store) = (text(&logs)?, text(&digests)?);
    let setup = setup.with_urls(&source, &store);
    let builder = setup.builder()?;
    let before = setup.build(&builder, &sample.before, false).await?;
    let after = setup.build(&builder, &sample.after, false).await?;
    setup.note("\nplanted between the two hours:");
    for planted in &sample.planted {
        setup.note(&format!("  {} ({}): {}", planted.host, planted.interface_id, planted.what));
    }
    setup.note("\nwhat differs, as each interface reports it:");
    let options = setup.config().diff.clone();
    let now = setup.clock.now();
    let rows = crate::diff::diff(&setup.session()?, &setup.catalog(false)?, &before, &after, &options, now).await?;
    let rows = Box::pin(brief(rows)?);
    setup.write(rows, Format::Table).await?;
    setup.note(&format!(
        "\nevidence: new, gone: an interface that would have seen it was watched in the other hour;\n\
         unobserved_*: nobody watched, so nobody knows; volume: the bytes moved.\n\n\
         try next:\n\
         \x20 flowdiff diff {before} {after} --by link --source {source} --store {store}\n\
         \x20 flowdiff sql --source {source} --store {store} \"SELECT dstport, count(*) AS flows FROM flows WHERE action = 'REJECT' GROUP BY dstport ORDER BY flows DESC LIMIT 5\"\n\
         \x20 flowdiff query top_talkers --store {store} --param window_start={start} --param window_stop={stop}\n\
         \x20 flowdiff graph {after} --source {source} --store {store} > edges.dot\n\
         \x20 flowdiff windows --store {store}\n\
         \x20 flowdiff sql --source {source} --store {store}        # a prompt",
        before = sample.before,
        after = sample.after,
        start = crate::window::format_time(sample.after.start()),
        stop = crate::window::format_time(sample.after.stop()),
    ));
    Ok(())
}

/// The columns of a diff that a first look needs.
fn brief(
    rows: datafusion::execution::SendableRecordBatchStream,
) -> Result<
    datafusion::physical_plan::stream::RecordBatchStreamAdapter<
        impl futures::Stream<Item = datafusion::error::Result<datafusion::arrow::array::RecordBatch>>,
    >,
> {
    use futures::StreamExt;
    let names = [
        "change",
        "evidence",
        "interface_id",
        "srcaddr",
        "dstaddr",
        "srcport",
        "dstport",
        "protocol",
        "bytes",
        "bytes_before",
    ];
    let schema = rows.schema();
    let columns: Vec<usize> = names.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let brief = std::sync::Arc::new(schema.project(&columns)?);
    let batches = rows.map(move |batch| Ok(batch?.project(&columns)?));
    Ok(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(brief, batches))
}

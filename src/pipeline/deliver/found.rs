//! What a comparison found, as much of it as a message holds. In: the rows of a diff. Out: counts, the rows that moved most,
//! a checksum over all that the filter wants. Memory: the rows of one message and one batch, whatever the diff.

use super::filter::Filter;
use super::options::{Body, Report};
use super::record::Contents;
use super::row::{Row, Rows};
use crate::diff::Options as DiffOptions;
use crate::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use ring::digest::{Context as Checksum, SHA256};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) counts: Counts,
    /// The rows of the message, those that moved most bytes first.
    pub(super) rows: Vec<Row<String>>,
    checksum: String,
}

/// Rows by kind of change, those left out of the message included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) added: u64,
    pub(super) removed: u64,
    pub(super) changed: u64,
}

impl Counts {
    pub(super) fn total(&self) -> u64 {
        self.added + self.removed + self.changed
    }
}

impl Found {
    /// Rows that the message leaves out.
    pub(super) fn left_out(&self) -> u64 {
        self.counts.total() - self.rows.len() as u64
    }

    pub(super) fn contents(&self) -> Contents {
        Contents { rows: self.counts.total(), checksum: self.checksum.clone() }
    }
}

/// How a report's digests are compared.
pub(super) fn diff_options(report: &Report, defaults: &DiffOptions) -> DiffOptions {
    DiffOptions {
        by: report.by,
        ratio: report.ratio.unwrap_or(defaults.ratio),
        min_bytes: report.min_bytes.unwrap_or(defaults.min_bytes),
    }
}

/// Takes what a report tells out of a diff.
///
/// # Errors
/// What the stream says.
pub(super) async fn collect(mut diff: SendableRecordBatchStream, report: &Report) -> Result<Found> {
    let filter = Filter::new(report)?;
    let mut counts = Counts::default();
    let mut checksum = Checksum::new(&SHA256);
    let mut largest = Largest::new(report.rows_max());
    while let Some(batch) = diff.next().await {
        let batch = batch?;
        for row in Rows::new(&batch)?.iter().filter(|row| filter.wants(row)) {
            match row.change {
                "added" => counts.added += 1,
                "removed" => counts.removed += 1,
                _ => counts.changed += 1,
            }
            checksum.update(&identity(&row, report.body)?);
            checksum.update(b"\n");
            largest.offer(&row);
        }
    }
    let checksum = checksum.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(Found { counts, rows: largest.into_rows(), checksum })
}

/// What makes a row another one. People are told again when other edges changed, programs also when a counter did.
fn identity(row: &Row<&str>, body: Body) -> Result<Vec<u8>> {
    Ok(match body {
        Body::Flowdiff => serde_json::to_vec(row)?,
        Body::Slack | Body::Alertmanager | Body::Event => {
            let ports = (row.srcport, row.dstport, row.protocol, row.action);
            let names = (row.account_id, row.interface_id, row.srcaddr, row.dstaddr);
            serde_json::to_vec(&(row.change, row.evidence, names, ports))?
        }
    })
}

/// The rows that moved most bytes; of equals, those that came first.
struct Largest {
    rows_max: usize,
    rows: BTreeMap<(Reverse<u64>, u64), Row<String>>,
    offered: u64,
}

impl Largest {
    fn new(rows_max: usize) -> Largest {
        Largest { rows_max, rows: BTreeMap::new(), offered: 0 }
    }

    fn offer(&mut self, row: &Row<&str>) {
        let place = (Reverse(row.moved_bytes()), self.offered);
        self.offered += 1;
        if self.rows.len() < self.rows_max || self.rows.last_key_value().is_some_and(|(last, _)| place < *last) {
            self.rows.insert(place, row.to_owned());
            if self.rows.len() > self.rows_max {
                self.rows.pop_last();
            }
        }
    }

    fn into_rows(self) -> Vec<Row<String>> {
        self.rows.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn the_rows_that_moved_most_are_kept_in_order() {
        let mut largest = Largest::new(3);
        for bytes in [5, 9, 1, 9, 7, 2] {
            largest.offer(&Row { bytes, ..row() });
        }
        let kept: Vec<i64> = largest.into_rows().iter().map(|row| row.bytes).collect();
        assert_eq!(kept, [9, 9, 7]);
        let mut none = Largest::new(0);
        none.offer(&row());
        assert!(none.into_rows().is_empty());
    }

    #[test]
    fn people_are_not_told_again_because_a_counter_moved() {
        let (one, other) = (row(), Row { bytes: 1300, ..row() });
        let is_same = |body| identity(&one, body).unwrap() == identity(&other, body).unwrap();
        assert!(is_same(Body::Slack) && is_same(Body::Alertmanager) && is_same(Body::Event));
        assert!(!is_same(Body::Flowdiff));
        let elsewhere = Row { dstport: Some(444), ..row() };
        assert_ne!(identity(&one, Body::Slack).unwrap(), identity(&elsewhere, Body::Slack).unwrap());
    }
}

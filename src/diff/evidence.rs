//! What two digests could see, so that absence can be told from blindness. In: their interface and object files and
//! their coverage. Out: the interfaces that `before` observed, and those that `after` observed whole, as
//! `queries/whole_interfaces.sql` defines it.

use super::Comparison;
use crate::catalog::{FileKind, Manifest, State};
use crate::error::{Error, Result};
use crate::session::{Params, queries};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What decides between "changed" and "not seen".
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Interfaces that have a row in `before`.
    pub(super) observed_before: Interfaces,
    /// Interfaces that `after` observed, with nothing of them missing.
    pub(super) whole_after: Interfaces,
}

/// A set of interfaces, by account.
#[derive(Debug, Default)]
pub(super) struct Interfaces(HashMap<String, HashSet<String>>);

impl Interfaces {
    /// Collects the columns `account_id` and `interface_id`.
    ///
    /// # Errors
    /// Those of the plan.
    pub(super) async fn collect(frame: DataFrame) -> Result<Interfaces> {
        let mut interfaces = Interfaces::default();
        let mut batches = frame.select_columns(&KEY)?.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            let [accounts, ids] = [batch.column(0), batch.column(1)].map(|column| {
                let column = column.as_string_view_opt();
                column.ok_or_else(|| Error::internal("the columns that name an interface are no text"))
            });
            for (account, id) in accounts?.iter().zip(ids?).filter_map(|(account, id)| account.zip(id)) {
                interfaces.insert(account, id);
            }
        }
        Ok(interfaces)
    }

    pub(super) fn insert(&mut self, account: &str, interface: &str) {
        if !self.contains(account, interface) {
            self.0.entry(account.to_owned()).or_default().insert(interface.to_owned());
        }
    }

    pub(super) fn contains(&self, account: &str, interface: &str) -> bool {
        self.0.get(account).is_some_and(|interfaces| interfaces.contains(interface))
    }

    /// The set as a table of `account_id` and `interface_id`.
    ///
    /// # Errors
    /// None that is known: the columns are of one length.
    pub(super) fn to_table(&self) -> Result<MemTable> {
        let pairs = || self.0.iter().flat_map(|(account, ids)| ids.iter().map(move |id| (account, id)));
        let accounts: ArrayRef = Arc::new(StringViewArray::from_iter_values(pairs().map(|pair| pair.0)));
        let ids: ArrayRef = Arc::new(StringViewArray::from_iter_values(pairs().map(|pair| pair.1)));
        let batch = RecordBatch::try_from_iter([(KEY[0], accounts), (KEY[1], ids)])?;
        Ok(MemTable::try_new(batch.schema(), vec![vec![batch]])?)
    }
}

const KEY: [&str; 2] = ["account_id", "interface_id"];

impl Comparison<'_> {
    /// Reads the evidence of two digests.
    pub(super) async fn evidence(&self, before: &Manifest, after: &Manifest) -> Result<Evidence> {
        let observed_before = async { Interfaces::collect(self.file(before, FileKind::Interfaces)?).await };
        let whole_after = async {
            match after.state {
                State::Final => Interfaces::collect(self.whole(after).await?).await,
                State::Provisional => Ok(Interfaces::default()),
            }
        };
        let (observed_before, whole_after) = tokio::try_join!(observed_before, whole_after)?;
        Ok(Evidence { observed_before, whole_after })
    }

    /// The interfaces that a digest observed and whose coverage is whole.
    async fn whole(&self, manifest: &Manifest) -> Result<DataFrame> {
        let session = self.session.without_tables(Vec::new())?;
        session.register_table("interfaces", self.file(manifest, FileKind::Interfaces)?.into_view())?;
        session.register_table("objects", self.file(manifest, FileKind::Objects)?.into_view())?;
        session.register_table("silent", Arc::new(silent(manifest)?))?;
        session.plan_query(&queries::load("whole_interfaces", None)?, &Params::new(), self.now).await
    }
}

/// Accounts and regions of the flow logs that fell silent.
fn silent(manifest: &Manifest) -> Result<MemTable> {
    let parts = |index: usize| {
        let logs = manifest.coverage.silent_flow_logs.iter();
        Arc::new(StringViewArray::from_iter(logs.map(|log| log.split('/').nth(index))))
    };
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    let schema = Arc::new(Schema::new(vec![text("account_id"), text("region")]));
    let batch = RecordBatch::try_new(schema.clone(), vec![parts(0), parts(1)])?;
    Ok(MemTable::try_new(schema, vec![vec![batch]])?)
}

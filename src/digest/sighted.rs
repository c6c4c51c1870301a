//! What listings say of objects that are compared with digests and not read: so little that a day of it fits in memory.

use super::{Builder, Objects};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::scan::Report;
use crate::source::{Content, Object, Selection};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// An object, in 72 bytes.
#[derive(Clone, Debug)]
pub struct Sighted {
    /// Which content of which object it is.
    pub content: Content,
    /// Its stored size, bytes.
    pub size: u64,
    /// The time in its key.
    pub file_time: Timestamp,
    /// The flow log in full: account, region and id, joined by `/`.
    pub flow_log: Arc<str>,
}

impl Builder {
    /// The objects of some file times, in the order of these.
    ///
    /// # Errors
    /// What the source says.
    pub async fn sighted(&self, objects: &Objects, times: Range<Timestamp>, report: &Report) -> Result<Vec<Sighted>> {
        let mut flow_logs = FlowLogs::default();
        let mut sighted = Vec::new();
        match objects {
            Objects::Source => {
                let selection = Selection { file_times: Some(times), ..Selection::default() };
                let each = |object: Object| sighted.push(flow_logs.sighted(&object));
                report.listed(&self.source.list_each(&selection, &self.listing, each).await?);
            }
            Objects::Listed(listed, _) | Objects::Told(listed) => {
                let within = listed.iter().filter(|object| times.contains(&object.name.file_time));
                sighted.extend(within.map(|object| flow_logs.sighted(object)));
            }
        }
        sighted.sort_by_key(|object| object.file_time);
        Ok(sighted)
    }
}

/// The flow logs of many objects, each once.
#[derive(Default)]
struct FlowLogs(HashSet<Arc<str>>);

impl FlowLogs {
    fn sighted(&mut self, object: &Object) -> Sighted {
        let path = object.name.flow_log_path();
        let flow_log = self.0.get(path.as_str()).cloned().unwrap_or_else(|| {
            let flow_log: Arc<str> = path.into();
            self.0.insert(flow_log.clone());
            flow_log
        });
        Sighted { content: object.content(), size: object.size, file_time: object.name.file_time, flow_log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Sighted>(), 72);
    }
}

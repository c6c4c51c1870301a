//! One day's folder, listed with gaps. Keys there are ordered by flow log, then by time; a page that would begin
//! outside the wanted times begins where they do, or at the next flow log.
//!
//! Pages are what costs: a gap is only jumped where a page ends, so that no request is ever made that a listing of the
//! whole folder would not make.

use super::ObjectName;
use crate::clock::Timestamp;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, Result as StoreResult, path::Path};
use std::ops::Range;
use std::sync::Arc;

/// Entries that S3 puts in one answer to a LIST request.
pub(super) const PAGE: usize = 1000;

/// Comes after all that a name may hold.
const LAST: char = '~';

/// LIST requests that so many entries take.
pub(super) fn requests(entries: u64) -> u64 {
    entries.div_ceil(PAGE as u64).max(1)
}

/// The listing of one day.
pub(super) struct Day<'a> {
    folder: &'a Path,
    times: Option<&'a Range<Timestamp>>,
    /// LIST requests made.
    pub(super) requests: u64,
}

/// What a listing of a day has left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// There are folders below the day, which are better listed one by one: all that comes `after` a key.
    Folders {
        after: Option<Path>,
    },
}

impl<'a> Day<'a> {
    pub(super) fn new(folder: &'a Path, times: Option<&'a Range<Timestamp>>) -> Day<'a> {
        Day { folder, times, requests: 0 }
    }

    /// Hands the entries of the folder to `each`, without some of those of other times, page by page.
    pub(super) async fn list_in_order(
        &mut self,
        store: &Arc<dyn ObjectStore>,
        mut each: impl FnMut(ObjectMeta),
    ) -> StoreResult<Rest> {
        let mut after: Option<Path> = None;
        loop {
            let metas = match &after {
                None => store.list(Some(self.folder)),
                Some(after) => store.list_with_offset(Some(self.folder), after),
            };
            let page: Vec<ObjectMeta> = metas.take(PAGE).try_collect().await?;
            self.requests += 1;
            let is_last = page.len() < PAGE;
            let last = page.last().map(|meta| meta.location.clone());
            if !is_last && last.as_ref().is_some_and(|key| !self.is_direct(key)) {
                return Ok(Rest::Folders { after });
            }
            page.into_iter().for_each(&mut each);
            match last {
                Some(last) if !is_last => after = Some(self.jump(&last).unwrap_or(last)),
                _ => return Ok(Rest::Nothing),
            }
        }
    }

    /// Hands all entries of the folder to `each`, as the store gives them, unless it begins with a folder.
    pub(super) async fn list(
        &mut self,
        store: &Arc<dyn ObjectStore>,
        mut each: impl FnMut(ObjectMeta),
    ) -> StoreResult<Rest> {
        let mut entries = 0;
        let mut metas = store.list(Some(self.folder));
        while let Some(meta) = metas.try_next().await? {
            if entries == 0 && !self.is_direct(&meta.location) {
                self.requests += 1;
                return Ok(Rest::Folders { after: None });
            }
            entries += 1;
            each(meta);
        }
        self.requests += requests(entries);
        Ok(Rest::Nothing)
    }

    fn is_direct(&self, key: &Path) -> bool {
        key.prefix_match(self.folder).is_some_and(|parts| parts.count() == 1)
    }

    /// The key after which the next page begins, if it need not be `last`.
    fn jump(&self, last: &Path) -> Option<Path> {
        let times = self.times?;
        let name = ObjectName::parse(last.as_ref())?;
        let ObjectName { account, region, flow_log, file_time, .. } = &name;
        let stem = format!("{account}_vpcflowlogs_{region}_{flow_log}_");
        let after = if *file_time < times.start {
            // Nothing of this minute is wanted; what is has a later one.
            let minute = times.start - chrono::TimeDelta::minutes(1);
            format!("{}/{stem}{}{LAST}", self.folder, minute.format("%Y%m%dT%H%MZ_"))
        } else if *file_time >= times.end {
            format!("{}/{stem}{LAST}", self.folder)
        } else {
            return None;
        };
        Path::parse(after).ok().filter(|after| after.as_ref() > last.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, Selection, Source};
    use super::*;
    use futures::executor::block_on;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    const DAY: &str = "AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/20";

    fn source(folder: impl Fn(Timestamp) -> String) -> Source {
        let store = InMemory::new();
        for flow_log in ["fl-0a", "fl-0b", "fl-0c"] {
            for slot in 0..3 * 24 * 60 {
                let time = "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + chrono::TimeDelta::seconds(20 * slot);
                let minute = time.format("%Y%m%dT%H%MZ");
                let name = format!("123456789012_vpcflowlogs_us-east-1_{flow_log}_{minute}_{slot:08x}.log.gz");
                block_on(store.put(&Path::from(format!("{}/{name}", folder(time))), "x".into())).unwrap();
            }
        }
        Source { store: Arc::new(store), root: Path::default(), url: "memory://".into() }
    }

    fn list(source: &Source, hour: &str, in_key_order: bool) -> super::super::Listing {
        let start = hour.parse::<Timestamp>().unwrap();
        let times = start..start + chrono::TimeDelta::hours(1);
        let selection = Selection { file_times: Some(times), ..Selection::default() };
        block_on(source.list(&selection, &Options { in_key_order, ..Options::default() })).unwrap()
    }

    /// A day of 12,960 objects in one folder is 13 pages; an hour of it lies in three places, and the last page is empty.
    #[test]
    fn an_hour_of_a_long_day_takes_two_pages_for_each_flow_log() {
        let source = source(|_| DAY.to_owned());
        for hour in ["2026-11-20T00:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T23:00:00Z"] {
            let (whole, jumped) = (list(&source, hour, false), list(&source, hour, true));
            assert_eq!(whole.objects.len(), 3 * 180);
            assert_eq!(jumped.objects, whole.objects);
            let levels = 7;
            assert_eq!(whole.requests, levels + 13);
            assert!(jumped.requests <= levels + 7, "{hour}: {} requests", jumped.requests);
        }
    }

    /// Some hours of the day lie in folders, the others beside these; no page of the one ends where the other begins.
    #[test]
    fn a_day_of_objects_and_folders_is_listed_once() {
        for (folder, file) in [(true, "1"), (true, "z"), (false, "1")] {
            let source = source(|time| match time.format("%H").to_string() {
                hour if (hour.as_str() < "12") == folder => format!("{DAY}/{file}{hour}"),
                _ => DAY.to_owned(),
            });
            for hour in ["2026-11-20T11:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T23:00:00Z"] {
                let (whole, jumped) = (list(&source, hour, false), list(&source, hour, true));
                assert_eq!(whole.objects.len(), 3 * 180, "{hour} {folder} {file}");
                assert_eq!(jumped.objects, whole.objects);
            }
        }
    }

    #[test]
    fn folders_of_hours_are_listed_one_by_one() {
        let source = source(|time| format!("{DAY}/{}", time.format("%H")));
        let (whole, jumped) =
            (list(&source, "2026-11-20T12:00:00Z", false), list(&source, "2026-11-20T12:00:00Z", true));
        assert_eq!(jumped.objects, whole.objects);
        assert_eq!(jumped.requests, whole.requests);
    }
}

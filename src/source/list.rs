//! Lists a source: walks its folders and leaves out the branches that a selection excludes.
//!
//! Down to the day, folders are listed one level at a time, so that whole accounts, regions, years, months, days and
//! hours are never asked for. A day or hour that the selection wants whole is listed in one sweep. Of a day that it
//! wants in part, and whose objects lie in it without folders of hours, the pages between are passed over where keys come
//! in their order ([`super::day`]). Folders of other
//! services in `AWSLogs` are not entered; folders that the grammar does not know are, wherever flow logs may lie.

use super::day::{Day, Rest, requests};
use super::key::{Folder, Place};
use super::{Listing, Object, ObjectName, Options, Selection, Source};
use crate::error::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use object_store::{ObjectMeta, path::Path};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keys kept to show what else lies in a source.
const OTHER_SAMPLES: usize = 5;

impl Source {
    /// Lists the objects that `selection` wants, by file time and then key.
    ///
    /// Objects are sought at any depth below the root, in all layouts at once; the root may itself be a folder inside
    /// `AWSLogs`. The result does not depend on the order in which the store answers. A root that holds no flow-log
    /// object, or does not exist, gives an empty listing.
    ///
    /// A misfiled object counts as wanted by its own name, but is only seen if its folder was not left out.
    ///
    /// # Errors
    /// What the store says; the message names the source and the folder.
    pub async fn list(&self, selection: &Selection, options: &Options) -> Result<Listing> {
        let mut objects = Vec::new();
        let listing = self.list_each(selection, options, |object| objects.push(Arc::new(object))).await?;
        objects.sort_unstable_by(|a, b| {
            (a.name.file_time, a.location.as_ref()).cmp(&(b.name.file_time, b.location.as_ref()))
        });
        Ok(Listing { objects, ..listing })
    }

    /// Hands the objects that [`Source::list`] lists to `each`, in no order; the listing that is returned is without them.
    /// Memory: a page of what the store lists for each request under way.
    ///
    /// # Errors
    /// As [`Source::list`].
    pub async fn list_each(
        &self,
        selection: &Selection,
        options: &Options,
        each: impl FnMut(Object) + Send,
    ) -> Result<Listing> {
        let selection = &selection.within(options);
        let walk = Walk::new(self, selection, options, each);
        let mut waiting = vec![self.root.clone()];
        waiting.retain(|root| !selection.is_empty() && walk.enters(root));
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < options.listing_concurrency.max(1)
                && let Some(folder) = waiting.pop()
            {
                running.push(walk.list_folder(folder));
            }
            let Some(folders) = running.next().await else { break };
            waiting.extend(folders?);
        }
        drop(running);
        Ok(walk.end())
    }

    /// One of the newest objects of the source, and the LIST requests that it took to find it: the last folder of each
    /// level first, however many there are beside it. `None` where the first 64 folders looked into hold none.
    ///
    /// # Errors
    /// As [`Source::list`].
    pub async fn newest(&self, options: &Options) -> Result<(Option<Object>, u64)> {
        let selection = &Selection::default().within(options);
        let (mut waiting, mut requests) = (vec![self.root.clone()], 0);
        for _ in 0..SEARCHED_MAX {
            let Some(folder) = waiting.pop() else { break };
            let mut newest: Option<Object> = None;
            let walk = Walk::new(self, selection, options, |object| {
                if newest.as_ref().is_none_or(|newest| newest.name.file_time <= object.name.file_time) {
                    newest = Some(object);
                }
            });
            let mut folders = walk.list_level(&folder, None).await?;
            requests += walk.end().requests;
            if newest.is_some() {
                return Ok((newest, requests));
            }
            folders.sort_unstable();
            waiting.extend(folders);
        }
        Ok((None, requests))
    }
}

/// Folders that are searched for a newest object.
const SEARCHED_MAX: usize = 64;

/// Decides for each folder of a source whether to enter it, and how to list it.
struct Walk<'a, E> {
    source: &'a Source,
    selection: &'a Selection,
    in_key_order: bool,
    sieve: Mutex<Sieve<E>>,
}

/// Sorts the keys of a store into objects, pruned and others.
struct Sieve<E> {
    listing: Listing,
    each: E,
}

impl<'a, E: FnMut(Object) + Send> Walk<'a, E> {
    fn new(source: &'a Source, selection: &'a Selection, options: &Options, each: E) -> Self {
        let sieve = Mutex::new(Sieve { listing: Listing::default(), each });
        Walk { source, selection, in_key_order: options.in_key_order, sieve }
    }

    /// What was passed over, and what it took.
    fn end(self) -> Listing {
        self.sieve.into_inner().unwrap_or_else(PoisonError::into_inner).listing
    }

    /// Lists one folder, or all that is below it where nothing there can be left out. Returns the folders to go on to.
    async fn list_folder(&self, path: Path) -> Result<Vec<Path>> {
        if self.wants_whole(&path) {
            let mut entries = 0;
            let mut metas = self.source.store.list(Some(&path));
            while let Some(meta) = metas.try_next().await.context(|| self.doing(&path))? {
                entries += 1;
                self.take(meta);
            }
            self.asked(requests(entries));
            return Ok(Vec::new());
        }
        if self.read(&path).place != Place::Day {
            return self.list_level(&path, None).await;
        }
        let mut day = Day::new(&path, self.selection.file_times.as_ref());
        let store = &self.source.store;
        let rest = match self.in_key_order {
            true => day.list_in_order(store, |meta| self.take(meta)).await,
            false => day.list(store, |meta| self.take(meta)).await,
        };
        self.asked(day.requests);
        match rest.context(|| self.doing(&path))? {
            Rest::Nothing => Ok(Vec::new()),
            Rest::Folders { after } => self.list_level(&path, after.as_ref()).await,
        }
    }

    /// Lists one level of folders, or what of it comes `after` a key.
    async fn list_level(&self, path: &Path, after: Option<&Path>) -> Result<Vec<Path>> {
        let level = self.source.store.list_with_delimiter(Some(path)).await.context(|| self.doing(path))?;
        self.asked(requests((level.objects.len() + level.common_prefixes.len()) as u64));
        let is_rest = |key: &str| after.is_none_or(|after| key > after.as_ref());
        level.objects.into_iter().filter(|meta| is_rest(meta.location.as_ref())).for_each(|meta| self.take(meta));
        let mut folders = level.common_prefixes;
        folders.retain(|folder| is_rest(&format!("{folder}/")) && self.enters(folder));
        Ok(folders)
    }

    fn take(&self, meta: ObjectMeta) {
        self.sieve().take(meta, self.selection);
    }

    /// Counts LIST requests.
    fn asked(&self, requests: u64) {
        self.sieve().listing.requests += requests;
    }

    fn sieve(&self) -> MutexGuard<'_, Sieve<E>> {
        self.sieve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doing(&self, path: &Path) -> String {
        format!("list {} in {}", if path.is_root() { "/" } else { path.as_ref() }, self.source.url)
    }

    /// Whether wanted objects may lie in a folder.
    fn enters(&self, path: &Path) -> bool {
        let Selection { file_times, accounts, regions, flow_logs: _ } = self.selection;
        let folder = self.read(path);
        let among = |wanted: &Option<BTreeSet<String>>, value: Option<&str>| match (wanted, value) {
            (Some(wanted), Some(value)) => wanted.contains(value),
            _ => true,
        };
        let in_time = match (file_times, &folder.times) {
            (Some(wanted), Some(times)) => wanted.start < times.end && times.start < wanted.end,
            _ => true,
        };
        folder.place != Place::Foreign && among(accounts, folder.account) && among(regions, folder.region) && in_time
    }

    /// Whether nothing can be gained by looking at the folders below this one first.
    fn wants_whole(&self, path: &Path) -> bool {
        let folder = self.read(path);
        match (folder.place, &self.selection.file_times, &folder.times) {
            (Place::Hour | Place::Loose, _, _) | (Place::Day, None, _) => true,
            (Place::Day, Some(wanted), Some(times)) => wanted.start <= times.start && times.end <= wanted.end,
            _ => false,
        }
    }

    /// Reads the path of a folder. A root that lies in a foreign folder was meant by whoever named it: what is below
    /// it is read as if the root were a prefix.
    fn read<'p>(&self, path: &'p Path) -> Folder<'p> {
        let root = self.source.root.as_ref();
        match Folder::of(root).place {
            Place::Foreign => Folder::of(path.as_ref().strip_prefix(root).unwrap_or_default()),
            _ => Folder::of(path.as_ref()),
        }
    }
}

impl<E: FnMut(Object)> Sieve<E> {
    fn take(&mut self, meta: ObjectMeta, selection: &Selection) {
        let Sieve { listing, each } = self;
        let key = meta.location.as_ref();
        let Some(name) = ObjectName::parse(key) else {
            if meta.size > 0 {
                listing.others += 1;
                listing.sample_other(key);
            }
            return;
        };
        listing.misfiled += u64::from(name.is_misfiled(key));
        if selection.wants(&name) {
            listing.wanted += 1;
            each(Object { location: meta.location, size: meta.size, etag: meta.e_tag, name });
        } else {
            listing.pruned += 1;
        }
    }
}

impl Listing {
    /// Keeps the first samples by key, so that they do not depend on the order of answers.
    fn sample_other(&mut self, key: &str) {
        let samples = &mut self.other_samples;
        let at = samples.partition_point(|sample| sample.as_str() < key);
        if at < OTHER_SAMPLES {
            samples.insert(at, key.to_owned());
            samples.truncate(OTHER_SAMPLES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::{Layout, tests::object_name};
    use super::*;
    use crate::clock::Timestamp;
    use chrono::TimeDelta;
    use futures::{executor::block_on, stream::BoxStream};
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStore, ObjectStoreExt,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
    };
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const FILE: &str = "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20261120T1205Z_fe123456.log.gz";
    const ACCOUNT: &str = "AWSLogs/123456789012/vpcflowlogs";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn source(keys: impl IntoIterator<Item = impl AsRef<str>>) -> Source {
        let store = InMemory::new();
        for key in keys {
            block_on(store.put(&Path::from(key.as_ref()), "x".into())).unwrap();
        }
        Source { store: Arc::new(store), root: Path::default(), url: "memory://".into() }
    }

    fn list(source: &Source, selection: &Selection) -> Listing {
        block_on(source.list(selection, &Options::default())).unwrap()
    }

    fn keys(listing: &Listing) -> Vec<&str> {
        listing.objects.iter().map(|object| object.location.as_ref()).collect()
    }

    fn hour(start: &str) -> Selection {
        let start = time(start);
        Selection { file_times: Some(start..start + TimeDelta::hours(1)), ..Selection::default() }
    }

    #[test]
    fn objects_of_all_layouts_formats_and_depths_are_found_together() {
        let expected = [
            FILE.to_owned(),
            format!(
                "AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=us-east-1/year=2026/month=11/day=20/hour=12/{FILE}"
            ),
            format!("AWSLogs/o-a1b2c3d4e5/123456789012/vpcflowlogs/us-east-1/2026/11/20/{FILE}"),
            format!("a/b/c/{ACCOUNT}/us-east-1/2026/11/20/12/{}", FILE.replace(".gz", "")),
            format!("a/copies/{}", FILE.replace("log.gz", "log.parquet")),
            format!("{ACCOUNT}/us-east-1/2026/11/{FILE}"),
            format!("{ACCOUNT}/us-east-1/archive/of/{FILE}"),
        ];
        let listing = list(&source(&expected), &hour("2026-11-20T12:00:00Z"));
        let mut expected = expected;
        expected.sort();
        assert_eq!(keys(&listing), expected);
        assert_eq!((listing.pruned, listing.others, listing.misfiled), (0, 0, 0));
    }

    #[test]
    fn a_root_anywhere_in_the_tree_finds_what_is_below_it_and_prunes() {
        let noon = format!("p/{ACCOUNT}/us-east-1/2026/11/20/12/{FILE}");
        let night = noon.replace("/20/12/", "/20/00/").replace("T1205Z", "T0005Z");
        let mut source = source([&noon, &night]);
        let segments: Vec<_> = noon.split('/').collect();
        for depth in 0..segments.len() {
            source.root = Path::from(segments[..depth].join("/"));
            assert_eq!(keys(&list(&source, &hour("2026-11-20T12:00:00Z"))), [&noon], "root {}", source.root);
            let other_day = list(&source, &hour("2026-11-21T12:00:00Z"));
            assert_eq!((other_day.objects.len(), other_day.pruned), (0, 0), "root {}", source.root);
        }
    }

    #[test]
    fn other_services_are_not_entered_unless_the_root_says_so() {
        let foreign = format!("AWSLogs/123456789012/elasticloadbalancing/us-east-1/{FILE}");
        let mut source = source([&foreign, "AWSLogs/CloudTrail/us-east-1/x.json.gz"]);
        let listing = list(&source, &Selection::default());
        assert_eq!((listing.objects.len(), listing.others), (0, 0));
        source.root = Path::from("AWSLogs/123456789012/elasticloadbalancing");
        assert_eq!(keys(&list(&source, &Selection::default())), [foreign]);
    }

    #[test]
    fn other_keys_are_counted_and_the_first_five_are_shown() {
        let others = (0..9).map(|n| format!("notes/{n}.txt"));
        let listing = list(&source(others.chain([FILE.to_owned()])), &Selection::default());
        assert_eq!((listing.objects.len(), listing.others), (1, 9));
        assert_eq!(listing.other_samples, ["notes/0.txt", "notes/1.txt", "notes/2.txt", "notes/3.txt", "notes/4.txt"]);
    }

    #[test]
    fn markers_of_folders_are_ignored() {
        let source = source([format!("{ACCOUNT}/us-east-1/2026/11/20/{FILE}")]);
        for marker in ["AWSLogs", ACCOUNT, &format!("{ACCOUNT}/us-east-1/2026/11/20")] {
            block_on(source.store.put(&Path::from(marker), PutPayload::new())).unwrap();
        }
        let listing = list(&source, &Selection::default());
        assert_eq!((listing.objects.len(), listing.others), (1, 0));
    }

    #[test]
    fn a_misfiled_object_is_counted_and_its_file_name_decides() {
        let source = source([format!("{ACCOUNT}/us-east-1/2026/11/21/{FILE}")]);
        let listing = list(&source, &Selection::default());
        assert_eq!((listing.objects.len(), listing.misfiled), (1, 1));
        let listing = list(&source, &hour("2026-11-21T12:00:00Z"));
        assert_eq!((listing.objects.len(), listing.pruned, listing.misfiled), (0, 1, 1));
    }

    #[test]
    fn a_selection_that_contradicts_itself_asks_for_nothing() {
        let instant = time("2026-11-20T12:00:00Z");
        let nobody = Selection { accounts: Some(BTreeSet::new()), ..Selection::default() };
        let never = Selection { file_times: Some(instant..instant), ..Selection::default() };
        for selection in [nobody, never] {
            let listing = list(&source([FILE]), &selection);
            assert_eq!((listing.objects.len(), listing.requests), (0, 0));
        }
    }

    #[test]
    fn an_empty_store_gives_an_empty_listing() {
        let listing = list(&source(Vec::<String>::new()), &Selection::default());
        assert_eq!((listing.objects.len(), listing.others, listing.requests), (0, 0, 1));
    }

    #[test]
    fn a_local_folder_lists_as_a_bucket_does() {
        let folder = tempfile::tempdir().unwrap();
        let key = format!("my logs/{ACCOUNT}/us-east-1/2026/11/20/{FILE}");
        let path = folder.path().join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
        std::fs::create_dir_all(folder.path().join("empty/folder")).unwrap();
        std::fs::write(folder.path().join("readme.txt"), "x").unwrap();
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let source = Source { store: Arc::new(store), root: Path::default(), url: "here".into() };
        let listing = list(&source, &hour("2026-11-20T12:00:00Z"));
        assert_eq!(keys(&listing), [key]);
        assert_eq!(listing.other_samples, ["readme.txt"]);
        assert_eq!(listing.objects[0].size, 1);
    }

    /// 60 days of 3 accounts in 2 regions are 360 folders of days; one hour must not look at more than its own.
    #[test]
    fn one_hour_of_many_days_asks_a_bounded_number_of_requests() {
        for layout in Layout::ALL {
            let mut all = Vec::new();
            for account in ["111111111111", "222222222222", "333333333333"] {
                for region in ["us-east-1", "eu-west-1"] {
                    for slot in 0..60 * 24 {
                        let mut name = ObjectName::parse(FILE).unwrap();
                        name.account = account.into();
                        name.region = region.into();
                        name.file_time = time("2026-10-01T00:00:00Z") + TimeDelta::hours(slot);
                        all.push(name.key("logs", layout, "fe123456"));
                    }
                }
            }
            let mut source = source(all);
            let counting = Arc::new(Counting { inner: source.store, requests: AtomicU64::new(0) });
            source.store = Arc::clone(&counting) as _;
            let listing = list(&source, &hour("2026-11-20T12:00:00Z"));
            assert_eq!(listing.objects.len(), 6);
            assert_eq!(listing.requests, counting.requests.load(Ordering::Relaxed));
            assert!(listing.requests <= 45, "{layout:?}: {} requests", listing.requests);
        }
    }

    fn selection() -> impl Strategy<Value = Selection> {
        let names = prop::collection::vec(object_name(), 0..3);
        let some = |on: bool, values: Vec<String>| on.then(|| values.into_iter().collect());
        let hours = prop_oneof![Just(0i64), 1..48i64, 48..1500i64];
        (prop::option::of((object_name(), hours)), names, any::<[bool; 3]>()).prop_map(move |(from, names, on)| {
            let all = |field: fn(&ObjectName) -> &String| names.iter().map(field).cloned().collect::<Vec<_>>();
            Selection {
                file_times: from.map(|(name, hours)| name.file_time..name.file_time + TimeDelta::hours(hours)),
                accounts: some(on[0], all(|name| &name.account)),
                regions: some(on[1], all(|name| &name.region)),
                flow_logs: some(on[2], all(|name| &name.flow_log)),
            }
        })
    }

    proptest! {
        #[test]
        fn a_pruned_listing_is_the_full_listing_filtered(
            names in prop::collection::vec((object_name(), 0..5usize, "(a/|b/AWSLogs/)?"), 0..60),
            selection in selection(),
            listing_concurrency in 0..4usize,
            in_key_order in any::<bool>(),
        ) {
            let source = source(names.iter().enumerate().map(|(n, (name, layout, prefix))| {
                let key = name.key(prefix, Layout::ALL[layout % 4], &n.to_string());
                match layout {
                    4 => format!("flat/{}", key.rsplit('/').next().unwrap()),
                    _ => key,
                }
            }));
            let full = list(&source, &Selection::default());
            prop_assert_eq!(full.objects.len(), names.len());
            let pruned = block_on(source.list(&selection, &Options { listing_concurrency, in_key_order, ..Options::default() })).unwrap();
            let filtered: Vec<_> = full.objects.into_iter().filter(|object| selection.wants(&object.name)).collect();
            prop_assert_eq!(pruned.objects, filtered);
        }
    }

    /// Counts LIST requests, which of the trait's methods only the two below make.
    #[derive(Debug)]
    struct Counting {
        inner: Arc<dyn ObjectStore>,
        requests: AtomicU64,
    }

    impl std::fmt::Display for Counting {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "counting {}", self.inner)
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Counting {
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.inner.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.inner.list_with_delimiter(prefix).await
        }

        async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
            self.inner.put_opts(at, payload, options).await
        }

        async fn put_multipart_opts(
            &self,
            at: &Path,
            options: PutMultipartOptions,
        ) -> StoreResult<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(at, options).await
        }

        async fn get_opts(&self, at: &Path, options: GetOptions) -> StoreResult<GetResult> {
            self.inner.get_opts(at, options).await
        }

        fn delete_stream(
            &self,
            locations: BoxStream<'static, StoreResult<Path>>,
        ) -> BoxStream<'static, StoreResult<Path>> {
            self.inner.delete_stream(locations)
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
            self.inner.copy_opts(from, to, options).await
        }
    }
}

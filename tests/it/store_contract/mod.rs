//! What flowdiff asks of a store of digests, as one list of checks that every kind of store passes: memory, a local
//! folder, S3 as an emulator and as Garage have it, and a real S3 where `FLOWDIFF_TEST_S3_URL` (`s3://bucket/prefix`,
//! with the usual `AWS_*` variables) names a bucket.

pub(crate) mod digest;
mod store;
mod superseded;
mod tables;

use digest::{draft, rules, window, with_large_edge_file};
use flowdiff::catalog::{Catalog, Draft, FileKind, State};
use flowdiff::error::{Error, ErrorKind};
use flowdiff::flow::PortRule;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, join_all};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use std::sync::Arc;
use store::{Fault, FaultyStore};
use tempfile::TempDir;

/// A store that a check has to itself, and a place for local files.
struct Place {
    catalog: Catalog,
    store: Arc<FaultyStore>,
    folder: TempDir,
}

impl Place {
    fn draft(&self, text: &str, edges: usize) -> Draft {
        draft(self.folder.path(), window(text), edges, false)
    }

    /// The same place, through a store with a fault.
    fn with(&self, fault: Fault) -> Catalog {
        let store = FaultyStore::new(self.store.clone(), fault);
        Catalog::new(Arc::new(store), self.catalog.root.clone(), self.catalog.url.as_str())
    }

    async fn keys(&self) -> Vec<String> {
        let listed = self.catalog.store.list(Some(&self.catalog.root));
        listed.map(|object| object.unwrap().location.to_string()).collect().await
    }
}

type Check = fn(Place) -> BoxFuture<'static, ()>;

const CHECKS: &[(&str, Check)] = &[
    ("what is published is found", |place| what_is_published_is_found(place).boxed()),
    ("a large file goes up in parts", |place| a_large_file_goes_up_in_parts(place).boxed()),
    ("the newest version counts", |place| the_newest_version_counts(place).boxed()),
    ("a range lists only its days", |place| a_range_lists_only_its_days(place).boxed()),
    ("an unreadable manifest is named", |place| an_unreadable_manifest_is_named(place).boxed()),
    ("a store keeps its rules", |place| a_store_keeps_its_rules(place).boxed()),
    ("a missing window names the nearest", |place| a_missing_window_names_the_nearest(place).boxed()),
    ("a missing file fails verification", |place| a_missing_file_fails_verification(place).boxed()),
    ("superseded go", |place| superseded::ones_go_and_final_ones_and_the_newest_stay(place).boxed()),
    ("superseded are kept", |place| superseded::ones_stay_where_another_digest_was_made_from_them(place).boxed()),
    ("litter goes", |place| superseded::ones_that_a_broken_removal_left_behind_go_with_the_next(place).boxed()),
    ("contradictory drafts are refused", |place| contradictory_drafts_are_refused(place).boxed()),
    ("tables read only the windows asked for", |place| tables::read_only_the_windows_asked_for(place).boxed()),
    ("tables count an hour and its day once", |place| tables::count_an_hour_and_its_day_once(place).boxed()),
    ("tables read the finest tiling", |place| tables::read_the_finest_tiling(place).boxed()),
    ("tables read a manifest once", |place| tables::read_a_manifest_once(place).boxed()),
    ("counts come from the manifests", |place| tables::count_from_the_manifests(place).boxed()),
    ("the windows table tells coverage", |place| tables::windows_tell_coverage(place).boxed()),
    ("one version can be read alone", |place| tables::one_version_can_be_read_alone(place).boxed()),
    ("an empty store has empty tables", |place| tables::are_empty_over_an_empty_store(place).boxed()),
];

/// What rests on put-if-absent, which not every store honours.
const CONDITIONAL: &[(&str, Check)] = &[
    ("one of sixteen writers creates", |place| one_of_sixteen_writers_creates(place).boxed()),
    ("two publishers never mix", |place| two_publishers_never_mix(place).boxed()),
    ("a lost reply is found out", |place| a_lost_reply_is_found_out(place).boxed()),
    ("a probe finds out ignored conditions", |place| a_probe_finds_out_ignored_conditions(place).boxed()),
];

async fn keeps_the_contract(store: Arc<dyn ObjectStore>, root: &str) {
    keeps(&[CONDITIONAL, CHECKS].concat(), store, root).await;
}

async fn keeps(checks: &[(&str, Check)], store: Arc<dyn ObjectStore>, root: &str) {
    for (number, (name, check)) in checks.iter().enumerate() {
        eprintln!("{store}: {name}");
        let store = Arc::new(FaultyStore::new(store.clone(), Fault::None));
        let root = Path::from(root).join(format!("{number}-{}", uuid::Uuid::new_v4()));
        let catalog = Catalog::new(store.clone(), root, "test://store");
        check(Place { catalog, store, folder: tempfile::tempdir().unwrap() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    keeps_the_contract(Arc::new(InMemory::new()), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    keeps_the_contract(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()), "a/b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract() {
    if let Some(aws) = crate::s3::emulator() {
        keeps_the_contract(Arc::new(aws.bucket()), "a/b").await;
    }
    let Ok(url) = std::env::var("FLOWDIFF_TEST_S3_URL") else {
        crate::s3::say("SKIPPED: the store contract on a real server: FLOWDIFF_TEST_S3_URL is not set");
        return;
    };
    let location = flowdiff::session::open_location(&url, false, &Default::default()).unwrap();
    keeps_the_contract(location.store, location.root.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_conditions_keeps_the_rest_of_the_contract() {
    let Some(garage) = crate::s3::garage() else { return };
    let bucket: Arc<dyn ObjectStore> = Arc::new(garage.bucket());
    keeps(CHECKS, bucket.clone(), "a/b").await;
    let catalog = Catalog::new(bucket, Path::from("probe"), "test://store");
    assert!(!catalog.probe().await.unwrap(), "if it honours them now, it keeps the whole contract");
}

async fn one_of_sixteen_writers_creates(place: Place) {
    for round in 0..5 {
        let path = place.catalog.root.clone().join(format!("race-{round}"));
        let writes = (0..16u8).map(|writer| {
            let (store, path) = (place.catalog.store.clone(), path.clone());
            tokio::spawn(async move { store.put_opts(&path, vec![writer].into(), PutMode::Create.into()).await })
        });
        let results: Vec<_> = join_all(writes).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<u8> = (0..16).filter(|writer| results[usize::from(*writer)].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        for lost in results.into_iter().filter_map(Result::err) {
            assert!(matches!(lost, object_store::Error::AlreadyExists { .. }), "{lost:?}");
        }
        let stored = place.catalog.store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(stored.as_ref(), winners, "the winner's bytes are what is stored");
    }
}

async fn what_is_published_is_found(place: Place) {
    let hour = window("2026-11-20T12");
    assert_eq!(place.catalog.latest(&hour).await.unwrap(), None);
    let manifest = place.catalog.publish(place.draft("2026-11-20T12", 3)).await.unwrap();
    assert_eq!(place.catalog.latest(&hour).await.unwrap(), Some(manifest.clone()));
    assert_eq!(place.catalog.versions(&hour).await.unwrap(), std::slice::from_ref(&manifest));
    assert_eq!(place.catalog.list(None).await.unwrap(), std::slice::from_ref(&manifest));
    place.catalog.verify(&manifest).await.unwrap();
    let path = place.catalog.file_path(&manifest, FileKind::Edges).unwrap();
    assert!(place.keys().await.contains(&path.to_string()));
    assert!(
        path.to_string().contains("/v1/digests/date=2026-11-20/start=20261120T1200Z/stop=20261120T1300Z/00000001-")
    );
}

async fn a_large_file_goes_up_in_parts(place: Place) {
    // Just over, and exactly, a multiple of the size of a part.
    for (hour, size) in [("2026-11-20T12", (16 << 20) + 1), ("2026-11-20T13", 16 << 20)] {
        let draft = with_large_edge_file(place.draft(hour, 1), place.folder.path(), size);
        let local = std::fs::read(&draft.files.iter().find(|f| f.kind == FileKind::Edges).unwrap().path).unwrap();
        let manifest = place.catalog.publish(draft).await.unwrap();
        let path = place.catalog.file_path(&manifest, FileKind::Edges).unwrap();
        let stored = place.catalog.store.get(&path).await.unwrap().bytes().await.unwrap();
        assert!(stored == local, "{size} bytes");
    }
}

async fn two_publishers_never_mix(place: Place) {
    let drafts = (1..=4).map(|edges| place.draft("2026-11-20T12", edges)).collect::<Vec<_>>();
    let publishing = drafts.iter().map(|draft| {
        let (catalog, draft) = (place.catalog.clone(), draft.clone());
        tokio::spawn(async move { catalog.publish(draft).await })
    });
    let results: Vec<_> = join_all(publishing).await.into_iter().map(Result::unwrap).collect();
    let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(won.len(), 1, "{results:?}");
    for lost in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(lost.kind(), ErrorKind::Conflict, "{lost:?}");
    }
    let latest = place.catalog.latest(&window("2026-11-20T12")).await.unwrap().unwrap();
    assert_eq!(&latest, won[0]);
    place.catalog.verify(&latest).await.unwrap();
    // The very same digest again is no conflict: its publisher may have missed the reply.
    let same = drafts.into_iter().find(|draft| draft.totals.edges == latest.totals.edges).unwrap();
    assert_eq!(place.catalog.publish(same.clone()).await.unwrap(), latest);
    let other = place.catalog.publish(Draft { state: State::Provisional, ..same }).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict, "the same files in another state are another digest");
}

async fn a_lost_reply_is_found_out(place: Place) {
    let published = place.with(Fault::LosesReplies).publish(place.draft("2026-11-20T12", 3)).await.unwrap();
    assert_eq!(place.catalog.latest(&published.window().unwrap()).await.unwrap(), Some(published));
    let other = place.with(Fault::LosesReplies).publish(place.draft("2026-11-20T12", 4)).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Conflict);
}

async fn the_newest_version_counts(place: Place) {
    let first = place.draft("2026-11-20T12", 3);
    // The tenth and the hundredth sort after the ninth.
    for version in [1, 2, 9, 10, 100] {
        let previous = (version > 1).then(|| version - 1);
        place.catalog.publish(Draft { version, previous, ..first.clone() }).await.unwrap();
    }
    let hour = window("2026-11-20T12");
    assert_eq!(place.catalog.latest(&hour).await.unwrap().unwrap().version, 100);
    assert_eq!(place.catalog.list(None).await.unwrap().len(), 1);
    assert_eq!(place.catalog.list(None).await.unwrap()[0].version, 100);
    let versions: Vec<u64> = place.catalog.versions(&hour).await.unwrap().iter().map(|m| m.version).collect();
    assert_eq!(versions, [1, 2, 9, 10, 100]);
    assert_eq!(place.catalog.manifest(&hour, 9).await.unwrap().previous, Some(8));
    assert_eq!(place.catalog.manifest(&hour, 3).await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn a_range_lists_only_its_days(place: Place) {
    for text in ["2026-11-20", "2026-11-20T12", "2026-11-20T23:30Z/PT1H", "2026-11-21T01", "2026-01-01T00"] {
        place.catalog.publish(place.draft(text, 1)).await.unwrap();
    }
    place.store.take_seen();
    let range = window("2026-11-21T00:00Z/PT1H");
    let found = place.catalog.list(Some(range.start()..range.stop())).await.unwrap();
    let windows: Vec<String> = found.iter().map(|manifest| manifest.window().unwrap().to_string()).collect();
    assert_eq!(windows, ["2026-11-20T23:30Z/2026-11-21T00:30Z"], "half-open: what ends or begins there is not in it");
    let seen = place.store.take_seen();
    assert!(seen.iter().any(|path| path.ends_with("date=2026-11-20")), "{seen:?}");
    assert!(!seen.iter().any(|path| path.contains("date=2026-01-01")), "{seen:?}");
    assert_eq!(seen.iter().filter(|path| path.ends_with(".json")).count(), 1, "one manifest is read: {seen:?}");
    assert_eq!(place.catalog.list(None).await.unwrap().len(), 5);
}

async fn an_unreadable_manifest_is_named(place: Place) {
    let manifest = place.catalog.publish(place.draft("2026-11-20T12", 1)).await.unwrap();
    let edges = place.catalog.file_path(&manifest, FileKind::Edges).unwrap();
    let good = serde_json::to_string(&manifest).unwrap();
    for (version, text, says) in [
        (2, "{".to_owned(), "cannot be read"),
        (3, good.replace("\"format_version\":1", "\"format_version\":2"), "format 2"),
        (4, good.clone(), "another digest"),
        (5, good.replace("\"version\":1", "\"version\":5").replace("00000001-", "../x"), "three files"),
        (6, good.replace("\"totals\"", "\"sums\""), "cannot be read"),
    ] {
        let path = Path::from(edges.as_ref().rsplit_once('/').unwrap().0).join(format!("_{version:08}.json"));
        place.catalog.store.put(&path, text.into()).await.unwrap();
        for error in [
            place.catalog.latest(&manifest.window().unwrap()).await.unwrap_err(),
            place.catalog.list(None).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
            assert!(error.to_string().contains(path.as_ref()) && error.to_string().contains(says), "{error}");
            assert!(error.hint().is_some());
        }
    }
}

async fn a_store_keeps_its_rules(place: Place) {
    assert_eq!(place.catalog.rules().await.unwrap(), None);
    place.catalog.adopt_rules(&rules()).await.unwrap();
    place.catalog.adopt_rules(&rules()).await.unwrap();
    assert_eq!(place.catalog.rules().await.unwrap(), Some(rules()));
    let mut draft = place.draft("2026-11-20T12", 1);
    draft.rules.port_rule = PortRule::Lower;
    draft.rules.query_checksum = "cd".repeat(32);
    for error in [
        place.catalog.adopt_rules(&draft.rules).await.unwrap_err(),
        source(place.catalog.publish(draft).await.unwrap_err()),
    ] {
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let text = error.to_string();
        assert!(
            text.contains("port rule was service, asked for is lower") && text.contains("query checksum"),
            "{text}"
        );
        assert!(!text.contains("addresses"), "{text}");
        assert!(error.hint().unwrap().contains("--port-rule service"));
    }
    assert!(place.catalog.list(None).await.unwrap().is_empty());
}

async fn a_probe_finds_out_ignored_conditions(place: Place) {
    assert!(place.catalog.probe().await.unwrap());
    assert!(!place.with(Fault::IgnoresConditions).probe().await.unwrap());
    assert_eq!(place.keys().await, Vec::<String>::new(), "nothing is left behind");
}

async fn a_missing_window_names_the_nearest(place: Place) {
    let missing = window("2026-11-20T12");
    let error = place.catalog.not_found(&missing).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nothing is published"), "{error}");
    for text in ["2026-11-20T10", "2026-11-20T13", "2026-11-20T14", "2026-11-20T20", "2026-11-01"] {
        place.catalog.publish(place.draft(text, 1)).await.unwrap();
    }
    let error = place.catalog.not_found(&missing).await;
    let nearest =
        "nearest: 2026-11-20T13:00Z/2026-11-20T14:00Z, 2026-11-20T10:00Z/2026-11-20T11:00Z, 2026-11-20T14:00Z";
    assert!(error.to_string().contains(nearest), "{error}");
    assert_eq!(error.hint(), Some("flowdiff digest 2026-11-20T12:00Z/2026-11-20T13:00Z builds it"));
}

async fn a_missing_file_fails_verification(place: Place) {
    let manifest = place.catalog.publish(place.draft("2026-11-20T12", 1)).await.unwrap();
    let path = place.catalog.file_path(&manifest, FileKind::Objects).unwrap();
    place.catalog.store.put(&path, "short".into()).await.unwrap();
    let error = place.catalog.verify(&manifest).await.unwrap_err();
    assert!(error.to_string().contains(path.as_ref()) && error.to_string().contains("has 5 bytes"), "{error}");
    place.catalog.store.delete(&path).await.unwrap();
    let error = place.catalog.verify(&manifest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("is missing"), "{error}");
}

async fn contradictory_drafts_are_refused(place: Place) {
    let good = place.draft("2026-11-20T12", 1);
    let mut shrunk = good.clone();
    shrunk.files[0].size += 1;
    let mut unnamed = good.clone();
    unnamed.files[0].checksum = "../../store".into();
    for (draft, kind) in [
        (Draft { version: 3, previous: Some(1), ..good.clone() }, ErrorKind::Internal),
        (Draft { files: good.files[..2].to_vec(), ..good.clone() }, ErrorKind::Internal),
        (unnamed, ErrorKind::Internal),
        (shrunk, ErrorKind::Internal),
        (Draft { window: window("2026-01-01/P32D"), ..good.clone() }, ErrorKind::Invalid),
    ] {
        assert_eq!(place.catalog.publish(draft).await.unwrap_err().kind(), kind);
    }
    assert!(place.catalog.list(None).await.unwrap().is_empty());
}

/// The error below the outermost.
fn source(error: Error) -> Error {
    let kind = error.kind();
    let inner = std::error::Error::source(&error).unwrap();
    Error::new(kind, inner.to_string()).with_hint(error.hint().unwrap_or_default())
}

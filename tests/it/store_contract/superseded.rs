//! Superseded versions: which ones go, what stays, and that their numbers do not come again.

use super::{Place, window};
use chrono::TimeDelta;
use flowdiff::catalog::{Draft, FileKind, Origin, State};
use flowdiff::clock::Timestamp;
use flowdiff::error::ErrorKind;
use flowdiff::pipeline::{remove_superseded, superseded};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;

const HOUR: &str = "2026-11-20T12";

fn minute(minute: i64) -> Timestamp {
    "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::minutes(minute)
}

/// Version `version` of an hour, published at a minute.
fn version(place: &Place, version: u64, state: State, published: i64) -> Draft {
    let previous = (version > 1).then(|| version - 1);
    let draft = place.draft(HOUR, usize::try_from(version).unwrap());
    Draft { version, previous, state, published: minute(published), ..draft }
}

/// Two versions before an hour closed, the one that closed it, one that should not be, and one with late objects.
async fn publish_five(place: &Place) {
    use State::{Final, Provisional};
    for (number, state, published) in
        [(1, Provisional, 0), (2, Provisional, 30), (3, Final, 60), (4, Provisional, 70), (5, Final, 80)]
    {
        place.catalog.publish(version(place, number, state, published)).await.unwrap();
    }
}

async fn found(place: &Place, now: i64) -> Vec<u64> {
    let found = superseded(&place.catalog, None, TimeDelta::hours(1), minute(now)).await.unwrap();
    assert!(found.keys().all(|found| *found == window(HOUR)), "{found:?}");
    found.into_values().flat_map(|old| old.versions.into_keys()).collect()
}

async fn sweep(place: &Place, now: i64) {
    let found = superseded(&place.catalog, None, TimeDelta::hours(1), minute(now)).await.unwrap();
    remove_superseded(&place.catalog, &found).await.unwrap();
}

async fn versions(place: &Place) -> Vec<u64> {
    let versions = place.catalog.versions(&window(HOUR)).await.unwrap();
    for manifest in &versions {
        place.catalog.verify(manifest).await.unwrap();
    }
    versions.iter().map(|manifest| manifest.version).collect()
}

/// Keys of digests, by the number in their names.
async fn keys_of(place: &Place, version: u64) -> Vec<String> {
    let number = format!("{version:08}");
    let names = |key: &String| key.rsplit('/').next().unwrap().trim_start_matches('_').starts_with(&number);
    place.keys().await.into_iter().filter(names).collect()
}

pub(super) async fn ones_go_and_final_ones_and_the_newest_stay(place: Place) {
    publish_five(&place).await;
    assert_eq!(found(&place, 89).await, [0u64; 0], "the first was superseded not quite an hour ago");
    assert_eq!(found(&place, 90).await, [1]);
    assert_eq!(found(&place, 200).await, [1, 2, 4]);
    sweep(&place, 200).await;
    assert_eq!(versions(&place).await, [3, 5]);
    assert_eq!(place.catalog.latest(&window(HOUR)).await.unwrap().unwrap().version, 5);
    assert_eq!(place.keys().await.len(), 9, "two versions and the rules");
    sweep(&place, 200).await;
    assert_eq!(versions(&place).await, [3, 5]);
    place.catalog.publish(version(&place, 6, State::Final, 210)).await.unwrap();
    assert_eq!(versions(&place).await, [3, 5, 6]);
}

pub(super) async fn ones_stay_where_another_digest_was_made_from_them(place: Place) {
    publish_five(&place).await;
    let origin = Origin { start: minute(0), stop: minute(60), version: 2 };
    let day = Draft { made_from: vec![origin], ..place.draft("2026-11-20", 9) };
    place.catalog.publish(day).await.unwrap();
    assert_eq!(found(&place, 200).await, [1, 4]);
}

pub(super) async fn ones_that_a_broken_removal_left_behind_go_with_the_next(place: Place) {
    publish_five(&place).await;
    let manifest = |key: &&String| key.ends_with(".json");
    let gone = keys_of(&place, 1).await.iter().find(manifest).cloned().unwrap();
    place.catalog.store.delete(&Path::from(gone)).await.unwrap();
    // Somebody uploads the files of the next version just now.
    let newest = place.catalog.latest(&window(HOUR)).await.unwrap().unwrap();
    let edges = place.catalog.file_path(&newest, FileKind::Edges).unwrap();
    let next = Path::from(edges.as_ref().replace("/00000005-", "/00000006-"));
    place.catalog.store.put(&next, "x".into()).await.unwrap();
    assert_eq!(keys_of(&place, 1).await.len(), 3);
    assert_eq!(found(&place, 80).await, [0u64; 0]);
    sweep(&place, 80).await;
    assert_eq!(keys_of(&place, 1).await.len(), 0);
    assert_eq!(keys_of(&place, 6).await.len(), 1);
    assert_eq!(versions(&place).await, [2, 3, 4, 5]);
}

/// A writer sleeps while others publish the version that it is about to create, and that goes again.
#[tokio::test]
async fn a_number_that_was_removed_is_not_published_again() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = Arc::new(super::FaultyStore::new(store, super::Fault::None));
    let catalog = flowdiff::catalog::Catalog::new(store.clone(), Path::default(), "memory://");
    let place = Place { catalog, store, folder: tempfile::tempdir().unwrap() };
    let late = Draft { published: minute(10), ..place.draft(HOUR, 77) };
    publish_five(&place).await;
    sweep(&place, 200).await;
    for draft in [late, version(&place, 5, State::Provisional, 210)] {
        let error = place.catalog.publish(draft).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(std::error::Error::source(&error).is_some() || error.hint().is_some());
    }
    assert_eq!(place.catalog.latest(&window(HOUR)).await.unwrap().unwrap().version, 5);
}

#[tokio::test]
async fn what_a_reader_has_just_found_is_not_removed() {
    let catalog = flowdiff::catalog::Catalog::new(Arc::new(InMemory::new()), Path::default(), "memory://");
    let error = superseded(&catalog, None, TimeDelta::seconds(59), minute(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

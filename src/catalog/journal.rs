//! Numbered entries of an id, each created only if nobody else has created it: what leases are made of. In: an id, a
//! value that is to follow the newest one. Out: whether it does.
//!
//! ```text
//! v1/jobs/6f1c2a.../00000007.json      entry 7 of an id in the journal `jobs`
//! ```
//! Not every store can replace an object only if it is unchanged; all can create one only if it is absent. So a state is
//! not changed but followed by the next. Old entries are deleted, and with them the proof that a number was taken: who
//! creates an entry looks again, and has lost if a higher number is there.

use super::layout::{self, parse_version};
use super::{Catalog, FORMAT_VERSION};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::meters;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Entries of an id that stay. A listing that is not one instant's, as those of folders are not, misses the newest entry
/// only if so many are created and deleted while it runs; one is enough where listings are consistent.
const KEPT: u64 = 8;
/// How often the newest entry is looked for where it vanishes before it is read.
const TRIES: usize = 5;

/// The entries of many ids in a store. Clones are the same journal.
///
/// Invariants:
/// - The newest entry of an id is the one with the highest number; it is never replaced, and deleted only by
///   [`Journal::remove`].
/// - Of all who append after the same entry, at most one succeeds.
#[derive(Clone, Debug)]
pub struct Journal {
    catalog: Catalog,
    folder: Path,
}

/// An entry of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// Its number; the first is 1.
    pub number: u64,
    /// What it says.
    pub value: T,
}

/// Which entry of an id is the newest, from the keys alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// The store's tag of it: another one under the same number, after a removal, has another tag.
    pub etag: Option<String>,
}

/// An entry as it is stored.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format_version: u32,
    /// Tells whose entry it is when the reply to its creation was lost.
    nonce: Uuid,
    value: T,
}

impl Journal {
    /// The journal `name` in the store of `catalog`, beside its digests.
    pub fn new(catalog: &Catalog, name: &str) -> Journal {
        Journal { catalog: catalog.clone(), folder: layout::journal_path(&catalog.root, name) }
    }

    /// The newest entry of an id; `None` if it has none.
    ///
    /// # Errors
    /// `Data` if it cannot be read, `Unavailable` if entries change faster than they can be read, and what the store
    /// says.
    pub async fn newest<T: DeserializeOwned>(&self, id: &str) -> Result<Option<Entry<T>>> {
        for _ in 0..TRIES {
            let Some(number) = self.numbers(id).await?.pop() else { return Ok(None) };
            if let Some(entry) = self.read(id, number).await? {
                return Ok(Some(entry));
            }
        }
        let message = format!("entries of {id} in {} change faster than they can be read", self.place());
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// One entry of an id; `None` if it is not there, or no more.
    ///
    /// # Errors
    /// `Data` if it cannot be read, and what the store says.
    pub async fn read<T: DeserializeOwned>(&self, id: &str, number: u64) -> Result<Option<Entry<T>>> {
        let found = self.catalog.read_json::<Envelope<T>>(&self.path(id, number), "entry").await?;
        Ok(found.map(|(envelope, _)| Entry { number, value: envelope.value }))
    }

    /// Creates the entry that follows number `after` (0: the first), and returns its number.
    ///
    /// # Errors
    /// `Conflict` if somebody else has, or has followed it already: read the newest entry then. After any other error
    /// the entry may exist or not.
    pub async fn append<T: Serialize>(&self, id: &str, after: u64, value: &T) -> Result<u64> {
        let number = after.saturating_add(1);
        let doing = || format!("create entry {number} of {id} in {}", self.place());
        let lost = || Error::new(ErrorKind::Conflict, format!("somebody else changed {id} in {} first", self.place()));
        let path = self.path(id, number);
        let nonce = Uuid::new_v4();
        let json = super::publish::to_json(&Envelope { format_version: FORMAT_VERSION, nonce, value })?;
        if let Err(error) = self.catalog.store.put_opts(&path, json.into(), PutMode::Create.into()).await {
            let error = Error::from(error);
            match self.catalog.read_json::<Envelope<IgnoredAny>>(&path, "entry").await {
                // It was created after all: only the reply was lost.
                Ok(Some((envelope, _))) if envelope.nonce == nonce => {}
                Ok(Some(_)) => return Err(lost()),
                _ if error.kind() == ErrorKind::Conflict => return Err(lost()),
                _ => return Err(error.context(doing())),
            }
        }
        let numbers = self.numbers(id).await.context(doing)?;
        // Others were here and have gone on, and what they deleted made room for this one; or it is followed already.
        // Either way it is not the state any more.
        if numbers.last().is_some_and(|newest| *newest > number) {
            return Err(lost());
        }
        for old in numbers.into_iter().filter(|old| old.saturating_add(KEPT) <= number) {
            if let Err(error) = self.delete(id, old).await {
                tracing::warn!(error = error.copy().to_string(), "an old entry could not be deleted");
            }
        }
        Ok(number)
    }

    /// The newest entry of every id, from one listing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn heads(&self) -> Result<BTreeMap<String, Head>> {
        let mut listed = self.catalog.store.list(Some(&self.folder));
        let mut heads = BTreeMap::<String, Head>::new();
        while let Some(object) = listed.try_next().await.context(|| format!("list {}", self.place()))? {
            let Some((id, number)) = self.parse(&object) else { continue };
            if heads.get(&id).is_none_or(|head| head.number < number) {
                heads.insert(id, Head { number, etag: object.e_tag });
            }
        }
        Ok(heads)
    }

    /// Deletes the entries of an id up to number `through`, the newest last. A later one stays, and its id with it.
    ///
    /// # Errors
    /// What the store says; called again it goes on.
    pub async fn remove(&self, id: &str, through: u64) -> Result<()> {
        let numbers = self.numbers(id).await?;
        for number in numbers.iter().filter(|number| **number <= through) {
            self.delete(id, *number).await?;
        }
        if numbers.last().is_some_and(|newest| *newest <= through) {
            meters::journal_removed(self.folder.filename().unwrap_or_default());
        }
        Ok(())
    }

    /// The numbers of an id's entries, ascending.
    async fn numbers(&self, id: &str) -> Result<Vec<u64>> {
        let listed = self.catalog.store.list(Some(&self.folder.clone().join(id)));
        let objects: Vec<ObjectMeta> =
            listed.try_collect().await.context(|| format!("list entries of {id} in {}", self.place()))?;
        let mut numbers: Vec<u64> =
            objects.iter().filter_map(|object| self.parse(object)).map(|(_, number)| number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    async fn delete(&self, id: &str, number: u64) -> Result<()> {
        let path = self.path(id, number);
        match self.catalog.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::from(error).context(format!("delete {path} of {}", self.catalog.url))),
        }
    }

    fn path(&self, id: &str, number: u64) -> Path {
        self.folder.clone().join(id).join(format!("{number:08}.json"))
    }

    /// Takes a key apart; `None` if it is not exactly as [`Journal::path`] writes it.
    fn parse(&self, object: &ObjectMeta) -> Option<(String, u64)> {
        let mut parts = object.location.prefix_match(&self.folder)?;
        let (id, name) = (parts.next()?, parts.next()?);
        let number = parse_version(name.as_ref().strip_suffix(".json")?)?;
        parts.next().is_none().then(|| (id.as_ref().to_owned(), number))
    }

    fn place(&self) -> String {
        format!("{} of {}", self.folder, self.catalog.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    fn journal(store: Arc<dyn ObjectStore>) -> Journal {
        Journal::new(&Catalog::new(store, Path::from("a"), "test://store"), "jobs")
    }

    /// A journal in memory and one in a folder, which goes with the guard.
    fn journals() -> (Vec<Journal>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        (vec![journal(Arc::new(InMemory::new())), journal(local)], folder)
    }

    #[tokio::test]
    async fn the_newest_entry_is_the_last_that_was_appended() {
        let (journals, _folder) = journals();
        for journal in journals {
            assert_eq!(journal.newest::<u64>("a").await.unwrap(), None);
            for number in 0..20 {
                assert_eq!(journal.append("a", number, &(number * 10)).await.unwrap(), number + 1);
            }
            let newest = journal.newest::<u64>("a").await.unwrap().unwrap();
            assert_eq!(newest, Entry { number: 20, value: 190 });
            assert_eq!(journal.numbers("a").await.unwrap(), (13..=20).collect::<Vec<u64>>());
            assert_eq!(journal.newest::<u64>("b").await.unwrap(), None);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_who_append_after_one_entry_exactly_one_wins() {
        let (journals, _folder) = journals();
        for journal in journals {
            for after in 0..10 {
                let claims = (0..24u64).map(|claimant| {
                    let journal = journal.clone();
                    tokio::spawn(async move { journal.append("a", after, &claimant).await })
                });
                let results: Vec<_> = join_all(claims).await.into_iter().map(Result::unwrap).collect();
                let winners: Vec<u64> = (0..24).filter(|claimant| results[*claimant as usize].is_ok()).collect();
                assert_eq!(winners.len(), 1, "{results:?}");
                for lost in results.into_iter().filter_map(Result::err) {
                    assert_eq!(lost.kind(), ErrorKind::Conflict, "{lost}");
                }
                let newest = journal.newest::<u64>("a").await.unwrap().unwrap();
                assert_eq!(newest, Entry { number: after + 1, value: winners[0] });
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_that_was_acknowledged_to_one_of_many_writers_is_lost() {
        let (journals, _folder) = journals();
        for journal in journals {
            let writers = (0..8u64).map(|writer| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    let mut step = 0u64;
                    while step < 8 {
                        let newest = journal.newest::<Vec<(u64, u64)>>("all").await.unwrap();
                        let (after, mut all) = newest.map_or((0, Vec::new()), |entry| (entry.number, entry.value));
                        all.push((writer, step));
                        match journal.append("all", after, &all).await {
                            Ok(_) => step += 1,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                        }
                    }
                })
            });
            join_all(writers).await.into_iter().for_each(Result::unwrap);
            let all = journal.newest::<Vec<(u64, u64)>>("all").await.unwrap().unwrap().value;
            for update in (0..8).flat_map(|writer| (0..8).map(move |step| (writer, step))) {
                assert!(all.contains(&update), "{update:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_creation_that_comes_too_late_is_lost_though_its_number_is_free_again() {
        let (journals, _folder) = journals();
        for journal in journals {
            for number in 0..12 {
                journal.append("a", number, &"holder").await.unwrap();
            }
            let error = journal.append("a", 2, &"sleeper").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert_eq!(journal.newest::<String>("a").await.unwrap().unwrap().value, "holder");
            journal.append("a", 12, &"holder").await.unwrap();
            assert_eq!(journal.numbers("a").await.unwrap()[0], 6, "what came too late goes with the old ones");
        }
    }

    #[tokio::test]
    async fn heads_tell_a_new_entry_from_a_removed_one_of_the_same_number() {
        let (journals, _folder) = journals();
        for journal in journals {
            journal.append("a", 0, &1).await.unwrap();
            journal.append("b", 0, &1).await.unwrap();
            journal.append("b", 1, &2).await.unwrap();
            let before = journal.heads().await.unwrap();
            let numbers: Vec<_> = before.iter().map(|(id, head)| (id.as_str(), head.number)).collect();
            assert_eq!(numbers, [("a", 1), ("b", 2)]);
            journal.remove("b", 1).await.unwrap();
            assert_eq!(journal.newest::<u64>("b").await.unwrap().unwrap().number, 2, "a later entry stays");
            journal.remove("a", 1).await.unwrap();
            assert_eq!(journal.newest::<u64>("a").await.unwrap(), None);
            journal.append("a", 0, &22).await.unwrap();
            assert_ne!(journal.heads().await.unwrap()["a"], before["a"]);
        }
    }

    #[tokio::test]
    async fn what_others_left_there_is_passed_over_and_a_damaged_entry_is_named() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let journal = journal(store.clone());
        for key in ["a/v1/jobs/x/notes.txt", "a/v1/jobs/x/1.json", "a/v1/jobs/x/y/00000001.json", "a/v1/jobs/z.json"] {
            store.put(&Path::from(key), "x".into()).await.unwrap();
        }
        assert!(journal.heads().await.unwrap().is_empty());
        assert_eq!(journal.newest::<u64>("x").await.unwrap(), None);
        store.put(&Path::from("a/v1/jobs/x/00000003.json"), "{".into()).await.unwrap();
        let error = journal.newest::<u64>("x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("a/v1/jobs/x/00000003.json"), "{error}");
    }
}

//! Which content of which object: what tells whether an object was taken before.

use super::Object;
use ring::digest::{SHA256, digest};

/// Half the SHA-256 of a text. It stands for keys and tags where there are many: they themselves would take ten times the
/// memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checksum([u8; 16]);

impl Checksum {
    /// Of `text`.
    pub fn of(text: &str) -> Checksum {
        let mut half = [0; 16];
        half.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        Checksum(half)
    }

    /// As a number: sums of them stand for sets.
    pub fn number(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

/// One content of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// Of the object's key.
    pub key: Checksum,
    /// Of the store's tag; absent on stores that have none.
    pub tag: Option<Checksum>,
}

impl Content {
    /// The content that a store has under `key`, tagged `tag`.
    pub fn of(key: &str, tag: Option<&str>) -> Content {
        Content { key: Checksum::of(key), tag: tag.map(Checksum::of) }
    }
}

impl Object {
    /// What a listing found there.
    pub fn content(&self) -> Content {
        Content::of(self.location.as_ref(), self.etag.as_deref())
    }
}

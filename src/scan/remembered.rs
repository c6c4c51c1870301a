//! What was in the objects read last. A window that an object reaches without a record of it in the object then need not
//! read the object again.

use super::object::Tally;
use crate::source::Object;
use ring::digest::{Context, SHA256};
use std::collections::{HashMap, VecDeque};

/// The counts of objects, the newest `max` of them.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    max: usize,
    tallies: HashMap<Content, Tally>,
    /// In the order in which they were first read.
    order: VecDeque<Content>,
}

/// Half the SHA-256 of an object's key and tag: keys alone would take more memory than the counts.
type Content = [u8; 16];

impl Remembered {
    pub(super) fn new(max: usize) -> Remembered {
        Remembered { max, ..Remembered::default() }
    }

    /// What was in this very content of an object.
    pub(super) fn get(&self, object: &Object) -> Option<&Tally> {
        match self.tallies.is_empty() {
            true => None,
            false => self.tallies.get(&content(object)?),
        }
    }

    /// Takes note of an object. One without a tag is not known again, so it is let go.
    pub(super) fn put(&mut self, object: &Object, tally: &Tally) {
        let Some(content) = content(object).filter(|_| self.max > 0) else { return };
        if self.tallies.insert(content, tally.clone()).is_none() {
            self.order.push_back(content);
        }
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.tallies.remove(&oldest);
        }
    }
}

fn content(object: &Object) -> Option<Content> {
    let mut hash = Context::new(&SHA256);
    for text in [object.location.as_ref(), "\n", object.etag.as_ref()?] {
        hash.update(text.as_bytes());
    }
    hash.finish().as_ref().first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ObjectName;
    use object_store::path::Path;

    fn object(number: u32, tag: &str) -> Object {
        let name = format!("123456789012_vpcflowlogs_us-east-1_fl-1_20261120T1200Z_{number:08x}.log.gz");
        let name = ObjectName::parse(&name).unwrap();
        Object { location: Path::from(number.to_string()), size: 1, etag: Some(tag.to_owned()), name }
    }

    #[test]
    fn the_newest_contents_are_remembered_and_no_others() {
        let mut remembered = Remembered::new(2);
        let tally = |records| Tally { records, ..Tally::default() };
        for number in 0..3 {
            remembered.put(&object(number, "a"), &tally(number.into()));
        }
        assert_eq!(remembered.get(&object(0, "a")), None);
        assert_eq!(remembered.get(&object(2, "a")), Some(&tally(2)));
        assert_eq!(remembered.get(&object(2, "b")), None);
        for _ in 0..3 {
            remembered.put(&object(3, "a"), &tally(3));
        }
        assert_eq!(remembered.get(&object(2, "a")), Some(&tally(2)));
        assert_eq!((remembered.tallies.len(), remembered.order.len()), (2, 2));
        remembered.put(&Object { etag: None, ..object(4, "a") }, &tally(4));
        assert_eq!(remembered.order.len(), 2, "nobody could tell whether it is still the same");
    }
}

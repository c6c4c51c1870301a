//! What was in the objects read last. A window that an object reaches without a record of it in the object then need not
//! read the object again.

use super::object::Tally;
use crate::source::Object;
use object_store::path::Path;
use std::collections::{HashMap, VecDeque};

/// The counts of objects, the newest `max` of them.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    max: usize,
    tallies: HashMap<Path, (String, Tally)>,
    /// Their places, in the order in which they were first read.
    order: VecDeque<Path>,
}

impl Remembered {
    pub(super) fn new(max: usize) -> Remembered {
        Remembered { max, ..Remembered::default() }
    }

    /// What was in this very content of an object.
    pub(super) fn get(&self, object: &Object) -> Option<&Tally> {
        let (tag, tally) = self.tallies.get(&object.location)?;
        (object.etag.as_ref() == Some(tag)).then_some(tally)
    }

    /// Takes note of an object. One without a tag is not known again, so it is let go.
    pub(super) fn put(&mut self, object: &Object, tally: &Tally) {
        let Some(tag) = object.etag.clone().filter(|_| self.max > 0) else { return };
        if self.tallies.insert(object.location.clone(), (tag, tally.clone())).is_none() {
            self.order.push_back(object.location.clone());
        }
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.tallies.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ObjectName;

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
        for tag in ["a", "b", "c"] {
            remembered.put(&object(3, tag), &tally(3));
        }
        assert_eq!(remembered.get(&object(3, "c")), Some(&tally(3)));
        assert_eq!(remembered.get(&object(2, "a")), Some(&tally(2)));
        assert_eq!((remembered.tallies.len(), remembered.order.len()), (2, 2));
    }
}

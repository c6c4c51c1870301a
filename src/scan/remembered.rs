//! What was in the objects read last. A window that an object reaches without a record of it in the object then need not
//! read the object again.

use super::object::Tally;
use crate::source::Content;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The counts of objects, the newest `max` of them.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    max: usize,
    tallies: HashMap<Content, Arc<Tally>>,
    /// In the order in which they were first read.
    order: VecDeque<Content>,
}

impl Remembered {
    pub(super) fn new(max: usize) -> Remembered {
        Remembered { max, ..Remembered::default() }
    }

    /// What was in this very content of an object.
    pub(super) fn get(&self, content: &Content) -> Option<&Arc<Tally>> {
        self.tallies.get(content)
    }

    /// Takes note of an object. One without a tag is not known again, so it is let go.
    pub(super) fn put(&mut self, content: Content, tally: &Arc<Tally>) {
        if self.max == 0 || content.tag.is_none() {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_contents_are_remembered_and_no_others() {
        let mut remembered = Remembered::new(2);
        let tally = |records| Arc::new(Tally { records, ..Tally::default() });
        let content = |number: u64, tag| Content::of(&number.to_string(), Some(tag));
        for number in 0..3 {
            remembered.put(content(number, "a"), &tally(number));
        }
        assert_eq!(remembered.get(&content(0, "a")), None);
        assert_eq!(remembered.get(&content(2, "a")), Some(&tally(2)));
        assert_eq!(remembered.get(&content(2, "b")), None);
        for _ in 0..3 {
            remembered.put(content(3, "a"), &tally(3));
        }
        assert_eq!(remembered.get(&content(2, "a")), Some(&tally(2)));
        assert_eq!((remembered.tallies.len(), remembered.order.len()), (2, 2));
        remembered.put(Content::of("4", None), &tally(4));
        assert_eq!(remembered.order.len(), 2, "nobody could tell whether it is still the same");
    }
}

//! What was in the objects read last. A window that an object reaches without a record of it in the object then need not
//! read the object again, and none need read again what is to be set aside.

use super::object::Tally;
use super::report::Outcome;
use crate::source::{Checksum, Content};
use std::collections::HashMap;
use std::sync::Arc;

/// The outcomes of objects: of the newest, at least half as many as may be.
///
/// Two generations of half as many each: when the younger is full, the older is let go as a whole, and its memory is used
/// again. Nothing is freed one by one, so that nothing is left in pieces.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// Of each generation.
    max: usize,
    young: HashMap<[Checksum; 2], Kept>,
    old: HashMap<[Checksum; 2], Kept>,
}

/// The outcome of one object.
#[derive(Debug)]
enum Kept {
    /// Of almost all: one header, and records that have nothing odd about them.
    Plain { first_end: i64, seconds: u32, records: u32, bytes: u32 },
    /// Of any other.
    Whole(Box<Outcome>),
}

impl Remembered {
    pub(super) fn new(max: usize) -> Remembered {
        Remembered { max: max.div_ceil(2), ..Remembered::default() }
    }

    /// What came of this very content of an object.
    pub(super) fn get(&self, content: &Content) -> Option<Outcome> {
        let key = [content.key, content.tag?];
        self.young.get(&key).or_else(|| self.old.get(&key)).map(Outcome::from)
    }

    /// Takes note of an object. One without a tag is not known again, so it is let go.
    pub(super) fn put(&mut self, content: Content, outcome: &Outcome) {
        let Some(tag) = content.tag.filter(|_| self.max > 0) else { return };
        if self.young.len() >= self.max {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert([content.key, tag], Kept::from(outcome));
    }
}

impl From<&Outcome> for Kept {
    fn from(outcome: &Outcome) -> Kept {
        plain(outcome)
            .filter(|kept| Outcome::from(kept) == *outcome)
            .unwrap_or_else(|| Kept::Whole(Box::new(outcome.clone())))
    }
}

/// The counts that a plain object has; those of another are lost.
fn plain(outcome: &Outcome) -> Option<Kept> {
    let Outcome::Read(tally) = outcome else { return None };
    let first_end = tally.first_end?;
    Some(Kept::Plain {
        first_end,
        seconds: tally.last_end?.checked_sub(first_end)?.try_into().ok()?,
        records: tally.records.try_into().ok()?,
        bytes: tally.bytes.try_into().ok()?,
    })
}

impl From<&Kept> for Outcome {
    fn from(kept: &Kept) -> Outcome {
        match kept {
            Kept::Plain { first_end, seconds, records, bytes } => Outcome::Read(Arc::new(Tally {
                records: u64::from(*records),
                headers: 1,
                first_end: Some(*first_end),
                last_end: first_end.checked_add(i64::from(*seconds)),
                bytes: u64::from(*bytes),
                ..Tally::default()
            })),
            Kept::Whole(outcome) => Outcome::clone(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(number: u64, tag: &str) -> Content {
        Content::of(&number.to_string(), Some(tag))
    }

    #[test]
    fn the_newest_contents_are_remembered_and_no_more_than_may_be() {
        let mut remembered = Remembered::new(4);
        let tally = |records| Outcome::Read(Arc::new(Tally { records, ..Tally::default() }));
        for number in 0..9 {
            remembered.put(content(number, "a"), &tally(number));
            let known = (0..9).filter(|known| remembered.get(&content(*known, "a")) == Some(tally(*known)));
            let known: Vec<u64> = known.collect();
            let newest: Vec<u64> = (number.saturating_sub(1)..=number).collect();
            assert!(known.ends_with(&newest) && known.len() <= 4, "{number}: {known:?}");
        }
        assert_eq!(remembered.get(&content(8, "b")), None, "it was overwritten");
        remembered.put(Content::of("9", None), &tally(9));
        assert_eq!(remembered.get(&Content::of("9", None)), None, "nobody could tell whether it is still the same");
        let mut none = Remembered::new(0);
        none.put(content(1, "a"), &tally(1));
        assert_eq!(none.get(&content(1, "a")), None);
    }

    #[test]
    fn a_plain_object_takes_less_than_sixty_bytes() {
        assert!(size_of::<([Checksum; 2], Kept)>() < 60);
        let tally =
            Tally { records: 20, headers: 1, first_end: Some(1), last_end: Some(60), bytes: 2000, ..Tally::default() };
        assert!(matches!(Kept::from(&Outcome::Read(Arc::new(tally))), Kept::Plain { .. }));
    }

    proptest! {
        #[test]
        fn an_object_has_the_counts_that_it_had(
            counts in prop::array::uniform8(prop_oneof![4 => 0..2_u64, 1 => any::<u64>()]),
            ends in prop::option::of((any::<i64>(), any::<i64>())),
        ) {
            let [records, headers, bytes, no_time, milliseconds, spaces, odd_actions, refused] = counts;
            let (first_end, last_end) = ends.map(|(a, b)| (a.min(b), a.max(b))).unzip();
            let refused = [refused, 0, 0, 0, 0];
            let counted = Tally { records, headers, bytes, no_time, milliseconds, spaces, odd_actions, refused, ..Tally::default() };
            let outcome = Outcome::Read(Arc::new(Tally { first_end, last_end, ..counted }));
            prop_assert_eq!(Outcome::from(&Kept::from(&outcome)), outcome);
        }
    }
}

//! Which FEC sets hold bytes, and which of them would be replayed last.

use crate::set::SET;
use std::collections::BTreeSet;
use sundog_types::{FecSetIndex, Slot};

/// FEC sets of a slot that put off their replay as much as one slot more would. The first sets of a block can be
/// replayed as soon as its parent was, however much its leader's other slots hold: without this, one leader could fill
/// the memory with what he begins in his own four slots, and no block after them would find a place. With it, all four
/// together put 32 sets before each slot that follows.
const SETS_PER_SLOT: u64 = 8;

/// How far a set is from replay, and which it is.
type Place = (u64, Slot, FecSetIndex);

/// FEC sets that hold bytes.
#[derive(Debug, Default)]
pub(crate) struct Held {
    sets: BTreeSet<(Slot, FecSetIndex)>,
    /// The same.
    places: BTreeSet<Place>,
}

fn place((slot, set): (Slot, FecSetIndex)) -> Place {
    (slot.get().saturating_add(u64::from(set.get() / SET) / SETS_PER_SLOT), slot, set)
}

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }

    pub(crate) fn contains(&self, set: (Slot, FecSetIndex)) -> bool {
        self.sets.contains(&set)
    }

    pub(crate) fn insert(&mut self, set: (Slot, FecSetIndex)) {
        self.sets.insert(set);
        self.places.insert(place(set));
    }

    /// Whether one of them would be replayed later than this.
    pub(crate) fn has_farther(&self, set: (Slot, FecSetIndex)) -> bool {
        self.places.last().is_some_and(|farthest| *farthest > place(set))
    }

    /// Takes out the one that would be replayed last: of its slot, the last.
    pub(crate) fn pop_farthest(&mut self) -> Option<(Slot, FecSetIndex)> {
        let (_, slot, set) = self.places.pop_last()?;
        self.sets.remove(&(slot, set));
        Some((slot, set))
    }

    /// Takes out a set.
    pub(crate) fn remove(&mut self, set: (Slot, FecSetIndex)) {
        if self.sets.remove(&set) {
            self.places.remove(&place(set));
        }
    }

    /// Takes out the first of a slot's sets below `end`.
    pub(crate) fn pop_below(&mut self, slot: Slot, end: FecSetIndex) -> Option<(Slot, FecSetIndex)> {
        let set = self.sets.range((slot, FecSetIndex::ZERO)..(slot, end)).next().copied()?;
        self.sets.remove(&set);
        self.places.remove(&place(set));
        Some(set)
    }

    /// Keeps those of this slot and later ones.
    pub(crate) fn keep_from(&mut self, slot: Slot) {
        self.sets = self.sets.split_off(&(slot, FecSetIndex::ZERO));
        self.places.retain(|(_, of, _)| *of >= slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(slot: u64, number: u32) -> (Slot, FecSetIndex) {
        (Slot::new(slot), FecSetIndex::new(number * SET))
    }

    #[test]
    fn a_later_slot_and_eight_sets_more_are_as_far() {
        let mut held = Held::default();
        for entry in [set(5, 0), set(5, 7), set(5, 80), set(9, 0), set(9, 33)] {
            held.insert(entry);
        }
        assert!(held.has_farther(set(5, 1)) && held.has_farther(set(14, 7)) && !held.has_farther(set(15, 1)));
        let order: Vec<_> = std::iter::from_fn(|| held.pop_farthest()).collect();
        assert_eq!(order, [set(5, 80), set(9, 33), set(9, 0), set(5, 7), set(5, 0)]);
        assert!(!held.has_farther(set(1, 0)) && held.len() == 0);
    }

    #[test]
    fn both_orders_hold_the_same() {
        let mut held = Held::default();
        for entry in [set(5, 0), set(5, 9), set(6, 0), set(7, 1)] {
            held.insert(entry);
            held.insert(entry);
        }
        assert_eq!(held.pop_below(Slot::new(5), FecSetIndex::new(SET)), Some(set(5, 0)));
        assert_eq!(held.pop_below(Slot::new(5), FecSetIndex::new(SET)), None);
        held.keep_from(Slot::new(6));
        assert!(!held.contains(set(5, 9)) && held.contains(set(6, 0)));
        assert_eq!((held.len(), held.places.len()), (2, 2));
    }
}

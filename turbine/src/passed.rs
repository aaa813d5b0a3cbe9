//! What was passed on already: every shred once, and of each shred id at most two versions (reference 4.6).

use crate::metrics::DropReason;
use std::collections::BTreeMap;
use sundog_types::{
    FecSetIndex, Hash, Slot,
    shred::{Shred, Signed},
};

/// FEC sets whose shreds are marked: some 8 MB, and 1,300 slots of a busy cluster. Full: the slot farthest from the
/// clock's is closed, which frees its marks; of a closed slot nothing more is passed on, its shreds spread by repair.
pub const MARKS_MAX: usize = 65_536;
/// Slots that are remembered, marked or closed, as many as are gathered at a time. Full: the farthest from the clock's
/// is forgotten.
pub const SLOTS_MAX: usize = 16_384;
/// Versions of a shred id that are passed on, so that everybody can prove that the leader signed two.
const VERSIONS_MAX: usize = 2;

const MARK_BYTES: usize = 120;
const SLOT_BYTES: usize = 48;
/// Bytes that may be held.
pub(crate) const PASSED_BYTES_MAX: usize = MARKS_MAX * MARK_BYTES + SLOTS_MAX * SLOT_BYTES;

#[derive(Debug)]
enum Slotful {
    /// For each set, up to two roots, and the shreds that were passed on under each, by place among the leaves.
    Marked(BTreeMap<FecSetIndex, Vec<(Hash, u64)>>),
    Closed,
}

/// The record of shreds that were passed on.
#[derive(Debug)]
pub(crate) struct Passed {
    slots: BTreeMap<Slot, Slotful>,
    marks: usize,
    marks_max: usize,
    slots_max: usize,
}

impl Default for Passed {
    fn default() -> Self {
        Self::new(MARKS_MAX, SLOTS_MAX)
    }
}

impl Passed {
    fn new(marks_max: usize, slots_max: usize) -> Self {
        Self { slots: BTreeMap::new(), marks: 0, marks_max, slots_max }
    }

    /// Whether a shred may be passed on. Yes is noted: it is the only one for this shred. `tip`: the clock's slot.
    pub(crate) fn may_send(&mut self, tip: Slot, shred: &Shred<Signed>) -> Result<(), DropReason> {
        self.note(tip, (shred.slot(), shred.fec_set_index()), shred.merkle_root(), shred.leaf_index())
    }

    /// Whether a shred with this place in its set was passed on, in whatever version, or never will be.
    pub(crate) fn is_done(&self, (slot, set): (Slot, FecSetIndex), leaf: usize) -> bool {
        match self.slots.get(&slot) {
            None => false,
            Some(Slotful::Closed) => true,
            Some(Slotful::Marked(sets)) => {
                let bit = 1_u64.checked_shl(leaf as u32).unwrap_or(0);
                sets.get(&set).is_some_and(|versions| versions.iter().any(|(_, seen)| seen & bit != 0))
            }
        }
    }

    fn note(&mut self, tip: Slot, set: (Slot, FecSetIndex), root: Hash, leaf: usize) -> Result<(), DropReason> {
        let (slot, index) = set;
        let Slotful::Marked(sets) = self.slots.entry(slot).or_insert_with(|| Slotful::Marked(BTreeMap::new())) else {
            return Err(DropReason::TooManyVersions);
        };
        let bit = 1_u64.checked_shl(leaf as u32).ok_or(DropReason::OddSet)?;
        let before = sets.len();
        let versions = sets.entry(index).or_default();
        let full = versions.len() >= VERSIONS_MAX;
        let outcome = match versions.iter_mut().find(|(other, _)| *other == root) {
            Some((_, seen)) if *seen & bit != 0 => Err(DropReason::Seen),
            Some((_, seen)) => {
                *seen |= bit;
                Ok(())
            }
            None if full => Err(DropReason::TooManyVersions),
            None => {
                versions.push((root, bit));
                Ok(())
            }
        };
        self.marks += sets.len() - before;
        self.shrink(tip);
        outcome
    }

    fn shrink(&mut self, tip: Slot) {
        while self.marks > self.marks_max {
            let marked = |slotful: &Slotful| matches!(slotful, Slotful::Marked(_));
            let low = self.slots.iter().find(|(_, slotful)| marked(slotful)).map(|(slot, _)| *slot);
            let high = self.slots.iter().rfind(|(_, slotful)| marked(slotful)).map(|(slot, _)| *slot);
            let Some(farthest) = low.into_iter().chain(high).max_by_key(|slot| slot.get().abs_diff(tip.get())) else {
                return;
            };
            if let Some(Slotful::Marked(sets)) = self.slots.insert(farthest, Slotful::Closed) {
                self.marks -= sets.len();
            }
        }
        while self.slots.len() > self.slots_max {
            let (low, high) = (self.slots.first_key_value(), self.slots.last_key_value());
            let ends = low.into_iter().chain(high).map(|(slot, _)| *slot);
            let Some(farthest) = ends.max_by_key(|slot| slot.get().abs_diff(tip.get())) else { return };
            if let Some(Slotful::Marked(sets)) = self.slots.remove(&farthest) {
                self.marks -= sets.len();
            }
        }
    }

    /// Forgets the root and what is below it: nothing of that is gathered, and so nothing is passed on.
    pub(crate) fn set_root(&mut self, root: Slot) {
        let above = self.slots.split_off(&root.next());
        self.slots = above;
        let count = |slotful: &Slotful| match slotful {
            Slotful::Marked(sets) => sets.len(),
            Slotful::Closed => 0,
        };
        self.marks = self.slots.values().map(count).sum();
    }

    /// Bytes of memory held, about.
    pub(crate) fn held_bytes(&self) -> usize {
        self.marks * MARK_BYTES + self.slots.len() * SLOT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(slot: u64, index: u32) -> (Slot, FecSetIndex) {
        (Slot::new(slot), FecSetIndex::new(index))
    }

    fn root(number: u8) -> Hash {
        Hash::new_from_array([number; 32])
    }

    const TIP: Slot = Slot::new(100);

    #[test]
    fn a_shred_is_passed_on_once_and_in_two_versions_at_most() {
        let mut passed = Passed::default();
        assert!(!passed.is_done(set(5, 0), 63));
        assert_eq!(passed.note(TIP, set(5, 0), root(1), 63), Ok(()));
        assert!(passed.is_done(set(5, 0), 63) && !passed.is_done(set(5, 0), 62) && !passed.is_done(set(5, 32), 63));
        assert_eq!(passed.note(TIP, set(5, 0), root(1), 63), Err(DropReason::Seen));
        assert_eq!(passed.note(TIP, set(5, 0), root(1), 0), Ok(()));
        assert_eq!(passed.note(TIP, set(5, 0), root(2), 63), Ok(()));
        assert_eq!(passed.note(TIP, set(5, 0), root(2), 63), Err(DropReason::Seen));
        assert_eq!(passed.note(TIP, set(5, 0), root(3), 63), Err(DropReason::TooManyVersions));
        assert_eq!(passed.note(TIP, set(5, 32), root(3), 63), Ok(()));
        assert_eq!(passed.note(TIP, set(5, 0), root(1), 64), Err(DropReason::OddSet));
    }

    #[test]
    fn a_full_record_closes_the_slot_farthest_from_the_clock() {
        let mut passed = Passed::new(8, 100);
        for index in 0..8 {
            assert_eq!(passed.note(TIP, set(900, index), root(1), 0), Ok(()), "a flood far ahead");
        }
        assert_eq!(passed.note(TIP, set(100, 0), root(1), 0), Ok(()));
        assert_eq!(passed.marks, 1, "the flood made room");
        assert!(passed.note(TIP, set(900, 0), root(1), 0).is_err(), "and gets no second chance");
        for slot in 101..110 {
            assert_eq!(passed.note(Slot::new(slot), set(slot, 0), root(1), 0), Ok(()));
        }
        assert_eq!(passed.marks, 8);
        assert!(passed.note(Slot::new(110), set(100, 1), root(1), 0).is_err(), "the oldest is closed");
        assert!(passed.note(Slot::new(110), set(109, 1), root(1), 0).is_ok());
    }

    #[test]
    fn slots_are_bounded_and_leave_with_the_root() {
        let mut passed = Passed::new(1_000, 4);
        for slot in 100..110 {
            passed.note(Slot::new(slot), set(slot, 0), root(1), 0).unwrap();
        }
        assert_eq!((passed.slots.len(), passed.marks), (4, 4));
        passed.set_root(Slot::new(108));
        assert_eq!((passed.slots.len(), passed.marks), (1, 1));
        assert!(passed.held_bytes() > 0);
    }
}

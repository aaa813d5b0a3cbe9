//! Places of values in the order of their hashes' prefixes.
//!
//! ```text
//!   home = top bits of the prefix      0    1    2    3    4    5    6    7 | overflow
//!   slots, ascending over all          .   [1a] [1c] [3b] [3f] [40]  .    . |
//! ```
//!
//! A hash table whose hash function keeps the order: each entry stands at its home or, where that is taken, behind
//! its smaller neighbours. Hashes spread evenly, so runs are short; and a partition of a pull filter is one stretch.
//! Whoever grinds hashes to lengthen one run pays a signature for each try and makes others move 16 bytes for each hit.

use std::ops::RangeInclusive;

/// Slots of the smallest table, as a power of two.
const HOME_BITS_MIN: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    prefix: u64,
    /// Where the value is in the slab; [`VACANT`] in an empty slot.
    at: u32,
}

const VACANT: u32 = u32::MAX;
const EMPTY: Slot = Slot { prefix: 0, at: VACANT };

/// Bytes of one slot.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>();

/// Places by prefix, ascending. Of entries with one prefix the older comes first.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    /// 2^`home_bits` slots, and as many more as the last run takes.
    slots: Vec<Slot>,
    home_bits: u32,
    len: usize,
}

impl Prefixes {
    pub(super) fn new() -> Self {
        Self { slots: vec![EMPTY; 1 << HOME_BITS_MIN], home_bits: HOME_BITS_MIN, len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory taken.
    pub(super) const fn held_bytes(&self) -> usize {
        self.slots.capacity() * SLOT_BYTES
    }

    const fn home(&self, prefix: u64) -> usize {
        (prefix >> (u64::BITS - self.home_bits)) as usize
    }

    const fn homes(&self) -> usize {
        1 << self.home_bits
    }

    pub(super) fn insert(&mut self, prefix: u64, at: u32) {
        assert!(at != VACANT, "a slab of 2^32 values");
        if (self.len + 1) * 2 > self.homes() {
            self.resize(self.home_bits + 1);
        }
        let mut place = self.home(prefix);
        while self.slots.get(place).is_some_and(|slot| slot.at != VACANT && slot.prefix <= prefix) {
            place += 1;
        }
        let mut end = place;
        while self.slots.get(end).is_some_and(|slot| slot.at != VACANT) {
            end += 1;
        }
        if end == self.slots.len() {
            self.slots.push(EMPTY);
        }
        self.slots.copy_within(place..end, place + 1);
        self.slots[place] = Slot { prefix, at };
        self.len += 1;
    }

    /// # Panics
    /// If there is no such entry.
    pub(super) fn remove(&mut self, prefix: u64, at: u32) {
        let mut place = self.home(prefix);
        while self.slots[place].at != at {
            assert!(self.slots[place].at != VACANT, "no such entry");
            place += 1;
        }
        let mut end = place + 1;
        while self.slots.get(end).is_some_and(|slot| slot.at != VACANT && self.home(slot.prefix) < end) {
            end += 1;
        }
        self.slots.copy_within(place + 1..end, place);
        self.slots[end - 1] = EMPTY;
        self.len -= 1;
        while self.slots.len() > self.homes() && self.slots.last() == Some(&EMPTY) {
            self.slots.pop();
        }
        if self.len * 16 < self.homes() && self.home_bits > HOME_BITS_MIN {
            self.resize(self.home_bits - 1);
        }
    }

    fn resize(&mut self, home_bits: u32) {
        self.home_bits = home_bits;
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; 1 << home_bits]);
        let mut next = 0;
        for slot in old.into_iter().filter(|slot| slot.at != VACANT) {
            next = self.home(slot.prefix).max(next);
            if next == self.slots.len() {
                self.slots.push(EMPTY);
            }
            self.slots[next] = slot;
            next += 1;
        }
    }

    /// Places of the entries whose prefix is in the range, by prefix.
    pub(super) fn range(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = u32> + '_ {
        let (low, high) = range.into_inner();
        let slots = &self.slots[self.home(low)..];
        let taken = slots.iter().filter(|slot| slot.at != VACANT);
        taken.skip_while(move |slot| slot.prefix < low).take_while(move |slot| slot.prefix <= high).map(|slot| slot.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_an_ordered_set_whatever_comes_and_goes(
            steps in prop::collection::vec((any::<bool>(), any::<u64>(), 0..4u32), 1..400),
            narrow in any::<bool>(),
            low in any::<u64>(),
            high in any::<u64>(),
        ) {
            let mut prefixes = Prefixes::new();
            let mut model = BTreeSet::new();
            for (number, (insert, prefix, crowd)) in steps.into_iter().enumerate() {
                // Narrow: everything at the two ends, where runs grow long and overflow.
                let prefix = if narrow { (prefix % 8).wrapping_sub(u64::from(crowd)) } else { prefix };
                let at = u32::try_from(number).expect("small");
                if insert || model.is_empty() {
                    prefixes.insert(prefix, at);
                    model.insert((prefix, at));
                } else {
                    let nth = usize::try_from(prefix % model.len() as u64).expect("small");
                    let (prefix, at) = *model.iter().nth(nth).expect("there");
                    prefixes.remove(prefix, at);
                    model.remove(&(prefix, at));
                }
                prop_assert_eq!(prefixes.len(), model.len());
            }
            let all: Vec<u32> = model.iter().map(|(_, at)| *at).collect();
            prop_assert_eq!(prefixes.range(0..=u64::MAX).collect::<Vec<_>>(), all);
            let (low, high) = (low.min(high), low.max(high));
            let inside: Vec<u32> = model.range((low, 0)..=(high, u32::MAX)).map(|(_, at)| *at).collect();
            prop_assert_eq!(prefixes.range(low..=high).collect::<Vec<_>>(), inside);
        }
    }

    #[test]
    fn it_shrinks_when_most_is_gone() {
        let mut prefixes = Prefixes::new();
        let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in 0..10_000u32 {
            prefixes.insert(spread(u64::from(n)), n);
        }
        let full = prefixes.held_bytes();
        for n in 0..10_000u32 {
            prefixes.remove(spread(u64::from(n)), n);
        }
        assert!(full >= 20_000 * SLOT_BYTES && prefixes.held_bytes() < 1_000);
    }
}

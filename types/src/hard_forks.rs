//! The slots at which a cluster was restarted by agreement of its operators (reference 3.11, 12.1).

use crate::{Hash, Slot, shred::shred_version};
use std::{collections::BTreeMap, fmt};

/// The hard forks of a chain: at which slots it was restarted, and how often at each.
///
/// A block up to the slot of a hard fork was made before the restart, one above it after. The block that reaches that slot
/// gets another bank hash, and all shreds of the restarted cluster another version, so that whoever did not take part
/// cannot be confused with those who did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HardForks(BTreeMap<Slot, u64>);

impl HardForks {
    /// Those of a list; a slot that is named twice counts twice.
    #[must_use]
    pub fn new(slots: &[Slot]) -> Self {
        let mut forks = Self::default();
        slots.iter().for_each(|slot| forks.add(*slot));
        forks
    }

    /// Adds one.
    pub fn add(&mut self, slot: Slot) {
        *self.0.entry(slot).or_default() += 1;
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How often the chain was restarted at a slot.
    #[must_use]
    pub fn count(&self, slot: Slot) -> u64 {
        self.0.get(&slot).copied().unwrap_or_default()
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<Slot> {
        self.0.keys().next_back().copied()
    }

    /// Slots and counts, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, u64)> {
        self.0.iter().map(|(slot, count)| (*slot, *count))
    }

    /// What the bank hash of a block in `slot` on one in `parent` is extended with: the counts of the hard forks that lie
    /// above the one and not above the other (reference 12.1).
    #[must_use]
    pub fn between(&self, parent: Slot, slot: Slot) -> Option<u64> {
        let above = self.0.range(parent.next()..).take_while(|(fork, _)| **fork <= slot);
        above.map(|(_, count)| *count).reduce(u64::saturating_add)
    }

    /// The version of the cluster's shreds (reference 3.11).
    #[must_use]
    pub fn shred_version(&self, genesis: &Hash) -> u16 {
        let pairs: Vec<(u64, u64)> = self.iter().map(|(slot, count)| (slot.get(), count)).collect();
        shred_version(genesis, &pairs)
    }
}

impl fmt::Display for HardForks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (place, (slot, count)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            match count {
                1 => write!(f, "{comma}{slot}")?,
                _ => write!(f, "{comma}{slot} ({count} times)")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forks(slots: &[u64]) -> HardForks {
        HardForks::new(&slots.iter().map(|slot| Slot::new(*slot)).collect::<Vec<_>>())
    }

    #[test]
    fn a_block_is_extended_by_the_hard_forks_that_it_reaches() {
        let forks = forks(&[100, 100, 200]);
        let between = |parent, slot| forks.between(Slot::new(parent), Slot::new(slot));
        assert_eq!((between(98, 99), between(99, 100), between(100, 101)), (None, Some(2), None));
        assert_eq!((between(99, 104), between(99, 200), between(200, 201)), (Some(2), Some(3), None));
    }

    #[test]
    fn the_shred_version_is_of_all_of_them_in_any_order() {
        let genesis = Hash::new_from_array([3; 32]);
        let version = |slots: &[u64]| forks(slots).shred_version(&genesis);
        assert_eq!(version(&[]), shred_version(&genesis, &[]));
        assert_eq!(version(&[200, 100]), shred_version(&genesis, &[(100, 1), (200, 1)]));
        assert_eq!(version(&[100, 100]), shred_version(&genesis, &[(100, 2)]));
    }

    #[test]
    fn it_is_told_in_a_line() {
        assert_eq!(forks(&[]).to_string(), "none");
        assert_eq!(forks(&[200, 100, 100]).to_string(), "100 (2 times), 200");
    }
}

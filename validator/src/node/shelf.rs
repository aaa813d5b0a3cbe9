//! Shreds on their way into the ledger: a set that is whole takes less room, a thirtieth in an empty block, so that the
//! parts of one wait a moment for the rest.
//!
//! Nothing is promised on what waits here. A block that is whole has nothing here any more, and so nothing is frozen,
//! let alone voted for, whose shreds are not in the ledger's queue.

use std::{collections::BTreeMap, time::Duration};
use sundog_types::{
    FecSetIndex, Now, ShredIndex, Slot,
    machine::earliest,
    shred::{Kind, SHREDS_PER_KIND, Shred, Signed},
};

/// How long the first shred of a set waits for the rest. A leader sends a set at once; what is still missing after this is
/// lost or far away, and others may ask for what is here, which the ledger serves.
const WAIT: Duration = Duration::from_millis(20);
/// Shreds that wait: 10 MB, some hundred milliseconds of the busiest leader. Full: all that waits is written as it is.
pub(super) const SHELF_MAX: usize = 8_192;

type Set = (Slot, FecSetIndex);

struct Part {
    since: Now,
    shreds: BTreeMap<ShredIndex, Shred<Signed>>,
}

/// The sets that are not whole yet.
#[derive(Default)]
pub(super) struct Shelf {
    parts: BTreeMap<Set, Part>,
    held: usize,
}

impl Shelf {
    /// Takes shreds; those that are to be written now, each set in its order. Code shreds are passed over.
    pub(super) fn add(&mut self, now: Now, shreds: &[Shred<Signed>]) -> Vec<Shred<Signed>> {
        let mut ready = Vec::new();
        for shred in shreds.iter().filter(|shred| shred.kind() == Kind::Data) {
            let set = (shred.slot(), shred.fec_set_index());
            let part = self.parts.entry(set).or_insert_with(|| Part { since: now, shreds: BTreeMap::new() });
            self.held += usize::from(part.shreds.insert(shred.index(), shred.clone()).is_none());
            if part.shreds.len() == SHREDS_PER_KIND {
                self.take(set, &mut ready);
            }
        }
        if self.held > SHELF_MAX {
            ready.append(&mut self.take_all());
        }
        ready
    }

    /// What has waited long enough.
    pub(super) fn take_due(&mut self, now: Now) -> Vec<Shred<Signed>> {
        self.take_if(|_, part| now.reached(part.since.after(WAIT)))
    }

    /// All of a slot.
    pub(super) fn take_slot(&mut self, slot: Slot) -> Vec<Shred<Signed>> {
        self.take_if(|(of, _), _| *of == slot)
    }

    /// All.
    pub(super) fn take_all(&mut self) -> Vec<Shred<Signed>> {
        self.take_if(|_, _| true)
    }

    pub(super) fn poll_timeout(&self) -> Option<Now> {
        self.parts.values().map(|part| Some(part.since.after(WAIT))).fold(None, earliest)
    }

    fn take_if(&mut self, which: impl Fn(&Set, &Part) -> bool) -> Vec<Shred<Signed>> {
        let sets: Vec<Set> = self.parts.iter().filter(|(set, part)| which(set, part)).map(|(set, _)| *set).collect();
        let mut taken = Vec::new();
        sets.into_iter().for_each(|set| self.take(set, &mut taken));
        taken
    }

    fn take(&mut self, set: Set, into: &mut Vec<Shred<Signed>>) {
        if let Some(part) = self.parts.remove(&set) {
            self.held -= part.shreds.len();
            into.extend(part.shreds.into_values());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use solana_keypair::Keypair;
    use sundog_turbine::Shredder;
    use sundog_types::{Hash, sign::Identity};

    const T0: Now = Now { mono_us: 1_000_000, unix_ms: 0 };

    fn sets(slot: u64, bytes: usize) -> Vec<Vec<Shred<Signed>>> {
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let mut shredder = Shredder::new(Slot::new(slot), Slot::new(slot - 1), 7, Hash::default()).expect("near");
        let sets = shredder.shred(&vec![1; bytes], 0, true, &leader).expect("it fits");
        sets.into_iter().map(|set| [set.data, set.code].concat()).collect()
    }

    fn indexes(shreds: &[Shred<Signed>]) -> Vec<u32> {
        shreds.iter().map(|shred| shred.index().get()).collect()
    }

    #[test]
    fn a_set_leaves_when_it_is_whole_in_its_order() {
        let set = sets(5, 9).swap_remove(0);
        let mut shelf = Shelf::default();
        assert!(shelf.add(T0, &set[20..]).is_empty());
        assert_eq!(shelf.poll_timeout(), Some(T0.after(WAIT)));
        assert_eq!(indexes(&shelf.add(T0, &set[..20])), (0..32).collect::<Vec<_>>());
        assert_eq!((shelf.poll_timeout(), shelf.held), (None, 0));
    }

    #[test]
    fn what_lacks_something_leaves_after_a_while_or_when_its_block_is_whole() {
        let (one, other) = (sets(5, 9).swap_remove(0), sets(6, 9).swap_remove(0));
        let mut shelf = Shelf::default();
        assert!(shelf.add(T0, &one[3..5]).is_empty());
        let later = T0.after(WAIT / 2);
        assert!(shelf.add(later, &other[..7]).is_empty() && shelf.take_due(later).is_empty());
        assert_eq!(indexes(&shelf.take_due(T0.after(WAIT))), [3, 4]);
        assert!(shelf.take_slot(Slot::new(5)).is_empty());
        assert_eq!(shelf.take_slot(Slot::new(6)).len(), 7);
        assert!(shelf.take_all().is_empty());
    }

    #[test]
    fn a_full_shelf_is_emptied() {
        let mut shelf = Shelf::default();
        let sets = sets(5, 9_000_000);
        let mut ready = 0;
        for set in &sets {
            ready += shelf.add(T0, &set[..31]).len();
            assert!(shelf.held <= SHELF_MAX);
        }
        assert!(ready > SHELF_MAX, "nothing is lost");
        assert_eq!(ready + shelf.take_all().len(), 31 * sets.len());
    }
}

//! What is kept of coordinated restarts, and how a ledger goes back to the slot of one.

use crate::{
    Ledger, LedgerError,
    error::{decode, encode},
    keys,
    purge::Sweep,
};
use serde::{Deserialize, Serialize};
use sundog_types::{
    HardForks, Hash, Slot,
    store::{Batch, Space},
};

/// The coordinated restarts that a ledger has gone through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// At which slots.
    pub forks: HardForks,
    /// The SHA-256 of the tower file that was there at the newest one. Its promises above that slot are void by agreement:
    /// it is not to be read again.
    pub void_tower: Option<Hash>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    forks: Vec<(Slot, u64)>,
    void_tower: Option<Hash>,
}

/// Keeps the restarts, in place of those kept before.
pub fn put_restarts(batch: &mut Batch, restarts: &Restarts) {
    let kept = Kept { forks: restarts.forks.iter().collect(), void_tower: restarts.void_tower };
    batch.put(Space::Singles, keys::RESTARTS, encode(&kept));
}

impl Ledger {
    /// The restarts it has gone through; none if nothing is kept of any.
    ///
    /// # Errors
    /// If the store fails or the value does not decode.
    pub fn restarts(&self) -> Result<Restarts, LedgerError> {
        let Some(bytes) = self.single(keys::RESTARTS)? else { return Ok(Restarts::default()) };
        let Kept { forks, void_tower } = decode(&bytes, "the list of hard forks")?;
        let mut restarts = Restarts { void_tower, ..Restarts::default() };
        for (slot, count) in forks {
            (0..count).for_each(|_| restarts.forks.add(slot));
        }
        Ok(restarts)
    }

    /// The changes that remove all that is known of slots above `slot`, but for marks of roots, of which there are none;
    /// about `limit` rows at once. Empty: nothing is left. Commit it before the next call.
    ///
    /// # Errors
    /// If the store fails.
    pub fn purge_above(&self, slot: Slot, limit: usize) -> Result<Batch, LedgerError> {
        let mut batch = Batch::default();
        let mut sweep = Sweep { store: &*self.store, room: limit, batch: &mut batch };
        sweep.blocks(&keys::slot(slot.next()), &[0xff; 13])?;
        for family in [keys::timeline, keys::duplicate, keys::meta] {
            sweep.rows(Space::Slots, &family(slot.next()), &family(Slot::new(u64::MAX)))?;
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, SlotMeta, put_duplicate, put_meta, put_timeline};
    use std::sync::Arc;
    use sundog_types::store::Store as _;

    #[test]
    fn restarts_are_kept_and_there_are_none_at_first() {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::new(Arc::<MemoryStore>::clone(&store));
        assert_eq!(ledger.restarts().unwrap(), Restarts::default());
        let forks = HardForks::new(&[Slot::new(7), Slot::new(7), Slot::new(90)]);
        let restarts = Restarts { forks, void_tower: Some(Hash::new_from_array([5; 32])) };
        let mut batch = Batch::default();
        put_restarts(&mut batch, &restarts);
        store.commit(&batch, true).unwrap();
        assert_eq!(ledger.restarts().unwrap(), restarts);
        let mut torn = Batch::default();
        torn.put(Space::Singles, keys::RESTARTS, vec![1, 2]);
        store.commit(&torn, true).unwrap();
        assert!(ledger.restarts().unwrap_err().to_string().contains("list of hard forks"));
    }

    #[test]
    fn what_lies_above_a_slot_goes_piece_by_piece_and_the_rest_stays() {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::new(Arc::<MemoryStore>::clone(&store));
        let mut batch = Batch::default();
        for slot in (1..=20).map(Slot::new) {
            put_meta(&mut batch, slot, &SlotMeta::default());
            put_timeline(&mut batch, slot, vec![1]);
            put_duplicate(&mut batch, slot, vec![2].into());
            for index in 0..4 {
                batch.put(Space::DataShreds, keys::place(slot, index).to_vec(), vec![3]);
            }
        }
        store.commit(&batch, true).unwrap();
        let mut rounds = 0;
        loop {
            let batch = ledger.purge_above(Slot::new(12), 10).unwrap();
            if batch.is_empty() {
                break;
            }
            assert!(batch.writes.len() <= 10);
            store.commit(&batch, false).unwrap();
            rounds += 1;
        }
        assert!(rounds >= 8 * 7 / 10, "{rounds}");
        let slots: Vec<u64> =
            ledger.slots(Slot::ZERO, Slot::new(99), 99).unwrap().into_iter().map(|(slot, _)| slot.get()).collect();
        assert_eq!(slots, (1..=12).collect::<Vec<_>>());
        assert_eq!(ledger.shred_slots(Slot::ZERO, 99).unwrap().len(), 12);
        assert!(
            ledger.timeline(Slot::new(12)).unwrap().is_some() && ledger.duplicate(Slot::new(13)).unwrap().is_none()
        );
    }
}

//! Forgetting by age.

use crate::{Ledger, LedgerError, TRANSACTIONS_PER_BLOCK_MAX, TransactionRecord, error::decode, keys};
use sundog_types::{
    Slot,
    shred::{MAX_SHREDS_PER_SLOT, SHREDS_PER_KIND},
    store::{Batch, Space, Store},
};

impl Ledger {
    /// The changes that remove what is known of slots below `below`; at most `limit` rows of them at once. Empty:
    /// nothing is left to remove. Commit it before the next call.
    ///
    /// How far it came is kept, so that the next call does not pass over what was removed. Rows that do not decode
    /// are removed as well.
    ///
    /// # Errors
    /// If the store fails.
    pub fn purge(&self, below: Slot, limit: usize) -> Result<Batch, LedgerError> {
        let mut batch = Batch::default();
        // A mark that does not decode only costs time.
        let from = Slot::new(self.number(keys::PURGED, "a purge mark").ok().flatten().unwrap_or(0));
        if from >= below {
            return Ok(batch);
        }
        let mut sweep = Sweep { store: &*self.store, room: limit, batch: &mut batch };
        // Shreds first: they are the most, and the metadata that says what is there goes last.
        sweep.blocks(&keys::slot(from), &keys::slot(below))?;
        for family in [keys::timeline, keys::duplicate, keys::settled, keys::meta, keys::rooted] {
            sweep.rows(Space::Slots, &family(from), &family(below))?;
        }
        if sweep.room > 0 {
            batch.put(Space::Singles, keys::PURGED, keys::slot(below).to_vec());
        }
        Ok(batch)
    }
}

impl Ledger {
    /// The changes that remove a block that lost: shreds, transactions, metadata and timeline. The proof that its leader
    /// made two versions stays. Writes of its `shreds` first shreds that wait in a queue are undone as well.
    ///
    /// # Errors
    /// If the store fails.
    pub fn forget(&self, slot: Slot, shreds: u32) -> Result<Batch, LedgerError> {
        let mut batch = Batch::default();
        let (first, last) = (keys::slot(slot), keys::slot(slot.next()));
        for index in 0..shreds.min(MAX_SHREDS_PER_SLOT) {
            batch.delete(Space::DataShreds, keys::place(slot, index).to_vec());
            if index.is_multiple_of(SHREDS_PER_KIND as u32) {
                batch.delete(Space::FecSets, keys::place(slot, index).to_vec());
            }
        }
        let room = 2 * MAX_SHREDS_PER_SLOT as usize + TRANSACTIONS_PER_BLOCK_MAX;
        Sweep { store: &*self.store, room, batch: &mut batch }.blocks(&first, &last)?;
        batch.delete(Space::Slots, keys::timeline(slot).to_vec());
        batch.delete(Space::Slots, keys::settled(slot).to_vec());
        batch.delete(Space::Slots, keys::meta(slot).to_vec());
        Ok(batch)
    }
}

/// Removes stretches of rows while there is room.
pub(crate) struct Sweep<'a> {
    /// Where they are.
    pub(crate) store: &'a dyn Store,
    /// Rows that may still be removed.
    pub(crate) room: usize,
    /// What removes them.
    pub(crate) batch: &'a mut Batch,
}

impl Sweep<'_> {
    /// Rows from one key to before another.
    pub(crate) fn rows(&mut self, space: Space, first: &[u8], last: &[u8]) -> Result<(), LedgerError> {
        for (key, value) in self.store.range(space, first, last, self.room)? {
            if space == Space::Transactions {
                forget_transaction(self.batch, &key, &value);
            }
            self.batch.delete(space, key);
            self.room -= 1;
        }
        Ok(())
    }

    /// Shreds and transactions.
    pub(crate) fn blocks(&mut self, first: &[u8], last: &[u8]) -> Result<(), LedgerError> {
        let mut spaces = [Space::DataShreds, Space::FecSets, Space::Transactions].into_iter();
        spaces.try_for_each(|space| self.rows(space, first, last))
    }
}

/// Removes the rows that lead to a transaction.
fn forget_transaction(batch: &mut Batch, key: &[u8], value: &[u8]) {
    let place = keys::place_at_end(key, 12);
    let record = decode::<TransactionRecord>(value, "a transaction");
    if let (Ok((slot, index)), Ok(record)) = (place, record) {
        batch.delete(Space::Signatures, keys::signature(&record.signature(), slot).to_vec());
        for address in record.addresses() {
            batch.delete(Space::Addresses, keys::address(address, slot, index).to_vec());
        }
    }
}

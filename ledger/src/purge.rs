//! Forgetting by age.

use crate::{Ledger, LedgerError, TRANSACTIONS_PER_BLOCK_MAX, TransactionRecord, error::decode, keys};
use sundog_types::{
    Slot,
    shred::MAX_SHREDS_PER_SLOT,
    store::{Batch, Space},
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
        let mut room = limit;
        let (first, last) = (keys::slot(from), keys::slot(below));
        // Shreds first: they are the most, and the metadata that says what is there goes last.
        for space in [Space::DataShreds, Space::CodeShreds] {
            for (key, _) in self.store.range(space, &first, &last, room)? {
                batch.delete(space, key);
                room -= 1;
            }
        }
        for (key, value) in self.store.range(Space::Transactions, &first, &last, room)? {
            forget_transaction(&mut batch, &key, &value);
            batch.delete(Space::Transactions, key);
            room -= 1;
        }
        for family in [keys::timeline, keys::duplicate, keys::settled, keys::meta, keys::rooted] {
            let (first, last) = (family(from), family(below));
            for (key, _) in self.store.range(Space::Slots, &first, &last, room)? {
                batch.delete(Space::Slots, key);
                room -= 1;
            }
        }
        if room > 0 {
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
        }
        for space in [Space::DataShreds, Space::CodeShreds] {
            for (key, _) in self.store.range(space, &first, &last, MAX_SHREDS_PER_SLOT as usize)? {
                batch.delete(space, key);
            }
        }
        for (key, value) in self.store.range(Space::Transactions, &first, &last, TRANSACTIONS_PER_BLOCK_MAX)? {
            forget_transaction(&mut batch, &key, &value);
            batch.delete(Space::Transactions, key);
        }
        batch.delete(Space::Slots, keys::timeline(slot).to_vec());
        batch.delete(Space::Slots, keys::settled(slot).to_vec());
        batch.delete(Space::Slots, keys::meta(slot).to_vec());
        Ok(batch)
    }
}

/// Removes the rows that lead to a transaction.
pub(crate) fn forget_transaction(batch: &mut Batch, key: &[u8], value: &[u8]) {
    let place = keys::place_at_end(key, 12);
    let record = decode::<TransactionRecord>(value, "a transaction");
    if let (Ok((slot, index)), Ok(record)) = (place, record) {
        batch.delete(Space::Signatures, keys::signature(&record.signature(), slot).to_vec());
        for address in record.addresses() {
            batch.delete(Space::Addresses, keys::address(address, slot, index).to_vec());
        }
    }
}

//! Forgetting by age.

use crate::{Ledger, LedgerError, TransactionRecord, error::decode, keys};
use sundog_types::{
    Slot,
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
        for family in [keys::timeline, keys::duplicate, keys::meta, keys::rooted] {
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

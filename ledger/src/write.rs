//! Writes, as changes of a batch. None of them reads.

use crate::{SlotMeta, TransactionRecord, error::encode, history::Sighting, keys, packed, packed_set};
use bytes::Bytes;
use sundog_types::{
    Hash, Slot,
    shred::{Kind, Shred, Signed, View},
    store::{Batch, Space},
};

/// Keeps data shreds: a whole FEC set, if it stands there in its order, in less room than its shreds. Code shreds are
/// passed over: repair and replay ask for data only.
///
/// What is kept later counts, also if it is of another version of the slot: a set takes the place of single shreds, and a
/// single shred that comes after a set is read instead of the set's.
pub fn put_shreds(batch: &mut Batch, shreds: &[Shred<Signed>]) {
    let data: Vec<&Shred<Signed>> = shreds.iter().filter(|shred| shred.kind() == Kind::Data).collect();
    let set = |shred: &Shred<Signed>| (shred.slot(), shred.fec_set_index());
    for some in data.chunk_by(|one, other| set(one) == set(other)) {
        let (slot, index) = set(some[0]);
        let views: Vec<View<'_>> = some.iter().map(|shred| shred.view()).collect();
        if let Some(packed) = packed_set::pack(&views) {
            for shred in some {
                batch.delete(Space::DataShreds, keys::shred(slot, shred.index()).to_vec());
            }
            batch.put(Space::FecSets, keys::set(slot, index).to_vec(), packed);
            continue;
        }
        for shred in some {
            let key = keys::shred(slot, shred.index());
            batch.put(Space::DataShreds, key.to_vec(), packed::pack(shred.payload()));
        }
    }
}

/// Keeps what is known of a slot, in place of what was known before. `rooted` is not kept: see [`set_root`].
pub fn put_meta(batch: &mut Batch, slot: Slot, meta: &SlotMeta) {
    batch.put(Space::Slots, keys::meta(slot).to_vec(), encode(meta));
}

/// Keeps executed transactions of a block. `first` is the place of the first of them in the block, from 0.
pub fn put_transactions(batch: &mut Batch, slot: Slot, first: u32, records: &[TransactionRecord]) {
    for (place, record) in (first..).zip(records) {
        let signature = record.signature();
        batch.put(Space::Transactions, keys::place(slot, place).to_vec(), encode(record));
        batch.put(Space::Signatures, keys::signature(&signature, slot).to_vec(), place.to_be_bytes().to_vec());
        let sighting = Sighting { signature, err: record.meta.status.clone().err(), memo: record.memo() };
        let sighting = Bytes::from(encode(&sighting));
        for address in record.addresses() {
            batch.put(Space::Addresses, keys::address(address, slot, place).to_vec(), sighting.clone());
        }
    }
}

/// Makes `slot` the root and marks it and `chain`, the slots between the old root and it, as rooted.
pub fn set_root(batch: &mut Batch, slot: Slot, chain: &[Slot]) {
    for rooted in chain.iter().chain([&slot]) {
        batch.put(Space::Slots, keys::rooted(*rooted).to_vec(), Bytes::new());
    }
    batch.put(Space::Singles, keys::ROOT, keys::slot(slot).to_vec());
}

/// Keeps how the shreds of a slot arrived, in place of what was kept before. The bytes are whatever
/// [`Ledger::timeline`](crate::Ledger::timeline) shall give back: the ledger does not look into them.
pub fn put_timeline(batch: &mut Batch, slot: Slot, bytes: Vec<u8>) {
    batch.put(Space::Slots, keys::timeline(slot).to_vec(), bytes);
}

/// Keeps a proof that the leader of a slot signed two versions of it, so that it is still known after a restart.
pub fn put_duplicate(batch: &mut Batch, slot: Slot, proof: Bytes) {
    batch.put(Space::Slots, keys::duplicate(slot).to_vec(), proof);
}

/// Keeps the bank hash of the version of a slot that the cluster settled on, by votes for it or for what is built on it.
pub fn put_settled(batch: &mut Batch, slot: Slot, hash: &Hash) {
    batch.put(Space::Slots, keys::settled(slot).to_vec(), Bytes::copy_from_slice(hash.as_ref()));
}

/// Notes that this node has led, or is about to lead, `slot`: commit it durably before the first
/// shred of the slot leaves.
pub fn put_led(batch: &mut Batch, slot: Slot) {
    batch.put(Space::Singles, keys::LED, keys::slot(slot).to_vec());
}

//! Typed reads.

use crate::{LedgerError, SlotMeta, TransactionRecord, error::decode, keys, packed, packed_set};
use bytes::Bytes;
use std::{collections::BTreeMap, fmt, sync::Arc};
use sundog_types::{
    FecSetIndex, Hash, ShredIndex, Signature, Slot,
    shred::{MAX_SHREDS_PER_SLOT, SHREDS_PER_KIND},
    store::{Batch, Space, Store},
};

/// The most transactions of a block that are read: three times what fits into the compute limit of a block.
pub const TRANSACTIONS_PER_BLOCK_MAX: usize = 1 << 17;
/// In how many blocks a signature is looked for. Every fork may hold it, and there are few.
const FORKS_PER_SIGNATURE_MAX: usize = 64;

/// The ledger of a node, for reading. Cheap to clone; readers may be on any thread.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) store: Arc<dyn Store>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

/// A transaction, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The slot of its block.
    pub slot: Slot,
    /// Its place in the block, from 0.
    pub index: u32,
    /// The transaction with what became of it.
    pub record: TransactionRecord,
}

/// A block as it was executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Its slot.
    pub slot: Slot,
    /// What is known of the slot.
    pub meta: SlotMeta,
    /// Its transactions in order.
    pub transactions: Vec<TransactionRecord>,
}

impl Ledger {
    /// Reads from a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Claims the store for a chain: an empty one is marked, durably; one of another chain is refused.
    ///
    /// # Errors
    /// If the store belongs to another genesis or has another format, or if it fails.
    pub fn claim(&self, genesis: &Hash) -> Result<(), LedgerError> {
        let Some(stored) = self.single(keys::GENESIS)? else {
            let mut batch = Batch::default();
            batch.put(Space::Singles, keys::GENESIS, Bytes::copy_from_slice(genesis.as_ref()));
            batch.put(Space::Singles, keys::FORMAT_NAME, keys::FORMAT.to_be_bytes().to_vec());
            return Ok(self.store.commit(&batch, true)?);
        };
        let stored = <[u8; 32]>::try_from(&stored[..]).map_err(|_| LedgerError::corrupt("a genesis hash"))?;
        let stored = Hash::new_from_array(stored);
        if stored != *genesis {
            return Err(LedgerError::OtherGenesis { stored, wanted: *genesis });
        }
        let format = self.number(keys::FORMAT_NAME, "its format")?.unwrap_or(0);
        if format != keys::FORMAT {
            return Err(LedgerError::OtherFormat { stored: format, wanted: keys::FORMAT });
        }
        Ok(())
    }

    pub(crate) fn single(&self, name: &[u8]) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.store.get(Space::Singles, name)?)
    }

    pub(crate) fn number(&self, name: &[u8], what: &'static str) -> Result<Option<u64>, LedgerError> {
        self.single(name)?.map(|bytes| keys::number(&bytes, what)).transpose()
    }

    /// The rooted slot, if there is one yet.
    ///
    /// # Errors
    /// If the store fails or the value does not decode.
    pub fn root(&self) -> Result<Option<Slot>, LedgerError> {
        Ok(self.number(keys::ROOT, "a root")?.map(Slot::new))
    }

    /// The last slot that this node led, or was about to. It must not lead a slot up to that one again.
    ///
    /// # Errors
    /// If the store fails or the value does not decode; then the node must not lead at all.
    pub fn last_led(&self) -> Result<Option<Slot>, LedgerError> {
        Ok(self.number(keys::LED, "a last led slot")?.map(Slot::new))
    }

    /// Whether a slot is rooted.
    ///
    /// # Errors
    /// If the store fails.
    pub fn is_rooted(&self, slot: Slot) -> Result<bool, LedgerError> {
        Ok(self.store.get(Space::Slots, &keys::rooted(slot))?.is_some())
    }

    /// At most `limit` rooted slots from `first` to `last`, both included, in ascending order.
    ///
    /// # Errors
    /// If the store fails or a key does not decode.
    pub fn rooted_slots(&self, first: Slot, last: Slot, limit: usize) -> Result<Vec<Slot>, LedgerError> {
        let (from, to) = (keys::rooted(first), keys::rooted(last.saturating_add(1)));
        let rows = self.store.range(Space::Slots, &from, &to, limit)?;
        rows.iter().map(|(key, _)| keys::slot_at_end(key, 9)).collect()
    }

    /// The lowest slot that something is known of.
    ///
    /// # Errors
    /// If the store fails or a key does not decode.
    pub fn lowest_slot(&self) -> Result<Option<Slot>, LedgerError> {
        let (from, to) = (keys::meta(Slot::ZERO), keys::meta(Slot::new(u64::MAX)));
        let rows = self.store.range(Space::Slots, &from, &to, 1)?;
        rows.first().map(|(key, _)| keys::slot_at_end(key, 9)).transpose()
    }

    /// At most `limit` slots from `first` to `last`, both included, with what is known of them, in ascending order.
    ///
    /// # Errors
    /// If the store fails or something does not decode.
    pub fn slots(&self, first: Slot, last: Slot, limit: usize) -> Result<Vec<(Slot, SlotMeta)>, LedgerError> {
        let (from, to) = (keys::meta(first), keys::meta(last.saturating_add(1)));
        let rows = self.store.range(Space::Slots, &from, &to, limit)?;
        let read = |(key, value): &(Bytes, Bytes)| {
            let slot = keys::slot_at_end(key, 9)?;
            Ok((slot, self.with_root_mark(slot, value)?))
        };
        rows.iter().map(read).collect()
    }

    /// What is known of a slot.
    ///
    /// # Errors
    /// If the store fails or the value does not decode.
    pub fn slot_meta(&self, slot: Slot) -> Result<Option<SlotMeta>, LedgerError> {
        let value = self.store.get(Space::Slots, &keys::meta(slot))?;
        value.map(|value| self.with_root_mark(slot, &value)).transpose()
    }

    fn with_root_mark(&self, slot: Slot, value: &[u8]) -> Result<SlotMeta, LedgerError> {
        let meta: SlotMeta = decode(value, "metadata of a slot")?;
        Ok(SlotMeta { rooted: self.is_rooted(slot)?, ..meta })
    }

    /// How the shreds of a slot arrived, as [`put_timeline`](crate::put_timeline) was given it.
    ///
    /// # Errors
    /// If the store fails.
    pub fn timeline(&self, slot: Slot) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.store.get(Space::Slots, &keys::timeline(slot))?)
    }

    /// The proof that the leader of a slot signed two versions of it, if one was found.
    ///
    /// # Errors
    /// If the store fails.
    pub fn duplicate(&self, slot: Slot) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.store.get(Space::Slots, &keys::duplicate(slot))?)
    }

    /// The bank hash of a slot, if its version that is here is the one that the cluster settled on: it is rooted, or was
    /// kept as settled.
    ///
    /// # Errors
    /// If the store fails or the metadata does not decode.
    pub fn settled(&self, slot: Slot) -> Result<Option<Hash>, LedgerError> {
        let Some(meta) = self.slot_meta(slot)?.filter(SlotMeta::executed) else { return Ok(None) };
        let kept = self.store.get(Space::Slots, &keys::settled(slot))?;
        let settled = meta.rooted || kept.is_some_and(|kept| kept[..] == *meta.bank_hash.as_ref());
        Ok(settled.then_some(meta.bank_hash))
    }

    /// The bank hashes of a settled slot and of the blocks below it, the slot first, at most `limit`; as far as they are
    /// here. Empty: it is not settled.
    ///
    /// # Errors
    /// If the store fails or metadata does not decode.
    pub fn ancestor_hashes(&self, slot: Slot, limit: usize) -> Result<Vec<(Slot, Hash)>, LedgerError> {
        let mut hashes = Vec::new();
        if self.settled(slot)?.is_none() {
            return Ok(hashes);
        }
        let mut next = Some(slot);
        while let Some(at) = next.filter(|_| hashes.len() < limit)
            && let Some(meta) = self.slot_meta(at)?.filter(SlotMeta::executed)
        {
            hashes.push((at, meta.bank_hash));
            next = Some(meta.parent).filter(|parent| *parent < at);
        }
        Ok(hashes)
    }

    /// A data shred as it came.
    ///
    /// # Errors
    /// If the store fails or the shred does not decode.
    pub fn data_shred(&self, slot: Slot, index: ShredIndex) -> Result<Option<Bytes>, LedgerError> {
        if let Some(shred) = self.store.get(Space::DataShreds, &keys::shred(slot, index))? {
            return packed::unpack(&shred).map(Some);
        }
        let place = index.get() % SHREDS_PER_KIND as u32;
        let set = FecSetIndex::new(index.get() - place);
        let Some(set) = self.store.get(Space::FecSets, &keys::set(slot, set))? else { return Ok(None) };
        Ok(packed_set::unpack(&set)?.into_iter().nth(place as usize))
    }

    /// The data shred of a slot with the highest index.
    ///
    /// # Errors
    /// If the store fails or the shred does not decode.
    pub fn highest_data_shred(&self, slot: Slot) -> Result<Option<Bytes>, LedgerError> {
        let (from, to) = (keys::slot(slot), keys::slot(slot.saturating_add(1)));
        let highest = |space, above: u32| match self.store.range_back(space, &from, &to, 1)?.pop() {
            Some((key, _)) => Ok(Some(keys::place_at_end(&key, 12)?.1.saturating_add(above))),
            None => Ok::<_, LedgerError>(None),
        };
        let last_of_set = SHREDS_PER_KIND as u32 - 1;
        let index = highest(Space::FecSets, last_of_set)?.max(highest(Space::DataShreds, 0)?);
        index.map_or(Ok(None), |index| self.data_shred(slot, ShredIndex::new(index)))
    }

    /// The data shreds of a slot in the order of their indexes, gaps left out.
    ///
    /// # Errors
    /// If the store fails or a shred does not decode.
    pub fn data_shreds(&self, slot: Slot) -> Result<Vec<Bytes>, LedgerError> {
        let (from, to) = (keys::slot(slot), keys::slot(slot.saturating_add(1)));
        let rows = |space| self.store.range(space, &from, &to, MAX_SHREDS_PER_SLOT as usize);
        let mut by_place = BTreeMap::new();
        for (key, set) in rows(Space::FecSets)? {
            let (_, first) = keys::place_at_end(&key, 12)?;
            by_place.extend((first..).zip(packed_set::unpack(&set)?));
        }
        for (key, shred) in rows(Space::DataShreds)? {
            by_place.insert(keys::place_at_end(&key, 12)?.1, packed::unpack(&shred)?);
        }
        Ok(by_place.into_values().collect())
    }

    /// At most `limit` slots from `first` on of which a data shred is kept, in ascending order.
    ///
    /// # Errors
    /// If the store fails or a key does not decode.
    pub fn shred_slots(&self, first: Slot, limit: usize) -> Result<Vec<Slot>, LedgerError> {
        let mut slots = Vec::new();
        let mut from = first;
        while slots.len() < limit {
            let end = keys::slot(Slot::new(u64::MAX));
            let next = |space| match self.store.range(space, &keys::slot(from), &end, 1)?.first() {
                Some((key, _)) => Ok(Some(keys::place_at_end(key, 12)?.0)),
                None => Ok::<_, LedgerError>(None),
            };
            let found = [next(Space::FecSets)?, next(Space::DataShreds)?];
            let Some(slot) = found.into_iter().flatten().min() else { break };
            slots.push(slot);
            from = slot.next();
        }
        Ok(slots)
    }

    /// Where a signature is: slot and place, newest slot first.
    ///
    /// # Errors
    /// If the store fails or something does not decode.
    pub fn places(&self, signature: &Signature) -> Result<Vec<(Slot, u32)>, LedgerError> {
        let (from, to) = (keys::signature(signature, Slot::ZERO), keys::signature(signature, Slot::new(u64::MAX)));
        let rows = self.store.range_back(Space::Signatures, &from, &to, FORKS_PER_SIGNATURE_MAX)?;
        let read = |(key, value): &(Bytes, Bytes)| {
            let place = <[u8; 4]>::try_from(&value[..]).map_err(|_| LedgerError::corrupt("a place"))?;
            Ok((keys::slot_at_end(key, 72)?, u32::from_be_bytes(place)))
        };
        rows.iter().map(read).collect()
    }

    /// A transaction, from the newest block that holds it and that `on_fork` accepts.
    ///
    /// # Errors
    /// If the store fails or something does not decode.
    pub fn transaction_on(
        &self,
        signature: &Signature,
        on_fork: &dyn Fn(Slot) -> bool,
    ) -> Result<Option<Located>, LedgerError> {
        for (slot, index) in self.places(signature)? {
            if on_fork(slot)
                && let Some(record) = self.transaction_at(slot, index)?
            {
                return Ok(Some(Located { slot, index, record }));
            }
        }
        Ok(None)
    }

    /// A transaction, from the rooted block that holds it, else from the newest.
    ///
    /// # Errors
    /// If the store fails or something does not decode.
    pub fn transaction(&self, signature: &Signature) -> Result<Option<Located>, LedgerError> {
        for (slot, index) in self.places(signature)? {
            if self.is_rooted(slot)?
                && let Some(record) = self.transaction_at(slot, index)?
            {
                return Ok(Some(Located { slot, index, record }));
            }
        }
        self.transaction_on(signature, &|_| true)
    }

    /// The transaction at a place of a block.
    ///
    /// # Errors
    /// If the store fails or the value does not decode.
    pub fn transaction_at(&self, slot: Slot, index: u32) -> Result<Option<TransactionRecord>, LedgerError> {
        let value = self.store.get(Space::Transactions, &keys::place(slot, index))?;
        value.map(|value| decode(&value, "a transaction")).transpose()
    }

    /// The transactions of a block in order.
    ///
    /// # Errors
    /// If the store fails or a value does not decode.
    pub fn transactions(&self, slot: Slot) -> Result<Vec<TransactionRecord>, LedgerError> {
        let (from, to) = (keys::slot(slot), keys::slot(slot.saturating_add(1)));
        let rows = self.store.range(Space::Transactions, &from, &to, TRANSACTIONS_PER_BLOCK_MAX)?;
        rows.iter().map(|(_, value)| decode(value, "a transaction")).collect()
    }

    /// A block, if it was executed to its end.
    ///
    /// # Errors
    /// If the store fails or something does not decode.
    pub fn block(&self, slot: Slot) -> Result<Option<Block>, LedgerError> {
        let Some(meta) = self.slot_meta(slot)?.filter(|meta| meta.executed() && !meta.dead) else {
            return Ok(None);
        };
        let transactions = self.transactions(slot)?;
        Ok(Some(Block { slot, meta, transactions }))
    }
}

//! What became of the recent transactions of a fork: none lands twice, and clients can ask.

use crate::{
    layers::Seeded,
    runs::{Runs, fingerprint},
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize, Serializer};
use solana_transaction_error::TransactionError;
use std::{hash::Hash as Key, sync::Arc};
use sundog_types::{Hash, Signature};

/// Blocks remembered: twice as many as a blockhash lives. A durable nonce cannot be used again anyway
/// once it has advanced.
pub const STATUS_BLOCKS_MAX: usize = 300;

/// A status: the transaction's outcome.
pub type Status = Result<(), TransactionError>;

/// The transactions of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub(crate) struct BlockStatuses {
    pub(crate) slot: u64,
    pub(crate) block_height: u64,
    #[serde(serialize_with = "as_map")]
    messages: IndexMap<Hash, (), Seeded>,
    #[serde(serialize_with = "as_map")]
    signatures: IndexMap<Signature, Status, Seeded>,
}

/// How statuses are kept in the store: the maps one pair after the other.
#[derive(Deserialize)]
struct Saved {
    slot: u64,
    block_height: u64,
    messages: Vec<(Hash, ())>,
    signatures: Vec<(Signature, Status)>,
}

fn as_map<K: Serialize + Key + Eq, V: Serialize, S: Serializer>(
    map: &IndexMap<K, V, Seeded>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map)
}

impl From<Saved> for BlockStatuses {
    fn from(saved: Saved) -> Self {
        let Saved { slot, block_height, messages, signatures } = saved;
        let (messages, signatures) = (messages.into_iter().collect(), signatures.into_iter().collect());
        Self { slot, block_height, messages, signatures }
    }
}

impl BlockStatuses {
    pub(crate) fn new(slot: u64, block_height: u64, seed: Seeded) -> Self {
        let (messages, signatures) = (IndexMap::with_hasher(seed), IndexMap::with_hasher(seed));
        Self { slot, block_height, messages, signatures }
    }

    pub(crate) fn insert(&mut self, message: Hash, signature: Signature, status: Status) {
        self.messages.insert(message, ());
        self.signatures.insert(signature, status);
    }

    /// Gives back the room for more.
    pub(crate) fn shrink(&mut self) {
        self.messages.shrink_to_fit();
        self.signatures.shrink_to_fit();
    }

    pub(crate) fn contains(&self, message: &Hash) -> bool {
        self.messages.contains_key(message)
    }

    pub(crate) fn status(&self, signature: &Signature) -> Option<(u64, Status)> {
        Some((self.slot, self.signatures.get(signature)?.clone()))
    }
}

/// A message hash is its own fingerprint: nobody can choose two that begin alike.
fn message_print(message: &Hash) -> u64 {
    u64::from_be_bytes(message.as_bytes()[..8].try_into().expect("eight bytes"))
}

/// The recent blocks of a fork, shared with its other forks as far as they have them in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusCache {
    /// Oldest first, at most [`STATUS_BLOCKS_MAX`], their heights one after the other; the bank's own block is not in
    /// it until it is frozen.
    blocks: Vec<Arc<BlockStatuses>>,
    /// In which of them a message may be, and a signature.
    messages: Runs,
    signatures: Runs,
}

impl StatusCache {
    pub(crate) fn restore(mut blocks: Vec<BlockStatuses>) -> Self {
        blocks.sort_by_key(|block| block.slot);
        let mut cache = Self::default();
        blocks.into_iter().for_each(|block| cache.push(Arc::new(block)));
        cache
    }

    /// Adds a frozen block; the oldest goes when there is no room.
    pub(crate) fn push(&mut self, block: Arc<BlockStatuses>) {
        if self.blocks.len() >= STATUS_BLOCKS_MAX {
            self.blocks.remove(0);
        }
        let height = block.block_height;
        self.messages.push(height, block.messages.keys().map(message_print).collect());
        self.signatures.push(height, block.signatures.keys().map(|key| fingerprint(key.as_ref())).collect());
        self.blocks.push(block);
        let oldest = self.oldest();
        self.messages.forget(oldest);
        self.signatures.forget(oldest);
    }

    /// The height of the oldest block.
    fn oldest(&self) -> u64 {
        self.blocks.first().map_or(0, |block| block.block_height)
    }

    pub(crate) fn blocks(&self) -> &[Arc<BlockStatuses>] {
        &self.blocks
    }

    fn at(&self, height: u64) -> Option<&BlockStatuses> {
        let place = usize::try_from(height.checked_sub(self.oldest())?).ok()?;
        self.blocks.get(place).map(|block| &**block)
    }

    /// Whether one of the last `age` blocks (all, if `None`) has a transaction with this message hash.
    pub(crate) fn contains(&self, message: &Hash, age: Option<u64>) -> bool {
        let Some(newest) = self.blocks.last() else { return false };
        let from = age.map_or(0, |age| (newest.block_height + 1).saturating_sub(age)).max(self.oldest());
        let has = |height| self.at(height).filter(|block| block.contains(message)).map(|_| ());
        self.messages.find(message_print(message), from, has).is_some()
    }

    /// Slot and status of a transaction.
    pub(crate) fn status(&self, signature: &Signature) -> Option<(u64, Status)> {
        let status = |height| self.at(height)?.status(signature);
        self.signatures.find(fingerprint(signature.as_ref()), self.oldest(), status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8) -> Hash {
        Hash::new_from_array([number; 32])
    }

    #[test]
    fn the_oldest_block_goes_when_it_is_full() {
        let mut cache = StatusCache::default();
        for slot in 0..400 {
            let mut block = BlockStatuses::new(slot, slot, Seeded::default());
            block.insert(message((slot % 251) as u8), Signature::from([slot as u8; 64]), Ok(()));
            cache.push(Arc::new(block));
        }
        assert_eq!(cache.blocks().len(), STATUS_BLOCKS_MAX);
        assert_eq!(cache.blocks()[0].slot, 100);
        assert!(cache.contains(&message((399 % 251) as u8), Some(1)));
        assert!(!cache.contains(&message((398 % 251) as u8), Some(1)));
        assert!(cache.contains(&message((398 % 251) as u8), None));
    }
}

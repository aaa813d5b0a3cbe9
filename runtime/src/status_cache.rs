//! What became of the recent transactions of a fork: none lands twice, and clients can ask.

use serde::{Deserialize, Serialize};
use solana_transaction_error::TransactionError;
use std::{collections::BTreeMap, sync::Arc};
use sundog_types::{Hash, Signature};

/// Blocks remembered: twice as many as a blockhash lives. A durable nonce cannot be used again anyway
/// once it has advanced.
pub const STATUS_BLOCKS_MAX: usize = 300;

/// A status: the transaction's outcome.
pub type Status = Result<(), TransactionError>;

/// The transactions of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockStatuses {
    pub(crate) slot: u64,
    pub(crate) block_height: u64,
    messages: BTreeMap<Hash, ()>,
    signatures: BTreeMap<Signature, Status>,
}

impl BlockStatuses {
    pub(crate) fn new(slot: u64, block_height: u64) -> Self {
        Self { slot, block_height, ..Self::default() }
    }

    pub(crate) fn insert(&mut self, message: Hash, signature: Signature, status: Status) {
        self.messages.insert(message, ());
        self.signatures.insert(signature, status);
    }
}

/// The recent blocks of a fork, shared with its other forks as far as they have them in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusCache {
    /// Oldest first, at most [`STATUS_BLOCKS_MAX`]; the bank's own block is not in it until it is frozen.
    blocks: Vec<Arc<BlockStatuses>>,
}

impl StatusCache {
    pub(crate) fn restore(mut blocks: Vec<BlockStatuses>) -> Self {
        blocks.sort_by_key(|block| block.slot);
        Self { blocks: blocks.into_iter().map(Arc::new).collect() }
    }

    /// Adds a frozen block; the oldest goes when there is no room.
    pub(crate) fn push(&mut self, block: Arc<BlockStatuses>) {
        if self.blocks.len() >= STATUS_BLOCKS_MAX {
            self.blocks.remove(0);
        }
        self.blocks.push(block);
    }

    pub(crate) fn blocks(&self) -> &[Arc<BlockStatuses>] {
        &self.blocks
    }

    /// Whether one of the last `age` blocks (all, if `None`) has a transaction with this message hash.
    pub(crate) fn contains(&self, message: &Hash, age: Option<u64>) -> bool {
        let take = age.map_or(usize::MAX, |age| usize::try_from(age).unwrap_or(usize::MAX));
        self.blocks.iter().rev().take(take).any(|block| block.messages.contains_key(message))
    }

    /// Slot and status of a transaction.
    pub(crate) fn status(&self, signature: &Signature) -> Option<(u64, Status)> {
        let found = |block: &Arc<BlockStatuses>| Some((block.slot, block.signatures.get(signature)?.clone()));
        self.blocks.iter().rev().find_map(found)
    }
}

impl BlockStatuses {
    pub(crate) fn contains(&self, message: &Hash) -> bool {
        self.messages.contains_key(message)
    }

    pub(crate) fn status(&self, signature: &Signature) -> Option<(u64, Status)> {
        Some((self.slot, self.signatures.get(signature)?.clone()))
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
            let mut block = BlockStatuses::new(slot, slot);
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

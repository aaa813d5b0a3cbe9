//! The recent blockhashes of a fork: which transactions are young enough (reference 1.11).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sundog_types::Hash;

/// Hashes are kept for this many blocks after theirs.
pub const BLOCKHASHES_MAX: u64 = 300;
/// A transaction can land while its blockhash is at most this many blocks old.
pub const PROCESSING_AGE_MAX: u64 = 150;
/// Entries of the RecentBlockhashes sysvar.
const SYSVAR_ENTRIES: usize = 150;
/// Length of the RecentBlockhashes sysvar's data.
const SYSVAR_BYTES: usize = 8 + SYSVAR_ENTRIES * 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Registered {
    index: u64,
    lamports_per_signature: u64,
}

/// The last hashes of the blocks of one fork. Age counts blocks, not slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockhashQueue {
    hashes: BTreeMap<Hash, Registered>,
    last: Hash,
    last_index: u64,
}

impl BlockhashQueue {
    /// Starts with the genesis hash, at index 0.
    pub(crate) fn new(genesis_hash: Hash, lamports_per_signature: u64) -> Self {
        let registered = Registered { index: 0, lamports_per_signature };
        Self { hashes: BTreeMap::from([(genesis_hash, registered)]), last: genesis_hash, last_index: 0 }
    }

    /// Registers the hash of a block's last tick.
    pub(crate) fn register(&mut self, hash: Hash, lamports_per_signature: u64) {
        self.last_index += 1;
        let oldest = self.last_index.saturating_sub(BLOCKHASHES_MAX);
        if self.hashes.len() as u64 >= BLOCKHASHES_MAX {
            self.hashes.retain(|_, registered| registered.index >= oldest);
        }
        self.hashes.insert(hash, Registered { index: self.last_index, lamports_per_signature });
        self.last = hash;
    }

    /// The newest hash.
    #[must_use]
    pub fn last(&self) -> Hash {
        self.last
    }

    /// How many blocks ago a hash was registered.
    #[must_use]
    pub fn age(&self, hash: &Hash) -> Option<u64> {
        self.hashes.get(hash).map(|registered| self.last_index - registered.index)
    }

    /// The lamports per signature that were registered with a hash.
    #[must_use]
    pub fn lamports_per_signature(&self, hash: &Hash) -> Option<u64> {
        self.hashes.get(hash).map(|registered| registered.lamports_per_signature)
    }

    /// Data of the RecentBlockhashes sysvar (reference 12.3).
    pub(crate) fn sysvar_data(&self) -> Vec<u8> {
        let mut newest: Vec<_> = self.hashes.iter().collect();
        newest.sort_by_key(|(_, registered)| std::cmp::Reverse(registered.index));
        newest.truncate(SYSVAR_ENTRIES);
        let mut data = Vec::with_capacity(SYSVAR_BYTES);
        data.extend_from_slice(&(newest.len() as u64).to_le_bytes());
        for (hash, registered) in newest {
            data.extend_from_slice(hash.as_ref());
            data.extend_from_slice(&registered.lamports_per_signature.to_le_bytes());
        }
        data.resize(SYSVAR_BYTES, 0);
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> Hash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Hash::new_from_array(bytes)
    }

    #[test]
    fn age_counts_blocks_and_the_oldest_go_when_it_is_full() {
        let mut queue = BlockhashQueue::new(hash(0), 0);
        for block in 1..=1_000 {
            queue.register(hash(block), 5_000);
            assert!(queue.hashes.len() as u64 <= BLOCKHASHES_MAX + 1);
        }
        assert_eq!(queue.age(&hash(1_000)), Some(0));
        assert_eq!(queue.age(&hash(850)), Some(150));
        assert_eq!(queue.age(&hash(699)), None);
    }

    #[test]
    fn a_hash_registered_again_is_young_again() {
        let mut queue = BlockhashQueue::new(hash(0), 0);
        queue.register(hash(0), 7);
        assert_eq!(queue.age(&hash(0)), Some(0));
        assert_eq!(queue.lamports_per_signature(&hash(0)), Some(7));
    }
}

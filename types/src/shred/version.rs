//! Which chain a shred belongs to, as a number (reference 3.11).

use crate::Hash;
use sha2::{Digest as _, Sha256};

/// The version of shreds on the chain with this genesis and these hard forks, given as pairs of slot
/// and count. Never 0. The order of the pairs does not matter.
#[must_use]
pub fn shred_version(genesis_hash: &Hash, hard_forks: &[(u64, u64)]) -> u16 {
    let mut forks = hard_forks.to_vec();
    forks.sort_unstable();
    let hash = forks.iter().fold(*genesis_hash, |hash, (slot, count)| {
        let mut hasher = Sha256::new();
        hasher.update(hash.as_ref());
        hasher.update(slot.to_le_bytes());
        hasher.update(count.to_le_bytes());
        Hash::new_from_array(hasher.finalize().into())
    });
    let folded = hash.as_ref().chunks_exact(2).fold(0, |folded, pair| folded ^ u16::from_be_bytes([pair[0], pair[1]]));
    folded.saturating_add(1)
}

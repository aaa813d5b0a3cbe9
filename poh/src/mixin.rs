//! What an entry's transactions add to the hash chain.

use sha2::{Digest as _, Sha256};
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::Hash;

/// Prefixes that keep a leaf of the tree from passing as an inner node.
const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// The Merkle root over every signature of every transaction, in order (reference 2.3); zero when
/// there is none.
#[must_use]
pub fn mixin(transactions: &[VersionedTransaction]) -> Hash {
    let signatures = transactions.iter().flat_map(|transaction| &transaction.signatures);
    let mut level: Vec<[u8; 32]> = signatures.map(|signature| hash(&[&LEAF, signature.as_ref()])).collect();
    while level.len() > 1 {
        // On an odd level the last one is paired with itself.
        level =
            level.chunks(2).map(|pair| hash(&[&NODE, &pair[0], pair.last().expect("chunks are not empty")])).collect();
    }
    Hash::new_from_array(level.first().copied().unwrap_or_default())
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let hasher = parts.iter().fold(Sha256::new(), |hasher, part| hasher.chain_update(part));
    hasher.finalize().into()
}

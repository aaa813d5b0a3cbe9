//! The Merkle tree over the shreds of an FEC set (reference 3.6).

use super::{View, variant::PROOF_ENTRY_SIZE};
use crate::{
    Hash,
    kernel::sha256::{DIGEST, Kernel},
};
use sha2::{Digest as _, Sha256};

const LEAF: &[u8] = b"\x00SOLANA_MERKLE_SHREDS_LEAF";
const NODE: &[u8] = b"\x01SOLANA_MERKLE_SHREDS_NODE";

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash::new_from_array(hasher.finalize().into())
}

fn node(left: &[u8], right: &[u8]) -> Hash {
    hash(&[NODE, &left[..PROOF_ENTRY_SIZE], &right[..PROOF_ENTRY_SIZE]])
}

/// The leaf of a shred.
#[must_use]
pub fn leaf(shred: View<'_>) -> Hash {
    hash(&[LEAF, &shred.bytes()[shred.variant().leaf_range()]])
}

/// The leaves of shreds.
#[must_use]
pub fn leaves(shreds: &[View<'_>]) -> Vec<Hash> {
    let mut leaves = Vec::with_capacity(2 * shreds.len());
    let hashed: Vec<&[u8]> = shreds.iter().map(|shred| &shred.bytes()[shred.variant().leaf_range()]).collect();
    // Data and code shreds differ in length.
    for alike in hashed.chunk_by(|one, other| one.len() == other.len()) {
        digests(LEAF, alike, &mut leaves);
    }
    leaves
}

/// The root of the tree over the shreds of a set, in leaf order.
///
/// # Panics
/// Without shreds.
#[must_use]
pub fn root_over(shreds: &[View<'_>]) -> Hash {
    Tree::new(leaves(shreds)).root()
}

/// Appends the digests of messages of one length.
fn digests(prefix: &[u8], messages: &[&[u8]], into: &mut Vec<Hash>) {
    let mut digests = vec![[0; DIGEST]; messages.len()];
    Kernel::best().digests(prefix, messages, &mut digests);
    into.extend(digests.into_iter().map(Hash::new_from_array));
}

/// The root that a shred's proof leads to. `None`: its place does not exist in a tree so low.
#[must_use]
pub fn root_of(shred: View<'_>) -> Option<Hash> {
    let mut place = shred.leaf_index()?;
    if place >> shred.variant().proof_entries() != 0 {
        return None;
    }
    let mut top = leaf(shred);
    for sibling in shred.bytes()[shred.variant().proof_range()].chunks_exact(PROOF_ENTRY_SIZE) {
        top = if place.is_multiple_of(2) { node(top.as_ref(), sibling) } else { node(sibling, top.as_ref()) };
        place >>= 1;
    }
    Some(top)
}

/// The same of many shreds, hashed side by side where the processor can.
#[must_use]
pub fn roots_of(shreds: &[View<'_>]) -> Vec<Option<Hash>> {
    let mut roots = vec![None; shreds.len()];
    let proof = |at: usize| &shreds[at].bytes()[shreds[at].variant().proof_range()];
    let place = |at: usize| {
        let place = shreds[at].leaf_index()?;
        (place >> shreds[at].variant().proof_entries() == 0).then_some(place)
    };
    // Those that have a root, with their place on the level that is reached; those of one length side by side.
    let mut climbing: Vec<(usize, usize)> = (0..shreds.len()).filter_map(|at| Some((at, place(at)?))).collect();
    climbing.sort_by_key(|(at, _)| shreds[*at].variant().leaf_range().len());
    let views: Vec<View<'_>> = climbing.iter().map(|(at, _)| shreds[*at]).collect();
    let mut tops = leaves(&views);
    for level in 0.. {
        let higher = |at: usize| level < shreds[at].variant().proof_entries();
        let mut still = Vec::with_capacity(climbing.len());
        let mut pairs = Vec::with_capacity(climbing.len());
        for ((at, place), top) in climbing.into_iter().zip(tops) {
            if !higher(at) {
                roots[at] = Some(top);
                continue;
            }
            let sibling = &proof(at)[level * PROOF_ENTRY_SIZE..][..PROOF_ENTRY_SIZE];
            let top = &top.as_ref()[..PROOF_ENTRY_SIZE];
            pairs.push(if place.is_multiple_of(2) { [top, sibling].concat() } else { [sibling, top].concat() });
            still.push((at, place / 2));
        }
        if still.is_empty() {
            break;
        }
        let pairs: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
        tops = Vec::with_capacity(pairs.len());
        digests(NODE, &pairs, &mut tops);
        climbing = still;
    }
    roots
}

/// What an inner node hashes.
fn joined(left: &Hash, right: &Hash) -> [u8; 2 * PROOF_ENTRY_SIZE] {
    let mut joined = [0; 2 * PROOF_ENTRY_SIZE];
    joined[..PROOF_ENTRY_SIZE].copy_from_slice(&left.as_ref()[..PROOF_ENTRY_SIZE]);
    joined[PROOF_ENTRY_SIZE..].copy_from_slice(&right.as_ref()[..PROOF_ENTRY_SIZE]);
    joined
}

/// All nodes of a tree, level by level, leaves first.
pub(super) struct Tree {
    nodes: Vec<Hash>,
    leaves: usize,
}

impl Tree {
    /// Builds a tree. The last node of an odd level is its own sibling.
    ///
    /// # Panics
    /// Without leaves.
    pub(super) fn new(leaves: Vec<Hash>) -> Self {
        assert!(!leaves.is_empty(), "a tree has leaves");
        let count = leaves.len();
        let mut nodes = leaves;
        let mut level = 0..count;
        while level.len() > 1 {
            let end = level.end;
            let pairs: Vec<[u8; 2 * PROOF_ENTRY_SIZE]> =
                nodes[level].chunks(2).map(|pair| joined(&pair[0], pair.last().expect("of two or one"))).collect();
            let pairs: Vec<&[u8]> = pairs.iter().map(<[u8; 2 * PROOF_ENTRY_SIZE]>::as_slice).collect();
            digests(NODE, &pairs, &mut nodes);
            level = end..nodes.len();
        }
        Self { nodes, leaves: count }
    }

    pub(super) fn root(&self) -> Hash {
        self.nodes[self.nodes.len() - 1]
    }

    /// Writes the proof of a leaf.
    ///
    /// # Panics
    /// If `into` has not the length of a proof in this tree.
    pub(super) fn write_proof(&self, leaf: usize, into: &mut [u8]) {
        let (mut place, mut width, mut base) = (leaf, self.leaves, 0);
        let mut entries = into.chunks_exact_mut(PROOF_ENTRY_SIZE);
        while width > 1 {
            let sibling = base + (place ^ 1).min(width - 1);
            let entry = entries.next().expect("a proof is as long as its tree is high");
            entry.copy_from_slice(&self.nodes[sibling].as_ref()[..PROOF_ENTRY_SIZE]);
            base += width;
            width = width.div_ceil(2);
            place >>= 1;
        }
        assert!(entries.next().is_none(), "a proof is as long as its tree is high");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn climb(tree: &Tree, leaf: usize, proof: &[u8]) -> Hash {
        let mut top = tree.nodes[leaf];
        for (level, sibling) in proof.chunks_exact(PROOF_ENTRY_SIZE).enumerate() {
            top = if (leaf >> level).is_multiple_of(2) {
                node(top.as_ref(), sibling)
            } else {
                node(sibling, top.as_ref())
            };
        }
        top
    }

    #[test]
    fn every_leaf_of_a_tree_of_any_size_proves_the_root() {
        for count in 1..=70_usize {
            let leaves = (0..count).map(|i| hash(&[&i.to_le_bytes()])).collect();
            let tree = Tree::new(leaves);
            let height = count.next_power_of_two().trailing_zeros() as usize;
            for leaf in 0..count {
                let mut proof = vec![0; height * PROOF_ENTRY_SIZE];
                tree.write_proof(leaf, &mut proof);
                assert_eq!(climb(&tree, leaf, &proof), tree.root(), "leaf {leaf} of {count}");
            }
        }
    }
}

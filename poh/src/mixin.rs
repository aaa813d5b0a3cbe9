//! What an entry's transactions add to the hash chain.

use solana_transaction::versioned::VersionedTransaction;
use sundog_types::{
    Hash,
    kernel::sha256::{DIGEST, Kernel},
};

/// Prefixes that keep a leaf of the tree from passing as an inner node.
const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// The Merkle root over every signature of every transaction, in order (reference 2.3); zero when
/// there is none.
#[must_use]
pub fn mixin(transactions: &[VersionedTransaction]) -> Hash {
    mixins(&[transactions]).pop().expect("one for one")
}

/// The same of several entries, whose trees are built side by side.
pub(crate) fn mixins(entries: &[&[VersionedTransaction]]) -> Vec<Hash> {
    let signatures =
        |entry: &&[VersionedTransaction]| entry.iter().map(|transaction| transaction.signatures.len()).sum();
    let mut widths: Vec<usize> = entries.iter().map(signatures).collect();
    let signatures = entries.iter().flat_map(|entry| entry.iter()).flat_map(|transaction| &transaction.signatures);
    let mut level = digests(&LEAF, signatures.map(AsRef::as_ref).collect());
    while widths.iter().any(|width| *width > 1) {
        level = narrower(&level, &mut widths);
    }
    let mut roots = level.into_iter();
    widths
        .iter()
        .map(|width| if *width == 0 { Hash::default() } else { roots.next().expect("one a tree").into() })
        .collect()
}

/// The next level of trees that lie side by side, each so wide; a tree that is only its root stays. On an odd level the
/// last one is paired with itself.
fn narrower(level: &[[u8; DIGEST]], widths: &mut [usize]) -> Vec<[u8; DIGEST]> {
    let mut pairs = Vec::with_capacity(level.len().div_ceil(2));
    let mut rest = level;
    for width in widths.iter().filter(|width| **width > 0) {
        let (tree, others) = rest.split_at(*width);
        rest = others;
        let joined = |pair: &[[u8; DIGEST]]| [pair[0], *pair.last().expect("chunks are not empty")].concat();
        pairs.extend(tree.chunks(2).filter(|_| *width > 1).map(joined));
    }
    let mut nodes = digests(&NODE, pairs.iter().map(Vec::as_slice).collect()).into_iter();
    let mut next = Vec::with_capacity(pairs.len() + widths.len());
    let mut at = 0;
    for width in widths {
        match *width {
            0 => {}
            1 => next.push(level[at]),
            more => next.extend(nodes.by_ref().take(more.div_ceil(2))),
        }
        at += *width;
        *width = width.div_ceil(2);
    }
    next
}

fn digests(prefix: &[u8], messages: Vec<&[u8]>) -> Vec<[u8; DIGEST]> {
    let mut digests = vec![[0; DIGEST]; messages.len()];
    Kernel::best().digests(prefix, &messages, &mut digests);
    digests
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};
    use solana_transaction::versioned::VersionedTransaction;
    use sundog_types::Signature;

    fn by_the_book(transactions: &[VersionedTransaction]) -> Hash {
        let signatures = transactions.iter().flat_map(|transaction| &transaction.signatures);
        let hash = |prefix: u8, parts: &[&[u8]]| -> [u8; DIGEST] {
            Sha256::digest([&[prefix], &parts.concat()[..]].concat()).into()
        };
        let mut level: Vec<_> = signatures.map(|signature| hash(0, &[signature.as_ref()])).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| hash(1, &[&pair[0], &pair[pair.len() - 1]])).collect();
        }
        level.first().copied().unwrap_or_default().into()
    }

    #[test]
    fn trees_built_side_by_side_have_the_roots_of_each_alone() {
        let transaction = |seed: usize, count: usize| VersionedTransaction {
            signatures: (0..count).map(|at| Signature::from([(seed * 31 + at * 7) as u8; 64])).collect(),
            ..VersionedTransaction::default()
        };
        let entry = |width: usize| (0..width).map(|at| transaction(width + at, 1 + at % 3)).collect::<Vec<_>>();
        let entries: Vec<_> = [3, 0, 1, 64, 2, 0, 7, 33, 1].map(entry).into();
        let slices: Vec<_> = entries.iter().map(Vec::as_slice).collect();
        let expected: Vec<_> = entries.iter().map(|entry| by_the_book(entry)).collect();
        assert_eq!(mixins(&slices), expected);
        assert_eq!(mixins(&[]), []);
        assert_eq!(entries.iter().map(|entry| mixin(entry)).collect::<Vec<_>>(), expected);
    }
}

//! The data shreds of a whole FEC set without their Merkle proofs.
//!
//! Data shreds are the first half of the tree's leaves, so that every node of a data shred's proof is a hash over data
//! shreds of the set, but for the last: the top of the code shreds' half. Whoever has all data shreds needs no more
//! than that one node to write every proof again.

use super::{
    View,
    merkle::{Tree, leaves},
    variant::{Kind, PROOF_ENTRY_SIZE, SHREDS_PER_KIND, Variant},
};

/// The top of the half of the tree that stands over the code shreds, as proofs have it.
pub type CodeHalf = [u8; PROOF_ENTRY_SIZE];

/// Proof entries of a set of 32 data and 32 code shreds.
const PROOF_ENTRIES: usize = 6;

/// The one node that the proofs of a set's data shreds cannot be written again without. `None` if these are not all
/// data shreds of a set of 32 and 32 in their order, or a proof is not the one that the shreds have in common.
#[must_use]
pub fn code_half(shreds: &[View<'_>]) -> Option<CodeHalf> {
    let first = shreds.first()?;
    let alike = |(place, shred): (usize, &View<'_>)| {
        let variant = shred.variant();
        shred.kind() == Kind::Data
            && variant == first.variant()
            && variant.proof_entries() == PROOF_ENTRIES
            && shred.bytes().len() == variant.size()
            && shred.leaf_index() == Some(place)
            && (shred.slot(), shred.fec_set_index()) == (first.slot(), first.fec_set_index())
    };
    if shreds.len() != SHREDS_PER_KIND || !shreds.iter().enumerate().all(alike) {
        return None;
    }
    let half = first.bytes()[first.variant().proof_range()].last_chunk()?;
    let tree = Tree::new(leaves(shreds));
    let mut proof = [0; PROOF_ENTRIES * PROOF_ENTRY_SIZE];
    let same = |(place, shred): (usize, &View<'_>)| {
        write_proof(&tree, half, place, &mut proof);
        shred.bytes()[shred.variant().proof_range()] == proof
    };
    shreds.iter().enumerate().all(same).then_some(*half)
}

/// Writes the proofs of all data shreds of a set again. The shreds are whole but for that, in their order, and alike.
///
/// False, with proofs that are worth nothing, if they cannot be the data shreds of a set of 32 and 32.
#[must_use]
pub fn write_proofs(shreds: &mut [Vec<u8>], half: &CodeHalf) -> bool {
    let Some(views) = shreds.iter().map(|shred| View::read(shred).ok()).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let whole = |variant: Variant| variant.kind() == Kind::Data && variant.proof_entries() == PROOF_ENTRIES;
    let fits = |view: &View<'_>| whole(view.variant()) && view.bytes().len() == view.variant().size();
    if views.len() != SHREDS_PER_KIND || !views.iter().all(fits) {
        return false;
    }
    let ranges: Vec<_> = views.iter().map(|view| view.variant().proof_range()).collect();
    let tree = Tree::new(leaves(&views));
    for (place, (shred, range)) in shreds.iter_mut().zip(ranges).enumerate() {
        write_proof(&tree, half, place, &mut shred[range]);
    }
    true
}

fn write_proof(data_half: &Tree, code_half: &CodeHalf, place: usize, into: &mut [u8]) {
    let (below, top) = into.split_at_mut((PROOF_ENTRIES - 1) * PROOF_ENTRY_SIZE);
    data_half.write_proof(place, below);
    top.copy_from_slice(code_half);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shred::{Shred, Signed, seal};

    fn data(resigned: bool) -> Vec<Shred<Signed>> {
        let sealed = seal::sign(seal::tests::unsigned(resigned, 7), &seal::tests::leader(1)).unwrap();
        sealed.into_iter().filter(|shred| shred.kind() == Kind::Data).collect()
    }

    #[test]
    fn proofs_are_written_again_from_one_node_of_the_code_half() {
        for resigned in [false, true] {
            let shreds = data(resigned);
            let views: Vec<View<'_>> = shreds.iter().map(Shred::view).collect();
            let half = code_half(&views).expect("a whole set");
            let mut bare: Vec<Vec<u8>> = shreds.iter().map(|shred| shred.payload().to_vec()).collect();
            bare.iter_mut().for_each(|shred| shred[views[0].variant().proof_range()].fill(0));
            assert!(write_proofs(&mut bare, &half));
            assert!(shreds.iter().zip(&bare).all(|(shred, again)| shred.payload() == again));
        }
    }

    #[test]
    fn what_is_no_whole_set_has_no_such_node() {
        let shreds = data(false);
        let views: Vec<View<'_>> = shreds.iter().map(Shred::view).collect();
        assert!(code_half(&[]).is_none());
        assert!(code_half(&views[..31]).is_none(), "one is missing");
        assert!(code_half(&[&views[1..], &views[..1]].concat()).is_none(), "another order");
        let mut torn = shreds[5].payload().to_vec();
        let proof = views[5].variant().proof_range();
        torn[proof.start + 3] ^= 1;
        let torn = View::read(&torn).unwrap();
        assert!(code_half(&[&views[..5], &[torn], &views[6..]].concat()).is_none(), "a proof of another tree");
        assert!(!write_proofs(&mut [vec![1; 20]], &[0; PROOF_ENTRY_SIZE]));
        assert!(!write_proofs(&mut vec![vec![0; 1_300]; 32], &[0; PROOF_ENTRY_SIZE]));
    }
}

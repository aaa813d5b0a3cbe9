//! Makes whole FEC sets trusted at once: a leader's own, and what erasure coding brings back.
//!
//! The tree is built from all of its leaves here, so that no shred's proof has to be followed.

use super::{
    SHREDS_PER_KIND, Shred, Signed, VerifiedRoot, View,
    merkle::{self, Tree},
    variant::{PROOF_ENTRIES, SIGNATURE_SIZE},
};
use crate::{
    Hash, Signature,
    sign::{Sign, SignRole},
};
use bytes::BytesMut;

/// Shreds of a whole set, data first.
pub const SHREDS_PER_SET: usize = 2 * SHREDS_PER_KIND;

/// A shred of a set that is being made whole.
#[derive(Debug)]
pub enum Part<'a> {
    /// One that is signed already.
    Known(&'a Shred<Signed>),
    /// Headers, body and chained root of a new one. Signature and proof are filled in here.
    Fresh(BytesMut),
}

/// The shreds do not form the set that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A set has 64 shreds.
    #[error("{0} shreds are not a whole set of 64; gather more")]
    Incomplete(usize),
    /// A new shred has fields that no shred at this place of the set can have.
    #[error("shred {0} of the set does not fit its place; give the set up, its leader is at fault")]
    Misplaced(usize),
    /// The tree over all shreds has another root than the signed one.
    #[error("the set hashes to {found}, but {signed} was signed; give the set up, its leader is at fault")]
    Root {
        /// What the leader signed.
        signed: Hash,
        /// What the shreds hash to.
        found: Hash,
    },
}

/// Signs a leader's own set, given in leaf order.
///
/// # Errors
/// If it is no whole set of well-formed shreds, which only a bug can cause.
pub fn sign(shreds: Vec<BytesMut>, signer: &dyn Sign) -> Result<Vec<Shred<Signed>>, SealError> {
    let parts = shreds.into_iter().map(Part::Fresh).collect::<Vec<_>>();
    let tree = tree_over(&parts)?;
    let signature = signer.sign(SignRole::ShredRoot, tree.root().as_ref());
    fill(parts, &tree, &signature)
}

/// Completes a set of another leader, given in leaf order, and returns the fresh shreds.
///
/// # Errors
/// If the whole does not hash to the root that the leader signed, or a fresh shred is malformed.
pub fn adopt(parts: Vec<Part<'_>>, verified: &VerifiedRoot) -> Result<Vec<Shred<Signed>>, SealError> {
    let tree = tree_over(&parts)?;
    if tree.root() != verified.root() {
        return Err(SealError::Root { signed: verified.root(), found: tree.root() });
    }
    let shreds = fill(parts, &tree, &verified.signature())?;
    let elsewhere =
        |shred: &Shred<Signed>| shred.slot() != verified.slot() || shred.fec_set_index() != verified.fec_set_index();
    match shreds.iter().find(|shred| elsewhere(shred)) {
        Some(shred) => Err(SealError::Misplaced(shred.leaf_index())),
        None => Ok(shreds),
    }
}

fn tree_over(parts: &[Part<'_>]) -> Result<Tree, SealError> {
    if parts.len() != SHREDS_PER_SET {
        return Err(SealError::Incomplete(parts.len()));
    }
    let mut views = Vec::with_capacity(SHREDS_PER_SET);
    for (place, part) in parts.iter().enumerate() {
        let view = match part {
            Part::Known(shred) => shred.view(),
            Part::Fresh(bytes) => View::read(bytes).map_err(|_| SealError::Misplaced(place))?,
        };
        let fits = view.leaf_index() == Some(place) && view.variant().proof_entries() == usize::from(PROOF_ENTRIES);
        if !fits {
            return Err(SealError::Misplaced(place));
        }
        views.push(view);
    }
    Ok(Tree::new(merkle::leaves(&views)))
}

fn fill(parts: Vec<Part<'_>>, tree: &Tree, signature: &Signature) -> Result<Vec<Shred<Signed>>, SealError> {
    let mut sealed = Vec::with_capacity(parts.len());
    for (place, part) in parts.into_iter().enumerate() {
        let Part::Fresh(mut bytes) = part else {
            continue;
        };
        let view = View::read(&bytes).map_err(|_| SealError::Misplaced(place))?;
        let proof = view.variant().proof_range();
        bytes[..SIGNATURE_SIZE].copy_from_slice(signature.as_ref());
        tree.write_proof(place, &mut bytes[proof]);
        let shred = Shred::raw(bytes.freeze()).parse().map_err(|_| SealError::Misplaced(place))?;
        sealed.push(shred.sign_off(tree.root()));
    }
    Ok(sealed)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        FecSetIndex, ShredIndex, Slot,
        shred::{CodeHeader, CommonHeader, DataHeader, Kind, Variant},
        sign::Identity,
    };
    use solana_keypair::Keypair;

    /// A key made of one byte.
    pub fn leader(byte: u8) -> Identity {
        Identity::new(Keypair::new_from_array([byte; 32]))
    }

    /// The unsigned shreds of set 32 in slot 9, each body full of `fill`.
    pub fn unsigned(resigned: bool, fill: u8) -> Vec<BytesMut> {
        let shred = |place: usize| {
            let (kind, position) = match place.checked_sub(SHREDS_PER_KIND) {
                None => (Kind::Data, place),
                Some(position) => (Kind::Code, position),
            };
            let variant = Variant::standard(kind, resigned);
            let mut bytes = BytesMut::zeroed(variant.size());
            bytes[variant.headers()..variant.root_range().start].fill(fill);
            let common = CommonHeader {
                variant,
                slot: Slot::new(9),
                index: ShredIndex::new(32 + position as u32),
                version: 3,
                fec_set_index: FecSetIndex::new(32),
            };
            common.write(&mut bytes);
            let end = (variant.headers() + variant.capacity()) as u16;
            match kind {
                Kind::Data => DataHeader { parent_offset: 2, flags: 5, end }.write(&mut bytes),
                Kind::Code => CodeHeader { num_data: 32, num_code: 32, position: position as u16 }.write(&mut bytes),
            }
            bytes
        };
        (0..SHREDS_PER_SET).map(shred).collect()
    }

    #[test]
    fn a_set_that_misses_a_shred_is_not_signed() {
        let mut shreds = unsigned(false, 1);
        shreds.pop();
        assert_eq!(sign(shreds, &leader(1)).err(), Some(SealError::Incomplete(63)));
    }

    #[test]
    fn a_shred_at_anothers_place_is_not_signed() {
        let mut shreds = unsigned(false, 1);
        shreds.swap(4, 5);
        assert_eq!(sign(shreds, &leader(1)).err(), Some(SealError::Misplaced(4)));
    }

    #[test]
    fn a_set_is_adopted_under_its_own_root_only() {
        let ours = sign(unsigned(true, 1), &leader(1)).expect("whole");
        let root = ours[0].verified_root();
        let parts = |fill| {
            let fresh = unsigned(true, fill).into_iter().map(Part::Fresh);
            fresh.zip(&ours).map(|(fresh, known)| match known.leaf_index() {
                0..10 => Part::Known(known),
                _ => fresh,
            })
        };
        let adopted = adopt(parts(1).collect(), &root).expect("the same set");
        assert_eq!(adopted.len(), 54);
        assert!(adopted.iter().zip(&ours[10..]).all(|(a, b)| a.payload() == b.payload()));
        let refused = adopt(parts(2).collect(), &root).err();
        assert!(matches!(refused, Some(SealError::Root { signed, .. }) if signed == root.root()));
    }
}

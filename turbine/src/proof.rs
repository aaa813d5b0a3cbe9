//! Which two shreds convince other nodes that a leader made two versions of a slot (reference 6.5).
//!
//! A proof travels through gossip as [`encode`] writes it. Not every contradiction is one: two parents, or a broken
//! chain of roots, are seen by who has both shreds, but no node believes them from another.

use bytes::Bytes;
use sundog_types::{
    Hash,
    shred::{Kind, Parsed, Shred, Signed, View},
};
use thiserror::Error;

/// Most bytes of a proof: three chunks of gossip.
pub const PROOF_BYTES_MAX: usize = 3 * 1_054;

/// What two shreds prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofKind {
    /// One FEC set, two Merkle roots.
    ForkedSet,
    /// One shred, signed twice.
    SameIndex,
    /// A data shred beyond the one that is marked as the last.
    BeyondLast,
    /// One FEC set, two erasure codes.
    ErasureLayout,
}

/// Why two shreds prove nothing to others.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoProof {
    /// Of two slots.
    #[error("the shreds are of different slots; a proof is about one")]
    OtherSlot,
    /// Of another chain.
    #[error("a shred is of another chain; only this chain's leaders are judged")]
    OtherVersion,
    /// The slot's leader did not sign one of them.
    #[error("the slot's leader did not sign both shreds; anybody can have made them")]
    Unsigned,
    /// One data, one code, and nothing wrong with their set.
    #[error("a data and a code shred contradict each other only within one set")]
    OtherKind,
    /// The same shred twice.
    #[error("both are the same shred")]
    SameShred,
    /// Two data shreds, of which none lies beyond an end.
    #[error("no data shred lies beyond the one that is marked as the last")]
    NotBeyondLast,
    /// Two code shreds of one erasure code, or of different sets.
    #[error("the code shreds belong to one erasure code, or to two sets")]
    SameLayout,
}

/// Bytes that are no proof.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProofError {
    /// Longer than any proof.
    #[error("{0} bytes are more than a proof has; drop it")]
    TooLong(usize),
    /// Not two lists of bytes.
    #[error("the bytes are not two shreds with their lengths; drop them")]
    Malformed,
}

/// Judges two shreds as all nodes do. `signed`: whether the slot's leader signed a shred.
///
/// # Errors
/// The first rule that they do not satisfy.
pub fn conflicts(
    first: &Shred<Parsed>,
    second: &Shred<Parsed>,
    shred_version: u16,
    signed: impl Fn(&Shred<Parsed>) -> bool,
) -> Result<ProofKind, NoProof> {
    if first.slot() != second.slot() {
        return Err(NoProof::OtherSlot);
    }
    if first.version() != shred_version || second.version() != shred_version {
        return Err(NoProof::OtherVersion);
    }
    let (Ok(one), Ok(other)) = (first.merkle_root(), second.merkle_root()) else {
        return Err(NoProof::Unsigned);
    };
    if !signed(first) || !signed(second) {
        return Err(NoProof::Unsigned);
    }
    judge((first.view(), one), (second.view(), other), first.differs_from(second))
}

/// Whether two signed shreds of one slot and chain make a proof.
pub(crate) fn proves(first: &Shred<Signed>, second: &Shred<Signed>) -> bool {
    let (one, other) = ((first.view(), first.merkle_root()), (second.view(), second.merkle_root()));
    judge(one, other, first.differs_from(second)).is_ok()
}

fn judge(
    (first, one): (View<'_>, Hash),
    (second, other): (View<'_>, Hash),
    differ: bool,
) -> Result<ProofKind, NoProof> {
    let same_set = first.fec_set_index() == second.fec_set_index();
    if same_set && one != other {
        return Ok(ProofKind::ForkedSet);
    }
    if first.kind() != second.kind() {
        return Err(NoProof::OtherKind);
    }
    if first.index() == second.index() {
        return if differ { Ok(ProofKind::SameIndex) } else { Err(NoProof::SameShred) };
    }
    match first.kind() {
        Kind::Data => {
            let beyond = |last: View<'_>, next: View<'_>| is_last(last) && next.index() > last.index();
            let proves = beyond(first, second) || beyond(second, first);
            if proves { Ok(ProofKind::BeyondLast) } else { Err(NoProof::NotBeyondLast) }
        }
        Kind::Code => {
            let proves = same_set && layout(first) != layout(second);
            if proves { Ok(ProofKind::ErasureLayout) } else { Err(NoProof::SameLayout) }
        }
    }
}

fn is_last(data: View<'_>) -> bool {
    data.flags() & LAST_IN_SLOT == LAST_IN_SLOT
}

/// Flags of the last shred of a slot (reference 3.3).
const LAST_IN_SLOT: u8 = 0xc0;

/// The erasure code that a code shred belongs to: numbers of data and code shreds, and the first code index.
pub(crate) fn layout(code: View<'_>) -> (u16, u16, u32) {
    (code.num_data(), code.num_code(), code.index().get().wrapping_sub(code.position().into()))
}

/// Two shreds as a proof's bytes: each with its length in 8 bytes before it.
#[must_use]
pub fn encode(first: &[u8], second: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(16 + first.len() + second.len());
    for shred in [first, second] {
        bytes.extend_from_slice(&(shred.len() as u64).to_le_bytes());
        bytes.extend_from_slice(shred);
    }
    bytes.into()
}

/// The two shreds of a proof, sharing its bytes.
///
/// # Errors
/// If it is too long, or not two lists of bytes.
pub fn decode(bytes: &Bytes) -> Result<[Bytes; 2], ProofError> {
    if bytes.len() > PROOF_BYTES_MAX {
        return Err(ProofError::TooLong(bytes.len()));
    }
    let mut rest = bytes.clone();
    let mut take = || {
        let (length, body) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= body.len())?;
        let shred = rest.slice(8..8 + length);
        rest = rest.slice(8 + length..);
        Some(shred)
    };
    let shreds = take().zip(take());
    let (first, second) = shreds.ok_or(ProofError::Malformed)?;
    if rest.is_empty() { Ok([first, second]) } else { Err(ProofError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_proof_is_at_most_three_chunks_of_gossip() {
        let shred = [7; 1_228];
        let proof = encode(&shred, &shred);
        assert!(proof.len() <= PROOF_BYTES_MAX);
        assert_eq!(decode(&Bytes::from(vec![0; PROOF_BYTES_MAX + 1])), Err(ProofError::TooLong(PROOF_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn bytes_lead_back_to_both_shreds(
            first in prop::collection::vec(any::<u8>(), 0..1_300),
            second in prop::collection::vec(any::<u8>(), 0..1_300),
        ) {
            let proof = encode(&first, &second);
            let reference = bincode::serialize(&(&first, &second)).unwrap();
            prop_assert_eq!(&proof[..], &reference[..]);
            prop_assert_eq!(decode(&proof), Ok([first.into(), second.into()]));
            prop_assert_eq!(decode(&proof.slice(1..)).is_ok(), false);
            prop_assert_eq!(decode(&proof.slice(..proof.len() - 1)), Err(ProofError::Malformed));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..3_200)) {
            let _ = decode(&bytes.into());
        }
    }
}

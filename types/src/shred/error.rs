//! What can be wrong with a shred.

use super::{DropReason, Kind};
use crate::{Pubkey, ShredIndex, Slot};

/// Why bytes are not a shred, or a shred is not its leader's. The remedy is always to drop it and, if it is missed,
/// to ask another node for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShredError {
    /// Too short, or of an unknown variant.
    #[error("{0} bytes are no shred ({1}); drop them")]
    Unreadable(usize, DropReason),
    /// The index is beyond what a slot can have.
    #[error("{0} shred index {1} is not below 32,768; drop the shred")]
    Index(Kind, ShredIndex),
    /// The size field does not fit.
    #[error("the data ends at byte {0}, outside of the shred's body; drop the shred")]
    DataEnd(usize),
    /// Last in slot but not the end of a batch.
    #[error("flags {0:#04x} end the slot but not the batch; drop the shred")]
    Flags(u8),
    /// The parent is the slot itself or lies before slot 0.
    #[error("slot {0} cannot have the parent it names; drop the shred")]
    Parent(Slot),
    /// The erasure code is larger than the format allows.
    #[error("{0} code shreds in one set are more than 256; drop the shred")]
    NumCode(u16),
    /// It lies outside of the set it names.
    #[error("the {0} shred lies outside of its erasure set; drop it")]
    Place(Kind),
    /// The proof is too short for the shred's place.
    #[error("the Merkle proof is too short for the shred's place; drop the shred")]
    Proof,
    /// The signature does not hold.
    #[error("{leader} did not sign this shred of slot {slot}; drop it and trust its sender less")]
    Signature {
        /// Who should have signed.
        leader: Pubkey,
        /// The shred's slot.
        slot: Slot,
    },
    /// The variant has no place for a retransmitter's signature.
    #[error("only shreds of a block's last set carry a retransmitter's signature; pass it on as it is")]
    NotResigned,
}

impl From<ShredError> for DropReason {
    fn from(error: ShredError) -> Self {
        match error {
            ShredError::Unreadable(_, reason) => reason,
            ShredError::Index(..) => Self::IndexTooHigh,
            ShredError::DataEnd(_) => Self::BadSize,
            ShredError::Flags(_) => Self::BadFlags,
            ShredError::Parent(_) => Self::BadParent,
            ShredError::NumCode(_) => Self::BadErasureConfig,
            ShredError::Place(_) => Self::BadFecSet,
            ShredError::Proof => Self::BadProof,
            ShredError::Signature { .. } => Self::BadSignature,
            ShredError::NotResigned => Self::BadVariant,
        }
    }
}

//! Why a shred is not taken, as names that can be counted.

use std::fmt;

crate::reasons! {
    /// Why an arriving shred is dropped. One counter each.
    pub enum DropReason {
        /// Fewer bytes than its variant has.
        TooShort = "too_short",
        /// The variant byte names none of the four kinds of shred (reference 3.1).
        BadVariant = "bad_variant",
        /// It belongs to another chain (reference 3.11).
        ShredVersion = "shred_version",
        /// Its slot is further ahead than the clock allows.
        SlotTooFar = "slot_too_far",
        /// Its slot is rooted already.
        SlotRooted = "slot_rooted",
        /// A slot has at most 32,768 shreds of a kind.
        IndexTooHigh = "index_too_high",
        /// Its parent is not before it, or is below the root.
        BadParent = "bad_parent",
        /// The flags contradict each other, or mark an end inside of an FEC set.
        BadFlags = "bad_flags",
        /// It does not lie in the FEC set it names, or that set is not aligned.
        BadFecSet = "bad_fec_set",
        /// The numbers of the erasure code are impossible, or not 32 and 32 where they must be.
        BadErasureConfig = "bad_erasure_config",
        /// The size field does not fit the shred.
        BadSize = "bad_size",
        /// The Merkle proof cannot belong to a shred at this place.
        BadProof = "bad_proof",
        /// The leader did not sign the root it hashes to.
        BadSignature = "bad_signature",
    }
}

impl DropReason {
    /// Its place in [`DropReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

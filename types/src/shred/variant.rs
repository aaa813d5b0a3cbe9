//! The four variants of shreds that are alive, and where their fields lie (reference 3.1 and 3.4).

use crate::{ShredIndex, Slot};
use std::{fmt, ops::Range};

/// Data shreds, and as many code shreds, of an FEC set.
pub const SHREDS_PER_KIND: usize = 32;
/// Shreds of a kind that a slot can have (reference 3.8).
pub const MAX_SHREDS_PER_SLOT: u32 = 32_768;
/// Bytes of a data shred, without a repair nonce.
pub const DATA_SHRED_SIZE: usize = 1_203;
/// Bytes of a code shred, without a repair nonce.
pub const CODE_SHRED_SIZE: usize = 1_228;
/// Bytes before the body of a data shred.
pub const DATA_HEADERS: usize = 88;
/// Bytes before the body of a code shred.
pub const CODE_HEADERS: usize = 89;
/// Proof entries of a shred in a set of 32 and 32: log2 of 64 leaves.
pub const PROOF_ENTRIES: u8 = 6;
/// Bytes of a proof entry: a hash cut short.
pub const PROOF_ENTRY_SIZE: usize = 20;

pub(super) const SIGNATURE_SIZE: usize = 64;
const ROOT_SIZE: usize = 32;

/// Whether a shred carries data or parity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A piece of the block's entries.
    Data,
    /// A piece of the erasure code over the data shreds of its set.
    Code,
}

impl Kind {
    /// The byte that stands for it in tree seeds and gossip (reference 4.2 and 6.5).
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Data => 0xa5,
            Self::Code => 0x5a,
        }
    }

    /// The kind that a byte stands for.
    #[must_use]
    pub const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            0xa5 => Some(Self::Data),
            0x5a => Some(Self::Code),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Code => "code",
        })
    }
}

/// Names one shred of the chain. An honest leader makes one shred for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShredId {
    /// The slot.
    pub slot: Slot,
    /// Its number among the shreds of its kind in the slot.
    pub index: ShredIndex,
    /// Data or code.
    pub kind: Kind,
}

/// What the variant byte says: the kind, the length of the proof, and whether retransmitters sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    kind: Kind,
    proof: u8,
    resigned: bool,
}

impl Variant {
    /// The variant of a shred in a set of 32 and 32.
    #[must_use]
    pub const fn standard(kind: Kind, resigned: bool) -> Self {
        Self { kind, proof: PROOF_ENTRIES, resigned }
    }

    /// Reads a variant byte. `None`: a variant that is no longer, or not yet, in use.
    #[must_use]
    pub const fn of_byte(byte: u8) -> Option<Self> {
        let (kind, resigned) = match byte & 0xf0 {
            0x60 => (Kind::Code, false),
            0x70 => (Kind::Code, true),
            0x90 => (Kind::Data, false),
            0xb0 => (Kind::Data, true),
            _ => return None,
        };
        Some(Self { kind, proof: byte & 0x0f, resigned })
    }

    /// The variant byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        let family = match (self.kind, self.resigned) {
            (Kind::Code, false) => 0x60,
            (Kind::Code, true) => 0x70,
            (Kind::Data, false) => 0x90,
            (Kind::Data, true) => 0xb0,
        };
        family | self.proof
    }

    /// Data or code.
    #[must_use]
    pub const fn kind(self) -> Kind {
        self.kind
    }

    /// The variant of the other kind in the same FEC set.
    #[must_use]
    pub const fn other_kind(self) -> Self {
        let kind = match self.kind {
            Kind::Data => Kind::Code,
            Kind::Code => Kind::Data,
        };
        Self { kind, ..self }
    }

    /// Number of entries of the Merkle proof, 0 to 15.
    #[must_use]
    pub const fn proof_entries(self) -> usize {
        self.proof as usize
    }

    /// Whether it ends with the signature of the node that passed it on.
    #[must_use]
    pub const fn resigned(self) -> bool {
        self.resigned
    }

    /// Bytes of the whole shred.
    #[must_use]
    pub const fn size(self) -> usize {
        match self.kind {
            Kind::Data => DATA_SHRED_SIZE,
            Kind::Code => CODE_SHRED_SIZE,
        }
    }

    /// Bytes of the headers.
    #[must_use]
    pub const fn headers(self) -> usize {
        match self.kind {
            Kind::Data => DATA_HEADERS,
            Kind::Code => CODE_HEADERS,
        }
    }

    /// Most data or parity bytes that it can hold. At least 719, with 15 proof entries.
    #[must_use]
    pub const fn capacity(self) -> usize {
        self.root_offset() - self.headers()
    }

    /// Where the chained root lies.
    #[must_use]
    pub const fn root_range(self) -> Range<usize> {
        self.root_offset()..self.root_offset() + ROOT_SIZE
    }

    /// Where the proof lies.
    #[must_use]
    pub const fn proof_range(self) -> Range<usize> {
        let start = self.root_offset() + ROOT_SIZE;
        start..start + self.proof as usize * PROOF_ENTRY_SIZE
    }

    /// Where the retransmitter's signature lies; empty at the end if there is none.
    #[must_use]
    pub const fn retransmitter_range(self) -> Range<usize> {
        self.proof_range().end..self.size()
    }

    /// What the Merkle leaf covers: all but the leader's signature, the proof and what follows.
    #[must_use]
    pub const fn leaf_range(self) -> Range<usize> {
        SIGNATURE_SIZE..self.proof_range().start
    }

    /// What takes part in the erasure code: for data the headers too, for code the body alone.
    #[must_use]
    pub const fn shard_range(self) -> Range<usize> {
        match self.kind {
            Kind::Data => SIGNATURE_SIZE..self.root_offset(),
            Kind::Code => CODE_HEADERS..self.root_offset(),
        }
    }

    const fn root_offset(self) -> usize {
        let resigned = if self.resigned { SIGNATURE_SIZE } else { 0 };
        self.size() - resigned - self.proof as usize * PROOF_ENTRY_SIZE - ROOT_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_the_four_standard_variants_is_the_references() {
        // Kind, resigned: byte, body, root, proof, retransmitter's signature (reference 3.4).
        let table = [
            (Kind::Data, false, 0x96, 963, 1_051, 1_083, 1_203),
            (Kind::Data, true, 0xb6, 899, 987, 1_019, 1_139),
            (Kind::Code, false, 0x66, 987, 1_076, 1_108, 1_228),
            (Kind::Code, true, 0x76, 923, 1_012, 1_044, 1_164),
        ];
        for (kind, resigned, byte, capacity, root, proof, end) in table {
            let variant = Variant::standard(kind, resigned);
            assert_eq!(variant.byte(), byte);
            assert_eq!(variant.capacity(), capacity);
            assert_eq!(variant.root_range(), root..proof);
            assert_eq!(variant.proof_range(), proof..end);
            assert_eq!(variant.retransmitter_range(), end..variant.size());
            assert_eq!(variant.shard_range().len(), variant.other_kind().shard_range().len());
        }
    }

    #[test]
    fn every_byte_is_either_refused_or_read_as_itself() {
        for byte in 0..=u8::MAX {
            match Variant::of_byte(byte) {
                Some(variant) => assert_eq!(variant.byte(), byte),
                None => assert!(!matches!(byte >> 4, 6 | 7 | 9 | 0xb)),
            }
        }
    }
}

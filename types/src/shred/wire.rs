//! Reads single fields of a shred at their fixed places, before anything is checked.

use super::{DropReason, Kind, ShredId, Variant};
use crate::{FecSetIndex, Hash, ShredIndex, Signature, Slot};

const VARIANT: usize = 64;
const SLOT: usize = 65;
const INDEX: usize = 73;
const VERSION: usize = 77;
const FEC_SET: usize = 79;
const PARENT_OFFSET: usize = 83;
const FLAGS: usize = 85;
const SIZE: usize = 86;
const NUM_DATA: usize = 83;
const NUM_CODE: usize = 85;
const POSITION: usize = 87;

/// The flag of the last data shred of an entry batch.
pub const DATA_COMPLETE: u8 = 0x40;
/// The flags of the last data shred of a slot: it also ends its batch.
pub const LAST_IN_SLOT: u8 = 0xc0;
/// The part of the flags that counts ticks.
pub const REFERENCE_TICK_MASK: u8 = 0x3f;

/// A look at bytes that are as long as their variant says. Nothing else is known of them.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    bytes: &'a [u8],
    variant: Variant,
}

/// The fields that both kinds have, as a leader writes them.
#[derive(Clone, Copy, Debug)]
pub struct CommonHeader {
    /// Its variant.
    pub variant: Variant,
    /// Its slot.
    pub slot: Slot,
    /// Its index among its kind.
    pub index: ShredIndex,
    /// The chain it belongs to.
    pub version: u16,
    /// The set it belongs to.
    pub fec_set_index: FecSetIndex,
}

impl CommonHeader {
    /// Writes it to its place.
    ///
    /// # Panics
    /// If `payload` is shorter than 83 bytes.
    pub fn write(&self, payload: &mut [u8]) {
        payload[VARIANT] = self.variant.byte();
        payload[SLOT..INDEX].copy_from_slice(&self.slot.get().to_le_bytes());
        payload[INDEX..VERSION].copy_from_slice(&self.index.get().to_le_bytes());
        payload[VERSION..FEC_SET].copy_from_slice(&self.version.to_le_bytes());
        payload[FEC_SET..PARENT_OFFSET].copy_from_slice(&self.fec_set_index.get().to_le_bytes());
    }
}

/// The further fields of a data shred, as a leader writes them.
#[derive(Clone, Copy, Debug)]
pub struct DataHeader {
    /// How many slots the parent lies back.
    pub parent_offset: u16,
    /// Flags and reference tick.
    pub flags: u8,
    /// Where the data ends, counted from the start of the shred.
    pub end: u16,
}

impl DataHeader {
    /// Writes it to its place.
    ///
    /// # Panics
    /// If `payload` is shorter than 88 bytes.
    pub fn write(&self, payload: &mut [u8]) {
        payload[PARENT_OFFSET..FLAGS].copy_from_slice(&self.parent_offset.to_le_bytes());
        payload[FLAGS] = self.flags;
        payload[SIZE..SIZE + 2].copy_from_slice(&self.end.to_le_bytes());
    }
}

/// The further fields of a code shred, as a leader writes them.
#[derive(Clone, Copy, Debug)]
pub struct CodeHeader {
    /// Data shreds of the set.
    pub num_data: u16,
    /// Code shreds of the set.
    pub num_code: u16,
    /// Its number among them.
    pub position: u16,
}

impl CodeHeader {
    /// Writes it to its place.
    ///
    /// # Panics
    /// If `payload` is shorter than 89 bytes.
    pub fn write(&self, payload: &mut [u8]) {
        payload[NUM_DATA..NUM_CODE].copy_from_slice(&self.num_data.to_le_bytes());
        payload[NUM_CODE..POSITION].copy_from_slice(&self.num_code.to_le_bytes());
        payload[POSITION..POSITION + 2].copy_from_slice(&self.position.to_le_bytes());
    }
}

impl<'a> View<'a> {
    /// Looks at a datagram. Bytes after the shred, such as a nonce, are left out of the view.
    ///
    /// # Errors
    /// `TooShort` or `BadVariant`.
    pub fn read(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let byte = *datagram.get(VARIANT).ok_or(DropReason::TooShort)?;
        let variant = Variant::of_byte(byte).ok_or(DropReason::BadVariant)?;
        let bytes = datagram.get(..variant.size()).ok_or(DropReason::TooShort)?;
        Ok(Self { bytes, variant })
    }

    /// For a payload that was read before.
    pub(super) fn known(bytes: &'a [u8], variant: Variant) -> Self {
        assert_eq!(bytes.len(), variant.size(), "a shred changed its length");
        Self { bytes, variant }
    }

    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[at..at + N]);
        array
    }

    fn u16_at(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    /// The shred's bytes, without what followed it in the datagram.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// What its variant byte says.
    #[must_use]
    pub fn variant(self) -> Variant {
        self.variant
    }

    /// Data or code.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.variant.kind()
    }

    /// The leader's signature of the set's Merkle root.
    #[must_use]
    pub fn signature(self) -> Signature {
        Signature::from(self.array::<64>(0))
    }

    /// Its slot.
    #[must_use]
    pub fn slot(self) -> Slot {
        Slot::new(u64::from_le_bytes(self.array(SLOT)))
    }

    /// Its number among the shreds of its kind in the slot.
    #[must_use]
    pub fn index(self) -> ShredIndex {
        ShredIndex::new(u32::from_le_bytes(self.array(INDEX)))
    }

    /// The chain it belongs to (reference 3.11).
    #[must_use]
    pub fn version(self) -> u16 {
        self.u16_at(VERSION)
    }

    /// The set it belongs to.
    #[must_use]
    pub fn fec_set_index(self) -> FecSetIndex {
        FecSetIndex::new(u32::from_le_bytes(self.array(FEC_SET)))
    }

    /// Slot, index and kind.
    #[must_use]
    pub fn id(self) -> ShredId {
        ShredId { slot: self.slot(), index: self.index(), kind: self.kind() }
    }

    /// How many slots the parent lies back. `None`: a code shred, or further back than slot 0.
    #[must_use]
    pub fn parent(self) -> Option<Slot> {
        let offset = u64::from(self.of_kind(Kind::Data)?.u16_at(PARENT_OFFSET));
        self.slot().get().checked_sub(offset).map(Slot::new)
    }

    /// Flags and reference tick; 0 for a code shred.
    #[must_use]
    pub fn flags(self) -> u8 {
        self.of_kind(Kind::Data).map_or(0, |data| data.bytes[FLAGS])
    }

    /// Where the data ends, counted from the start of the shred; 0 for a code shred.
    #[must_use]
    pub fn data_end(self) -> usize {
        self.of_kind(Kind::Data).map_or(0, |data| data.u16_at(SIZE).into())
    }

    /// Data shreds of its set, as a code shred tells; 0 for a data shred.
    #[must_use]
    pub fn num_data(self) -> u16 {
        self.of_kind(Kind::Code).map_or(0, |code| code.u16_at(NUM_DATA))
    }

    /// Code shreds of its set, as a code shred tells; 0 for a data shred.
    #[must_use]
    pub fn num_code(self) -> u16 {
        self.of_kind(Kind::Code).map_or(0, |code| code.u16_at(NUM_CODE))
    }

    /// Its number among the code shreds of its set; 0 for a data shred.
    #[must_use]
    pub fn position(self) -> u16 {
        self.of_kind(Kind::Code).map_or(0, |code| code.u16_at(POSITION))
    }

    /// Its place among the leaves of its set's Merkle tree. `None`: a data shred before its set.
    #[must_use]
    pub fn leaf_index(self) -> Option<usize> {
        match self.kind() {
            Kind::Data => {
                let place = self.index().get().checked_sub(self.fec_set_index().get())?;
                usize::try_from(place).ok()
            }
            Kind::Code => Some(usize::from(self.num_data()) + usize::from(self.position())),
        }
    }

    /// The Merkle root of the FEC set before.
    #[must_use]
    pub fn chained_root(self) -> Hash {
        Hash::new_from_array(self.array(self.variant.root_range().start))
    }

    fn of_kind(self, kind: Kind) -> Option<Self> {
        (self.kind() == kind).then_some(self)
    }
}

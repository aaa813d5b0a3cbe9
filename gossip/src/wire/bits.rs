//! Bit vectors as gossip carries them: optional blocks, then the number of bits (reference 6.4).

use super::codec::{DecodeError, Reader, Writer};

/// The blocks of a bit vector: bytes, or 64-bit words.
pub trait Block: Copy + Default + PartialEq + 'static {
    /// Bits in a block.
    const BITS: u64;
    /// Reads one block.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// Writes one block.
    fn write(self, writer: &mut Writer);
    /// Whether the bit at `place` (below [`Self::BITS`]) is set.
    fn bit(self, place: u64) -> bool;
    /// Sets the bit at `place`; whether it was clear before.
    fn set(&mut self, place: u64) -> bool;
}

macro_rules! block {
    ($int:ty, $read:ident, $write:ident) => {
        impl Block for $int {
            const BITS: u64 = <$int>::BITS as u64;
            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.$read()
            }
            fn write(self, writer: &mut Writer) {
                writer.$write(self);
            }
            fn bit(self, place: u64) -> bool {
                (self >> place) & 1 == 1
            }
            fn set(&mut self, place: u64) -> bool {
                let fresh = !self.bit(place);
                *self |= 1 << place;
                fresh
            }
        }
    };
}
block!(u8, u8, u8);
block!(u64, u64, u64);

/// A vector of bits, the least significant bit of the first block first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitVec<B> {
    /// `bits` never exceeds the bits in these; there may be more blocks than needed.
    blocks: Vec<B>,
    bits: u64,
}

impl<B: Block> BitVec<B> {
    /// `bits` clear bits.
    #[must_use]
    pub fn zeros(bits: u32) -> Self {
        let bits = u64::from(bits);
        let blocks = usize::try_from(bits.div_ceil(B::BITS)).expect("at most 2^29 blocks");
        Self { blocks: vec![B::default(); blocks], bits }
    }

    /// The bits of whole blocks.
    #[must_use]
    pub fn from_blocks(blocks: Vec<B>) -> Self {
        let bits = blocks.len() as u64 * B::BITS;
        Self { blocks, bits }
    }

    /// The number of bits.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.bits
    }

    /// The number of bits that the blocks have room for.
    #[must_use]
    pub const fn room(&self) -> u64 {
        self.blocks.len() as u64 * B::BITS
    }

    /// Whether there are no bits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Whether bit `place` is set; bits outside are clear.
    #[must_use]
    pub fn get(&self, place: u64) -> bool {
        place < self.bits
            && usize::try_from(place / B::BITS)
                .ok()
                .and_then(|block| self.blocks.get(block))
                .is_some_and(|block| block.bit(place % B::BITS))
    }

    /// Sets bit `place`; whether it was clear before.
    ///
    /// # Panics
    /// If there is no such bit: callers reduce their place to the length first.
    pub fn set(&mut self, place: u64) -> bool {
        assert!(place < self.bits, "bit {place} of {}", self.bits);
        let block = usize::try_from(place / B::BITS).expect("blocks are in memory");
        self.blocks[block].set(place % B::BITS)
    }

    /// The places of the set bits, ascending.
    pub fn ones(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.bits).filter(|&place| self.get(place))
    }

    /// The blocks.
    #[must_use]
    pub fn blocks(&self) -> &[B] {
        &self.blocks
    }

    /// Reads a bit vector.
    ///
    /// # Errors
    /// [`DecodeError::Bits`] when blocks are announced and none come, or the bits exceed the blocks.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut blocks = Vec::new();
        if reader.flag()? {
            blocks = reader.vec(B::read)?;
            if blocks.is_empty() {
                return Err(DecodeError::Bits);
            }
        }
        let bits = reader.u64()?;
        let read = Self { blocks, bits };
        if read.bits <= read.room() { Ok(read) } else { Err(DecodeError::Bits) }
    }

    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        writer.u8(u8::from(!self.blocks.is_empty()));
        if !self.blocks.is_empty() {
            writer.count(self.blocks.len());
            for block in &self.blocks {
                block.write(writer);
            }
        }
        writer.u64(self.bits);
    }
}

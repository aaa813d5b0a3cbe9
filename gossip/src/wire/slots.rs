//! The slots that a node has, packed as bitmaps (reference 6.4).

use super::{
    bits::BitVec,
    codec::{DecodeError, Reader, Writer},
};
use flate2::{Compression, Decompress, FlushDecompress, write::DeflateEncoder};
use std::{io::Write as _, ops::RangeInclusive};
use sundog_types::Pubkey;

/// Slots one bitmap may describe: 2,048 bytes of bits; a part must describe fewer.
pub const SLOTS_PER_PART: u64 = 2_048 * 8;

/// Bytes that a bitmap may inflate to beyond those that its count needs; they are not looked at.
const INFLATE_SPARE: usize = 32;

/// The bitmap of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bitmap {
    /// Raw DEFLATE of the bitmap's bytes.
    Deflated(Vec<u8>),
    /// The bits themselves.
    Plain(BitVec<u8>),
}

/// Bit `k` of the bitmap says that the node has slot `first_slot + k`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedSlots {
    /// The slot of bit 0.
    pub first_slot: u64,
    /// How many slots are described.
    pub count: u64,
    /// The bits.
    pub bitmap: Bitmap,
}

impl CompressedSlots {
    /// Packs ascending slots that span fewer than [`SLOTS_PER_PART`]; deflated if that is shorter.
    /// `None` when there are no slots, or they do not fit.
    #[must_use]
    pub fn pack(slots: &[u64]) -> Option<Self> {
        let (first_slot, last) = (*slots.first()?, *slots.last()?);
        let count = last.checked_sub(first_slot)?.checked_add(1)?;
        if count >= SLOTS_PER_PART {
            return None;
        }
        let mut bytes = vec![0u8; usize::try_from(count.div_ceil(8)).ok()?];
        for slot in slots {
            let place = usize::try_from(slot.checked_sub(first_slot)?).ok()?;
            *bytes.get_mut(place / 8)? |= 1 << (place % 8);
        }
        Some(Self::of_bitmap(first_slot, count, bytes))
    }

    /// Packs a bitmap of `count` slots, of which bit 0 is `first_slot`; deflated if that is shorter.
    #[must_use]
    pub fn of_bitmap(first_slot: u64, count: u64, bytes: Vec<u8>) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes).expect("a vector takes all bytes");
        let deflated = encoder.finish().expect("a vector takes all bytes");
        let bitmap = if deflated.len() < bytes.len() {
            Bitmap::Deflated(deflated)
        } else {
            Bitmap::Plain(BitVec::from_blocks(bytes))
        };
        Self { first_slot, count, bitmap }
    }

    /// Bytes of this part in a value.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes().len()
    }

    /// The slots described that lie in a range, ascending. Nothing is inflated of a bitmap outside the range, and of
    /// another only as much as reaches the range's end: those bytes are taken from `room`. `None`: it would be more
    /// than `room`. Of a bitmap that does not inflate to there, the slots that it gave until then; a broken one has none.
    #[must_use]
    pub fn slots_within(&self, range: &RangeInclusive<u64>, room: &mut usize) -> Option<Vec<u64>> {
        let count = self.count.min(SLOTS_PER_PART);
        let end = self.first_slot.saturating_add(count).min(range.end().saturating_add(1));
        let start = self.first_slot.max(*range.start());
        if start >= end {
            return Some(Vec::new());
        }
        let inflated;
        let (bytes, bits) = match &self.bitmap {
            Bitmap::Plain(bits) => (bits.blocks(), bits.len()),
            Bitmap::Deflated(bytes) => {
                let reach = end - self.first_slot;
                *room = room.checked_sub(usize::try_from(reach.div_ceil(8)).ok()?)?;
                inflated = inflate(bytes, reach).unwrap_or_default();
                (inflated.as_slice(), u64::MAX)
            }
        };
        let set = |place: &u64| {
            let byte = usize::try_from(place / 8).ok().and_then(|at| bytes.get(at));
            *place < bits && byte.is_some_and(|byte| byte >> (place % 8) & 1 == 1)
        };
        let places = start - self.first_slot..end - self.first_slot;
        Some(places.filter(set).map(|place| self.first_slot + place).collect())
    }

    /// The slots described, ascending. Bits beyond `count` do not count; of a bitmap that does not inflate to its end
    /// those that it gave until then; a broken one has no slots.
    #[must_use]
    pub fn slots(&self) -> Vec<u64> {
        let mut room = usize::MAX;
        self.slots_within(&(0..=u64::MAX), &mut room).unwrap_or_default()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = reader.u32()?;
        let (first_slot, count) = match tag {
            0 | 1 => (reader.u64()?, reader.u64()?),
            other => return Err(DecodeError::Tag(other)),
        };
        let bitmap = match tag {
            0 => Bitmap::Deflated(reader.byte_vec()?.to_vec()),
            _ => Bitmap::Plain(BitVec::read(reader)?),
        };
        Ok(Self { first_slot, count, bitmap })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u32(u32::from(matches!(self.bitmap, Bitmap::Plain(_))));
        writer.u64(self.first_slot);
        writer.u64(self.count);
        match &self.bitmap {
            Bitmap::Deflated(bytes) => writer.byte_vec(bytes),
            Bitmap::Plain(bits) => bits.write(writer),
        }
    }
}

/// The bytes of a bitmap of `count` bits, as far as they are there. `None`: not DEFLATE.
fn inflate(deflated: &[u8], count: u64) -> Option<Vec<u8>> {
    // What is over the room is left out, as the reference does.
    let room = usize::try_from(count.div_ceil(8)).ok()? + INFLATE_SPARE;
    let mut plain = Vec::with_capacity(room);
    Decompress::new(false).decompress_vec(deflated, &mut plain, FlushDecompress::Finish).ok()?;
    Some(plain)
}

/// Slots that a node has whole, to be weighed by repair and by the propagation check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSlots {
    /// The node.
    pub from: Pubkey,
    /// Bitmaps, each with its first slot.
    pub parts: Vec<CompressedSlots>,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
}

impl EpochSlots {
    /// All slots of all parts, in the order of the parts.
    #[must_use]
    pub fn slots(&self) -> Vec<u64> {
        self.parts.iter().flat_map(CompressedSlots::slots).collect()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not this value.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from: reader.pubkey()?, parts: reader.vec(CompressedSlots::read)?, wallclock: reader.u64()? })
    }

    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        writer.bytes(self.from);
        writer.count(self.parts.len());
        for part in &self.parts {
            part.write(writer);
        }
        writer.u64(self.wallclock);
    }
}

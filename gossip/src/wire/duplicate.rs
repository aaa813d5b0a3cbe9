//! Chunks of proofs that a leader made two versions of a slot (reference 6.5).

use super::codec::{DecodeError, Reader, Writer};
use sundog_types::Pubkey;

/// Bytes of a proof in one chunk: what a value may hold less the fields before it.
pub const CHUNK_BYTES: usize = 1_054;

/// Chunks accepted of one proof; two shreds always fit.
pub const CHUNKS_MAX: usize = 3;

/// One chunk of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateShred {
    /// The node that saw both shreds.
    pub from: Pubkey,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
    /// The slot.
    pub slot: u64,
    /// Retired: was a shred index.
    pub unused_index: u32,
    /// Retired: was a shred type.
    pub unused_type: u8,
    /// Chunks of the whole proof.
    pub num_chunks: u8,
    /// Which of them this is.
    pub chunk_index: u8,
    /// Its bytes.
    pub chunk: Vec<u8>,
}

/// Two conflicting shreds of one slot, as they were on the wire. Whether they really conflict is not
/// checked here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateProof {
    /// One shred.
    pub first: Vec<u8>,
    /// The other.
    pub second: Vec<u8>,
}

impl DuplicateProof {
    /// Cuts the proof into chunks to publish.
    #[must_use]
    pub fn chunks(&self, from: Pubkey, slot: u64, wallclock: u64) -> Vec<DuplicateShred> {
        let mut writer = Writer::new();
        writer.byte_vec(&self.first);
        writer.byte_vec(&self.second);
        let bytes = writer.into_bytes();
        let num_chunks = u8::try_from(bytes.len().div_ceil(CHUNK_BYTES)).unwrap_or(u8::MAX);
        let numbered = (0..num_chunks).zip(bytes.chunks(CHUNK_BYTES));
        numbered
            .map(|(chunk_index, chunk)| DuplicateShred {
                from,
                wallclock,
                slot,
                unused_index: 0,
                unused_type: DuplicateShred::UNUSED_TYPE,
                num_chunks,
                chunk_index,
                chunk: chunk.to_vec(),
            })
            .collect()
    }

    /// Puts the chunks of one origin and slot together, given in any order. `None` when some are missing
    /// or they do not agree.
    #[must_use]
    pub fn join(chunks: &[&DuplicateShred]) -> Option<Self> {
        let one = *chunks.first()?;
        let count = usize::from(one.num_chunks);
        if count > CHUNKS_MAX || chunks.len() != count {
            return None;
        }
        let mut bytes = Vec::new();
        for index in 0..one.num_chunks {
            let chunk = chunks.iter().find(|chunk| chunk.chunk_index == index)?;
            if (chunk.from, chunk.slot, chunk.num_chunks) != (one.from, one.slot, one.num_chunks) {
                return None;
            }
            bytes.extend_from_slice(&chunk.chunk);
        }
        let mut reader = Reader::new(&bytes);
        let first = reader.byte_vec().ok()?.to_vec();
        let second = reader.byte_vec().ok()?.to_vec();
        // Bytes after the second shred do not count, as the reference has it.
        Some(Self { first, second })
    }
}

impl DuplicateShred {
    /// What the reference writes into the retired type field: the code of a code shred.
    pub const UNUSED_TYPE: u8 = 90;

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: reader.pubkey()?,
            wallclock: reader.u64()?,
            slot: reader.u64()?,
            unused_index: reader.u32()?,
            unused_type: reader.u8()?,
            num_chunks: reader.u8()?,
            chunk_index: reader.u8()?,
            chunk: reader.byte_vec()?.to_vec(),
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bytes(self.from);
        writer.u64(self.wallclock);
        writer.u64(self.slot);
        writer.u32(self.unused_index);
        writer.u8(self.unused_type);
        writer.u8(self.num_chunks);
        writer.u8(self.chunk_index);
        writer.byte_vec(&self.chunk);
    }
}

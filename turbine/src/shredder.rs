//! Cuts a leader's entry batches into chained FEC sets (reference 3.7).
//!
//! ```text
//!   batch:        | 30,816 bytes | 30,816 bytes | rest, padded with empty shreds |
//!   last batch:   | 30,816 bytes | rest, padded | the last 28,768 bytes, resigned |
//! ```

use crate::recover::Codec;
use bytes::BytesMut;
use sundog_types::{
    FecSetIndex, Hash, ShredIndex, Slot,
    shred::{
        CodeHeader, CommonHeader, DataHeader, Kind, MAX_SHREDS_PER_SLOT, SHREDS_PER_KIND, Shred, Signed, Variant, seal,
        variant::{CODE_SHRED_SIZE, DATA_HEADERS, DATA_SHRED_SIZE},
        wire::{DATA_COMPLETE, LAST_IN_SLOT, REFERENCE_TICK_MASK},
    },
    sign::Sign,
};

const SET: u32 = SHREDS_PER_KIND as u32;

/// 32 data shreds, the 32 code shreds over them, and the root that the leader signed.
#[derive(Clone, Debug)]
pub struct FecSet {
    /// Root of the Merkle tree over all 64.
    pub root: Hash,
    /// The data shreds by index.
    pub data: Vec<Shred<Signed>>,
    /// The code shreds by position.
    pub code: Vec<Shred<Signed>>,
}

/// Why a batch cannot be shredded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShredderError {
    /// The slot has no indexes left for it.
    #[error("the batch needs {sets} more FEC sets, slot {slot} has room for {left}; end the block before")]
    SlotFull {
        /// The slot.
        slot: Slot,
        /// Sets that the batch needs.
        sets: usize,
        /// Sets that the slot still has room for.
        left: usize,
    },
    /// The parent is not earlier, or too far back for the 16 bits of its field.
    #[error("slot {slot} cannot name {parent} as its parent; lead a slot at most 65,535 after it")]
    Parent {
        /// The slot.
        slot: Slot,
        /// The parent asked for.
        parent: Slot,
    },
}

/// The leader's side of one slot: remembers how far its shreds go and the root that the next set chains to.
#[derive(Debug)]
pub struct Shredder {
    slot: Slot,
    parent_offset: u16,
    version: u16,
    next_data: u32,
    next_code: u32,
    chained_root: Hash,
    codec: Codec,
}

/// The flag bytes of a set's data shreds: one for all of them, and what its last one has besides.
#[derive(Clone, Copy)]
struct Flags {
    tick: u8,
    end: u8,
}

impl Shredder {
    /// Starts a slot. `first_chained_root` is the root of the last FEC set of the parent's block, zero if it is not
    /// known.
    ///
    /// # Errors
    /// [`ShredderError::Parent`].
    pub fn new(slot: Slot, parent: Slot, version: u16, first_chained_root: Hash) -> Result<Self, ShredderError> {
        let offset = slot.get().checked_sub(parent.get()).and_then(|by| u16::try_from(by).ok());
        let parent_offset =
            offset.filter(|by| *by > 0 || slot == Slot::ZERO).ok_or(ShredderError::Parent { slot, parent })?;
        Ok(Self {
            slot,
            parent_offset,
            version,
            next_data: 0,
            next_code: 0,
            chained_root: first_chained_root,
            codec: Codec::new(),
        })
    }

    /// Goes on in the middle of a slot: the next data shred and the next code shred get these indexes. They are equal
    /// for a leader that wants its code shreds taken (reference 16.3).
    #[must_use]
    pub fn continue_at(mut self, data: ShredIndex, code: ShredIndex) -> Self {
        (self.next_data, self.next_code) = (data.get(), code.get());
        self
    }

    /// The slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The slot it builds on.
    #[must_use]
    pub fn parent(&self) -> Slot {
        self.slot.saturating_sub(self.parent_offset.into())
    }

    /// The root of the last set made.
    #[must_use]
    pub fn chained_root(&self) -> Hash {
        self.chained_root
    }

    /// The index of the next data shred: how many the slot has so far.
    #[must_use]
    pub fn next_index(&self) -> ShredIndex {
        ShredIndex::new(self.next_data)
    }

    /// How many sets a batch of `bytes` takes.
    #[must_use]
    pub fn sets_for(bytes: usize, last_in_slot: bool) -> usize {
        let plain = set_capacity(false);
        if last_in_slot {
            bytes.saturating_sub(set_capacity(true)).div_ceil(plain) + 1
        } else {
            bytes.div_ceil(plain).max(1)
        }
    }

    /// Bytes that still fit in the slot as one batch.
    #[must_use]
    pub fn room(&self, last_in_slot: bool) -> usize {
        match (self.sets_left(), last_in_slot) {
            (0, _) => 0,
            (left, true) => (left - 1) * set_capacity(false) + set_capacity(true),
            (left, false) => left * set_capacity(false),
        }
    }

    /// Shreds one serialised entry batch. `reference_tick` is the number of ticks recorded in the slot so far.
    ///
    /// # Errors
    /// [`ShredderError::SlotFull`]; nothing is made then.
    pub fn shred(
        &mut self,
        batch: &[u8],
        reference_tick: u8,
        last_in_slot: bool,
        signer: &dyn Sign,
    ) -> Result<Vec<FecSet>, ShredderError> {
        let (sets, left) = (Self::sets_for(batch.len(), last_in_slot), self.sets_left());
        if sets > left {
            return Err(ShredderError::SlotFull { slot: self.slot, sets, left });
        }
        let resigned_bytes = if last_in_slot { batch.len().min(set_capacity(true)) } else { 0 };
        let (mut plain, resigned) = batch.split_at(batch.len() - resigned_bytes);
        let tick = reference_tick.min(REFERENCE_TICK_MASK);
        let ends_batch = if last_in_slot { LAST_IN_SLOT } else { DATA_COMPLETE };
        let mut made = Vec::with_capacity(sets);
        for number in 1..=sets {
            let is_last = number == sets;
            let variant = Variant::standard(Kind::Data, is_last && last_in_slot);
            let flags = Flags { tick, end: if is_last { ends_batch } else { 0 } };
            let body = if variant.resigned() {
                resigned
            } else {
                let (head, tail) = plain.split_at(plain.len().min(set_capacity(false)));
                plain = tail;
                head
            };
            made.push(self.make_set(body, variant, flags, signer));
        }
        Ok(made)
    }

    fn make_set(&mut self, body: &[u8], variant: Variant, flags: Flags, signer: &dyn Sign) -> FecSet {
        let mut payloads = BytesMut::zeroed(SHREDS_PER_KIND * (DATA_SHRED_SIZE + CODE_SHRED_SIZE));
        let (data, code) = payloads.split_at_mut(SHREDS_PER_KIND * DATA_SHRED_SIZE);
        for place in 0..SHREDS_PER_KIND {
            let payload = &mut data[place * DATA_SHRED_SIZE..][..DATA_SHRED_SIZE];
            let start = body.len().min(place * variant.capacity());
            let piece = &body[start..body.len().min(start + variant.capacity())];
            let end = if place == SHREDS_PER_KIND - 1 { flags.end } else { 0 };
            self.write_data_shred(payload, variant, (place as u32, flags.tick | end), piece);
        }
        for position in 0..SHREDS_PER_KIND {
            let payload = &mut code[position * CODE_SHRED_SIZE..][..CODE_SHRED_SIZE];
            self.write_code_headers(payload, variant.other_kind(), position as u16);
        }
        let data_shards =
            data.chunks_exact(DATA_SHRED_SIZE).map(|payload| &payload[variant.shard_range()]).collect::<Vec<_>>();
        let mut code_shards = code
            .chunks_exact_mut(CODE_SHRED_SIZE)
            .map(|payload| &mut payload[variant.other_kind().shard_range()])
            .collect::<Vec<_>>();
        self.codec.encode(&data_shards, &mut code_shards);
        self.finish_set(payloads, signer)
    }

    fn finish_set(&mut self, mut payloads: BytesMut, signer: &dyn Sign) -> FecSet {
        let sizes = [(DATA_SHRED_SIZE, SHREDS_PER_KIND), (CODE_SHRED_SIZE, SHREDS_PER_KIND)];
        let sizes = sizes.into_iter().flat_map(|(size, count)| std::iter::repeat_n(size, count));
        let parts = sizes.map(|size| payloads.split_to(size)).collect();
        let mut data = seal::sign(parts, signer).expect("a shredder makes well-formed sets");
        let code = data.split_off(SHREDS_PER_KIND);
        let root = data[0].merkle_root();
        self.chained_root = root;
        self.next_data += SET;
        self.next_code += SET;
        FecSet { root, data, code }
    }

    fn write_data_shred(&self, payload: &mut [u8], variant: Variant, (place, flags): (u32, u8), piece: &[u8]) {
        let end = DATA_HEADERS + piece.len();
        self.write_common(payload, variant, self.next_data + place);
        DataHeader { parent_offset: self.parent_offset, flags, end: end as u16 }.write(payload);
        payload[DATA_HEADERS..end].copy_from_slice(piece);
    }

    fn write_code_headers(&self, payload: &mut [u8], variant: Variant, position: u16) {
        self.write_common(payload, variant, self.next_code + u32::from(position));
        let count = SHREDS_PER_KIND as u16;
        CodeHeader { num_data: count, num_code: count, position }.write(payload);
    }

    fn write_common(&self, payload: &mut [u8], variant: Variant, index: u32) {
        let header = CommonHeader {
            variant,
            slot: self.slot,
            index: ShredIndex::new(index),
            version: self.version,
            fec_set_index: FecSetIndex::new(self.next_data),
        };
        header.write(payload);
        payload[variant.root_range()].copy_from_slice(self.chained_root.as_ref());
    }

    fn sets_left(&self) -> usize {
        let used = self.next_data.max(self.next_code);
        (MAX_SHREDS_PER_SLOT.saturating_sub(used) / SET) as usize
    }
}

/// Entry bytes that an FEC set carries.
#[must_use]
pub fn set_capacity(resigned: bool) -> usize {
    SHREDS_PER_KIND * Variant::standard(Kind::Data, resigned).capacity()
}

#[cfg(test)]
mod tests {
    use super::*;
    use solana_keypair::Keypair;
    use sundog_types::sign::Identity;

    fn shredder(slot: u64, parent: u64) -> Result<Shredder, ShredderError> {
        Shredder::new(Slot::new(slot), Slot::new(parent), 7, Hash::default())
    }

    #[test]
    fn a_parent_that_does_not_fit_its_field_is_refused() {
        for (slot, parent, fits) in
            [(0, 0, true), (5, 4, true), (5, 5, false), (4, 5, false), (65_535, 0, true), (65_536, 0, false)]
        {
            assert_eq!(shredder(slot, parent).is_ok(), fits, "slot {slot} on {parent}");
        }
    }

    #[test]
    fn a_slot_takes_1024_sets_and_no_more() {
        let signer = Identity::new(Keypair::new_from_array([1; 32]));
        let at = ShredIndex::new(1_022 * SET);
        let mut shredder = shredder(5, 4).expect("parent").continue_at(at, at);
        let too_long = vec![3; shredder.room(false) + 1];
        let full = ShredderError::SlotFull { slot: Slot::new(5), sets: 3, left: 2 };
        assert_eq!(shredder.shred(&too_long, 1, false, &signer).err(), Some(full));
        let fits = &too_long[1..];
        assert_eq!(shredder.shred(fits, 1, false, &signer).map(|sets| sets.len()), Ok(2));
        assert_eq!(shredder.room(true), 0);
        assert!(shredder.shred(&[], 1, true, &signer).is_err());
    }

    #[test]
    fn sets_chain_and_the_data_comes_out_as_it_went_in() {
        let signer = Identity::new(Keypair::new_from_array([1; 32]));
        let mut shredder = shredder(5, 4).expect("parent");
        let batch = (0..90_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>();
        let mut sets = shredder.shred(&batch, 9, false, &signer).expect("room");
        sets.extend(shredder.shred(&batch, 200, true, &signer).expect("room"));
        let mut root = Hash::default();
        for set in &sets {
            assert!(set.data.iter().chain(&set.code).all(|s| s.chained_merkle_root() == root));
            root = set.root;
        }
        let bytes = sets.iter().flat_map(|s| &s.data).flat_map(Shred::data).copied();
        assert!(bytes.eq(batch.iter().chain(&batch).copied()));
        let last = sets.last().and_then(|set| set.data.last()).expect("shreds");
        assert!(last.last_in_slot() && last.resigned() && last.reference_tick() == 63);
    }
}

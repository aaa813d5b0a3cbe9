//! The bytes of voting instructions.
//!
//! Read by hand, not by a derived decoder: every length is checked against the bytes that are there before
//! anything is reserved for it.

use super::{MAX_VOTE_DATA_BYTES, VoteError, VoteInstruction, VoteKind};
use crate::Hash;

/// Stands for "no root" in the compact forms.
const NO_ROOT: u64 = u64::MAX;

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], VoteError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(VoteError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, VoteError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, VoteError> {
        self.array().map(u64::from_le_bytes)
    }

    fn hash(&mut self) -> Result<Hash, VoteError> {
        self.array().map(Hash::new_from_array)
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, VoteError>) -> Result<Option<T>, VoteError> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(VoteError::NotCanonical),
        }
    }

    /// A u64 in groups of seven bits, low group first; the shortest spelling only.
    fn varint(&mut self, bits: u32) -> Result<u64, VoteError> {
        let mut value = 0_u64;
        for shift in (0..bits).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            if shift + 7 > bits && group >> (bits - shift) != 0 {
                return Err(VoteError::OutOfRange);
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(VoteError::NotCanonical) } else { Ok(value) };
            }
        }
        Err(VoteError::NotCanonical)
    }

    fn timestamp(&mut self) -> Result<Option<i64>, VoteError> {
        self.option(|r| r.array().map(i64::from_le_bytes))
    }

    /// A fixed-width count of items of `width` bytes, all of which must be there.
    fn count(&mut self, width: usize) -> Result<usize, VoteError> {
        let count = usize::try_from(self.u64()?).map_err(|_| VoteError::Truncated)?;
        match count.checked_mul(width) {
            Some(bytes) if bytes <= self.0.len() => Ok(count),
            _ => Err(VoteError::Truncated),
        }
    }

    /// The votes of a compact tower: each slot as its distance from the one before, the first from the root.
    fn compact_slots(&mut self, root: Option<u64>) -> Result<Vec<(u64, u32)>, VoteError> {
        let count = self.varint(16)?;
        let mut slots = Vec::new();
        let mut slot = root.unwrap_or(0);
        for _ in 0..count {
            slot = slot.checked_add(self.varint(64)?).ok_or(VoteError::OutOfRange)?;
            slots.push((slot, u32::from(self.byte()?)));
        }
        Ok(slots)
    }
}

pub(super) fn decode(data: &[u8]) -> Result<VoteInstruction, VoteError> {
    if data.len() > MAX_VOTE_DATA_BYTES {
        return Err(VoteError::TooLong(data.len()));
    }
    let mut reader = Reader(data);
    let tag = u32::from_le_bytes(reader.array()?);
    let (kind, switches) = kind_of(tag).ok_or(VoteError::NotAVote(tag))?;
    let r = &mut reader;
    let mut said = match kind {
        VoteKind::Vote => decode_vote(r)?,
        VoteKind::UpdateVoteState => decode_update(r)?,
        VoteKind::CompactUpdateVoteState | VoteKind::TowerSync => decode_compact(r, kind)?,
    };
    if switches {
        said.switch_proof = Some(reader.hash()?);
    }
    Ok(said)
}

fn kind_of(tag: u32) -> Option<(VoteKind, bool)> {
    Some(match tag {
        2 => (VoteKind::Vote, false),
        6 => (VoteKind::Vote, true),
        8 => (VoteKind::UpdateVoteState, false),
        9 => (VoteKind::UpdateVoteState, true),
        12 => (VoteKind::CompactUpdateVoteState, false),
        13 => (VoteKind::CompactUpdateVoteState, true),
        14 => (VoteKind::TowerSync, false),
        15 => (VoteKind::TowerSync, true),
        _ => return None,
    })
}

fn tag_of(kind: VoteKind, switches: bool) -> u32 {
    let plain = match kind {
        VoteKind::Vote => return if switches { 6 } else { 2 },
        VoteKind::UpdateVoteState => 8,
        VoteKind::CompactUpdateVoteState => 12,
        VoteKind::TowerSync => 14,
    };
    plain + u32::from(switches)
}

fn decode_vote(r: &mut Reader<'_>) -> Result<VoteInstruction, VoteError> {
    let count = r.count(8)?;
    let slots = (0..count).map(|_| r.u64().map(|slot| (slot, 0))).collect::<Result<_, _>>()?;
    Ok(VoteInstruction {
        kind: VoteKind::Vote,
        slots,
        root: None,
        hash: r.hash()?,
        timestamp: r.timestamp()?,
        block_id: Hash::default(),
        switch_proof: None,
    })
}

fn decode_update(r: &mut Reader<'_>) -> Result<VoteInstruction, VoteError> {
    let count = r.count(12)?;
    let slots = (0..count).map(|_| Ok((r.u64()?, u32::from_le_bytes(r.array()?)))).collect::<Result<_, _>>()?;
    Ok(VoteInstruction {
        kind: VoteKind::UpdateVoteState,
        slots,
        root: r.option(Reader::u64)?,
        hash: r.hash()?,
        timestamp: r.timestamp()?,
        block_id: Hash::default(),
        switch_proof: None,
    })
}

fn decode_compact(r: &mut Reader<'_>, kind: VoteKind) -> Result<VoteInstruction, VoteError> {
    let root = Some(r.u64()?).filter(|&root| root != NO_ROOT);
    let slots = r.compact_slots(root)?;
    Ok(VoteInstruction {
        kind,
        slots,
        root,
        hash: r.hash()?,
        timestamp: r.timestamp()?,
        block_id: if kind == VoteKind::TowerSync { r.hash()? } else { Hash::default() },
        switch_proof: None,
    })
}

pub(super) fn encode(said: &VoteInstruction) -> Result<Vec<u8>, VoteError> {
    let mut out = tag_of(said.kind, said.switch_proof.is_some()).to_le_bytes().to_vec();
    match said.kind {
        VoteKind::Vote => {
            put_count(&mut out, said.slots.len());
            for (slot, _) in &said.slots {
                out.extend(slot.to_le_bytes());
            }
        }
        VoteKind::UpdateVoteState => {
            put_count(&mut out, said.slots.len());
            for (slot, confirmations) in &said.slots {
                out.extend(slot.to_le_bytes());
                out.extend(confirmations.to_le_bytes());
            }
            put_option(&mut out, said.root.map(u64::to_le_bytes));
        }
        VoteKind::CompactUpdateVoteState | VoteKind::TowerSync => put_compact(&mut out, said)?,
    }
    out.extend(said.hash.to_bytes());
    put_option(&mut out, said.timestamp.map(i64::to_le_bytes));
    if said.kind == VoteKind::TowerSync {
        out.extend(said.block_id.to_bytes());
    }
    if let Some(proof) = &said.switch_proof {
        out.extend(proof.to_bytes());
    }
    Ok(out)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u64).to_le_bytes());
}

fn put_option(out: &mut Vec<u8>, value: Option<[u8; 8]>) {
    out.push(u8::from(value.is_some()));
    out.extend(value.into_iter().flatten());
}

fn put_compact(out: &mut Vec<u8>, said: &VoteInstruction) -> Result<(), VoteError> {
    let count = u16::try_from(said.slots.len()).map_err(|_| VoteError::OutOfRange)?;
    out.extend(said.root.unwrap_or(NO_ROOT).to_le_bytes());
    put_varint(out, u64::from(count));
    let mut before = said.root.unwrap_or(0);
    for &(slot, confirmations) in &said.slots {
        put_varint(out, slot.checked_sub(before).ok_or(VoteError::OutOfRange)?);
        out.push(u8::try_from(confirmations).map_err(|_| VoteError::OutOfRange)?);
        before = slot;
    }
    Ok(())
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("seven bits"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_vote() -> impl Strategy<Value = VoteInstruction> {
        let slots = proptest::collection::vec((0..1_u64 << 58, 0..=255_u32), 0..=31);
        let head = (0..4_usize, slots, proptest::option::of(0..1_u64 << 40));
        let tail = (any::<[u8; 32]>(), any::<Option<i64>>(), any::<Option<[u8; 32]>>());
        (head, tail).prop_map(|((kind, gaps, root), (hash, timestamp, proof))| {
            use VoteKind::*;
            let kind = [Vote, UpdateVoteState, CompactUpdateVoteState, TowerSync][kind];
            let root = root.filter(|_| kind != Vote);
            let mut slot = root.unwrap_or(0);
            let slots = gaps.into_iter().map(|(gap, confirmations)| {
                slot += gap;
                (slot, if kind == Vote { 0 } else { confirmations })
            });
            let hash = Hash::new_from_array(hash);
            VoteInstruction {
                kind,
                slots: slots.collect(),
                root,
                hash,
                timestamp,
                block_id: if kind == TowerSync { hash } else { Hash::default() },
                switch_proof: proof.map(Hash::new_from_array),
            }
        })
    }

    proptest! {
        #[test]
        fn a_vote_survives_its_bytes(vote in any_vote()) {
            let bytes = vote.encode().expect("in range");
            prop_assert_eq!(VoteInstruction::decode(&bytes), Ok(vote));
        }

        #[test]
        fn no_prefix_of_a_vote_is_a_vote(vote in any_vote(), cut in any::<prop::sample::Index>()) {
            let bytes = vote.encode().expect("in range");
            prop_assert!(VoteInstruction::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn mutated_votes_neither_panic_nor_grow(
            vote in any_vote(),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = vote.encode().expect("in range");
            let length = bytes.len();
            for (place, flip) in flips {
                bytes[place.index(length)] ^= flip;
            }
            if let Ok(read) = VoteInstruction::decode(&bytes) {
                prop_assert!(read.slots.len() <= MAX_VOTE_DATA_BYTES / 2);
            }
        }

        #[test]
        fn random_bytes_do_not_panic(
            tag in 0..17_u8, bytes in proptest::collection::vec(any::<u8>(), 0..1_300)
        ) {
            let _ = VoteInstruction::decode(&[&[tag, 0, 0, 0], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        for tag in [2_u8, 8] {
            let data = [[tag, 0, 0, 0].as_slice(), &u64::MAX.to_le_bytes()].concat();
            assert_eq!(VoteInstruction::decode(&data), Err(VoteError::Truncated));
        }
    }

    #[test]
    fn data_beyond_a_packet_is_not_read() {
        assert_eq!(VoteInstruction::decode(&[14; 1_233]), Err(VoteError::TooLong(1_233)));
    }

    #[test]
    fn other_instructions_of_the_vote_program_are_not_votes() {
        assert_eq!(VoteInstruction::decode(&[1, 0, 0, 0]), Err(VoteError::NotAVote(1)));
    }
}

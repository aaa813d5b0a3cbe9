//! The tower file: what must be durable before a vote leaves.
//!
//! The bytes are those of the reference (8.5), so that a node can be moved between implementations without
//! forgetting its promises: a tag, a signature, and the signed data.

use crate::lockouts::Lockouts;
use crate::threshold;
use crate::tower::Tower;
use bincode::Options as _;
use solana_vote_interface::state::{Lockout, VoteState1_14_11};
use sundog_types::{
    Hash, Pubkey, Signature, Slot,
    sign::{Sign, SignRole},
    vote::{VoteInstruction, VoteKind, VoteOnWire},
};

/// Files larger than this are not read; a full tower takes under 3,000 bytes.
pub const MAX_FILE_BYTES: usize = 4_096;

/// The version tag that is written and read.
const VERSION: u32 = 1;

/// Why a tower file is of no use. Voting without it may break promises: let the operator decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// Longer than any tower.
    #[error("the tower file has {0} bytes, more than any tower; restore it from a backup or remove it")]
    TooLong(usize),
    /// Not the format.
    #[error("the tower file is damaged ({0}); restore it from a backup or remove it")]
    Malformed(&'static str),
    /// The signature over it is not by the identity.
    #[error("the tower file is not signed by {0}; it is damaged or was forged: restore or remove it")]
    BadSignature(Pubkey),
    /// It is somebody else's.
    #[error("the tower file belongs to {found}, this node is {expected}; start with that identity")]
    OtherIdentity {
        /// Whose it is.
        found: Pubkey,
        /// Whose it should be.
        expected: Pubkey,
    },
}

/// The content of a tower file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedTower {
    /// The stack.
    pub lockouts: Lockouts,
    /// The last vote as it was sent.
    pub last_vote: VoteInstruction,
    /// The slot of the newest vote with a timestamp, and the timestamp in seconds.
    pub last_timestamp: (u64, i64),
}

/// The name that the reference gives the file of this identity.
#[must_use]
pub fn file_name(identity: &Pubkey) -> String {
    format!("tower-1_9-{identity}.bin")
}

impl SavedTower {
    /// What there is to save of a tower.
    #[must_use]
    pub fn of(tower: &Tower) -> Self {
        let last_vote = tower.last_vote().map_or_else(nothing, VoteOnWire::tower_sync);
        let slot = last_vote.slots.last().map_or(0, |&(slot, _)| slot);
        let last_timestamp = (slot, tower.last_timestamp());
        Self { lockouts: tower.lockouts().clone(), last_vote, last_timestamp }
    }

    /// The tower it was made of, voting with `vote_account`.
    #[must_use]
    pub fn tower(self, vote_account: Pubkey) -> Tower {
        let said = self.last_vote;
        let last_vote = VoteOnWire {
            vote_account,
            slots: said.slots,
            root: said.root,
            hash: said.hash,
            block_id: said.block_id,
            timestamp: said.timestamp,
            switch: false,
        };
        Tower::restore(self.lockouts, Some(last_vote), self.last_timestamp.1)
    }

    /// The bytes of the file, signed.
    #[must_use]
    pub fn encode(&self, signer: &dyn Sign) -> Vec<u8> {
        let mut data = signer.identity().to_bytes().to_vec();
        data.extend((threshold::DEPTH as u64).to_le_bytes());
        data.extend(threshold::SIZE.to_le_bytes());
        let votes = self.lockouts.votes().iter();
        let votes = votes.map(|v| Lockout::new_with_confirmation_count(v.slot.get(), v.confirmations)).collect();
        let root_slot = self.lockouts.root().map(Slot::get);
        let state = VoteState1_14_11 { votes, root_slot, ..VoteState1_14_11::default() };
        data.extend(bincode::serialize(&state).expect("a vote state is plain data"));
        let plain = VoteInstruction { switch_proof: None, ..self.last_vote.clone() };
        let instruction = plain.encode().expect("a tower's votes ascend and its counts fit a byte");
        data.extend(last_vote_tag(plain.kind).to_le_bytes());
        data.extend(&instruction[4..]);
        data.extend(self.last_timestamp.0.to_le_bytes());
        data.extend(self.last_timestamp.1.to_le_bytes());
        let signature = signer.sign(SignRole::Tower, &data);
        let head = [&VERSION.to_le_bytes()[..], signature.as_ref()].concat();
        [head, (data.len() as u64).to_le_bytes().to_vec(), data].concat()
    }

    /// Reads a file and checks that `identity` signed it.
    ///
    /// # Errors
    /// [`SavedError`] when it is not this identity's intact tower file.
    pub fn decode(bytes: &[u8], identity: &Pubkey) -> Result<Self, SavedError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(SavedError::TooLong(bytes.len()));
        }
        let (tag, rest) = head::<4>(bytes)?;
        if u32::from_le_bytes(tag) != VERSION {
            return Err(SavedError::Malformed("unknown version"));
        }
        let (signature, rest) = head::<64>(rest)?;
        let (length, data) = head::<8>(rest)?;
        if u64::from_le_bytes(length) != data.len() as u64 {
            return Err(SavedError::Malformed("wrong length"));
        }
        let (found, rest) = head::<32>(data)?;
        let found = Pubkey::new_from_array(found);
        if found != *identity {
            return Err(SavedError::OtherIdentity { found, expected: *identity });
        }
        if !Signature::from(signature).verify(identity.as_ref(), data) {
            return Err(SavedError::BadSignature(*identity));
        }
        decode_body(rest)
    }
}

fn head<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), SavedError> {
    let (head, tail) = bytes.split_first_chunk().ok_or(SavedError::Malformed("it ends early"))?;
    Ok((*head, tail))
}

fn decode_body(bytes: &[u8]) -> Result<SavedTower, SavedError> {
    let (_depth_and_size, mut rest) = head::<16>(bytes)?;
    let options = bincode::DefaultOptions::new().with_fixint_encoding().allow_trailing_bytes();
    let state: VoteState1_14_11 = options
        .with_limit(MAX_FILE_BYTES as u64)
        .deserialize_from(&mut rest)
        .map_err(|_| SavedError::Malformed("not a vote state"))?;
    let (tag, rest) = head::<4>(rest)?;
    let split = rest.len().checked_sub(16).ok_or(SavedError::Malformed("it ends early"))?;
    let (body, timestamp) = rest.split_at(split);
    let (slot, seconds) = head::<8>(timestamp)?;
    let (seconds, _) = head::<8>(seconds)?;
    let instruction = instruction_tag(u32::from_le_bytes(tag))?.to_le_bytes();
    let last_vote =
        VoteInstruction::decode(&[&instruction, body].concat()).map_err(|_| SavedError::Malformed("not a vote"))?;
    let votes: Vec<(u64, u32)> = state.votes.iter().map(|v| (v.slot(), v.confirmation_count())).collect();
    let lockouts = Lockouts::from_parts(&votes, state.root_slot);
    if lockouts.votes().len() != votes.len() {
        return Err(SavedError::Malformed("its votes are not a stack"));
    }
    let last_timestamp = (u64::from_le_bytes(slot), i64::from_le_bytes(seconds));
    Ok(SavedTower { lockouts, last_vote, last_timestamp })
}

/// The vote of a tower that has not voted.
fn nothing() -> VoteInstruction {
    VoteInstruction {
        kind: VoteKind::TowerSync,
        slots: Vec::new(),
        root: None,
        hash: Hash::default(),
        timestamp: None,
        block_id: Hash::default(),
        switch_proof: None,
    }
}

fn last_vote_tag(kind: VoteKind) -> u32 {
    match kind {
        VoteKind::Vote => 0,
        VoteKind::UpdateVoteState => 1,
        VoteKind::CompactUpdateVoteState => 2,
        VoteKind::TowerSync => 3,
    }
}

fn instruction_tag(last_vote_tag: u32) -> Result<u32, SavedError> {
    [2, 8, 12, 14].get(last_vote_tag as usize).copied().ok_or(SavedError::Malformed("unknown kind of vote"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tower::Ballot;
    use proptest::prelude::*;
    use solana_keypair::Keypair;
    use sundog_types::sign::Identity;

    fn identity() -> Identity {
        Identity::new(Keypair::new_from_array([3; 32]))
    }

    fn tower(slots: u64) -> Tower {
        let mut tower = Tower::new(Slot::new(0));
        for slot in 1..=slots {
            let (hash, block_id) = (Hash::new_from_array([1; 32]), Hash::new_from_array([2; 32]));
            let ballot = Ballot { slot: Slot::new(slot), hash, block_id, switch: false };
            tower.cast(Pubkey::default(), ballot, 1_760_000_000);
        }
        tower
    }

    #[test]
    fn a_tower_survives_its_file() {
        for slots in [0, 1, 31, 40] {
            let tower = tower(slots);
            let bytes = SavedTower::of(&tower).encode(&identity());
            assert!(bytes.len() < MAX_FILE_BYTES, "{}", bytes.len());
            let read = SavedTower::decode(&bytes, &identity().identity()).expect("intact");
            assert_eq!(read, SavedTower::of(&tower));
            assert_eq!(read.tower(Pubkey::default()), tower);
        }
    }

    #[test]
    fn another_identitys_file_is_refused() {
        let bytes = SavedTower::of(&tower(3)).encode(&identity());
        let other = Pubkey::new_from_array([9; 32]);
        let error = SavedTower::decode(&bytes, &other).expect_err("not ours");
        assert!(matches!(error, SavedError::OtherIdentity { .. }));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let bytes = SavedTower::of(&tower(33)).encode(&identity());
        let me = identity().identity();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(SavedTower::decode(&changed, &me).is_err(), "byte {place}");
            assert!(SavedTower::decode(&bytes[..place], &me).is_err(), "cut at {place}");
        }
        assert_eq!(SavedTower::decode(&[0; 5_000], &me), Err(SavedError::TooLong(5_000)));
    }

    proptest! {
        #[test]
        fn signed_nonsense_does_not_panic(
            body in proptest::collection::vec(any::<u8>(), 0..2_500), cut in 0..400_usize
        ) {
            let _ = decode_body(&body);
            let bytes = SavedTower::of(&tower(5)).encode(&identity());
            let mut mixed = bytes[108..].to_vec();
            for (place, byte) in body.iter().enumerate().take(cut) {
                let place = place * 31 % mixed.len();
                mixed[place] ^= byte;
            }
            let _ = decode_body(&mixed);
        }
    }
}

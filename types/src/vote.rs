//! Votes as they travel: vote transactions and what they say.
//!
//! A validator promises a fork by a transaction with one instruction of the vote program. Today that is
//! `TowerSync`, which carries the voter's whole tower; the older forms are still read, because old ledgers
//! hold them (reference 8.2).

mod wire;

use crate::{Hash, Pubkey, Signature};
use solana_keypair::Keypair;
use solana_message::{MessageHeader, VersionedMessage, compiled_instruction::CompiledInstruction, legacy};
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;

/// Instruction data longer than a packet is not looked at.
pub const MAX_VOTE_DATA_BYTES: usize = 1_232;

/// Why bytes are not a vote, or a vote cannot be written as bytes. The vote is dropped; nothing to repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteError {
    /// The data is longer than [`MAX_VOTE_DATA_BYTES`].
    #[error("vote instruction data of {0} bytes is longer than a packet; drop it")]
    TooLong(usize),
    /// The data ends before the vote does.
    #[error("vote instruction data ends early; drop it")]
    Truncated,
    /// The tag is not one of the voting instructions.
    #[error("instruction tag {0} of the vote program is not a vote; do not count it")]
    NotAVote(u32),
    /// A compact number or an option tag has a second spelling.
    #[error("a number or an option in the vote is not in its canonical form; drop it")]
    NotCanonical,
    /// Offsets add up past the last slot, fall, or a count does not fit its byte.
    #[error("slots or counts of the vote are out of range; drop it")]
    OutOfRange,
}

/// Which voting instruction of the vote program a vote came in (reference 8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteKind {
    /// Tags 2 and 6: slots without counts.
    Vote,
    /// Tags 8 and 9: the tower, fixed-width.
    UpdateVoteState,
    /// Tags 12 and 13: the tower, compact.
    CompactUpdateVoteState,
    /// Tags 14 and 15: the tower, compact, with a block id. The only form sent today.
    TowerSync,
}

/// What a voting instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteInstruction {
    /// The form it has on the wire.
    pub kind: VoteKind,
    /// Voted slots from oldest to newest with their confirmation counts; counts are 0 for
    /// [`VoteKind::Vote`], which carries none.
    pub slots: Vec<(u64, u32)>,
    /// The voter's root, if it told one.
    pub root: Option<u64>,
    /// Bank hash of the last slot.
    pub hash: Hash,
    /// When the vote was made, in seconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// Block id of the last slot; zero for the forms that carry none.
    pub block_id: Hash,
    /// The proof of a switch to another fork (always zero in practice), for the `Switch` forms.
    pub switch_proof: Option<Hash>,
}

impl VoteInstruction {
    /// Reads instruction data. Bytes left over are allowed, as the vote program allows them.
    ///
    /// # Errors
    /// [`VoteError`] when the data is not one of the voting instructions.
    pub fn decode(data: &[u8]) -> Result<Self, VoteError> {
        wire::decode(data)
    }

    /// Writes instruction data.
    ///
    /// # Errors
    /// [`VoteError::OutOfRange`] when slots fall or a count does not fit the form.
    pub fn encode(&self) -> Result<Vec<u8>, VoteError> {
        wire::encode(self)
    }
}

/// A vote by the whole tower of one vote account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteOnWire {
    /// The account that votes.
    pub vote_account: Pubkey,
    /// Voted slots from oldest to newest with their confirmation counts (0 when not told).
    pub slots: Vec<(u64, u32)>,
    /// The voter's root.
    pub root: Option<u64>,
    /// Bank hash of the last slot.
    pub hash: Hash,
    /// Block id of the last slot; zero for an own block, or when not told.
    pub block_id: Hash,
    /// When the vote was made, in seconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// Whether the vote leaves the fork of the vote before it.
    pub switch: bool,
}

impl VoteOnWire {
    /// The newest slot voted for.
    #[must_use]
    pub fn last_slot(&self) -> Option<u64> {
        self.slots.last().map(|&(slot, _)| slot)
    }

    /// The vote as a `TowerSync` or, when it switches forks, `TowerSyncSwitch` instruction.
    #[must_use]
    pub fn tower_sync(&self) -> VoteInstruction {
        VoteInstruction {
            kind: VoteKind::TowerSync,
            slots: self.slots.clone(),
            root: self.root,
            hash: self.hash,
            timestamp: self.timestamp,
            block_id: self.block_id,
            switch_proof: self.switch.then(Hash::default),
        }
    }
}

/// A vote found in a transaction.
///
/// Nothing is proven by it yet: signatures must be verified, and whoever counts the vote must check that
/// [`Self::voter`] is the account's authorized voter in the epoch of the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedVote {
    /// The account that votes.
    pub vote_account: Pubkey,
    /// The key that votes for it; a signer of the transaction.
    pub voter: Pubkey,
    /// What it says.
    pub voted: VoteOnWire,
    /// The newest slot voted for.
    pub last_slot: u64,
    /// The form of the instruction.
    pub kind: VoteKind,
    /// The proof hash of a switching vote.
    pub switch_proof: Option<Hash>,
}

/// Reads the vote that a transaction carries as its first instruction, as the reference's parser does.
/// `None` when there is none, its voter did not sign, or it votes for no slot.
#[must_use]
pub fn parse_vote(transaction: &VersionedTransaction) -> Option<ParsedVote> {
    let message = &transaction.message;
    let keys = message.static_account_keys();
    let instruction = message.instructions().first()?;
    if *keys.get(usize::from(instruction.program_id_index))? != solana_sdk_ids::vote::ID {
        return None;
    }
    let said = VoteInstruction::decode(&instruction.data).ok()?;
    let vote_account = *keys.get(usize::from(*instruction.accounts.first()?))?;
    let voter_place = if said.kind == VoteKind::Vote { 3 } else { 1 };
    let voter_index = usize::from(*instruction.accounts.get(voter_place)?);
    if voter_index >= usize::from(message.header().num_required_signatures) {
        return None;
    }
    let voted = VoteOnWire {
        vote_account,
        slots: said.slots,
        root: said.root,
        hash: said.hash,
        block_id: said.block_id,
        timestamp: said.timestamp,
        switch: said.switch_proof.is_some(),
    };
    Some(ParsedVote {
        vote_account,
        voter: *keys.get(voter_index)?,
        last_slot: voted.last_slot()?,
        voted,
        kind: said.kind,
        switch_proof: said.switch_proof,
    })
}

/// Whether the transaction may use the lane of votes: a legacy message, at most two signatures and a
/// single instruction, which calls the vote program.
#[must_use]
pub fn is_simple_vote(transaction: &VersionedTransaction) -> bool {
    let VersionedMessage::Legacy(message) = &transaction.message else {
        return false;
    };
    let [instruction] = message.instructions.as_slice() else {
        return false;
    };
    (1..=2).contains(&transaction.signatures.len())
        && message.account_keys.get(usize::from(instruction.program_id_index)) == Some(&solana_sdk_ids::vote::ID)
}

/// The signed transaction that casts `vote`: a legacy message paid by `identity`, signed by it and by the
/// authorized `voter`, once if they are the same key.
///
/// # Panics
/// If the slots of the vote fall or a count exceeds a byte: towers do not hold such votes.
#[must_use]
pub fn tower_sync_transaction(
    vote: &VoteOnWire,
    blockhash: Hash,
    identity: &Keypair,
    voter: &Keypair,
) -> VersionedTransaction {
    let data = vote.tower_sync().encode().expect("a tower's votes ascend and its counts fit a byte");
    let same = identity.pubkey() == voter.pubkey();
    let mut account_keys = vec![identity.pubkey()];
    if !same {
        account_keys.push(voter.pubkey());
    }
    let signers = u8::try_from(account_keys.len()).expect("one or two");
    let voter_place = signers - 1;
    // A vote account that is its own authorized voter, as in a development genesis, is named once: it signs and
    // is written.
    let own_voter = vote.vote_account == voter.pubkey();
    let (account_place, readonly_signers) = if own_voter {
        (voter_place, 0)
    } else {
        account_keys.push(vote.vote_account);
        (signers, signers - 1)
    };
    account_keys.push(solana_sdk_ids::vote::ID);
    let message = legacy::Message {
        header: MessageHeader {
            num_required_signatures: signers,
            num_readonly_signed_accounts: readonly_signers,
            num_readonly_unsigned_accounts: 1,
        },
        recent_blockhash: blockhash,
        instructions: vec![CompiledInstruction {
            program_id_index: u8::try_from(account_keys.len() - 1).expect("at most four"),
            accounts: vec![account_place, voter_place],
            data,
        }],
        account_keys,
    };
    let bytes = message.serialize();
    let mut signatures: Vec<Signature> = vec![identity.sign_message(&bytes)];
    if !same {
        signatures.push(voter.sign_message(&bytes));
    }
    VersionedTransaction { signatures, message: VersionedMessage::Legacy(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_account_that_votes_for_itself_is_named_once() {
        let (identity, voter) = (Keypair::new_from_array([1; 32]), Keypair::new_from_array([2; 32]));
        let vote = VoteOnWire { vote_account: voter.pubkey(), ..vote(&[4, 5]) };
        let transaction = tower_sync_transaction(&vote, Hash::default(), &identity, &voter);
        let keys = transaction.message.static_account_keys();
        assert_eq!(keys, [identity.pubkey(), voter.pubkey(), solana_sdk_ids::vote::ID]);
        assert!(transaction.message.header().num_readonly_signed_accounts == 0, "the account is written");
        assert_eq!(parse_vote(&transaction).map(|p| (p.vote_account, p.voter)), Some((voter.pubkey(), voter.pubkey())));
        assert!(transaction.verify_with_results().iter().all(|valid| *valid));
    }

    fn vote(slots: &[u64]) -> VoteOnWire {
        let count = u32::try_from(slots.len()).expect("few");
        VoteOnWire {
            vote_account: Pubkey::new_from_array([7; 32]),
            slots: slots.iter().zip(0..count).map(|(&slot, i)| (slot, count - i)).collect(),
            root: Some(3),
            hash: Hash::new_from_array([8; 32]),
            block_id: Hash::new_from_array([9; 32]),
            timestamp: Some(1_760_000_000),
            switch: false,
        }
    }

    fn transaction() -> VersionedTransaction {
        let (identity, voter) = (Keypair::new(), Keypair::new());
        tower_sync_transaction(&vote(&[5, 6, 700]), Hash::default(), &identity, &voter)
    }

    #[test]
    fn a_vote_reads_back_as_it_was_cast() {
        let (identity, voter) = (Keypair::new(), Keypair::new());
        let cast = vote(&[5, 6, 700]);
        let transaction = tower_sync_transaction(&cast, Hash::default(), &identity, &voter);
        let read = parse_vote(&transaction).expect("a vote");
        assert_eq!(read.voted, cast);
        assert_eq!((read.voter, read.last_slot), (voter.pubkey(), 700));
        assert!(is_simple_vote(&transaction));
        assert!(transaction.verify_with_results().into_iter().all(|valid| valid));
    }

    #[test]
    fn a_node_that_is_its_own_voter_signs_once() {
        let identity = Keypair::new();
        let transaction = tower_sync_transaction(&vote(&[5]), Hash::default(), &identity, &identity);
        assert_eq!(transaction.signatures.len(), 1);
        assert_eq!(parse_vote(&transaction).expect("a vote").voter, identity.pubkey());
    }

    #[test]
    fn a_voter_that_did_not_sign_has_not_voted() {
        let mut transaction = transaction();
        let VersionedMessage::Legacy(message) = &mut transaction.message else { panic!("legacy") };
        message.instructions[0].accounts[1] = 2;
        assert_eq!(parse_vote(&transaction), None);
    }

    #[test]
    fn indexes_past_the_keys_are_no_vote() {
        for field in 0..3 {
            let mut transaction = transaction();
            let VersionedMessage::Legacy(message) = &mut transaction.message else { panic!() };
            match field {
                0 => message.instructions[0].program_id_index = 200,
                1 => message.instructions[0].accounts[0] = 200,
                _ => message.instructions[0].accounts.truncate(1),
            }
            assert_eq!(parse_vote(&transaction), None);
        }
    }

    #[test]
    fn a_second_instruction_leaves_the_lane_of_votes() {
        let mut transaction = transaction();
        let VersionedMessage::Legacy(message) = &mut transaction.message else { panic!() };
        let again = message.instructions[0].clone();
        message.instructions.push(again);
        assert!(!is_simple_vote(&transaction));
    }
}

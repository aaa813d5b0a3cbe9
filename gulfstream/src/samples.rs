//! Transactions for tests.

use crate::VerifiedTransaction;
use bytes::Bytes;
use solana_keypair::Keypair;
use solana_message::{Message, MessageHeader, VersionedMessage, compiled_instruction::CompiledInstruction};
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::transaction::encode_transaction;
use sundog_types::vote::{VoteOnWire, tower_sync_transaction};
use sundog_types::{Hash, Pubkey, Signature};

/// What may differ between transfers.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) lamports: u64,
    pub(crate) unit_limit: Option<u32>,
    pub(crate) unit_price: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self { lamports: 1, unit_limit: Some(1_000_000), unit_price: 0 }
    }
}

fn keypair(number: u8) -> Keypair {
    Keypair::new_from_array([number; 32])
}

fn message(payer: Pubkey, sample: Sample) -> Message {
    let call = |program_id_index, accounts: &[u8], data: Vec<u8>| CompiledInstruction {
        program_id_index,
        accounts: accounts.to_vec(),
        data,
    };
    let transfer = [&2u32.to_le_bytes()[..], &sample.lamports.to_le_bytes()].concat();
    let mut instructions = vec![call(2, &[0, 1], transfer)];
    if let Some(limit) = sample.unit_limit {
        instructions.push(call(3, &[], [&[2][..], &limit.to_le_bytes()].concat()));
        instructions.push(call(3, &[], [&[3][..], &sample.unit_price.to_le_bytes()].concat()));
    }
    Message {
        header: MessageHeader {
            num_required_signatures: 1,
            num_readonly_signed_accounts: 0,
            num_readonly_unsigned_accounts: 2,
        },
        account_keys: vec![
            payer,
            Pubkey::from([9; 32]),
            solana_sdk_ids::system_program::ID,
            solana_sdk_ids::compute_budget::ID,
        ],
        recent_blockhash: Hash::default(),
        instructions,
    }
}

/// A signed transfer.
pub(crate) fn transfer(sample: Sample) -> Bytes {
    let payer = keypair(7);
    let message = VersionedMessage::Legacy(message(payer.pubkey(), sample));
    let signatures = vec![payer.sign_message(&message.serialize())];
    encode_transaction(&VersionedTransaction { signatures, message }).into()
}

/// A transfer whose signature is only a number.
pub(crate) fn unsigned(number: u64, unit_price: u64) -> VerifiedTransaction {
    let sample = Sample { unit_price, ..Sample::default() };
    let message = VersionedMessage::Legacy(message(Pubkey::from([7; 32]), sample));
    VerifiedTransaction::unchecked(VersionedTransaction { signatures: vec![signature(number)], message })
}

fn signature(number: u64) -> Signature {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Signature::from(bytes)
}

/// A signed vote for one slot.
pub(crate) fn vote(voter: u8, slot: u64) -> Bytes {
    let key = keypair(100 + voter);
    encode_transaction(&tower_sync_transaction(&said(slot), Hash::default(), &key, &key)).into()
}

/// A vote whose payer and signature are only a number.
pub(crate) fn unsigned_vote(voter: u64, slot: u64) -> VerifiedTransaction {
    let key = keypair(1);
    let mut vote = tower_sync_transaction(&said(slot), Hash::default(), &key, &key);
    vote.signatures = vec![signature(voter)];
    if let VersionedMessage::Legacy(message) = &mut vote.message {
        let mut payer = [0; 32];
        payer[..8].copy_from_slice(&voter.to_be_bytes());
        message.account_keys[0] = Pubkey::from(payer);
    }
    VerifiedTransaction::unchecked(vote)
}

fn said(slot: u64) -> VoteOnWire {
    VoteOnWire {
        vote_account: Pubkey::from([8; 32]),
        slots: vec![(slot, 1)],
        root: None,
        hash: Hash::default(),
        block_id: Hash::default(),
        timestamp: None,
        switch: false,
    }
}

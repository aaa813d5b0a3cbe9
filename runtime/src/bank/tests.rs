//! Banks made by hand: what no ledger of the vectors has.

mod behaviour;
mod misc;
mod plain;
mod vote_program;

use super::*;
use crate::genesis::{GenesisValidator, LocalnetGenesis};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use solana_account::ReadableAccount;
use solana_instruction::{AccountMeta, Instruction};
use solana_message::{Message, VersionedMessage};
use solana_sdk_ids::{sysvar, vote};
use solana_transaction::versioned::VersionedTransaction;
use solana_vote_interface::state::VoteStateV4;
use sundog_types::{
    Signature,
    store::{Batch, Space, Store, StoreError, Write},
};

type Pairs = BTreeMap<(Space, Vec<u8>), bytes::Bytes>;

#[derive(Default)]
pub(super) struct Memory(RwLock<Pairs>);

impl Store for Memory {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        Ok(self.0.read().unwrap().get(&(space, key.to_vec())).cloned())
    }

    fn range(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, StoreError> {
        let pairs = self.0.read().unwrap();
        let range = pairs.range((space, from.to_vec())..(space, to.to_vec()));
        Ok(range.take(limit).map(|((_, key), value)| (key.clone().into(), value.clone())).collect())
    }

    fn range_back(
        &self,
        _: Space,
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, StoreError> {
        unreachable!("banks never read backwards")
    }

    fn commit(&self, batch: &Batch, _: bool) -> Result<(), StoreError> {
        let mut pairs = self.0.write().unwrap();
        for write in &batch.writes {
            match write {
                Write::Put(space, key, value) => pairs.insert((*space, key.to_vec()), value.clone()),
                Write::Delete(space, key) => pairs.remove(&(*space, key.to_vec())),
            };
        }
        Ok(())
    }
}

const fn address(number: u8) -> Pubkey {
    Pubkey::new_from_array([number; 32])
}

fn base58(value: &Value) -> [u8; 32] {
    bs58::decode(value.as_str().unwrap()).into_vec().unwrap().try_into().unwrap()
}

fn vectors(name: &str) -> Value {
    let folder = std::env::var_os("SUNDOG_VECTORS").map_or_else(
        || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors"),
        std::path::PathBuf::from,
    );
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

const FAUCET: Pubkey = Pubkey::new_from_array([1; 32]);
const NODE: Pubkey = Pubkey::new_from_array([2; 32]);

fn validator(identity: Pubkey, vote: Pubkey) -> GenesisValidator {
    GenesisValidator {
        identity,
        identity_lamports: 500_000_000_000,
        vote,
        vote_authority: vote,
        vote_lamports: 0,
        stake: address(4),
        delegated: 1_000_000_000_000,
    }
}

fn localnet(slots_per_epoch: u64) -> LocalnetGenesis {
    let mut genesis = LocalnetGenesis::new(1_700_000_000, FAUCET, vec![validator(NODE, address(3))]);
    genesis.slots_per_epoch = slots_per_epoch;
    genesis.hashes_per_tick = None;
    genesis
}

fn start(genesis: &LocalnetGenesis) -> Arc<Bank> {
    let accounts = Arc::new(RootedAccounts::new(Arc::new(Memory::default())));
    Bank::genesis_block(&genesis.build().expect("a genesis"), accounts).expect("it can be run")
}

fn tick_all(bank: &mut Bank, seed: u8) {
    while !bank.is_complete() {
        let mut hash = [seed; 32];
        hash[..8].copy_from_slice(&bank.tick_height().get().to_le_bytes());
        bank.register_tick(&Hash::new_from_array(hash));
    }
}

fn finish(mut bank: Bank) -> Arc<Bank> {
    tick_all(&mut bank, 9);
    bank.freeze();
    Arc::new(bank)
}

fn next(parent: &Arc<Bank>) -> Bank {
    Bank::child(parent, parent.slot().next(), NODE)
}

fn unsigned(instructions: &[Instruction], payer: &Pubkey, blockhash: Hash) -> VersionedTransaction {
    let message = Message::new_with_blockhash(instructions, Some(payer), &blockhash);
    // Signatures are not checked here; the first one must tell transactions apart.
    let hash = message.hash();
    let first = Signature::try_from([hash.as_ref(), hash.as_ref()].concat()).unwrap();
    let mut signatures = vec![Signature::default(); usize::from(message.header.num_required_signatures)];
    signatures[0] = first;
    VersionedTransaction { signatures, message: VersionedMessage::Legacy(message) }
}

/// Executes and commits one transaction; `Err` if it was rejected.
fn run(
    bank: &mut Bank,
    transaction: VersionedTransaction,
) -> Result<Committed, solana_transaction_error::TransactionError> {
    let executed = bank.execute(&[transaction]);
    match executed.first_rejected() {
        Some((_, error)) => Err(error),
        None => Ok(bank.commit(executed).remove(0)),
    }
}

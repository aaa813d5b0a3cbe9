//! Banks made by hand: what no ledger of the vectors has.

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

    fn range(&self, space: Space, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, StoreError> {
        let pairs = self.0.read().unwrap();
        let range = pairs.range((space, from.to_vec())..(space, to.to_vec()));
        Ok(range.take(limit).map(|((_, key), value)| (key.clone().into(), value.clone())).collect())
    }

    fn range_back(&self, _: Space, _: &[u8], _: &[u8], _: usize) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, StoreError> {
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

fn address(number: u8) -> Pubkey {
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
fn run(bank: &mut Bank, transaction: VersionedTransaction) -> Result<Committed, solana_transaction_error::TransactionError> {
    let executed = bank.execute(&[transaction]);
    match executed.first_rejected() {
        Some((_, error)) => Err(error),
        None => Ok(bank.commit(executed).remove(0)),
    }
}

mod vote_program {
    use super::*;

    fn state(bank: &Bank, vote_account: &Pubkey) -> Value {
        let account = bank.account(vote_account).unwrap();
        let state = VoteStateV4::deserialize(account.data(), vote_account).unwrap();
        let votes: Vec<_> = state
            .votes
            .iter()
            .map(|vote| (vote.lockout.slot(), vote.lockout.confirmation_count(), vote.latency))
            .collect();
        serde_json::json!({
            "votes": votes,
            "root": state.root_slot,
            "epoch_credits": state.epoch_credits,
            "last_timestamp": (state.last_timestamp.slot, state.last_timestamp.timestamp),
        })
    }

    fn result(status: &Result<(), solana_transaction_error::TransactionError>) -> String {
        use solana_instruction::error::InstructionError;
        use solana_transaction_error::TransactionError;
        match status {
            Ok(()) => "ok".to_owned(),
            Err(TransactionError::InstructionError(0, InstructionError::Custom(code))) => format!("custom {code}"),
            Err(error) => format!("{error:?}"),
        }
    }

    fn expected(result: &str) -> String {
        result.split_once(" (").map_or_else(|| result.to_owned(), |(_, code)| code.trim_end_matches(')').to_owned())
    }

    #[test]
    fn every_attempt_ends_as_the_reference_says() {
        let file = vectors("vote_program.json");
        let vote_account = Pubkey::from(base58(&file["vote_account"]));
        let voter = Pubkey::from(base58(&file["authorized_voter"]));
        let node = Pubkey::from(base58(&file["node"]));
        let blocks: Vec<(u64, Hash)> = file["blocks"].as_array().unwrap().iter()
            .map(|block| (block[0].as_u64().unwrap(), Hash::new_from_array(base58(&block[1]))))
            .collect();
        let mut genesis = localnet(8_192);
        let mut first = validator(node, vote_account);
        first.vote_authority = voter;
        genesis.validators = vec![first];
        let genesis = start(&genesis);
        let mut account = genesis.account(&vote_account).unwrap();
        let attempts = file["attempts"].as_array().unwrap();
        for (number, attempt) in attempts.iter().enumerate() {
            let slot = attempt["bank_slot"].as_u64().unwrap();
            let known = attempt["ancestors"].as_u64().unwrap() as usize;
            let mut bank = Bank::child(&genesis, Slot::new(slot), node);
            let mut hashes: Vec<_> = blocks[..known].to_vec();
            hashes.reverse();
            hashes.truncate(512);
            let mut data = bincode::serialize(&hashes).unwrap();
            data.resize(20_488, 0);
            bank.write_sysvar(sysvar::slot_hashes::ID, data);
            bank.store(vote_account, account.clone());
            bank.svm.read_sysvars(&bank);
            let at = format!("attempt {number}, {}", attempt["what"]);
            assert_eq!(state(&bank, &vote_account), attempt["before"], "before, {at}");
            let signer = if attempt["signer"] == "stranger" { address(77) } else { voter };
            let instruction = Instruction {
                program_id: vote::ID,
                accounts: vec![AccountMeta::new(vote_account, false), AccountMeta::new_readonly(signer, true)],
                data: BASE64_STANDARD.decode(attempt["data"].as_str().unwrap()).unwrap(),
            };
            let blockhash = bank.last_blockhash();
            let done = run(&mut bank, unsigned(&[instruction], &FAUCET, blockhash)).expect("it gets into the block");
            assert_eq!(result(&done.status), expected(attempt["result"].as_str().unwrap()), "{at}");
            let after = if attempt["after"].is_null() { &attempt["before"] } else { &attempt["after"] };
            assert_eq!(state(&bank, &vote_account), *after, "after, {at}");
            account = bank.account(&vote_account).unwrap();
        }
        assert!(attempts.len() > 200);
    }
}

mod misc {
    use super::*;
    use solana_nonce::{
        state::{Data, DurableNonce, State},
        versions::Versions,
    };

    #[test]
    fn limits_and_fees_are_the_reference_ones() {
        let bank = start(&localnet(8_192));
        let file = vectors("misc.json");
        for case in file["fees"]["cases"].as_array().unwrap() {
            let bytes = BASE64_STANDARD.decode(case["message"].as_str().unwrap()).unwrap();
            let message: Message = bincode::deserialize(&bytes).unwrap();
            let at = case["name"].as_str().unwrap();
            let expected = &case["agave"];
            match bank.quote(&VersionedMessage::Legacy(message)) {
                Ok(quote) => {
                    assert_eq!(u64::from(quote.compute_unit_limit), expected["compute_unit_limit"].as_u64().unwrap(), "{at}");
                    assert_eq!(quote.compute_unit_price, expected["compute_unit_price"].as_u64().unwrap(), "{at}");
                    assert_eq!(u64::from(quote.heap_bytes), expected["heap_bytes"].as_u64().unwrap(), "{at}");
                    assert_eq!(u64::from(quote.loaded_bytes_max), expected["loaded_accounts_bytes"].as_u64().unwrap(), "{at}");
                    assert_eq!(quote.base_fee, expected["signature_fee"].as_u64().unwrap(), "{at}");
                    assert_eq!(quote.priority_fee, expected["prioritization_fee"].as_u64().unwrap(), "{at}");
                }
                Err(error) => assert_eq!(format!("{error:?}"), expected["error"].as_str().unwrap(), "{at}"),
            }
        }
    }

    #[test]
    fn rent_minimums_are_the_reference_ones() {
        for case in vectors("misc.json")["rent"].as_array().unwrap() {
            let bytes = BASE64_STANDARD.decode(case["bincode"].as_str().unwrap()).unwrap();
            let rent: Rent = bincode::deserialize(&bytes).unwrap();
            for pair in case["minimum_balance"].as_array().unwrap() {
                let length = pair[0].as_u64().unwrap() as usize;
                assert_eq!(rent.minimum_balance(length), pair[1].as_u64().unwrap(), "{}: {length}", case["name"]);
            }
        }
    }

    #[test]
    fn durable_nonces_are_the_reference_ones() {
        for case in vectors("misc.json")["durable_nonces"].as_array().unwrap() {
            let nonce = DurableNonce::from_blockhash(&Hash::new_from_array(base58(&case["blockhash"])));
            assert_eq!(*nonce.as_hash(), Hash::new_from_array(base58(&case["durable_nonce"])));
            let price = case["lamports_per_signature"].as_u64().unwrap();
            let data = Data::new(Pubkey::from(base58(&case["authority"])), nonce, price);
            let bytes = bincode::serialize(&Versions::new(State::Initialized(data))).unwrap();
            assert_eq!(BASE64_STANDARD.encode(bytes), case["account_data"].as_str().unwrap());
        }
    }
}

//! Banks against the reference's: every bank of every ledger, hash for hash.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use solana_account::{Account, AccountSharedData, ReadableAccount};
use solana_transaction::versioned::VersionedTransaction;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, RwLock},
};
use sundog_runtime::{Bank, GenesisConfig, RootedAccounts, lattice::Lattice};
use sundog_types::{
    Hash, Pubkey, Slot,
    sign::Verifier,
    store::{Batch, Space, Store, StoreError, Write},
};

type Pairs = BTreeMap<(Space, Vec<u8>), bytes::Bytes>;

/// A store that forgets when the test ends.
#[derive(Default)]
struct Memory(RwLock<Pairs>);

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

fn vectors() -> PathBuf {
    std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors"), PathBuf::from)
}

fn json(name: &str) -> Value {
    let bytes = std::fs::read(vectors().join(name)).expect("the vectors are there");
    serde_json::from_slice(&bytes).expect("the vectors are JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().expect("base64")).expect("base64")
}

fn base58(value: &Value) -> [u8; 32] {
    let bytes = bs58::decode(value.as_str().expect("base58")).into_vec().expect("base58");
    bytes.try_into().expect("32 bytes")
}

fn key(value: &Value) -> Pubkey {
    Pubkey::from(base58(value))
}

fn hash(value: &Value) -> Hash {
    Hash::new_from_array(base58(value))
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn genesis(file: &Value, name: &str) -> GenesisConfig {
    let configs = list(&file["genesis"]["configs"]);
    let config = configs.iter().find(|config| config["name"] == name).expect("it is listed");
    let bytes = std::fs::read(vectors().join(config["file"].as_str().expect("a path"))).expect("the genesis is there");
    GenesisConfig::decode(&bytes).expect("it is a genesis")
}

fn rooted() -> (Arc<Memory>, Arc<RootedAccounts>) {
    let store = Arc::new(Memory::default());
    (Arc::clone(&store), Arc::new(RootedAccounts::new(store)))
}

/// The end of the chain of hashes of a block, as the vectors' README describes it.
fn ticks(start: Hash, block: &Value, hashes_per_tick: Option<u64>) -> Vec<Hash> {
    let mixins: Vec<Hash> = list(&block["transactions"])
        .iter()
        .filter(|t| t["result"] != "rejected")
        .map(|t| {
            let transaction: VersionedTransaction = bincode::deserialize(&bytes(&t["bytes"])).expect("a transaction");
            mixin(&transaction)
        })
        .collect();
    let mut hash = start;
    let step = |hash: &mut Hash| *hash = Hash::new_from_array(Sha256::digest(*hash).into());
    (0..number(&block["ticks"]))
        .map(|tick| {
            let mut left = hashes_per_tick.unwrap_or(1);
            if let Some(mixin) = mixins.get(tick as usize) {
                let digest = Sha256::new().chain_update(hash).chain_update(mixin).finalize();
                hash = Hash::new_from_array(digest.into());
                left = left.saturating_sub(1).max(1);
            }
            for _ in 0..left {
                step(&mut hash);
            }
            hash
        })
        .collect()
}

fn mixin(transaction: &VersionedTransaction) -> Hash {
    let mut level: Vec<[u8; 32]> = transaction
        .signatures
        .iter()
        .map(|signature| Sha256::new().chain_update([0]).chain_update(signature).finalize().into())
        .collect();
    while level.len() > 1 {
        let node = |pair: &[[u8; 32]]| {
            Sha256::new().chain_update([1]).chain_update(pair[0]).chain_update(pair[pair.len() - 1]).finalize().into()
        };
        level = level.chunks(2).map(node).collect();
    }
    Hash::new_from_array(level[0])
}

fn check_account(listed: &Value, found: Option<AccountSharedData>, at: &str) {
    let at = format!("{at}: {}", listed["pubkey"]);
    let account = found.unwrap_or_default();
    assert_eq!(account.lamports(), number(&listed["lamports"]), "lamports, {at}");
    if account.lamports() == 0 {
        return;
    }
    assert_eq!(*account.owner(), key(&listed["owner"]), "owner, {at}");
    assert_eq!(account.executable(), listed["executable"].as_bool().unwrap(), "executable, {at}");
    assert_eq!(account.data().len() as u64, number(&listed["data_length"]), "length, {at}");
    if !listed["data"].is_null() {
        let mut data = bytes(&listed["data"]);
        data.resize(account.data().len(), 0);
        assert_eq!(account.data(), data, "data, {at}");
    }
    assert_eq!(
        Hash::new_from_array(Sha256::digest(account.data()).into()),
        hash(&listed["data_sha256"]),
        "sha256, {at}"
    );
}

fn check_transaction(bank: &mut Bank, listed: &Value, at: &str) {
    let transaction: VersionedTransaction = bincode::deserialize(&bytes(&listed["bytes"])).expect("a transaction");
    let payer = transaction.message.static_account_keys()[0];
    assert_eq!(
        sundog_runtime::verify_signatures(std::slice::from_ref(&transaction), &Verifier::default()),
        Ok(()),
        "{at}"
    );
    let executed = bank.execute(std::slice::from_ref(&transaction));
    let rejected = executed.first_rejected();
    let committed = bank.commit(executed);
    if listed["result"] == "rejected" {
        let error = format!("{:?}", rejected.expect("it is rejected").1);
        assert_eq!(error, listed["error"].as_str().unwrap(), "{at}");
        return;
    }
    let [done] = committed.as_slice() else { panic!("{at}: {rejected:?}") };
    let error = done.status.as_ref().err().map(|error| format!("{error:?}"));
    assert_eq!(error.as_deref(), listed["error"].as_str(), "{at}");
    assert_eq!(listed["result"] == "ok", done.status.is_ok(), "{at}");
    assert_eq!(done.fee, number(&listed["base_fee"]) + number(&listed["prioritization_fee"]), "fee, {at}");
    assert_eq!(bank.balance(&payer), number(&listed["fee_payer_after"]), "payer, {at}");
    assert_eq!(Some(done.units), listed["compute_units"].as_u64().or(Some(0)), "units, {at}");
}

fn check_frozen(bank: &Bank, block: &Value, at: &str) {
    let accounts = block.get("accounts_written").or(block.get("accounts_beside_genesis")).expect("accounts");
    for listed in list(accounts) {
        check_account(listed, bank.account(&key(&listed["pubkey"])), at);
    }
    if block.get("accounts_written").is_some() {
        for (changed, _) in bank.changed_accounts() {
            assert!(
                list(accounts).iter().any(|listed| key(&listed["pubkey"]) == *changed),
                "{at}: {changed} was written"
            );
        }
    }
    assert_eq!(bank.last_blockhash(), hash(&block["last_blockhash"]), "blockhash, {at}");
    assert_eq!(bank.signature_count(), number(&block["signature_count"]), "signatures, {at}");
    assert_eq!(bank.transaction_count(), number(&block["transaction_count"]), "transactions, {at}");
    assert_eq!(bank.block_height(), number(&block["block_height"]), "height, {at}");
    assert_eq!(bank.epoch().get(), number(&block["epoch"]), "epoch, {at}");
    assert_eq!(bank.leader(), key(&block["collector"]), "leader, {at}");
    assert_eq!(bank.capitalization(), number(&block["capitalization"]), "capitalisation, {at}");
    assert_eq!(bank.clock().unix_timestamp, block["unix_timestamp"].as_i64().unwrap(), "time, {at}");
    assert_eq!(bank.lamports_per_signature(), number(&block["lamports_per_signature_registered"]), "price, {at}");
    let fees = bank.fees();
    assert_eq!(fees.base + fees.priority, number(&block["fees"]["total"]), "fees, {at}");
    assert_eq!(fees.priority, number(&block["fees"]["of_which_priority"]), "priority fees, {at}");
    assert_eq!(fees.burnt, number(&block["fees"]["burnt"]), "burnt, {at}");
    let checksum = Hash::new_from_array(bank.lattice().checksum());
    assert_eq!(bank.lattice().to_bytes(), bytes(&block["accounts_lt_hash"]), "lattice hash, {at}");
    assert_eq!(checksum, hash(&block["accounts_lt_hash_checksum"]), "checksum, {at}");
    assert_eq!(bank.hash(), hash(&block["hash"]), "bank hash, {at}");
}

fn replay(
    config: &GenesisConfig,
    ledger: &Value,
    mut each: impl FnMut(&Arc<Bank>) -> Option<Arc<Bank>>,
) -> BTreeMap<u64, Arc<Bank>> {
    let name = ledger["genesis"].as_str().unwrap();
    let (_, accounts) = rooted();
    let mut banks = BTreeMap::<u64, Arc<Bank>>::new();
    for block in list(&ledger["banks"]) {
        let slot = number(&block["slot"]);
        let at = format!("{name}, slot {slot}");
        let mut bank = match block["parent_slot"].as_u64() {
            None => Bank::from_genesis(config, Arc::clone(&accounts)).expect("it can be run"),
            Some(parent) => {
                assert_eq!(banks[&parent].hash(), hash(&block["parent_hash"]));
                Bank::child(&banks[&parent], Slot::new(slot), key(&block["collector"]))
            }
        };
        for listed in list(&block["transactions"]) {
            check_transaction(&mut bank, listed, &format!("{at}: {}", listed["what"]));
        }
        let hashes = match block["parent_slot"].as_u64() {
            None => config.slot_zero_ticks().into_iter().map(|(_, hash)| hash).collect(),
            Some(_) => ticks(bank.last_blockhash(), block, config.hashes_per_tick()),
        };
        for hash in hashes {
            bank.register_tick(&hash);
        }
        bank.freeze();
        check_frozen(&bank, block, &at);
        let bank = Arc::new(bank);
        banks.insert(slot, each(&bank).unwrap_or(bank));
    }
    banks
}

fn check_end(ledger: &Value, banks: &BTreeMap<u64, Arc<Bank>>) {
    for sysvars in list(&ledger["sysvars"]) {
        let bank = &banks[&number(&sysvars["slot"])];
        for listed in list(&sysvars["accounts"]) {
            if listed["absent"] != true {
                check_account(listed, bank.account(&key(&listed["pubkey"])), "sysvars");
            }
        }
    }
    let bank = &banks[&number(&ledger["balances"]["slot"])];
    for pair in list(&ledger["balances"]["accounts"]) {
        assert_eq!(bank.balance(&key(&pair[0])), number(&pair[1]), "{}", pair[0]);
    }
}

#[test]
fn every_bank_of_every_ledger_has_the_reference_hash() {
    let file = json("bank.json");
    for ledger in list(&file["ledgers"]) {
        let config = genesis(&file, ledger["genesis"].as_str().unwrap());
        let banks = replay(&config, ledger, |_| None);
        check_end(ledger, &banks);
    }
}

#[test]
fn rooting_every_bank_and_starting_again_from_the_store_changes_no_hash() {
    let file = json("bank.json");
    // The ledger without forks, because rooting cuts the other forks off.
    let ledger = &list(&file["ledgers"])[1];
    let config = genesis(&file, ledger["genesis"].as_str().unwrap());
    let store = Arc::new(Memory::default());
    replay(&config, ledger, |bank| {
        store.commit(&bank.root_batch(), true).unwrap();
        bank.squash();
        let again = Arc::new(RootedAccounts::new(Arc::clone(&store) as Arc<dyn Store>));
        let restored = Bank::restore(again).expect("the store has a bank");
        assert_eq!(restored.hash(), bank.hash());
        assert_eq!(restored.vote_accounts(), bank.vote_accounts());
        assert_eq!(restored.current_epoch_stakes(), bank.current_epoch_stakes());
        Some(restored)
    });
}

#[test]
fn the_lattice_hash_of_an_account_is_the_reference_one() {
    let file = json("bank.json");
    let section = &file["lattice_hash"];
    let account = |listed: &Value| {
        let account = Account {
            lamports: number(&listed["lamports"]),
            data: bytes(&listed["data"]),
            owner: key(&listed["owner"]),
            executable: listed["executable"].as_bool().unwrap(),
            rent_epoch: 0,
        };
        (key(&listed["pubkey"]), AccountSharedData::from(account))
    };
    let accounts: Vec<_> = list(&section["accounts"]).iter().map(account).collect();
    for (listed, (key, account)) in list(&section["accounts"]).iter().zip(&accounts) {
        let mut sum = Lattice::default();
        sum.add(key, account);
        assert_eq!(sum.to_bytes(), bytes(&listed["lt_hash"]));
    }
    let mut sum = Lattice::default();
    for listed in list(&section["sums"]) {
        if let Some(step) = listed["step"].as_array() {
            let (key, account) = &accounts[number(&step[1]) as usize];
            if step[0] == "in" { sum.add(key, account) } else { sum.remove(key, account) }
        }
        assert_eq!(sum.to_bytes(), bytes(&listed["lt_hash"]));
        assert_eq!(Hash::new_from_array(sum.checksum()), hash(&listed["checksum"]));
        assert_eq!(Lattice::from_bytes(&sum.to_bytes()), Some(sum.clone()));
    }
}

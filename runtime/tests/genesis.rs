//! Genesis against the golden vectors: the same bytes, the same hash, the same accounts.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use sundog_runtime::genesis::{
    BuildError, FEATURE_GATES, GenesisConfig, GenesisError, GenesisValidator, LocalnetGenesis, MAX_GENESIS_BYTES,
};
use sundog_types::Pubkey;

fn vectors() -> PathBuf {
    std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from)
}

fn genesis() -> Value {
    let text = std::fs::read_to_string(vectors().join("bank.json")).expect("bank.json");
    serde_json::from_str::<Value>(&text).expect("json")["genesis"].take()
}

fn key(value: &Value) -> Pubkey {
    value.as_str().expect("a key").parse().expect("base58")
}

fn base58(bytes: impl AsRef<[u8]>) -> String {
    bs58::encode(bytes).into_string()
}

fn configs(genesis: &Value) -> Vec<(Value, Vec<u8>)> {
    let configs = genesis["configs"].as_array().expect("configs");
    let read = |config: &Value| std::fs::read(vectors().join(config["file"].as_str().expect("file"))).expect("bytes");
    configs.iter().map(|config| (config.clone(), read(config))).collect()
}

#[test]
fn every_genesis_decodes_and_encodes_to_the_same_bytes_and_hash() {
    for (expected, bytes) in configs(&genesis()) {
        let config = GenesisConfig::decode(&bytes).expect("a genesis");
        assert_eq!(config.encode(), bytes);
        assert_eq!(base58(config.hash()), expected["genesis_hash"].as_str().unwrap());
        assert_eq!(u64::from(config.shred_version()), expected["shred_version"].as_u64().unwrap());
        assert_eq!(config.creation_time, expected["creation_time"].as_i64().unwrap());
        assert_eq!(config.ticks_per_slot(), expected["ticks_per_slot"].as_u64().unwrap());
        assert_eq!(config.hashes_per_tick(), expected["hashes_per_tick"].as_u64());
        let tick = Duration::from_nanos(expected["target_tick_duration_ns"].as_u64().unwrap());
        assert_eq!(config.tick_duration(), tick);
        assert_eq!(config.slot_duration(), Duration::from_millis(400));
        assert_eq!(config.nanoseconds_per_slot(), 400_000_000);
        assert_eq!(config.epoch_schedule.slots_per_epoch, expected["slots_per_epoch"].as_u64().unwrap());
        let governor = &expected["fee_rate_governor"];
        assert_eq!(
            config.fee_rate_governor.target_lamports_per_signature,
            governor["target_lamports_per_signature"].as_u64().unwrap()
        );
    }
}

#[test]
fn the_accounts_are_those_listed() {
    let genesis = genesis();
    for (_, bytes) in configs(&genesis) {
        let mut accounts = GenesisConfig::decode(&bytes).expect("a genesis").accounts;
        for expected in genesis["accounts"].as_array().unwrap() {
            let account = accounts.remove(&key(&expected["pubkey"])).expect("listed account");
            assert_eq!(account.lamports, expected["lamports"].as_u64().unwrap());
            assert_eq!(account.owner, key(&expected["owner"]));
            assert_eq!(account.executable, expected["executable"].as_bool().unwrap());
            assert_eq!(account.data.len() as u64, expected["data_length"].as_u64().unwrap());
            assert_eq!(base58(Sha256::digest(&account.data)), expected["data_sha256"].as_str().unwrap());
        }
        assert!(accounts.is_empty(), "accounts beside the listed ones: {:?}", accounts.keys());
    }
}

#[test]
fn slot_zero_ends_with_the_blockhash_of_bank_0() {
    let text = std::fs::read_to_string(vectors().join("bank.json")).expect("bank.json");
    let bank: Value = serde_json::from_str(&text).expect("json");
    let by_name: BTreeMap<_, _> = configs(&bank["genesis"])
        .into_iter()
        .map(|(c, bytes)| (c["name"].as_str().unwrap().to_owned(), bytes))
        .collect();
    for ledger in bank["ledgers"].as_array().unwrap() {
        let config = GenesisConfig::decode(&by_name[ledger["genesis"].as_str().unwrap()]).unwrap();
        let ticks = config.slot_zero_ticks();
        assert_eq!(ticks.len() as u64, config.ticks_per_slot());
        assert_eq!(base58(ticks.last().unwrap().1), ledger["banks"][0]["last_blockhash"].as_str().unwrap());
    }
}

#[test]
fn the_gates_are_exactly_those_of_the_reference() {
    let genesis = genesis();
    let ids = genesis["features"]["ids"].as_array().unwrap();
    let expected: BTreeMap<Pubkey, ()> = ids.iter().map(|gate| (key(&gate[0]), ())).collect();
    let ours: BTreeMap<Pubkey, ()> = FEATURE_GATES.iter().map(|gate| (gate.id, ())).collect();
    assert_eq!(ours, expected);
    assert_eq!(ours.len(), FEATURE_GATES.len(), "a gate is listed twice");
    assert!(FEATURE_GATES.iter().all(|gate| !gate.name.is_empty()));
}

/// The localnet that the vectors' first genesis describes.
fn reference_localnet(genesis: &Value) -> LocalnetGenesis {
    let account = |k: &Pubkey| {
        let accounts = genesis["accounts"].as_array().unwrap();
        accounts.iter().find(|a| key(&a["pubkey"]) == *k).unwrap()["lamports"].as_u64().unwrap()
    };
    let validator = |v: &Value| {
        let (identity, vote) = (key(&v["identity"]["pubkey"]), key(&v["vote"]["pubkey"]));
        GenesisValidator {
            identity,
            identity_lamports: account(&identity),
            vote,
            vote_authority: vote,
            vote_lamports: account(&vote),
            stake: key(&v["stake"]["pubkey"]),
            delegated: v["delegated"].as_u64().unwrap(),
        }
    };
    let faucet = key(&genesis["faucet"]["pubkey"]);
    let validators = genesis["validators"].as_array().unwrap().iter().map(validator).collect();
    LocalnetGenesis {
        faucet_lamports: account(&faucet),
        hashes_per_tick: Some(12),
        ..LocalnetGenesis::new(1_700_000_000, faucet, validators)
    }
}

#[test]
fn the_builder_makes_the_reference_genesis_and_adds_only_programs() {
    let genesis = genesis();
    let (expected, bytes) = configs(&genesis).swap_remove(0);
    let mut built = reference_localnet(&genesis).build().expect("a genesis");
    let reference = GenesisConfig::decode(&bytes).unwrap();
    let full = built.encode();
    assert_eq!(GenesisConfig::decode(&full).expect("our own genesis"), built);
    assert!(full.len() < MAX_GENESIS_BYTES / 3, "{} bytes", full.len());

    let loaders = [solana_sdk_ids::bpf_loader::ID, solana_sdk_ids::bpf_loader_upgradeable::ID];
    let executable = built.accounts.values().filter(|account| account.executable).count();
    assert_eq!(executable, 10, "four core programs and six of SPL");
    for name in [
        "Stake11111111111111111111111111111111111111",
        "AddressLookupTab1e1111111111111111111111111",
        "Config1111111111111111111111111111111111111",
        "Feature111111111111111111111111111111111111",
        "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
        "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL",
        "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo",
        "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr",
    ] {
        assert!(built.accounts[&name.parse::<Pubkey>().unwrap()].executable, "{name}");
    }
    built.accounts.retain(|_, account| !loaders.contains(&account.owner));
    for (key, account) in &reference.accounts {
        assert_eq!(built.accounts.get(key), Some(account), "{key}");
    }
    assert_eq!(base58(built.hash()), expected["genesis_hash"].as_str().unwrap());
}

#[test]
fn the_builder_names_what_is_wrong() {
    let genesis = genesis();
    let good = reference_localnet(&genesis);
    let refused = |change: &dyn Fn(&mut LocalnetGenesis)| {
        let mut localnet = good.clone();
        change(&mut localnet);
        localnet.build().expect_err("a refusal")
    };
    let first = good.validators[0].clone();
    assert_eq!(refused(&|l| l.validators.clear()), BuildError::NoValidator);
    assert_eq!(refused(&|l| l.validators[0].delegated = 0), BuildError::NoStake(first.identity));
    assert_eq!(refused(&|l| l.validators[1].vote = first.stake), BuildError::SameKey(first.stake));
    assert_eq!(refused(&|l| l.faucet = first.vote), BuildError::SameKey(first.vote));
    assert_eq!(refused(&|l| l.validators[0].identity = FEATURE_GATES[0].id), BuildError::SameKey(FEATURE_GATES[0].id));
    assert_eq!(refused(&|l| l.faucet_lamports = u64::MAX), BuildError::TooMuch);
    assert_eq!(refused(&|l| l.validators[2].delegated = u64::MAX), BuildError::TooMuch);
    let unusable = |change: &dyn Fn(&mut LocalnetGenesis), name: &str| match refused(change) {
        BuildError::Settings(GenesisError::Unusable { field, .. }) => {
            assert!(field.starts_with(name), "{field}")
        }
        other => panic!("{name}: {other}"),
    };
    unusable(&|l| l.slots_per_epoch = 31, "slots_per_epoch");
    unusable(&|l| l.ticks_per_slot = 0, "ticks_per_slot");
    unusable(&|l| l.tick_duration = Duration::ZERO, "target_tick_duration");
    unusable(&|l| l.hashes_per_tick = Some(1), "hashes_per_tick");
}

#[test]
fn truncated_bytes_are_refused() {
    let (_, bytes) = configs(&genesis()).swap_remove(1);
    for length in (0..bytes.len()).step_by(97).chain(bytes.len() - 200..bytes.len()) {
        let refused = GenesisConfig::decode(&bytes[..length]).expect_err("truncated");
        assert!(matches!(refused, GenesisError::Malformed(_)), "{length}: {refused}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(GenesisConfig::decode(&longer).is_err());
    assert_eq!(
        GenesisConfig::decode(&vec![0; MAX_GENESIS_BYTES + 1]),
        Err(GenesisError::TooLong(MAX_GENESIS_BYTES + 1))
    );
}

#[test]
fn mutated_bytes_neither_panic_nor_pass_as_the_same_chain() {
    let (_, bytes) = configs(&genesis()).swap_remove(0);
    let original = GenesisConfig::decode(&bytes).unwrap().hash();
    let tail = bytes.len() - 260;
    for step in 0..2_000usize {
        let at = if step % 2 == 0 { tail + step % 260 } else { step * 7_919 % bytes.len() };
        let mut mutated = bytes.clone();
        mutated[at] ^= 1 << (step % 8);
        if let Ok(config) = GenesisConfig::decode(&mutated) {
            assert_ne!(config.hash(), original);
        }
    }
}

proptest::proptest! {
    #[test]
    fn random_bytes_are_refused(noise in proptest::collection::vec(proptest::num::u8::ANY, 0..2_000)) {
        proptest::prop_assert!(GenesisConfig::decode(&noise).is_err());
    }

    #[test]
    fn settings_round_trip(creation_time in proptest::num::i64::ANY, hashes in 2u64..1_000_000, slots in 32u64..100_000) {
        let (_, bytes) = configs(&genesis()).swap_remove(0);
        let mut config = GenesisConfig::decode(&bytes).unwrap();
        config.accounts.clear();
        config.creation_time = creation_time;
        config.poh_config.hashes_per_tick = Some(hashes);
        config.epoch_schedule = solana_epoch_schedule::EpochSchedule::custom(slots, slots, slots % 2 == 0);
        proptest::prop_assert_eq!(GenesisConfig::decode(&config.encode()), Ok(config));
    }
}

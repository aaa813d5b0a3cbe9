//! Vote instructions and vote transactions (`tower.json`, `instructions`).

use super::vectors::{base58, base64, load};
use serde_json::Value;
use solana_keypair::Keypair;
use solana_message::{MessageHeader, VersionedMessage, compiled_instruction::CompiledInstruction, legacy};
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::{
    Hash, Pubkey,
    vote::{VoteInstruction, VoteKind, VoteOnWire, is_simple_vote, parse_vote, tower_sync_transaction},
};

fn hash(value: &Value) -> Hash {
    Hash::new_from_array(base58(value).try_into().expect("32 bytes"))
}

fn key(value: &Value) -> Pubkey {
    Pubkey::new_from_array(base58(value).try_into().expect("32 bytes"))
}

fn keypair(value: &Value) -> Keypair {
    let secret: [u8; 32] = base58(&value["secret"]).try_into().expect("32 bytes");
    let pair = Keypair::new_from_array(secret);
    assert_eq!(solana_signer::Signer::pubkey(&pair), key(&value["pubkey"]));
    pair
}

/// The instruction that the vectors describe, and whether it is a switching form.
fn described(value: &Value) -> VoteInstruction {
    let name = value["kind"].as_str().expect("kind");
    let (kind, switches) = match name.strip_suffix("Switch") {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let kind = match kind {
        "Vote" => VoteKind::Vote,
        "UpdateVoteState" => VoteKind::UpdateVoteState,
        "CompactUpdateVoteState" => VoteKind::CompactUpdateVoteState,
        "TowerSync" => VoteKind::TowerSync,
        other => panic!("kind {other}"),
    };
    assert_eq!(switches, name.ends_with("Switch"));
    let number = |v: &Value| v.as_u64().expect("a number");
    let slots = match kind {
        VoteKind::Vote => value["slots"].as_array().expect("slots").iter().map(|s| (number(s), 0)).collect(),
        _ => value["lockouts"]
            .as_array()
            .expect("lockouts")
            .iter()
            .map(|l| (number(&l[0]), u32::try_from(number(&l[1])).expect("u32")))
            .collect(),
    };
    VoteInstruction {
        kind,
        slots,
        root: value["root"].as_u64(),
        hash: hash(&value["hash"]),
        timestamp: value["timestamp"].as_i64(),
        block_id: if value["block_id"].is_null() { Hash::default() } else { hash(&value["block_id"]) },
        switch_proof: (!value["switch_proof_hash"].is_null()).then(|| hash(&value["switch_proof_hash"])),
    }
}

/// An unsigned transaction that holds the instruction of a vector, signers first.
fn wrapped(vector: &Value) -> VersionedTransaction {
    let accounts = vector["accounts"].as_array().expect("accounts");
    let signer = |account: &&Value| account["is_signer"].as_bool().expect("a flag");
    let mut account_keys: Vec<Pubkey> = accounts.iter().filter(signer).map(|a| key(&a["pubkey"])).collect();
    let signers = account_keys.len();
    account_keys.extend(accounts.iter().filter(|a| !signer(a)).map(|a| key(&a["pubkey"])));
    account_keys.push(key(&vector["program_id"]));
    let place =
        |wanted: Pubkey| u8::try_from(account_keys.iter().position(|&k| k == wanted).expect("listed")).expect("u8");
    let instruction = CompiledInstruction {
        program_id_index: place(key(&vector["program_id"])),
        accounts: accounts.iter().map(|a| place(key(&a["pubkey"]))).collect(),
        data: base64(&vector["data"]),
    };
    VersionedTransaction {
        signatures: vec![Default::default(); signers],
        message: VersionedMessage::Legacy(legacy::Message {
            header: MessageHeader {
                num_required_signatures: u8::try_from(signers).expect("u8"),
                ..MessageHeader::default()
            },
            account_keys,
            instructions: vec![instruction],
            ..legacy::Message::default()
        }),
    }
}

#[test]
fn every_voting_instruction_reads_and_writes_as_in_the_reference() {
    let all = load("tower.json");
    let vectors = all["instructions"]["instructions"].as_array().expect("instructions");
    let voter = key(&all["instructions"]["authorized_voter"]["pubkey"]);
    for vector in vectors {
        let name = &vector["name"];
        let data = base64(&vector["data"]);
        let read = VoteInstruction::decode(&data).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(read, described(&vector["decoded"]), "{name}");
        assert_eq!(read.encode().as_ref(), Ok(&data), "{name}");
        let transaction = wrapped(vector);
        let simple = vector["is_simple_vote"].as_bool().expect("a flag");
        assert_eq!(is_simple_vote(&transaction), simple, "{name}");
        let parsed = parse_vote(&transaction);
        let last_slot = parsed.as_ref().map(|parsed| parsed.last_slot);
        assert_eq!(last_slot, vector["last_voted_slot"].as_u64(), "{name}");
        if let Some(parsed) = parsed {
            let account = key(&vector["accounts"][0]["pubkey"]);
            assert_eq!((parsed.voter, parsed.vote_account), (voter, account), "{name}");
        }
    }
    assert_eq!(vectors.len(), 32);
}

#[test]
fn doubtful_instructions_are_judged_as_in_the_reference() {
    let all = load("tower.json");
    let vectors = all["instructions"]["judged"].as_array().expect("judged");
    for vector in vectors {
        let name = &vector["name"];
        let read = VoteInstruction::decode(&base64(&vector["data"]));
        match vector["agave"].get("ok") {
            Some(ok) => assert_eq!(read, Ok(described(ok)), "{name}"),
            None => assert!(read.is_err(), "{name}: {read:?}"),
        }
    }
    assert_eq!(vectors.len(), 12);
}

#[test]
fn vote_transactions_are_the_same_bytes() {
    let all = load("tower.json");
    let vectors = all["instructions"]["transactions"].as_array().expect("transactions");
    let mut cast = 0;
    for vector in vectors {
        let name = &vector["name"];
        let bytes = base64(&vector["bytes"]);
        let transaction: VersionedTransaction = bincode::deserialize(&bytes).expect("a transaction");
        assert!(is_simple_vote(&transaction), "{name}");
        let parsed = parse_vote(&transaction).expect("a vote");
        let slots: Vec<u64> = parsed.voted.slots.iter().map(|&(slot, _)| slot).collect();
        let expected: Vec<u64> = serde_json::from_value(vector["slots"].clone()).expect("slots");
        assert_eq!(slots, expected, "{name}");
        assert_eq!(parsed.vote_account, key(&vector["vote_account"]), "{name}");
        assert_eq!(parsed.voter, key(&vector["authorized_voter"]["pubkey"]), "{name}");
        assert_eq!(parsed.voted.hash, hash(&vector["vote_hash"]), "{name}");
        assert_eq!(parsed.switch_proof.is_none(), vector["switch_proof_hash"].is_null(), "{name}");
        let zero_proof = parsed.switch_proof.is_none_or(|proof| proof == Hash::default());
        if parsed.kind == VoteKind::TowerSync && zero_proof {
            cast += 1;
            let again = rebuilt(vector, &parsed.voted);
            assert_eq!(bincode::serialize(&again).expect("bytes"), bytes, "{name}");
        }
    }
    assert!(cast >= 2, "{cast} of the transactions could be cast by us");
}

fn rebuilt(vector: &Value, vote: &VoteOnWire) -> VersionedTransaction {
    let (node, voter) = (keypair(&vector["node"]), keypair(&vector["authorized_voter"]));
    tower_sync_transaction(vote, hash(&vector["blockhash"]), &node, &voter)
}

//! The reference's own bytes and verdicts, whole family by family.

mod cluster;
mod fuzz;

use base64::Engine as _;
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};
use sundog_gossip::{
    CrdsData, CrdsValue, DropReason,
    bloom::{Bloom, fnv},
    check,
    pull::{Pull, Request},
    push::StakeGate,
    table::{Limits, Offered, Stakes, Table},
    wire::{
        CrdsFilter, Protocol,
        bits::BitVec,
        codec::{Reader, Writer},
        contact::ContactInfo,
        duplicate::{DuplicateProof, DuplicateShred},
        pong_hash,
        value::Kind,
    },
};
use sundog_types::{Hash, Now, Pubkey, Signature};

fn vectors(file: &str) -> Value {
    let folder = std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from);
    let text = std::fs::read_to_string(folder.join(file)).expect("vectors are beside the tests");
    serde_json::from_str(&text).expect("vectors are JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn bytes(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text(value)).expect("base64")
}

fn hash(value: &Value) -> Hash {
    Hash::from_str(text(value)).expect("a hash")
}

fn pubkey(value: &Value) -> Pubkey {
    Pubkey::from_str(text(value)).expect("a public key")
}

fn address(value: &Value) -> Option<SocketAddr> {
    value.as_str().map(|text| text.parse().expect("an address"))
}

fn values_of(message: &Protocol) -> &[CrdsValue] {
    match message {
        Protocol::PullResponse(_, values) | Protocol::PushMessage(_, values) => values,
        _ => &[],
    }
}

#[test]
fn messages_decode_to_their_fields_and_encode_to_the_same_bytes() {
    let gossip = vectors("gossip.json");
    for case in list(&gossip["messages"]) {
        let name = text(&case["name"]);
        let wire = bytes(&case["bytes"]);
        assert_eq!(wire.len() as u64, number(&case["length"]), "{name}");
        let checked = check(&wire).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        assert_eq!(checked.message().encode(), wire, "{name}");
        check_message(name, checked.message(), &case["fields"]);
    }
}

fn check_message(name: &str, message: &Protocol, fields: &Value) {
    match message {
        Protocol::PingMessage(ping) => {
            assert_eq!(ping.from, pubkey(&fields["from"]), "{name}");
            assert_eq!(Hash::new_from_array(ping.token), hash(&fields["token"]), "{name}");
        }
        Protocol::PongMessage(pong) => {
            assert_eq!(pong.from, pubkey(&fields["from"]), "{name}");
            assert_eq!(pong.hash, hash(&fields["hash"]), "{name}");
            let token = hash(&fields["answers_token"]).to_bytes();
            assert_eq!(pong.hash, pong_hash(&token), "{name}");
        }
        Protocol::PruneMessage(_, prune) => {
            assert_eq!(prune.pubkey, pubkey(&fields["pubkey"]), "{name}");
            assert_eq!(prune.destination, pubkey(&fields["destination"]), "{name}");
            assert_eq!(prune.wallclock, number(&fields["wallclock"]), "{name}");
            let prunes: Vec<Pubkey> = list(&fields["prunes"]).iter().map(pubkey).collect();
            assert_eq!(prune.prunes, prunes, "{name}");
        }
        Protocol::PushMessage(from, values) | Protocol::PullResponse(from, values) => {
            assert_eq!(*from, pubkey(&fields["from"]), "{name}");
            assert_eq!(values.len(), list(&fields["values"]).len(), "{name}");
            for (value, fields) in values.iter().zip(list(&fields["values"])) {
                check_value(name, value, fields);
            }
        }
        Protocol::PullRequest(..) => {} // in its own family
    }
}

fn check_value(name: &str, value: &CrdsValue, fields: &Value) {
    assert_eq!(*value.hash(), hash(&fields["value_hash"]), "{name}");
    assert_eq!(value.bytes().len() as u64, number(&fields["length"]), "{name}");
    let signature = Signature::from_str(text(&fields["signature"])).expect("a signature");
    assert_eq!(value.signature(), signature, "{name}");
    assert_eq!(format!("{:?}", value.label().kind), text(&fields["kind"]), "{name}");
    if let Some(info) = value.contact() {
        return check_contact(name, info, &fields["contact_info"]);
    }
    assert_eq!(value.origin(), pubkey(&fields["from"]), "{name}");
    assert_eq!(value.wallclock(), number(&fields["wallclock"]), "{name}");
    if !fields["index"].is_null() {
        assert_eq!(u64::from(value.label().index), number(&fields["index"]), "{name}");
    }
    match value.data() {
        CrdsData::Vote(_, vote) => {
            assert_eq!(vote.slot(), Some(number(&fields["last_voted_slot"])), "{name}");
            let transaction = bincode::serialize(&vote.transaction).expect("encodes");
            assert_eq!(transaction, bytes(&fields["transaction"]), "{name}");
        }
        CrdsData::LowestSlot(_, lowest) => {
            assert_eq!(lowest.lowest, number(&fields["lowest"]), "{name}");
        }
        CrdsData::EpochSlots(_, slots) => {
            let expected: Vec<u64> = list(&fields["slots"]).iter().map(number).collect();
            assert_eq!(slots.slots(), expected, "{name}");
        }
        _ => check_rare_kind(name, value.data(), fields),
    }
}

fn check_rare_kind(name: &str, data: &CrdsData, fields: &Value) {
    match data {
        CrdsData::SnapshotHashes(hashes) => {
            let incremental = list(&fields["incremental"]).iter();
            let pair = |pair: &Value| (number_or_text(&pair[0]), hash(&pair[1]));
            assert_eq!(hashes.full, pair(&fields["full"]), "{name}");
            assert_eq!(hashes.incremental, incremental.map(pair).collect::<Vec<_>>(), "{name}");
        }
        CrdsData::RestartLastVotedForkSlots(restart) => {
            assert_eq!(restart.last_voted_slot, number(&fields["last_voted_slot"]), "{name}");
            assert_eq!(restart.last_voted_hash, hash(&fields["last_voted_hash"]), "{name}");
            assert_eq!(u64::from(restart.shred_version), number(&fields["shred_version"]), "{name}");
            let ranges = list(&fields["slot_ranges"]);
            let all = ranges.iter().flat_map(|range| number(&range[0])..=number(&range[1]));
            assert_eq!(restart.slots(0), all.collect::<Vec<u64>>(), "{name}");
        }
        CrdsData::RestartHeaviestFork(fork) => {
            assert_eq!(fork.last_slot, number(&fields["last_slot"]), "{name}");
            assert_eq!(fork.last_slot_hash, hash(&fields["last_slot_hash"]), "{name}");
            assert_eq!(fork.observed_stake, number(&fields["observed_stake"]), "{name}");
            assert_eq!(u64::from(fork.shred_version), number(&fields["shred_version"]), "{name}");
        }
        CrdsData::DuplicateShred(_, chunk) => {
            assert_eq!(chunk.slot, number(&fields["slot"]), "{name}");
            assert_eq!(u64::from(chunk.num_chunks), number(&fields["num_chunks"]), "{name}");
            assert_eq!(u64::from(chunk.chunk_index), number(&fields["chunk_index"]), "{name}");
            assert_eq!(chunk.chunk.len() as u64, number(&fields["chunk_length"]), "{name}");
        }
        _ => panic!("{name}: not expected here"),
    }
}

fn number_or_text(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| text(value).parse().expect("a number"))
}

fn check_contact(name: &str, info: &ContactInfo, fields: &Value) {
    assert_eq!(info.pubkey, pubkey(&fields["pubkey"]), "{name}");
    assert_eq!(info.wallclock, number(&fields["wallclock"]), "{name}");
    assert_eq!(info.outset, number(&fields["outset"]), "{name}");
    assert_eq!(u64::from(info.shred_version), number(&fields["shred_version"]), "{name}");
    let version = &fields["version"];
    let parts = ["major", "minor", "patch"].map(|part| number(&version[part]) as u16);
    assert_eq!(info.version.number, parts, "{name}");
    assert_eq!(u64::from(info.version.commit), number(&version["commit"]), "{name}");
    assert_eq!(u64::from(info.version.feature_set), number(&version["feature_set"]), "{name}");
    assert_eq!(u64::from(info.version.client), number(&version["client"]), "{name}");
    let ips: Vec<String> = info.ips().iter().map(ToString::to_string).collect();
    let expected: Vec<&str> = list(&fields["addrs"]).iter().map(text).collect();
    assert_eq!(ips, expected, "{name}");
    let sockets: Vec<(u8, SocketAddr)> = info.sockets().collect();
    let listed = list(&fields["sockets"]).iter();
    let expected: Vec<_> =
        listed.map(|s| (number(&s["key"]) as u8, address(&s["address"]).expect("an address"))).collect();
    assert_eq!(sockets, expected, "{name}");
    let seen = &fields["seen_by_agave"];
    let keys = [
        "gossip",
        "serve_repair_quic",
        "rpc",
        "rpc_pubsub",
        "serve_repair",
        "tpu",
        "tpu_forwards",
        "tpu_forwards_quic",
        "tpu_quic",
        "tpu_vote",
        "tvu",
        "tvu_quic",
        "tpu_vote_quic",
        "alpenglow",
    ];
    for (key, getter) in (0u8..).zip(keys) {
        assert_eq!(info.socket(key), address(&seen[getter]), "{name}: {getter}");
    }
}

#[test]
fn pull_requests_carry_the_filter_and_are_answered_with_the_same_values() {
    let gossip = vectors("gossip.json");
    let messages: BTreeMap<&str, Protocol> = list(&gossip["messages"])
        .iter()
        .map(|case| {
            let message = Protocol::decode(&bytes(&case["bytes"])).expect("decodes");
            (text(&case["name"]), message)
        })
        .collect();
    for case in list(&gossip["pull_requests"]) {
        let name = text(&case["message"]);
        let Protocol::PullRequest(filter, caller) = &messages[name] else { panic!("{name}") };
        check_filter(name, filter, case);
        check_value(name, caller, &case["caller_value"]);
        let answered = &case["answered_with"];
        let mut expected: Vec<Hash> = list(&answered["value_hashes"]).iter().map(hash).collect();
        let shred_version = number(&answered["own_shred_version"]) as u16;
        let all = messages.values().flat_map(values_of);
        let mut found = answer(all, filter, caller, shred_version);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{name}");
    }
}

fn answer<'a>(
    values: impl Iterator<Item = &'a CrdsValue>,
    filter: &CrdsFilter,
    caller: &CrdsValue,
    shred_version: u16,
) -> Vec<Hash> {
    let now = Now { mono_us: 0, unix_ms: caller.wallclock() };
    let mut table = Table::new(Pubkey::default(), Limits::default());
    for value in values {
        let outcome = table.offer(now, value.clone());
        assert!(matches!(outcome, Offered::New | Offered::Duplicate), "{:?}", value.label());
    }
    let gate = StakeGate::new(Stakes::default());
    let mut pull = Pull::new(now);
    pull.set_staked(1_000);
    let request = Request { filter, wallclock: caller.wallclock(), shred_version, gate: &gate };
    let mut rng = rand_chacha::rand_core::SeedableRng::from_seed([3; 32]);
    let later = now.after(Duration::from_secs(1));
    let answer = pull.answer(later, &request, &table, &mut rng);
    assert_eq!(answer.over_budget, 0);
    let read = |bytes: &bytes::Bytes| CrdsValue::read(&mut Reader::new(bytes)).expect("a value");
    answer.values.iter().map(|bytes| *read(bytes).hash()).collect()
}

fn check_filter(name: &str, filter: &CrdsFilter, case: &Value) {
    let keys: Vec<u64> = list(&case["keys"]).iter().map(number).collect();
    assert_eq!(filter.bloom.keys(), keys, "{name}");
    assert_eq!(filter.bloom.bits().len(), number(&case["num_bits"]), "{name}");
    assert_eq!(filter.mask, number(&case["mask"]), "{name}");
    assert_eq!(u64::from(filter.mask_bits), number(&case["mask_bits"]), "{name}");
    let mut writer = Writer::new();
    filter.write(&mut writer);
    assert_eq!(writer.into_bytes(), bytes(&case["crds_filter"]), "{name}");
    let mut made = Bloom::new(number(&case["num_bits"]) as u32, keys);
    for inside in list(&case["hashes_inside"]) {
        made.add(&hash(inside));
    }
    assert_eq!(encoded(&made), bytes(&case["bloom"]), "{name}");
    assert_eq!(made, filter.bloom, "{name}");
    for probe in list(&case["probes"]) {
        let probed = hash(&probe["hash"]);
        assert_eq!(filter.bloom.contains(&probed), probe["in_bloom"].as_bool().expect("a truth"));
        assert_eq!(filter.covers(&probed), probe["in_partition"].as_bool().expect("a truth"));
    }
}

fn encoded(bloom: &Bloom) -> Vec<u8> {
    let mut writer = Writer::new();
    bloom.write(&mut writer);
    writer.into_bytes()
}

#[test]
fn every_judged_datagram_gets_the_reference_verdict() {
    let gossip = vectors("gossip.json");
    for case in list(&gossip["judged"]) {
        let name = text(&case["name"]);
        let verdict = match check(&bytes(&case["bytes"])) {
            Ok(checked) => {
                let kept = &case["agave"]["values_kept"];
                let values = values_of(checked.message()).len() as u64;
                assert_eq!(kept.as_u64().unwrap_or(0), values, "{name}");
                "accepted"
            }
            Err(DropReason::Undecodable) => "decode_error",
            Err(DropReason::OutOfBounds) => "sanitize_error",
            Err(DropReason::NothingLeft) => "no_value_left",
            Err(DropReason::BadSignature) => "signature_invalid",
            Err(other) => panic!("{name}: {other:?}"),
        };
        assert_eq!(verdict, text(&case["agave"]["verdict"]), "{name}");
    }
}

#[test]
fn duplicate_proofs_are_cut_and_joined_like_the_reference_does() {
    let gossip = vectors("gossip.json");
    let proofs = &gossip["duplicate_proofs"];
    let mut published: Vec<DuplicateShred> = Vec::new();
    for case in list(&gossip["messages"]) {
        let message = Protocol::decode(&bytes(&case["bytes"])).expect("decodes");
        if let Protocol::PushMessage(_, values) = &message
            && let [value] = values.as_slice()
            && let CrdsData::DuplicateShred(_, chunk) = value.data()
        {
            published.push(chunk.clone());
        }
    }
    let reporter = pubkey(&proofs["reporter"]["pubkey"]);
    let (slot, wallclock) = (number(&proofs["slot"]), number(&proofs["wallclock"]));
    for (index, case) in list(&proofs["cases"]).iter().enumerate() {
        let proof = DuplicateProof { first: bytes(&case["shred1"]), second: bytes(&case["shred2"]) };
        let chunks = proof.chunks(reporter, slot, wallclock);
        if let Some(count) = case["sender"]["chunks"].as_u64() {
            assert_eq!(chunks.len() as u64, count);
        }
        let shuffled: Vec<&DuplicateShred> = chunks.iter().rev().collect();
        assert_eq!(DuplicateProof::join(&shuffled), Some(proof));
        if index == 0 {
            assert_eq!(chunks, published);
        }
    }
}

#[test]
fn bloom_filters_set_the_reference_bits() {
    let misc = vectors("misc.json");
    for case in list(&misc["bloom"]) {
        let keys: Vec<u64> = list(&case["keys"]).iter().map(number).collect();
        let mut bloom = Bloom::new(number(&case["num_bits"]) as u32, keys.clone());
        for added in list(&case["added"]) {
            let item = hash(&added["hash"]);
            for (index, key) in keys.iter().enumerate() {
                assert_eq!(fnv(*key, &item), number(&added["fnv_by_key"][index]));
                assert_eq!(bloom.position(*key, &item), number(&added["positions"][index]));
            }
            bloom.add(&item);
        }
        let set: Vec<u64> = list(&case["bits_set"]).iter().map(number).collect();
        assert_eq!(bloom.bits().ones().collect::<Vec<_>>(), set);
        for probe in list(&case["contains"]) {
            assert_eq!(bloom.contains(&hash(&probe[0])), probe[1].as_bool().expect("a truth"));
        }
        let wire = bytes(&case["bincode"]);
        assert_eq!(encoded(&bloom), wire);
        assert_eq!(Bloom::read(&mut Reader::new(&wire)), Ok(bloom));
    }
}

#[test]
fn compact_integers_have_one_spelling() {
    let misc = vectors("misc.json");
    let encodings = &misc["encodings"];
    for family in ["compact_u16", "varint_u64"] {
        for case in list(&encodings[family]) {
            let (value, wire) = (number(&case[0]), bytes(&case[1]));
            let mut writer = Writer::new();
            writer.varint(value);
            assert_eq!(writer.into_bytes(), wire, "{family} {value}");
            assert_eq!(Reader::new(&wire).varint(64), Ok(value));
        }
    }
    for case in list(&encodings["compact_u16_decode"]) {
        let wire = bytes(&case["bytes"]);
        let mut reader = Reader::new(&wire);
        let read = reader.compact_u16().ok();
        assert_eq!(read.map(u64::from), case["agave"]["value"].as_u64(), "{}", case["hex"]);
        if read.is_some() {
            let length = (wire.len() - reader.rest().len()) as u64;
            assert_eq!(Some(length), case["agave"]["length"].as_u64());
        }
    }
    for case in list(&encodings["varint_decode"]) {
        let wire = bytes(&case["bytes"]);
        for (bits, name) in [(16, "u16"), (32, "u32"), (64, "u64")] {
            let read = Reader::new(&wire).varint(bits).ok();
            assert_eq!(read, case[name].as_u64(), "{name} {}", case["hex"]);
        }
    }
}

#[test]
fn a_bit_vector_with_announced_but_missing_blocks_is_refused() {
    let mut writer = Writer::new();
    writer.u8(1);
    writer.u64(0);
    writer.u64(0);
    assert!(BitVec::<u64>::read(&mut Reader::new(&writer.into_bytes())).is_err());
}

#[test]
fn every_kind_is_among_the_vectors() {
    let gossip = vectors("gossip.json");
    let mut kinds: Vec<Kind> = list(&gossip["messages"])
        .iter()
        .flat_map(|case| {
            let message = Protocol::decode(&bytes(&case["bytes"])).expect("decodes");
            values_of(&message).iter().map(|value| value.label().kind).collect::<Vec<_>>()
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 8, "{kinds:?}");
}

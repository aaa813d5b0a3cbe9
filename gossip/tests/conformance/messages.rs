//! Every message of the reference: its fields, and the same bytes again.

use crate::vectors::{address, bytes, family, file, hash, list, number, pubkey, text, values_of};
use serde_json::Value;
use std::{collections::BTreeSet, net::SocketAddr, str::FromStr as _};
use sundog_gossip::{
    CrdsData, CrdsValue, check,
    table::{Limits, Table},
    wire::{
        Protocol,
        contact::ContactInfo,
        kinds::{RestartHeaviestFork, RestartLastVotedForkSlots, SnapshotHashes},
        pong_hash,
        slots::{Bitmap, EpochSlots},
        value::{Kind, Label},
    },
};
use sundog_types::{Hash, Now, Pubkey, Signature};

#[test]
fn messages_decode_to_their_fields_and_encode_to_the_same_bytes() {
    for case in family(&file("gossip.json"), "messages") {
        let name = text(&case["name"]);
        let wire = bytes(&case["bytes"]);
        assert_eq!(wire.len() as u64, number(&case["length"]), "{name}");
        let checked = check(&wire).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        assert_eq!(checked.message().encode(), wire, "{name}");
        check_message(name, checked.message(), &case["fields"]);
        check_signer(name, checked.message(), &case["signer"]);
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
        Protocol::PruneMessage(from, prune) => {
            assert_eq!((*from, prune.pubkey), (prune.pubkey, pubkey(&fields["pubkey"])), "{name}");
            assert_eq!(prune.destination, pubkey(&fields["destination"]), "{name}");
            assert_eq!(prune.wallclock, number(&fields["wallclock"]), "{name}");
            assert_eq!(prune.signature, signature(&fields["signature"]), "{name}");
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
        Protocol::PullRequest(..) => {} // in a family of its own
    }
}

/// The signer of a case is who signs the message, or its values if there is one.
fn check_signer(name: &str, message: &Protocol, signer: &Value) {
    let by = match message {
        Protocol::PingMessage(ping) => ping.from,
        Protocol::PongMessage(pong) => pong.from,
        Protocol::PruneMessage(_, prune) => prune.pubkey,
        Protocol::PullRequest(_, caller) => caller.origin(),
        Protocol::PushMessage(_, values) | Protocol::PullResponse(_, values) => match values.as_slice() {
            [value] => value.origin(),
            _ => return,
        },
    };
    assert_eq!(by, pubkey(&signer["pubkey"]), "{name}");
}

fn signature(value: &Value) -> Signature {
    Signature::from_str(text(value)).expect("a signature")
}

/// Compares a value with what the reference reads in it.
pub fn check_value(name: &str, value: &CrdsValue, fields: &Value) {
    assert_eq!(*value.hash(), hash(&fields["value_hash"]), "{name}");
    assert_eq!(value.bytes().len() as u64, number(&fields["length"]), "{name}");
    assert_eq!(value.signature(), signature(&fields["signature"]), "{name}");
    assert_eq!(format!("{:?}", value.label().kind), text(&fields["kind"]), "{name}");
    assert_eq!(label(&value.label()), text(&fields["label"]), "{name}");
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
        CrdsData::LowestSlot(_, lowest) => assert_eq!(lowest.lowest, number(&fields["lowest"]), "{name}"),
        CrdsData::EpochSlots(_, slots) => check_epoch_slots(name, slots, fields),
        CrdsData::SnapshotHashes(hashes) => check_snapshots(name, hashes, fields),
        CrdsData::RestartLastVotedForkSlots(restart) => check_restart(name, restart, fields),
        CrdsData::RestartHeaviestFork(fork) => check_heaviest(name, fork, fields),
        CrdsData::DuplicateShred(_, chunk) => {
            assert_eq!(chunk.slot, number(&fields["slot"]), "{name}");
            assert_eq!(u64::from(chunk.num_chunks), number(&fields["num_chunks"]), "{name}");
            assert_eq!(u64::from(chunk.chunk_index), number(&fields["chunk_index"]), "{name}");
            assert_eq!(chunk.chunk.len() as u64, number(&fields["chunk_length"]), "{name}");
        }
        CrdsData::ContactInfo(_) | CrdsData::Retired(_) => panic!("{name}: not expected here"),
    }
}

/// A label as the reference writes it: kinds with several places for an origin name the place.
fn label(label: &Label) -> String {
    match label.kind {
        Kind::Vote | Kind::EpochSlots | Kind::DuplicateShred => {
            format!("{:?}({}, {})", label.kind, label.index, label.origin)
        }
        kind => format!("{kind:?}({})", label.origin),
    }
}

fn check_epoch_slots(name: &str, slots: &EpochSlots, fields: &Value) {
    let expected: Vec<u64> = list(&fields["slots"]).iter().map(number).collect();
    assert_eq!(slots.slots(), expected, "{name}");
    let Some(parts) = fields["parts"].as_array() else { return };
    assert_eq!(slots.parts.len(), parts.len(), "{name}");
    for (part, fields) in slots.parts.iter().zip(parts) {
        let form = match part.bitmap {
            Bitmap::Plain(_) => "uncompressed",
            Bitmap::Deflated(_) => "flate2",
        };
        assert_eq!(form, text(&fields["form"]), "{name}");
        assert_eq!((part.first_slot, part.count), (number(&fields["first_slot"]), number(&fields["num"])), "{name}");
    }
}

fn check_snapshots(name: &str, hashes: &SnapshotHashes, fields: &Value) {
    let pair = |pair: &Value| (number(&pair[0]), hash(&pair[1]));
    assert_eq!(hashes.full, pair(&fields["full"]), "{name}");
    let incremental: Vec<_> = list(&fields["incremental"]).iter().map(pair).collect();
    assert_eq!(hashes.incremental, incremental, "{name}");
}

fn check_restart(name: &str, restart: &RestartLastVotedForkSlots, fields: &Value) {
    assert_eq!(restart.last_voted_slot, number(&fields["last_voted_slot"]), "{name}");
    assert_eq!(restart.last_voted_hash, hash(&fields["last_voted_hash"]), "{name}");
    assert_eq!(u64::from(restart.shred_version), number(&fields["shred_version"]), "{name}");
    let ranges = list(&fields["slot_ranges"]).iter();
    let all: Vec<u64> = ranges.flat_map(|range| number(&range[0])..=number(&range[1])).collect();
    assert_eq!(restart.slots(0), all, "{name}");
    let Some(middle) = all.get(all.len() / 2) else { return };
    assert_eq!(restart.slots(*middle), all[all.len() / 2..], "{name}: from slot {middle} on");
}

fn check_heaviest(name: &str, fork: &RestartHeaviestFork, fields: &Value) {
    assert_eq!(fork.last_slot, number(&fields["last_slot"]), "{name}");
    assert_eq!(fork.last_slot_hash, hash(&fields["last_slot_hash"]), "{name}");
    assert_eq!(fork.observed_stake, number(&fields["observed_stake"]), "{name}");
    assert_eq!(u64::from(fork.shred_version), number(&fields["shred_version"]), "{name}");
}

/// The keys of sockets with the names of the reference's getters.
const GETTERS: [&str; 14] = [
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

fn check_contact(name: &str, info: &ContactInfo, fields: &Value) {
    assert_eq!(info.pubkey, pubkey(&fields["pubkey"]), "{name}");
    assert_eq!(info.wallclock, number(&fields["wallclock"]), "{name}");
    assert_eq!(info.outset, number(&fields["outset"]), "{name}");
    assert_eq!(u64::from(info.shred_version), number(&fields["shred_version"]), "{name}");
    let version = &fields["version"];
    let parts = ["major", "minor", "patch"].map(|part| number(&version[part]));
    assert_eq!(info.version.number.map(u64::from), parts, "{name}");
    assert_eq!(u64::from(info.version.commit), number(&version["commit"]), "{name}");
    assert_eq!(u64::from(info.version.feature_set), number(&version["feature_set"]), "{name}");
    assert_eq!(u64::from(info.version.client), number(&version["client"]), "{name}");
    let ips: Vec<String> = info.ips().iter().map(ToString::to_string).collect();
    let expected: Vec<&str> = list(&fields["addrs"]).iter().map(text).collect();
    assert_eq!(ips, expected, "{name}");
    let sockets: Vec<(u64, SocketAddr)> = info.sockets().map(|(key, socket)| (key.into(), socket)).collect();
    let listed = list(&fields["sockets"]).iter();
    let expected: Vec<_> = listed.map(|s| (number(&s["key"]), address(&s["address"]).expect("an address"))).collect();
    assert_eq!(sockets, expected, "{name}");
    for (key, getter) in (0u8..).zip(GETTERS) {
        assert_eq!(info.socket(key), address(&fields["seen_by_agave"][getter]), "{name}: {getter}");
    }
}

#[test]
fn what_the_messages_carry_ends_in_the_table_in_whatever_order_it_comes() {
    let gossip = file("gossip.json");
    let messages: Vec<Protocol> = family(&gossip, "messages")
        .iter()
        .map(|case| Protocol::decode(&bytes(&case["bytes"])).expect("decodes"))
        .collect();
    let values: Vec<&CrdsValue> = messages.iter().flat_map(values_of).collect();
    let held = |values: &mut dyn Iterator<Item = &&CrdsValue>| {
        let now = Now { mono_us: 0, unix_ms: 1_760_000_000_000 };
        let mut table = Table::new(Pubkey::default(), Limits::default());
        for value in values {
            table.offer(now, (*value).clone());
        }
        let hash_of = |label: &Label| table.get(label).map(|filed| *filed.value.hash());
        let labels: BTreeSet<Label> = messages.iter().flat_map(values_of).map(CrdsValue::label).collect();
        labels.iter().map(hash_of).collect::<Vec<_>>()
    };
    let forwards = held(&mut values.iter());
    assert!(forwards.iter().all(Option::is_some), "every label has its value");
    assert_eq!(held(&mut values.iter().rev()), forwards);
}

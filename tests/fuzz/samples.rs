//! Valid inputs to begin with: the frozen ones of the reference, and such as Sundog makes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;
use solana_keypair::Keypair;
use std::{net::SocketAddr, path::PathBuf};
use sundog_gossip::{
    CrdsData, CrdsValue,
    wire::{
        Protocol,
        bits::BitVec,
        duplicate::DuplicateShred,
        kinds::{LowestSlot, RestartLastVotedForkSlots, SlotOffsets},
        slots::{Bitmap, CompressedSlots, EpochSlots},
    },
};
use sundog_turbine::{
    Shredder,
    effect::Sender,
    proof,
    sync::{Held, Hello, Message, PROTOCOL, PeerEntry, Refusal, Role, StoredBlock},
    timeline::{Arrival, How, Timeline},
};
use sundog_types::{
    Hash, Pubkey, Slot,
    shred::{
        Kind,
        variant::{CODE_SHRED_SIZE, DATA_SHRED_SIZE},
    },
    sign::{Identity, Sign as _},
};

fn folder() -> PathBuf {
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"));
    std::env::var_os("SUNDOG_VECTORS").map_or_else(own, PathBuf::from)
}

fn family(name: &str) -> Value {
    let path = folder().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// All strings of these names, anywhere in a family, that are base64.
fn strings(value: &Value, names: &[&str], found: &mut Vec<Vec<u8>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| strings(item, names, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if names.contains(&name.as_str()) => {
                        found.extend(STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty()));
                    }
                    _ => strings(field, names, found),
                }
            }
        }
        _ => {}
    }
}

/// Shreds of all kinds: every seventh of those that the reference made, and a set of Sundog's own.
pub fn shreds() -> Vec<Vec<u8>> {
    let mut shreds = Vec::new();
    for name in ["one_full_set", "last_full_resigned", "far_parent", "slot_zero", "tiny"] {
        let bytes = std::fs::read(folder().join("shreds").join(name).with_extension("bin")).expect("a vector");
        let mut rest = &bytes[..];
        while let Some(variant) = rest.get(64) {
            let size = if variant & 0x80 == 0 { CODE_SHRED_SIZE } else { DATA_SHRED_SIZE };
            let (shred, after) = rest.split_at(size);
            shreds.push(shred.to_vec());
            rest = after;
        }
    }
    let signer = Identity::new(Keypair::new_from_array([1; 32]));
    let mut shredder = Shredder::new(Slot::new(9), Slot::new(8), 7, Hash::default()).expect("a parent that fits");
    let own = shredder.shred(&[5; 9_000], 3, true, &signer).expect("room");
    let own = own.into_iter().flat_map(|set| set.data.into_iter().chain(set.code));
    shreds.extend(own.map(|shred| shred.payload().to_vec()));
    shreds.into_iter().step_by(7).collect()
}

/// Requests to the repair server, and pongs.
pub fn repair_requests() -> Vec<Vec<u8>> {
    let (mut found, family) = (Vec::new(), family("repair.json"));
    strings(&family["requests"], &["bytes"], &mut found);
    strings(&family["judged"], &["bytes"], &mut found);
    strings(&family["ping_pong"], &["pong"], &mut found);
    found
}

/// What a repair requester may get: shreds with nonces, pings, lists of ancestors.
pub fn repair_responses() -> Vec<Vec<u8>> {
    let (mut found, family) = (Vec::new(), family("repair.json"));
    strings(&family["shred_responses"], &["bytes"], &mut found);
    strings(&family["ancestor_hashes_responses"], &["bytes"], &mut found);
    let pings = ["ping_to_window_highest_orphan", "ping_to_ancestor_hashes"];
    strings(&family["ping_pong"], &pings, &mut found);
    found
}

/// Datagrams of gossip: every message with every kind of value, good and bad, and such as claim much in few bytes.
pub fn gossip() -> Vec<Vec<u8>> {
    let (mut found, family) = (Vec::new(), family("gossip.json"));
    strings(&family["messages"], &["bytes"], &mut found);
    strings(&family["judged"], &["bytes"], &mut found);
    let signer = Identity::new(Keypair::new_from_array([2; 32]));
    let (from, wallclock) = (signer.identity(), 1_760_000_000_000);
    let restart = |offsets| {
        let last_voted_hash = Hash::new_from_array([3; 32]);
        let shred_version = 4_711;
        let last_voted_slot = 1 << 40;
        RestartLastVotedForkSlots { from, wallclock, offsets, last_voted_slot, last_voted_hash, shred_version }
    };
    let part = |bitmap| CompressedSlots { first_slot: 1 << 33, count: 16_383, bitmap };
    // Two kilobytes of ones, deflated to a few bytes.
    let ones = CompressedSlots::pack(&(0..16_383).collect::<Vec<u64>>()).expect("they fit");
    let full = Bitmap::Plain(BitVec::from_blocks(vec![0xff; 900]));
    let empty = Bitmap::Plain(BitVec::default());
    let chunk = |chunk_index: u8, length: usize| DuplicateShred {
        from,
        wallclock,
        slot: 5_000,
        unused_index: 0,
        unused_type: DuplicateShred::UNUSED_TYPE,
        num_chunks: 3,
        chunk_index,
        chunk: vec![chunk_index; length],
    };
    let slots = |parts| CrdsData::EpochSlots(3, EpochSlots { from, parts, wallclock });
    let said = [
        CrdsData::RestartLastVotedForkSlots(restart(SlotOffsets::Runs(vec![u16::MAX; 300]))),
        CrdsData::RestartLastVotedForkSlots(restart(SlotOffsets::Runs(vec![1; 900]))),
        CrdsData::RestartLastVotedForkSlots(restart(SlotOffsets::Raw(BitVec::from_blocks(vec![0xaa; 824])))),
        slots(vec![ones; 20]),
        slots(vec![part(full)]),
        slots(vec![part(empty); 24]),
        CrdsData::DuplicateShred(0, chunk(0, 1_054)),
        CrdsData::DuplicateShred(511, chunk(2, 0)),
        CrdsData::LowestSlot(0, LowestSlot::new(from, 77, wallclock)),
    ];
    let values: Vec<CrdsValue> = said.into_iter().map(|data| CrdsValue::sign(data, &signer)).collect();
    found.extend(values.iter().map(|value| Protocol::PushMessage(from, vec![value.clone()]).encode()));
    found.push(Protocol::PullResponse(from, vec![values[8].clone(); 7]).encode());
    found
}

/// Pairs of shreds that gossip carries as proofs.
pub fn proofs() -> Vec<Vec<u8>> {
    let family = family("gossip.json");
    let cases = family["duplicate_proofs"]["cases"].as_array().expect("cases");
    let pair = |case: &Value| {
        let shred = |name: &str| STANDARD.decode(case[name].as_str().expect("a shred")).expect("base64");
        proof::encode(&shred("shred1"), &shred("shred2")).to_vec()
    };
    cases.iter().map(pair).collect()
}

/// How shreds of a slot came, in all ways.
pub fn timelines() -> Vec<Vec<u8>> {
    let from = Pubkey::new_from_array([3; 32]);
    let addresses = ["10.0.0.1:80", "[2001:db8::1]:9000"].map(|text| text.parse::<SocketAddr>().expect("an address"));
    let ways = [
        How::Own,
        How::Turbine { layer: 2, from: Sender::Peer(from) },
        How::Turbine { layer: 0, from: Sender::Address(addresses[0]) },
        How::Turbine { layer: 9, from: Sender::Address(addresses[1]) },
        How::Repair { from },
        How::Recovered,
        How::Stored,
        How::Synced { from },
    ];
    let arrival = |number: u32| Arrival {
        at_ms: number * 37,
        kind: if number.is_multiple_of(3) { Kind::Code } else { Kind::Data },
        index: number * 11,
        how: ways[number as usize % ways.len()],
    };
    let timeline = |count: u32| Timeline {
        slot: Slot::new(1 << 33),
        parent: count.is_multiple_of(2).then(|| Slot::new(7)),
        leader: from,
        first_unix_ms: 1_760_000_000_000,
        complete_ms: Some(400),
        arrivals: (0..count).map(arrival).collect(),
        left_out: count,
    };
    [0, 1, 8, 33, 150].map(|count| timeline(count).encode()).to_vec()
}

/// Every message of bulk sync.
pub fn sync_messages() -> Vec<Vec<u8>> {
    let held = Held { root: Slot::new(900), highest: Slot::new(950), lowest: Slot::new(1) };
    let hash = Hash::new_from_array([4; 32]);
    let hello = Hello {
        protocol: PROTOCOL,
        genesis_hash: hash,
        shred_version: 7,
        held,
        role: sundog_turbine::sync::Role::Voting,
    };
    let peer = |text: &str| PeerEntry {
        identity: Pubkey::new_from_array([5; 32]),
        address: text.parse().expect("an address"),
        root: Slot::new(3),
        highest: Slot::new(4),
    };
    let block = |slot: u64, shreds: usize| StoredBlock {
        slot: Slot::new(slot),
        shreds: vec![Bytes::from(vec![slot as u8; DATA_SHRED_SIZE]); shreds],
    };
    let (id, slot) = (77, Slot::new(800));
    let messages = [
        Message::Hello(hello),
        Message::Hello(Hello { role: Role::Following, ..hello }),
        Message::Refuse { why: Refusal::OtherGenesis, detail: "another genesis, ünlike ours".into() },
        Message::Ping(held),
        Message::Pong(held),
        Message::GetPeers,
        Message::Peers(vec![peer("10.0.0.1:8003"), peer("[2001:db8::1]:8003"), peer("10.0.0.2:8003")]),
        Message::GetBlocks { id, from: slot, count: 100 },
        Message::Blocks { id, blocks: vec![block(800, 2), block(801, 0), block(803, 1)], next: slot, more: true },
        Message::Blocks { id, blocks: (0..60).map(|slot| block(slot, 0)).collect(), next: slot, more: false },
        Message::Announce { slot, block_id: Some(hash) },
        Message::Announce { slot, block_id: None },
        Message::GetBlock { id, slot, block_id: hash },
        Message::NotHeld { id, lowest: slot },
    ];
    messages.iter().map(|message| message.encode().to_vec()).collect()
}

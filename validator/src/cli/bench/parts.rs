//! The parts of a block's way: hashing, verifying, shredding, recovering, Merkle trees, Turbine trees, signatures.

use super::{Part, keep};
use crate::payments::transfer;
use bytes::Bytes;
use solana_keypair::Keypair;
use std::collections::BTreeMap;
use sundog_poh::Chain;
use sundog_turbine::{
    Codec, FecSet, Shredder,
    tree::{ClusterNodes, FANOUT, TreeRng},
};
use sundog_types::{
    Hash, Pubkey, ShredIndex, Slot,
    entry::Entry,
    shred::{Kind, Shred, ShredId, hash_roots, merkle},
    sign::{Identity, Sign, Verifier},
};

/// Hashes in a tick of the verified block: a localnet's order of magnitude (reference anchors use 12,500).
const HASHES_PER_TICK: u64 = 12_500;
/// Ticks of a block.
const TICKS: usize = 64;
/// Nodes of the cluster whose trees are drawn, and those of them with stake.
const NODES: usize = 3_000;
const STAKED: usize = 2_000;
/// Bytes of entries in an FEC set.
const SET_BYTES: usize = 30_816;

/// One chain of hashes.
pub fn poh() -> Vec<Part<'static>> {
    let mut chain = Chain::new(Hash::default(), None);
    vec![Part::new("one chain", "hashes", 10_000, move || keep(chain.advance(10_000)))]
}

/// A block of ticks.
pub fn verify() -> anyhow::Result<Vec<Part<'static>>> {
    let mut hash = Hash::default();
    let entries: Vec<Entry> = (0..TICKS)
        .map(|_| {
            let mut entry = Entry { num_hashes: HASHES_PER_TICK, ..Entry::default() };
            hash = sundog_poh::next_hash(hash, &entry);
            entry.hash = hash;
            entry
        })
        .collect();
    let budget = sundog_poh::hash_budget(TICKS as u64, Some(HASHES_PER_TICK));
    let mut parts = Vec::new();
    for (name, threads) in [("64 ticks of 12,500, one core", 1), ("64 ticks of 12,500, all cores", 0)] {
        let (pool, entries) = (rayon::ThreadPoolBuilder::new().num_threads(threads).build()?, entries.clone());
        let check = move || pool.install(|| sundog_poh::verify_entries(Hash::default(), &entries, budget));
        let count = TICKS * HASHES_PER_TICK as usize;
        parts.push(Part::new(name, "hashes", count, move || check().expect("the block is right")));
    }
    Ok(parts)
}

fn signer() -> Identity {
    Identity::new(Keypair::new_from_array([1; 32]))
}

fn sets(bytes: &[u8], signer: &dyn Sign) -> Vec<FecSet> {
    let mut shredder = Shredder::new(Slot::new(2), Slot::new(1), 1, Hash::default()).expect("slot 2 follows slot 1");
    shredder.shred(bytes, 0, false, signer).expect("a few sets fit a slot")
}

/// Entries into FEC sets.
pub fn shred() -> Vec<Part<'static>> {
    let (signer, bytes) = (signer(), vec![7; SET_BYTES * 8]);
    let work = move || keep(sets(&bytes, &signer));
    vec![Part::new("entries to signed FEC sets, shreds of both kinds", "shreds", 8 * 64, work).of_bytes(8 * SET_BYTES)]
}

/// FEC sets with shreds missing.
pub fn recover() -> Vec<Part<'static>> {
    let set = sets(&[7; SET_BYTES], &signer()).remove(0);
    let all_missing = set.code.clone();
    let mut one_missing: Vec<_> = set.data[1..].to_vec();
    one_missing.push(set.code[0].clone());
    let half = set.data[..16].iter().chain(&set.code[..16]).cloned().collect();
    let codec = Codec::new();
    [
        ("all 32 data shreds missing", all_missing),
        ("half of both kinds missing", half),
        ("one data shred missing", one_missing),
    ]
    .into_iter()
    .map(|(name, held)| {
        let work = move || keep(codec.recover(&held).expect("32 shreds are enough"));
        Part::new(name, "sets", 1, work).of_bytes(SET_BYTES)
    })
    .collect()
}

/// Merkle trees over FEC sets.
pub fn merkle() -> Vec<Part<'static>> {
    let set = sets(&[7; SET_BYTES], &signer()).remove(0);
    let shreds: Vec<_> = set.data.into_iter().chain(set.code).collect();
    let work = move || {
        let views: Vec<_> = shreds.iter().map(|shred| shred.view()).collect();
        keep(merkle::root_over(&views));
    };
    vec![Part::new("a tree over 64 shreds", "trees", 1, work)]
}

/// A node's children in the Turbine trees of a cluster, every node of it in turn.
pub fn tree() -> Vec<Part<'static>> {
    let key = |number: usize| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        Pubkey::new_from_array(bytes)
    };
    let stakes: BTreeMap<Pubkey, u64> =
        (0..STAKED).map(|number| (key(number), 1_000_000_000_000 / (number as u64 + 1))).collect();
    let nodes = ClusterNodes::new(&stakes, (0..NODES).map(|number| (key(number), None)), false);
    let mut drawn = 0;
    let work = move || {
        drawn += 1;
        let shred = ShredId { slot: Slot::new(9), index: ShredIndex::new(drawn as u32), kind: Kind::Data };
        let mut order = nodes.draw(&key(0), &shred, TreeRng::ChaCha8);
        keep(nodes.hop(&mut order, &key(1 + drawn * 7 % (NODES - 1)), FANOUT));
    };
    vec![Part::new("own children among 3,000 nodes, 2,000 with stake", "shreds", 1, work)]
}

/// Transfer packets, with all that a verifier can remember, and shreds of which a set's root is known or not.
pub fn sigverify() -> Vec<Part<'static>> {
    let payer = Keypair::new_from_array([1; 32]);
    let packets: Vec<Bytes> = (0..64_u8)
        .map(|i| {
            let to = Pubkey::new_from_array([i; 32]);
            let packet = bincode::serialize(&transfer(&payer, &to, 1, Hash::default()));
            Bytes::from(packet.expect("a transaction serialises"))
        })
        .collect();
    let bytes = packets.iter().map(Bytes::len).sum();
    let transfers = |name, together: usize, verifier: Verifier| {
        let packets = packets.clone();
        let check = move |packets: &[Bytes]| keep(sundog_gulfstream::check_packets(packets, &verifier));
        Part::new(name, "packets", 64, move || packets.chunks(together).for_each(&check)).of_bytes(bytes)
    };
    let mut parts = vec![
        transfers("transfer packets, one core", 64, Verifier::without_memory()),
        transfers("transfer packets, one at a time", 1, Verifier::without_memory()),
        transfers("transfer packets, one at a time, key kept", 1, Verifier::of_keys()),
        transfers("transfer packets verified before", 64, Verifier::default()),
    ];
    parts.extend(shreds_verified());
    parts
}

/// Shreds as they come from the network: parsed, hashed up to the root of their set, and that compared or verified.
fn shreds_verified() -> [Part<'static>; 3] {
    let signer = signer();
    let leader = signer.identity();
    let set = sets(&[7; SET_BYTES], &signer).remove(0);
    let root = set.data[0].verified_root();
    let shreds: Vec<Bytes> = set.data.into_iter().chain(set.code).map(Shred::into_payload).collect();
    let parse = |shred: &Bytes| Shred::raw(shred.clone()).parse().expect("it is a shred");
    let (verifier, again) = (Verifier::of_keys(), shreds.clone());
    let holds = move |signer: &Pubkey, root: &[u8], signature: &_| verifier.holds_once(signer, root, signature);
    let first = move || again.iter().for_each(|shred| keep(parse(shred).verify(&leader, &holds)));
    let apart = shreds.clone();
    let known = move || apart.iter().for_each(|shred| keep(parse(shred).trust(&root)));
    let together = move || {
        let shreds: Vec<_> = shreds.iter().map(parse).collect();
        hash_roots(&shreds);
        shreds.into_iter().for_each(|shred| keep(shred.trust(&root)));
    };
    [
        Part::new("shreds, each the first of its set", "shreds", 64, first),
        Part::new("shreds of a set whose root is verified", "shreds", 64, known),
        Part::new("the same, hashed together", "shreds", 64, together),
    ]
}

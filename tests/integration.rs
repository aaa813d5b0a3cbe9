//! Two promises that take several crates to keep: a block comes back from any half of its shreds, and votes of three
//! nodes make one chain.

use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{collections::BTreeMap, time::Duration};
use sundog_poh::Chain;
use sundog_turbine::{Codec, FecSet, RecoverError, Shredder};
use sundog_types::{
    Hash, Slot,
    entry::{self, Entry},
    shred::{Kind, Shred, Signed},
    sign::Identity,
};
use sundog_validator::{
    payments,
    sim::{World, WorldConfig},
};

/// Entries of a slot with transfers between ticks, chained on `start`.
fn entries(start: Hash) -> Vec<Entry> {
    let payer = Keypair::new_from_array([1; 32]);
    let mut chain = Chain::new(start, Some(8));
    let mut entries = Vec::new();
    for number in 0..40 {
        let transfer = payments::transfer(&payer, &Keypair::new_from_array([2; 32]).pubkey(), number, start);
        let mixin = sundog_poh::mixin(std::slice::from_ref(&transfer));
        let step = chain.record(&mixin).expect("there is room before the tick");
        entries.push(Entry { num_hashes: step.num_hashes, hash: step.hash, transactions: vec![transfer] });
        chain.advance(chain.remaining());
        let step = chain.tick().expect("the tick is due");
        entries.push(Entry { num_hashes: step.num_hashes, hash: step.hash, transactions: Vec::new() });
    }
    entries
}

fn one_set(batch: &[u8]) -> FecSet {
    let leader = Identity::new(Keypair::new_from_array([3; 32]));
    let mut shredder = Shredder::new(Slot::new(9), Slot::new(8), 7, Hash::default()).expect("a child of its parent");
    let mut sets = shredder.shred(batch, 5, false, &leader).expect("the slot has room");
    assert_eq!(sets.len(), 1, "the batch fills one set");
    sets.remove(0)
}

/// The first `count` of the set's shreds in an order that `seed` shuffles.
fn some_of(set: &FecSet, count: usize, mut seed: u64) -> Vec<Shred<Signed>> {
    let mut shreds: Vec<Shred<Signed>> = set.data.iter().chain(&set.code).cloned().collect();
    for place in (1..shreds.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        shreds.swap(place, usize::try_from(seed >> 33).expect("31 bits") % (place + 1));
    }
    shreds.truncate(count);
    shreds
}

#[test]
fn a_block_is_reconstructed_from_any_32_of_its_64_shreds_and_from_no_fewer() {
    let start = Hash::new_from_array([4; 32]);
    let made = entries(start);
    let set = one_set(&entry::encode_batch(&made));
    assert_eq!((set.data.len(), set.code.len()), (32, 32));
    let codec = Codec::new();
    for seed in 0..200 {
        let mut shreds = some_of(&set, 32, seed);
        if shreds.iter().any(|shred| shred.kind() == Kind::Code) {
            shreds.extend(codec.recover(&shreds).expect("32 are enough"));
        }
        let data = shreds.iter().filter(|shred| shred.kind() == Kind::Data);
        let data: BTreeMap<_, _> = data.map(|shred| (shred.index(), shred)).collect();
        let originals: Vec<_> = set.data.iter().map(Shred::payload).collect();
        assert_eq!(data.values().map(|shred| shred.payload()).collect::<Vec<_>>(), originals, "seed {seed}");
        let bytes: Vec<u8> = data.values().flat_map(|shred| shred.data()).copied().collect();
        let read = entry::decode_batch(&bytes).expect("what was encoded decodes");
        assert_eq!(read, made);
        assert!(sundog_poh::verify_entries(start, &read, u64::MAX).is_ok());
    }
    for seed in 0..50 {
        assert!(matches!(codec.recover(&some_of(&set, 31, seed)), Err(RecoverError::TooFew(31))), "seed {seed}");
    }
}

#[test]
fn votes_of_three_nodes_confirm_and_finalize_one_chain_and_those_of_half_the_stake_none() {
    let mut world = World::new(WorldConfig { seed: 3, ..WorldConfig::default() });
    let rooted = world.run_until(Duration::from_secs(60), |world| world.rooted_everywhere() >= Slot::new(20));
    assert!(rooted, "{:?}", world.outcome());
    for host in &world.hosts {
        let named = host.votes.iter().filter_map(|vote| Some((Slot::new(vote.last_slot()?), vote.hash)));
        for (slot, hash) in named {
            for other in &world.hosts {
                assert!(other.blocks.get(&slot).is_none_or(|known| *known == hash), "slot {slot}");
            }
        }
        assert!(host.voted.len() >= 40, "a root takes 32 votes after it");
        assert!(host.finalized >= Slot::new(16));
    }
    assert_eq!(world.outcome().conflict, None);

    // 1000 of 2000 is less than two thirds: the others vote on, and nothing becomes confirmed.
    world.kill(0);
    world.run_until(Duration::from_secs(2), |_| false);
    let confirmed = |world: &World| world.hosts[1].view.as_ref().map(|view| view.confirmed.slot());
    let (before, votes) = (confirmed(&world), world.hosts[1].voted.len());
    world.run_until(Duration::from_secs(10), |_| false);
    assert_eq!(confirmed(&world), before);
    assert!(world.hosts[1].voted.len() > votes, "it still votes");
}

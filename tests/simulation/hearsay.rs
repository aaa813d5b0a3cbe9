//! What nodes learn from gossip alone: lies of leaders, blocks that nobody has, another instance of themselves.

use super::*;
use std::sync::Arc;
use sundog_gossip::{
    CrdsData, CrdsValue,
    wire::{Carrier, duplicate::DuplicateProof, pack},
};
use sundog_ledger::{Ledger, MemoryStore};
use sundog_turbine::Shredder;
use sundog_types::{
    Hash,
    entry::{self, Entry},
    sign::{Identity, Sign as _},
};

/// A shred of a block of `slot` with this content, signed by a node.
fn shred(world: &World, signer: usize, slot: Slot, content: u8) -> Vec<u8> {
    let entry = Entry { num_hashes: 1, hash: Hash::new_from_array([content; 32]), transactions: Vec::new() };
    let version = sundog_types::shred::shred_version(&world.genesis.hash(), &[]);
    let mut shredder = Shredder::new(slot, Slot::new(slot.get() - 1), version, Hash::default()).expect("a near parent");
    let signer = Identity::new(world.hosts[signer].identity.insecure_clone());
    let sets = shredder.shred(&entry::encode_batch(&[entry]), 1, false, &signer).expect("it has room");
    sets[0].data[0].payload().to_vec()
}

/// Has node `from` say in gossip to node `to` that these two shreds prove a lie.
fn accuse(world: &mut World, (from, to): (usize, usize), slot: Slot, shreds: [Vec<u8>; 2]) {
    let [first, second] = shreds;
    let signer = Identity::new(world.hosts[from].identity.insecure_clone());
    let chunks = DuplicateProof { first, second }.chunks(signer.identity(), slot.get(), world.now().unix_ms);
    for (place, chunk) in (0..).zip(chunks) {
        let value = CrdsValue::sign(CrdsData::DuplicateShred(place, chunk), &signer);
        for datagram in pack(Carrier::Push, &signer.identity(), &[value.bytes().clone()]) {
            world.gossip(to, from, datagram);
        }
    }
}

/// A slot of this leader that is some way ahead.
fn slot_of(world: &World, leader: usize) -> Slot {
    let view = world.hosts[0].view.as_ref().expect("a view");
    view.leaders
        .next_slot_of(&identity(world, leader), view.clock_slot.saturating_add(12), 1_000)
        .expect("it has stake")
}

fn has_proof(world: &World, host: usize, slot: Slot) -> bool {
    let ledger = Ledger::new(Arc::<MemoryStore>::clone(&world.hosts[host].store));
    ledger.duplicate(slot).expect("memory does not fail").is_some()
}

#[test]
fn a_proof_that_one_node_publishes_convinces_everybody() {
    let mut world = three(71);
    run_to_root(&mut world, 4);
    let slot = slot_of(&world, 2);
    let shreds = [shred(&world, 2, slot, 1), shred(&world, 2, slot, 2)];
    accuse(&mut world, (1, 0), slot, shreds);
    let convinced = |world: &World| (0..3).all(|host| has_proof(world, host, slot) || host == 1);
    assert!(world.run_until(PATIENCE, convinced), "the proof of slot {slot} did not reach all");
    for host in [0, 2] {
        assert_eq!(world.hosts[host].duplicates.keys().collect::<Vec<_>>(), [&slot], "node {host} reports it once");
    }
    run_to_root(&mut world, slot.get() + 40);
    assert_eq!(world.outcome().conflict, None);
    oracle::lockouts_kept(&world);
}

#[test]
fn a_proof_that_proves_nothing_is_counted_and_forgotten() {
    let mut world = three(72);
    run_to_root(&mut world, 4);
    let slot = slot_of(&world, 2);
    let (good, forged) = (shred(&world, 2, slot, 1), shred(&world, 1, slot, 2));
    accuse(&mut world, (1, 0), slot, [good.clone(), forged]);
    let other = slot.next();
    let second = shred(&world, 2, slot, 2);
    accuse(&mut world, (2, 0), other, [good.clone(), second]);
    accuse(&mut world, (2, 1), slot, [good.clone(), good]);
    let counted = |world: &World, host: usize| world.hosts[host].view.as_ref().map_or(0, |v| v.counters.false_proofs);
    assert!(world.run_until(PATIENCE, |world| counted(world, 0) >= 2 && counted(world, 1) >= 1), "they are looked at");
    run_to_root(&mut world, slot.get() + 4);
    for host in 0..3 {
        assert!(!has_proof(&world, host, slot) && !has_proof(&world, host, other));
        assert!(world.hosts[host].duplicates.is_empty() && world.hosts[host].dead.is_empty());
    }
    holds(&world);
}

#[test]
fn a_leader_whose_blocks_nobody_gets_stops_making_them_and_goes_on_when_it_is_heard_again() {
    let mut world = three(73);
    run_to_root(&mut world, 8);
    let begun = |world: &World| {
        let me = identity(world, 2);
        world.hosts[2].started.values().filter(|leader| **leader == me).count()
    };
    let counters = |world: &World| Arc::clone(&world.hosts[2].view.as_ref().expect("a view").counters);
    let before = begun(&world);
    // A fifth of the stake: less than the third that must have its blocks.
    world.part(&[&[2]]);
    run_for(&mut world, Duration::from_secs(90));
    let alone = begun(&world) - before;
    assert!(alone <= 8, "it made {alone} blocks on its own, in windows of four that it had begun");
    assert!(counters(&world).unpropagated > 0, "later slots are left out");
    assert!(counters(&world).spread_again > 0, "and the last block is offered again");
    let healed = world.rooted_everywhere().max(root(&world, 0));
    world.heal();
    run_to_root(&mut world, healed.get() + 60);
    let after = begun(&world);
    assert!(after > before + alone, "it leads again");
    holds(&world);
}

#[test]
fn of_two_instances_with_one_identity_the_newer_runs_and_the_older_stops() {
    let mut world = World::new(WorldConfig { seed: 74, stakes: vec![1_000, 600, 400, 0], ..WorldConfig::default() });
    run_to_root(&mut world, 4);
    world.kill(3);
    world.hosts[3].identity = Arc::clone(&world.hosts[2].identity);
    world.start(3);
    let stopped = world.run_until(PATIENCE, |world| world.hosts[2].node.is_none() || world.hosts[3].node.is_none());
    assert!(stopped, "one of them must go");
    assert!(world.hosts[2].node.is_none() && world.hosts[3].node.is_some(), "the older one goes");
    run_for(&mut world, Duration::from_secs(30));
    assert!(world.hosts[3].node.is_some(), "the newer one stays");
    run_to_root(&mut world, 60);
    holds(&world);
}

#[test]
fn everybody_says_what_it_has_and_from_where_on() {
    let mut world = three(75);
    run_to_root(&mut world, 12);
    for host in 0..3 {
        let view = world.hosts[host].view.as_ref().expect("a view");
        assert_eq!(view.peers.len(), 3);
        assert!(view.peers.iter().all(|peer| peer.outset_us > 0), "node {host} knows since when they run");
        assert!(view.turbine.announced > 0, "node {host} heard which slots others have");
    }
}

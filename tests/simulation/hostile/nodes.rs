//! A leader of two versions among whole nodes.

use crate::{PATIENCE, identity, oracle, root, run_to_root};
use std::{collections::BTreeSet, sync::Arc};
use sundog_ledger::{Ledger, MemoryStore};
use sundog_types::{Pubkey, Slot};
use sundog_validator::sim::{Fault, World, WorldConfig};

/// Slots that are rooted after the one of two versions.
const GO_ON: u64 = 40;

/// All but the one at fault.
const HONEST: [usize; 4] = [0, 1, 3, 4];

/// Five nodes of one stake, of which node 2 has a fault.
fn faulty(seed: u64, fault: Fault) -> (World, Slot) {
    let mut world = World::new(WorldConfig { seed, stakes: vec![100; 5], ..WorldConfig::default() });
    world.wire.keep_accusations();
    world.hosts[2].fault = Some((fault, Slot::new(12)));
    let lied = world.run_until(PATIENCE, |world| world.hosts[2].lied_in().is_some());
    assert!(lied, "the liar leads some time");
    let slot = world.hosts[2].lied_in().unwrap();
    run_to_root(&mut world, slot.get() + GO_ON);
    assert_eq!(world.outcome().conflict, None, "seed {seed}");
    oracle::lockouts_kept(&world);
    (world, slot)
}

#[test]
fn two_versions_are_proved_to_everybody_once_and_the_cluster_goes_on() {
    for seed in [51, 52] {
        // Nodes 1 and 3 get one good block, 0 and 4 the other.
        let (world, slot) = faulty(seed, Fault::TwoVersions);
        assert_eq!(world.signed_twice(), &BTreeSet::from([slot]), "both versions are on the wire, of that slot alone");
        for number in HONEST {
            let host = &world.hosts[number];
            let reported: Vec<_> = host.duplicates.keys().collect();
            assert_eq!(reported, [&slot], "seed {seed}: node {number} reports {:?}", host.duplicates);
            let ledger = Ledger::new(Arc::<MemoryStore>::clone(&host.store));
            assert!(ledger.duplicate(slot).unwrap().is_some(), "seed {seed}: node {number} keeps no proof");
            assert!(root(&world, number) >= slot.saturating_add(GO_ON));
        }
        let accusations = world.wire.accusations();
        assert!(accusations.iter().all(|(of, ..)| *of == slot), "seed {seed}: honest leaders accused: {accusations:?}");
        let mut accusers: Vec<Pubkey> = accusations.iter().map(|(_, from, _)| *from).collect();
        let mut expected: Vec<Pubkey> = HONEST.iter().map(|number| identity(&world, *number)).collect();
        accusers.sort();
        expected.sort();
        accusers.retain(|accuser| *accuser != identity(&world, 2));
        assert_eq!(accusers, expected, "seed {seed}: each of them publishes one proof, once");
    }
}

#[test]
fn a_block_that_does_not_decode_is_dead_everywhere_and_the_cluster_goes_on() {
    let (world, slot) = faulty(54, Fault::NotDecodable);
    for number in HONEST {
        let why = world.hosts[number].dead.get(&slot);
        assert!(why.is_some_and(|why| why.contains("does not decode")), "node {number}: {why:?}");
        assert!(world.hosts[number].duplicates.is_empty());
        assert!(!world.hosts[number].rooted_chain(root(&world, number)).contains(&slot));
    }
}

#[test]
fn a_node_that_floods_the_others_with_replays_and_forgeries_stops_nothing() {
    let (world, _) = faulty(55, Fault::Floods);
    for (number, host) in world.hosts.iter().enumerate() {
        assert!(host.dead.is_empty() && host.duplicates.is_empty(), "node {number}: {:?}", host.dead);
        let last = root(&world, number);
        let rooted = host.rooted_chain(last).len() as u64;
        assert!(rooted + 2 >= last.get(), "node {number} skipped {} slots", last.get() - rooted);
    }
}

//! What machines say of themselves, and what others make of it.

use super::{World, config, identity, machine};
use solana_keypair::Keypair;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use sundog_gossip::{
    CrdsData, Input,
    duplicates::ChunkDrop,
    wire::{
        duplicate::DuplicateProof,
        kinds::{RestartLastVotedForkSlots, SlotOffsets, SnapshotHashes},
        value::{Kind, Label},
    },
};
use sundog_types::{
    Hash, Pubkey, Slot,
    sign::Sign as _,
    vote::{VoteOnWire, tower_sync_transaction},
};

const SOL: u64 = 1_000_000_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Nodes that know each other, their stakes (by number) and the root.
fn cluster(seed: u64, stakes: &[u64], loss_percent: u32) -> World {
    let mut world = World::with_nodes(seed, stakes.len(), loss_percent);
    for number in 0..stakes.len() {
        tell_world(&mut world, number, stakes);
    }
    assert!(world.run_until(Duration::from_secs(20), World::complete));
    world
}

fn tell_world(world: &mut World, number: usize, stakes: &[u64]) {
    let by_node = stakes.iter().enumerate().map(|(number, stake)| (identity(number).identity(), *stake)).collect();
    world.tell(number, Input::Stakes(Arc::new(by_node)));
    world.tell(number, Input::Root { slot: Slot::new(100), window: 432_000 });
}

fn complete(world: &mut World, number: usize, slots: impl IntoIterator<Item = u64>) {
    world.tell(number, Input::Completed(slots.into_iter().map(Slot::new).collect()));
}

fn vote(number: usize, slot: u64) -> Input {
    let mut secret = [9; 32];
    secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let keypair = Keypair::new_from_array(secret);
    let vote = VoteOnWire {
        vote_account: Pubkey::new_from_array([7; 32]),
        slots: vec![(slot, 1)],
        root: None,
        hash: Hash::default(),
        block_id: Hash::default(),
        timestamp: None,
        switch: false,
    };
    let transaction = tower_sync_transaction(&vote, Hash::default(), &keypair, &keypair);
    Input::PublishVote { transaction, slot: Slot::new(slot) }
}

/// What node `at` was told that node `of` has, each slot as often as it was told.
fn told(world: &World, at: usize, of: usize) -> Vec<u64> {
    let of = identity(of).identity();
    let of_node = world.nodes[at].slots.iter().filter(|(from, _)| *from == of);
    of_node.flat_map(|(_, slots)| slots.iter().map(|slot| slot.get())).collect()
}

/// The hashes of a node's values of one kind in the table of node `at`, by place.
fn held(world: &World, at: usize, of: usize, kind: Kind) -> BTreeMap<u16, (u64, Hash)> {
    let of = identity(of).identity();
    let values = world.nodes[at].gossip.table().values_of(&of);
    let of_kind = values.filter(|(label, _)| label.kind == kind);
    of_kind.map(|(label, filed)| (label.index, (filed.value.wallclock(), *filed.value.hash()))).collect()
}

#[test]
fn slots_that_a_staked_node_has_reach_everybody_once_within_a_fifth_of_a_second() {
    let mut world = cluster(1, &[SOL, 2 * SOL, 3 * SOL, 0], 0);
    world.run(ms(2_000));
    complete(&mut world, 1, [99, 101, 102, 105]);
    world.run(ms(200));
    for at in [0, 2, 3] {
        assert_eq!(told(&world, at, 1), [101, 102, 105], "node {at}: above the root");
    }
    assert!(world.nodes[1].slots.is_empty(), "nobody is told of its own");
    for slot in 106..126 {
        complete(&mut world, 1, [slot]);
        world.run(ms(400));
    }
    world.run(Duration::from_secs(20));
    for at in [0, 2, 3] {
        let all: Vec<u64> = [101, 102, 105].into_iter().chain(106..126).collect();
        assert_eq!(told(&world, at, 1), all, "node {at}: each once");
    }
    complete(&mut world, 3, [130]);
    world.run(ms(2_000));
    assert!(told(&world, 0, 3).is_empty(), "who has no stake says nothing");
    assert!(held(&world, 3, 3, Kind::EpochSlots).is_empty());
}

#[test]
fn who_joins_later_or_loses_datagrams_learns_all_slots_by_pull() {
    let stakes = [SOL, SOL, SOL, SOL, SOL];
    let mut world = World::with_nodes(2, 4, 20);
    (0..4).for_each(|number| tell_world(&mut world, number, &stakes));
    assert!(world.run_until(Duration::from_secs(20), |world| world.complete()));
    world.run(ms(3_000));
    for slot in (200..1_400).step_by(3) {
        complete(&mut world, 2, [slot, slot + 1]);
        world.run(ms(20));
    }
    world.start(config(4));
    tell_world(&mut world, 4, &stakes);
    world.run(Duration::from_secs(20));
    let all: Vec<u64> = (200..1_400).step_by(3).flat_map(|slot| [slot, slot + 1]).collect();
    for at in [0, 1, 3, 4] {
        assert_eq!(told(&world, at, 2), all, "node {at}");
    }
}

#[test]
fn a_busy_node_signs_its_slots_five_times_a_second_at_most() {
    let mut world = cluster(3, &[SOL, SOL], 0);
    world.run(ms(3_000));
    let mut versions = BTreeSet::new();
    for slot in 0..1_000 {
        complete(&mut world, 1, [200 + slot]);
        world.run(ms(2));
        versions.extend(held(&world, 1, 1, Kind::EpochSlots).into_values());
    }
    assert!((8..=11).contains(&versions.len()), "{}", versions.len());
    let before = world.nodes[1].gossip.table().next_order();
    world.run(ms(5_000));
    let values = world.nodes[1].gossip.table().next_order() - before;
    assert!(values <= 6, "with nothing to say, only contact infos are signed: {values}");
}

#[test]
fn the_lowest_slot_is_said_when_it_changes_and_stands_in_the_list_of_peers() {
    let mut world = cluster(4, &[SOL, SOL, SOL], 0);
    let lowest = |world: &World, at: usize| {
        let node = identity(1).identity();
        world.nodes[at].peers.iter().find(|peer| peer.identity == node).unwrap().lowest_slot
    };
    world.tell(1, Input::Lowest(Slot::ZERO));
    world.run(ms(500));
    assert!(held(&world, 1, 1, Kind::LowestSlot).is_empty(), "zero is what silence means");
    for slot in [50, 50, 70] {
        world.tell(1, Input::Lowest(Slot::new(slot)));
        world.run(ms(1_300));
        assert_eq!([0, 2].map(|at| lowest(&world, at)), [Slot::new(slot); 2]);
    }
    let said = held(&world, 1, 1, Kind::LowestSlot);
    world.tell(1, Input::Lowest(Slot::new(70)));
    world.run(ms(1_000));
    assert_eq!(held(&world, 1, 1, Kind::LowestSlot), said);
}

#[test]
fn a_proof_reaches_everybody_whole_and_is_told_once_in_spite_of_loss() {
    for seed in 0..8 {
        let mut world = cluster(seed, &[SOL, SOL, SOL, SOL], 25);
        let proof = DuplicateProof { first: vec![1; 1_203], second: vec![2; 1_228] };
        world.tell(2, Input::PublishDuplicate { slot: Slot::new(150), proof: Box::new(proof.clone()) });
        world.tell(2, Input::PublishDuplicate { slot: Slot::new(90), proof: Box::new(proof.clone()) });
        let wallclocks: BTreeSet<u64> = held(&world, 2, 2, Kind::DuplicateShred).values().map(|(at, _)| *at).collect();
        assert_eq!(wallclocks.len(), 1, "the chunks of a proof have one wallclock");
        world.run(Duration::from_secs(15));
        for at in [0, 1, 3] {
            let expected = (identity(2).identity(), Slot::new(150), proof.first.clone());
            assert_eq!(world.nodes[at].proofs, [expected], "seed {seed} node {at}");
            assert!(world.nodes[at].gossip.metrics().chunks.of(ChunkDrop::OutsideWindow) > 0, "90 is below the root");
        }
        assert!(world.nodes[2].proofs.is_empty());
    }
}

/// Node 1 speaks, stops, and starts anew with a clock that is so far behind.
fn restarted(behind_ms: i64) -> World {
    let stakes = [SOL, SOL, SOL];
    let mut world = cluster(6, &stakes, 0);
    world.run(ms(2_500));
    complete(&mut world, 1, 110..120);
    world.tell(1, Input::Lowest(Slot::new(20)));
    for slot in 110..120 {
        world.tell(1, vote(1, slot));
        world.run(ms(50));
    }
    world.run(ms(2_000));
    let mut again = config(1);
    again.contact.outset_us = world.now.unix_ms * 1_000 + 1;
    world.nodes[1].skew_ms = -behind_ms;
    let mut start = world.now;
    start.unix_ms -= behind_ms as u64;
    world.nodes[1].gossip = machine(1, again, start);
    tell_world(&mut world, 1, &stakes);
    world
}

#[test]
fn after_a_restart_a_node_goes_on_behind_what_its_earlier_life_said() {
    let mut world = restarted(0);
    complete(&mut world, 1, 121..130);
    world.run(ms(3_000));
    world.tell(1, vote(1, 121));
    complete(&mut world, 1, 131..133);
    world.run(ms(3_000));
    let slots = held(&world, 0, 1, Kind::EpochSlots);
    assert_eq!(slots.keys().copied().collect::<Vec<_>>(), [0, 1], "what was said in place 0 stays said");
    assert_eq!(held(&world, 1, 1, Kind::EpochSlots).keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(told(&world, 0, 1), (110..120).chain(121..130).chain(131..133).collect::<Vec<_>>());
    let votes = held(&world, 0, 1, Kind::Vote);
    assert_eq!((votes.len(), votes.contains_key(&10)), (11, true), "a free place is taken");
    assert_eq!(world.nodes[1].gossip.metrics().said_anew, 0);
    assert_eq!(world.nodes.iter().map(|node| node.other_instances).sum::<usize>(), 0);
}

#[test]
fn after_a_restart_with_a_clock_set_back_what_is_said_now_still_wins() {
    let mut world = restarted(8_000);
    // Before it can have heard of its earlier life.
    for slot in 130..142 {
        world.tell(1, vote(1, slot));
    }
    world.tell(1, Input::Lowest(Slot::new(40)));
    complete(&mut world, 1, 130..140);
    world.run(ms(7_000));
    let gossip = &world.nodes[1].gossip;
    assert!((11..=14).contains(&gossip.metrics().said_anew), "{}", gossip.metrics().said_anew);
    for kind in [Kind::Vote, Kind::LowestSlot] {
        assert!(!held(&world, 1, 1, kind).is_empty());
        for at in [0, 2] {
            assert_eq!(held(&world, at, 1, kind), held(&world, 1, 1, kind), "node {at}: {kind:?}");
        }
    }
    assert!(told(&world, 0, 1).ends_with(&(130..140).collect::<Vec<_>>()));
}

#[test]
fn what_nobody_would_take_is_not_said() {
    let mut world = cluster(7, &[SOL, SOL], 0);
    let snapshots = |incremental: u64| {
        let incremental = (0..incremental).map(|slot| (1_001 + slot, Hash::default())).collect();
        CrdsData::SnapshotHashes(SnapshotHashes {
            from: Pubkey::default(),
            full: (1_000, Hash::default()),
            incremental,
            wallclock: 0,
        })
    };
    let restart = |runs: usize| {
        CrdsData::RestartLastVotedForkSlots(RestartLastVotedForkSlots {
            from: Pubkey::default(),
            wallclock: 0,
            offsets: SlotOffsets::Runs(vec![300; runs]),
            last_voted_slot: 10_000_000,
            last_voted_hash: Hash::default(),
            shred_version: super::CHAIN,
        })
    };
    let label = |kind| Label { origin: identity(1).identity(), kind, index: 0 };
    for (data, kind) in [(snapshots(25), Kind::SnapshotHashes), (restart(400), Kind::RestartLastVotedForkSlots)] {
        world.tell(1, Input::Publish(Box::new(data)));
        world.run(ms(300));
        assert!(world.nodes[0].gossip.table().get(&label(kind)).is_some(), "{kind:?}");
    }
    for data in [snapshots(26), restart(600)] {
        world.tell(1, Input::Publish(Box::new(data)));
    }
    let CrdsData::SnapshotHashes(mut wrong) = snapshots(1) else { panic!() };
    wrong.full.0 = u64::MAX;
    world.tell(1, Input::Publish(Box::new(CrdsData::SnapshotHashes(wrong))));
    assert_eq!(world.nodes[1].gossip.metrics().unsayable, 3);
}

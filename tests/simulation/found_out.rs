//! How a node finds out that its version of a block lost: each way alone, where the others cannot help.

use super::{
    lost::{LOSERS, WINNERS, all_go_on, away_for, forked_with, gone_for, seeds},
    *,
};
use std::sync::Arc;
use sundog_turbine::Shredder;
use sundog_types::{Hash, shred::shred_version, sign::Identity};
use sundog_validator::{node::Counters, sim::SyncFault};

/// From now on no vote tells a block id, so no chosen block can be traced back.
fn tell_no_block_ids(world: &mut World) {
    for host in &mut world.hosts {
        host.tells_block_ids = false;
    }
}

fn counters(world: &World, host: usize) -> Arc<Counters> {
    Arc::clone(&world.hosts[host].view.as_ref().expect("it runs").counters)
}

#[test]
fn votes_that_tell_no_block_id_are_enough_while_they_are_still_heard() {
    for seed in seeds(&[64, 65]) {
        let (mut world, slot) = forked_with(seed, tell_no_block_ids);
        run_for(&mut world, Duration::from_secs(2));
        world.heal();
        all_go_on(&mut world, &[slot]);
        for loser in LOSERS {
            assert!(world.hosts[loser].lost.contains_key(&slot), "seed {seed}: node {loser} threw its version away");
        }
    }
}

#[test]
fn where_votes_tell_no_block_id_and_are_gone_ancestor_hashes_say_what_the_cluster_has() {
    for seed in seeds(&[74, 75]) {
        let (mut world, slot) = forked_with(seed, tell_no_block_ids);
        run_for(&mut world, Duration::from_secs(2));
        away_for(&mut world, 20);
        all_go_on(&mut world, &[slot]);
        for loser in LOSERS {
            let counted = counters(&world, loser);
            assert!(world.hosts[loser].lost.contains_key(&slot), "seed {seed}: node {loser} threw its version away");
            assert!(counted.lost_by_ancestors > 0, "seed {seed}: node {loser}: {:?}", world.outcome());
        }
    }
}

/// Gets only a few shreds of another version.
const VICTIM: usize = 2;

/// The leader of a slot sends one node a few shreds of another version before it makes the block. Nobody has the rest of
/// them, and what the others have does not fit to them; and nobody lets the node have blocks in bulk.
fn muddled(seed: u64, with: fn(&mut World), (parent, set): (u64, usize)) -> (World, Slot) {
    let mut world = three(seed);
    with(&mut world);
    for server in [0, 1] {
        world.hosts[server].sync_fault = Some(SyncFault::Silent);
    }
    run_to_root(&mut world, 4);
    let view = world.hosts[0].view.clone().expect("it runs");
    let (from, leader) = (view.clock_slot.get(), identity(&world, 0));
    let leads = |slot: &u64| view.leaders.leader(Slot::new(*slot)) == Some(leader);
    let slot = Slot::new((from + 2..from + 4_000).find(leads).expect("it leads some time"));
    let version = shred_version(&world.genesis.hash(), &[]);
    let mut shredder = Shredder::new(slot, slot.saturating_sub(parent), version, Hash::default()).expect("near");
    let keys = Identity::new(world.hosts[0].identity.insecure_clone());
    let mut sets = (0..=set).flat_map(|_| shredder.shred(&[7; 2_000], 1, false, &keys).expect("short"));
    for shred in &sets.nth(set).expect("each batch is a set").data[..4] {
        world.shred(VICTIM, 0, shred.payload().clone());
    }
    // It gets the block by repair alone, without code shreds. The others vote before they hear that there are two
    // versions; else they would vote for neither.
    world.part(&[&[0, 1]]);
    let voted = world.run_until(PATIENCE, |world| (0..2).all(|host| world.hosts[host].voted.last() >= Some(&slot)));
    assert!(voted, "seed {seed}: the others vote for {slot}");
    world.heal();
    (world, slot)
}

/// The node that got parts of a version that nobody has comes to have the whole block that the others have.
fn gets_the_whole(mut world: World, slot: Slot) {
    let seed = world.config().seed;
    let target = Slot::new(slot.get() + 80);
    let done = world.run_until(PATIENCE, |world| world.rooted_everywhere() >= target);
    assert!(done, "seed {seed}: {slot}: {:?}", world.outcome());
    assert!(world.hosts[0].rooted_chain(root(&world, 0)).contains(&slot), "seed {seed}: the others built on it");
    assert_eq!(world.hosts[VICTIM].blocks.get(&slot), world.hosts[0].blocks.get(&slot), "seed {seed}");
    assert!(world.hosts[VICTIM].duplicates.contains_key(&slot), "seed {seed}: it knows of the lie");
    assert_eq!(world.outcome().conflict, None, "seed {seed}");
    oracle::lockouts_kept(&world);
}

/// Where the parts lie, as slots to their parent and their FEC set: where the block has shreds, too, or beyond its end and
/// on another parent, so that none of its shreds is taken.
const PARTS: [(u64, usize); 2] = [(1, 0), (2, 40)];

#[test]
fn parts_of_a_version_that_nobody_has_give_way_to_what_a_chosen_block_is_built_on() {
    for (seed, parts) in seeds(&[110, 111]).into_iter().zip(PARTS.into_iter().cycle()) {
        let (world, slot) = muddled(seed, |_| {}, parts);
        gets_the_whole(world, slot);
    }
}

#[test]
fn parts_of_a_version_that_nobody_has_give_way_where_votes_tell_no_block_id() {
    for (seed, parts) in seeds(&[112, 113]).into_iter().zip(PARTS.into_iter().cycle()) {
        let (world, slot) = muddled(seed, tell_no_block_ids, parts);
        gets_the_whole(world, slot);
    }
}

#[test]
fn bulk_sync_brings_the_version_that_won_to_those_who_come_back_long_after() {
    for seed in seeds(&[120, 121]) {
        let (mut world, slot) = forked_with(seed, |_| {});
        run_for(&mut world, Duration::from_secs(4));
        gone_for(&mut world, 150);
        // One after the other: two that come back together look at each other first, see nobody who is ahead, and look
        // again after ten seconds. By then repair has brought everything.
        for loser in LOSERS.into_iter().rev() {
            world.start(loser);
            let target = finalized(&world, WINNERS[0]);
            let arrived = world.run_until(PATIENCE, |world| root(world, loser).get() > target);
            assert!(arrived, "seed {seed}: node {loser}: {:?}", world.outcome());
            let view = world.hosts[loser].view.as_ref().expect("it runs");
            assert!(view.sync.blocks_released > 0, "seed {seed}: node {loser} fetched blocks in bulk");
            let why = &world.hosts[loser].duplicates[&slot];
            assert!(why.contains("on their final chain"), "seed {seed}: node {loser}: {why}");
        }
        all_go_on(&mut world, &[slot]);
    }
}

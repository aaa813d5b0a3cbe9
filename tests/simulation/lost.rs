//! A leader makes two good versions of its block, and the smaller part of the stake executes the one that loses: it
//! throws it away with all that it built on it, fetches the other, and goes on.

use super::*;
use sundog_types::Hash;
use sundog_validator::sim::Fault;

/// Stakes: nodes with even numbers, 30 % together, get the version that loses, the others the one that wins.
const STAKES: [u64; 4] = [300, 900, 300, 500];
const LOSERS: [usize; 2] = [0, 2];
const WINNERS: [usize; 2] = [1, 3];
/// The leader of both versions. It executes the one that loses.
const LIAR: usize = 2;

/// A world in which the leader lied, and the two parts have not heard of each other's version; the slot.
fn forked(seed: u64) -> (World, Slot) {
    let mut world = World::new(WorldConfig { seed, stakes: STAKES.to_vec(), ..WorldConfig::default() });
    run_to_root(&mut world, 4);
    world.hosts[LIAR].fault = Some((Fault::TwoVersions, Slot::new(24)));
    assert!(world.run_until(PATIENCE, |world| world.hosts[LIAR].lied_in().is_some()), "the liar leads some time");
    for winner in WINNERS {
        world.cut_one_way(winner, LIAR);
        world.cut_one_way(winner, 0);
        world.cut_one_way(0, winner);
    }
    let slot = world.hosts[LIAR].lied_in().expect("it lied");
    let executed = world.run_until(PATIENCE, |world| world.hosts.iter().all(|host| host.blocks.contains_key(&slot)));
    assert!(executed, "seed {seed}: everybody executes a version of {slot}");
    let [ours, theirs] = [LOSERS, WINNERS].map(|part| part.map(|host| version(&world, host, slot)));
    assert!(ours[0] == ours[1] && theirs[0] == theirs[1] && ours[0] != theirs[0], "seed {seed}: two versions");
    (world, slot)
}

fn version(world: &World, host: usize, slot: Slot) -> Option<Hash> {
    world.hosts[host].blocks.get(&slot).copied()
}

/// All have the version of the winners, have rooted it, and go on.
fn all_go_on(world: &mut World, slot: Slot) {
    let seed = world.config().seed;
    let target = (0..4).map(|host| finalized(world, host)).max().expect("four").max(slot.get()) + 48;
    run_to_root(world, target);
    let chosen = version(world, WINNERS[0], slot);
    for host in 0..4 {
        assert_eq!(version(world, host, slot), chosen, "seed {seed}: node {host}");
        let chain = world.hosts[host].rooted_chain(root(world, host));
        assert!(chain.contains(&slot), "seed {seed}: node {host} has it on its chain");
        assert!(world.hosts[host].refrozen.is_empty(), "seed {seed}: what is thrown away is told");
    }
    assert_eq!(world.outcome().conflict, None, "seed {seed}");
}

#[test]
fn a_minority_with_the_version_that_loses_takes_the_other_and_so_does_the_leader_who_made_both() {
    for seed in [61, 62, 63] {
        let (mut world, slot) = forked(seed);
        run_for(&mut world, Duration::from_secs(2));
        world.heal();
        all_go_on(&mut world, slot);
        for loser in LOSERS {
            assert!(world.hosts[loser].lost.contains_key(&slot), "seed {seed}: node {loser} threw its version away");
        }
        for winner in WINNERS {
            assert!(world.hosts[winner].lost.is_empty(), "seed {seed}: node {winner} had nothing to throw away");
        }
    }
}

#[test]
fn nodes_that_come_back_with_the_version_that_lost_find_it_out_from_what_was_built_on_the_other() {
    for seed in [71, 72] {
        let (mut world, slot) = forked(seed);
        run_for(&mut world, Duration::from_secs(2));
        LOSERS.into_iter().for_each(|loser| world.kill(loser));
        world.heal();
        let before = finalized(&world, WINNERS[0]).max(slot.get());
        let limit = PATIENCE;
        assert!(world.run_until(limit, |world| finalized(world, WINNERS[0]) >= before + 20), "70 % go on");
        LOSERS.into_iter().for_each(|loser| world.start(loser));
        all_go_on(&mut world, slot);
    }
}

#[test]
fn a_crash_in_the_middle_of_the_change_leaves_nothing_of_the_version_that_lost() {
    for seed in [81, 82] {
        let (mut world, slot) = forked(seed);
        run_for(&mut world, Duration::from_secs(1));
        world.heal();
        for loser in LOSERS {
            let lost = world.run_until(PATIENCE, |world| world.hosts[loser].lost.contains_key(&slot));
            assert!(lost, "seed {seed}: node {loser} throws its version away");
            world.kill(loser);
            world.start(loser);
        }
        all_go_on(&mut world, slot);
    }
}

//! F16: networks that fall apart and heal. What happened: this is tied to no single outage; in December 2020 the cluster stood
//! in three minority partitions that did not find together again by themselves. What holds now: while a network is in
//! two halves, in three thirds, or cut one way only, at most one part holds two thirds of the stake and goes on rooting;
//! what the others make is left behind or taken over. Once it is whole again, all agree on a new root within 64 slots of
//! the moment at which the longest promise that kept them apart has run out, and no two have rooted conflicting blocks.

use super::*;
use liveness::agrees_after;

/// Validators with these stakes.
fn cluster(seed: u64, stakes: &[u64]) -> World {
    sundog_validator::io::log_to_stderr("off");
    World::new(WorldConfig { seed, stakes: stakes.to_vec(), ..WorldConfig::default() })
}

/// Parts a cluster for so many slots, heals it, and sees that it comes together in time. The finalized slots of all
/// when the parts had stood for a while, and at their end.
fn parted(world: &mut World, slots: u32, cut: impl FnOnce(&mut World)) -> [Vec<u64>; 2] {
    run_to_root(world, 12);
    cut(world);
    let slot = world.config().slot;
    run_for(world, slot * 20);
    let all = 0..world.hosts.len();
    let early = all.clone().map(|host| finalized(world, host)).collect();
    run_for(world, slot * slots.saturating_sub(20));
    holds(world);
    let late = all.map(|host| finalized(world, host)).collect();
    world.heal();
    agrees_after(world);
    [early, late]
}

#[test]
fn two_halves_finalize_nothing_and_together_again_they_agree() {
    for seed in [201, 202, 203] {
        let mut world = cluster(seed, &[500, 500, 500, 500]);
        let [early, late] = parted(&mut world, 100, |world| world.part(&[&[0, 1], &[2, 3]]));
        assert_eq!(early, late, "seed {seed}: neither half has two thirds");
    }
}

#[test]
fn three_thirds_finalize_nothing_and_together_again_they_agree() {
    for seed in [211, 212] {
        let mut world = cluster(seed, &[500, 500, 500]);
        let [early, late] = parted(&mut world, 100, |world| world.part(&[&[0], &[1], &[2]]));
        assert_eq!(early, late, "seed {seed}: no third has two thirds");
    }
}

#[test]
fn the_part_with_most_of_the_stake_goes_on_and_the_other_joins_it_again() {
    let mut world = cluster(221, &[1_000, 600, 400]);
    let [early, late] = parted(&mut world, 120, |world| world.part(&[&[0, 1]]));
    assert!(late[0] >= early[0] + 60 && late[1] >= early[1] + 60, "eighty percent finalize: {early:?} to {late:?}");
    assert_eq!(early[2], late[2], "twenty percent do not");
}

#[test]
fn a_node_that_hears_all_and_is_heard_by_none_changes_nothing_and_comes_back() {
    let mut world = cluster(231, &[1_000, 600, 400]);
    let [early, late] = parted(&mut world, 120, |world| {
        world.cut_one_way(2, 0);
        world.cut_one_way(2, 1);
    });
    assert!(late[0] >= early[0] + 60 && late[2] >= early[2] + 60, "it follows: {early:?} to {late:?}");
}

#[test]
fn a_node_that_is_heard_by_all_and_hears_none_changes_nothing_and_comes_back() {
    let mut world = cluster(232, &[1_000, 600, 400]);
    let [early, late] = parted(&mut world, 120, |world| {
        world.cut_one_way(0, 2);
        world.cut_one_way(1, 2);
    });
    assert!(late[0] >= early[0] + 60, "the others go on: {early:?} to {late:?}");
}

#[test]
fn with_one_direction_between_two_of_three_cut_the_third_carries_everything() {
    let mut world = cluster(233, &[700, 700, 700]);
    let [early, late] = parted(&mut world, 120, |world| world.cut_one_way(0, 1));
    for host in 0..3 {
        assert!(late[host] >= early[host] + 40, "node {host}: {early:?} to {late:?}");
    }
}

#[test]
fn a_partition_that_moves_three_times_leaves_one_chain() {
    let mut world = cluster(241, &[500, 500, 500, 500]);
    run_to_root(&mut world, 12);
    for groups in [[[0, 1], [2, 3]], [[0, 2], [1, 3]], [[0, 3], [1, 2]]] {
        world.part(&[&groups[0], &groups[1]]);
        run_for(&mut world, Duration::from_secs(12));
        holds(&world);
    }
    world.heal();
    agrees_after(&mut world);
}

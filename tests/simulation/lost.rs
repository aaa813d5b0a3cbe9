//! A leader makes two good versions of its block, and the smaller part of the stake executes the one that loses: it
//! throws it away with all that it built on it, fetches the other, and goes on.

use super::*;
use sundog_types::Hash;
use sundog_validator::sim::Fault;

/// The seeds of a test: its own, or as many from a first one on as `SUNDOG_LOST_SEEDS=FIRST+COUNT` says, for a search. In some
/// seeds enough hear of both versions before they vote, and all leave the slot, which is right: the test says so and has
/// nothing to show then.
pub fn seeds(own: &[u64]) -> Vec<u64> {
    let said = std::env::var("SUNDOG_LOST_SEEDS").ok();
    let parsed = said.as_deref().and_then(|said| {
        let (first, count) = said.split_once('+')?;
        Some((first.parse::<u64>().ok()?, count.parse::<u64>().ok()?))
    });
    parsed.map_or_else(|| own.to_vec(), |(first, count)| (first..first + count).collect())
}

/// Stakes: nodes with even numbers, 30 % together, get the version that loses, the others the one that wins.
const STAKES: [u64; 4] = [300, 900, 300, 500];
pub const LOSERS: [usize; 2] = [0, 2];
pub const WINNERS: [usize; 2] = [1, 3];
/// The leader of both versions. It executes the one that loses.
const LIAR: usize = 2;

/// A world in which the leader lied, and the two parts have not heard of each other's version; the slot.
fn forked(seed: u64) -> (World, Slot) {
    forked_with(seed, |_| {})
}

/// The same in a world that is changed in some way before it begins.
pub fn forked_with(seed: u64, with: fn(&mut World)) -> (World, Slot) {
    let mut world = World::new(WorldConfig { seed, stakes: STAKES.to_vec(), ..WorldConfig::default() });
    with(&mut world);
    run_to_root(&mut world, 4);
    world.hosts[LIAR].fault = Some((Fault::TwoVersions, Slot::new(24)));
    let slot = run_to_lie(&mut world);
    (world, slot)
}

/// Runs until the leader lies, parts who got one version from who got the other, and runs until all have executed one.
fn run_to_lie(world: &mut World) -> Slot {
    let seed = world.config().seed;
    assert!(world.run_until(PATIENCE, |world| world.hosts[LIAR].lied_in().is_some()), "the liar leads some time");
    for winner in WINNERS {
        world.cut_one_way(winner, LIAR);
        world.cut_one_way(winner, 0);
        world.cut_one_way(0, winner);
    }
    let slot = world.hosts[LIAR].lied_in().expect("it lied");
    let executed = world.run_until(PATIENCE, |world| world.hosts.iter().all(|host| host.blocks.contains_key(&slot)));
    assert!(executed, "seed {seed}: everybody executes a version of {slot}");
    let [ours, theirs] = [LOSERS, WINNERS].map(|part| part.map(|host| version(world, host, slot)));
    assert!(ours[0] == ours[1] && theirs[0] == theirs[1] && ours[0] != theirs[0], "seed {seed}: two versions");
    slot
}

fn version(world: &World, host: usize, slot: Slot) -> Option<Hash> {
    world.hosts[host].blocks.get(&slot).copied()
}

/// What the nodes have of a slot, for a failure's message.
fn standing(world: &World, slot: Slot) -> String {
    let host = |host: usize| {
        let (it, rooted) = (&world.hosts[host], root(world, host));
        let (here, chain) = (version(world, host, slot), it.rooted_chain(rooted).contains(&slot));
        let voted = it.voted.last().copied().unwrap_or_default();
        format!(
            "node {host}: {here:?}, lost {:?}, voted {voted}, root {rooted}, on its chain: {chain}; ",
            it.lost.get(&slot)
        )
    };
    (0..4).map(host).collect()
}

/// All have the version of the winners of these slots, have rooted it, and go on.
pub fn all_go_on(world: &mut World, slots: &[Slot]) {
    let seed = world.config().seed;
    let last = slots.last().expect("a slot").get();
    let target = (0..4).map(|host| finalized(world, host)).max().expect("four").max(last) + 48;
    let done = world.run_until(PATIENCE, |world| world.rooted_everywhere() >= Slot::new(target));
    assert!(done, "seed {seed}: slot {target} was not rooted everywhere: {:?}", world.outcome());
    let chain = world.hosts[WINNERS[0]].rooted_chain(root(world, WINNERS[0]));
    for slot in slots {
        assert!(chain.contains(slot), "seed {seed}: {slot} was left by all: {}", standing(world, *slot));
    }
    for host in 0..4 {
        let chain = world.hosts[host].rooted_chain(root(world, host));
        for slot in slots {
            assert_eq!(version(world, host, *slot), version(world, WINNERS[0], *slot), "seed {seed}: node {host}");
            assert!(chain.contains(slot), "seed {seed}: node {host} has {slot} on its chain");
        }
    }
    assert_eq!(world.outcome().conflict, None, "seed {seed}");
    oracle::lockouts_kept(world);
}

/// Within one life a node says so before it has another version of a slot.
fn told_before_frozen_anew(world: &World) {
    let seed = world.config().seed;
    assert!(world.hosts.iter().all(|host| host.refrozen.is_empty()), "seed {seed}: what is thrown away is told");
}

/// Kills the losers, and lets the winners root so many slots more.
pub fn gone_for(world: &mut World, slots: u64) {
    LOSERS.into_iter().for_each(|loser| world.kill(loser));
    world.heal();
    let target = finalized(world, WINNERS[0]) + slots;
    let limit = PATIENCE * 3;
    assert!(world.run_until(limit, |world| finalized(world, WINNERS[0]) >= target), "70 % go on");
}

/// The same, and starts the losers.
pub fn away_for(world: &mut World, slots: u64) {
    gone_for(world, slots);
    LOSERS.into_iter().for_each(|loser| world.start(loser));
}

#[test]
fn a_minority_with_the_version_that_loses_takes_the_other_and_so_does_the_leader_who_made_both() {
    for seed in seeds(&[61, 62, 63]) {
        let (mut world, slot) = forked(seed);
        run_for(&mut world, Duration::from_secs(2));
        world.heal();
        all_go_on(&mut world, &[slot]);
        told_before_frozen_anew(&world);
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
    for seed in seeds(&[71, 72, 73]) {
        let (mut world, slot) = forked(seed);
        run_for(&mut world, Duration::from_secs(2));
        away_for(&mut world, 20);
        all_go_on(&mut world, &[slot]);
    }
}

#[test]
fn nodes_that_come_back_long_after_it_lost_follow_the_cluster_too() {
    for seed in seeds(&[91, 92]) {
        let (mut world, slot) = forked(seed);
        run_for(&mut world, Duration::from_secs(4));
        away_for(&mut world, 150);
        all_go_on(&mut world, &[slot]);
    }
}

#[test]
fn a_crash_in_the_middle_of_the_change_leaves_nothing_of_the_version_that_lost() {
    for seed in seeds(&[81, 82, 83]) {
        let (mut world, slot) = forked(seed);
        run_for(&mut world, Duration::from_secs(1));
        world.heal();
        for loser in LOSERS {
            let lost = world.run_until(PATIENCE, |world| world.hosts[loser].lost.contains_key(&slot));
            assert!(lost, "seed {seed}: node {loser} throws its version away");
            world.kill(loser);
            world.start(loser);
        }
        all_go_on(&mut world, &[slot]);
    }
}

#[test]
fn of_several_blocks_one_after_the_other_each_that_lost_is_replaced() {
    for seed in seeds(&[101, 102]) {
        let (mut world, first) = forked(seed);
        let mut slots = vec![first];
        for _ in 0..2 {
            // Whoever hears that there are two versions before he has voted votes for neither.
            run_for(&mut world, Duration::from_secs(1));
            world.heal();
            let last = slots[slots.len() - 1];
            let replaced = |world: &World| LOSERS.into_iter().all(|loser| world.hosts[loser].lost.contains_key(&last));
            let done = world.run_until(PATIENCE, replaced);
            assert!(done, "seed {seed}: {last} is thrown away: {}", standing(&world, last));
            world.hosts[LIAR].lie_again(last.next());
            slots.push(run_to_lie(&mut world));
        }
        run_for(&mut world, Duration::from_secs(1));
        world.heal();
        all_go_on(&mut world, &slots);
        told_before_frozen_anew(&world);
    }
}

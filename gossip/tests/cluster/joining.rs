//! How machines find their cluster, and what they tell of clocks, chains and namesakes.

use super::{CHAIN, START, World, address, config, identity};
use std::time::Duration;
use sundog_gossip::{GossipConfig, KnownPeer, Trouble, TroubleKind};
use sundog_types::sign::Sign as _;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn known(number: usize) -> KnownPeer {
    KnownPeer { identity: identity(number).identity(), gossip: address(number) }
}

/// The configuration of the node at address `number` that starts so many microseconds after the first.
fn later(number: usize, outset_us: u64) -> GossipConfig {
    let mut config = config(number);
    config.contact.outset_us += outset_us;
    config
}

fn troubles(world: &World, number: usize) -> Vec<TroubleKind> {
    world.nodes[number].troubles.iter().map(Trouble::kind).collect()
}

#[test]
fn a_node_whose_entrypoints_are_silent_joins_through_a_peer_that_it_knows() {
    let mut world = World::with_nodes(1, 3, 30);
    let mut returning = config(3);
    returning.entrypoints = vec![address(50), address(51)];
    returning.known = (30..40).map(known).chain([known(2)]).collect();
    world.start(returning);
    assert!(world.run_until(seconds(10), World::complete));
    world.run(seconds(20));
    assert_eq!(troubles(&world, 3), [], "who knows somebody is not in trouble");
}

#[test]
fn a_first_node_that_returns_finds_its_cluster_by_the_peers_it_knows() {
    let mut world = World::with_nodes(1, 3, 0);
    world.nodes[0].alive = false;
    let mut returning = later(3, 9);
    returning.entrypoints.clear();
    returning.known = vec![known(0), known(1), known(2)];
    world.start_as(0, returning, 0);
    let moved = |world: &World| {
        let sees = |node: usize| {
            let listed = world.nodes[node].peers.iter().find(|peer| peer.identity == identity(0).identity());
            listed.is_some_and(|peer| peer.addresses.gossip == Some(address(3)))
        };
        world.nodes[3].peers.len() == 3 && [1, 2, 3].into_iter().all(sees)
    };
    assert!(world.run_until(seconds(10), moved), "it listens at another address now, and the others know");
}

#[test]
fn nodes_find_each_other_whatever_order_they_start_in() {
    for first in 0..4 {
        let mut world = World::new(1, 0);
        (0..4).for_each(|number| world.start(config(number)));
        for number in 0..4 {
            world.nodes[number].alive = number == first;
        }
        // The others follow ten seconds apart, the entrypoint last unless it is the first.
        for number in (0..4).rev().filter(|number| *number != first) {
            world.run(seconds(10));
            world.nodes[number].alive = true;
        }
        assert!(world.run_until(seconds(10), World::complete), "node {first} starts first");
    }
}

#[test]
fn an_entrypoint_that_comes_back_as_somebody_else_is_met_anew() {
    let mut world = World::with_nodes(1, 3, 0);
    world.run(seconds(5));
    world.nodes[0].alive = false;
    let gossip = super::machine(90, config(0), world.now);
    world.nodes[0].gossip = gossip;
    world.nodes[0].alive = true;
    let newcomer = identity(90).identity();
    let met = |world: &World| (1..3).all(|node| world.nodes[node].peers.iter().any(|peer| peer.identity == newcomer));
    assert!(world.run_until(seconds(30), met));
}

#[test]
fn silent_entrypoints_are_told_once_a_minute_with_what_is_done_about_it() {
    let mut world = World::new(1, 0);
    let mut lonely = config(0);
    lonely.entrypoints = vec![address(50), address(51)];
    lonely.known = vec![known(40)];
    world.start(lonely);
    world.run(seconds(100));
    assert_eq!(troubles(&world, 0), [TroubleKind::Entrypoints; 2]);
    let text = world.nodes[0].troubles[0].to_string();
    assert!(text.contains("no entrypoint of 2") && text.contains("1 peers of an earlier run"), "{text}");
    assert_eq!(world.nodes[0].gossip.metrics().troubles(TroubleKind::Entrypoints), 2);
}

#[test]
fn a_first_node_without_entrypoints_is_not_in_trouble() {
    let mut world = World::with_nodes(1, 1, 0);
    world.run(seconds(100));
    assert_eq!(troubles(&world, 0), []);
}

#[test]
fn a_node_whose_clock_is_off_is_told_which_way_and_the_others_are_not() {
    for (skew_ms, way) in [(21_300, "ahead of"), (-21_300, "behind")] {
        let mut world = World::with_nodes(1, 4, 0);
        world.run(seconds(5));
        world.start_as(4, config(4), skew_ms);
        world.run(seconds(20));
        assert_eq!(troubles(&world, 4), [TroubleKind::Clock], "{way}");
        let text = world.nodes[4].troubles[0].to_string();
        assert!(text.contains(way) && text.contains("NTP"), "{text}");
        let Trouble::ClockOff(off) = world.nodes[4].troubles[0] else { panic!("{text}") };
        let error = off.by_ms - skew_ms;
        assert!((0..8_000).contains(&error), "a contact info may be some seconds old: {text}");
        for node in 0..4 {
            assert_eq!(troubles(&world, node), [], "node {node}: one clock is no majority");
        }
        world.run(seconds(60));
        assert_eq!(troubles(&world, 4).len(), 2, "told again after a minute");
    }
}

#[test]
fn clocks_that_differ_by_less_than_values_may_are_no_trouble() {
    let mut world = World::with_nodes(1, 3, 0);
    world.start_as(3, config(3), 5_000);
    world.start_as(4, config(4), -5_000);
    world.run(seconds(60));
    assert!((0..5).all(|node| troubles(&world, node).is_empty()));
}

#[test]
fn one_liar_about_time_troubles_nobody() {
    let mut world = World::with_nodes(1, 3, 0);
    world.start_as(3, config(3), 3_600_000);
    world.run(seconds(60));
    assert!((0..3).all(|node| troubles(&world, node).is_empty()));
}

#[test]
fn an_entrypoint_on_another_chain_is_told() {
    let mut world = World::new(1, 0);
    let mut other = config(0);
    other.shred_version = CHAIN + 1;
    other.entrypoints = vec![address(1)];
    world.start(other);
    world.start(config(1));
    world.run(seconds(10));
    let told = Trouble::OtherShredVersion { address: address(0), theirs: CHAIN + 1, ours: CHAIN };
    assert!(world.nodes[1].troubles.contains(&told), "{:?}", world.nodes[1].troubles);
    assert!(told.to_string().contains("hard fork"), "{told}");
}

#[test]
fn of_two_instances_the_older_one_hears_of_it_though_they_never_meet() {
    for seed in 0..8 {
        let mut world = World::with_nodes(seed, 3, 10);
        world.run(seconds(3));
        // A namesake of node 1, at address 3.
        world.start_as(1, later(3, 3_000_000), 0);
        assert!(world.run_until(seconds(20), |world| world.nodes[1].other_instances > 0), "seed {seed}");
        world.nodes[1].alive = false;
        world.run(seconds(20));
        assert_eq!(world.nodes[3].other_instances, 0, "seed {seed}: the newer one runs on");
        let listed = |node: usize| {
            let peers = &world.nodes[node].peers;
            peers.iter().find(|peer| peer.identity == identity(1).identity()).and_then(|peer| peer.addresses.gossip)
        };
        assert_eq!([listed(0), listed(2)], [Some(address(3)); 2], "seed {seed}");
    }
}

#[test]
fn of_two_instances_that_start_in_the_same_microsecond_exactly_one_goes() {
    let mut world = World::with_nodes(1, 3, 0);
    world.start_as(1, later(3, 0), 0);
    let gone = |world: &World| (world.nodes[1].other_instances > 0, world.nodes[3].other_instances > 0);
    assert!(world.run_until(seconds(20), |world| gone(world) != (false, false)));
    let (lower, higher) = gone(&world);
    world.nodes[if lower { 1 } else { 3 }].alive = false;
    world.run(seconds(20));
    assert_eq!(gone(&world), (lower, higher), "the other runs on");
    assert!(lower, "the lower address goes");
}

#[test]
fn a_node_that_restarts_at_once_is_not_stopped_by_what_is_left_of_its_former_life() {
    let mut world = World::with_nodes(1, 3, 0);
    world.run(seconds(10));
    world.nodes[1].alive = false;
    world.start_as(1, later(3, 1), 0);
    // Its clock was set back by ten seconds; its outset is later all the same.
    world.nodes[3].skew_ms = -10_000;
    world.run(seconds(30));
    assert_eq!(world.nodes[3].other_instances, 0);
    let listed = world.nodes[0].peers.iter().find(|peer| peer.identity == identity(1).identity()).expect("listed");
    assert_eq!((listed.addresses.gossip, listed.outset_us), (Some(address(3)), START.unix_ms * 1_000 + 1));
}

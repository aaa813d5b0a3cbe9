//! A hundred and a thousand gossip machines: news gets everywhere soon and not too often, what was apart comes together
//! again, and floods change nothing. `docs/gossip.md` has the figures of larger runs.

mod floods;

use std::{collections::BTreeMap, time::Duration};
use sundog_gossip::{GossipConfig, wire::value::Label};
use sundog_types::{Hash, Pubkey};
use sundog_validator::sim::{
    Network,
    gossip::{GossipWorld, GossipWorldConfig, Plan, Row, measure},
};

const SECOND: Duration = Duration::from_secs(1);

/// A thousand nodes, of which 50 speak and 3 of these vote.
fn thousand(loss_percent: u32) -> Row {
    let mut world = GossipWorld::new(GossipWorldConfig {
        seed: 11,
        nodes: 1_000,
        network: network(loss_percent),
        tracked: Some(50),
        ..GossipWorldConfig::default()
    });
    let plan = Plan { voters: 3, warm_s: 14, window_s: 8, ..Plan::usual(11, 1_000, loss_percent, 0) };
    plan.run(&mut world)
}

fn network(loss_percent: u32) -> Network {
    Network { loss_ppm: loss_percent * 10_000, ..GossipWorldConfig::default().network }
}

/// A hundred nodes, all of which speak and 4 vote.
fn hundred(loss_percent: u32) -> Row {
    measure(&Plan { voters: 4, warm_s: 14, window_s: 9, ..Plan::usual(16, 100, loss_percent, 0) })
}

/// Votes that nobody has pruned yet and those of the window reach 99 % of the nodes in so many rounds, and the latter in
/// fewer than four copies.
fn assert_soon(row: &Row, rounds: f64) {
    for spread in [&row.fresh, &row.settled] {
        assert!(spread.rounds[1].is_some_and(|reached| reached <= rounds), "{row:#?}");
    }
    assert!(row.copies["Vote"] < 4.0, "{row:#?}");
}

#[test]
fn without_loss_values_reach_99_percent_of_a_thousand_nodes_within_ten_rounds_before_and_after_pruning() {
    assert_soon(&thousand(0), 10.0);
}

#[test]
fn with_30_percent_loss_values_reach_99_percent_of_a_thousand_nodes_within_twenty_rounds_before_and_after_pruning() {
    assert_soon(&thousand(30), 20.0);
}

#[test]
fn a_hundred_nodes_that_keep_everything_are_as_soon_with_and_without_loss() {
    assert_soon(&hundred(0), 10.0);
    assert_soon(&hundred(30), 20.0);
}

#[test]
fn a_hundred_nodes_keep_up_while_a_fifth_of_them_leaves_and_comes_back() {
    let row = measure(&Plan { voters: 5, warm_s: 12, window_s: 20, ..Plan::usual(12, 100, 10, 20) });
    for spread in [&row.fresh, &row.settled] {
        assert!(spread.rounds[0].is_some_and(|rounds| rounds <= 5.0), "{row:#?}");
        assert!(spread.reached > 0.99, "{row:#?}");
    }
}

/// What a machine keeps, by label.
fn values(world: &GossipWorld, node: usize) -> BTreeMap<Label, Hash> {
    let table = world.hosts[node].gossip.as_ref().expect("it runs").table();
    let origins: Vec<Pubkey> = table.origins().copied().collect();
    let all = origins.iter().flat_map(|origin| table.values_of(origin));
    all.map(|(label, filed)| (label, *filed.value.hash())).collect()
}

fn origins(world: &GossipWorld, node: usize) -> Vec<Pubkey> {
    world.hosts[node].gossip.iter().flat_map(|gossip| gossip.table().origins()).copied().collect()
}

#[test]
fn halves_of_a_hundred_nodes_that_were_apart_for_twenty_minutes_come_to_know_the_same_nodes_and_values() {
    // Fewer rounds and pulls than usual: twenty minutes are long.
    let tune = |config: &mut GossipConfig| {
        (config.round_every, config.pull_every, config.pull_every_young) = (SECOND / 2, SECOND, SECOND / 2);
    };
    let mut world = GossipWorld::new(GossipWorldConfig { seed: 13, tune, ..GossipWorldConfig::default() });
    let everybody = |world: &GossipWorld| (0..100).all(|node| origins(world, node).len() == 100);
    assert!(world.run_until(60 * SECOND, SECOND, everybody), "they find each other");
    world.part(|node| (node % 2) as u8);
    world.run_for(1_200 * SECOND);
    assert!(!everybody(&world), "nodes without stake are forgotten by the other half");
    world.part(|_| 0);
    assert!(world.run_until(120 * SECOND, SECOND, everybody), "they find each other again");
    world.run_for(20 * SECOND);
    world.fall_quiet();
    // Contact infos of nodes without stake lapse after 15 s, the oldest are 7.5 s old.
    let equal = |world: &GossipWorld| (1..100).all(|node| values(world, node) == values(world, 0));
    assert!(world.run_until(7 * SECOND, SECOND / 4, equal), "values stay different");
    assert!(everybody(&world));
}

#[test]
fn of_two_instances_with_one_identity_the_newer_survives() {
    let mut world = GossipWorld::new(GossipWorldConfig { seed: 14, nodes: 30, ..GossipWorldConfig::default() });
    world.run_for(20 * SECOND);
    for node in [5, 29] {
        let twin = world.start_twin(node);
        let one = world.run_until(60 * SECOND, SECOND, |world| !world.hosts[node].runs());
        assert!(one, "the older instance of node {node} runs on");
        world.run_for(30 * SECOND);
        assert!(world.hosts[twin].runs(), "the newer instance of node {node} stopped");
    }
}

#[test]
fn one_seed_gives_one_history_and_another_seed_another() {
    let run = |seed| measure(&Plan { voters: 3, warm_s: 4, window_s: 10, ..Plan::usual(seed, 40, 10, 20) });
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).history, run(4).history);
}

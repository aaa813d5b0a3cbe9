//! Whole bulk sync machines against each other: a node far behind gets all blocks in order, whoever lies to it.

mod ledger;
mod limits;
mod world;

use ledger::{Ledger, main_chain};
use std::time::Duration;
use sundog_turbine::sync::{Input, Refusal};
use sundog_types::{Machine as _, Slot};
use world::{Lie, World};

const LONG: Duration = Duration::from_secs(600);
const SEED: u64 = 10;

/// A new node, and others that have the whole chain or lie about it.
fn world(seed: u64, others: &[Lie]) -> World {
    let mut world = World::new(seed);
    world.add(Ledger::default(), Lie::None);
    for lie in others {
        let ledger = match lie {
            Lie::Minority => minority(),
            _ => main_chain().clone(),
        };
        world.add(ledger, *lie);
    }
    world.introduce();
    world
}

/// The chain up to slot 250, and then a fork that the leaders signed and left at slot 420.
fn minority() -> Ledger {
    let mut fork = main_chain().until(250);
    fork.extend(77, 251..=420, 40);
    fork
}

/// Runs until the first node has executed the truth up to near its end.
#[track_caller]
fn arrive(world: &mut World, truth: &Ledger) -> Duration {
    let start = world.now;
    let near = truth.tip().0.saturating_sub(32);
    let wanted: Vec<_> = truth.0.range(..=near).map(|(slot, block)| (*slot, block.id)).collect();
    for _ in 0..6_000 {
        world.run(Duration::from_millis(100), |_| false);
        world.root(0, truth);
        let node = &world.nodes[0];
        if !node.sync.is_syncing() && wanted.iter().all(|block| node.executed.contains_key(block)) {
            return world.now.since(start);
        }
    }
    let node = &world.nodes[0];
    let missing = wanted.iter().find(|block| !node.executed.contains_key(block));
    panic!("it lacks {missing:?} at {:?}; {:?}; {:?}", node.chain, node.sync.metrics(), node.log);
}

fn logged(world: &World, what: &str) -> usize {
    world.nodes[0].log.iter().filter(|line| line.starts_with(what)).count()
}

#[test]
fn a_new_node_fetches_everything_in_order_and_hangs_up() {
    let mut world = world(1, &[Lie::None; 3]);
    let time = arrive(&mut world, main_chain());
    assert!(time < Duration::from_secs(5), "{time:?}");
    let node = &world.nodes[0];
    assert!(node.released.is_sorted_by_key(|block| block.0), "no block came twice or late");
    assert!(node.refused.is_empty());
    let mut servers: Vec<_> = node.released.iter().map(|block| block.2).collect();
    servers.sort_unstable();
    servers.dedup();
    assert!(servers.len() > 1, "they served side by side");
    assert_eq!((logged(&world, "CaughtUp"), logged(&world, "RepairFrom(Slot(0))")), (1, 1));
    world.run(Duration::from_secs(30), |_| false);
    assert!(world.nodes.iter().all(|node| node.sync.links() == (0, 0)));
}

#[test]
fn a_cluster_that_is_not_behind_says_hello_once_and_sleeps() {
    let mut world = World::new(2);
    for _ in 0..4 {
        world.add(main_chain().clone(), Lie::None);
    }
    world.introduce();
    world.run(Duration::from_secs(20), |_| false);
    assert!(world.nodes.iter().all(|node| node.sync.metrics().dials == 3));
    assert!(world.nodes.iter().all(|node| node.sync.poll_timeout().is_none()));
    let wakes = world.wakes;
    world.run(LONG, |_| false);
    assert_eq!(world.wakes, wakes, "an idle node has no timer");
}

#[test]
fn who_boasts_keeps_no_node_at_its_tip_from_repair() {
    let mut world = World::new(5);
    for lie in [Lie::None, Lie::BoastsForever, Lie::None] {
        world.add(main_chain().clone(), lie);
    }
    world.introduce();
    world.run(Duration::from_millis(500), |_| false);
    let near = main_chain().tip().0.saturating_sub(64);
    assert!(world.nodes[0].sync.is_syncing(), "it believes the boast until it is found out");
    assert_eq!(logged(&world, &format!("RepairFrom({near:?})")), 1);
    assert_eq!(logged(&world, "RepairFrom"), 1);
}

#[test]
fn a_node_to_which_nobody_listens_stops_to_dial() {
    let mut world = world(3, &[Lie::Absent; 5]);
    world.run(LONG * 10, |_| false);
    let dials = world.nodes[0].sync.metrics().dials;
    assert!((5..=20).contains(&dials), "{dials}");
    assert!(world.nodes[0].sync.poll_timeout().is_none());
}

#[test]
fn two_of_three_peers_may_lie_in_any_way() {
    let lies = [
        Lie::Absent,
        Lie::Mute,
        Lie::Silent,
        Lie::Boasts,
        Lie::BoastsForever,
        Lie::NotHeld,
        Lie::Omits,
        Lie::AllSkipped,
        Lie::Forges,
        Lie::Cuts,
        Lie::Minority,
        Lie::Garbage,
        Lie::Disorder,
        Lie::Unasked,
        Lie::Drips,
        Lie::HangsUp,
    ];
    for (seed, lie) in lies.into_iter().enumerate() {
        for truth_at in 0..3 {
            let mut others = [lie; 3];
            others[truth_at] = Lie::None;
            let mut world = world(SEED + seed as u64, &others);
            let time = arrive(&mut world, main_chain());
            let honest = world.nodes[1 + truth_at].key;
            assert!(time < Duration::from_secs(25), "{lie:?}, honest {truth_at}: {time:?}");
            if !matches!(lie, Lie::Minority | Lie::Omits | Lie::AllSkipped) {
                let wronged = world.nodes[0].refused.iter().find(|(peer, _)| *peer == honest);
                assert_eq!(wronged, None, "{lie:?}: the honest peer is never refused");
            }
        }
    }
}

#[test]
fn lies_of_different_kinds_do_not_help_each_other() {
    let pairs = [
        [Lie::Minority, Lie::Omits],
        [Lie::Boasts, Lie::Silent],
        [Lie::Forges, Lie::Minority],
        [Lie::AllSkipped, Lie::BoastsForever],
        [Lie::Drips, Lie::NotHeld],
    ];
    for (seed, [first, second]) in pairs.into_iter().enumerate() {
        let mut world = world(SEED + 50 + seed as u64, &[first, Lie::None, second]);
        let time = arrive(&mut world, main_chain());
        assert!(time < Duration::from_secs(30), "{first:?} and {second:?}: {time:?}");
    }
}

#[test]
fn killed_in_the_middle_it_goes_on_where_it_was() {
    let mut world = world(4, &[Lie::None; 3]);
    assert!(world.run(LONG, |world| world.nodes[0].chain.applied > Slot::new(300)));
    let (applied, before) = (world.nodes[0].chain.applied, world.nodes[0].released.len());
    world.restart(0);
    arrive(&mut world, main_chain());
    let again = &world.nodes[0].released[before..];
    assert!(again.iter().all(|block| block.0 > applied), "nothing is fetched twice");
}

#[test]
fn a_node_that_was_on_a_dead_fork_goes_back_to_its_root() {
    let mut world = World::new(5);
    world.add(minority(), Lie::None);
    let truth = main_chain();
    let root = truth.0.range(..=Slot::new(240)).next_back().unwrap();
    world.nodes[0].chain.root = *root.0;
    world.nodes[0].chain.root_id = Some(root.1.id);
    for _ in 0..3 {
        world.add(truth.clone(), Lie::None);
    }
    world.introduce();
    arrive(&mut world, truth);
    assert!(world.nodes[0].refused.is_empty(), "nobody is blamed for it");
}

#[test]
fn who_serves_a_block_that_execution_refuses_is_dropped() {
    let truth = main_chain();
    let mut world = World::new(6);
    world.add(Ledger::default(), Lie::None);
    let mut poisoned = truth.until(300);
    poisoned.extend(5, 301..=700, 80);
    let is_true = |id| truth.0.values().any(|block| block.id == id);
    let bad = poisoned.0.values().map(|block| block.id).filter(|id| !is_true(*id));
    world.nodes[0].bad = bad.collect();
    for ledger in [&poisoned, truth, &poisoned] {
        world.add(ledger.clone(), Lie::None);
    }
    world.introduce();
    arrive(&mut world, truth);
    assert!(world.nodes[0].refused.iter().any(|(_, why)| *why == Refusal::WrongBlock));
}

#[test]
fn servers_whose_roots_move_are_followed() {
    let mut world = world(7, &[Lie::None; 3]);
    for place in 1..4 {
        let (slot, block) = main_chain().0.range(..=Slot::new(300)).next_back().unwrap();
        let chain = &mut world.nodes[place].chain;
        (chain.root, chain.root_id) = (*slot, Some(block.id));
    }
    world.introduce();
    for (slot, block) in main_chain().0.range(Slot::new(301)..) {
        world.run(Duration::from_millis(20), |_| false);
        for place in 1..4 {
            (world.nodes[place].chain.root, world.nodes[place].chain.root_id) = (*slot, Some(block.id));
            let chain = world.nodes[place].chain;
            world.input(place, Input::Chain(chain));
        }
        world.nodes[0].chain.heard = *slot;
        let chain = world.nodes[0].chain;
        world.input(0, Input::Chain(chain));
    }
    arrive(&mut world, main_chain());
}

#[test]
fn a_node_older_than_every_ledger_is_stranded_and_says_so_once() {
    let mut world = World::new(8);
    world.add(Ledger::default(), Lie::None);
    for _ in 0..2 {
        let place = world.add(main_chain().clone(), Lie::None);
        world.nodes[place].chain.lowest = Slot::new(200);
    }
    world.introduce();
    world.run(Duration::from_secs(180), |_| false);
    assert_eq!(logged(&world, "Stranded { lowest: Slot(200), applied: Slot(0) }"), 1);
    assert!(!world.nodes[0].sync.is_syncing());
}

#[test]
fn a_block_that_is_wanted_by_its_id_is_fetched_from_whoever_has_it() {
    let truth = main_chain();
    let mut world = World::new(9);
    world.add(truth.clone(), Lie::None);
    let (slot, id) = {
        let fork = minority();
        world.add(truth.clone(), Lie::None);
        world.add(truth.clone(), Lie::Silent);
        world.add(fork.clone(), Lie::None);
        let (slot, block) = fork.0.range(Slot::new(260)..).next().unwrap();
        (*slot, block.id)
    };
    world.introduce();
    world.run(Duration::from_secs(60), |_| false);
    let node = &mut world.nodes[0];
    node.executed.extend(minority().0.iter().map(|(slot, block)| ((*slot, block.id), (block.parent, block.parent_id))));
    for epoch in 0..6 {
        world.input(0, Input::Epoch(ledger::epoch(epoch)));
    }
    world.input(0, Input::Wanted { slot, block_id: id });
    assert!(world.run(LONG, |world| world.nodes[0].released.iter().any(|block| (block.0, block.1) == (slot, id))));
    world.run(Duration::from_secs(60), |_| false);
    assert_eq!((world.nodes[0].sync.links(), world.nodes[0].sync.metrics().wanted_fetched), ((0, 0), 1));
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let mut world = world(seed, &[Lie::Minority, Lie::None, Lie::Omits]);
        arrive(&mut world, main_chain());
        (world.now, world.nodes[0].released.clone())
    };
    assert_eq!(history(3), history(3));
}

//! Machines that stop at once and come back from what was durable.

use super::*;

/// Runs until a node's own finalized slot has reached `slot`.
fn run_to_finalized(world: &mut World, host: usize, slot: u64) {
    let done = world.run_until(PATIENCE, |world| finalized(world, host) >= slot);
    assert!(done, "node {host} did not finalize {slot}: {:?}", world.outcome());
}

/// Runs until all nodes stand at one finalized block from `slot` on: there, equal banks have executed the same
/// transactions, each once.
fn same_banks(world: &mut World, slot: u64) {
    run_to_root(world, slot);
    let banks = |world: &World| -> Vec<_> {
        let views = world.hosts.iter().filter_map(|h| h.view.as_ref());
        views.map(|v| (v.finalized.slot(), v.finalized.hash(), v.finalized.transaction_count())).collect()
    };
    let level = world.run_until(PATIENCE, |world| banks(world).windows(2).all(|pair| pair[0].0 == pair[1].0));
    let banks = banks(world);
    assert!(level && banks.windows(2).all(|pair| pair[0] == pair[1]), "{banks:?}");
    holds(world);
}

#[test]
fn without_the_smallest_the_others_go_on_and_back_again_it_catches_up_and_votes() {
    let mut world = three(21);
    run_to_root(&mut world, 20);
    world.kill(2);
    let before = finalized(&world, 0);
    run_to_finalized(&mut world, 0, before + 40);
    run_to_finalized(&mut world, 1, before + 40);
    let votes = world.hosts[2].voted.len();
    world.start(2);
    let target = finalized(&world, 0) + 60;
    run_to_root(&mut world, target);
    assert!(world.hosts[2].voted.len() > votes + 20, "it votes again");
    same_banks(&mut world, target + 4);
}

#[test]
fn without_half_the_stake_nothing_is_finalized_and_with_it_again_everything() {
    let mut world = three(22);
    run_to_root(&mut world, 20);
    world.kill(0);
    let limit = world.config().slot * 20;
    run_for(&mut world, limit);
    let stopped: Vec<u64> = (1..3).map(|host| finalized(&world, host)).collect();
    run_for(&mut world, limit * 2);
    assert_eq!(
        stopped,
        (1..3).map(|host| finalized(&world, host)).collect::<Vec<_>>(),
        "finalized stops within 20 slots"
    );
    world.start(0);
    let target = stopped[0] + 60;
    for host in 0..3 {
        run_to_finalized(&mut world, host, target);
    }
    same_banks(&mut world, target);
}

#[test]
fn three_killed_at_once_go_on_from_their_disks_with_their_towers() {
    let mut world = three(23);
    run_to_root(&mut world, 50);
    for host in 0..3 {
        world.kill(host);
    }
    let durable: Vec<Slot> = (0..3).map(|host| durable_root(&world, host)).collect();
    assert!(durable.iter().all(|root| root.get() >= 40), "{durable:?}");
    let last: Vec<_> = world.hosts.iter().map(|h| h.voted.last().copied()).collect();
    let votes: Vec<usize> = world.hosts.iter().map(|h| h.voted.len()).collect();
    for (host, durable) in durable.iter().enumerate() {
        assert!(world.hosts[host].tower.is_some(), "a tower is on disk");
        world.start(host);
        let first = world.hosts[host].node.as_ref().expect("it runs").forks().root();
        assert_eq!(first, *durable, "it starts from its durable root");
    }
    run_to_root(&mut world, 100);
    for (host, (last, votes)) in world.hosts.iter().zip(last.into_iter().zip(votes)) {
        assert!(host.voted.get(votes).copied() > last, "the next vote is above the last one of the earlier life");
        let chain = host.rooted_chain(host.rooted.last().copied().expect("it rooted"));
        assert!(durable.iter().all(|root| chain.contains(root)), "the chain goes on from there");
    }
    same_banks(&mut world, 110);
}

fn durable_root(world: &World, host: usize) -> Slot {
    let store = std::sync::Arc::clone(&world.hosts[host].store);
    sundog_ledger::Ledger::new(store).root().expect("memory does not fail").expect("genesis at least")
}

#[test]
fn a_node_without_stake_and_without_a_ledger_joins_late_and_follows() {
    let config = WorldConfig { seed: 24, stakes: vec![1_000, 600, 400, 0], ..WorldConfig::default() };
    let mut world = World::new(config);
    world.kill(3);
    run_to_root(&mut world, 60);
    assert_eq!(root(&world, 3), Slot::ZERO, "it was not there");
    world.start(3);
    let behind = finalized(&world, 0);
    let caught_up =
        world.run_until(PATIENCE, |world| world.hosts[3].blocks.keys().last() > Some(&Slot::new(behind + 40)));
    assert!(caught_up, "{:?}", world.outcome());
    let view = world.hosts[3].view.clone().expect("a view");
    assert!(view.turbine.repaired > 0, "what it missed came by repair");
    assert!(world.hosts[3].voted.is_empty(), "without stake nobody votes");
    let tip = *world.hosts[0].blocks.keys().last().expect("blocks");
    let own = *world.hosts[3].blocks.keys().last().expect("blocks");
    assert!(tip.get() <= own.get() + 4, "it keeps up: {own} of {tip}");
    for (slot, hash) in &world.hosts[3].blocks {
        if let Some(known) = world.hosts[0].blocks.get(slot) {
            assert_eq!(hash, known, "slot {slot}");
        }
    }
    holds(&world);
}

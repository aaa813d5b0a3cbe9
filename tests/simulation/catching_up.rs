//! Nodes far behind: they fetch finalised blocks in bulk, and then keep up like everybody.

use super::*;
use sundog_turbine::sync::Refusal;
use sundog_validator::sim::SyncFault;

/// Three validators, and a machine without stake that is switched on later.
fn with_newcomer(seed: u64) -> World {
    let stakes = vec![1_000, 600, 400, 0];
    let mut world = World::new(WorldConfig { seed, stakes, ..WorldConfig::default() });
    world.kill(NEWCOMER);
    world
}

const NEWCOMER: usize = 3;

/// Runs until the cluster has finalized `slot`, by what the first node says.
fn run_cluster_to(world: &mut World, slot: u64) {
    let limit = world.config().slot * u32::try_from(slot + 200).expect("a short run");
    let done = world.run_until(limit, |world| finalized(world, 0) >= slot);
    assert!(done, "slot {slot} was not finalized: {:?}", world.outcome());
}

/// Blocks that bulk sync brought to a node in its present life.
fn synced(world: &World, host: usize) -> u64 {
    world.hosts[host].view.as_ref().map_or(0, |view| view.sync.blocks_released)
}

/// Runs until a node has rooted what the cluster has finalized by now, and some more that came after: it keeps up.
fn run_to_arrival(world: &mut World, host: usize) {
    let target = finalized(world, 0) + 80;
    let done = world.run_until(PATIENCE * 2, |world| root(world, host).get() >= target);
    assert!(done, "node {host} is at {} of {target}: {:?}", root(world, host), world.outcome());
    holds(world);
}

#[test]
fn a_node_stopped_for_a_thousand_slots_and_a_new_one_at_slot_two_thousand_catch_up_in_bulk() {
    let mut world = with_newcomer(61);
    run_cluster_to(&mut world, 1_000);
    world.kill(2);
    run_cluster_to(&mut world, 2_000);
    world.start(2);
    world.start(NEWCOMER);
    let began = world.now();
    run_to_arrival(&mut world, 2);
    run_to_arrival(&mut world, NEWCOMER);
    let took = world.now().since(began);
    // A fifth of the slots belongs to the stopped node and stays empty.
    assert!(synced(&world, 2) >= 750, "{} of the blocks came in bulk", synced(&world, 2));
    assert!(synced(&world, NEWCOMER) >= 1_700, "{} of the blocks came in bulk", synced(&world, NEWCOMER));
    assert!(took < Duration::from_secs(100), "virtual time: {took:?}");
    let blocks = |host: usize| world.hosts[host].blocks.clone();
    let (newcomer, old) = (blocks(NEWCOMER), blocks(0));
    assert!(newcomer.iter().all(|(slot, hash)| old.get(slot).is_none_or(|other| other == hash)));
}

#[test]
fn a_node_killed_in_the_middle_of_catching_up_goes_on_where_it_was() {
    let mut world = with_newcomer(62);
    run_cluster_to(&mut world, 600);
    world.start(NEWCOMER);
    let mut best = 0;
    for part in 1..=3 {
        let there = part * 150;
        let done = world.run_until(PATIENCE, |world| root(world, NEWCOMER).get() >= there);
        assert!(done, "{:?}", world.outcome());
        world.kill(NEWCOMER);
        world.start(NEWCOMER);
        let node = world.hosts[NEWCOMER].node.as_ref().expect("it runs");
        let from = node.forks().root().get();
        assert!(
            from >= there.saturating_sub(100) && from >= best,
            "it starts at {from} after {there}, before at {best}"
        );
        best = from;
    }
    run_to_arrival(&mut world, NEWCOMER);
}

/// Servers write their root to disk now and then, and tell peers of the newest: they show what is not marked there yet, too.
#[test]
fn honest_servers_are_never_blamed_wherever_their_roots_stand() {
    for more in [0, 5, 10] {
        let mut world = with_newcomer(66);
        run_cluster_to(&mut world, 150 + more);
        world.start(NEWCOMER);
        run_to_arrival(&mut world, NEWCOMER);
        let metrics = world.hosts[NEWCOMER].view.as_ref().expect("it runs").sync.clone();
        let refused: Vec<_> = Refusal::ALL.iter().copied().filter(|why| metrics.refused(*why) > 0).collect();
        assert_eq!(refused, [], "{more} slots later");
        assert!(metrics.blocks_released >= 100, "{} blocks came in bulk", metrics.blocks_released);
    }
}

/// A newcomer among three servers, two of which treat it so.
fn arrives_among(seed: u64, faults: [SyncFault; 2]) {
    let mut world = with_newcomer(seed);
    run_cluster_to(&mut world, 350);
    let honest = usize::try_from(seed % 3).expect("a small number");
    let liars = (0..3).filter(|host| *host != honest);
    for (host, fault) in liars.zip(faults) {
        world.hosts[host].sync_fault = Some(fault);
    }
    world.start(NEWCOMER);
    run_to_arrival(&mut world, NEWCOMER);
    assert!(synced(&world, NEWCOMER) >= 250, "{faults:?}: {} of the blocks came in bulk", synced(&world, NEWCOMER));
}

#[test]
fn with_two_of_three_servers_silent_it_still_arrives() {
    arrives_among(63, [SyncFault::Silent, SyncFault::Silent]);
}

#[test]
fn with_one_server_forging_and_one_cutting_blocks_off_it_still_arrives() {
    arrives_among(64, [SyncFault::Forges, SyncFault::CutsOff]);
}

#[test]
fn with_one_server_boasting_and_one_forging_it_still_arrives() {
    arrives_among(65, [SyncFault::Boasts, SyncFault::Forges]);
}

#[test]
fn with_one_server_boasting_and_one_silent_it_still_arrives() {
    arrives_among(66, [SyncFault::Boasts, SyncFault::Silent]);
}

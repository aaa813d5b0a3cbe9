//! Coordinated restarts: all stop, enough go on from one block on another shred version, and who is not told stays out.

use super::*;
use std::{collections::BTreeMap, sync::Arc};
use sundog_ledger::Ledger;
use sundog_types::store::{Batch, Store as _};
use sundog_validator::node::{RestartOrder, blocks_above};

/// What a node's disk holds: its root, and the whole blocks above it.
fn kept(world: &World, host: usize) -> (Slot, BTreeMap<Slot, Slot>) {
    let ledger = Ledger::new(Arc::<sundog_ledger::MemoryStore>::clone(&world.hosts[host].store));
    let root = ledger.root().expect("memory does not fail").expect("genesis at least");
    (root, blocks_above(&ledger, root).expect("memory does not fail"))
}

/// The newest slot that all disks hold: with what a node has of its peers and itself, it has all of what it voted for.
fn newest_common(world: &World) -> Slot {
    let kept: Vec<_> = (0..world.hosts.len()).map(|host| kept(world, host)).collect();
    let root = kept.iter().map(|(root, _)| *root).max().expect("hosts");
    let here = |slot: &&Slot| kept.iter().all(|(root, blocks)| root == *slot || blocks.contains_key(*slot));
    let slots: Vec<Slot> = kept[0].1.keys().copied().chain([kept[0].0]).collect();
    slots.iter().filter(here).copied().max().unwrap_or(root)
}

/// Stops all nodes; the slot that they can go on from. What they are remembered to have promised above it is void.
fn stop_all(world: &mut World) -> Slot {
    for host in 0..world.hosts.len() {
        // A clean stop: what was written is on disk.
        world.hosts[host].store.commit(&Batch::default(), true).expect("memory does not fail");
        world.kill(host);
    }
    let slot = newest_common(world);
    for host in &mut world.hosts {
        host.blocks.retain(|at, _| *at <= slot);
        host.parents.retain(|at, _| *at <= slot);
        host.voted.clear();
        host.votes.clear();
    }
    slot
}

fn order(slot: Slot) -> RestartOrder {
    RestartOrder { hard_forks: vec![slot], wait_at: Some(slot), bank_hash: None }
}

/// What a node says of who is there; `None` once it does not wait.
fn percent(world: &World, host: usize) -> Option<u64> {
    world.hosts[host].view.as_ref().expect("it runs").waiting.as_ref().map(sundog_validator::node::Attendance::percent)
}

fn version(world: &World, host: usize) -> u16 {
    let view = world.hosts[host].view.as_ref().expect("it runs");
    view.peers.iter().find(|peer| peer.identity == identity(world, host)).expect("itself").shred_version
}

/// F15. On 9 September 2026 Solana's testnet finalized nothing any more (slot 440004500), and was to go on from a slot
/// that its operators agreed on, with a hard fork. Nodes overflowed their stacks when they replayed that; why, was not
/// known when this was written. Here five nodes with equal stakes stop. Three of them back at the slot wait and do
/// nothing, a crash in between notwithstanding; with the fourth there are 80 percent, and they root on, on another
/// shred version, with all that was there before. The fifth, on the old version, neither hears nor disturbs them; told
/// of the hard fork, it joins. Afterwards no flag is needed.
#[test]
fn outage_f15_coordinated_restart() {
    let mut world = World::new(WorldConfig { seed: 901, stakes: vec![400; 5], ..WorldConfig::default() });
    run_to_root(&mut world, 12);
    let old = version(&world, 0);
    let transactions = world.hosts[0].view.as_ref().expect("it runs").finalized.transaction_count();
    let slot = stop_all(&mut world);
    (0..4).for_each(|host| world.hosts[host].restart = order(slot));

    (0..3).for_each(|host| world.start(host));
    run_for(&mut world, Duration::from_secs(15));
    world.kill(1);
    world.start(1);
    run_for(&mut world, Duration::from_secs(15));
    for host in 0..3 {
        assert_eq!(percent(&world, host), Some(60), "node {host}");
        let waits = &world.hosts[host];
        assert!(waits.voted.is_empty() && waits.blocks.keys().all(|at| *at <= slot), "node {host} does nothing");
    }

    world.start(3);
    let on = |world: &World, hosts: usize, to: u64| (0..hosts).all(|host| finalized(world, host) >= to);
    let goal = slot.get() + 40;
    assert!(world.run_until(PATIENCE, |world| on(world, 4, goal)), "{:?}", world.outcome());
    let new = version(&world, 0);
    assert!(old != new && (0..4).all(|host| version(&world, host) == new && percent(&world, host).is_none()));
    let bank = Arc::clone(&world.hosts[0].view.as_ref().expect("it runs").finalized);
    assert!(bank.transaction_count() > transactions, "what was there before still counts");
    assert!(world.hosts[0].rooted_chain(root(&world, 0)).contains(&slot), "they go on from the slot");

    // The fifth starts as it always did.
    world.start(4);
    let stays = finalized(&world, 4);
    let goal = finalized(&world, 0) + 20;
    assert!(world.run_until(PATIENCE, |world| on(world, 4, goal)), "it does not disturb them");
    assert_eq!(finalized(&world, 4), stays, "it hears nobody");
    assert_eq!(version(&world, 4), old);
    let told = world.hosts.iter().flat_map(|host| &host.troubles).find(|text| text.contains("--hard-fork"));
    assert!(told.is_some_and(|text| text.contains(&old.to_string()) && text.contains(&new.to_string())), "{told:?}");

    world.kill(4);
    world.hosts[4].voted.clear();
    world.hosts[4].votes.clear();
    world.hosts[4].blocks.retain(|at, _| *at <= slot);
    world.hosts[4].parents.retain(|at, _| *at <= slot);
    world.hosts[4].restart = RestartOrder { hard_forks: vec![slot], ..RestartOrder::default() };
    world.start(4);
    let goal = finalized(&world, 0) + 40;
    assert!(world.run_until(PATIENCE, |world| on(world, 5, goal)), "it joins: {:?}", world.outcome());
    assert!(world.hosts[4].voted.len() > 5, "it votes again");

    // Without any flag the ledger knows, and with the same flags nothing happens twice.
    for (host, restart) in [(2, RestartOrder::default()), (3, order(slot))] {
        world.kill(host);
        world.hosts[host].restart = restart;
        world.start(host);
    }
    let goal = finalized(&world, 0) + 40;
    assert!(world.run_until(PATIENCE, |world| on(world, 5, goal)), "{:?}", world.outcome());
    assert!((0..5).all(|host| version(&world, host) == new));
    assert_eq!(world.outcome().conflict, None);
    oracle::lockouts_kept(&world);
}

#[test]
fn what_contradicts_the_ledger_is_refused_with_what_would_fit_and_changes_nothing() {
    let mut world = three(902);
    run_to_root(&mut world, 20);
    world.kill(2);
    let (root, blocks) = kept(&world, 2);
    let newest = *blocks.keys().next_back().expect("blocks above the root");
    let mut refused = |order: RestartOrder| {
        world.hosts[2].restart = order;
        world.try_start(2).expect_err("it contradicts").to_string()
    };
    let fork = |slot| RestartOrder { hard_forks: vec![Slot::new(slot)], ..RestartOrder::default() };
    let said = refused(fork(3));
    assert!(
        said.contains("--hard-fork 3 contradicts the ledger") && said.contains(&format!("rooted at {root}")),
        "{said}"
    );
    let said = refused(order(Slot::new(90_000)));
    assert!(said.contains("slot 90000") && said.contains(&format!("restarted at {newest}")), "{said}");
    let said = refused(RestartOrder { bank_hash: Some(sundog_types::Hash::default()), ..order(newest) });
    assert!(said.contains("--expected-bank-hash") && said.contains("nothing was changed"), "{said}");
    let said = refused(RestartOrder { wait_at: Some(newest), ..RestartOrder::default() });
    assert!(said.contains(&format!("--wait-for-supermajority {newest} is beyond the root")), "{said}");

    assert_eq!(kept(&world, 2), (root, blocks), "nothing was changed");
    world.hosts[2].restart = RestartOrder::default();
    world.start(2);
    let goal = finalized(&world, 0) + 40;
    run_to_root(&mut world, goal);
    holds(&world);
}

#[test]
fn a_node_without_a_ledger_joins_a_restarted_chain_with_the_flag_and_its_void_tower() {
    let mut world = three(903);
    run_to_root(&mut world, 12);
    let slot = stop_all(&mut world);
    (0..3).for_each(|host| world.hosts[host].restart = order(slot));
    (0..2).for_each(|host| world.start(host));
    let goal = slot.get() + 80;
    let on = |world: &World, hosts: usize, to: u64| (0..hosts).all(|host| finalized(world, host) >= to);
    assert!(world.run_until(PATIENCE, |world| on(world, 2, goal)), "80 percent: {:?}", world.outcome());

    world.hosts[2].store = Arc::default();
    let refused = world.try_start(2).expect_err("it has not the block to wait at").to_string();
    assert!(refused.contains(&format!("restarted at slot {slot}")) && refused.contains("0, its root"), "{refused}");
    world.hosts[2].restart.wait_at = None;
    world.start(2);
    let goal = finalized(&world, 0) + 60;
    assert!(world.run_until(PATIENCE, |world| on(world, 3, goal)), "{:?}", world.outcome());
    let (first, third) = (&world.hosts[0].blocks, &world.hosts[2].blocks);
    assert!(third.range(..slot).count() > 5, "it executed blocks of the old version");
    assert!(third.range(..slot).all(|(at, hash)| first.get(at).is_none_or(|known| known == hash)));
    assert!(world.hosts[2].voted.len() > 5, "it votes");
    assert_eq!(world.outcome().conflict, None);
}

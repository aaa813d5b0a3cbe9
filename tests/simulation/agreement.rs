//! Healthy and lossy clusters: one chain, rotating leaders, epochs, and one history for one seed.

use super::*;
use std::collections::BTreeSet;
use sundog_types::{Epoch, Hash};
use sundog_validator::sim::Network;

/// The leaders of the blocks on a node's rooted chain.
fn leaders_of_blocks(world: &World, host: usize) -> Vec<Pubkey> {
    let host = &world.hosts[host];
    let leaders = &host.view.as_ref().expect("a view is published at the start").leaders;
    let chain = host.rooted_chain(host.rooted.last().copied().unwrap_or_default());
    chain.into_iter().filter_map(|slot| leaders.leader(slot)).collect()
}

#[test]
fn three_validators_root_forty_slots_of_one_chain_and_fill_nearly_all() {
    let mut world = three(1);
    run_to_root(&mut world, 40);
    holds(&world);
    for slot in (1..=40).map(Slot::new) {
        let blocks: BTreeSet<_> = world.hosts.iter().map(|h| h.blocks.get(&slot)).collect();
        assert_eq!(blocks.len(), 1, "slot {slot} is the same on all nodes");
    }
    let filled = world.hosts[0].rooted_chain(root(&world, 0)).iter().filter(|slot| slot.get() <= 40).count();
    assert!(filled >= 38, "{filled} of 40 slots carry a block");
    assert!(world.hosts.iter().all(|h| h.dead.is_empty()), "nobody lies here");
}

#[test]
fn leadership_rotates_over_all_three_in_windows_of_four() {
    let mut world = three(2);
    run_to_root(&mut world, 100);
    let made = leaders_of_blocks(&world, 1);
    let led: BTreeSet<Pubkey> = made.iter().copied().collect();
    assert_eq!(led, (0..3).map(|host| identity(&world, host)).collect());
    for host in &world.hosts {
        let seen: BTreeSet<Pubkey> = host.started.values().copied().collect();
        assert_eq!(seen, led, "every node sees everybody lead");
    }
    let leaders = &world.hosts[0].view.as_ref().unwrap().leaders;
    for first in (0..100).step_by(4) {
        let window: BTreeSet<_> = (first..first + 4).map(|slot| leaders.leader(Slot::new(slot))).collect();
        assert_eq!(window.len(), 1, "slots {first} to {} have one leader", first + 3);
    }
}

#[test]
fn a_seed_has_one_history_and_another_seed_another() {
    let history = |seed| -> Hash {
        let mut world = three(seed);
        run_to_root(&mut world, 8);
        world.history()
    };
    let histories: Vec<Hash> = (1..=4).map(history).collect();
    for (seed, first) in (1..=4).zip(&histories) {
        assert_eq!(history(seed), *first, "seed {seed} again");
    }
    assert_eq!(histories.iter().collect::<BTreeSet<_>>().len(), 4, "four seeds, four histories");
}

#[test]
fn a_tenth_of_all_datagrams_lost_does_not_stop_the_chain() {
    for seed in [1, 2, 3] {
        let network = Network { loss_ppm: 100_000, ..Network::default() };
        let mut world = World::new(WorldConfig { seed, network, ..WorldConfig::default() });
        run_to_root(&mut world, 40);
        holds(&world);
        let outcome = world.outcome();
        assert!(outcome.nodes.iter().all(|n| n.skipped <= 8), "{outcome:?}");
    }
}

#[test]
fn two_epoch_boundaries_are_crossed_and_each_epoch_has_its_own_schedule() {
    let config =
        WorldConfig { seed: 5, slots_per_epoch: 128, slot: Duration::from_millis(100), ..WorldConfig::default() };
    let mut world = World::new(config);
    run_to_root(&mut world, 264);
    holds(&world);
    let view = world.hosts[2].view.clone().unwrap();
    let schedule = |epoch: u64| -> Vec<Pubkey> {
        let schedule = view.leaders.schedule(Epoch::new(epoch)).expect("the schedule of an epoch that was entered");
        (0..128).map(|index| schedule.leader_at(index)).collect()
    };
    assert_ne!(schedule(1), schedule(2), "each epoch shuffles anew");
    assert_ne!(schedule(0), schedule(1));
    let host = &world.hosts[2];
    let chain = host.rooted_chain(root(&world, 2));
    let filled = |epoch: u64| chain.iter().filter(|slot| slot.get() / 128 == epoch).count();
    assert!(filled(0) >= 121 && filled(1) >= 121, "{} and {} of 128 slots carry a block", filled(0), filled(1));
    for slot in chain {
        let (epoch, index) = (slot.get() / 128, slot.get() % 128);
        let due = schedule(epoch)[usize::try_from(index).unwrap()];
        assert_eq!(host.started.get(&slot), Some(&due), "slot {slot} is led as its epoch's schedule says");
    }
    assert_eq!(view.finalized.epoch(), Epoch::new(2));
}

#[test]
fn votes_earn_credits_on_every_vote_account() {
    let mut world = three(6);
    let credits = |world: &World| -> Vec<u64> {
        let bank = &world.hosts[1].view.as_ref().unwrap().finalized;
        let last = |account: &sundog_runtime::VoteAccount| account.epoch_credits.last().map_or(0, |(_, now, _)| *now);
        bank.vote_accounts().iter().map(last).collect()
    };
    run_to_root(&mut world, 40);
    let before = credits(&world);
    run_to_root(&mut world, 80);
    let after = credits(&world);
    assert_eq!(after.len(), 3);
    for (before, after) in before.iter().zip(&after) {
        assert!(
            after >= &(before + 30 * 8),
            "about forty votes deepened to roots earn up to 16 each: {before} to {after}"
        );
    }
}

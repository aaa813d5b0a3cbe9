//! Leader windows: who waits for whom, what a dead leader costs, and who makes no block though it is its turn.

use super::*;
use solana_signer::Signer as _;
use std::collections::BTreeSet;
use sundog_turbine::Shredder;
use sundog_types::{
    Hash,
    shred::{View, shred_version},
    sign::Identity,
    store::{Batch, Store as _},
};
use sundog_validator::{payments, sim::Network};

/// Three validators with slots of a tenth of a second on a quick network: blocks arrive well within their slots.
fn quick(seed: u64) -> World {
    let slot = Duration::from_millis(100);
    let network = Network { delay_min: Duration::from_millis(2), delay_max: Duration::from_millis(8), loss_ppm: 0 };
    World::new(WorldConfig { seed, slot, network, ..WorldConfig::default() })
}

fn leader(world: &World, slot: Slot) -> Option<Pubkey> {
    let view = world.hosts.iter().find_map(|host| host.node.as_ref().and(host.view.as_ref()))?;
    view.leaders.leader(slot)
}

/// The number of the node that leads a slot.
fn leads(world: &World, slot: Slot) -> usize {
    let leader = leader(world, slot).expect("an epoch that is known");
    (0..world.hosts.len()).find(|host| identity(world, *host) == leader).expect("one of the hosts")
}

/// The first slot of the next window of a node at least so many slots away that comes after one of another node, and is
/// followed by another's.
fn next_window(world: &World, host: usize, ahead: u64) -> Slot {
    let view = world.hosts[host].view.as_ref().expect("it runs");
    let from = view.clock_slot.saturating_add(ahead).get().next_multiple_of(4);
    let alone = |slot: &u64| {
        let at = |slot: u64| leads(world, Slot::new(slot)) == host;
        at(*slot) && !at(slot - 4) && !at(slot + 4)
    };
    Slot::new((from..from + 4_000).step_by(4).find(alone).expect("everybody leads"))
}

/// Own slots of which a node has sent shreds since the world listens.
fn own(world: &World, host: usize) -> BTreeSet<Slot> {
    let sent = world.wire.kept().iter().filter(|sent| sent.from == host);
    let slots: BTreeSet<Slot> = sent.map(|sent| View::read(&sent.bytes).expect("nodes send shreds").slot()).collect();
    slots.into_iter().filter(|slot| leads(world, *slot) == host).collect()
}

/// Runs until the newest block anywhere is of this slot or a later one.
fn run_to_block(world: &mut World, slot: Slot) {
    let came = world.run_until(PATIENCE, |world| {
        let newest = |host: &sundog_validator::sim::Host| host.blocks.keys().next_back().copied();
        world.hosts.iter().filter(|host| host.node.is_some()).any(|host| newest(host) >= Some(slot))
    });
    assert!(came, "slot {slot}: {:?}", world.outcome());
}

/// Runs until a node's clock is in this slot.
fn run_to_slot(world: &mut World, host: usize, slot: Slot) {
    let came = world.run_until(PATIENCE, |world| {
        let node = world.hosts[host].node.as_ref().expect("it runs");
        node.clock_slot(world.now()) >= slot
    });
    assert!(came, "slot {slot}: {:?}", world.outcome());
}

#[test]
fn a_dead_leader_costs_its_own_slots_and_no_others() {
    let mut world = three(801);
    run_to_root(&mut world, 8);
    world.kill(2);
    let from = world.hosts[0].view.as_ref().expect("it runs").clock_slot.saturating_add(8);
    let target = from.get() + 120;
    run_to_root(&mut world, target);
    let chain: BTreeSet<Slot> = world.hosts[0].rooted_chain(root(&world, 0)).into_iter().collect();
    let missing: Vec<Slot> = (from.get()..target).map(Slot::new).filter(|slot| !chain.contains(slot)).collect();
    assert!(missing.len() >= 8, "node 2 would have led some of these: {missing:?}");
    for slot in missing {
        assert_eq!(leads(&world, slot), 2, "slot {slot} is missing and its leader is alive");
    }
    holds(&world);
}

#[test]
fn two_slots_are_given_to_a_leader_that_stopped_in_its_window_and_none_to_one_that_never_began() {
    let mut seen = [0; 2];
    for seed in [802, 803] {
        let mut world = quick(seed);
        world.wire.keep();
        run_to_root(&mut world, 8);
        for stops_after in [2, 0] {
            // The largest goes on after it.
            let window = next_window(&world, 2, 6);
            let next = window.saturating_add(4);
            if stops_after == 0 {
                run_to_slot(&mut world, 2, window.saturating_sub(2));
            } else {
                let last = window.saturating_add(stops_after - 1);
                let ended = world.run_until(PATIENCE, |world| world.wire.ended(last));
                assert!(ended, "slot {last} is made");
            }
            world.kill(2);
            run_to_block(&mut world, next.saturating_add(3));
            let successor = leads(&world, next);
            let begun: Vec<u64> = own(&world, successor).range(next..).map(|slot| slot.get() - next.get()).collect();
            let first = begun.first().copied();
            let expected = if stops_after == 0 { 0 } else { 2 };
            assert_eq!(first, Some(expected), "seed {seed}: after {stops_after} blocks of {window}: {begun:?}");
            seen[usize::from(stops_after == 0)] += 1;
            world.start(2);
            let target = next.get() + 60;
            run_to_root(&mut world, target);
        }
        holds(&world);
    }
    assert_eq!(seen, [2, 2]);
}

#[test]
fn a_slot_of_which_shreds_are_on_disk_is_not_led_again_and_the_next_one_is() {
    let mut world = quick(804);
    run_to_root(&mut world, 8);
    let slot = next_window(&world, 1, 40);
    // An earlier life began it, and its mark is lost: nobody but the holder of the key can have made these.
    world.kill(1);
    let version = shred_version(&world.genesis.hash(), &[]);
    let mut shredder = Shredder::new(slot, slot.saturating_sub(1), version, Hash::default()).expect("a parent");
    let keys = Identity::new(world.hosts[1].identity.insecure_clone());
    let sets = shredder.shred(&[7; 2_000], 1, false, &keys).expect("room");
    let mut batch = Batch::default();
    sundog_ledger::put_shreds(&mut batch, &sets[0].data[..4]);
    world.hosts[1].store.commit(&batch, true).expect("memory does not fail");
    world.start(1);
    run_to_block(&mut world, slot.saturating_add(3));
    assert!(world.hosts[1].node.as_ref().expect("it runs").clock_slot(world.now()) > slot);
    assert_eq!(world.wire.sets(slot), 0, "it would be a second version of slot {slot}");
    assert!(world.wire.ended(slot.next()), "the rest of the window is its own");
    run_to_root(&mut world, slot.get() + 8);
    assert!(!world.hosts[0].blocks.contains_key(&slot) && world.hosts[0].blocks.contains_key(&slot.next()));
    holds(&world);
}

/// Node 2 is away for so many slots of the others, and back, with its tower or without; the newest block and the number of
/// its votes then.
fn away(world: &mut World, (slots, keeps_tower): (u64, bool)) -> (Slot, usize) {
    world.kill(2);
    let gone_at = finalized(world, 0);
    let done = world.run_until(PATIENCE, |world| finalized(world, 0) >= gone_at + slots);
    assert!(done, "{:?}", world.outcome());
    let tip = *world.hosts[0].blocks.keys().next_back().expect("it made some");
    let votes = world.hosts[2].voted.len();
    world.hosts[2].tower.take_if(|_| !keeps_tower);
    world.start(2);
    (tip, votes)
}

#[test]
fn a_node_that_comes_back_makes_no_block_before_it_has_caught_up_and_a_vote_of_its_new_life_is_in_a_block() {
    for seed in [805, 806] {
        let mut world = quick(seed);
        run_to_root(&mut world, 8);
        world.wire.keep();
        let (tip, votes) = away(&mut world, (100, true));
        let before = own(&world, 2);
        let mut first = None;
        for _ in 0..600 {
            run_for(&mut world, Duration::from_millis(50));
            first = own(&world, 2).difference(&before).next().copied();
            if first.is_some() {
                break;
            }
        }
        let first = first.unwrap_or_else(|| panic!("seed {seed}: it leads again: {:?}", world.outcome()));
        assert!(first > tip, "seed {seed}: {first} is no slot of the past");
        let node = world.hosts[2].node.as_ref().expect("it runs");
        let mut parents = node.forks().chain_to(node.forks().highest());
        parents.retain(|slot| *slot < first);
        let parent = *parents.last().expect("it builds on a block above its root");
        assert!(parent.get() + 8 > first.get() && parent > tip, "seed {seed}: {first} is built on {parent}");
        let bank = &node.forks().get(parent).expect("it is frozen").bank;
        let vote = world.hosts[2].vote.pubkey();
        let account = bank.vote_accounts().into_iter().find(|account| account.pubkey == vote).expect("it is there");
        let newest = account.lockouts.last().map(|(slot, _)| Slot::new(*slot));
        let first_vote = world.hosts[2].voted.get(votes).copied();
        assert!(
            first_vote.is_some() && newest >= first_vote,
            "seed {seed}: {newest:?} is on chain, not {first_vote:?}"
        );
        run_to_root(&mut world, first.get() + 40);
        holds(&world);
    }
}

#[test]
fn far_beyond_the_root_blocks_hold_votes_alone_until_it_moves() {
    let mut world = quick(808);
    run_to_root(&mut world, 8);
    world.kill(0);
    let stands = root(&world, 1).max(root(&world, 2));
    let newest = |world: &World| world.hosts[1].blocks.keys().next_back().copied().unwrap_or_default();
    let far = world.run_until(PATIENCE, |world| newest(world).get() > stands.get() + 404);
    assert!(far, "half of the stake makes blocks: {:?}", world.outcome());
    assert!(root(&world, 1) <= stands.saturating_add(4), "and roots none");
    let balance = |world: &World, host: usize, address: &Pubkey| {
        let node = world.hosts[host].node.as_ref().expect("it runs");
        let bank = &node.forks().get(node.forks().highest()).expect("it is frozen").bank;
        let lamports = bank.account(address).map_or(0, |account| solana_account::ReadableAccount::lamports(&account));
        (lamports, bank.last_blockhash())
    };
    let to = Pubkey::new_from_array([77; 32]);
    let pay = |world: &mut World| {
        let (_, blockhash) = balance(world, 1, &to);
        let transfer = payments::transfer(&World::faucet(808), &to, 5_000_000, blockhash);
        let bytes: bytes::Bytes = bincode::serialize(&transfer).expect("a transaction serialises").into();
        for host in [1, 2] {
            world.submit(host, vec![bytes.clone()]);
        }
    };
    pay(&mut world);
    let at = newest(&world).get() + 12;
    run_to_block(&mut world, Slot::new(at));
    assert_eq!(balance(&world, 1, &to).0, 0, "it waits");
    world.start(0);
    run_to_root(&mut world, at);
    pay(&mut world);
    let paid = world.run_until(Duration::from_secs(20), |world| balance(world, 1, &to).0 > 0);
    assert!(paid, "the root moved, and it lands: {:?}", world.outcome());
    holds(&world);
}

#[test]
fn a_node_that_does_not_vote_makes_no_block_while_the_others_go_on() {
    let mut world = quick(807);
    run_to_root(&mut world, 8);
    // Without its tower it hears and executes everything, and refuses to vote.
    let (tip, votes) = away(&mut world, (20, false));
    world.wire.keep();
    let target = tip.get() + 150;
    let done = world.run_until(PATIENCE, |world| finalized(world, 0) >= target);
    assert!(done, "the others go on: {:?}", world.outcome());
    let turns = (tip.get() + 40..target).filter(|slot| leads(&world, Slot::new(*slot)) == 2).count();
    let follows = root(&world, 2).get() + 40 > finalized(&world, 0);
    assert!(turns >= 4 && follows && world.hosts[2].voted.len() == votes, "it had {turns} turns");
    assert_eq!(own(&world, 2), BTreeSet::new(), "it took none of them");
    world.kill(2);
    world.hosts[2].tower_policy.vote_without = true;
    world.start(2);
    let target = finalized(&world, 0) + 150;
    run_to_root(&mut world, target);
    assert!(world.hosts[2].voted.len() > votes && !own(&world, 2).is_empty(), "it votes, and leads again");
    holds(&world);
}

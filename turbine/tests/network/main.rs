//! Whole Turbine machines against each other: blocks arrive, whatever the network does.

mod ancestors;
mod hostile;
mod limits;
mod repair;
mod world;

use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use sundog_turbine::{DropReason, Effect, Input, ShredSource as _, Shredder, Status, Turbine, TurbineConfig};
use sundog_types::{
    Hash, Machine as _, Slot,
    shred::{DropReason as ShredDrop, Gate, Gates, Shred},
    sign::{Sign as _, SignRole},
};
use world::{SHRED_VERSION, Weather, World};

const FOUR: [u64; 4] = [1_000, 600, 400, 200];

fn config() -> TurbineConfig {
    TurbineConfig::new(SHRED_VERSION).validate().unwrap()
}

fn slot(number: u64) -> Slot {
    Slot::new(number)
}

/// Leads slots `from..=to` in a row, one each 400 ms.
fn lead(world: &mut World, from: u64, to: u64) {
    for number in from..=to {
        world.tip(slot(number));
        if world.nodes[world.leader(slot(number))].alive {
            let parent = (0..number).rev().find(|parent| {
                *parent == 0 || world.nodes[world.leader(slot(number))].complete.contains_key(&slot(*parent))
            });
            world.lead(slot(number), slot(parent.unwrap()), 3);
        }
        world.run(Duration::from_millis(400));
    }
}

/// All living nodes have the same complete blocks, and each block's batches are those of its leader.
#[track_caller]
fn check_agreement(world: &World, from: u64, to: u64) {
    for number in (from..=to).map(slot) {
        let leader = &world.nodes[world.leader(number)];
        let Some(block_id) = leader.complete.get(&number) else {
            continue;
        };
        assert!(block_id.is_some());
        for node in world.nodes.iter().filter(|node| node.alive) {
            assert_eq!(node.complete.get(&number), Some(block_id), "slot {number}");
            assert_eq!(node.data.get(&number), leader.data.get(&number), "slot {number}");
        }
    }
}

#[test]
fn every_block_arrives_over_a_network_that_loses_a_third() {
    for seed in 0..3 {
        let mut world = World::new(seed, &FOUR, config());
        world.weather = Weather { shreds_lost: 35, repair_lost: 20, hidden: None };
        lead(&mut world, 1, 12);
        world.tip(slot(14));
        world.run(Duration::from_secs(6));
        check_agreement(&world, 1, 12);
        let recovered: u64 = world.nodes.iter().map(|node| node.turbine.metrics().recovered).sum();
        let repaired: u64 = world.nodes.iter().map(|node| node.turbine.metrics().repaired).sum();
        assert!(recovered > 0 && repaired > 0);
        for node in &world.nodes {
            assert!(node.turbine.poll_timeout().is_none(), "nothing is missing, nothing to do");
            assert!(node.duplicate.is_empty() && node.dead.is_empty());
        }
    }
}

#[test]
fn without_loss_no_shred_is_asked_for_or_passed_on_twice() {
    let mut world = World::new(1, &FOUR, config());
    lead(&mut world, 1, 8);
    check_agreement(&world, 1, 8);
    for node in &world.nodes {
        assert_eq!(node.turbine.metrics().repair_requests, 0);
        assert!(node.retransmitted.values().all(|times| *times <= world.nodes.len() as u32));
    }
}

#[test]
fn blocks_arrive_while_the_node_with_the_most_stake_is_down() {
    let mut world = World::new(2, &FOUR, config());
    world.nodes[0].alive = false;
    lead(&mut world, 1, 16);
    world.run(Duration::from_secs(4));
    assert!((1..=16).any(|number| world.nodes[1].complete.contains_key(&slot(number))));
    check_agreement(&world, 1, 16);
}

#[test]
fn a_slot_that_turbine_never_brought_is_fetched_once_its_child_is_here() {
    let mut world = World::new(3, &FOUR, config());
    world.weather.hidden = Some(slot(2));
    lead(&mut world, 1, 2);
    let leader = world.leader(slot(2));
    let other = (leader + 1) % 4;
    assert!(world.nodes[other].turbine.slot_status(slot(2)).is_none());
    world.tip(slot(3));
    world.lead(slot(3), slot(2), 2);
    world.run(Duration::from_secs(3));
    check_agreement(&world, 1, 3);
}

#[test]
fn a_wanted_slot_is_fetched_with_its_ancestors() {
    let mut world = World::new(4, &FOUR, config());
    let away = (world.leader(slot(1)) + 1) % 4;
    world.nodes[away].alive = false;
    lead(&mut world, 1, 5);
    world.nodes[away].alive = true;
    let last = (1..=5).rev().find(|number| world.leader(slot(*number)) != away).unwrap();
    world.input(away, Input::Wanted(vec![slot(last)]));
    world.run(Duration::from_secs(4));
    check_agreement(&world, 1, 5);
}

#[test]
fn a_node_that_slept_for_hundreds_of_slots_catches_up() {
    let mut world = World::new(5, &FOUR, config());
    world.nodes[3].alive = false;
    for number in 1..=300 {
        world.tip(slot(number));
        if world.leader(slot(number)) != 3 {
            let parent = (1..number).rev().find(|parent| world.leader(slot(*parent)) != 3).unwrap_or(0);
            world.lead(slot(number), slot(parent), 1);
        }
        world.run(Duration::from_millis(100));
    }
    world.nodes[3].alive = true;
    lead(&mut world, 301, 302);
    let mut seconds = 0;
    while (1..=300).map(slot).any(|slot| world.leader(slot) != 3 && !world.nodes[3].complete.contains_key(&slot)) {
        world.run(Duration::from_secs(1));
        seconds += 1;
        assert!(seconds < 20, "{} slots in {seconds} s", world.nodes[3].complete.len());
    }
    check_agreement(&world, 1, 300);
}

#[test]
fn the_same_seed_makes_the_same_history() {
    let run = |seed| {
        let mut world = World::new(seed, &FOUR, config());
        world.weather = Weather { shreds_lost: 30, repair_lost: 30, hidden: None };
        lead(&mut world, 1, 4);
        world.run(Duration::from_secs(2));
        world.trace()
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
}

#[test]
fn a_restarted_node_gathers_from_its_ledger_without_sending_or_storing() {
    let mut world = World::new(6, &FOUR, config());
    lead(&mut world, 1, 3);
    let (data, complete) = (world.nodes[2].data.clone(), world.nodes[2].complete.clone());
    world.restart(2, config());
    for number in 1..=3 {
        let shreds = world.nodes[2].shelf.of_slot(slot(number));
        let now = world.now;
        let mut out = Vec::new();
        world.nodes[2].turbine.handle(now, Input::Stored { shreds }, &mut out);
        let mut batches = Vec::new();
        for effect in out {
            match effect {
                Effect::Data { batch, .. } => batches.push(batch),
                Effect::Complete { slot, block_id, .. } => {
                    assert_eq!(Some(&block_id), complete.get(&slot))
                }
                Effect::SlotStarted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(Some(&batches), data.get(&slot(number)));
        assert!(matches!(world.nodes[2].turbine.slot_status(slot(number)), Some(Status::Complete(Some(_)))));
    }
}

/// A node that is not the slot's leader, and a block of 4 sets for the slot.
fn follower(seed: u8) -> (World, usize, Slot, Vec<Bytes>) {
    follower_of(World::new(seed, &FOUR, config()))
}

/// All rules but that on retransmitters' signatures: shreds may come straight from the leader.
fn lax() -> Gates {
    let rules = Gate::ALL.into_iter().filter(|gate| *gate != Gate::RetransmitterSignature);
    rules.fold(Gates::NONE, Gates::with)
}

fn follower_of(mut world: World) -> (World, usize, Slot, Vec<Bytes>) {
    world.set_gates(lax());
    let slot = world.slot_of(0, 10);
    let sets = world.block(slot, slot.previous().unwrap(), 4);
    let shreds = sets.iter().flat_map(|set| set.data.iter().chain(&set.code));
    let shreds = shreds.map(|shred| shred.payload().clone()).collect();
    world.tip(slot);
    (world, 1, slot, shreds)
}

fn receive(world: &mut World, node: usize, shred: &Bytes) {
    world.input(node, Input::Shred { bytes: shred.clone(), from: world::SOMEBODY });
}

fn dropped(world: &World, node: usize, why: DropReason) -> u64 {
    world.nodes[node].turbine.metrics().dropped(why)
}

#[test]
fn batches_come_out_as_they_went_in_whatever_the_order_of_shreds() {
    let (mut world, node, slot, _) = follower(19);
    let batches: [Vec<u8>; 5] = [vec![], vec![1; 100], vec![2; 70_000], vec![], vec![3; 60_000]];
    let mut shredder = Shredder::new(slot, slot.previous().unwrap(), SHRED_VERSION, Hash::default()).unwrap();
    let signer = Arc::clone(&world.nodes[world.leader(slot)].identity);
    let mut shreds = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        for set in shredder.shred(batch, 1, number == 4, &*signer).unwrap() {
            shreds.extend(set.data.into_iter().map(Shred::into_payload));
        }
    }
    assert_eq!(shreds.len(), 32 * 9);
    for number in 0..shreds.len() {
        receive(&mut world, node, &shreds[number * 61 % shreds.len()]);
    }
    assert_eq!(world.nodes[node].data[&slot], batches);
    assert_eq!(world.nodes[node].complete[&slot], Some(shredder.chained_root()));
    assert_eq!(world.nodes[node].turbine.block_id(slot), Some(shredder.chained_root()));
}

#[test]
fn any_half_of_each_set_is_enough_and_one_signature_check() {
    let (mut world, node, slot, shreds) = follower(20);
    for (number, shred) in shreds.iter().enumerate() {
        if number % 2 == 0 {
            receive(&mut world, node, shred);
        }
    }
    assert!(world.nodes[node].complete.contains_key(&slot));
    let metrics = world.nodes[node].turbine.metrics();
    let sets = shreds.len() as u64 / 64;
    assert_eq!((metrics.verifications, metrics.sets_recovered), (sets, sets));
    assert_eq!(metrics.recovered, 32 * sets);
    assert_eq!(world.nodes[node].shelf.of_slot(slot).len() as u64, 32 * sets);
}

#[test]
fn a_shred_is_passed_on_and_stored_once_however_often_it_comes() {
    let (mut world, node, _, shreds) = follower(21);
    for _ in 0..3 {
        for shred in &shreds {
            receive(&mut world, node, shred);
        }
    }
    assert_eq!(dropped(&world, node, DropReason::Seen), 2 * shreds.len() as u64);
    let received: u64 = world.nodes[node].turbine.metrics().received_by_place.iter().sum();
    assert_eq!(received, shreds.len() as u64);
    assert!(world.nodes[node].retransmitted.values().all(|times| *times <= 2));
}

#[test]
fn a_resigned_shred_is_stored_and_passed_on_with_this_nodes_signature() {
    let (mut world, node, slot, shreds) = follower(22);
    for shred in &shreds {
        receive(&mut world, node, shred);
    }
    let last = world.nodes[node].shelf.highest_data_shred(slot).unwrap();
    let last = Shred::raw(last).parse().unwrap();
    let root = last.merkle_root().unwrap();
    let expected = world.nodes[node].identity.sign(SignRole::ShredRoot, root.as_ref());
    assert_eq!(last.retransmitter_signature(), Some(expected));
    let signed = |shred: &Bytes| {
        let shred = Shred::raw(shred.clone()).parse().unwrap();
        shred.retransmitter_signature().is_none_or(|signature| signature == expected)
    };
    assert!(!world.nodes[node].retransmitted.is_empty());
    assert!(world.nodes[node].retransmitted.keys().all(signed));
}

#[test]
fn a_shred_that_its_leader_did_not_sign_goes_no_further() {
    let (mut world, node, slot, shreds) = follower(23);
    let mut forged = shreds[0].to_vec();
    forged[100] ^= 1;
    receive(&mut world, node, &forged.into());
    let metrics = world.nodes[node].turbine.metrics();
    assert_eq!(metrics.refused[ShredDrop::BadSignature.index()], 1);
    assert_eq!(world.nodes[node].turbine.slot_status(slot), None);
    assert!(world.nodes[node].shelf.of_slot(slot).is_empty());
    assert!(world.nodes[node].retransmitted.is_empty());
}

#[test]
fn two_versions_are_reported_once_and_both_passed_on_but_no_third() {
    let (mut world, node, slot, shreds) = follower(24);
    let parent = slot.previous().unwrap();
    let others: Vec<Vec<Bytes>> = (0..2)
        .map(|_| {
            let sets = world.block(slot, parent, 4);
            sets[0].data.iter().map(|shred| shred.payload().clone()).collect()
        })
        .collect();
    receive(&mut world, node, &shreds[0]);
    assert!(world.nodes[node].duplicate.is_empty());
    for shred in others[0].iter().chain(&others[0]) {
        receive(&mut world, node, shred);
    }
    assert_eq!(world.nodes[node].duplicate, [slot]);
    assert!(world.nodes[node].dead.contains_key(&slot));
    assert_eq!(world.nodes[node].turbine.metrics().received_by_place.iter().sum::<u64>(), 33);
    for shred in &others[1] {
        receive(&mut world, node, shred);
    }
    assert_eq!(dropped(&world, node, DropReason::TooManyVersions), 32);
    assert_eq!(world.nodes[node].duplicate, [slot]);
    world.input(node, Input::Forget(slot));
    assert_eq!(world.nodes[node].turbine.slot_status(slot), None);
}

#[test]
fn unknown_epochs_own_slots_and_rooted_slots_are_dropped_by_name() {
    let (mut world, node, slot, shreds) = follower(25);
    let leader = world.leader(slot);
    receive(&mut world, leader, &shreds[0]);
    assert_eq!(dropped(&world, leader, DropReason::OwnSlot), 1);
    world.input(node, Input::Root(slot));
    receive(&mut world, node, &shreds[0]);
    assert_eq!(world.nodes[node].turbine.metrics().refused[ShredDrop::SlotRooted.index()], 1);
    let stranger = world::keypair(77);
    let shelf = Arc::new(world::Shelf::default());
    let mut turbine = Turbine::new(config(), stranger, shelf, [0; 32]);
    turbine.handle(world.now, Input::Shred { bytes: shreds[0].clone(), from: world::SOMEBODY }, &mut Vec::new());
    assert_eq!(turbine.metrics().dropped(DropReason::UnknownEpoch), 1);
}

#[test]
fn a_full_memory_gives_up_what_is_farthest_from_the_root() {
    let small = TurbineConfig { slots_max: 2, sets_max: 2, waiting_max: 4, ..config() };
    let mut world = World::new(26, &FOUR, small);
    let slots: Vec<Slot> = std::iter::successors(Some(world.slot_of(0, 10)), |last| {
        Some(
            (last.get() + 1..)
                .map(slot)
                .find(|slot| world.schedule.leader_at(slot.get()) == world.nodes[0].key())
                .unwrap(),
        )
    })
    .take(3)
    .collect();
    world.tip(slots[2]);
    let blocks: Vec<Vec<Bytes>> = slots
        .iter()
        .map(|slot| {
            let sets = world.block(*slot, slot.previous().unwrap(), 3);
            sets.iter().map(|set| set.data[1].payload().clone()).collect()
        })
        .collect();
    for number in [1, 2] {
        receive(&mut world, 1, &blocks[number][0]);
    }
    receive(&mut world, 1, &blocks[2][1]);
    assert_eq!(dropped(&world, 1, DropReason::SetsFull), 1);
    receive(&mut world, 1, &blocks[0][0]);
    let status = |world: &World, number: usize| world.nodes[1].turbine.slot_status(slots[number]);
    assert_eq!(status(&world, 0), Some(Status::Gathering));
    assert_eq!(status(&world, 2), None, "the farthest slot made room");
    receive(&mut world, 1, &blocks[2][0]);
    assert_eq!(dropped(&world, 1, DropReason::SlotsFull), 1);
    receive(&mut world, 1, &blocks[0][1]);
    let metrics = world.nodes[1].turbine.metrics();
    assert_eq!((metrics.slots_evicted, metrics.sets_evicted), (1, 1));
    assert_eq!(metrics.slots_held, 2);
}

#[test]
fn a_response_counts_once_and_only_for_what_was_asked() {
    let (mut world, node, slot, shreds) = follower(28);
    let from = std::net::SocketAddr::from(([127, 0, 0, 1], 3_000));
    world.input(node, Input::Wanted(vec![slot]));
    world.run(Duration::from_millis(20));
    let mut nonce = None;
    let mut requests = Vec::new();
    let now = world.now.after(Duration::from_secs(1));
    world.nodes[node].turbine.handle_timeout(now, &mut requests);
    for effect in requests {
        if let Effect::SendRepair { bytes, .. } = effect {
            nonce = Some(u32::from_le_bytes(bytes[140..144].try_into().unwrap()));
        }
    }
    let answer = |shred: &Bytes, nonce: u32| {
        let bytes = sundog_turbine::repair_wire::encode_shred_response(shred, nonce);
        Input::RepairResponse { from, bytes }
    };
    let nonce = nonce.expect("an orphan request");
    world.input(node, answer(&shreds[0], nonce.wrapping_add(1)));
    assert_eq!(dropped(&world, node, DropReason::UnknownNonce), 1);
    let later = world.slot_of(0, slot.get() + 4);
    let wrong = world.block(later, later.previous().unwrap(), 1)[0].data[0].payload().clone();
    world.input(node, answer(&wrong, nonce));
    assert_eq!(dropped(&world, node, DropReason::WrongAnswer), 1);
    for shred in &shreds[..12] {
        world.input(node, answer(shred, nonce));
    }
    assert_eq!(dropped(&world, node, DropReason::UnknownNonce), 2, "eleven answers to an orphan request");
    assert_eq!(world.nodes[node].turbine.metrics().repaired, 11);
    assert!(world.nodes[node].retransmitted.is_empty(), "repaired shreds are not passed on");
}

#[test]
fn no_bytes_make_the_machine_panic() {
    use rand::{Rng as _, RngCore as _, SeedableRng as _};
    let (mut world, node, _, shreds) = follower(29);
    let mut rng = rand_chacha::ChaCha8Rng::from_seed([29; 32]);
    let from = std::net::SocketAddr::from(([127, 0, 0, 1], 3_000));
    for round in 0..3_000 {
        let mut bytes = if round % 2 == 0 {
            let mut bytes = vec![0; rng.gen_range(0..1_300)];
            rng.fill_bytes(&mut bytes);
            bytes
        } else {
            shreds[rng.gen_range(0..shreds.len())].to_vec()
        };
        for _ in 0..rng.gen_range(0..4) {
            if let Some(place) = bytes.len().checked_sub(1).map(|last| rng.gen_range(0..=last.min(100))) {
                bytes[place] = rng.r#gen();
            }
        }
        let bytes = Bytes::from(bytes);
        let input = match round % 3 {
            0 => Input::RepairResponse { from, bytes },
            1 => Input::RepairRequest { from, bytes },
            _ => Input::Shred { bytes, from: world::SOMEBODY },
        };
        world.input(node, input);
    }
}

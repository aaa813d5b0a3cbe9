//! What is full, and what is refused before it costs anything.

use crate::{FOUR, config, dropped, follower, follower_of, receive, world::SOMEBODY, world::World};
use bytes::Bytes;
use sundog_turbine::{DropReason, Effect, Input, Sender, TurbineConfig};
use sundog_types::{
    Machine as _, Slot,
    shred::{DropReason as ShredDrop, Shred},
};

fn refused(world: &World, node: usize, why: ShredDrop) -> u64 {
    world.nodes[node].turbine.metrics().refused[why.index()]
}

#[test]
fn what_can_be_refused_without_cryptography_is_and_has_a_name() {
    let (mut world, node, slot, shreds) = follower(80);
    world.input(node, Input::Root(slot.previous().and_then(Slot::previous).unwrap()));
    let before = world.nodes[node].turbine.metrics().verifications;
    let (data, code) = (shreds[0].clone(), shreds[32].clone());
    let mut change = |shred: &Bytes, place: usize, bytes: &[u8]| {
        let mut changed = shred.to_vec();
        changed[place..place + bytes.len()].copy_from_slice(bytes);
        receive(&mut world, node, &changed.into());
    };
    change(&data, 77, &9_u16.to_le_bytes());
    change(&data, 65, &(slot.get() + 1_000_000).to_le_bytes());
    change(&data, 65, &1_u64.to_le_bytes());
    change(&data, 73, &32_768_u32.to_le_bytes());
    change(&code, 73, &40_000_u32.to_le_bytes());
    change(&data, 83, &500_u16.to_le_bytes());
    change(&data, 83, &0_u16.to_le_bytes());
    change(&data, 85, &[0x40]);
    change(&data, 79, &1_u32.to_le_bytes());
    change(&code, 83, &31_u16.to_le_bytes());
    change(&data, 86, &9_000_u16.to_le_bytes());
    change(&data, 64, &[0x86]);
    receive(&mut world, node, &data.slice(..1_000));
    let expected = [
        (ShredDrop::ShredVersion, 1),
        (ShredDrop::SlotTooFar, 1),
        (ShredDrop::SlotRooted, 1),
        (ShredDrop::IndexTooHigh, 2),
        (ShredDrop::BadParent, 2),
        (ShredDrop::BadFlags, 1),
        (ShredDrop::BadFecSet, 1),
        (ShredDrop::BadErasureConfig, 1),
        (ShredDrop::BadSize, 1),
        (ShredDrop::BadVariant, 1),
        (ShredDrop::TooShort, 1),
    ];
    for (why, times) in expected {
        assert_eq!(refused(&world, node, why), times, "{why}");
    }
    assert_eq!(world.nodes[node].turbine.metrics().verifications, before);
}

#[test]
fn only_a_verified_shred_takes_the_place_of_another() {
    let small = TurbineConfig { slots_max: 1, sets_max: 1, ..config() };
    let (mut world, node, slot, shreds) = follower_of(World::new(81, &FOUR, small));
    receive(&mut world, node, &shreds[64]);
    let mut forged = shreds[0].to_vec();
    forged[0] ^= 1;
    receive(&mut world, node, &forged.into());
    let metrics = world.nodes[node].turbine.metrics();
    assert_eq!((metrics.sets_evicted, metrics.slots_evicted, metrics.sets_held), (0, 0, 1));
    receive(&mut world, node, &shreds[128]);
    assert_eq!(dropped(&world, node, DropReason::SetsFull), 1);
    let asked = world.nodes[node].turbine.metrics().verifications;
    assert_eq!(asked, 2, "what has no place is not even verified");
    receive(&mut world, node, &shreds[0]);
    assert_eq!(world.nodes[node].turbine.metrics().sets_evicted, 1);
    let later = world.slot_of(0, slot.get() + 4);
    let far = world.block(later, later.previous().unwrap(), 1)[0].data[0].payload().clone();
    world.tip(later);
    receive(&mut world, node, &far);
    assert_eq!(dropped(&world, node, DropReason::SlotsFull), 1);
}

#[test]
fn a_set_that_lost_its_place_and_came_again_is_not_passed_on_again() {
    let small = TurbineConfig { sets_max: 1, ..config() };
    let (mut world, node, slot, _) = follower_of(World::new(82, &FOUR, small));
    let sets = crate::hostile::block(&world, slot, slot.previous().unwrap(), (3, 1));
    let shreds = sets.iter().flat_map(|set| set.data.iter().chain(&set.code)).map(|shred| shred.payload().clone());
    let shreds: Vec<Bytes> = shreds.collect();
    for shred in &shreds[96..112] {
        receive(&mut world, node, shred);
    }
    let before = world.nodes[node].retransmitted.clone();
    for shred in &shreds[..64] {
        receive(&mut world, node, shred);
    }
    for shred in &shreds[96..112] {
        receive(&mut world, node, shred);
    }
    for (shred, times) in before {
        assert_eq!(world.nodes[node].retransmitted[&shred], times);
    }
    assert_eq!(world.nodes[node].turbine.metrics().sets_evicted, 1);
    assert_eq!(world.nodes[node].turbine.metrics().unsent_again, 16);
}

#[test]
fn marks_are_bounded_and_what_they_forget_is_not_taken_again() {
    let small = TurbineConfig { marks_max: 2, ..config() };
    let (mut world, node, slot, shreds) = follower_of(World::new(83, &FOUR, small));
    for shred in &shreds {
        receive(&mut world, node, shred);
    }
    let metrics = world.nodes[node].turbine.metrics();
    assert!(metrics.marks_forgotten > 0);
    assert_eq!((metrics.marks_held, metrics.sets_held), (2, 0));
    let (sent, seen) = (world.nodes[node].retransmitted.clone(), dropped(&world, node, DropReason::Seen));
    for shred in &shreds {
        receive(&mut world, node, shred);
    }
    assert_eq!(world.nodes[node].retransmitted, sent);
    assert_eq!(dropped(&world, node, DropReason::Seen), seen + shreds.len() as u64);
    assert!(world.nodes[node].complete.contains_key(&slot));
}

#[test]
fn shreds_that_wait_for_verification_are_bounded_and_none_pushes_another_out() {
    let small = TurbineConfig { waiting_max: 12, ..config() };
    let mut world = World::new(84, &FOUR, small);
    let (near, far) = (world.slot_of(0, 10), world.slot_of(0, 100));
    world.tip(far);
    let far_sets = world.block(far, far.previous().unwrap(), 1);
    let near_sets = world.block(near, near.previous().unwrap(), 1);
    let now = world.now;
    let give = |world: &mut World, shred: &Shred<_>, from: Sender| {
        let mut out = Vec::new();
        let bytes = shred.payload().clone();
        world.nodes[1].turbine.handle(now, Input::Shred { bytes, from }, &mut out);
        out
    };
    for shred in &far_sets[0].data[..6] {
        give(&mut world, shred, SOMEBODY);
    }
    assert_eq!(world.nodes[1].turbine.metrics().waiting, 4, "a third");
    assert_eq!(dropped(&world, 1, DropReason::WaitingFull), 2);
    give(&mut world, &near_sets[0].data[0], SOMEBODY);
    assert_eq!(dropped(&world, 1, DropReason::WaitingFull), 3, "a nearer one pushes nothing out");
    let other = Sender::Peer(world.nodes[2].key());
    let asked = give(&mut world, &near_sets[0].data[0], other);
    assert!(matches!(asked[..], [Effect::Verify { .. }]), "another sender has a share of its own");
    assert_eq!(world.nodes[1].turbine.metrics().waiting, 5);
}

#[test]
fn what_was_decoded_for_a_slot_that_is_rooted_by_then_is_ignored() {
    let (mut world, node, slot, shreds) = follower(85);
    let now = world.now;
    let mut jobs = Vec::new();
    for shred in &shreds[20..60] {
        let mut out = Vec::new();
        let turbine = &mut world.nodes[node].turbine;
        turbine.handle(now, Input::Shred { bytes: shred.clone(), from: SOMEBODY }, &mut out);
        for effect in out {
            match effect {
                Effect::Verify { id, items } => {
                    let valid =
                        items.iter().map(|item| item.check(&sundog_types::sign::Verifier::without_memory())).collect();
                    world.input(node, Input::Verified { id, valid });
                }
                Effect::Recover(job) => jobs.push(job),
                _ => {}
            }
        }
    }
    assert_eq!(jobs.len(), 1, "a set is decoded once");
    assert_eq!(world.nodes[node].turbine.metrics().sets_decoding, 1);
    world.input(node, Input::Root(slot));
    let (id, outcome) = jobs.remove(0).run();
    assert!(outcome.is_ok());
    let mut out = Vec::new();
    world.nodes[node].turbine.handle(now, Input::Recovered { id, outcome }, &mut out);
    assert!(out.is_empty());
    let metrics = world.nodes[node].turbine.metrics();
    assert_eq!((metrics.decoded_too_late, metrics.recovered, metrics.sets_decoding), (1, 0, 0));
}

#[test]
fn what_bulk_sync_brings_is_gathered_and_stored_but_not_passed_on() {
    let mut world = World::new(86, &FOUR, config());
    let slot = world.slot_of(0, 10);
    world.tip(slot);
    let sets = world.block(slot, slot.previous().unwrap(), 3);
    let shreds = sets.iter().flat_map(|set| set.data.clone()).collect::<Vec<_>>();
    let (from, count) = (world.nodes[2].key(), shreds.len());
    world.input(1, Input::Synced { from, shreds });
    assert!(world.nodes[1].complete.contains_key(&slot));
    assert_eq!(world.nodes[1].shelf.of_slot(slot).len(), count);
    assert!(world.nodes[1].retransmitted.is_empty());
    assert_eq!(world.nodes[1].turbine.metrics().synced, count as u64);
}

#[test]
fn what_another_way_brought_first_is_passed_on_once_when_turbine_brings_it() {
    let (mut world, node, slot, _) = follower_of(World::new(87, &FOUR, config()));
    let sets = crate::hostile::block(&world, slot, slot.previous().unwrap(), (1, 1));
    let early = sets[0].data.clone();
    let late: Vec<Bytes> = early.iter().map(|shred| shred.payload().clone()).collect();
    let from = world.nodes[2].key();
    world.input(node, Input::Synced { from, shreds: early });
    assert!(world.nodes[node].retransmitted.is_empty());
    let passed_on = |world: &mut World| {
        late.iter().for_each(|shred| receive(world, node, shred));
        world.nodes[node].turbine.metrics().sent_retransmit
    };
    let first = passed_on(&mut world);
    assert!(first > 0, "it is the root of some trees");
    assert_eq!((passed_on(&mut world), passed_on(&mut world)), (first, first));
    assert_eq!(dropped(&world, node, DropReason::Seen), 3 * 32, "there was nothing to gather");
    assert_eq!(world.nodes[node].turbine.metrics().unsent_again, 0, "the later ones cost no hashing");
}

//! Leaders that contradict themselves, and nodes that lie about them.

use crate::{FOUR, config, dropped, follower, receive, world::World};
use bytes::{Bytes, BytesMut};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use sundog_turbine::{
    DeadReason, DropReason, DuplicateReason, Effect, FecSet, HELD_BYTES_MAX, How, Input, Sender, Shredder, Status,
    proof::{ProofKind, conflicts, decode},
};
use sundog_types::{
    Hash, Machine as _, Slot,
    shred::{Gate, Gates, Kind, Shred, Signed, seal, signature_holds},
};

/// A block of `sets` FEC sets of the slot's leader, full of `fill`.
pub fn block(world: &World, slot: Slot, parent: Slot, (sets, fill): (usize, u8)) -> Vec<FecSet> {
    let mut shredder = Shredder::new(slot, parent, crate::SHRED_VERSION, Hash::default()).unwrap();
    let signer = Arc::clone(&world.nodes[world.leader(slot)].identity);
    let batch = |number| shredder.shred(&[fill; 500], number as u8, number + 1 == sets, &*signer).unwrap();
    (0..sets).flat_map(batch).collect()
}

/// A set that its leader changed before signing.
fn remake(world: &World, set: &FecSet, change: impl Fn(usize, &mut BytesMut)) -> FecSet {
    let shreds = set.data.iter().chain(&set.code).enumerate().map(|(place, shred)| {
        let mut bytes = BytesMut::from(&shred.payload()[..]);
        change(place, &mut bytes);
        bytes
    });
    let signer = &world.nodes[world.leader(set.data[0].slot())].identity;
    let mut data = seal::sign(shreds.collect(), &**signer).unwrap();
    let code = data.split_off(32);
    FecSet { root: data[0].merkle_root(), data, code }
}

fn give(world: &mut World, shreds: &[Shred<Signed>]) {
    for shred in shreds {
        for node in 1..world.nodes.len() {
            receive(world, node, shred.payload());
        }
    }
}

/// All nodes but the leader saw these kinds of contradiction, once each, and with a proof that others believe exactly
/// where a kind is marked.
#[track_caller]
fn check_reports(world: &World, slot: Slot, expected: &[(DuplicateReason, Option<ProofKind>)]) {
    let leader = world.nodes[world.leader(slot)].key();
    for node in world.nodes.iter().filter(|node| node.key() != leader) {
        let kinds: BTreeSet<_> = node.conflicts.keys().map(|(_, why)| *why).collect();
        assert_eq!(kinds, expected.iter().map(|(why, _)| *why).collect());
        assert_eq!(node.duplicate, [slot]);
        let metrics = node.turbine.metrics();
        let proofs = expected.iter().filter(|(_, kind)| kind.is_some()).count() as u64;
        assert_eq!((metrics.duplicate_slots, metrics.conflicts), (1, expected.len() as u64));
        assert_eq!(metrics.proofs, proofs);
        for (why, kind) in expected {
            let proof = node.conflicts[&(slot, *why)].as_ref();
            let verdict = proof.map(|proof| {
                let shreds = decode(proof).unwrap().map(|bytes| Shred::raw(bytes).parse().unwrap());
                let signed = |shred: &Shred<_>| shred.clone().verify(&leader, signature_holds).is_ok();
                conflicts(&shreds[0], &shreds[1], crate::SHRED_VERSION, signed).unwrap()
            });
            assert_eq!(verdict, *kind, "{why}");
        }
    }
}

/// A world in which the nodes take resigned shreds from everybody, and a slot of node 0.
fn stage(seed: u8) -> (World, Slot, Slot) {
    let (world, _, slot, _) = follower(seed);
    let parent = slot.previous().unwrap();
    (world, slot, parent)
}

#[test]
fn a_set_in_two_versions_is_reported_once_with_a_proof_and_no_more_than_two_are_passed_on() {
    let mut world = World::new(60, &FOUR, config());
    let slot = world.slot_of(0, 10);
    world.tip(slot);
    let parent = slot.previous().unwrap();
    for fill in 1..=3 {
        for set in block(&world, slot, parent, (2, fill)) {
            world.input(0, Input::Own { set });
            world.run(Duration::from_millis(40));
        }
    }
    check_reports(
        &world,
        slot,
        &[(DuplicateReason::ForkedSet, Some(ProofKind::ForkedSet)), (DuplicateReason::ChainedRoot, None)]
            [..world.nodes[1].conflicts.len()],
    );
    for node in &world.nodes[1..] {
        let versions: BTreeSet<_> =
            node.retransmitted.keys().map(|shred| Bytes::copy_from_slice(&shred[..64])).collect();
        assert!(versions.len() <= 4, "two sets in two versions");
        assert!(node.retransmitted.values().all(|times| *times <= 2), "to each other node once");
    }
}

#[test]
fn a_block_that_goes_on_after_its_end_is_reported_in_both_orders() {
    for (number, late_end) in [false, true].into_iter().enumerate() {
        let (mut world, slot, parent) = stage(61 + number as u8);
        let sets = block(&world, slot, parent, (3, 1));
        let ended = remake(&world, &sets[1], |place, bytes| {
            if place == 31 {
                bytes[85] |= 0xc0;
            }
        });
        let order = if late_end { [&sets[2], &ended] } else { [&ended, &sets[2]] };
        for set in order {
            give(&mut world, &set.data);
        }
        let expected =
            [(DuplicateReason::BeyondLast, Some(ProofKind::BeyondLast)), (DuplicateReason::ChainedRoot, None)];
        // A shred beyond the end has no place, so its set's chain is not looked at.
        check_reports(&world, slot, &expected[..1 + usize::from(late_end)]);
        let name = if late_end { DropReason::LastTooEarly } else { DropReason::BeyondLast };
        assert!(dropped(&world, 1, name) > 0);
        assert_eq!(world.nodes[1].dead.contains_key(&slot), late_end);
    }
}

#[test]
fn two_parents_are_reported_and_a_set_that_names_two_can_not_be_finished() {
    let (mut world, slot, parent) = stage(63);
    let ours = block(&world, slot, parent, (2, 1));
    let other = block(&world, slot, parent.previous().unwrap(), (2, 1));
    give(&mut world, &ours[0].data);
    give(&mut world, &other[1].data);
    check_reports(&world, slot, &[(DuplicateReason::Parent, None)]);
    assert!(world.nodes[1].dead.is_empty(), "the other version's set may still come");
    give(&mut world, &ours[1].data);
    assert!(world.nodes[1].complete.contains_key(&slot));

    let (mut world, slot, parent) = stage(64);
    let mixed = remake(&world, &block(&world, slot, parent, (1, 1))[0], |place, bytes| {
        if place == 7 {
            bytes[83] += 1;
        }
    });
    give(&mut world, &mixed.data);
    check_reports(&world, slot, &[(DuplicateReason::Parent, None)]);
    assert_eq!(world.nodes[1].dead[&slot], DeadReason::Parent);
}

#[test]
fn a_broken_chain_between_neighbouring_sets_is_reported_in_both_orders() {
    for (number, backwards) in [false, true].into_iter().enumerate() {
        let (mut world, slot, parent) = stage(65 + number as u8);
        let (ours, other) = (block(&world, slot, parent, (2, 1)), block(&world, slot, parent, (2, 2)));
        let order = if backwards { [&other[1], &ours[0]] } else { [&ours[0], &other[1]] };
        for set in order {
            give(&mut world, &set.data);
        }
        check_reports(&world, slot, &[(DuplicateReason::ChainedRoot, None)]);
        assert!(world.nodes[1].complete.contains_key(&slot), "it stays this node's own observation");
    }
}

#[test]
fn before_the_fixed_layout_two_erasure_codes_of_a_set_are_reported_in_both_orders() {
    for (number, odd_first) in [false, true].into_iter().enumerate() {
        let (mut world, slot, parent) = stage(67 + number as u8);
        world.set_gates(Gates::NONE);
        let set = remake(&world, &block(&world, slot, parent, (1, 1))[0], |place, bytes| {
            if place == 40 {
                bytes[85..87].copy_from_slice(&40_u16.to_le_bytes());
            }
        });
        let mut code = vec![set.code[8].clone(), set.code[9].clone(), set.code[10].clone()];
        if !odd_first {
            code.rotate_left(1);
        }
        give(&mut world, &code);
        give(&mut world, &code);
        check_reports(&world, slot, &[(DuplicateReason::ErasureLayout, Some(ProofKind::ErasureLayout))]);
        assert!(dropped(&world, 1, DropReason::OddSet) > 0);
    }
}

#[test]
fn a_root_that_was_signed_twice_is_reported_with_a_proof() {
    let (mut world, slot, parent) = stage(69);
    let set = block(&world, slot, parent, (1, 1)).swap_remove(0);
    let now = world.now;
    let mut twice = set.data[1].payload().to_vec();
    twice[..64].fill(7);
    receive(&mut world, 1, set.data[0].payload());
    let mut out = Vec::new();
    let turbine = &mut world.nodes[1].turbine;
    turbine.handle(now, Input::Shred { bytes: twice.clone().into(), from: crate::world::SOMEBODY }, &mut out);
    let Some(Effect::Verify { id, .. }) = out.pop() else { panic!("another signature is checked") };
    turbine.handle(now, Input::Verified { id, valid: vec![true] }, &mut out);
    let reports = out.iter().filter_map(|effect| match effect {
        Effect::Duplicate { why, first, second, proof, .. } => Some((why, first, second, proof)),
        _ => None,
    });
    let reports: Vec<_> = reports.collect();
    let [(DuplicateReason::SameIndex, first, second, Some(proof))] = reports[..] else { panic!("{reports:?}") };
    assert!(first[..1_139] == set.data[1].payload()[..1_139] && second[..1_139] == twice[..1_139]);
    assert_eq!(decode(proof), Ok([first.clone(), second.clone()]));
}

#[test]
fn a_set_that_does_not_decode_to_what_was_signed_kills_its_slot_once_and_frees_its_bytes() {
    let (mut world, slot, parent) = stage(70);
    let sets = block(&world, slot, parent, (2, 1));
    let noise = remake(&world, &sets[1], |place, bytes| {
        if place >= 32 {
            bytes[200..900].fill(place as u8);
        }
    });
    give(&mut world, &sets[0].data[..20]);
    give(&mut world, &noise.data[1..]);
    give(&mut world, &noise.code);
    for node in &world.nodes[1..] {
        assert_eq!(node.dead[&slot], DeadReason::CorruptSet);
        assert_eq!(node.turbine.slot_status(slot), Some(Status::Dead(DeadReason::CorruptSet)));
        let metrics = node.turbine.metrics();
        assert_eq!((metrics.sets_corrupt, metrics.sets_held), (1, 0));
    }
}

#[test]
fn a_recovered_shred_that_none_would_let_in_kills_its_slot() {
    let (mut world, slot, parent) = stage(71);
    let mut shredder = Shredder::new(slot, parent, crate::SHRED_VERSION, Hash::default()).unwrap();
    let signer = Arc::clone(&world.nodes[0].identity);
    let honest = shredder.shred(&[1; 500], 0, false, &*signer).unwrap().swap_remove(0);
    // A batch that ends inside of the set, with the parity that belongs to it.
    let mut data: Vec<_> = honest.data.iter().map(|shred| BytesMut::from(&shred.payload()[..])).collect();
    data[3][85] |= 0x40;
    let mut code: Vec<_> = honest.code.iter().map(|shred| BytesMut::from(&shred.payload()[..])).collect();
    let codec = reed_solomon_erasure::galois_8::ReedSolomon::new(32, 32).unwrap();
    let mut shards: Vec<Vec<u8>> = data.iter().map(|bytes| bytes[64..1_051].to_vec()).collect();
    shards.extend(vec![vec![0; 987]; 32]);
    codec.encode(&mut shards).unwrap();
    for (bytes, shard) in code.iter_mut().zip(&shards[32..]) {
        bytes[89..1_076].copy_from_slice(shard);
    }
    let shreds = seal::sign(data.into_iter().chain(code).collect(), &*signer).unwrap();
    give(&mut world, &shreds[4..40]);
    assert_eq!(world.nodes[1].dead[&slot], DeadReason::CorruptSet);
    assert_eq!(world.nodes[1].turbine.metrics().refused[sundog_types::shred::DropReason::BadFlags.index()], 1);
}

#[test]
fn a_resigned_shred_without_its_parents_signature_is_dropped() {
    let mut world = World::new(72, &FOUR, config());
    let slot = world.slot_of(0, 10);
    world.tip(slot);
    let set = block(&world, slot, slot.previous().unwrap(), (1, 1)).swap_remove(0);
    let shreds: Vec<_> = set.data.iter().chain(&set.code).collect();
    for shred in &shreds {
        receive(&mut world, 1, shred.payload());
    }
    let refused = dropped(&world, 1, DropReason::BadRetransmitter);
    assert!(refused > 0 && refused < 64, "where node 1 is the root, the leader sends: {refused}");
    // Whoever is the parent of a shred, node 2 or 3: what it signed is taken, and checked once.
    for signer in [2, 3] {
        let signer = Arc::clone(&world.nodes[signer].identity);
        for shred in &shreds {
            receive(&mut world, 1, (*shred).clone().resign(&*signer).payload());
        }
    }
    assert!(world.nodes[1].complete.contains_key(&slot));
    assert_eq!(world.nodes[1].turbine.metrics().verifications, 1);
    world.input(0, Input::Own { set });
    world.run(Duration::from_secs(1));
    for node in &world.nodes[1..] {
        assert!(node.complete.contains_key(&slot));
        assert!(node.turbine.metrics().relay_verifications < 400);
    }
}

#[test]
fn forged_signatures_at_line_rate_do_not_keep_an_honest_block_away() {
    let (mut world, slot, parent) = stage(73);
    let sets = block(&world, slot, parent, (6, 1));
    let near = block(&world, world.slot_of(0, 2), Slot::new(1), (1, 3));
    let honest = Sender::Peer(world.nodes[2].key());
    let now = world.now;
    let mut forged = 0_u32;
    let mut flood = |world: &mut World, count: u32, out: &mut Vec<Effect>| {
        for _ in 0..count {
            forged += 1;
            let from = match forged % 3 {
                0 => crate::world::SOMEBODY,
                1 => Sender::Peer(sundog_types::Pubkey::new_from_array([forged as u8; 32])),
                _ => Sender::Peer(world.nodes[3].key()),
            };
            let template = if forged.is_multiple_of(2) { &near[0].data } else { &sets[forged as usize % 6].data };
            let mut bytes = template[forged as usize % 32].payload().to_vec();
            bytes[..4].copy_from_slice(&forged.to_le_bytes());
            world.nodes[1].turbine.handle(now, Input::Shred { bytes: bytes.into(), from }, out);
        }
    };
    let mut pool = Vec::new();
    flood(&mut world, 5_000, &mut pool);
    for set in &sets {
        for shred in set.data.iter().chain(&set.code).step_by(2) {
            flood(&mut world, 30, &mut pool);
            let bytes = shred.payload().clone();
            world.nodes[1].turbine.handle(now, Input::Shred { bytes, from: honest }, &mut pool);
        }
        // The pool gets done with a part of what waits.
        let work: Vec<_> = pool.drain(..pool.len() / 2).collect();
        answer(&mut world, work);
    }
    let turbine = &world.nodes[1].turbine;
    assert!(turbine.held_bytes() < HELD_BYTES_MAX / 8, "{}", turbine.held_bytes());
    assert!(turbine.metrics().checks_under_way < 1_024);
    assert!(dropped(&world, 1, DropReason::WaitingFull) > 1_000);
    while !pool.is_empty() {
        answer(&mut world, std::mem::take(&mut pool));
    }
    assert!(world.nodes[1].complete.contains_key(&slot), "every honest shred found a place");
    assert!(world.nodes[1].duplicate.is_empty());
    assert_eq!(world.nodes[1].turbine.metrics().waiting, 0);
}

/// Does the pool's work for node 1.
fn answer(world: &mut World, work: Vec<Effect>) {
    for effect in work {
        if let Effect::Verify { id, items } = effect {
            let valid = items.iter().map(|item| item.check(&sundog_types::sign::Verifier::without_memory())).collect();
            world.input(1, Input::Verified { id, valid });
        }
    }
}

#[test]
fn a_timeline_tells_how_each_shred_came() {
    let (mut world, slot, parent) = stage(74);
    let set = block(&world, slot, parent, (1, 1)).swap_remove(0);
    for shred in set.data[..20].iter().chain(&set.code[..12]) {
        receive(&mut world, 1, shred.payload());
    }
    let [timeline] = &world.nodes[1].timelines[..] else { panic!("one, when the block is complete") };
    assert_eq!((timeline.slot, timeline.parent, timeline.left_out), (slot, Some(parent), 0));
    assert_eq!(timeline.leader, world.nodes[0].key());
    let count = |wanted: fn(&How) -> bool| timeline.arrivals.iter().filter(|arrival| wanted(&arrival.how)).count();
    assert_eq!(count(|how| matches!(how, How::Turbine { from, .. } if *from == crate::world::SOMEBODY)), 32);
    assert!(count(|how| *how == How::Recovered) >= 12);
    assert!(timeline.arrivals.iter().any(|arrival| arrival.kind == Kind::Code));
    receive(&mut world, 1, set.code[31].payload());
    world.input(1, Input::Root(slot));
    let fuller = &world.nodes[1].timelines[world.nodes[1].timelines.len() - 1];
    assert!(fuller.arrivals.len() >= 32 + 12);
    assert!(fuller.complete_ms.is_some());
}

#[test]
fn rules_that_do_not_hold_yet_are_not_applied() {
    let mut world = World::new(75, &FOUR, config());
    world.set_gates(Gates::NONE.with(Gate::FixedFecSet));
    let slot = world.slot_of(0, 10);
    world.tip(slot);
    let set = block(&world, slot, slot.previous().unwrap(), (1, 1)).swap_remove(0);
    give(&mut world, &set.data);
    assert_eq!(dropped(&world, 1, DropReason::BadRetransmitter), 0);
    assert!(world.nodes[1].complete.contains_key(&slot));
}

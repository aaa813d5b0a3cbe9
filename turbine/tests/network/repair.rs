//! When a machine asks for what it lacks, and for how much at a time.

use crate::world::{SHRED_VERSION, SOMEBODY, World};
use bytes::Bytes;
use std::time::Duration;
use sundog_turbine::{
    DropReason, Effect, Input, Shredder, TurbineConfig,
    repair::{BUDGET, TICK},
    repair_wire::{Ask, Packet, encode_shred_response},
};
use sundog_types::{Hash, Machine as _, Now, Slot};

const NODE: usize = 1;

/// Data shreds of a block that node 0 leads; one FEC set for each tick given.
fn block(world: &World, slot: Slot, ticks: &[u8]) -> Vec<Bytes> {
    let mut shredder = Shredder::new(slot, slot.previous().unwrap(), SHRED_VERSION, Hash::default()).unwrap();
    let mut shreds = Vec::new();
    for (number, tick) in ticks.iter().enumerate() {
        let last = number + 1 == ticks.len();
        let sets = shredder.shred(&vec![7; 20_000], *tick, last, &*world.nodes[0].identity).unwrap();
        assert_eq!(sets.len(), 1);
        shreds.extend(sets.into_iter().flat_map(|set| set.data).map(|shred| shred.payload().clone()));
    }
    shreds
}

fn world(seed: u8) -> (World, Slot) {
    let mut world = World::new(seed, &[1_000, 600, 400, 200], TurbineConfig::new(SHRED_VERSION));
    world.set_gates(crate::lax());
    let slot = world.slot_of(0, 10);
    (world, slot)
}

fn receive(world: &mut World, shreds: &[Bytes]) {
    for bytes in shreds {
        world.input(NODE, Input::Shred { bytes: bytes.clone(), from: SOMEBODY });
    }
}

/// What the machine asks until so long after now, and when. Nobody answers.
fn asked(world: &mut World, ms: u64) -> Vec<(u64, Ask)> {
    let (start, end) = (world.now, world.now.after(Duration::from_millis(ms)));
    let mut asked = Vec::new();
    while let Some(due) = world.nodes[NODE].turbine.poll_timeout().filter(|due| due.mono_us < end.mono_us) {
        let now = start.after(Duration::from_micros(due.mono_us.saturating_sub(start.mono_us)));
        for (_, ask) in tick(world, now) {
            asked.push((now.since(start).as_millis() as u64, ask));
        }
    }
    world.now = end;
    asked
}

/// What one timeout asks, with the nonces.
fn tick(world: &mut World, now: Now) -> Vec<(u32, Ask)> {
    let mut out = Vec::new();
    world.nodes[NODE].turbine.handle_timeout(now, &mut out);
    let request = |effect: &Effect| match effect {
        Effect::SendRepair { bytes, .. } => match Packet::decode(bytes) {
            Ok(Packet::Request(request, _)) => Some((request.nonce, request.ask)),
            other => panic!("{other:?}"),
        },
        _ => None,
    };
    out.iter().filter_map(request).collect()
}

#[test]
fn a_hole_is_asked_for_when_its_set_can_no_longer_be_under_way() {
    let (mut world, slot) = world(40);
    world.tip(slot);
    let shreds = block(&world, slot, &[0, 32, 63]);
    receive(&mut world, &[&shreds[..20], &shreds[32..40]].concat());
    let asked = asked(&mut world, 2_000);
    let first = |wanted: &dyn Fn(&Ask) -> bool| {
        asked.iter().filter(|(_, ask)| ask.slot() == slot && wanted(ask)).map(|(at, _)| *at).min()
    };
    let window = |from: u64, to: u64| {
        first(&|ask| matches!(ask, Ask::Window { index, .. } if (from..to).contains(index))).unwrap()
    };
    assert!((250..270).contains(&window(20, 32)), "tick 0 and 250 ms: {}", window(20, 32));
    assert!((450..510).contains(&window(40, 64)), "tick 32 and 250 ms: {}", window(40, 64));
    let end = first(&|ask| matches!(ask, Ask::Highest { index: 40, .. })).unwrap();
    assert!((650..710).contains(&end), "the slot's end and 250 ms: {end}");
    let again = |ask: &Ask| asked.iter().filter(|(_, other)| other == ask).map(|(at, _)| *at).collect::<Vec<_>>();
    let times = again(&Ask::Window { slot, index: 25 });
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 150), "{times:?}");
    assert!(times.len() > 2, "{times:?}");
}

#[test]
fn of_a_set_only_so_much_is_asked_as_it_needs_to_be_decoded() {
    let (mut world, slot) = world(41);
    world.tip(slot);
    let shreds = block(&world, slot, &[0, 1]);
    receive(&mut world, &shreds[..31]);
    let asked = asked(&mut world, 400);
    let windows: Vec<_> = asked.iter().filter(|(_, ask)| matches!(ask, Ask::Window { .. })).collect();
    assert!(windows.iter().all(|(_, ask)| *ask == Ask::Window { slot, index: 31 }), "{windows:?}");
}

#[test]
fn slots_below_the_one_told_are_left_alone_and_so_are_their_ancestors() {
    let (mut world, low) = world(42);
    let high = world.slot_of(0, low.get() + 4);
    let (first, second) = (block(&world, low, &[0, 32]), block(&world, high, &[0, 32]));
    world.tip(high);
    receive(&mut world, &[&first[..5], &second[..5]].concat());
    world.input(NODE, Input::RepairFrom(high));
    let later = asked(&mut world, 1_000);
    assert!(!later.is_empty() && later.iter().all(|(_, ask)| ask.slot() == high), "{later:?}");
    world.input(NODE, Input::RepairFrom(high.next()));
    world.input(NODE, Input::Wanted(vec![low, high]));
    assert_eq!(asked(&mut world, 1_000), [], "nothing to do");
    world.input(NODE, Input::RepairFrom(Slot::ZERO));
    let all = asked(&mut world, 1_000);
    let orphan = |slot: Slot| all.iter().any(|(_, ask)| *ask == Ask::Orphan { slot });
    assert!(orphan(low.previous().unwrap()) && orphan(high.previous().unwrap()));
    assert!([low, high].iter().all(|slot| all.iter().any(|(_, ask)| ask.slot() == *slot)));
}

#[test]
fn a_tick_keeps_to_its_budget_and_no_slot_gets_it_all() {
    let (mut world, far) = world(43);
    let slots: Vec<Slot> =
        std::iter::successors(Some(far), |slot| Some(world.slot_of(0, slot.get()))).take(5).collect();
    world.tip(slots[4].saturating_add(20));
    for slot in &slots {
        let shreds = block(&world, *slot, &[0; 20]);
        receive(&mut world, &shreds[639..]);
    }
    let now = world.now.after(TICK);
    let asks = tick(&mut world, now);
    let of =
        |slot: &Slot| asks.iter().filter(|(_, ask)| ask.slot() == *slot && !matches!(ask, Ask::Orphan { .. })).count();
    assert_eq!(asks.len(), BUDGET);
    assert!(slots.iter().all(|slot| of(slot) >= BUDGET / 8), "each its share");
    assert!(of(&slots[0]) > of(&slots[4]), "what is left goes to the slot nearest the root");
    assert!(asks.iter().filter(|(_, ask)| matches!(ask, Ask::Orphan { .. })).count() <= 8);
    assert_eq!(world.nodes[NODE].turbine.metrics().repair_over_budget, 1);
}

/// How many requests for this slot go to each node until so long after now. Nobody answers.
fn asked_of(world: &mut World, slot: Slot, ms: u64) -> [usize; 4] {
    let mut times = [0; 4];
    let (start, end) = (world.now, world.now.after(Duration::from_millis(ms)));
    while let Some(due) = world.nodes[NODE].turbine.poll_timeout().filter(|due| due.mono_us < end.mono_us) {
        let now = start.after(Duration::from_micros(due.mono_us.saturating_sub(start.mono_us)));
        let mut out = Vec::new();
        world.nodes[NODE].turbine.handle_timeout(now, &mut out);
        for effect in out {
            if let Effect::SendRepair { bytes, .. } = effect
                && let Ok(Packet::Request(request, _)) = Packet::decode(&bytes)
                && request.ask.slot() == slot
            {
                let asked = world.nodes.iter().position(|node| node.key() == request.recipient);
                times[asked.unwrap()] += 1;
            }
        }
    }
    world.now = end;
    times
}

#[test]
fn who_announced_a_slot_is_asked_for_it_first() {
    let run = |announced: bool| {
        let (mut world, slot) = world(45);
        world.tip(slot.saturating_add(9));
        let from = world.nodes[3].key();
        if announced {
            world.input(NODE, Input::Announced { from, slots: vec![slot] });
        }
        let shreds = block(&world, slot, &[0, 32, 63]);
        receive(&mut world, &shreds[95..]);
        asked_of(&mut world, slot, 100)
    };
    let (before, after) = (run(false), run(true));
    assert!(before[3] < before.iter().sum::<usize>() / 2, "one of three alike: {before:?}");
    assert!(after[3] > 2 * (after[0] + after[2]), "{after:?}");
}

#[test]
fn who_no_longer_has_a_slot_is_not_asked_for_it() {
    let (mut world, slot) = world(46);
    world.tip(slot.saturating_add(9));
    let shreds = block(&world, slot, &[0, 32, 63]);
    receive(&mut world, &shreds[95..]);
    let mut peers = world.peers();
    let kept = world.nodes[3].key();
    for peer in peers.iter_mut().filter(|peer| peer.identity != kept) {
        peer.lowest_slot = slot.next();
    }
    world.input(NODE, Input::Peers(peers.into()));
    let [first, _, third, last] = asked_of(&mut world, slot, 1_000);
    assert!(first + third == 0 && last > 30, "{first} {third} {last}");
}

#[test]
fn a_response_with_a_wrong_nonce_or_from_elsewhere_is_never_parsed() {
    let (mut world, slot) = world(44);
    world.tip(slot.saturating_add(9));
    let shreds = block(&world, slot, &[0, 32]);
    receive(&mut world, &shreds[..1]);
    let now = world.now.after(TICK);
    let asks = tick(&mut world, now);
    let window = |(_, ask): &&(u32, Ask)| matches!(ask, Ask::Window { .. });
    let (nonce, Ask::Window { index, .. }) = *asks.iter().find(window).unwrap() else { panic!() };
    let before = world.nodes[NODE].turbine.metrics().clone();
    let mut forged = shreds[index as usize].to_vec();
    forged[64] = 0;
    let mut answer = |from: [u8; 4], nonce| {
        let from = std::net::SocketAddr::from((from, 3_000));
        world.input(NODE, Input::RepairResponse { from, bytes: encode_shred_response(&forged, nonce) });
    };
    for guess in 0..100 {
        answer([127, 0, 0, 1], nonce.wrapping_add(1 + guess * 0x0010_0000));
    }
    answer([127, 0, 0, 9], nonce);
    let metrics = world.nodes[NODE].turbine.metrics();
    assert_eq!(metrics.dropped(DropReason::UnknownNonce), 100);
    assert_eq!(metrics.dropped(DropReason::OtherAddress), 1);
    assert_eq!((metrics.refused, metrics.verifications), (before.refused, before.verifications));
}

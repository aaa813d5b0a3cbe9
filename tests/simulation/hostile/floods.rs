//! Nodes that send what they should not, and more of it than anyone can use.

use super::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use sundog_turbine::{Codec, DropReason};
use sundog_types::FecSetIndex;
use sundog_validator::sim::Port;

/// Room for shreds that wait for a check, 8,192, and for checks, 1,024.
const WAITING: usize = 8_192 * 1_500 + 1_024 * 600;

fn to_tvu(to: usize, bytes: &Bytes) -> Sending {
    Sending { to, port: Port::TvuQuic, bytes: bytes.clone() }
}

/// A node without stake and the nodes but it.
fn stranger(trial: &Trial) -> (usize, Vec<usize>) {
    let node = trial.world.hosts.len() - 1;
    (node, trial.others(node))
}

/// A node sends all that it ever heard to everybody again, in a loop, 40 shreds each 10 ms.
pub fn replay(seed: u64) -> Trial {
    let mut trial = Trial::new(SpreadConfig { fanout: 4, ..config(seed, 20) });
    let (node, others) = stranger(&trial);
    let heard = Arc::new(Mutex::new(VecDeque::new()));
    let hears = Arc::clone(&heard);
    trial.replace(
        node,
        Acts {
            honest: true,
            hear: Box::new(move |_, datagram| {
                if datagram.port == Port::TvuQuic {
                    hears.lock().unwrap().push_back(datagram.bytes.clone());
                }
                Vec::new()
            }),
            tick: Box::new(move |_| {
                let mut heard = heard.lock().unwrap();
                let turn = heard.len().min(40);
                heard.rotate_left(turn);
                heard.iter().rev().take(turn).flat_map(|bytes| others.iter().map(|to| to_tvu(*to, bytes))).collect()
            }),
        },
    );
    trial.lead(8, 4);
    trial.finish();
    trial
}

#[test]
fn what_is_replayed_in_a_loop_is_refused_as_seen() {
    let trial = replay(20);
    trial.check("replays", SMALL);
    assert!(trial.dropped(DropReason::Seen) > 100_000, "{}", trial.dropped(DropReason::Seen));
    for (number, host) in trial.honest() {
        let metrics = host.turbine.metrics();
        let sets = (8 * 4 + 8) as u64;
        assert!(metrics.verifications <= sets, "node {number} checked {} signatures", metrics.verifications);
    }
}

/// Decodes every set of which it has 32 shreds, and sends all 64 to everybody.
struct Rebroadcast {
    others: Vec<usize>,
    codec: Codec,
    sets: BTreeMap<(Slot, FecSetIndex), Vec<Shred<Signed>>>,
}

impl Rebroadcast {
    fn hear(&mut self, datagram: &Datagram) -> Vec<Sending> {
        let Ok(shred) = Shred::raw(datagram.bytes.clone()).parse() else { return Vec::new() };
        let shred = shred.trust_own_ledger().unwrap();
        let set = self.sets.entry((shred.slot(), shred.fec_set_index())).or_default();
        if set.len() >= 32 || set.iter().any(|other| other.leaf_index() == shred.leaf_index()) {
            return Vec::new();
        }
        set.push(shred);
        if set.len() < 32 {
            return Vec::new();
        }
        let decoded = self.codec.recover(set).unwrap_or_default();
        let all =
            set.iter().chain(&decoded).flat_map(|shred| self.others.iter().map(|to| to_tvu(*to, shred.payload())));
        all.collect()
    }
}

#[test]
fn decoded_shreds_sent_to_everybody_are_taken_and_passed_on_once() {
    let mut trial = Trial::new(SpreadConfig { fanout: 4, ..with_loss(config(21, 20), 5) });
    let (node, others) = stranger(&trial);
    let mut rebroadcast = Rebroadcast { others, codec: Codec::new(), sets: BTreeMap::new() };
    let hear = Box::new(
        move |_, datagram: &Datagram| {
            if datagram.port == Port::TvuQuic { rebroadcast.hear(datagram) } else { Vec::new() }
        },
    );
    trial.replace(node, Acts { hear, ..Acts::idle(true) });
    trial.lead(8, 4);
    trial.finish();
    trial.check("re-broadcast of decoded shreds", SMALL);
}

/// A shred with a signature that nobody made.
fn forge(rng: &mut ChaCha8Rng, shred: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::from(shred);
    rng.fill(&mut bytes[..8]);
    bytes
}

#[test]
fn far_future_slots_signed_by_nobody_hold_nothing() {
    let job = Duration::from_micros(50);
    let mut trial = Trial::new(SpreadConfig { fanout: 4, job, ..config(22, 12) });
    let (node, others) = stranger(&trial);
    let (_, slot) = trial.turn_from(40);
    let template =
        datagrams(&trial.world.block(Block { slot, parent: slot.previous().unwrap(), sets: 1, version: 0 })[0]);
    let mut rng = ChaCha8Rng::seed_from_u64(22);
    let tick = Box::new(move |_| {
        let mut shreds = Vec::new();
        for shred in &template[..60] {
            let mut bytes = forge(&mut rng, shred);
            // Half of the slots lie beyond what is known of leaders, and some beyond what is taken at all.
            bytes[65..73].copy_from_slice(&rng.gen_range(20..20_000_u64).to_le_bytes());
            shreds.push(bytes.freeze());
        }
        shreds.iter().flat_map(|bytes| others.iter().map(|to| to_tvu(*to, bytes))).collect()
    });
    trial.replace(node, Acts { tick, ..Acts::idle(true) });
    trial.lead(6, 4);
    trial.finish();
    trial.check("far-future slots, forged", SMALL + WAITING);
    for (number, host) in trial.honest() {
        let metrics = host.turbine.metrics();
        assert!(metrics.slots_held < 20, "node {number} holds {} slots", metrics.slots_held);
    }
    assert!(trial.dropped(DropReason::UnknownEpoch) > 10_000);
}

/// Junk sets that a node signs validly for its own slots: the shreds in these places of each.
fn junk(trial: &Trial, slot: Slot, sets: usize, places: std::ops::Range<usize>) -> Vec<Bytes> {
    let made = trial.one_batch(slot, slot.previous().unwrap(), sets);
    made.iter().flat_map(|set| shreds(set).skip(places.start).take(places.len())).map(|s| s.payload().clone()).collect()
}

/// A tick that sends these to everybody, so many each 10 ms.
fn pour(mut datagrams: VecDeque<Bytes>, others: Vec<usize>, each: usize) -> Tick {
    Box::new(move |_| {
        let now: Vec<_> = datagrams.drain(..each.min(datagrams.len())).collect();
        now.iter().flat_map(|bytes| others.iter().map(|to| to_tvu(*to, bytes))).collect()
    })
}

/// All 2,048 FEC sets that may be held, two shreds of each, and what is remembered of four thousand.
const FULL: usize = 2_048 * (SET_TABLE_BYTES + 2 * 1_228) + 4_000 * 1_000 + SMALL;

#[test]
fn thousands_of_sets_that_a_node_signs_for_its_own_future_slots_are_borne() {
    let mut trial = Trial::new(SpreadConfig { fanout: 4, ..config(23, 10) });
    let (node, _) = trial.turn_from(20);
    let own = (60..8_000).map(Slot::new).filter(|slot| trial.world.leader(*slot) == node);
    let junk: VecDeque<_> = own.take(400).flat_map(|slot| junk(&trial, slot, 10, 0..2)).collect();
    let flood = pour(junk, trial.others(node), 40);
    trial.replace(node, Acts { tick: flood, ..Acts::idle(true) });
    trial.lead(8, 4);
    trial.finish();
    trial.check("4,000 sets in own future slots", FULL);
    assert!(trial.dropped(DropReason::SetsFull) > 10_000, "no nearer one makes room for a farther one");
    assert!(trial.honest().all(|(_, host)| host.turbine.metrics().sets_evicted > 0), "honest ones are nearer");
}

#[test]
fn a_leader_that_begins_a_thousand_sets_in_each_of_its_slots_leaves_room_for_the_next_leaders() {
    let mut trial = Trial::new(SpreadConfig { fanout: 4, ..config(24, 8) });
    let (node, slot) = trial.turn_from(6);
    let own = (slot.get()..slot.get() + 4).map(Slot::new);
    let junk: VecDeque<_> = own.flat_map(|slot| junk(&trial, slot, 1_000, 0..1)).collect();
    trial.lead_up_to(slot);
    let flood = pour(junk, trial.others(node), 100);
    trial.replace(node, Acts { tick: flood, ..Acts::idle(true) });
    trial.lead(12, 4);
    trial.finish();
    trial.check("4,000 sets begun in own slots", FULL);
}

/// The flood lasts from the first shred that the forgers hear to this moment: some three seconds.
const FLOOD_END_US: u64 = 4_200_000;

#[test]
fn forged_signatures_at_line_rate_do_not_keep_blocks_away() {
    let job = Duration::from_micros(50);
    let mut trial = Trial::new(SpreadConfig { fanout: 4, job, ..config(25, 12) });
    let forgers = [3, trial.world.hosts.len() - 1];
    for node in forgers {
        let others = trial.others(node);
        let heard: Arc<Mutex<VecDeque<Bytes>>> = Arc::default();
        let hears = Arc::clone(&heard);
        let mut rng = ChaCha8Rng::seed_from_u64(node as u64);
        let hear = Box::new(move |_, datagram: &Datagram| {
            let mut heard = hears.lock().unwrap();
            if datagram.port == Port::TvuQuic {
                heard.push_front(datagram.bytes.clone());
                heard.truncate(32);
            }
            Vec::new()
        });
        let tick = Box::new(move |now: Now| {
            let heard = heard.lock().unwrap();
            if heard.is_empty() || now.mono_us > FLOOD_END_US {
                return Vec::new();
            }
            let forged = (0..150).map(|number| forge(&mut rng, &heard[number % heard.len()]).freeze());
            forged.flat_map(|bytes| others.iter().map(|to| to_tvu(*to, &bytes)).collect::<Vec<_>>()).collect()
        });
        trial.replace(node, Acts { honest: true, hear, tick });
    }
    trial.lead(8, 4);
    trial.finish();
    trial.check("forged signatures at line rate", SMALL + WAITING);
    let refused = sundog_types::shred::DropReason::BadSignature;
    for (number, host) in trial.honest() {
        let metrics = host.turbine.metrics();
        let (forged, full) = (metrics.refused[refused.index()], metrics.dropped(DropReason::WaitingFull));
        let own = metrics.dropped(DropReason::OwnSlot);
        assert!(forged + full + own > 10_000, "node {number}: {forged}, {full}, {own}");
    }
}

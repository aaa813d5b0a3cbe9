//! Leaders that contradict themselves, keep shreds for themselves, or make blocks that are hard to bear.

use super::*;
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use sundog_turbine::DeadReason;

/// The leader of a slot sends `count` versions of it to disjoint parts of the nodes.
fn forked(seed: u64, count: usize) -> Trial {
    let mut trial = Trial::new(SpreadConfig { fanout: 6, ..config(seed, 40) });
    let (leader, slot) = trial.turn_from(6);
    trial.replace(leader, Acts::idle(true));
    trial.forked.insert(slot);
    let parent = trial.lead_up_to(slot);
    let versions =
        (1..=count).map(|version| trial.world.block(Block { slot, parent, sets: 4, version: version as u8 }));
    let versions: Vec<_> = versions.collect();
    let others = trial.others(leader);
    for set in 0..4 {
        for (version, sets) in versions.iter().enumerate() {
            let part: Vec<_> = others.iter().copied().filter(|node| node % count == version).collect();
            trial.world.hand_out(leader, &part, &datagrams(&sets[set]));
        }
        trial.pass(SLOT / 4);
    }
    trial.lead(6, 4);
    trial.finish();
    trial
}

/// Two versions.
pub fn versions(seed: u64) -> Trial {
    forked(seed, 2)
}

#[test]
fn two_versions_of_a_slot_are_noticed_by_everybody() {
    for seed in [1, 2] {
        let trial = versions(seed);
        trial.check("two versions", SMALL);
        let slot = trial.forked.first().unwrap();
        for (number, host) in trial.honest() {
            let dead = host.told.dead.get(slot) == Some(&DeadReason::ForkedSet);
            assert!(dead || host.told.complete.contains_key(slot), "node {number} hangs between two versions");
        }
    }
}

#[test]
fn three_versions_of_a_slot_are_noticed_by_everybody_and_no_more_than_two_are_passed_on() {
    let trial = forked(3, 3);
    trial.check("three versions", SMALL);
    let slot = trial.forked.first().unwrap();
    let mut passed: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for copy in trial.world.copies().keys().filter(|copy| copy.shred.slot == *slot) {
        passed.entry((copy.from, copy.shred)).or_default().insert(copy.version);
    }
    let most = passed.values().map(BTreeSet::len).max();
    assert_eq!(most, Some(2));
}

/// A leader sends 60 of 100 shreds of each set; of the sets of which `decodable` says no, 31. Some nodes are away then.
fn withheld(seed: u64, loss_percent: u32, away: Range<usize>, decodable: impl Fn(usize) -> bool) -> (Trial, Slot) {
    let mut trial = Trial::new(SpreadConfig { fanout: 6, ..with_loss(config(seed, 40), loss_percent) });
    let (leader, slot) = trial.turn_from(6);
    trial.replace(leader, Acts::idle(false));
    let parent = trial.lead_up_to(slot);
    away.clone().for_each(|node| trial.world.hosts[node].alive = false);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for (number, set) in trial.world.block(Block { slot, parent, sets: 4, version: 1 }).iter().enumerate() {
        let mut places: Vec<usize> = (0..64).collect();
        places.shuffle(&mut rng);
        places.truncate(if decodable(number) { 38 } else { 31 });
        trial.world.publish(part_of(set, |place| places.contains(&place)));
        trial.pass(SLOT / 4);
    }
    away.for_each(|node| trial.world.hosts[node].alive = true);
    (trial, slot)
}

#[test]
fn a_block_of_which_enough_was_sent_arrives_by_decoding_and_from_those_who_have_it() {
    // The last ten nodes, all without stake, are away while the leader sends: they live on what the others decoded.
    let (mut trial, slot) = withheld(4, 4, 30..40, |_| true);
    trial.blocks.push(slot);
    trial.lead(6, 4);
    trial.finish();
    trial.check("40% withheld, decodable", SMALL);
    for (number, host) in trial.honest() {
        let how = host.told.complete[&slot];
        let repaired = host.turbine.metrics().repaired;
        assert!(how.recovered > 0 || how.repaired > 0, "node {number} did not get all of it");
        assert!(number < 30 || repaired > 32, "node {number} was away and asked for {repaired} shreds");
    }
}

#[test]
fn a_block_of_which_too_little_was_sent_costs_little_and_goes_with_the_root() {
    let (mut trial, slot) = withheld(5, 0, 0..0, |set| set != 2);
    trial.lead(24, 4);
    trial.finish();
    let waiting = |host: &SpreadHost| host.turbine.slot_status(slot).is_some();
    assert!(trial.honest().all(|(_, host)| waiting(host) && !host.told.complete.contains_key(&slot)));
    trial.lead(16, 1);
    trial.finish();
    trial.check("40% withheld, not decodable", SMALL);
    for (number, host) in trial.honest() {
        assert!(!waiting(host) && host.told.dead.is_empty(), "node {number} still waits for slot {slot}");
        // Some dozens of shreds are missing; each is asked for less and less often.
        assert!(host.traffic.requests < 3_000, "node {number} made {} requests", host.traffic.requests);
    }
}

#[test]
fn a_block_of_ten_thousand_data_shreds_on_a_parent_300_slots_back_arrives() {
    const SETS: usize = 10_016 / 32;
    let mut trial = Trial::new(SpreadConfig { fanout: 6, ..with_loss(config(6, 20), 1) });
    trial.lead(3, 2);
    trial.finish();
    let parent = *trial.blocks.last().unwrap();
    let slot = parent.saturating_add(300);
    trial.begin(slot);
    for set in trial.one_batch(slot, parent, SETS) {
        trial.world.publish(set);
        trial.pass(Duration::from_millis(1));
    }
    trial.blocks.push(slot);
    trial.lead(3, 4);
    trial.finish();
    // All of it is one batch, so all of it is held until the last shred is here.
    trial.check("10,016 data shreds", SETS * SET_BYTES + SMALL);
    assert!(trial.honest().all(|(_, host)| host.told.complete[&slot].shreds == 10_016));
}

/// The code shreds of a slot's last set are noise under a valid signature. `withheld`: of its data shreds, only
/// twelve are sent, so that nobody gets around decoding.
pub fn undecodable(seed: u64, withheld: bool) -> Trial {
    let mut trial = Trial::new(SpreadConfig { fanout: 6, ..config(seed, 30) });
    let (leader, slot) = trial.turn_from(6);
    trial.replace(leader, Acts::idle(false));
    let parent = trial.lead_up_to(slot);
    for (number, set) in trial.world.block(Block { slot, parent, sets: 4, version: 1 }).into_iter().enumerate() {
        let noise = |place: usize, bytes: &mut BytesMut| {
            if place >= 32 {
                bytes[200..900].fill(place as u8);
            }
        };
        let set = match number {
            3 => part_of(&trial.remake(&set, noise), |place| !withheld || place >= 20),
            _ => set,
        };
        trial.world.publish(set);
        trial.pass(SLOT / 4);
    }
    trial.lead(6, 4);
    trial.finish();
    trial
}

#[test]
fn a_set_that_does_not_decode_ends_its_slot_and_nothing_else() {
    let trial = undecodable(7, true);
    trial.check("does not decode", SMALL);
    for (number, host) in trial.honest() {
        assert_eq!(host.told.dead.values().collect::<Vec<_>>(), [&DeadReason::CorruptSet], "node {number}");
        assert_eq!(host.turbine.metrics().sets_corrupt, 1, "node {number} decodes it once");
    }
    let trial = undecodable(8, false);
    trial.check("does not decode, all data sent", SMALL);
    let dead = trial.honest().filter(|(_, host)| !host.told.dead.is_empty()).count();
    assert!(dead > 20, "{dead} nodes decoded before all data was there");
}

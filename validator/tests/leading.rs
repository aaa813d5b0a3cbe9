//! A leader's slots begin on time, also after many slots of leaders that are gone.

use solana_signer::Signer as _;
use std::{collections::BTreeMap, time::Duration};
use sundog_types::Slot;
use sundog_validator::sim::{World, WorldConfig};

/// One tick of a 400 ms slot, in microseconds.
const TICK_US: u64 = 6_250;
const SLOT_US: u64 = 400_000;

#[test]
fn a_slot_after_eight_missing_slots_begins_on_time_with_all_their_ticks() {
    let mut world = World::new(WorldConfig { seed: 8, ..WorldConfig::default() });
    assert!(world.run_until(Duration::from_secs(30), |w| w.rooted_everywhere() >= Slot::new(1)));
    world.kill(1);
    world.kill(2);
    let me = world.hosts[0].identity.pubkey();
    let mut began = BTreeMap::<Slot, u64>::new();
    world.run_until(Duration::from_secs(60), |w| {
        for slot in w.hosts[0].started.iter().filter(|(_, leader)| **leader == me).map(|(slot, _)| *slot) {
            began.entry(slot).or_insert(w.now().mono_us);
        }
        false
    });
    let blocks = &world.hosts[0].parents;
    let gaps: Vec<(Slot, Slot)> = blocks
        .iter()
        .map(|(slot, parent)| (*slot, *parent))
        .filter(|(slot, parent)| {
            slot.get() - parent.get() > 8 && began.contains_key(slot) && began.contains_key(parent)
        })
        .collect();
    assert!(!gaps.is_empty(), "the seed has a gap of eight slots of the dead leaders");
    for (slot, parent) in gaps {
        let due = began[&parent] + (slot.get() - parent.get()) * SLOT_US;
        let late = began[&slot].abs_diff(due);
        assert!(late <= TICK_US, "slot {slot} on {parent} began {late} us off its time");
    }
}

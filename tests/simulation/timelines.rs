//! What nodes write down of how a slot's shreds came.

use super::*;
use std::{collections::BTreeSet, sync::Arc};
use sundog_ledger::{Ledger, MemoryStore};
use sundog_turbine::{
    Sender,
    timeline::{How, Timeline},
};

fn timeline(world: &World, host: usize, slot: Slot) -> Timeline {
    let ledger = Ledger::new(Arc::<MemoryStore>::clone(&world.hosts[host].store));
    let bytes = ledger.timeline(slot).expect("memory does not fail").expect("written down once the block is complete");
    Timeline::decode(&bytes).expect("it was encoded by a node")
}

#[test]
fn seven_nodes_with_a_fanout_of_two_write_down_three_layers_of_a_tree() {
    let config = WorldConfig { seed: 31, stakes: vec![100; 7], fanout: Some(2), ..WorldConfig::default() };
    let mut world = World::new(config);
    run_to_root(&mut world, 8);
    holds(&world);
    let rooted = world.hosts[0].rooted_chain(root(&world, 0));
    for slot in rooted {
        let mut layers = BTreeSet::new();
        for host in 0..7 {
            let timeline = timeline(&world, host, slot);
            let leads = timeline.leader == identity(&world, host);
            assert!(timeline.complete_ms.is_some() && timeline.arrivals.len() >= 32, "{timeline:?}");
            for arrival in &timeline.arrivals {
                assert_eq!(leads, arrival.how == How::Own, "node {host}: {arrival:?}");
                if let How::Turbine { layer, from } = arrival.how {
                    assert_eq!(layer == 0, from == Sender::Peer(timeline.leader), "the leader sends to the root");
                    layers.insert(layer);
                }
            }
        }
        assert_eq!(layers, BTreeSet::from([0, 1, 2]), "slot {slot}");
    }
}

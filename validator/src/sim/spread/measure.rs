//! Blocks through a world, and what that cost.

use super::{
    config::{Block, SpreadConfig},
    world::SpreadWorld,
};
use crate::sim::Network;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use sundog_types::{Now, Slot, shred::variant::DATA_SHRED_SIZE};

/// Time between two blocks.
const SLOT: Duration = Duration::from_millis(400);
/// Slots after the last block in which everybody must have it: 40 seconds.
const PATIENCE_SLOTS: u64 = 100;
/// Slots after which votes have told everybody that a slot exists.
const VOTES_AFTER_SLOTS: u64 = 2;
/// Data shreds of an FEC set: as many shreds as bring the set.
const SHREDS_NEEDED: u64 = 32;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything that is random.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// Children of a node.
    pub fanout: usize,
    /// Datagrams lost, in percent.
    pub loss_percent: u32,
    /// Nodes that do not run, in percent.
    pub dead_percent: usize,
    /// Blocks, one each 400 ms.
    pub slots: u64,
    /// FEC sets of a block.
    pub sets: usize,
}

/// What was measured. Shares, times and hops are over all living nodes but the leaders.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Decides everything that is random.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// Children of a node.
    pub fanout: usize,
    /// Datagrams lost, in percent.
    pub loss_percent: u32,
    /// Nodes that did not run, in percent.
    pub dead_percent: usize,
    /// Blocks.
    pub slots: u64,
    /// FEC sets of a block.
    pub sets: usize,
    /// Share of blocks that are complete at a node if nobody repairs.
    pub complete_without_repair: f64,
    /// Share of blocks that are complete at a node in the end.
    pub complete: f64,
    /// Hops from the leader of a shred that arrived by Turbine, on average.
    pub hops_mean: f64,
    /// The greatest number of hops.
    pub hops_max: usize,
    /// Milliseconds from the moment in which the leader sent a block's last set until it was complete at 50, 90, 99 and
    /// 100 percent of the nodes. `None`: it never was.
    pub ms: [Option<u64>; 4],
    /// Bytes that a living node sent for an FEC set, on average.
    pub bytes_mean: u64,
    /// Bytes that the busiest node sent for an FEC set.
    pub bytes_max: u64,
    /// Bytes that a living node must send for an FEC set on average, if each is to receive 32 shreds of it.
    pub bytes_bound: u64,
    /// Repair requests that a living node made for an FEC set, on average.
    pub requests_mean: f64,
    /// Datagrams and timers that were delivered.
    pub events: u64,
    /// The hash of all that was delivered.
    pub history: String,
}

/// A run, and when the last set of each block left.
struct Run {
    world: SpreadWorld,
    published: BTreeMap<Slot, Now>,
}

/// Runs the blocks twice, without and with repair.
#[must_use]
pub fn measure(plan: &Plan) -> Row {
    let complete_without_repair = {
        let run = Run::of(plan, false);
        let times = run.times();
        share(&times)
    };
    let run = Run::of(plan, true);
    let mut times = run.times();
    times.sort_by_key(|time| time.unwrap_or(u64::MAX));
    let world = &run.world;
    let living = world.hosts.iter().filter(|host| host.alive);
    let (count, all_sets) = (living.clone().count() as u64, plan.slots * plan.sets as u64);
    let sent = living.clone().map(|host| host.traffic.bytes);
    let requests = living.map(|host| host.traffic.requests).sum::<u64>();
    let arrived = world.hops.iter().sum::<u64>();
    let hops = world.hops.iter().enumerate().map(|(hops, count)| hops as u64 * count).sum::<u64>();
    let set_bytes = SHREDS_NEEDED * DATA_SHRED_SIZE as u64;
    Row {
        seed: plan.seed,
        nodes: plan.nodes,
        fanout: plan.fanout,
        loss_percent: plan.loss_percent,
        dead_percent: plan.dead_percent,
        slots: plan.slots,
        sets: plan.sets,
        complete_without_repair,
        complete: share(&times),
        hops_mean: hops as f64 / arrived.max(1) as f64,
        hops_max: world.hops.len().saturating_sub(1),
        ms: [50, 90, 99, 100].map(|percent| percentile(&times, percent)),
        bytes_mean: sent.clone().sum::<u64>() / count / all_sets,
        bytes_max: sent.max().unwrap_or(0) / all_sets,
        bytes_bound: set_bytes * (count - 1) / count,
        requests_mean: requests as f64 / (count * all_sets) as f64,
        events: world.delivered(),
        history: world.history().to_string(),
    }
}

impl Run {
    fn of(plan: &Plan, repair: bool) -> Self {
        let Plan { seed, nodes, fanout, .. } = *plan;
        let usual = SpreadConfig::default();
        let network = Network { loss_ppm: plan.loss_percent * 10_000, ..usual.network };
        let mut world = SpreadWorld::new(SpreadConfig { seed, nodes, fanout, network, repair, ..usual });
        world.kill(nodes * plan.dead_percent / 100, (1..=plan.slots).map(Slot::new));
        let mut run = Self { world, published: BTreeMap::new() };
        for slot in 1..=plan.slots {
            run.begin(slot);
            run.lead(Slot::new(slot), plan.sets);
        }
        if repair {
            run.finish(plan.slots);
        } else {
            run.world.run_out(SLOT * PATIENCE_SLOTS as u32);
        }
        run
    }

    /// What every slot begins with: the clock, the votes, and a root as high as may be.
    fn begin(&mut self, slot: u64) {
        self.world.set_tip(Slot::new(slot));
        if let Some(voted) = slot.checked_sub(VOTES_AFTER_SLOTS).map(Slot::new)
            && self.published.contains_key(&voted)
        {
            self.world.set_wanted(&[voted]);
        }
        let root = self.published.keys().copied().take_while(|slot| self.world.complete_everywhere(*slot)).last();
        if let Some(root) = root {
            self.world.set_root(root);
        }
    }

    fn lead(&mut self, slot: Slot, sets: usize) {
        let parent = slot.saturating_sub(1);
        for set in self.world.block(Block { slot, parent, sets, version: 0 }) {
            self.world.run_for(SLOT / sets as u32);
            self.world.publish(set);
        }
        self.published.insert(slot, self.world.now());
    }

    fn finish(&mut self, slots: u64) {
        for slot in slots + 1..=slots + PATIENCE_SLOTS {
            self.begin(slot);
            let done = |world: &SpreadWorld| (1..=slots).all(|slot| world.complete_everywhere(Slot::new(slot)));
            if self.world.run_until(SLOT, done) {
                return;
            }
        }
    }

    /// Milliseconds until a block was complete, for all pairs of blocks and living nodes that do not lead it.
    fn times(&self) -> Vec<Option<u64>> {
        let mut times = Vec::new();
        for (slot, published) in &self.published {
            let leader = self.world.leader(*slot);
            for (number, host) in self.world.hosts.iter().enumerate() {
                if host.alive && number != leader {
                    let complete = host.told.complete.get(slot);
                    times.push(complete.map(|complete| complete.at.since(*published).as_millis() as u64));
                }
            }
        }
        times
    }
}

fn share(times: &[Option<u64>]) -> f64 {
    times.iter().flatten().count() as f64 / times.len().max(1) as f64
}

/// Of times that rise.
fn percentile(times: &[Option<u64>], percent: usize) -> Option<u64> {
    let place = (times.len() * percent).div_ceil(100).checked_sub(1)?;
    times.get(place).copied().flatten()
}

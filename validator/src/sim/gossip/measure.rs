//! Votes through a world, and what that cost.

use super::{
    config::GossipWorldConfig,
    tally::{CLASSES, KINDS, Probe, Tally, Traffic},
    world::GossipWorld,
};
use crate::sim::Network;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Worlds up to this size keep the values of everybody; in larger ones membership is given and [`TRACKED`] nodes speak.
const FULL_MAX: usize = 1_000;
/// Worlds up to this size are cheap.
const SMALL_MAX: usize = 200;
/// Nodes whose values are kept in large worlds.
const TRACKED: usize = 50;
/// Between two points of a curve, in milliseconds: half a round.
const STEP_MS: u64 = 50;
/// Points of a curve: 4 seconds.
const STEPS: usize = 81;
/// How long nodes find each other before the first vote.
const MEET: Duration = Duration::from_secs(16);
/// The first votes of the voters: fewer than the twenty after which relayers are judged.
const FRESH: Duration = Duration::from_secs(4);
/// Votes of the last seconds of the window are not judged: they are still under way.
const TAIL: Duration = Duration::from_secs(5);
/// How long a node that leaves stays away.
const AWAY: Duration = Duration::from_secs(4);
/// How often contact infos are renewed.
const REFRESH_S: f64 = 7.5;
/// Of gossip, in milliseconds.
const ROUND_MS: f64 = 100.0;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything that is random.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// Datagrams lost, in percent.
    pub loss_percent: u32,
    /// Nodes that leave and come back anew during the window, in percent.
    pub churn_percent: usize,
    /// Nodes that vote, once in 400 ms.
    pub voters: usize,
    /// Seconds from the first votes until the window begins: nodes prune.
    pub warm_s: u64,
    /// Seconds of the window.
    pub window_s: u64,
}

/// What was measured in the window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Decides everything that is random.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many of them have their values kept.
    pub origins: usize,
    /// Nodes that voted.
    pub voters: usize,
    /// Datagrams lost, in percent.
    pub loss_percent: u32,
    /// Nodes that left and came back, in percent.
    pub churn_percent: usize,
    /// Seconds before the window.
    pub warm_s: u64,
    /// Seconds of the window.
    pub window_s: u64,
    /// How the first votes of the voters spread, before anybody pruned their values.
    pub fresh: Spread,
    /// How votes spread in the window.
    pub settled: Spread,
    /// Copies of a published value that a node received by push, by kind, on average.
    pub copies: BTreeMap<&'static str, f64>,
    /// Share of news that came by push rather than by pull.
    pub pushed_share: f64,
    /// Bytes that a node sent in a second, by class of datagram.
    pub sent: BTreeMap<&'static str, f64>,
    /// Bytes that arrived at a node in a second, by class of datagram.
    pub received: BTreeMap<&'static str, f64>,
    /// Datagrams and timers that were delivered.
    pub events: u64,
    /// The hash of all that was delivered.
    pub history: String,
}

/// How votes spread, over all pairs of a vote and a node that ran from before the vote to the end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Votes.
    pub votes: usize,
    /// Rounds of 100 ms until votes had reached 50, 99 and 100 percent of the nodes. `None`: they had not by the end.
    pub rounds: [Option<f64>; 3],
    /// Share of the nodes that had a vote by the end. A vote lives for 12 slots, then its place is taken.
    pub reached: f64,
    /// Share of the nodes that had a vote after each half round.
    pub curve: Vec<f64>,
}

impl Plan {
    /// The usual lengths for so many nodes.
    #[must_use]
    pub const fn usual(seed: u64, nodes: usize, loss_percent: u32, churn_percent: usize) -> Self {
        let (voters, warm_s, window_s) = if nodes <= SMALL_MAX {
            (16, 26, 14)
        } else if nodes <= FULL_MAX {
            (16, 10, 8)
        } else {
            (6, 14, 9)
        };
        Self { seed, nodes, loss_percent, churn_percent, voters, warm_s, window_s }
    }

    /// The world for it.
    #[must_use]
    pub fn world(&self) -> GossipWorldConfig {
        let usual = GossipWorldConfig::default();
        let network = Network { loss_ppm: self.loss_percent * 10_000, ..usual.network };
        let tracked = (self.nodes > FULL_MAX).then_some(TRACKED);
        GossipWorldConfig { seed: self.seed, nodes: self.nodes, network, tracked, ..usual }
    }

    /// Nodes that vote: evenly over the ranks of those with stake whose values are kept.
    #[must_use]
    pub fn voters(&self, world: &GossipWorld) -> Vec<usize> {
        let mut staked = world.origins();
        staked.retain(|node| world.hosts[*node].stake > 0);
        let count = self.voters.min(staked.len());
        (0..count).map(|place| staked[place * staked.len() / count]).collect()
    }

    /// Runs it in a world of this many nodes.
    pub fn run(&self, world: &mut GossipWorld) -> Row {
        let voters = self.voters(world);
        world.run_for(MEET);
        world.run_speaking(FRESH, &voters);
        let settle = Duration::from_secs(self.warm_s).saturating_sub(FRESH);
        world.run_speaking(settle.max(TAIL), &voters);
        let fresh = Spread::of(world, settle.max(TAIL));
        world.tally = Tally::default();
        world.probes.clear();
        world.hosts.iter_mut().for_each(|host| host.traffic = Traffic::default());
        let window = Duration::from_secs(self.window_s);
        world.churn(self.nodes * self.churn_percent / 100, window.saturating_sub(AWAY), AWAY);
        world.run_speaking(window, &voters);
        row(self, world, fresh)
    }
}

/// Runs a plan in its world.
#[must_use]
pub fn measure(plan: &Plan) -> Row {
    plan.run(&mut GossipWorld::new(plan.world()))
}

fn row(plan: &Plan, world: &GossipWorld, fresh: Spread) -> Row {
    let tally = &world.tally;
    let news = (tally.news_pushed + tally.news_pulled).max(1) as f64;
    Row {
        seed: plan.seed,
        nodes: plan.nodes,
        origins: world.origins().len(),
        voters: plan.voters(world).len(),
        loss_percent: plan.loss_percent,
        churn_percent: plan.churn_percent,
        warm_s: plan.warm_s,
        window_s: plan.window_s,
        fresh,
        settled: Spread::of(world, TAIL),
        copies: copies(plan, world),
        pushed_share: tally.news_pushed as f64 / news,
        sent: bytes(plan, world, |traffic| &traffic.sent),
        received: bytes(plan, world, |traffic| &traffic.received),
        events: world.delivered(),
        history: world.history().to_string(),
    }
}

impl Spread {
    /// How the followed votes spread that are at least so old.
    fn of(world: &GossipWorld, age: Duration) -> Self {
        let judged: Vec<&Probe> = world.probes.iter().filter(|probe| world.now().since(probe.at) >= age).collect();
        let mut times: Vec<u16> = judged.iter().flat_map(|probe| arrivals(world, probe)).collect();
        times.sort_unstable();
        let share = |ms: u64| {
            let reached = times.partition_point(|time| u64::from(*time) <= ms);
            reached as f64 / times.len().max(1) as f64
        };
        Self {
            votes: judged.len(),
            rounds: [50, 99, 100].map(|percent| rounds(&times, percent)),
            reached: share(u64::from(u16::MAX - 1)),
            curve: (0..STEPS as u64).map(|step| share(step * STEP_MS)).collect(),
        }
    }
}

/// When a vote arrived at each node that ran all the time since.
fn arrivals<'a>(world: &'a GossipWorld, probe: &'a Probe) -> impl Iterator<Item = u16> + 'a {
    let hosts = world.hosts.iter().zip(&probe.ms);
    let steady = hosts.filter(|(host, _)| host.runs() && probe.at.reached(host.since));
    steady.map(|(_, ms)| *ms)
}

fn rounds(times: &[u16], percent: usize) -> Option<f64> {
    let place = (times.len() * percent).div_ceil(100).checked_sub(1)?;
    let ms = times.get(place).filter(|ms| **ms != u16::MAX)?;
    Some(f64::from(*ms) / ROUND_MS)
}

/// Copies of a published value that a node got by push.
fn copies(plan: &Plan, world: &GossipWorld) -> BTreeMap<&'static str, f64> {
    let renewed = world.origins().len() as f64 * plan.window_s as f64 / REFRESH_S;
    let mut copies = BTreeMap::new();
    for (kind, name) in KINDS.iter().enumerate() {
        let published = if *name == "ContactInfo" { renewed } else { world.tally.published[kind] as f64 };
        if published > 0.0 {
            copies.insert(*name, world.tally.pushed[kind] as f64 / published / (plan.nodes - 1) as f64);
        }
    }
    copies
}

fn bytes(plan: &Plan, world: &GossipWorld, way: fn(&Traffic) -> &[u64; CLASSES.len()]) -> BTreeMap<&'static str, f64> {
    let per = (plan.nodes as u64 * plan.window_s) as f64;
    let total = |class| world.hosts.iter().map(|host| way(&host.traffic)[class]).sum::<u64>() as f64;
    CLASSES.iter().enumerate().map(|(class, name)| (*name, total(class) / per)).collect()
}

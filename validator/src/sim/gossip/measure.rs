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
/// Nodes whose values are kept in large worlds.
const TRACKED: usize = 50;
/// Between two points of a curve, in milliseconds: half a round.
const STEP_MS: u64 = 50;
/// Points of a curve: 4 seconds.
const STEPS: usize = 81;
/// Votes of the last seconds of the window are not judged: they are still under way.
const TAIL: Duration = Duration::from_secs(5);
/// How long a node that leaves stays away.
const AWAY: Duration = Duration::from_secs(8);
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
    /// Seconds until the window begins: nodes find each other and prune.
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
    /// Votes judged, over all nodes that ran from before the vote to the end of the window.
    pub votes: usize,
    /// Rounds of 100 ms until a vote was at 50, 99 and 100 percent of the nodes, on average. `None`: some vote was not,
    /// by the end.
    pub rounds: [Option<f64>; 3],
    /// The same of the slowest vote.
    pub rounds_max: [Option<f64>; 3],
    /// Share of nodes that a vote had reached by the end, on average.
    pub reached: f64,
    /// Copies of a published value that a node received by push, by kind, on average.
    pub copies: BTreeMap<&'static str, f64>,
    /// Share of news that came by push rather than by pull.
    pub pushed_share: f64,
    /// Bytes that a node sent in a second, by class of datagram.
    pub sent: BTreeMap<&'static str, f64>,
    /// Bytes that arrived at a node in a second, by class of datagram.
    pub received: BTreeMap<&'static str, f64>,
    /// Share of nodes that a vote had reached after each half round.
    pub curve: Vec<f64>,
    /// Datagrams and timers that were delivered.
    pub events: u64,
    /// The hash of all that was delivered.
    pub history: String,
}

impl Plan {
    /// The usual lengths for so many nodes.
    #[must_use]
    pub const fn usual(seed: u64, nodes: usize, loss_percent: u32, churn_percent: usize) -> Self {
        let (voters, warm_s, window_s) = if nodes <= FULL_MAX { (20, 60, 30) } else { (10, 40, 20) };
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
        world.run_speaking(Duration::from_secs(self.warm_s), &voters);
        world.tally = Tally::default();
        world.probes.clear();
        world.hosts.iter_mut().for_each(|host| host.traffic = Traffic::default());
        let window = Duration::from_secs(self.window_s);
        world.churn(self.nodes * self.churn_percent / 100, window.saturating_sub(AWAY), AWAY);
        world.run_speaking(window, &voters);
        row(self, world, voters.len())
    }
}

/// Runs a plan in its world.
#[must_use]
pub fn measure(plan: &Plan) -> Row {
    plan.run(&mut GossipWorld::new(plan.world()))
}

fn row(plan: &Plan, world: &GossipWorld, voters: usize) -> Row {
    let judged: Vec<&Probe> = world.probes.iter().filter(|probe| world.now().since(probe.at) >= TAIL).collect();
    let times: Vec<Vec<u16>> = judged.iter().map(|probe| arrivals(world, probe)).collect();
    let reached = |times: &[u16], ms: u64| times.iter().filter(|time| u64::from(**time) <= ms).count();
    let share = |ms: u64| {
        let shares = times.iter().map(|times| reached(times, ms) as f64 / times.len().max(1) as f64);
        shares.sum::<f64>() / times.len().max(1) as f64
    };
    let slowest = [50, 99, 100].map(|percent| {
        let rounds: Option<Vec<f64>> = times.iter().map(|times| rounds(times, percent)).collect();
        rounds.filter(|rounds| !rounds.is_empty())
    });
    let tally = &world.tally;
    let news = (tally.news_pushed + tally.news_pulled).max(1) as f64;
    Row {
        seed: plan.seed,
        nodes: plan.nodes,
        origins: world.origins().len(),
        voters,
        loss_percent: plan.loss_percent,
        churn_percent: plan.churn_percent,
        warm_s: plan.warm_s,
        window_s: plan.window_s,
        votes: times.len(),
        rounds: slowest.each_ref().map(|all| all.as_ref().map(|all| all.iter().sum::<f64>() / all.len() as f64)),
        rounds_max: slowest.each_ref().map(|all| all.as_ref()?.iter().copied().max_by(f64::total_cmp)),
        reached: share(u64::from(u16::MAX - 1)),
        copies: copies(plan, world),
        pushed_share: tally.news_pushed as f64 / news,
        sent: bytes(plan, world, |traffic| &traffic.sent),
        received: bytes(plan, world, |traffic| &traffic.received),
        curve: (0..STEPS as u64).map(|step| share(step * STEP_MS)).collect(),
        events: world.delivered(),
        history: world.history().to_string(),
    }
}

/// When a vote arrived at each node that ran all the time since, ascending.
fn arrivals(world: &GossipWorld, probe: &Probe) -> Vec<u16> {
    let hosts = world.hosts.iter().zip(&probe.ms);
    let steady = hosts.filter(|(host, _)| host.runs() && probe.at.reached(host.since));
    let mut times: Vec<u16> = steady.map(|(_, ms)| *ms).collect();
    times.sort_unstable();
    times
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

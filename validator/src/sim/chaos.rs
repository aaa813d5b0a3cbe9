//! Whole nodes in chaos: partitions, crashes, slow and lossy networks, wrong clocks and lying leaders, drawn from a seed,
//! under the eyes of the judge; then everything heals, and all must agree.
//!
//! ```text
//!   seed --> Plan: stakes, a liar, what happens at which slot --> World, slot by slot --> healed --> Recovery
//!                                                                   |
//!                                          blocks, votes, roots --> Checker
//! ```
//!
//! [`super::votes`] plays thousands of seeds of the same with consensus alone. Here banks, shreds, repair, gossip and
//! disks take part.

mod plan;

use super::{Fault, OnViolation, Recovery, World, WorldConfig, votes::checker::Violation};
use plan::{Plan, Step};
use serde::Serialize;
use std::time::Duration;
use sundog_types::Slot;

/// Length of a slot: long enough that a block crosses the slowest network of a plan in a part of it.
const SLOT: Duration = Duration::from_millis(200);
/// Slots that a calm start may take until the first root, at most.
const START_SLOTS: u32 = 400;

/// What a run is made of. What is left open is drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub struct ChaosConfig {
    /// Decides everything that is random.
    pub seed: u64,
    /// Nodes. Without a number: 4 or 5.
    pub nodes: Option<usize>,
    /// Slots in which things go wrong; then everything heals.
    pub slots: u64,
}

impl Default for ChaosConfig {
    fn default() -> Self {
        Self { seed: 1, nodes: None, slots: 100 }
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChaosOutcome {
    /// Its seed.
    pub seed: u64,
    /// Stakes of the nodes, in SOL.
    pub stakes: Vec<u64>,
    /// How a leader lied, if one did.
    pub lie: Option<&'static str>,
    /// Slots that passed.
    pub slots: u64,
    /// Different blocks that were executed.
    pub blocks: usize,
    /// Votes cast.
    pub votes: usize,
    /// Times that a node died.
    pub crashes: u64,
    /// Times that links were cut.
    pub cuts: u64,
    /// The nodes' roots at the end.
    pub roots: Vec<u64>,
    /// Slots after the faults until every node had a new root.
    pub recovered_in: Option<u64>,
    /// Slots that it might have taken.
    pub allowed: Option<u64>,
    /// Whether that took longer. It is a violation unless promises were made since that explain it, or a leader made two
    /// versions of a block: then votes may be so divided among versions that nobody may leave any of them (docs/chaos.md).
    /// If no new root came at all, it is one unless that is how they stand.
    pub late: bool,
    /// The first rule that was broken.
    pub violation: Option<String>,
    /// Witness that a seed gives one history.
    pub history: String,
}

/// Plays a seed.
#[must_use]
pub fn run(config: &ChaosConfig) -> ChaosOutcome {
    let plan = Plan::new(config);
    let mut world = World::new(WorldConfig {
        seed: config.seed,
        stakes: plan.stakes.clone(),
        slot: SLOT,
        network: plan.network,
        on_violation: OnViolation::Stop,
        ..WorldConfig::default()
    });
    let began = world.run_until(SLOT * START_SLOTS, |world| world.rooted_everywhere() > Slot::ZERO);
    if let Some((liar, fault)) = plan.liar {
        world.hosts[liar].fault = Some((fault, world.clock_slot()));
    }
    let (mut crashes, mut cuts) = (0, 0);
    for slot in 0..config.slots {
        for step in plan.at(slot) {
            crashes += u64::from(matches!(step, Step::Crash(_)));
            cuts += u64::from(matches!(step, Step::Part(_) | Step::Cut(..)));
            take(&mut world, step);
        }
        world.run_until(SLOT, |_| false);
    }
    heal(&mut world, &plan);
    let recovery = world.recover();
    let mut outcome = outcome(&world, &plan);
    (outcome.crashes, outcome.cuts) = (crashes, cuts);
    (outcome.recovered_in, outcome.allowed) = (recovery.slots, Some(recovery.allowed()));
    outcome.late = !began || !recovery.in_time();
    let standstill = plan.forks() && world.standstill().is_some();
    if outcome.violation.is_none() && (!began || is_stuck(&recovery, plan.forks(), standstill)) {
        let healed = Slot::new(config.slots);
        let by = healed.saturating_add(recovery.explained());
        let roots = outcome.roots.iter().copied().map(Slot::new).collect();
        outcome.violation = Some(Violation::Stuck { healed, by, root: recovery.root, roots }.to_string());
    }
    outcome
}

/// Whether nothing explains that no new root came in time. Where a leader made two versions of a block, votes may be so
/// divided that it takes longer; if none came at all, the judge must see that the rules let nobody go on.
const fn is_stuck(recovery: &Recovery, forks: bool, standstill: bool) -> bool {
    match recovery.slots {
        Some(slots) => slots > recovery.explained() && !forks,
        None => !(forks && standstill),
    }
}

fn take(world: &mut World, step: &Step) {
    match step {
        Step::Part(groups) => {
            let groups: Vec<&[usize]> = groups.iter().map(Vec::as_slice).collect();
            world.part(&groups);
        }
        Step::Cut(from, to) => world.cut_one_way(*from, *to),
        Step::Join => world.heal(),
        Step::Crash(host) => world.kill(*host),
        Step::Start(host) => start(world, *host),
        Step::Skew(host, ms) => world.skew(*host, *ms),
        Step::Pace(host, percent) => world.poh_rate(*host, *percent),
        Step::Network(network) => world.set_network(*network),
        Step::Lie(host) => {
            let from = world.clock_slot();
            world.hosts[*host].lie_again(from);
        }
    }
}

/// Starts a machine if it is down.
fn start(world: &mut World, host: usize) {
    if world.hosts[host].node.is_none() {
        world.start(host);
    }
}

/// Ends every fault.
fn heal(world: &mut World, plan: &Plan) {
    world.heal();
    world.set_network(plan.network);
    for host in 0..world.hosts.len() {
        world.hosts[host].fault = None;
        world.skew(host, 0);
        world.poh_rate(host, 100);
        start(world, host);
    }
}

fn outcome(world: &World, plan: &Plan) -> ChaosOutcome {
    let shown = world.outcome();
    let blocks: std::collections::BTreeSet<_> =
        world.hosts.iter().flat_map(|host| host.blocks.iter().chain(&host.lost)).collect();
    ChaosOutcome {
        seed: shown.seed,
        stakes: plan.stakes.clone(),
        lie: plan.liar.map(|(_, fault)| lie_of(fault)),
        slots: world.clock_slot().get(),
        blocks: blocks.len(),
        votes: world.hosts.iter().map(|host| host.voted.len()).sum(),
        crashes: 0,
        cuts: 0,
        roots: shown.nodes.iter().map(|node| node.root).collect(),
        recovered_in: None,
        allowed: None,
        late: false,
        violation: shown.violation.or(shown.conflict),
        history: shown.history,
    }
}

const fn lie_of(fault: Fault) -> &'static str {
    match fault {
        Fault::WrongEntryHash => "wrong entry hash",
        Fault::WrongTickCount => "wrong tick count",
        Fault::InvalidTransaction => "invalid transaction",
        Fault::TwoVersions => "two versions",
        Fault::NotDecodable => "not decodable",
        Fault::Floods => "floods",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_stuck_unless_a_leader_forked_and_never_is_unless_the_rules_let_nobody_go_on() {
        let recovery = |slots| Recovery { root: Slot::new(3), slots, promised: 2, promised_since: 6 };
        let stuck = |slots, forks, standstill| is_stuck(&recovery(slots), forks, standstill);
        assert!(!stuck(Some(70), false, false), "6 that were promised, before or since, and 64 more");
        assert!(stuck(Some(71), false, false) && stuck(Some(71), false, true));
        assert!(!stuck(Some(71), true, false));
        assert!(stuck(None, false, true) && stuck(None, true, false));
        assert!(!stuck(None, true, true));
    }
}

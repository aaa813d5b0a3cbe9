//! `sundog sim --scenario chaos --whole`.

use super::chaos::verdict;
use crate::{
    cli::{say, say_json},
    sim::chaos::{self, ChaosConfig, ChaosOutcome},
};
use std::ops::Range;

/// Progress is told after so many seeds.
const PROGRESS_SEEDS: u64 = 10;

/// What came of all seeds.
#[derive(Default, serde::Serialize)]
struct Found {
    seeds: u64,
    slots: u64,
    votes: usize,
    /// Runs in which no new root came in time, for promises made since or two versions of a block.
    late: u64,
    /// The first run in which a rule was broken.
    first: Option<ChaosOutcome>,
}

/// Plays the seeds until a rule is broken.
///
/// # Errors
/// If one is.
pub(super) fn run(seeds: Range<u64>, nodes: Option<usize>, json: bool) -> anyhow::Result<()> {
    let (mut found, single) = (Found::default(), seeds.end - seeds.start == 1);
    for seed in seeds {
        let outcome = chaos::run(&ChaosConfig { seed, nodes, ..ChaosConfig::default() });
        found.seeds += 1;
        found.slots += outcome.slots;
        found.votes += outcome.votes;
        found.late += u64::from(outcome.late);
        if single || outcome.violation.is_some() {
            found.first = Some(outcome);
            break;
        }
        if found.seeds.is_multiple_of(PROGRESS_SEEDS) {
            tracing::info!("{} seeds, {} slots, {} votes: every rule held", found.seeds, found.slots, found.votes);
        }
    }
    match &found.first {
        Some(outcome) if single && json => say_json(outcome),
        _ if json => say_json(&found),
        Some(outcome) if single => tell(outcome),
        _ => say(format_args!(
            "{} seeds  {} slots  {} votes  {} late",
            found.seeds, found.slots, found.votes, found.late
        )),
    }
    found.first.as_ref().map_or(Ok(()), |outcome| verdict((outcome.seed, outcome.violation.as_ref())))
}

fn tell(outcome: &ChaosOutcome) {
    for (node, (stake, root)) in outcome.stakes.iter().zip(&outcome.roots).enumerate() {
        say(format_args!("node {node}  stake {stake:>5}  root {root:>5}"));
    }
    let ChaosOutcome { slots, blocks, votes, crashes, cuts, .. } = outcome;
    say(format_args!("{slots} slots  {blocks} blocks  {votes} votes  {crashes} crashes  {cuts} cuts"));
    say(format_args!("a leader's lie: {}", outcome.lie.unwrap_or("none")));
    if let (Some(slots), Some(allowed)) = (outcome.recovered_in, outcome.allowed) {
        say(format_args!("a new root everywhere {slots} slots after the faults, {allowed} allowed"));
    }
    say(format_args!("history {}", outcome.history));
}

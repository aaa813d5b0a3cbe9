//! `sundog sim --scenario chaos`.

use super::SimArgs;
use crate::{
    cli::{say, say_json},
    sim::votes::{self, VotesConfig, VotesOutcome, checker::Standstill},
};
use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use std::{fmt::Display, ops::Range};
use sundog_tower::Checks;

/// Progress is told after so many seeds.
const PROGRESS_SEEDS: u64 = 200;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Partitions, crashes, delays and lies, drawn from the seed, on nodes that are consensus and nothing else.
    Chaos,
}

/// A check that honest nodes can be made to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// The proof that a switch of forks needs.
    Switch,
    /// Earlier votes that still bind.
    Lockout,
    /// Two thirds behind a vote that is buried deep.
    Threshold,
}

/// Arguments of the scenario.
#[derive(Args)]
pub struct ChaosArgs {
    /// Search for broken rules instead: exit code 1 and the seed if one is found.
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// Seeds to play, as FROM..TO without the last. Without it: the one of --seed.
    #[arg(long, requires = "scenario", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Play whole nodes, with banks, shreds and disks: slower by far. 4 or 5 of them unless --nodes says how many.
    #[arg(long, requires = "scenario", conflicts_with = "without")]
    whole: bool,
    /// Leave a check out, to see that the search finds what it is for.
    #[arg(long, requires = "scenario", value_enum)]
    without: Option<Check>,
}

impl ChaosArgs {
    pub(super) const fn is_asked_for(&self) -> bool {
        self.scenario.is_some()
    }
}

fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("give seeds as FROM..TO, for example 0..2000")?;
    let (from, to) = (from.parse()?, to.parse()?);
    ensure!(from < to, "{from}..{to} holds no seed; the second number is the larger one");
    Ok(from..to)
}

/// What came of all seeds.
#[derive(serde::Serialize)]
struct Found {
    seeds: u64,
    slots: u64,
    votes: u64,
    /// Runs with lies in which no new root came in time, because the rules let nobody go on.
    late: u64,
    /// Of those, the ones in which votes were divided among versions of a block.
    versions: u64,
    /// The first violation.
    first: Option<VotesOutcome>,
}

/// Plays the seeds until a rule is broken.
///
/// # Errors
/// If one is; the program then ends with exit code 1 and names the seed.
pub fn run(args: &SimArgs) -> anyhow::Result<()> {
    // Whole nodes say much themselves.
    crate::io::log_to_stderr(if args.chaos.whole { "off,sundog_validator::cli=info" } else { "info" });
    play(args)
}

fn play(args: &SimArgs) -> anyhow::Result<()> {
    let checks = Checks {
        switch: args.chaos.without != Some(Check::Switch),
        lockout: args.chaos.without != Some(Check::Lockout),
        threshold: args.chaos.without != Some(Check::Threshold),
        ..Checks::default()
    };
    let nodes = args.nodes.map(usize::from);
    ensure!(nodes.is_none_or(|nodes| (3..=16).contains(&nodes)), "chaos plays 3 to 16 nodes");
    if args.chaos.whole {
        let seeds = args.chaos.seeds.clone().unwrap_or(args.seed..args.seed + 1);
        return super::whole::run(seeds, nodes, args.json);
    }
    let config = VotesConfig { nodes, checks, ..VotesConfig::default() };
    let Some(seeds) = args.chaos.seeds.clone() else {
        let outcome = votes::run(&VotesConfig { seed: args.seed, ..config });
        tell(&outcome, args.json);
        return verdict((outcome.seed, outcome.violation.as_ref()));
    };
    let mut found = Found { seeds: 0, slots: 0, votes: 0, late: 0, versions: 0, first: None };
    for seed in seeds {
        let outcome = votes::run(&VotesConfig { seed, ..config });
        found.seeds += 1;
        found.slots += outcome.slots;
        found.votes += outcome.votes;
        found.late += u64::from(outcome.late);
        found.versions += u64::from(outcome.late && outcome.standstill == Some(Standstill::Versions));
        if outcome.violation.is_some() {
            found.first = Some(outcome);
            break;
        }
        if found.seeds.is_multiple_of(PROGRESS_SEEDS) {
            tracing::info!("{} seeds, {} slots, {} votes: every rule held", found.seeds, found.slots, found.votes);
        }
    }
    if args.json {
        say_json(&found);
    } else {
        let Found { seeds, slots, votes, late, versions, .. } = &found;
        say(format_args!(
            "{seeds} seeds  {slots} slots  {votes} votes  {late} late, {versions} of them over two versions"
        ));
    }
    found.first.as_ref().map_or(Ok(()), |outcome| verdict((outcome.seed, outcome.violation.as_ref())))
}

fn tell(outcome: &VotesOutcome, json: bool) {
    if json {
        return say_json(outcome);
    }
    for (node, root) in outcome.roots.iter().enumerate() {
        let stake = outcome.stakes.get(node).map_or_else(|| "a twin".to_owned(), ToString::to_string);
        say(format_args!("node {node}  stake {stake:>7}  root {root:>5}"));
    }
    let VotesOutcome { slots, blocks, votes, switches, crashes, duplicates, .. } = outcome;
    say(format_args!(
        "{slots} slots  {blocks} blocks  {votes} votes  {switches} switches  {crashes} crashes  {duplicates} proofs of two versions"
    ));
    say(format_args!("history {:016x}", outcome.history));
}

/// What the program ends with: an error that names the seed if a rule was broken.
pub(super) fn verdict((seed, violation): (u64, Option<&impl Display>)) -> anyhow::Result<()> {
    violation.map_or(Ok(()), |violation| bail!("seed {seed}: {violation}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only for its arguments: the program's own parser.
    #[derive(clap::Parser)]
    struct Sim {
        #[command(flatten)]
        args: SimArgs,
    }

    fn played(arguments: &str) -> Result<(), String> {
        use clap::Parser as _;
        let words = ["sim", "--scenario", "chaos"].into_iter().chain(arguments.split(' '));
        play(&Sim::try_parse_from(words).expect("arguments").args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_broken_rule_is_an_error_that_names_the_seed() {
        assert_eq!(played("--seed 3"), Ok(()));
        let error = played("--seeds 0..20 --without lockout").expect_err("a search finds it");
        let seed = error.strip_prefix("seed ").and_then(|rest| rest.split(':').next()).expect("the seed comes first");
        assert!(seed.parse::<u64>().is_ok_and(|seed| seed < 20), "{error}");
        assert_eq!(played(&format!("--seed {seed} --without lockout")), Err(error), "and plays again");
    }

    #[test]
    fn seeds_are_a_range_with_something_in_it() {
        assert_eq!(range("3..9").expect("a range"), 3..9);
        for wrong in ["", "3", "9..3", "3..3", "a..b", "3..=4"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}

//! `sundog sim`.

mod chaos;
mod gossip;
mod report;
mod turbine;
mod whole;

use super::{say, say_json};
use crate::sim::{Network, OnViolation, World, WorldConfig};
use anyhow::bail;
use clap::{Args, Subcommand};
use std::time::Duration;
use sundog_types::Slot;

/// Arguments of `sundog sim`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  sundog sim --seed 7 --nodes 3 --slots 40 --loss 10\n  sundog sim --scenario chaos --nodes 5 --seeds 0..2000\n  sundog sim --scenario chaos --whole --seeds 0..100\n  sundog sim turbine --nodes 2000 --fanout 200 --loss 5\n  sundog sim gossip --nodes 1000 --loss 30"
)]
pub struct SimArgs {
    #[command(subcommand)]
    what: Option<Sim>,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many validators: without a number 3, or in chaos 4 to 6 as the seed says. The first three have stakes 1000, 600
    /// and 400, further ones 100; in chaos stakes are random.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: Option<u16>,
    /// Run until every node has rooted this slot.
    #[arg(long, default_value_t = 40, conflicts_with = "scenario")]
    slots: u64,
    #[command(flatten)]
    chaos: chaos::ChaosArgs,
    /// Datagrams lost, in percent.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=90))]
    loss: u32,
    /// Slots in an epoch.
    #[arg(long, default_value_t = 8_192, value_parser = clap::value_parser!(u64).range(32..=1_000_000))]
    slots_per_epoch: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What to simulate instead of whole nodes.
#[derive(Subcommand)]
enum Sim {
    /// Send blocks through up to ten thousand nodes by Turbine and repair alone, and measure that.
    Turbine(turbine::TurbineArgs),
    /// Let up to ten thousand nodes gossip and nothing else, and measure that.
    Gossip(gossip::GossipArgs),
}

/// Runs it.
///
/// # Errors
/// If the nodes do not root the slot in a generous time, or root conflicting blocks.
pub fn run(args: &SimArgs) -> anyhow::Result<()> {
    match &args.what {
        Some(Sim::Turbine(args)) => return turbine::run(args),
        Some(Sim::Gossip(args)) => return gossip::run(args),
        None => {}
    }
    if args.chaos.is_asked_for() {
        return chaos::run(args);
    }
    crate::io::log_to_stderr("warn");
    let nodes = args.nodes.unwrap_or(3).into();
    let stakes = [1_000, 600, 400].into_iter().chain(std::iter::repeat(100)).take(nodes).collect();
    let network = Network { loss_ppm: args.loss * 10_000, ..Network::default() };
    let config = WorldConfig {
        seed: args.seed,
        stakes,
        network,
        on_violation: OnViolation::Stop,
        slots_per_epoch: args.slots_per_epoch,
        ..WorldConfig::default()
    };
    // Rooting a slot takes 32 votes after it; four times that and a minute is generous on a bad network.
    let limit = config.slot * u32::try_from((args.slots + 64) * 4)? + Duration::from_secs(60);
    let mut world = World::new(config);
    let target = Slot::new(args.slots);
    let done = world.run_until(limit, |world| world.rooted_everywhere() >= target);
    let outcome = world.outcome();
    if args.json {
        say_json(&outcome);
    } else {
        for (number, node) in outcome.nodes.iter().enumerate() {
            say(format_args!(
                "node {number}  stake {:>5}  root {:>5}  blocks {:>5}  skipped {:>4}  dead {:>3}",
                node.stake, node.root, node.blocks, node.skipped, node.dead
            ));
        }
        say(format_args!("{:.1} s of virtual time, {} events", outcome.virtual_ms as f64 / 1e3, outcome.delivered));
        say(format_args!("history {}", outcome.history));
    }
    if let Some(conflict) = outcome.conflict {
        bail!("seed {}: nodes rooted conflicting blocks: {conflict}", args.seed);
    }
    if let Some(violation) = outcome.violation {
        bail!("seed {}: {violation}", args.seed);
    }
    if !done {
        bail!("seed {}: slot {target} was not rooted everywhere in {} s of virtual time", args.seed, limit.as_secs());
    }
    Ok(())
}

//! `sundog sim turbine`.

use super::report::Report;
use crate::sim::spread::{self, Plan, Row};
use clap::Args;
use std::path::PathBuf;

/// Nodes in one run and its blocks and sets: more where a block is cheap.
const SIZES: [(usize, u64, usize); 3] = [(100, 20, 2), (1_000, 8, 2), (4_000, 2, 2)];
const LARGE: (u64, usize) = (1, 1);
/// Runs side by side: the largest takes some 1.5 GB of memory.
const RUNS_MAX: usize = 4;

/// Arguments of `sundog sim turbine`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sundog sim turbine --nodes 20,200 --fanout 2 --loss 15
  sundog sim turbine --write docs/turbine.md      the whole table; takes some ten minutes")]
pub struct TurbineArgs {
    /// How many nodes; several values give several rows.
    #[arg(long, value_delimiter = ',', default_values_t = [20, 200, 2_000, 10_000], value_parser = clap::value_parser!(u16).range(2..=50_000))]
    nodes: Vec<u16>,
    /// Children of a node in the tree.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 2], value_parser = clap::value_parser!(u16).range(1..=2_000))]
    fanout: Vec<u16>,
    /// Datagrams lost, in percent.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 5, 15], value_parser = clap::value_parser!(u32).range(0..=90))]
    loss: Vec<u32>,
    /// Nodes that do not run, in percent.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=90))]
    dead: u8,
    /// Blocks of each run. Without it: 20 for up to 100 nodes, 8 up to 1,000, 2 up to 4,000, else 1.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    slots: Option<u64>,
    /// FEC sets of a block. Without it: 2 for up to 4,000 nodes, else 1.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    sets: Option<u16>,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also put the table between the markers of this document.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl TurbineArgs {
    fn plans(&self) -> Vec<Plan> {
        let mut plans = Vec::new();
        for nodes in self.nodes.iter().copied().map(usize::from) {
            let size = SIZES.iter().find(|(most, ..)| nodes <= *most);
            let (slots, sets) = size.map_or(LARGE, |(_, slots, sets)| (*slots, *sets));
            for fanout in self.fanout.iter().copied().map(usize::from) {
                plans.extend(self.loss.iter().map(|loss| Plan {
                    seed: self.seed,
                    nodes,
                    fanout,
                    loss_percent: *loss,
                    dead_percent: self.dead.into(),
                    slots: self.slots.unwrap_or(slots),
                    sets: self.sets.map_or(sets, usize::from),
                }));
            }
        }
        plans
    }
}

fn run_one(plan: &Plan) -> Row {
    let row = spread::measure(plan);
    let Plan { nodes, fanout, loss_percent, .. } = plan;
    tracing::info!("{nodes} nodes, fanout {fanout}, {loss_percent} % loss: done");
    row
}

/// Runs it.
///
/// # Errors
/// If the document cannot be read or written, or has no place for the table.
pub fn run(args: &TurbineArgs) -> anyhow::Result<()> {
    let report = Report { write: args.write.as_deref(), place: spread::PLACE, json: args.json, at_once: RUNS_MAX };
    report.make(&args.plans(), run_one, spread::table).map(drop)
}

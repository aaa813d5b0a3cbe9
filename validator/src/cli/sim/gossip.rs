//! `sundog sim gossip`.

use super::report::Report;
use crate::sim::gossip::{self, Plan, Row};
use anyhow::Context as _;
use clap::Args;
use std::{fs, path::PathBuf};

/// Runs side by side: the largest takes some 4 GB of memory.
const RUNS_MAX: usize = 2;

/// Nodes that leave and come back, in percent, if nothing else is said.
const CHURN: u8 = 20;
/// Worlds up to this size are also measured without.
const CALM_MAX: usize = 1_000;

/// Arguments of `sundog sim gossip`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sundog sim gossip --nodes 100 --loss 0,30 --churn 20
  sundog sim gossip --write docs/gossip.md      the whole table, and the plot docs/gossip.svg; takes an hour and 8 GB")]
pub struct GossipArgs {
    /// How many nodes; several values give several rows. Up to 1,000 keep the values of all, more those of 50.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 5_000, 10_000], value_parser = clap::value_parser!(u16).range(10..=50_000))]
    nodes: Vec<u16>,
    /// Datagrams lost, in percent.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 10, 30], value_parser = clap::value_parser!(u32).range(0..=90))]
    loss: Vec<u32>,
    /// Nodes that leave and come back anew while it is measured, in percent; several values give several rows. Without
    /// it: 0 and 20 for up to 1,000 nodes, else 20.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..=90))]
    churn: Vec<u8>,
    /// Seconds of virtual time with votes before it is measured. Without it: 26 for up to 200 nodes, 10 up to 1,000,
    /// else 14.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    warm: Option<u64>,
    /// Seconds of virtual time in which it is measured. Without it: 14 for up to 200 nodes, 8 up to
    /// 1,000, else 9.
    #[arg(long, value_parser = clap::value_parser!(u64).range(8..=3_600))]
    window: Option<u64>,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also put the table between the markers of this document, and a plot beside it, with the ending `svg`.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl GossipArgs {
    fn plans(&self) -> Vec<Plan> {
        let mut plans = Vec::new();
        for nodes in self.nodes.iter().copied().map(usize::from) {
            for churn in self.churns(nodes) {
                plans.extend(self.loss.iter().map(|loss| {
                    let usual = Plan::usual(self.seed, nodes, *loss, usize::from(*churn));
                    let warm_s = self.warm.unwrap_or(usual.warm_s);
                    Plan { warm_s, window_s: self.window.unwrap_or(usual.window_s), ..usual }
                }));
            }
        }
        plans
    }

    fn churns(&self, nodes: usize) -> &[u8] {
        match &self.churn[..] {
            [] if nodes <= CALM_MAX => &[0, CHURN],
            [] => &[CHURN],
            given => given,
        }
    }
}

fn run_one(plan: &Plan) -> Row {
    let row = gossip::measure(plan);
    let Plan { nodes, loss_percent, churn_percent, .. } = plan;
    tracing::info!("{nodes} nodes, {loss_percent} % loss, {churn_percent} % churn: done");
    row
}

/// Runs it.
///
/// # Errors
/// If the document cannot be read or written, or has no place for the table.
pub fn run(args: &GossipArgs) -> anyhow::Result<()> {
    let report = Report { write: args.write.as_deref(), place: gossip::PLACE, json: args.json, at_once: RUNS_MAX };
    let rows = report.make(&args.plans(), run_one, gossip::table)?;
    if let Some(path) = &args.write {
        let picture = path.with_extension("svg");
        fs::write(&picture, gossip::plot(&rows)).with_context(|| format!("write {}", picture.display()))?;
    }
    Ok(())
}

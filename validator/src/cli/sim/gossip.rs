//! `sundog sim gossip`.

use crate::{
    cli::{say, say_json},
    sim::gossip::{self, Plan, Row},
};
use anyhow::Context as _;
use clap::Args;
use rayon::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Runs side by side: the largest takes some 4 GB of memory.
const RUNS_MAX: usize = 2;

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
    /// Nodes that leave and come back anew while it is measured, in percent.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=90))]
    churn: u8,
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
            for loss in &self.loss {
                let usual = Plan::usual(self.seed, nodes, *loss, self.churn.into());
                let warm_s = self.warm.unwrap_or(usual.warm_s);
                plans.push(Plan { warm_s, window_s: self.window.unwrap_or(usual.window_s), ..usual });
            }
        }
        plans
    }
}

fn run_one(plan: &Plan) -> Row {
    let row = gossip::measure(plan);
    tracing::info!("{} nodes, {} % loss: done", plan.nodes, plan.loss_percent);
    row
}

fn num_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs it.
///
/// # Errors
/// If the document cannot be read or written, or has no place for the table.
pub fn run(args: &GossipArgs) -> anyhow::Result<()> {
    crate::io::log_to_stderr("info");
    let document = match &args.write {
        Some(path) => Some((path, document(path)?)),
        None => None,
    };
    let plans = args.plans();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(RUNS_MAX.min(num_cores())).build()?;
    let rows: Vec<Row> = pool.install(|| plans.par_iter().with_max_len(1).map(run_one).collect());
    if args.json {
        say_json(&rows);
    } else {
        say(gossip::table(&rows).trim_end());
    }
    if let Some((path, text)) = document {
        let text = gossip::insert(&text, &gossip::table(&rows)).expect("its place was found before the runs");
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        let picture = path.with_extension("svg");
        fs::write(&picture, gossip::plot(&rows)).with_context(|| format!("write {}", picture.display()))?;
    }
    Ok(())
}

/// The document to write to, once it is certain that it has a place for the table: the runs take long.
fn document(path: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("{} cannot be read; give a document that is there", path.display());
    let text = fs::read_to_string(path).with_context(unreadable)?;
    let no_place = || format!("{} has no lines `{}` and `{}`; add them", path.display(), gossip::BEGIN, gossip::END);
    gossip::insert(&text, "").with_context(no_place)?;
    Ok(text)
}

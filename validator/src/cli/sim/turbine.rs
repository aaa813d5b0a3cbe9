//! `sundog sim turbine`.

use crate::{
    cli::{say, say_json},
    sim::spread::{self, Plan, Row},
};
use anyhow::Context as _;
use clap::Args;
use rayon::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

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

fn num_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs it.
///
/// # Errors
/// If the document cannot be read or written, or has no place for the table.
pub fn run(args: &TurbineArgs) -> anyhow::Result<()> {
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
        say(spread::table(&rows).trim_end());
    }
    if let Some((path, text)) = document {
        let text = spread::insert(&text, &spread::table(&rows)).expect("its place was found before the runs");
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// The document to write to, once it is certain that it has a place for the table: the runs may take long.
fn document(path: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("{} cannot be read; give a document that is there", path.display());
    let text = fs::read_to_string(path).with_context(unreadable)?;
    let no_place = || format!("{} has no lines `{}` and `{}`; add them", path.display(), spread::BEGIN, spread::END);
    spread::insert(&text, "").with_context(no_place)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_a_place_for_the_table_is_refused_before_anything_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("page.md");
        let refused = |path: &Path| document(path).expect_err("refused").to_string();
        assert!(refused(&path).contains("cannot be read"), "it is not there");
        fs::write(&path, "# A page\n").expect("written");
        assert!(refused(&path).contains("add them"));
        fs::write(&path, format!("{}\n{}\n", spread::END, spread::BEGIN)).expect("written");
        assert!(refused(&path).contains("add them"), "the markers are in the wrong order");
        fs::write(&path, format!("{}\nold\n{}\n", spread::BEGIN, spread::END)).expect("written");
        assert!(document(&path).is_ok());
    }
}

//! `sundog bench`: figures of the parts and of a cluster.

mod forkchoice;
mod gossip;
mod parts;
mod tps;
mod turns;

use super::{say, say_json};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Arguments of `sundog bench`.
#[derive(Args)]
#[command(after_help = "Examples:
  sundog bench poh
  sundog bench shred --json
  sundog bench gossip --json
  sundog bench forkchoice --json
  sundog bench tps --rate 500 --seconds 20
  sundog bench tps --url http://127.0.0.1:8899 --faucet localnet/faucet.json")]
pub struct BenchArgs {
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// How long each figure is measured, seconds.
    #[arg(long, global = true, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    measure: u64,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Hashing one chain, as a leader does.
    Poh,
    /// Verifying a block's entries, on one core and on all.
    Verify,
    /// Making signed FEC sets of entries.
    Shred,
    /// Bringing back a set's data shreds by erasure coding.
    Recover,
    /// Checking transaction signatures.
    Sigverify,
    /// Moving the votes of 2,000 validators between 64 forks, one at a time and in batches, and the tree's memory.
    #[command(name = "forkchoice")]
    ForkChoice,
    /// Decoding, verifying and merging gossip values, building pull filters, and the table's memory; on one core.
    Gossip,
    /// Transactions per second of a cluster, over the stock TPU path.
    Tps(tps::TpsArgs),
}

/// One figure.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    /// What was done.
    name: String,
    /// How often a second, on one core unless the name says otherwise.
    per_second: f64,
    /// What is counted.
    unit: &'static str,
    /// Megabytes (10^6) a second, where bytes are worked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    megabytes_per_second: Option<f64>,
}

/// Repeats work for some time and reports its median rate over five stretches: machines are noisy.
pub(super) fn measure(
    (name, unit): (&str, &'static str),
    (count, bytes): (u64, u64),
    stretch: Duration,
    mut work: impl FnMut(),
) -> Figure {
    let mut rates: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            let mut rounds = 0_u64;
            while start.elapsed() < stretch / 5 {
                work();
                rounds += 1;
            }
            (rounds * count) as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let per_second = rates[2];
    let megabytes = per_second / count as f64 * bytes as f64 / 1e6;
    Figure { name: name.to_owned(), per_second, unit, megabytes_per_second: (bytes > 0).then_some(megabytes) }
}

/// Keeps the compiler from leaving out work whose result nobody reads.
pub(super) fn keep<T>(value: T) {
    black_box(value);
}

/// Memory of this process that is really there; Linux only.
pub(super) fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kilobytes| kilobytes * 1_024)
}

/// Runs it.
///
/// # Errors
/// If the cluster to be measured cannot be reached or started.
pub fn run(args: BenchArgs) -> anyhow::Result<()> {
    let stretch = Duration::from_secs(args.measure);
    let figures = match args.what {
        What::Poh => parts::poh(stretch),
        What::Verify => parts::verify(stretch)?,
        What::Shred => parts::shred(stretch),
        What::Recover => parts::recover(stretch),
        What::Sigverify => parts::sigverify(stretch),
        What::ForkChoice => {
            forkchoice::run(stretch, args.json);
            return Ok(());
        }
        What::Gossip => {
            gossip::run(stretch, args.json);
            return Ok(());
        }
        What::Tps(tps) => return tps::run(&tps, args.json),
    };
    if args.json {
        say_json(&figures);
        return Ok(());
    }
    for figure in figures {
        let bytes = figure.megabytes_per_second.map_or_else(String::new, |mb| format!("  {mb:.1} MB/s"));
        say(format_args!("{:<44} {:>14.0} {}/s{bytes}", figure.name, figure.per_second, figure.unit));
    }
    Ok(())
}

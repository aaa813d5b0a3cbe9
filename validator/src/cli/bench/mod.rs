//! `sundog bench`: figures of the parts and of a cluster.

mod block;
mod execute;
mod forkchoice;
mod gossip;
mod parts;
mod tps;
mod turns;

use super::{say, say_json};
use clap::{Args, Subcommand};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use turns::Rate;

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
    /// Building the Merkle tree of a set of shreds.
    Merkle,
    /// Finding a node's own children in the Turbine trees of 3,000 nodes.
    Tree,
    /// Checking transaction signatures.
    Sigverify,
    /// Shredding and replaying whole blocks of 0 to 10,000 transfers with one hash an entry, on one core.
    Block,
    /// Executing transfers that have no account in common, and freezing their bank.
    Execute,
    /// Moving the votes of 2,000 validators between 64 forks, one at a time and in batches, and the tree's memory.
    #[command(name = "forkchoice")]
    ForkChoice,
    /// Decoding, verifying and merging gossip values, building pull filters, and the table's memory; on one core.
    Gossip,
    /// Transactions per second of a cluster, over the stock TPU path.
    Tps(tps::TpsArgs),
}

/// Something to be measured.
pub(super) struct Part<'a> {
    name: &'static str,
    unit: &'static str,
    /// What one call does, in units and in bytes.
    count: usize,
    bytes: usize,
    /// Says how long it took.
    work: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Part<'a> {
    /// Work of which one call does so many of something.
    pub(super) fn new(name: &'static str, unit: &'static str, count: usize, mut work: impl FnMut() + 'a) -> Self {
        Self::timed(name, unit, count, move || {
            let start = Instant::now();
            work();
            start.elapsed()
        })
    }

    /// The same of work that says itself how long the part took that counts.
    pub(super) fn timed(
        name: &'static str,
        unit: &'static str,
        count: usize,
        work: impl FnMut() -> Duration + 'a,
    ) -> Self {
        Self { name, unit, count, bytes: 0, work: Box::new(work) }
    }

    /// The same on so many bytes.
    pub(super) fn of_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    /// What was done.
    name: &'static str,
    /// What is counted.
    unit: &'static str,
    /// How often a second, on one core unless the name says otherwise.
    per_second: Rate,
    /// Megabytes (10^6) a second, where bytes are worked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    megabytes_per_second: Option<f64>,
}

/// The figures of one run, and what tells machines apart.
#[derive(Debug, Serialize)]
struct Report {
    calibration: Vec<Figure>,
    figures: Vec<Figure>,
}

/// Measures all parts in turns with what tells machines apart.
fn report(stretch: Duration, parts: Vec<Part<'_>>) -> Report {
    let mut all = calibration();
    let calibrating = all.len();
    all.extend(parts);
    let works = all.iter_mut().map(|part| {
        let (count, work) = (part.count, &mut part.work);
        Box::new(move || (count, work())) as turns::Work<'_>
    });
    let rates = turns::rates_of_all(stretch, works.collect());
    let figure = |(part, per_second): (&Part<'_>, Rate)| Figure {
        name: part.name,
        unit: part.unit,
        per_second,
        megabytes_per_second: (part.bytes > 0).then(|| per_second.median / part.count as f64 * part.bytes as f64 / 1e6),
    };
    let mut figures: Vec<Figure> = all.iter().zip(rates).map(figure).collect();
    let rest = figures.split_off(calibrating);
    Report { calibration: figures, figures: rest }
}

/// One chain of SHA-256 with each library, and strict verification.
fn calibration() -> Vec<Part<'static>> {
    const HASHES: usize = 10_000;
    const VERIFIED: usize = 50;
    let signer = Keypair::new_from_array([1; 32]);
    let signature = signer.sign_message(&[1; 64]);
    let sha2 = || keep((0..HASHES).fold([0; 32], |hash: [u8; 32], _| Sha256::digest(hash).into()));
    let ring = || {
        let digest = |hash: [u8; 32]| ring::digest::digest(&ring::digest::SHA256, &hash);
        keep((0..HASHES).fold([0; 32], |hash, _| digest(hash).as_ref().try_into().expect("32 bytes")));
    };
    let strict = move || (0..VERIFIED).for_each(|_| keep(signature.verify(signer.pubkey().as_ref(), &[1; 64])));
    vec![
        Part::new("calibration: SHA-256 in one chain, sha2", "hashes", HASHES, sha2),
        Part::new("calibration: SHA-256 in one chain, ring", "hashes", HASHES, ring),
        Part::new("calibration: strict verification", "signatures", VERIFIED, strict),
    ]
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
    let parts = match args.what {
        What::Poh => parts::poh(),
        What::Verify => parts::verify()?,
        What::Shred => parts::shred(),
        What::Recover => parts::recover(),
        What::Merkle => parts::merkle(),
        What::Tree => parts::tree(),
        What::Sigverify => parts::sigverify(),
        What::Block => block::parts()?,
        What::Execute => execute::parts()?,
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
    let report = report(stretch, parts);
    if args.json {
        say_json(&report);
        return Ok(());
    }
    for figure in report.calibration.iter().chain(&report.figures) {
        let bytes = figure.megabytes_per_second.map_or_else(String::new, |mb| format!("  {mb:.1} MB/s"));
        let Rate { median, lowest, highest } = figure.per_second;
        let (name, unit) = (figure.name, figure.unit);
        say(format_args!("{name:<50} {median:>12.0} {unit}/s  ({lowest:.0} to {highest:.0}){bytes}"));
    }
    Ok(())
}

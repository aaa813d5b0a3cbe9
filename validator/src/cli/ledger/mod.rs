//! `sundog ledger`: what a node's ledger holds, for people.
//!
//! A running node has its ledger directory to itself and is asked over HTTP; the directory of a stopped one is read.

mod picture;

use super::{
    localnet::{Cluster, Layout},
    say, say_json,
};
use crate::io::{client::Client, shreds::SlotShreds, store::FjallStore};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use sundog_ledger::Ledger;
use sundog_types::Slot;

/// Arguments of `sundog ledger`.
#[derive(Args)]
#[command(after_help = "Examples:
  sundog ledger shreds 120                                  (node 0 of the running localnet)
  sundog ledger shreds 120 --node node-2 --json
  sundog ledger shreds 120 --ledger localnet/node-0/ledger  (of a stopped node)")]
pub struct LedgerArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show how the shreds of a slot arrived: which way, when, from whom.
    Shreds(ShredsArgs),
}

/// Arguments of `sundog ledger shreds`.
#[derive(Args)]
#[command(after_help = "Examples:
  sundog ledger shreds 120
  sundog ledger shreds 120 --node node-2 --width 160
  sundog ledger shreds 120 --url http://127.0.0.1:8902 --json")]
struct ShredsArgs {
    /// The slot.
    slot: u64,
    /// The localnet's directory. Its cluster.json also names the senders.
    #[arg(long, value_name = "DIR", default_value = "localnet")]
    dir: PathBuf,
    /// Which node of the localnet, by name or number.
    #[arg(long, value_name = "NODE", default_value = "node-0")]
    node: String,
    /// Read the ledger directory of a node that does not run.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "node"])]
    ledger: Option<PathBuf>,
    /// Ask the node whose metrics are served here.
    #[arg(long, value_name = "URL", conflicts_with = "node")]
    url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Characters of a line.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(40..=1_000))]
    width: u16,
}

/// Runs it.
///
/// # Errors
/// One line of cause and one of remedy.
pub fn run(args: &LedgerArgs) -> anyhow::Result<()> {
    let Verb::Shreds(args) = &args.verb;
    let cluster = Cluster::read(&Layout::new(&args.dir).cluster());
    let mut shreds = match (&args.ledger, &args.url) {
        (Some(path), _) => from_directory(path, Slot::new(args.slot))?,
        (None, Some(url)) => from_node(url, args.slot)?,
        (None, None) => {
            let remedy = "to read a stopped node, name its ledger directory with --ledger";
            let cluster = cluster.as_ref().map_err(|error| anyhow::anyhow!("{error:#}; {remedy}"))?;
            from_node(&metrics_of(cluster, &args.node)?, args.slot)?
        }
    };
    if let Ok(cluster) = &cluster {
        name(&mut shreds, cluster);
    }
    if args.json {
        say_json(&shreds);
    } else {
        say(picture::page(&shreds, args.width.into()).trim_end());
    }
    Ok(())
}

/// Where a node of the localnet serves its metrics.
fn metrics_of(cluster: &Cluster, node: &str) -> anyhow::Result<String> {
    let number: Option<usize> = node.parse().ok();
    let mut nodes = cluster.nodes.iter().enumerate();
    let Some((_, found)) = nodes.find(|(at, n)| n.name == node || Some(*at) == number) else {
        let names: Vec<_> = cluster.nodes.iter().map(|n| n.name.as_str()).collect();
        bail!("there is no node {node}; --node takes one of {}", names.join(", "));
    };
    Ok(found.metrics.clone())
}

fn from_node(url: &str, slot: u64) -> anyhow::Result<SlotShreds> {
    let base = url.trim_end_matches('/').trim_end_matches("/metrics");
    let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
    let page = format!("{base}/shreds/{slot}");
    let (status, text) = Client::new(&base).page(&page)?;
    match status {
        200 => serde_json::from_str(&text).with_context(|| {
            format!("{page} answers with something else; --url takes where a node serves its metrics")
        }),
        404 if text.starts_with("slot ") => bail!("{}", text.trim_end()),
        _ => bail!("{page} answers {status}; --url takes where a Sundog node serves its metrics, http://HOST:PORT"),
    }
}

fn from_directory(path: &Path, slot: Slot) -> anyhow::Result<SlotShreds> {
    // Opening makes what is not there.
    if !path.is_dir() {
        bail!("{} is no directory; name a node's ledger directory, as localnet/node-0/ledger", path.display());
    }
    let store =
        FjallStore::open(path).context("to ask a node that runs, leave out --ledger and give --node or --url")?;
    Ok(SlotShreds::read(&Ledger::new(Arc::new(store)), slot)?)
}

/// Gives the nodes that the cluster knows their names.
fn name(shreds: &mut SlotShreds, cluster: &Cluster) {
    let known = |identity: &str| cluster.nodes.iter().find(|n| n.identity == identity).map(|n| n.name.clone());
    shreds.leader_name = known(&shreds.leader);
    for arrival in &mut shreds.arrivals {
        arrival.name = arrival.from.as_deref().and_then(known);
    }
}

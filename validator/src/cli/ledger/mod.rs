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
    collections::BTreeMap,
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
            let Ok(cluster) = &cluster else {
                bail!(
                    "no localnet runs in {0}; start one, name its --dir, or read a stopped node with --ledger {0}/{1}/ledger",
                    args.dir.display(),
                    args.node
                );
            };
            from_node(metrics_of(cluster, args)?, args.slot)?
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

/// Where the node that is asked for serves its metrics.
fn metrics_of<'a>(cluster: &'a Cluster, args: &ShredsArgs) -> anyhow::Result<&'a str> {
    let number: Option<usize> = args.node.parse().ok();
    let mut nodes = cluster.nodes.iter().enumerate();
    let Some((_, node)) = nodes.find(|(at, node)| node.name == args.node || Some(*at) == number) else {
        let names: Vec<_> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        bail!("there is no node {}; --node takes one of {}", args.node, names.join(", "));
    };
    if node.pid.is_none() {
        let ledger = args.dir.join(&node.ledger);
        bail!("{} does not run; restart it, or read what it left with --ledger {}", node.name, ledger.display());
    }
    Ok(&node.metrics)
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
    if !FjallStore::is_at(path) {
        bail!("{} is no ledger directory; name that of a node, as localnet/node-0/ledger", path.display());
    }
    let store =
        FjallStore::open(path).context("to ask a node that runs, leave out --ledger and give --node or --url")?;
    Ok(SlotShreds::read(&Ledger::new(Arc::new(store)), slot)?)
}

/// Gives the nodes that the cluster knows their names.
fn name(shreds: &mut SlotShreds, cluster: &Cluster) {
    let names: BTreeMap<&str, &String> = cluster.nodes.iter().map(|n| (n.identity.as_str(), &n.name)).collect();
    shreds.leader_name = names.get(shreds.leader.as_str()).copied().cloned();
    for arrival in &mut shreds.arrivals {
        arrival.name = arrival.from.as_deref().and_then(|from| names.get(from).copied().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::localnet::ClusterNode;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ShredsArgs,
    }

    fn args(line: &[&str]) -> ShredsArgs {
        Line::try_parse_from(["shreds", "7"].iter().chain(line)).unwrap_or_else(|e| panic!("{e}")).args
    }

    fn node(number: u16, pid: Option<u32>) -> ClusterNode {
        let mut node: ClusterNode = serde_json::from_value(serde_json::json!({
            "name": format!("node-{number}"), "identity": format!("identity {number}"), "vote_account": null,
            "stake": 0, "pid": pid, "gossip": "", "tpu": "", "tvu_quic": "", "rpc": "", "websocket": "",
            "metrics": "", "log": "", "ledger": format!("node-{number}/ledger"),
        }))
        .expect("a node of cluster.json");
        node.metrics = format!("http://127.0.0.1:{}/metrics", 8_902 + 10 * number);
        node
    }

    fn cluster() -> Cluster {
        let nodes = vec![node(0, Some(1)), node(1, Some(2)), node(2, None)];
        Cluster { genesis_hash: String::new(), faucet: String::new(), nodes, network: Default::default() }
    }

    #[test]
    fn a_node_is_found_by_name_or_number_and_the_first_by_default() {
        let found = |line: &[&str]| metrics_of(&cluster(), &args(line)).map(str::to_owned).unwrap_or_default();
        assert_eq!(found(&[]), "http://127.0.0.1:8902/metrics");
        assert_eq!(found(&["--node", "node-1"]), "http://127.0.0.1:8912/metrics");
        assert_eq!(found(&["--node", "1"]), found(&["--node", "node-1"]));
    }

    #[test]
    fn what_cannot_be_asked_is_named_with_what_to_do() {
        let refused = |line: &[&str]| metrics_of(&cluster(), &args(line)).expect_err("refused").to_string();
        let unknown = refused(&["--node", "node-3"]);
        assert_eq!(unknown, "there is no node node-3; --node takes one of node-0, node-1, node-2");
        let stopped = refused(&["--node", "2", "--dir", "here"]);
        assert!(
            stopped.contains("node-2 does not run") && stopped.contains("--ledger here/node-2/ledger"),
            "{stopped}"
        );
        let directory = tempfile::tempdir().expect("a directory");
        let absent = directory.path().join("ledger");
        let error = from_directory(&absent, Slot::new(1)).expect_err("it is not there").to_string();
        assert!(error.contains("is no ledger directory") && !absent.exists(), "{error}");
    }

    #[test]
    fn nothing_is_made_in_a_directory_that_is_no_ledger() {
        let directory = tempfile::tempdir().expect("a directory");
        let ledger = directory.path().join("ledger");
        drop(FjallStore::open(&ledger).expect("opened"));
        let refused = from_directory(directory.path(), Slot::new(1)).expect_err("the node's directory").to_string();
        assert!(refused.contains("is no ledger directory"), "{refused}");
        let held: Vec<_> = std::fs::read_dir(directory.path()).expect("a directory").flatten().collect();
        assert_eq!(held.len(), 1, "{held:?}");
        let of_the_ledger = from_directory(&ledger, Slot::new(1)).expect_err("an empty ledger").to_string();
        assert!(of_the_ledger.contains("slot 1"), "{of_the_ledger}");
    }

    #[test]
    fn a_ledger_and_a_node_contradict_each_other() {
        for line in [["--ledger", "x", "--url", "y"], ["--ledger", "x", "--node", "y"], ["--url", "x", "--node", "y"]] {
            assert!(Line::try_parse_from(["shreds", "7"].iter().chain(&line)).is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_directory_in_use_says_how_to_ask_the_node() {
        let directory = tempfile::tempdir().expect("a directory");
        let _node = FjallStore::open(directory.path()).expect("opened");
        let error = format!("{:#}", from_directory(directory.path(), Slot::new(1)).expect_err("in use"));
        assert!(error.contains("leave out --ledger") && error.contains("in use by another process"), "{error}");
    }
}

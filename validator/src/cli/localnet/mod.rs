//! `sundog localnet`: N validators as N processes from one genesis.
//!
//! ```text
//!   up (this process) -- starts --> sundog validator (one process per node; ends when its stdin closes)
//!        ^  control.json: a loopback port and a token
//!        +---- status | kill | stop | restart | pause | partition | heal | …   (from another terminal)
//! ```

mod act;
mod catching_up;
mod cluster;
mod control;
mod faults;
mod hard_fork;
mod layout;
mod network;
mod plan;
mod ports;
mod status;
mod up;

pub use cluster::{Cluster, ClusterNode};
pub use layout::Layout;

use crate::io::faults::{Flow, Treatment};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `sundog localnet`.
#[derive(Args)]
#[command(after_help = "Examples:
  sundog localnet
  sundog localnet --validators 4 --fast --reset
  sundog localnet kill 2        (from another terminal)
  sundog localnet --faults      (then: sundog localnet partition 0,1 2; sundog localnet heal)
  sundog localnet --rpc-port 0 --dir OTHER        (a second cluster beside the first)")]
pub struct LocalnetArgs {
    /// Where the cluster lives.
    #[arg(long, value_name = "DIR", default_value = "localnet", global = true)]
    dir: PathBuf,
    /// How many validators.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=32))]
    validators: Option<u16>,
    /// Their stakes in SOL, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "SOL")]
    stakes: Option<Vec<u64>>,
    /// Throw away what DIR holds of an earlier cluster.
    #[arg(long)]
    reset: bool,
    /// Port of node 0's JSON-RPC; node i uses this + 10 i. 0: every port is one that is free, below those of outgoing
    /// connections, and a node's for as long as the localnet runs.
    #[arg(long, default_value_t = ports::RPC_PORT)]
    rpc_port: u16,
    /// Length of a slot, milliseconds.
    #[arg(long, value_parser = clap::value_parser!(u64).range(20..=10_000), conflicts_with = "fast")]
    slot_ms: Option<u64>,
    /// Slots of 100 ms, so that `finalized` is seconds away.
    #[arg(long)]
    fast: bool,
    /// Slots in an epoch, 128 or more. A cluster that roots nothing for a whole epoch knows no further leaders and stops,
    /// as the reference does. Default: 8,192.
    #[arg(long, value_parser = crate::cli::genesis::epoch_slots)]
    slots_per_epoch: Option<u64>,
    /// Children of a node in a Turbine tree, for every node of the cluster. Default: as the protocol says, 200.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    fanout: Option<u16>,
    /// Start every node with fault injection, for `partition`, `heal` and `link`.
    #[arg(long)]
    faults: bool,
    /// End after this many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Plain lines instead of a live view. There is no live view yet, so this changes nothing.
    #[arg(long)]
    no_tui: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What to do with a running cluster.
#[derive(Subcommand)]
enum Verb {
    /// Show every node: slots, peers, memory, processor, disk.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// How long to measure the processor and the disk, seconds.
        #[arg(long, default_value_t = 3)]
        measure: u64,
    },
    /// Print a node's log.
    Logs {
        /// Which node.
        node: usize,
        /// Its last lines.
        #[arg(long, short = 'n', default_value_t = 40)]
        lines: usize,
    },
    /// Kill a node at once, as a power cut does.
    Kill {
        /// Which node.
        node: usize,
    },
    /// Stop a node cleanly.
    Stop {
        /// Which node.
        node: usize,
    },
    /// Start a node again, after it was killed or stopped, or restart it. With --hard-fork, restart the whole cluster.
    Restart {
        /// Which node.
        #[arg(required_unless_present = "hard_fork", conflicts_with = "hard_fork")]
        node: Option<usize>,
        /// Stop all nodes and start them from this slot on another shred version, as operators restart a cluster that has
        /// stopped. Without a slot: from the newest that more than two thirds of the stake stand behind.
        #[arg(long, value_name = "SLOT", num_args = 0..=1)]
        hard_fork: Option<Option<u64>>,
    },
    /// Halt a node's process: it says nothing, and its clock goes on.
    Pause {
        /// Which node.
        node: usize,
    },
    /// Let a paused node go on.
    Resume {
        /// Which node.
        node: usize,
    },
    /// Part the network into groups that hear nothing of each other. Nodes that are not named form one more group.
    /// Needs a localnet that was started with --faults.
    Partition {
        /// Nodes of a group, such as 0,1. Give one or more groups.
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Mend the network: no partition any more, and no link treated.
    Heal,
    /// Block, lose, delay, double or slow down what two nodes send to each other; nothing given, nothing is done any more.
    Link(LinkArgs),
    /// Add a node without stake that knows only the entrypoint.
    Add,
    /// Stop the whole cluster cleanly.
    Down,
}

/// Arguments of `sundog localnet link`.
#[derive(Args)]
#[command(after_help = "\
Loss, delay, jitter, duplicates and the rate are for packets (gossip, Turbine, repair, votes, transactions). Bulk sync runs
over TCP and feels nothing but --block, which cuts its connections. JSON-RPC and metrics are never touched.

Examples:
  sundog localnet link 0 1 --loss 10 --delay 50 --jitter 20
  sundog localnet link 0 2 --one-way --block --protocol turbine,repair
  sundog localnet link 0 1                                        (as it should be again)")]
struct LinkArgs {
    /// One node.
    from: usize,
    /// The other.
    to: usize,
    /// Only what the first sends to the second.
    #[arg(long)]
    one_way: bool,
    /// Only in these protocols; bulk sync, over TCP, can only be blocked.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROTOCOL")]
    protocol: Vec<Flow>,
    /// Let nothing through.
    #[arg(long)]
    block: bool,
    /// Lose so many packets of a hundred.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    loss: f64,
    /// Send every packet so much later.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay: u32,
    /// Send it by chance up to so much later still, so that some overtake others.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    jitter: u32,
    /// Send so many packets of a hundred twice.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    duplicate: f64,
    /// Let no more than so many kilobits a second through, in each protocol.
    #[arg(long, value_name = "KBIT")]
    rate: Option<u32>,
}

impl LinkArgs {
    fn order(&self) -> control::LinkOrder {
        let treatment = Treatment {
            block: self.block,
            loss_percent: self.loss,
            delay_ms: self.delay,
            jitter_ms: self.jitter,
            duplicate_percent: self.duplicate,
            rate_kbit: self.rate,
        };
        let (ends, one_way) = ((self.from, self.to), self.one_way);
        control::LinkOrder { ends, one_way, protocols: self.protocol.clone(), treatment }
    }
}

/// Runs it.
///
/// # Errors
/// One line of cause and one of remedy.
pub fn run(args: LocalnetArgs) -> anyhow::Result<()> {
    let layout = Layout::new(&args.dir);
    match &args.verb {
        None => up::run(&args, &layout),
        Some(Verb::Status { json, measure }) => status::run(&layout, *json, *measure),
        Some(Verb::Logs { node, lines }) => act::logs(&layout, *node, *lines),
        Some(Verb::Kill { node }) => act::ask(&layout, &control::Request::Kill { node: *node }),
        Some(Verb::Stop { node }) => act::ask(&layout, &control::Request::Stop { node: *node }),
        Some(Verb::Restart { hard_fork: Some(slot), .. }) => hard_fork::ask(&layout, *slot),
        Some(Verb::Restart { node, .. }) => {
            act::ask(&layout, &control::Request::Restart { node: node.unwrap_or_default() })
        }
        Some(Verb::Pause { node }) => act::ask(&layout, &control::Request::Pause { node: *node }),
        Some(Verb::Resume { node }) => act::ask(&layout, &control::Request::Resume { node: *node }),
        Some(Verb::Partition { groups }) => {
            let groups: Result<_, String> = groups.iter().map(|text| network::group(text)).collect();
            let groups = groups.map_err(anyhow::Error::msg)?;
            act::ask(&layout, &control::Request::Partition { groups })
        }
        Some(Verb::Heal) => act::ask(&layout, &control::Request::Heal),
        Some(Verb::Link(link)) => act::ask(&layout, &control::Request::Link(link.order())),
        Some(Verb::Add) => act::ask(&layout, &control::Request::Add),
        Some(Verb::Down) => act::ask(&layout, &control::Request::Down),
    }
}

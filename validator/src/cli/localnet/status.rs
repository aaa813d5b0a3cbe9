//! What a localnet is doing, for people: the lines while it runs, and `status`.

use super::{Cluster, Layout, catching_up::CatchingUp};
use crate::{
    cli::{say, say_json},
    io::client::Client,
};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Pages of memory and clock ticks as Linux counts them on every machine this runs on.
const PAGE_BYTES: u64 = 4_096;
const CLOCK_TICKS: f64 = 100.0;
/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the nodes are asked while the cluster starts and runs.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Follows a starting and running cluster, and prints a line per slot.
pub struct Watch {
    started: Instant,
    /// The faucet's address.
    faucet: String,
    asked: Option<Instant>,
    ready: bool,
    rooted: bool,
    printed: u64,
    clients: Vec<(String, Client)>,
}

impl Watch {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(started: Instant, faucet: String) -> Self {
        Self { started, faucet, asked: None, ready: false, rooted: false, printed: 0, clients: Vec::new() }
    }

    /// Asks the nodes and prints what is new.
    pub fn look(&mut self, cluster: &Cluster, spinner: &ProgressBar) {
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return;
        }
        // Nodes that are halted say nothing for long.
        let started = self.ready && self.rooted;
        if !started && !cluster.network.paused.is_empty() {
            return;
        }
        self.asked = Some(Instant::now());
        if self.clients.len() != cluster.nodes.len() {
            self.clients = cluster.nodes.iter().map(|n| (n.identity.clone(), Client::new(&n.rpc))).collect();
        }
        if !self.ready {
            self.ready = self.clients.iter().all(|(_, client)| is_ready(client, &self.faucet));
            if self.ready {
                let seconds = self.started.elapsed().as_secs_f64();
                spinner.suspend(|| {
                    for node in &cluster.nodes {
                        say(format_args!(
                            "{}  stake {:>5}  {}  rpc {}",
                            node.name, node.stake, node.identity, node.rpc
                        ));
                    }
                    say(format_args!("localnet ready after {seconds:.1} s"));
                });
                spinner.set_message("waiting for the first root (32 votes deep)");
            }
            return;
        }
        if !self.rooted && self.clients.iter().all(|(_, client)| client.slot("finalized").is_ok_and(|slot| slot > 0)) {
            self.rooted = true;
            let seconds = self.started.elapsed().as_secs_f64();
            spinner.suspend(|| say(format_args!("first root on every node after {seconds:.1} s")));
            spinner.finish_and_clear();
        }
        self.print_slots(cluster, spinner);
    }

    fn print_slots(&mut self, cluster: &Cluster, spinner: &ProgressBar) {
        let awake = self.clients.iter().enumerate().filter(|(node, _)| !cluster.network.paused.contains(node));
        let Some((client, slot)) =
            awake.map(|(_, (_, c))| c).find_map(|c| Some((c.clone(), c.slot("processed").ok()?)))
        else {
            return;
        };
        if self.printed == 0 {
            self.printed = slot.saturating_sub(1);
        }
        if slot <= self.printed {
            return;
        }
        let from = (self.printed + 1).max(slot.saturating_sub(50));
        let Ok(leaders) = client.call("getSlotLeaders", &json!([from, slot - from + 1])) else { return };
        let finalized = client.slot("finalized").unwrap_or_default();
        let confirmed = client.slot("confirmed").unwrap_or_default();
        for (slot, leader) in (from..=slot).zip(leaders.as_array().into_iter().flatten()) {
            let name = cluster
                .nodes
                .iter()
                .find(|n| Some(n.identity.as_str()) == leader.as_str())
                .map_or("?", |n| n.name.as_str());
            let line = format!("slot {slot:>6}  leader {name}  confirmed {confirmed:>6}  finalized {finalized:>6}");
            spinner.suspend(|| say(&line));
        }
        self.printed = slot;
    }
}

/// The node has confirmed a block after genesis, says that it keeps up, and its faucet can pay.
fn is_ready(client: &Client, faucet: &str) -> bool {
    let funds = || client.call("getBalance", &json!([faucet, {"commitment": "confirmed"}]));
    client.slot("confirmed").is_ok_and(|slot| slot > 0)
        && client.call("getHealth", &json!([])).is_ok()
        && funds().is_ok_and(|funds| funds["value"].as_u64() > Some(0))
}

/// A node's figures.
#[derive(Serialize)]
struct NodeStatus {
    name: String,
    identity: String,
    stake: u64,
    pid: Option<u32>,
    rpc: String,
    health: String,
    /// Whether its process is halted.
    paused: bool,
    /// Its group, counted from 0, while the network is parted.
    group: Option<usize>,
    /// While it fetches blocks in bulk.
    catching_up: Option<CatchingUp>,
    processed: Option<u64>,
    confirmed: Option<u64>,
    finalized: Option<u64>,
    peers: Option<usize>,
    /// Resident memory, MiB.
    memory_mib: Option<f64>,
    /// Share of one core, percent, while measured.
    cpu_percent: Option<f64>,
    /// The ledger directory, MiB.
    disk_mib: f64,
    /// Growth of the ledger directory, MiB a minute, while measured.
    disk_mib_per_minute: f64,
}

struct Reading {
    cpu_seconds: Option<f64>,
    disk: u64,
}

/// Prints every node's figures, measured over some seconds.
///
/// # Errors
/// If no localnet runs in the directory.
pub fn run(layout: &Layout, json: bool, measure: u64) -> anyhow::Result<()> {
    let cluster = Cluster::read(&layout.cluster())?;
    let read = || -> Vec<Reading> {
        let nodes = cluster.nodes.iter();
        nodes
            .map(|n| Reading {
                cpu_seconds: n.pid.and_then(cpu_seconds),
                disk: disk_bytes(&layout.dir().join(&n.ledger)),
            })
            .collect()
    };
    let before = read();
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(measure.clamp(1, 600)));
    let after = read();
    let seconds = start.elapsed().as_secs_f64();
    let mut nodes = Vec::new();
    for (number, ((node, before), after)) in cluster.nodes.iter().zip(&before).zip(&after).enumerate() {
        let paused = cluster.network.paused.contains(&number);
        // A halted process takes connections and never answers.
        let client = Client::patient(&node.rpc, if paused { Duration::from_millis(1) } else { PATIENCE });
        let health = match client.call("getHealth", &json!([])) {
            _ if paused => "paused".to_owned(),
            Ok(_) => "ok".to_owned(),
            Err(crate::io::client::CallError::Refused { message, .. }) => message,
            Err(_) => "down".to_owned(),
        };
        let slot = |commitment| client.slot(commitment).ok();
        nodes.push(NodeStatus {
            name: node.name.clone(),
            identity: node.identity.clone(),
            stake: node.stake,
            pid: node.pid,
            rpc: node.rpc.clone(),
            processed: slot("processed"),
            confirmed: slot("confirmed"),
            finalized: slot("finalized"),
            peers: client
                .call("getClusterNodes", &json!([]))
                .ok()
                .and_then(|v| v.as_array().map(|a| a.len().saturating_sub(1))),
            health,
            paused,
            group: cluster.network.group_of(number),
            catching_up: CatchingUp::ask(&client, &node.metrics),
            memory_mib: node.pid.and_then(memory_bytes).map(mib),
            cpu_percent: before.cpu_seconds.zip(after.cpu_seconds).map(|(b, a)| (a - b) / seconds * 100.0),
            disk_mib: mib(after.disk),
            disk_mib_per_minute: (mib(after.disk) - mib(before.disk)) / seconds * 60.0,
        });
    }
    if json {
        say_json(&nodes);
    } else {
        print(&nodes);
        if let Some(groups) = cluster.network.parted(cluster.nodes.len()) {
            say(format_args!("parted: {groups}"));
        }
        cluster.network.links.iter().for_each(|link| say(format_args!("link {link}")));
    }
    Ok(())
}

fn print(nodes: &[NodeStatus]) {
    say("node     stake  health     processed confirmed finalized  peers  memory MiB  cpu %  disk MiB  MiB/min");
    for n in nodes {
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
        let float = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
        say(format_args!(
            "{:<8} {:>5}  {:<10} {:>9} {:>9} {:>9}  {:>5}  {:>10}  {:>5}  {:>8.1}  {:>7.1}",
            n.name,
            n.stake,
            n.health,
            number(n.processed),
            number(n.confirmed),
            number(n.finalized),
            number(n.peers.map(|p| p as u64)),
            float(n.memory_mib),
            float(n.cpu_percent),
            n.disk_mib,
            n.disk_mib_per_minute
        ));
    }
    for n in nodes {
        if let Some(progress) = n.catching_up {
            say(format_args!("{} catches up: {progress}", n.name));
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Processor time of a process so far, where the system has `/proc`.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / CLOCK_TICKS)
}

/// Resident memory of a process, where the system has `/proc`.
fn memory_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE_BYTES)
}

fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
            Ok(meta) => allocated(&meta),
            Err(_) => 0,
        })
        .sum()
}

/// What a file takes on disk: a preallocated journal is sparse.
fn allocated(meta: &std::fs::Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(meta) * 512;
    #[cfg(not(unix))]
    return meta.len();
}

//! Nodes that were away, that are killed while they catch up, or that are new: bulk sync brings them to the others.

use super::program::{Localnet, until};
use std::{collections::BTreeMap, process::Command, sync::Arc};
use sundog_ledger::Ledger;
use sundog_validator::io::store::FjallStore;

/// Slots that the others finalise meanwhile: seven times what makes a node fetch in bulk.
const AWAY_SLOTS: u64 = 500;
/// Blocks that a node executes before it is killed: so many that it is on its way, so few that most are left.
const GAINED_BLOCKS: usize = 100;
/// From so many slots behind the others' roots a node fetches blocks in bulk.
const BEHIND_SLOTS: u64 = 64;
/// Slots that a node roots with the others before it counts as arrived.
const TOGETHER_SLOTS: u64 = 40;

/// A life of a node, from its start to its end: what its log says of it.
struct Life {
    lines: Vec<String>,
}

impl Life {
    /// A node's life by its number; it has begun.
    fn of(localnet: &Localnet, node: usize, number: usize) -> Self {
        let read = || {
            let lines = localnet.log(node);
            let is_start = |line: &&String| line.contains("validator started");
            let starts: Vec<usize> = (0..lines.len()).filter(|at| is_start(&&lines[*at])).collect();
            let end = starts.get(number + 1).copied().unwrap_or(lines.len());
            starts.get(number).map(|start| Self { lines: lines[*start..end].to_vec() })
        };
        until("the node says that it has started", || read().is_some());
        read().expect("it has started")
    }

    /// The root that it found on its disk.
    fn root(&self) -> u64 {
        field(&self.lines[0], "root").and_then(|root| root.parse().ok()).expect("its first line says it")
    }

    /// The bank hashes of the blocks that it executed.
    fn blocks(&self) -> BTreeMap<u64, String> {
        let complete = self.lines.iter().filter(|line| line.contains("block complete"));
        complete.filter_map(|line| Some((field(line, "slot")?.parse().ok()?, field(line, "bank_hash")?))).collect()
    }
}

/// The value of a field of a log line.
fn field(line: &str, name: &str) -> Option<String> {
    let value = line.split_once(&format!(" {name}="))?.1;
    value.split_whitespace().next().map(str::to_owned)
}

/// Waits until a node roots block after block with the others.
fn arrives(localnet: &Localnet, node: usize) {
    let behind = localnet.slot(0, "finalized");
    assert!(behind > 0, "the others go on");
    until("it roots with the others", || localnet.slot(node, "finalized") > behind + TOGETHER_SLOTS);
}

/// Every block that this life executed is the one that node 0 has, and those above `from` that the others had finalised
/// up to `to` came by bulk sync.
fn came_in_bulk(localnet: &Localnet, (node, life): (usize, &Life), (from, to): (u64, u64)) {
    let (ours, theirs) = (life.blocks(), Life::of(localnet, 0, 0).blocks());
    let differ: Vec<_> = ours.iter().filter(|(slot, hash)| theirs.get(slot).is_some_and(|it| it != *hash)).collect();
    assert!(differ.is_empty(), "node {node} executed other blocks: {differ:?}");

    // What it had gathered beyond its root, and the last ones before the others' roots, may come another way.
    let (from, to) = (from + BEHIND_SLOTS, to - BEHIND_SLOTS);
    let expected = theirs.range(from..to).filter(|(slot, _)| ours.contains_key(*slot)).count() as u64;
    assert!(expected > (to - from) / 2, "few slots are skipped: {expected} of {from} to {to}");
    let handed_on = localnet.metric(node, "sundog_sync_blocks_total{what=\"handed_on\"}");
    assert!(handed_on >= expected, "node {node}: {handed_on} blocks came in bulk, of {expected} from {from} to {to}");
    assert!(localnet.metric(node, "sundog_sync_links_total{what=\"opened\"}") > 0);

    let (slot, _) = theirs.range((from + to) / 2..to).find(|(slot, _)| ours.contains_key(*slot)).expect("a block");
    let timeline = localnet.shreds(node, *slot).expect("the node keeps how a rooted slot came");
    let arrivals = timeline["arrivals"].as_array().expect("a list");
    assert!(arrivals.len() >= 32, "{timeline}");
    for arrival in arrivals {
        assert_eq!(arrival["how"], "synced", "slot {slot}: {arrival}");
        assert!(arrival["name"].as_str().is_some_and(|name| name.starts_with("node-")), "{arrival}");
    }
}

/// Kills a node that catches up in this life of it, on its way. It runs in short turns and is held between them, so that
/// what is seen of it is where it is. The root on its disk.
fn kill_on_its_way(localnet: &Localnet, (node, life): (usize, usize)) -> u64 {
    let pid = localnet.cluster()["nodes"][node]["pid"].as_u64().expect("it runs");
    let signal = |name: &str| {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.expect("there is a shell").success(), "{name}");
    };
    until("it has come some way", || {
        signal("STOP");
        let enough = Life::of(localnet, node, life).blocks().len() >= GAINED_BLOCKS;
        if !enough {
            signal("CONT");
        }
        enough
    });
    localnet.ask(&["kill", &node.to_string()]);
    let store = FjallStore::open(&localnet.ledger(node)).expect("a ledger survives a kill");
    let root = Ledger::new(Arc::new(store)).root().expect("it can be read");
    root.expect("it had a root").get()
}

#[test]
fn nodes_that_were_away_or_are_killed_on_their_way_or_are_new_arrive_by_bulk_sync() {
    let directory = tempfile::tempdir().expect("a directory");
    // The first two finalise without the others.
    let mut localnet = Localnet::start(directory.path(), &["--slot-ms", "100", "--stakes", "1000,600,100,100"]);
    localnet.wait_until_ready();
    until("all root blocks", || (0..4).all(|node| localnet.slot(node, "finalized") > 8));
    for node in [2, 3] {
        localnet.ask(&["stop", &node.to_string()]);
    }
    let stopped = localnet.slot(0, "finalized");
    until("the others go on", || localnet.slot(0, "finalized") > stopped + AWAY_SLOTS);

    // One was away.
    let theirs = localnet.slot(0, "finalized");
    localnet.ask(&["restart", "2"]);
    arrives(&localnet, 2);
    let life = Life::of(&localnet, 2, 1);
    assert!(life.root() > 0 && life.root() + AWAY_SLOTS < theirs, "it begins at its root, {}", life.root());
    came_in_bulk(&localnet, (2, &life), (life.root(), theirs));

    // One is killed on its way.
    localnet.ask(&["restart", "3"]);
    let first = Life::of(&localnet, 3, 1).root();
    let durable = kill_on_its_way(&localnet, (3, 1));
    assert!(durable >= first, "it began at {first} and ended at {durable}");
    let theirs = localnet.slot(0, "finalized");
    let reached = Life::of(&localnet, 3, 1).blocks().into_keys().last().expect("it executed blocks");
    assert!(reached + 2 * BEHIND_SLOTS < theirs, "it was killed on its way: at {reached} of {theirs}");
    localnet.ask(&["restart", "3"]);
    arrives(&localnet, 3);
    let life = Life::of(&localnet, 3, 2);
    assert_eq!(life.root(), durable, "it begins at the root on its disk");
    assert!(life.blocks().into_keys().all(|slot| slot > durable), "it goes on from there");
    came_in_bulk(&localnet, (3, &life), (life.root(), theirs));

    // One is new.
    let theirs = localnet.slot(0, "finalized");
    localnet.ask(&["add"]);
    arrives(&localnet, 4);
    let life = Life::of(&localnet, 4, 0);
    assert_eq!(life.root(), 0);
    came_in_bulk(&localnet, (4, &life), (0, theirs));
    localnet.down();
}

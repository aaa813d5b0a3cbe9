//! Real processes on loopback, driven through the program as a person drives it. Everything is polled to a deadline.

mod catching_up;
mod epochs;
mod gossip;
mod kills;
mod leaders;
mod partitions;
mod program;
mod restart;
mod sim;
mod spy;
mod stranger;
mod sync_refusals;
mod towers;

use program::{Localnet, run, until};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
};

#[test]
fn a_localnet_starts_loses_a_node_gets_it_back_and_starts_again_where_it_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = Localnet::start(directory.path(), &["--fast"]);
    localnet.wait_until_ready();

    let status = localnet.ask_json(&["status", "--json", "--measure", "1"]);
    let nodes = status.as_array().expect("a list of nodes");
    assert_eq!(nodes.iter().map(|n| n["stake"].as_u64()).collect::<Vec<_>>(), [Some(1_000), Some(600), Some(400)]);
    for node in nodes {
        assert_eq!(node["health"], "ok", "{node}");
        assert!(node["confirmed"].as_u64() > Some(0) && node["memory_mib"].as_f64() > Some(1.0), "{node}");
        assert_eq!(node["peers"], 2, "{node}");
    }

    let twice = run(&localnet.arguments(&["--rpc-port", "0"]));
    assert!(!twice.status.success(), "two localnets cannot run in one directory");
    assert!(twice.stderr.contains("runs in") && twice.stderr.contains("sundog localnet down"), "{}", twice.stderr);

    let ports = |localnet: &Localnet| {
        let bound = localnet.bound(2);
        let clients = [bound.rpc, bound.websocket, bound.metrics];
        bound.between_nodes().into_iter().chain(clients).map(|address| address.port()).collect::<Vec<u16>>()
    };
    let had = ports(&localnet);
    localnet.ask(&["kill", "2"]);
    let before = localnet.slot(0, "finalized");
    until("the other two finalize on", || localnet.slot(1, "finalized") > before + 40);
    localnet.ask(&["restart", "2"]);
    assert_eq!(ports(&localnet), had, "nobody took its ports");
    let behind = localnet.slot(0, "finalized");
    until("node 2 catches up", || {
        localnet.slot(2, "finalized") > behind + 20 && localnet.call(2, "getHealth", &json!([])).is_some()
    });
    until("node 2 votes again", || {
        let accounts = localnet.call(0, "getVoteAccounts", &json!([{"commitment": "confirmed"}])).unwrap_or_default();
        let current = accounts["current"].as_array().cloned().unwrap_or_default();
        let identity = localnet.cluster()["nodes"][2]["identity"].clone();
        current.iter().any(|a| a["nodePubkey"] == identity && a["lastVote"].as_u64() > Some(behind))
    });

    let ended = localnet.slot(0, "finalized");
    localnet.down();
    let refused = run(&localnet.arguments(&["--rpc-port", "0", "--slot-ms", "200"]));
    assert!(!refused.status.success(), "the directory belongs to another genesis");
    assert!(refused.stderr.contains("another genesis") && refused.stderr.contains("--reset"), "{}", refused.stderr);

    let mut again = Localnet::start(directory.path(), &[]);
    again.wait_until_ready();
    until("the chain goes on where it ended", || (0..3).all(|node| again.slot(node, "finalized") > ended));
    again.down();
}

#[test]
fn two_localnets_side_by_side_root_their_own_chains_and_never_meet() {
    let directories = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let mut both = directories.each_ref().map(|dir| Localnet::start(dir.path(), &["--fast", "--validators", "2"]));
    both.iter_mut().for_each(Localnet::wait_until_ready);
    let hashes = both.each_ref().map(|localnet| localnet.call(0, "getGenesisHash", &json!([])));
    assert!(hashes[0].is_some() && hashes[0] != hashes[1], "{hashes:?}");
    for (localnet, hash) in both.iter().zip(hashes) {
        assert_eq!(Some(localnet.cluster()["genesis_hash"].clone()), hash);
        until("both nodes root blocks", || (0..2).all(|node| localnet.slot(node, "finalized") > 10));
    }
    for localnet in &both {
        let known = localnet.call(0, "getClusterNodes", &json!([])).expect("it answers");
        let known: BTreeSet<String> = identities(&known, "pubkey");
        assert_eq!(known, identities(&localnet.cluster()["nodes"], "identity"), "it knows its own nodes and no others");
    }
    both.iter_mut().for_each(Localnet::down);
}

fn identities(list: &Value, key: &str) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(|node| Some(node[key].as_str()?.to_owned())).collect()
}

#[test]
fn seven_nodes_with_a_fanout_of_two_use_three_layers_of_the_tree_and_the_timeline_shows_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let equal = ["100"; 7].join(",");
    let mut localnet = Localnet::start(directory.path(), &["--stakes", &equal, "--fanout", "2"]);
    localnet.wait_until_ready();
    let first = localnet.slot(0, "finalized");
    until("every node roots block after block", || (0..7).all(|node| localnet.slot(node, "finalized") > first + 16));

    let slot = (0..7).map(|node| localnet.slot(node, "finalized")).min().expect("seven nodes");
    let timelines: Vec<Value> = (0..7).filter_map(|node| localnet.shreds(node, slot)).collect();
    assert_eq!(timelines.len(), 7, "every node tells how a rooted slot's shreds came; a skipped slot is never rooted");
    let leader = timelines[0]["leader"].clone();
    let mut layers = BTreeSet::new();
    for timeline in &timelines {
        let arrivals = timeline["arrivals"].as_array().expect("a list");
        assert!(arrivals.len() >= 32 && timeline["complete_ms"].is_u64(), "{timeline}");
        for arrival in arrivals.iter().filter(|arrival| arrival["how"] == "turbine") {
            let layer = arrival["layer"].as_u64().expect("a number");
            assert_eq!(layer == 0, arrival["from"] == leader, "the leader sends to the root alone: {arrival}");
            assert!(arrival["name"].as_str().is_some_and(|name| name.starts_with("node-")), "{arrival}");
            layers.insert(layer);
        }
    }
    assert_eq!(layers.into_iter().collect::<Vec<_>>(), [0, 1, 2]);

    let page = localnet.shreds_page(1, slot);
    assert!(page.status.success() && page.stdout.contains(&format!("slot {slot}  leader node-")), "{}", page.stdout);
    let later = localnet.shreds_page(0, slot + 1_000_000);
    assert!(!later.status.success() && later.stderr.contains("still to come"), "{}", later.stderr);
    let nobody = localnet.shreds_page(7, slot);
    assert!(!nobody.status.success() && nobody.stderr.contains("--node takes one of node-0, "), "{}", nobody.stderr);

    localnet.down();
    let stopped = directory.path().join("node-3/ledger");
    let stopped =
        ["ledger", "shreds", &slot.to_string(), "--ledger", stopped.to_str().expect("UTF-8")].map(str::to_owned);
    let read = run(&stopped);
    assert!(read.status.success() && read.stdout.contains(&format!("slot {slot}  leader ")), "{}", read.stderr);
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path().to_str().expect("UTF-8");
    let port_text = port.to_string();
    let refused = run(&["localnet", "--dir", dir, "--fast", "--rpc-port", &port_text].map(str::to_owned));
    assert!(!refused.status.success());
    assert!(refused.stderr.contains(&port_text), "the port is named: {}", refused.stderr);
    assert!(refused.stderr.contains("node 0"), "the node is named: {}", refused.stderr);
    assert!(refused.stderr.contains("--rpc-port"), "the remedy is named: {}", refused.stderr);
}

#[test]
fn without_a_localnet_the_verbs_say_how_to_start_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path().to_str().expect("UTF-8");
    for verb in [&["status"][..], &["kill", "1"], &["down"]] {
        let arguments: Vec<String> = ["localnet", "--dir", dir].iter().chain(verb).map(|s| (*s).to_owned()).collect();
        let refused = run(&arguments);
        assert!(!refused.status.success(), "{verb:?}");
        assert!(refused.stderr.contains("no localnet runs") && refused.stderr.contains("--dir"), "{}", refused.stderr);
    }
}

//! Partitions of real processes, through the fault points of their sockets, and processes that are halted.

use super::program::{Localnet, run, until};
use serde_json::json;
use std::collections::BTreeSet;

/// Slots after which what was on its way when a partition began has arrived, and what was voted on is settled.
const SETTLED_SLOTS: u64 = 12;
/// Slots that a partition lasts beyond that.
const PARTED_SLOTS: u64 = 20;

/// Waits until a node is so many slots further, by its own blocks or those of others.
fn pass(localnet: &Localnet, node: usize, slots: u64) {
    let from = localnet.slot(node, "processed");
    until("blocks are made", || localnet.slot(node, "processed") >= from + slots);
}

fn finalized(localnet: &Localnet) -> [u64; 3] {
    [0, 1, 2].map(|node| localnet.slot(node, "finalized"))
}

/// Rooted slots of a node up to one, with the hashes of their blocks.
fn chain(localnet: &Localnet, node: usize, to: u64) -> Vec<(u64, String)> {
    let slots = localnet.call(node, "getBlocks", &json!([1, to])).expect("it answers");
    let slots = slots.as_array().expect("a list").iter().filter_map(|slot| slot.as_u64());
    slots
        .map(|slot| {
            let what = json!([slot, {"transactionDetails": "none", "rewards": false}]);
            let block = localnet.call(node, "getBlock", &what).expect("a rooted block is kept");
            (slot, block["blockhash"].as_str().expect("a hash").to_owned())
        })
        .collect()
}

/// The slots that a node says it has rooted.
fn roots(localnet: &Localnet, node: usize) -> BTreeSet<u64> {
    let lines = localnet.log(node).into_iter().filter(|line| line.contains(" root slot="));
    lines.filter_map(|line| line.split_once(" root slot=")?.1.split_whitespace().next()?.parse().ok()).collect()
}

/// Every node roots on, on one chain, and that chain holds every root that any node ever had.
fn goes_on_as_one(localnet: &Localnet) {
    let before = *finalized(localnet).iter().max().expect("three");
    until("all finalize on", || finalized(localnet).iter().all(|slot| *slot > before + 8));
    let to = *finalized(localnet).iter().min().expect("three");
    let chains = [0, 1, 2].map(|node| chain(localnet, node, to));
    assert!(chains[0].len() > 16 && chains[0] == chains[1] && chains[1] == chains[2], "conflicting roots: {chains:?}");
    let slots: BTreeSet<u64> = chains[0].iter().map(|(slot, _)| *slot).collect();
    for node in 0..3 {
        let lost: Vec<u64> =
            roots(localnet, node).range(1..=to).filter(|slot| !slots.contains(slot)).copied().collect();
        assert!(lost.is_empty(), "node {node} had rooted {lost:?}, which are not of the chain");
    }
}

/// Runs a verb that must be refused; what it said.
fn refused(localnet: &Localnet, verb: &[&str]) -> String {
    let ended = run(&localnet.arguments(verb));
    assert!(!ended.status.success(), "{verb:?}: {}", ended.stdout);
    ended.stderr
}

#[test]
fn halves_finalize_nothing_a_minority_neither_and_healed_they_go_on_as_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = Localnet::start(directory.path(), &["--fast", "--faults"]);
    localnet.wait_until_ready();
    until("all root blocks", || finalized(&localnet).iter().all(|slot| *slot > 8));

    for (groups, said) in [
        (&["0,1,2"][..], "one group"),
        (&["0,1", "1,2"], "node 1 is named twice"),
        (&["0", "3"], "there is no node 3"),
        (&["zero"], "`zero` is no node"),
    ] {
        let verb: Vec<&str> = ["partition"].iter().chain(groups).copied().collect();
        let error = refused(&localnet, &verb);
        assert!(error.contains(said), "{error}");
    }

    // 1000 against 600 and 400: half against half.
    let said = localnet.ask(&["partition", "0", "1,2"]);
    assert!(said.contains("parted: 0 | 1,2") && said.contains("heal"), "{said}");
    [0, 1].iter().for_each(|node| pass(&localnet, *node, SETTLED_SLOTS));
    let stopped = finalized(&localnet);
    [0, 1].iter().for_each(|node| pass(&localnet, *node, PARTED_SLOTS));
    assert_eq!(finalized(&localnet), stopped, "no half has two thirds");
    let status = localnet.ask_json(&["status", "--json", "--measure", "1"]);
    let groups: Vec<_> = status.as_array().expect("a list").iter().map(|node| node["group"].as_u64()).collect();
    assert_eq!(groups, [Some(0), Some(1), Some(1)]);
    localnet.ask(&["heal"]);
    goes_on_as_one(&localnet);

    // 400 against the rest, which is not named.
    let said = localnet.ask(&["partition", "2"]);
    assert!(said.contains("parted: 2 | 0,1"), "{said}");
    pass(&localnet, 0, SETTLED_SLOTS);
    let stopped = finalized(&localnet);
    // What it has heard before may land as late as it leads, and finalize blocks that were there before: no others.
    let newest = localnet.slot(2, "processed");
    until("the majority finalizes on", || (0..2).all(|node| localnet.slot(node, "finalized") > stopped[0] + 40));
    assert!(localnet.slot(2, "finalized") <= newest, "a fifth of the stake finalizes nothing of its own");
    assert!(localnet.metric(2, "sundog_faults_total{what=\"blocked\"}") > 0, "it still talks to them");
    localnet.ask(&["heal"]);
    goes_on_as_one(&localnet);
    localnet.down();
}

#[test]
fn a_node_that_is_restarted_in_a_partition_is_cut_from_its_first_packet_on_and_a_link_can_lose_and_delay() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = Localnet::start(directory.path(), &["--fast", "--faults"]);
    localnet.wait_until_ready();
    until("all root blocks", || finalized(&localnet).iter().all(|slot| *slot > 8));
    localnet.ask(&["partition", "2"]);
    localnet.ask(&["kill", "2"]);
    localnet.ask(&["restart", "2"]);
    let before = localnet.slot(0, "finalized");
    until("the others finalize on", || localnet.slot(0, "finalized") > before + 20);
    assert!(localnet.slot(2, "finalized") <= before, "it hears nobody");
    assert!(
        localnet
            .call(2, "getClusterNodes", &json!([]))
            .is_some_and(|nodes| nodes.as_array().is_some_and(|nodes| nodes.len() <= 1))
    );

    localnet.ask(&["heal"]);
    let said = localnet.ask(&["link", "0", "1", "--loss", "5", "--delay", "20", "--jitter", "10", "--duplicate", "5"]);
    assert!(said.contains("0 to 1: loses 5 %, 20 ms late") && said.contains("1 to 0:"), "{said}");
    goes_on_as_one(&localnet);
    for what in ["lost", "delayed", "duplicated"] {
        assert!(localnet.metric(0, &format!("sundog_faults_total{{what=\"{what}\"}}")) > 0, "{what}");
    }
    let error = refused(&localnet, &["link", "0", "1", "--protocol", "sync", "--loss", "5"]);
    assert!(error.contains("over TCP") && error.contains("--block"), "{error}");
    let error = refused(&localnet, &["link", "0", "1", "--loss", "101"]);
    assert!(error.contains("loss is out of range"), "{error}");
    localnet.down();
}

#[test]
fn without_fault_injection_a_partition_is_refused_and_a_node_can_still_be_paused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = Localnet::start(directory.path(), &["--fast"]);
    for verb in [&["partition", "0,1", "2"][..], &["heal"], &["link", "0", "1", "--loss", "5"]] {
        localnet.wait_until_ready();
        let error = refused(&localnet, verb);
        assert!(error.contains("sundog localnet --faults"), "{error}");
    }
    until("all root blocks", || finalized(&localnet).iter().all(|slot| *slot > 8));
    localnet.ask(&["pause", "2"]);
    assert!(refused(&localnet, &["pause", "2"]).contains("paused already"));
    assert!(refused(&localnet, &["resume", "1"]).contains("not paused"));
    let status = localnet.ask_json(&["status", "--json", "--measure", "1"]);
    assert_eq!((&status[2]["health"], &status[2]["paused"]), (&json!("paused"), &json!(true)));
    let before = localnet.slot(0, "finalized");
    until("the others finalize on", || localnet.slot(0, "finalized") > before + 40);
    localnet.ask(&["resume", "2"]);
    goes_on_as_one(&localnet);
    localnet.ask(&["pause", "2"]);
    // A paused node does not keep the others from being stopped.
    localnet.down();
}

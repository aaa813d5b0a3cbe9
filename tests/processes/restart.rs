//! A coordinated restart of real processes: from one block, on another shred version, with all that was there before.

use super::program::{Localnet, run, until};
use serde_json::json;

/// The shred versions that a node knows of itself and others.
fn versions(localnet: &Localnet, node: usize) -> Vec<u64> {
    let nodes = localnet.call(node, "getClusterNodes", &json!([])).unwrap_or_default();
    nodes.as_array().into_iter().flatten().filter_map(|node| node["shredVersion"].as_u64()).collect()
}

fn balance(localnet: &Localnet, node: usize, address: &str, commitment: &str) -> u64 {
    let answer = localnet.call(node, "getBalance", &json!([address, {"commitment": commitment}]));
    answer.unwrap_or_default()["value"].as_u64().unwrap_or_default()
}

/// The number after a word of a line.
fn number(said: &str, word: &str) -> u64 {
    let rest = said.split_once(word).unwrap_or_else(|| panic!("`{word}` is not in {said}")).1;
    rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn a_localnet_is_restarted_from_one_block_on_another_shred_version_and_keeps_what_it_had() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = Localnet::start(directory.path(), &["--fast"]);
    localnet.wait_until_ready();
    let someone = solana_keypair::Keypair::new();
    let someone = solana_signer::Signer::pubkey(&someone).to_string();
    localnet.call(0, "requestAirdrop", &json!([someone, 7_000_000_000_u64])).expect("the faucet pays");
    until("it is confirmed", || (0..3).all(|node| balance(&localnet, node, &someone, "confirmed") == 7_000_000_000));
    let before = versions(&localnet, 0)[0];

    let refused = run(&localnet.arguments(&["restart", "--hard-fork", "999999"]));
    assert!(
        !refused.status.success() && refused.stderr.contains("cannot go back to slot 999999"),
        "{}",
        refused.stderr
    );
    until("the nodes run again as they were", || versions(&localnet, 2) == [before; 3]);

    let said = localnet.ask(&["restart", "--hard-fork"]);
    let (slot, after) = (number(&said, "restarted at slot"), number(&said, "shred version"));
    assert!(said.contains("bank hash") && said.contains("every node roots again"), "{said}");
    assert_ne!(before, after, "another shred version");
    for node in 0..3 {
        assert!(localnet.slot(node, "finalized") > slot, "node {node} roots above the slot");
        until("all are on the new version", || versions(&localnet, node) == [after; 3]);
        assert_eq!(balance(&localnet, node, &someone, "finalized"), 7_000_000_000, "node {node} keeps the balance");
        let waited = localnet.log(node).iter().any(|line| line.contains("the cluster goes on"));
        assert!(waited, "node {node} waited for the others");
    }

    // A node on the old version is told why it may not come in.
    let stranger = directory.path().join("stranger");
    let refused = stranger_on_the_old_version(&localnet, &stranger);
    let expected = [&before.to_string(), &after.to_string(), "hard fork", "--hard-fork SLOT"];
    assert!(expected.iter().all(|part| refused.contains(part)), "{refused}");

    // Later starts need no flag: the ledgers know.
    localnet.ask(&["kill", "2"]);
    localnet.ask(&["restart", "2"]);
    let goal = localnet.slot(0, "finalized") + 20;
    until("node 2 roots on", || localnet.slot(2, "finalized") > goal);
    localnet.down();
}

/// Starts a validator that has the genesis and does not know of the hard fork; what it ends with.
fn stranger_on_the_old_version(localnet: &Localnet, directory: &std::path::Path) -> String {
    std::fs::create_dir_all(directory).expect("a directory");
    let path = |name: &str| directory.join(name).to_str().expect("UTF-8").to_owned();
    let identity = path("identity.json");
    assert!(run(&["keygen".into(), identity.clone()]).status.success());
    let genesis = localnet.ledger(0).join("../../genesis.bin").to_str().expect("UTF-8").to_owned();
    let entrypoint = localnet.bound(0).gossip.to_string();
    let flags =
        [("--identity", identity), ("--ledger", path("ledger")), ("--genesis", genesis), ("--entrypoint", entrypoint)];
    let mut arguments = vec!["validator".to_owned()];
    arguments.extend(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
    arguments.extend(super::program::any_ports());
    let ended = run(&arguments);
    assert!(!ended.status.success(), "it ends by itself");
    ended.stderr
}

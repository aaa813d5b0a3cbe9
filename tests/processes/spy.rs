//! Gossip as a spy sees it, and as the nodes tell it.

use super::program::{Ended, Localnet, run, until};
use serde_json::Value;
use std::{collections::BTreeSet, net::UdpSocket, path::Path};

fn gossip(arguments: &[&str]) -> Ended {
    let arguments: Vec<String> =
        std::iter::once("gossip").chain(arguments.iter().copied()).map(str::to_owned).collect();
    run(&arguments)
}

fn identities(nodes: &Value) -> BTreeSet<&str> {
    nodes.as_array().into_iter().flatten().filter_map(|node| node["identity"].as_str()).collect()
}

#[test]
fn a_spy_lists_every_node_and_a_picture_shows_who_pushes_to_whom() {
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path().to_str().expect("UTF-8");
    let mut localnet = Localnet::start(directory.path(), &["--fast"]);
    localnet.wait_until_ready();
    let cluster = localnet.cluster();
    let nodes = identities(&cluster["nodes"]);

    // The picture first: spies are pushed to as well, until they are forgotten.
    draws_six_arrows(dir, directory.path());

    let listed = gossip(&["--dir", dir, "--num", "3", "--timeout", "60", "--json"]);
    assert!(listed.status.success(), "{}", listed.stderr);
    let seen: Value = serde_json::from_str(&listed.stdout).expect("it prints JSON");
    assert!(identities(&seen["nodes"]).is_superset(&nodes), "{seen}");
    let validators: Vec<&Value> =
        seen["nodes"].as_array().into_iter().flatten().filter(|n| n["spy"] == false).collect();
    let stakes: Vec<Option<u64>> = validators.iter().map(|node| node["stake"].as_u64()).collect();
    assert_eq!(stakes, [1_000, 600, 400].map(|sol| Some(sol * 1_000_000_000)), "{seen}");
    for node in &validators {
        assert_eq!((&node["client"], &node["shred_version"]), (&"Sundog".into(), &seen["shred_version"]), "{node}");
        assert!(node["addresses"]["rpc"].is_string() && node["addresses"]["tvu_quic"].is_string(), "{node}");
        assert!(node["last_seen_seconds"].as_f64().is_some_and(|seconds| seconds < 30.0), "{node}");
    }

    let page = gossip(&["--dir", dir]);
    assert!(page.status.success(), "{}", page.stderr);
    let lines = page.stdout.lines().filter(|line| nodes.iter().any(|node| line.starts_with(node))).count();
    assert_eq!(lines, 3, "{}", page.stdout);

    // Each of them leads to the others, and votes are heard from all.
    for node in cluster["nodes"].as_array().expect("a list") {
        let entrypoint = node["gossip"].as_str().expect("an address");
        until("votes of all are heard", || {
            let heard = gossip(&["--entrypoint", entrypoint, "--timeout", "60", "--json"]);
            assert!(heard.status.success(), "{}", heard.stderr);
            let heard: Value = serde_json::from_str(&heard.stdout).expect("it prints JSON");
            let voted = |node: &&Value| node["votes_seen"].as_u64() > Some(0) && node["last_voted_slot"].is_u64();
            heard["nodes"].as_array().into_iter().flatten().filter(voted).count() >= 3
        });
    }
    let wanted = nodes.iter().next().expect("three");
    assert!(gossip(&["--dir", dir, "--pubkey", wanted, "--timeout", "60"]).status.success());

    let watched = gossip(&["--dir", dir, "--watch", "--json", "--timeout", "4"]);
    assert!(watched.status.success(), "{}", watched.stderr);
    let pages: Vec<Value> = watched.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(pages.len() >= 2 && identities(&pages.last().expect("two")["nodes"]).is_superset(&nodes), "{pages:?}");

    let missed = gossip(&["--dir", dir, "--num", "30", "--timeout", "5"]);
    assert_eq!(missed.status.code(), Some(1), "{}", missed.stdout);
    assert!(
        missed.stderr.contains("of 30 nodes were seen") && missed.stderr.contains("--timeout"),
        "{}",
        missed.stderr
    );
    localnet.down();
}

/// Three nodes, each of which pushes to the two others; nobody else is pushed to.
fn draws_six_arrows(dir: &str, directory: &Path) {
    let file = directory.join("gossip.svg");
    let name = file.to_str().expect("UTF-8");
    until("each pushes to the two others", || {
        let drawn = gossip(&["--dir", dir, "--graph", name, "--json"]);
        assert!(drawn.status.success(), "{}", drawn.stderr);
        let graph: Value = serde_json::from_str(&drawn.stdout).expect("it prints JSON");
        let arrows = graph["arrows"].as_array().cloned().unwrap_or_default();
        arrows.len() == 6 && arrows.iter().all(|arrow| arrow["values"].as_u64() > Some(0))
    });
    let svg = std::fs::read_to_string(&file).expect("it is written");
    assert_eq!((svg.matches("class=\"node\"").count(), svg.matches("class=\"arrow\"").count()), (3, 6), "{svg}");
    assert!((0..3).all(|node| svg.contains(&format!(">node-{node}</text>"))), "{svg}");
    let told = gossip(&["--dir", dir, "--graph", name]);
    assert!(told.stdout.starts_with(&format!("{name}: 3 nodes, 6 arrows")), "{}", told.stdout);
}

#[test]
fn an_entrypoint_where_nobody_is_ends_with_the_cause_and_what_to_do() {
    let nobody = UdpSocket::bind(("127.0.0.1", 0)).expect("a free port");
    let address = nobody.local_addr().expect("bound").to_string();
    let ended = gossip(&["--entrypoint", &address, "--timeout", "2"]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
    assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    assert!(ended.stderr.contains(&format!("nobody was seen through {address} within 2 s")), "{}", ended.stderr);
    assert!(ended.stderr.contains("check that a node runs there"), "{}", ended.stderr);

    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path().to_str().expect("UTF-8");
    let ended = gossip(&["--dir", dir, "--graph", "nowhere.svg"]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
    assert!(ended.stderr.contains("no localnet runs"), "{}", ended.stderr);
}

//! A voter's promises as its operator meets them: looked at, running and stopped; lost, torn, foreign and outdated.

use super::program::{Localnet, Validator, run, until};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Runs `sundog tower` or `sundog forks`, which must succeed; the JSON that it prints.
fn look(what: &str, whom: &[&str]) -> Value {
    let arguments: Vec<String> = [&[what], whom, &["--json"]].concat().iter().map(|s| (*s).to_owned()).collect();
    let ended = run(&arguments);
    assert!(ended.status.success(), "{arguments:?}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).expect("it prints JSON")
}

/// Runs `sundog`, which must refuse; what it says.
fn refused(arguments: &[&str]) -> String {
    let ended = run(&arguments.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    assert!(!ended.status.success(), "{arguments:?}: {}", ended.stdout);
    ended.stderr
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The one tower file of a ledger directory.
fn tower_file(ledger: &Path) -> PathBuf {
    let is_tower =
        |path: &PathBuf| path.extension().is_some_and(|kind| kind == "bin") && text(path).contains("/tower-1_9-");
    let mut files = fs::read_dir(ledger).expect("a directory").flatten().map(|entry| entry.path()).filter(is_tower);
    let file = files.next().expect("a voter leaves its tower");
    assert_eq!(files.next(), None, "and no other");
    file
}

/// The blocks of a tree: slot, and what does not change about them.
fn blocks(forks: &Value) -> BTreeMap<u64, Value> {
    let blocks = forks["blocks"].as_array().expect("a list").iter();
    let fixed = |block: &Value| json!([block["bankHash"], block["leader"]]);
    blocks.map(|block| (block["slot"].as_u64().expect("a slot"), fixed(block))).collect()
}

/// The newest vote of a node's account that node 0 sees in rooted blocks.
fn landed(localnet: &Localnet, node: usize) -> u64 {
    landed_by(localnet, 0, node)
}

/// The same as another node sees it.
fn landed_by(localnet: &Localnet, by: usize, node: usize) -> u64 {
    let accounts = localnet.call(by, "getVoteAccounts", &json!([{"commitment": "finalized"}])).unwrap_or_default();
    let identity = localnet.cluster()["nodes"][node]["identity"].clone();
    let all = ["current", "delinquent"].map(|kind| accounts[kind].as_array().cloned().unwrap_or_default()).concat();
    let own = all.into_iter().find(|account| account["nodePubkey"] == identity);
    own.and_then(|own| own["lastVote"].as_u64()).unwrap_or_default()
}

/// A localnet whose nodes have rooted.
fn localnet(directory: &Path) -> Localnet {
    let mut localnet = Localnet::start(directory, &["--fast"]);
    localnet.wait_until_ready();
    until("all root blocks", || (0..3).all(|node| localnet.slot(node, "finalized") > 8));
    localnet
}

#[test]
fn a_running_node_and_the_directory_that_it_leaves_tell_the_same_tower_and_forks() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = localnet(directory.path());
    let ledger = localnet.ledger(2);
    let whom = ["--dir", text(directory.path()), "--node", "2"];
    let rpc = localnet.cluster()["nodes"][2]["rpc"].as_str().expect("a URL").to_owned();

    // A full tower: everything that is shown is there.
    until("its tower is full", || look("tower", &whom)["votes"].as_array().is_some_and(|votes| votes.len() == 31));
    let tower = look("tower", &whom);
    let node = localnet.cluster()["nodes"][2].clone();
    assert_eq!((&tower["identity"], &tower["voteAccount"]), (&node["identity"], &node["vote_account"]));
    for vote in tower["votes"].as_array().expect("a list") {
        let number = |name: &str| vote[name].as_u64().expect("a number");
        assert_eq!(number("expires"), number("slot") + (1 << number("confirmationCount")), "{vote}");
    }
    assert!(tower["landed"].is_u64() && tower["votedHash"].is_string() && tower["decision"].is_object(), "{tower}");
    let forks = look("forks", &["--url", &rpc]);
    assert_eq!(forks["totalStake"].as_u64().map(|stake| stake / 1_000_000_000 / 10), Some(200), "2,000 SOL, and rent");
    let newest = forks["ownVote"].as_u64().expect("it votes");
    let in_use = refused(&["forks", "--ledger", text(&ledger)]);
    assert!(in_use.contains("leave out --ledger") && in_use.contains("in use"), "{in_use}");
    assert_eq!(refused(&["tower", "--ledger", text(&ledger)]), in_use);

    localnet.ask(&["stop", "2"]);
    let nobody = refused(&["tower", "--url", &rpc]);
    assert!(nobody.contains("no JSON-RPC at http://127.0.0.1:") && nobody.contains("--ledger"), "{nobody}");
    let stopped = refused(&["forks", whom[0], whom[1], whom[2], whom[3]]);
    assert!(stopped.contains("node-2 does not run") && stopped.contains(text(&ledger)), "{stopped}");
    let metrics = localnet.cluster()["nodes"][0]["metrics"].as_str().expect("a URL").to_owned();
    let other = refused(&["tower", "--url", &metrics]);
    assert!(other.contains("--url takes"), "{other}");

    // The directory knows what the running node knew, and what came after.
    let left = look("tower", &["--ledger", text(&ledger)]);
    assert_eq!((&left["identity"], &left["voteAccount"]), (&tower["identity"], &tower["voteAccount"]));
    let root = left["root"].as_u64().expect("a root");
    assert!(Some(root) >= tower["root"].as_u64(), "{left}");
    let kept: BTreeMap<u64, u64> = depths(&left);
    for (slot, depth) in depths(&tower).range(root + 1..) {
        assert!(kept.get(slot) >= Some(depth), "the vote for {slot} is as deep or deeper: {left}");
    }
    let tree = look("forks", &["--ledger", text(&ledger)]);
    assert_eq!(tree["root"].as_u64(), Some(root));
    assert_eq!(tree["ownVote"].as_u64(), kept.keys().last().copied());
    assert!(tree["ownVote"].as_u64() >= Some(newest) && tree["totalStake"] == forks["totalStake"], "{tree}");
    let (before, after) = (blocks(&forks), blocks(&tree));
    assert!(before.range(root..=newest).count() > 8, "{forks}");
    for (slot, block) in before.range(root..) {
        assert_eq!(after.get(slot), Some(block), "slot {slot}");
    }
    let drawn = run(&["forks", "--ledger", text(&ledger)].map(str::to_owned));
    for mark in ["[root]", "[own vote]", "[heaviest]", "100.0 %", "votes: "] {
        assert!(drawn.stdout.contains(mark), "{}", drawn.stdout);
    }
    let dot = run(&["forks", "--ledger", text(&ledger), "--dot"].map(str::to_owned)).stdout;
    assert!(dot.starts_with("digraph forks {\n") && dot.ends_with("}\n"), "{dot}");
    assert_eq!(dot.matches(" [label=").count(), after.len(), "{dot}");

    let elsewhere = tempfile::tempdir().expect("a directory");
    let none = refused(&["tower", "--ledger", text(elsewhere.path())]);
    assert!(none.contains("has no tower file"), "{none}");
    // A copy of the file alone can be looked at.
    let file = tower_file(&ledger);
    fs::copy(&file, elsewhere.path().join(file.file_name().expect("a name"))).expect("copied");
    assert_eq!(look("tower", &["--ledger", text(elsewhere.path())])["votes"], left["votes"]);
    let no_ledger = refused(&["forks", "--ledger", text(elsewhere.path())]);
    assert!(no_ledger.contains("is no ledger directory"), "{no_ledger}");

    // With a damaged one the forks are shown all the same, and why the own votes are missing.
    let whole = fs::read(&file).expect("it is there");
    fs::write(&file, &whole[..whole.len() / 2]).expect("written");
    let damaged = look("forks", &["--ledger", text(&ledger)]);
    let why = damaged["towerUnreadable"].as_str().expect("it says why");
    assert!(why.contains("tower-1_9-") && damaged["ownVote"].is_null(), "{damaged}");
    assert!(blocks(&damaged).contains_key(&newest) && tree.get("towerUnreadable").is_none(), "{damaged}");
    let drawn = run(&["forks", "--ledger", text(&ledger)].map(str::to_owned)).stdout;
    assert!(drawn.contains(&format!("own votes are not known: {why}\n")), "{drawn}");
    localnet.down();
}

/// The votes of a tower: slot, and how deep it lies.
fn depths(tower: &Value) -> BTreeMap<u64, u64> {
    let votes = tower["votes"].as_array().expect("a list").iter();
    votes.filter_map(|vote| Some((vote["slot"].as_u64()?, vote["confirmationCount"].as_u64()?))).collect()
}

#[test]
fn a_tower_file_that_is_missing_torn_foreign_or_outdated_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = localnet(directory.path());
    localnet.ask(&["stop", "2"]);
    let file = tower_file(&localnet.ledger(2));
    let outdated = fs::read(&file).expect("a file");

    // Torn, and another's: it does not start.
    let start = |flags: &[&str]| {
        let ended = run(&Validator::arguments(&localnet, (2, flags)));
        assert!(!ended.status.success(), "it must not start: {}", ended.stderr);
        ended.stderr
    };
    fs::write(&file, &outdated[..outdated.len() / 2]).expect("written");
    let torn = start(&[]);
    assert!(torn.contains("the tower file is damaged") && torn.contains("restore it from a backup"), "{torn}");
    let mut flipped = outdated.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    fs::write(&file, &flipped).expect("written");
    let forged = start(&[]);
    assert!(forged.contains("is not signed by") && forged.contains("restore or remove it"), "{forged}");
    fs::copy(tower_file(&localnet.ledger(1)), &file).expect("copied");
    let foreign = start(&[]);
    let [other, own] =
        [1, 2].map(|node| localnet.cluster()["nodes"][node]["identity"].as_str().expect("a key").to_owned());
    assert!(foreign.contains(&format!("belongs to {other}, this node is {own}")), "{foreign}");
    fs::remove_file(&file).expect("removed");
    let missing = start(&["--require-tower", "true"]);
    assert!(missing.contains("--require-tower forbids") && missing.contains("put the newest one there"), "{missing}");

    // Older than what the chain shows: it starts, follows, and does not vote.
    fs::write(&file, &outdated).expect("written");
    let newest = depths(&look("tower", &["--ledger", text(&localnet.ledger(2))])).keys().last().copied();
    localnet.ask(&["restart", "2"]);
    until("it has a newer vote in a block that it has", || Some(landed_by(&localnet, 2, 2)) > newest);
    localnet.ask(&["stop", "2"]);
    fs::write(&file, &outdated).expect("written");
    let whom = ["--dir", text(directory.path()), "--node", "2"];
    refuses_to_vote(&mut localnet, &whom);

    // Without any, but with its votes on the chain: the same.
    localnet.ask(&["stop", "2"]);
    fs::remove_file(&file).expect("removed");
    refuses_to_vote(&mut localnet, &whom);

    // Told to vote without it, it waits until the lockouts that can be seen have run out.
    localnet.ask(&["stop", "2"]);
    let (spent, before) = (landed(&localnet, 2), localnet.slot(0, "processed"));
    let returned = Validator::of(&localnet, (2, &["--vote-without-tower", "true"]));
    until("it votes again", || landed(&localnet, 2) > before);
    let log = returned.log();
    assert!(log.iter().any(|line| line.contains("once the lockouts that can be seen have run out")), "{log:?}");
    assert!(spent < before);
    let tower = look("tower", &["--url", &format!("http://{}", returned.bound().rpc)]);
    assert!(depths(&tower).range(before..).next().is_some(), "{tower}");
    drop(returned);
    localnet.down();
}

/// Starts node 2, which follows and roots with the others but casts no vote, and says why and what to do.
fn refuses_to_vote(localnet: &mut Localnet, whom: &[&str]) {
    let lines = localnet.log(2).len();
    localnet.ask(&["restart", "2"]);
    let told = || localnet.log(2).split_off(lines).into_iter().find(|line| line.contains("this node does not vote"));
    until("it says that it does not vote", || told().is_some());
    let told = told().expect("it was there");
    for what in ["the file was lost or is an older one", "put the newest tower file", "--vote-without-tower true"] {
        assert!(told.contains(what), "{told}");
    }
    let from = localnet.slot(0, "processed");
    until("it roots with the others", || localnet.slot(2, "finalized") > from);
    assert!(landed(localnet, 2) < from, "it cast no vote since");
    let tower = look("tower", whom);
    assert_eq!(tower["abstained"]["reason"], "forgotten", "{tower}");
    assert_eq!(tower["decision"]["verdict"], "forgotten", "{tower}");
    assert!(localnet.metric(2, "sundog_abstained_total{reason=\"forgotten\"}") > 0);
}

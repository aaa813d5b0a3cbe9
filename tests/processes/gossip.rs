//! Nodes that find each other, and those that must not: starts in any order, other ports, another chain, a namesake.

use super::program::{Ended, any_ports, program, run, until};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use sundog_validator::io::{client::Client, port_claim::PortClaim, sockets::Bound};

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// Makes a genesis whose only validator never runs: its nodes gossip, and have no blocks to busy themselves with.
fn genesis(directory: &Path, name: &str) -> PathBuf {
    let file = |what: &str| text(&directory.join(format!("{name}-{what}")));
    for key in ["identity.json", "vote.json", "faucet.json"] {
        let made = run(&["keygen".to_owned(), file(key)]);
        assert!(made.status.success(), "{}", made.stderr);
    }
    let validator = format!("{},{},1000", file("identity.json"), file("vote.json"));
    let (faucet, out) = (file("faucet.json"), file("genesis.bin"));
    let made = run(&["genesis", "--validator", &validator, "--faucet", &faucet, "--out", &out].map(str::to_owned));
    assert!(made.status.success(), "{}", made.stderr);
    out.into()
}

fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// How a node is started.
struct Plan<'a> {
    directory: PathBuf,
    genesis: &'a Path,
    /// In the directory unless a namesake's is used.
    identity: PathBuf,
    entrypoint: Option<SocketAddr>,
    gossip_port: u16,
}

impl<'a> Plan<'a> {
    fn new(directory: &Path, name: &str, genesis: &'a Path, entrypoint: Option<SocketAddr>) -> Self {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let identity = directory.join("identity.json");
        let made = run(&["keygen".to_owned(), text(&identity)]);
        assert!(made.status.success(), "{}", made.stderr);
        Self { directory, genesis, identity, entrypoint, gossip_port: 0 }
    }

    fn command(&self) -> Vec<String> {
        let mut line = ["validator", "--identity"].map(str::to_owned).to_vec();
        line.push(text(&self.identity));
        line.extend(["--ledger".to_owned(), text(&self.directory.join("ledger"))]);
        line.extend(["--genesis".to_owned(), text(self.genesis)]);
        if let Some(entrypoint) = self.entrypoint {
            line.extend(["--entrypoint".to_owned(), entrypoint.to_string()]);
        }
        let mut ports = any_ports();
        let gossip = ports.iter().position(|flag| flag == "--gossip-port").expect("every node has one");
        ports[gossip + 1] = self.gossip_port.to_string();
        line.extend(ports);
        line
    }

    /// Starts it, and waits until it has bound its ports.
    fn start(&self) -> Node {
        let addresses = self.directory.join("addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let log = self.directory.join("validator.log");
        let file = std::fs::File::create(&log).expect("a file");
        let mut command = Command::new(program());
        command.args(self.command()).arg("--stop-with-stdin").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
        let mut process = command.spawn().expect("the program starts");
        let read = || std::fs::read(&addresses).ok().and_then(|json| serde_json::from_slice::<Bound>(&json).ok());
        until("it has bound its ports", || {
            let ended = process.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
            read().is_some()
        });
        Node { process, log, bound: read().expect("it is there") }
    }

    /// Starts it; it must end by itself.
    fn start_in_vain(&self) -> Ended {
        run(&self.command())
    }
}

struct Node {
    process: Child,
    log: PathBuf,
    bound: Bound,
}

impl Node {
    /// Where gossip listens, of all nodes that this one lists, by identity.
    fn lists(&self) -> BTreeMap<String, String> {
        let nodes = Client::new(&format!("http://{}", self.bound.rpc)).call("getClusterNodes", &json!([]));
        let nodes = nodes.unwrap_or_default();
        let named = |node: &Value| Some((node["pubkey"].as_str()?.to_owned(), node["gossip"].as_str()?.to_owned()));
        nodes.as_array().into_iter().flatten().filter_map(named).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as an operator does.
    fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().expect("it is ours").success(), "{}", self.log());
    }

    /// Waits until it ends by itself; its exit code.
    fn ends(&mut self) -> Option<i32> {
        until("it ends by itself", || self.process.try_wait().expect("it is ours").is_some());
        self.process.wait().expect("it has ended").code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until each of them lists all of them where they listen now, and nobody else.
fn all_meet(nodes: &[&Node]) {
    until("every node lists every node where it listens", || {
        let places: Vec<String> = nodes.iter().map(|node| node.bound.gossip.to_string()).collect();
        nodes.iter().all(|node| {
            let listed = node.lists();
            listed.len() == places.len() && places.iter().all(|place| listed.values().any(|listed| listed == place))
        })
    });
}

#[test]
fn nodes_meet_whoever_starts_first_and_again_after_they_moved_to_other_ports() {
    let directory = tempfile::tempdir().expect("a directory");
    let genesis = genesis(directory.path(), "chain");
    // Nobody else gets it while nothing listens there.
    let claim = PortClaim::take().expect("free ports");
    let entrypoint = here(claim.port(0));
    let plan = |name: &str| Plan::new(directory.path(), name, &genesis, Some(entrypoint));
    let (first, second) = (plan("first"), plan("second"));
    let mut last = Plan { gossip_port: entrypoint.port(), ..plan("last") };

    // The entrypoint starts last, and names itself as the entrypoint.
    let nodes = [first.start(), second.start()];
    let third = last.start();
    all_meet(&[&nodes[0], &nodes[1], &third]);

    // A node moves to other ports.
    let [one, two] = nodes;
    one.stop();
    let one = first.start();
    all_meet(&[&one, &two, &third]);

    // The entrypoint moves, and knows its peers from its former life; nobody else knows where it went.
    third.stop();
    last.gossip_port = 0;
    last.entrypoint = None;
    let third = last.start();
    all_meet(&[&one, &two, &third]);

    // Nobody is at the entrypoint's old address any more.
    two.stop();
    let two = second.start();
    all_meet(&[&one, &two, &third]);
}

#[test]
fn a_node_of_another_chain_ends_with_both_shred_versions_and_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (genesis(directory.path(), "ours"), genesis(directory.path(), "theirs"));
    let home = Plan::new(directory.path(), "home", &theirs, None).start();
    let stranger = Plan::new(directory.path(), "stranger", &ours, Some(home.bound.gossip));
    let ended = stranger.start_in_vain();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let place = home.bound.gossip.to_string();
    for part in ["error: shred version mismatch", &place, "another genesis", "hard fork", "--entrypoint"] {
        assert!(ended.stderr.contains(part), "{part} is missing in {}", ended.stderr);
    }
    for (flag, value, told) in [
        ("--expected-genesis-hash", "11111111111111111111111111111111", "error: genesis mismatch"),
        ("--expected-shred-version", "1", "error: shred version mismatch"),
    ] {
        let mut line = Plan::new(directory.path(), flag, &ours, None).command();
        line.extend([flag, value].map(str::to_owned));
        let ended = run(&line);
        assert!(!ended.status.success() && ended.stderr.contains(told), "{flag}: {}", ended.stderr);
    }
    home.stop();
}

#[test]
fn of_two_instances_of_one_node_the_newer_runs_and_the_older_ends_saying_where_the_other_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let genesis = genesis(directory.path(), "chain");
    let between = Plan::new(directory.path(), "between", &genesis, None).start();
    let entrypoint = Some(between.bound.gossip);
    let older = Plan::new(directory.path(), "older", &genesis, entrypoint);
    let mut newer = Plan::new(directory.path(), "newer", &genesis, entrypoint);
    newer.identity.clone_from(&older.identity);
    let mut older = older.start();
    all_meet(&[&between, &older]);
    let newer = newer.start();
    assert_eq!(older.ends(), Some(1), "{}", older.log());
    let last = older.log();
    let last = last.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(last.contains("another instance") && last.contains(&newer.bound.gossip.to_string()), "{last}");
    all_meet(&[&between, &newer]);
    newer.stop();
}

#[test]
fn a_node_that_is_killed_and_started_again_at_once_is_not_taken_for_its_own_namesake() {
    let directory = tempfile::tempdir().expect("a directory");
    let genesis = genesis(directory.path(), "chain");
    let between = Plan::new(directory.path(), "between", &genesis, None).start();
    let plan = Plan::new(directory.path(), "restarted", &genesis, Some(between.bound.gossip));
    for _ in 0..3 {
        let node = plan.start();
        all_meet(&[&between, &node]);
        // Dropped: killed without a word to anybody.
    }
    let node = plan.start();
    all_meet(&[&between, &node]);
    node.stop();
}

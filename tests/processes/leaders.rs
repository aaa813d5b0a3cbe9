//! Leaders killed in the middle of their own slots: what the disk remembers keeps them from signing a slot twice.

use super::program::{Localnet, until};
use std::path::Path;

/// How often a leader is killed.
const KILLS: usize = 4;

/// The number of lines of a node's log that say it has begun a slot of its own.
fn own_slots(directory: &Path, node: usize) -> usize {
    lines(directory, node, &["slot started", "mine=true"]).len()
}

/// The lines of a node's log that have all these words.
fn lines(directory: &Path, node: usize, words: &[&str]) -> Vec<String> {
    let log = std::fs::read_to_string(directory.join(format!("node-{node}/validator.log"))).unwrap_or_default();
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
}

#[test]
fn leaders_killed_in_their_own_slots_come_back_and_nobody_sees_two_versions() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = Localnet::start(directory.path(), &["--fast"]);
    localnet.wait_until_ready();
    for kill in 0..KILLS {
        // The largest leads often; the others must be able to finalize without the one that is killed.
        let node = 1 + kill % 2;
        let before = own_slots(directory.path(), node);
        until("it leads", || own_slots(directory.path(), node) > before);
        localnet.ask(&["kill", &node.to_string()]);
        localnet.ask(&["restart", &node.to_string()]);
        let led = own_slots(directory.path(), node);
        until("it leads again", || own_slots(directory.path(), node) > led);
        let finalized = localnet.slot(0, "finalized");
        until("all finalize on", || (0..3).all(|node| localnet.slot(node, "finalized") > finalized + 8));
    }
    for node in 0..3 {
        assert!(own_slots(directory.path(), node) > 0, "node {node} led");
        let accused = lines(directory.path(), node, &["duplicate"]);
        assert!(accused.is_empty(), "node {node}: {accused:?}");
    }
    localnet.down();
}

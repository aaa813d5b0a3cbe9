//! Power cuts at random moments of random nodes, on real disks: `kill -9`, and again from what was durable.

use super::program::{Localnet, until};
use std::collections::BTreeMap;

/// How often a node is killed.
const KILLS: u64 = 20;
/// Slots of 100 ms that pass at most between a restart and the next kill, and between a kill and the restart.
const PAUSE_SLOTS: u64 = 12;

/// A small generator, so that the choices are those of the seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// The value of a field of a log line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(&format!(" {name}="))?.1.split_whitespace().next()
}

/// The lines of a node's log, of all its lives, that say this.
fn lines(localnet: &Localnet, node: usize, what: &str) -> Vec<String> {
    localnet.log(node).into_iter().filter(|line| line.contains(what)).collect()
}

/// Waits until the blocks that a node executed are so many slots further.
fn pass(localnet: &Localnet, node: usize, slots: u64) {
    let from = localnet.slot(node, "processed");
    until("blocks are made", || localnet.slot(node, "processed") >= from + slots);
}

/// No block of a slot that any node ever rooted has two bank hashes, and no node says that it lost a promise.
fn roots_agree(localnet: &Localnet) {
    let mut hashes = BTreeMap::<u64, String>::new();
    for node in 0..3 {
        let blocks: BTreeMap<u64, String> = lines(localnet, node, "block complete")
            .iter()
            .filter_map(|line| Some((field(line, "slot")?.parse().ok()?, field(line, "bank_hash")?.to_owned())))
            .collect();
        for line in lines(localnet, node, " root slot=") {
            let slot: u64 = field(&line, "slot").and_then(|slot| slot.parse().ok()).expect("a root has a slot");
            let Some(hash) = blocks.get(&slot) else { continue };
            let known = hashes.entry(slot).or_insert_with(|| hash.clone());
            assert_eq!(known, hash, "node {node} rooted another block of slot {slot}");
        }
        for said in ["does not vote", "signed two versions", "contradict", "panicked"] {
            let found = lines(localnet, node, said);
            assert!(found.is_empty(), "node {node}: {found:?}");
        }
    }
    assert!(hashes.len() > 20, "only {} roots are in the logs", hashes.len());
}

#[test]
fn twenty_kills_at_random_never_end_in_two_roots_a_stuck_cluster_or_a_refused_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = Localnet::start(directory.path(), &["--fast"]);
    localnet.wait_until_ready();
    let mut dice = Dice(5);
    for _ in 0..KILLS {
        let node = usize::try_from(dice.roll(3)).expect("small");
        // Another one tells how time passes; without the largest it may have no blocks, so it is not waited for.
        let other = (node + 1) % 3;
        pass(&localnet, other, dice.roll(PAUSE_SLOTS));
        localnet.ask(&["kill", &node.to_string()]);
        if node != 0 {
            pass(&localnet, 0, dice.roll(PAUSE_SLOTS));
        }
        localnet.ask(&["restart", &node.to_string()]);
    }
    let finalized = (0..3).map(|node| localnet.slot(node, "finalized")).max().expect("three");
    until("all finalize on", || (0..3).all(|node| localnet.slot(node, "finalized") > finalized + 40));
    roots_agree(&localnet);
    let starts: usize = (0..3).map(|node| lines(&localnet, node, "validator started").len()).sum();
    assert_eq!(starts, 3 + usize::try_from(KILLS).expect("small"), "every start went well");
    localnet.down();
}

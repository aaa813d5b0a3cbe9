//! What a run has shown.

use super::World;
use serde::Serialize;
use std::collections::BTreeMap;
use sundog_types::{Hash, Slot};

/// One node's part of an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeOutcome {
    /// Its stake, in SOL.
    pub stake: u64,
    /// Blocks it froze.
    pub blocks: usize,
    /// Slots it found dead.
    pub dead: usize,
    /// Its root.
    pub root: u64,
    /// Slots of its chain up to the root that no leader filled.
    pub skipped: u64,
}

/// What a run has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The seed it can be replayed from.
    pub seed: u64,
    /// Virtual time passed, milliseconds.
    pub virtual_ms: u64,
    /// Events delivered.
    pub delivered: u64,
    /// The running hash of every delivered event.
    pub history: String,
    /// By node.
    pub nodes: Vec<NodeOutcome>,
    /// Two nodes rooted different blocks, or froze different versions of one they both rooted: never.
    pub conflict: Option<String>,
    /// The first rule of Tower BFT that a node broke: never.
    pub violation: Option<String>,
}

impl Outcome {
    pub(super) fn of(world: &World, delivered: u64) -> Self {
        let nodes = world
            .hosts
            .iter()
            .zip(&world.config().stakes)
            .map(|(host, stake)| {
                let root = host.rooted.last().copied().unwrap_or_default();
                let chain = host.rooted_chain(root);
                NodeOutcome {
                    stake: *stake,
                    blocks: host.blocks.len(),
                    dead: host.dead.len(),
                    root: root.get(),
                    skipped: root.get().saturating_sub(chain.len() as u64),
                }
            })
            .collect();
        Self {
            seed: world.config().seed,
            virtual_ms: world.now().mono_us / 1_000,
            delivered,
            history: world.history().to_string(),
            nodes,
            conflict: conflict(world),
            violation: world.violation().map(ToString::to_string),
        }
    }
}

/// Looks for two nodes that rooted different blocks: written against what nodes said, not against their own checks.
fn conflict(world: &World) -> Option<String> {
    let mut rooted = BTreeMap::<Slot, (usize, Option<Hash>)>::new();
    for (number, host) in world.hosts.iter().enumerate() {
        for slot in &host.rooted {
            let hash = host.blocks.get(slot).copied();
            match rooted.get(slot) {
                Some((other, known)) if known.is_some() && hash.is_some() && *known != hash => {
                    return Some(format!("slot {slot}: node {other} rooted {known:?}, node {number} {hash:?}"));
                }
                Some(_) => {}
                None => {
                    rooted.insert(*slot, (number, hash));
                }
            }
        }
    }
    for (number, host) in world.hosts.iter().enumerate() {
        let root = host.rooted.last().copied().unwrap_or_default();
        let chain = host.rooted_chain(root);
        for (slot, (other, _)) in rooted.range(..=root) {
            if !chain.is_empty()
                && chain.first().is_some_and(|first| first <= slot)
                && chain.binary_search(slot).is_err()
            {
                return Some(format!(
                    "slot {slot}: node {other} rooted it, and it is not on the chain of node {number}"
                ));
            }
        }
    }
    None
}

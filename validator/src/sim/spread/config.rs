//! What a world of Turbine machines is made of.

use crate::sim::Network;
use std::time::Duration;
use sundog_types::Slot;

/// What a world of Turbine machines is made of.
#[derive(Clone, Copy, Debug)]
pub struct SpreadConfig {
    /// Decides everything that is random.
    pub seed: u64,
    /// How many nodes, at most 65,000.
    pub nodes: usize,
    /// Children of a node.
    pub fanout: usize,
    /// Delay and loss.
    pub network: Network,
    /// Whether nodes know whom to ask for what they lack.
    pub repair: bool,
    /// How long a node's pool, one core, takes for a signature or an FEC set to decode. Zero: answers come at once, and
    /// nothing ever waits for them.
    pub job: Duration,
    /// Whether to note, for every shred that a node passes on, how often each child got it. Costs memory: leave it off
    /// above some hundred nodes.
    pub note_copies: bool,
}

impl Default for SpreadConfig {
    /// Twenty nodes around the world (100 to 120 ms from each to each), fanout 200, nothing lost, pools
    /// that take no time.
    fn default() -> Self {
        let network = Network {
            delay_min: Duration::from_millis(100),
            delay_max: Duration::from_millis(120),
            ..Network::default()
        };
        Self { seed: 1, nodes: 20, fanout: 200, network, repair: true, job: Duration::ZERO, note_copies: false }
    }
}

/// A block to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its slot.
    pub slot: Slot,
    /// The slot it builds on.
    pub parent: Slot,
    /// How many FEC sets it has, at least 1; the last is the one that retransmitters sign.
    pub sets: usize,
    /// What its contents are drawn from, besides seed and slot: other versions of a block have other contents.
    pub version: u8,
}

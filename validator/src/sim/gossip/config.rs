//! What a world of gossip machines is made of.

use crate::sim::Network;
use std::time::Duration;
use sundog_gossip::GossipConfig;

/// What a world of gossip machines is made of.
#[derive(Clone, Copy, Debug)]
pub struct GossipWorldConfig {
    /// Decides everything that is random.
    pub seed: u64,
    /// How many nodes, at most 65,000.
    pub nodes: usize,
    /// Delay and loss.
    pub network: Network,
    /// With a number: membership is given ([`sundog_gossip::Roster`]), and so many nodes' values are kept. Without: nodes
    /// find each other from three entrypoints, ping each other, and keep the values of all.
    pub tracked: Option<usize>,
    /// The nodes start within so long.
    pub start_within: Duration,
    /// Changes the usual settings of every machine.
    pub tune: fn(&mut GossipConfig),
}

impl Default for GossipWorldConfig {
    /// A hundred nodes around the world (20 to 120 ms from each to each) that know nobody, nothing lost.
    fn default() -> Self {
        let network = Network {
            delay_min: Duration::from_millis(20),
            delay_max: Duration::from_millis(120),
            ..Network::default()
        };
        Self { seed: 1, nodes: 100, network, tracked: None, start_within: Duration::from_secs(1), tune: |_| {} }
    }
}

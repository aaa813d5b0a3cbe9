//! What is wrong with a localnet's network on purpose, and what each node must do for it.

use crate::io::faults::{Flow, PeerRules, Rules, Treatment};
use anyhow::bail;
use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr};

/// What is wrong on purpose. By default nothing is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Groups that hear nothing of each other. Nodes that none of them names form one more group together.
    pub groups: Vec<Vec<usize>>,
    /// Links on which packets are treated.
    pub links: Vec<Link>,
    /// Nodes whose processes are halted.
    pub paused: Vec<usize>,
}

/// One way of a link between two nodes, and what happens there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// In which protocols; in all if none is named.
    pub protocols: Vec<Flow>,
    /// What happens.
    pub treatment: Treatment,
}

/// A node as others see it.
pub struct Place {
    /// Base58.
    pub identity: String,
    /// Every address that its packets leave from; none before it first started.
    pub addresses: Vec<SocketAddr>,
}

/// Nodes of a group as they are written on the command line: `0,1`.
///
/// # Errors
/// If it is something else.
pub fn group(text: &str) -> Result<Vec<usize>, String> {
    let number = |part: &str| part.trim().parse().map_err(|_| format!("`{part}` is no node; a group is written 0,1"));
    text.split(',').map(number).collect()
}

impl Network {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// Parts `nodes` nodes into groups, in place of those before.
    ///
    /// # Errors
    /// If a node is not there or in two groups, or everybody is in one.
    pub fn part(&mut self, groups: &[Vec<usize>], nodes: usize) -> anyhow::Result<()> {
        let mut seen = vec![false; nodes];
        for node in groups.iter().flatten() {
            match seen.get_mut(*node) {
                None => bail!("there is no node {node}; nodes are 0 to {}", nodes.saturating_sub(1)),
                Some(seen) if *seen => bail!("node {node} is named twice; a node is in one group"),
                Some(seen) => *seen = true,
            }
        }
        let rest = usize::from(seen.contains(&false));
        if groups.iter().filter(|group| !group.is_empty()).count() + rest < 2 {
            bail!("all nodes are in one group, which parts nobody; name two groups, or `heal` the network");
        }
        self.groups = groups.to_vec();
        Ok(())
    }

    /// Lays a treatment on one way of a link, in place of what was there for the same protocols; one that does nothing
    /// only takes that away.
    pub fn treat(&mut self, link: Link) {
        let replaced = |old: &Link| {
            (old.from, old.to) == (link.from, link.to) && (link.protocols.is_empty() || old.protocols == link.protocols)
        };
        self.links.retain(|old| !replaced(old));
        if link.treatment != Treatment::default() {
            self.links.push(link);
        }
    }

    /// Mends everything. Halted nodes stay halted.
    pub fn heal(&mut self) {
        self.groups.clear();
        self.links.clear();
    }

    /// The group that a node is in, counted from 0; `None` without a partition.
    #[must_use]
    pub fn group_of(&self, node: usize) -> Option<usize> {
        let named = self.groups.iter().position(|group| group.contains(&node));
        (!self.groups.is_empty()).then(|| named.unwrap_or(self.groups.len()))
    }

    /// What a node has to do for this. Both sides of a block enforce it, so that it holds from the moment either knows it.
    #[must_use]
    pub fn rules(&self, node: usize, order: u64, places: &[Place]) -> Rules {
        let mut peers = Vec::new();
        for (other, place) in places.iter().enumerate().filter(|(other, _)| *other != node) {
            let mut peer = PeerRules {
                identity: place.identity.clone(),
                addresses: place.addresses.clone(),
                ..PeerRules::default()
            };
            for link in &self.links {
                let protocols = if link.protocols.is_empty() { &Flow::ALL[..] } else { &link.protocols };
                if (link.from, link.to) == (node, other) {
                    peer.outbound.extend(protocols.iter().map(|flow| (*flow, link.treatment)));
                } else if (link.from, link.to) == (other, node) {
                    for flow in protocols {
                        if link.treatment.block {
                            peer.unheard.insert(*flow);
                        } else {
                            peer.unheard.remove(flow);
                        }
                    }
                }
            }
            if self.group_of(node) != self.group_of(other) {
                let block = Treatment { block: true, ..Treatment::default() };
                peer.outbound.extend(Flow::ALL.map(|flow| (flow, block)));
                peer.unheard.extend(Flow::ALL);
            }
            if !peer.outbound.is_empty() || !peer.unheard.is_empty() {
                peers.push(peer);
            }
        }
        Rules { order, peers }
    }

    /// The groups of so many nodes, for people; `None` without a partition.
    #[must_use]
    pub fn parted(&self, nodes: usize) -> Option<String> {
        let rest: Vec<usize> = (0..nodes).filter(|node| self.group_of(*node) == Some(self.groups.len())).collect();
        let groups = self.groups.iter().chain([&rest]).filter(|group| !group.is_empty());
        let text = |group: &Vec<usize>| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        (!self.groups.is_empty()).then(|| groups.map(text).collect::<Vec<_>>().join(" | "))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Treatment { block, loss_percent, delay_ms, jitter_ms, duplicate_percent, rate_kbit } = self.treatment;
        write!(f, "{} to {}:", self.from, self.to)?;
        let facts = [
            block.then(|| "blocked".to_owned()),
            (loss_percent > 0.0).then(|| format!("loses {loss_percent} %")),
            (delay_ms > 0).then(|| format!("{delay_ms} ms late")),
            (jitter_ms > 0).then(|| format!("up to {jitter_ms} ms jitter")),
            (duplicate_percent > 0.0).then(|| format!("doubles {duplicate_percent} %")),
            rate_kbit.map(|rate| format!("{rate} kbit/s")),
        ];
        for (place, fact) in facts.into_iter().flatten().enumerate() {
            write!(f, "{} {fact}", if place > 0 { "," } else { "" })?;
        }
        if !self.protocols.is_empty() {
            let names: Vec<String> = self.protocols.iter().map(|flow| format!("{flow:?}").to_lowercase()).collect();
            write!(f, " ({})", names.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Treatment = Treatment {
        block: true,
        loss_percent: 0.0,
        delay_ms: 0,
        jitter_ms: 0,
        duplicate_percent: 0.0,
        rate_kbit: None,
    };

    fn places(nodes: u16) -> Vec<Place> {
        let address = |node| SocketAddr::from(([127, 0, 0, 1], 8_000 + node));
        (0..nodes).map(|node| Place { identity: node.to_string(), addresses: vec![address(node)] }).collect()
    }

    /// Which of these nodes hear each other, as `from>to`.
    fn heard(network: &Network, nodes: u16) -> String {
        let places = places(nodes);
        let mut text = Vec::new();
        for from in 0..usize::from(nodes) {
            for to in (0..usize::from(nodes)).filter(|to| *to != from) {
                let about = |rules: Rules, who: usize| {
                    rules.peers.into_iter().find(|peer| peer.identity == who.to_string()).unwrap_or_default()
                };
                let sends = about(network.rules(from, 1, &places), to);
                let hears = about(network.rules(to, 1, &places), from);
                let blocked = sends.outbound.get(&Flow::Gossip).is_some_and(|treatment| treatment.block);
                assert_eq!(blocked, hears.unheard.contains(&Flow::Gossip), "both sides enforce a block");
                if !blocked {
                    text.push(format!("{from}>{to}"));
                }
            }
        }
        text.join(" ")
    }

    fn parted(groups: &[&[usize]], nodes: usize) -> anyhow::Result<Network> {
        let mut network = Network::default();
        network.part(&groups.iter().map(|group| group.to_vec()).collect::<Vec<_>>(), nodes)?;
        Ok(network)
    }

    #[test]
    fn groups_hear_themselves_and_nobody_else() {
        assert_eq!(heard(&parted(&[&[0, 1], &[2]], 3).expect("two groups"), 3), "0>1 1>0");
        assert_eq!(heard(&parted(&[&[0], &[1], &[2]], 3).expect("three groups"), 3), "");
    }

    #[test]
    fn nodes_that_are_not_named_form_one_group_and_so_do_those_that_come_later() {
        let network = parted(&[&[1]], 3).expect("one against the rest");
        assert_eq!(heard(&network, 3), "0>2 2>0");
        assert_eq!(heard(&network, 4), "0>2 0>3 2>0 2>3 3>0 3>2");
        assert_eq!(network.parted(4).as_deref(), Some("1 | 0,2,3"));
    }

    #[test]
    fn groups_that_part_nobody_or_name_a_node_twice_or_none_that_is_there_are_refused() {
        let refused = |groups: &[&[usize]], part: &str| {
            let error = parted(groups, 3).expect_err("refused").to_string();
            assert!(error.contains(part), "{error}");
        };
        refused(&[&[0, 1, 2]], "one group");
        refused(&[], "one group");
        refused(&[&[0, 1], &[1, 2]], "node 1 is named twice");
        refused(&[&[0], &[3]], "there is no node 3; nodes are 0 to 2");
        assert!(group("0,x").is_err_and(|error| error.contains("`x`")));
        assert_eq!(group("0,12"), Ok(vec![0, 12]));
    }

    #[test]
    fn a_block_of_one_way_leaves_the_other_and_a_partition_beats_what_a_link_does() {
        let mut network = Network::default();
        network.treat(Link { from: 0, to: 1, protocols: Vec::new(), treatment: BLOCK });
        assert_eq!(heard(&network, 2), "1>0");
        let slow = Treatment { delay_ms: 9, ..Treatment::default() };
        network.treat(Link { from: 0, to: 1, protocols: Vec::new(), treatment: slow });
        assert_eq!((heard(&network, 2).as_str(), network.links.len()), ("0>1 1>0", 1));
        network.part(&[vec![0], vec![1]], 2).expect("two groups");
        assert_eq!(heard(&network, 2), "");
        network.heal();
        assert!(network.is_whole());
    }

    #[test]
    fn a_link_is_treated_in_the_named_protocols_until_it_is_treated_otherwise() {
        let mut network = Network::default();
        let slow = Treatment { delay_ms: 9, loss_percent: 2.5, ..Treatment::default() };
        network.treat(Link { from: 1, to: 0, protocols: vec![Flow::Turbine], treatment: slow });
        let rules = network.rules(1, 7, &places(2));
        assert_eq!((rules.order, rules.peers[0].outbound.get(&Flow::Turbine)), (7, Some(&slow)));
        assert_eq!(rules.peers[0].outbound.len(), 1);
        assert_eq!(network.links[0].to_string(), "1 to 0: loses 2.5 %, 9 ms late (turbine)");
        network.treat(Link { from: 1, to: 0, protocols: Vec::new(), treatment: Treatment::default() });
        assert!(network.is_whole());
    }
}

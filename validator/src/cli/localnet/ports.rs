//! Which ports a localnet's nodes listen on.

use crate::io::port_claim::{PORTS, PortClaim};
use anyhow::Context as _;
use std::collections::BTreeMap;

/// Node 0's JSON-RPC, unless another port is asked for.
pub const RPC_PORT: u16 = 8_899;
/// Node 0's gossip, beside that JSON-RPC.
const GOSSIP_PORT: u16 = 8_000;
/// Ports of one node lie in a stretch of this many.
const PORTS_PER_NODE: u16 = 10;
/// Nodes whose ports by convention no claim of another node has; more than a localnet on one machine bears.
const NODES: u16 = 64;
/// What nodes say to each other, in the order of its ports.
const BETWEEN_NODES: [&str; 8] = [
    "--gossip-port",
    "--tvu-port",
    "--repair-port",
    "--tpu-quic-port",
    "--serve-repair-port",
    "--tvu-quic-port",
    "--tpu-vote-port",
    "--tpu-port",
];
/// What a node says to clients, and how far above its JSON-RPC.
const TO_CLIENTS: [(&str, u16); 3] = [("--rpc-port", 0), ("--websocket-port", 1), ("--metrics-port", 3)];

/// The ports of a localnet's nodes: the same for a node's every start.
pub struct Ports {
    /// Node 0's JSON-RPC; 0: any.
    rpc: u16,
    /// Of the nodes whose ports are not all given by convention.
    claims: BTreeMap<usize, PortClaim>,
}

impl Ports {
    /// Those of a localnet whose node 0 serves JSON-RPC on a port, or, with 0, on whichever is free.
    pub const fn new(rpc: u16) -> Self {
        Self { rpc, claims: BTreeMap::new() }
    }

    /// A node's, with the flags that tell it. By convention node i serves JSON-RPC on 8899 + 10 i and gossips on 8000 + 10 i.
    /// Whose convention leaves a port open has a claim, held from its first start to the localnet's end.
    ///
    /// # Errors
    /// If there are no such ports, or none are free.
    pub fn of(&mut self, node: usize) -> anyhow::Result<Vec<(&'static str, u16)>> {
        let offset = u16::try_from(node).ok().and_then(|n| n.checked_mul(PORTS_PER_NODE)).context("too many nodes")?;
        let above = |base: u16, by: u16| {
            let port = base.checked_add(offset).and_then(|port| port.checked_add(by));
            port.context("the RPC ports exceed 65535; give a lower --rpc-port")
        };
        let mut ports = Vec::with_capacity(BETWEEN_NODES.len() + TO_CLIENTS.len());
        for (place, flag) in (0..).zip(BETWEEN_NODES) {
            let port = if self.rpc == RPC_PORT { above(GOSSIP_PORT, place)? } else { self.claimed(node, place)? };
            ports.push((flag, port));
        }
        for (place, (flag, by)) in (ports.len() as u16..).zip(TO_CLIENTS) {
            let port = if self.rpc == 0 { self.claimed(node, place)? } else { above(self.rpc, by)? };
            ports.push((flag, port));
        }
        Ok(ports)
    }

    fn claimed(&mut self, node: usize, place: u16) -> anyhow::Result<u16> {
        if let Some(claim) = self.claims.get(&node) {
            return Ok(claim.port(place));
        }
        let claim = self.claim()?;
        let port = claim.port(place);
        self.claims.insert(node, claim);
        Ok(port)
    }

    /// A claim without the ports that nodes still to be started will have by convention.
    fn claim(&self) -> anyhow::Result<PortClaim> {
        let to_clients = self.rpc..self.rpc.saturating_add(NODES * PORTS_PER_NODE);
        // Held until one fits, so that none is looked at twice.
        let mut unfit = Vec::new();
        loop {
            let claim = PortClaim::take()?;
            let among = |place| to_clients.contains(&claim.port(place));
            if self.rpc == 0 || !among(0) && !among(PORTS - 1) {
                return Ok(claim);
            }
            unfit.push(claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn numbers(ports: &mut Ports, node: usize) -> Vec<u16> {
        ports.of(node).expect("ports").into_iter().map(|(_, port)| port).collect()
    }

    #[test]
    fn by_convention_node_one_is_ten_above_node_zero() {
        let mut ports = Ports::new(RPC_PORT);
        let first = [8_000, 8_001, 8_002, 8_003, 8_004, 8_005, 8_006, 8_007, 8_899, 8_900, 8_902];
        assert_eq!(numbers(&mut ports, 0), first);
        assert_eq!(numbers(&mut ports, 1), first.map(|port| port + 10));
    }

    #[test]
    fn any_ports_are_a_nodes_own_and_the_same_at_every_start() {
        let (mut ours, mut theirs) = (Ports::new(0), Ports::new(0));
        let first: Vec<u16> = (0..3).flat_map(|node| numbers(&mut ours, node)).collect();
        let other: Vec<u16> = (0..3).flat_map(|node| numbers(&mut theirs, node)).collect();
        assert_eq!(first.iter().chain(&other).collect::<BTreeSet<_>>().len(), 66, "{first:?} {other:?}");
        assert_eq!((0..3).flat_map(|node| numbers(&mut ours, node)).collect::<Vec<_>>(), first);
        let [rpc, websocket] = [8, 9].map(|place: usize| first[place]);
        assert_eq!(websocket, rpc + 1, "where clients look for it");
    }

    #[test]
    fn beside_json_rpc_ports_that_are_given_the_others_are_claimed() {
        let mut ports = Ports::new(9_500);
        let (first, second) = (numbers(&mut ports, 0), numbers(&mut ports, 1));
        assert_eq!([&first[8..], &second[8..]], [[9_500, 9_501, 9_503], [9_510, 9_511, 9_513]]);
        assert!(first[..8].iter().all(|port| !second.contains(port)), "{first:?} {second:?}");
        assert_eq!(numbers(&mut ports, 0), first);
    }

    #[test]
    fn no_nodes_claim_has_a_port_that_another_nodes_json_rpc_is_to_have() {
        let mut ports = Ports::new(20_000);
        for node in 0..200 {
            let claimed = &numbers(&mut ports, node)[..8];
            assert!(claimed.iter().all(|port| !(20_000..20_640).contains(port)), "node {node}: {claimed:?}");
        }
    }

    #[test]
    fn json_rpc_ports_beyond_the_last_are_refused_with_what_to_do() {
        let mut ports = Ports::new(65_530);
        ports.of(0).expect("65530 to 65533");
        let error = ports.of(1).expect_err("65540").to_string();
        assert!(error.contains("give a lower --rpc-port"), "{error}");
    }
}

//! `cluster.json`: what other programs need to know of a localnet.

use super::network::Network;
use crate::io::sockets::Bound;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A node of a localnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNode {
    /// `node-0` and so on.
    pub name: String,
    /// Its identity, base58.
    pub identity: String,
    /// Its vote account, base58; absent for a node without stake.
    pub vote_account: Option<String>,
    /// Its stake in SOL.
    pub stake: u64,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Gossip address.
    pub gossip: String,
    /// Where it takes transactions over QUIC.
    pub tpu: String,
    /// Where it takes shreds over QUIC.
    pub tvu_quic: String,
    /// JSON-RPC.
    pub rpc: String,
    /// JSON-RPC over WebSocket.
    pub websocket: String,
    /// Prometheus metrics.
    pub metrics: String,
    /// Its log, relative to the localnet's directory.
    pub log: String,
    /// Its ledger, relative to the localnet's directory.
    pub ledger: String,
}

/// A localnet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// The genesis hash, base58.
    pub genesis_hash: String,
    /// The faucet's keypair file, relative to the localnet's directory.
    pub faucet: String,
    /// Its nodes.
    pub nodes: Vec<ClusterNode>,
    /// What is wrong with it on purpose.
    #[serde(default, skip_serializing_if = "Network::is_whole")]
    pub network: Network,
}

impl Cluster {
    /// Reads `cluster.json`.
    ///
    /// # Errors
    /// If it is not there or not whole.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| {
            format!("{} is not there: no localnet runs in this directory; start one, or name its --dir", path.display())
        })?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not whole; restart the localnet", path.display()))
    }
}

impl ClusterNode {
    /// Takes over the addresses that a node has bound.
    pub fn bound(&mut self, bound: &Bound) {
        self.gossip = bound.gossip.to_string();
        self.tpu = bound.tpu_quic.to_string();
        self.tvu_quic = bound.tvu_quic.to_string();
        self.rpc = format!("http://{}", bound.rpc);
        self.websocket = format!("ws://{}", bound.websocket);
        self.metrics = format!("http://{}/metrics", bound.metrics);
    }
}

//! What is known of another node: who it is, where it listens, how much stake stands behind it.

use crate::{Now, Pubkey, Slot};
use std::net::SocketAddr;

/// Where a node listens. `None`: it does not offer that service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Gossip, UDP (and TCP for the ip echo).
    pub gossip: Option<SocketAddr>,
    /// Shreds over UDP.
    pub tvu: Option<SocketAddr>,
    /// Shreds as QUIC datagrams.
    pub tvu_quic: Option<SocketAddr>,
    /// Transactions over UDP.
    pub tpu: Option<SocketAddr>,
    /// Transactions over QUIC streams.
    pub tpu_quic: Option<SocketAddr>,
    /// Transactions forwarded by validators, QUIC.
    pub tpu_forwards_quic: Option<SocketAddr>,
    /// Votes over UDP.
    pub tpu_vote: Option<SocketAddr>,
    /// Votes over QUIC.
    pub tpu_vote_quic: Option<SocketAddr>,
    /// Repair requests, UDP.
    pub serve_repair: Option<SocketAddr>,
    /// JSON-RPC over HTTP.
    pub rpc: Option<SocketAddr>,
    /// JSON-RPC over WebSocket.
    pub rpc_pubsub: Option<SocketAddr>,
}

/// A node's software, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Major, minor and patch number.
    pub number: [u16; 3],
    /// The first four bytes of the commit.
    pub commit: u32,
    /// Identifies the set of feature gates it knows.
    pub feature_set: u32,
    /// Which client it is (reference 6.3).
    pub client: u16,
}

/// An entry of the registry that gossip builds and that Turbine, repair, Gulf Stream and RPC use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its node identity.
    pub identity: Pubkey,
    /// Where it listens.
    pub addresses: Addresses,
    /// Stake behind it in the current epoch, in lamports.
    pub stake: u64,
    /// When something signed by it last arrived.
    pub last_seen: Now,
    /// Which chain it is on (reference 3.11).
    pub shred_version: u16,
    /// Its software.
    pub version: Version,
    /// When this instance of the node started, in microseconds since the Unix epoch.
    pub outset_us: u64,
    /// The lowest slot of which it still has shreds, as it says; 0 when it says nothing.
    pub lowest_slot: Slot,
}

//! What the sockets count: messages and bytes by protocol, transport and direction.

use std::sync::atomic::{AtomicU64, Ordering};

/// A protocol on a transport in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Gossip datagrams received.
    GossipUdpIn,
    /// Gossip datagrams sent.
    GossipUdpOut,
    /// Shreds received in QUIC datagrams.
    TurbineQuicIn,
    /// Shreds sent in QUIC datagrams.
    TurbineQuicOut,
    /// Shreds received over UDP.
    TurbineUdpIn,
    /// Shreds sent over UDP.
    TurbineUdpOut,
    /// Repair datagrams received, answers to this node's requests.
    RepairUdpIn,
    /// Repair requests sent.
    RepairUdpOut,
    /// Repair requests received.
    ServeRepairUdpIn,
    /// Answers to repair requests sent.
    ServeRepairUdpOut,
    /// Transactions received on QUIC streams.
    TpuQuicIn,
    /// Transactions sent on QUIC streams.
    TpuQuicOut,
    /// Votes received over UDP.
    VoteUdpIn,
    /// Votes sent over UDP.
    VoteUdpOut,
}

/// Every way.
pub const WAYS: [Way; 14] = [
    Way::GossipUdpIn,
    Way::GossipUdpOut,
    Way::TurbineQuicIn,
    Way::TurbineQuicOut,
    Way::TurbineUdpIn,
    Way::TurbineUdpOut,
    Way::RepairUdpIn,
    Way::RepairUdpOut,
    Way::ServeRepairUdpIn,
    Way::ServeRepairUdpOut,
    Way::TpuQuicIn,
    Way::TpuQuicOut,
    Way::VoteUdpIn,
    Way::VoteUdpOut,
];

impl Way {
    /// Protocol, transport and direction, as metric labels.
    #[must_use]
    pub const fn labels(self) -> [&'static str; 3] {
        match self {
            Self::GossipUdpIn => ["gossip", "udp", "in"],
            Self::GossipUdpOut => ["gossip", "udp", "out"],
            Self::TurbineQuicIn => ["turbine", "quic", "in"],
            Self::TurbineQuicOut => ["turbine", "quic", "out"],
            Self::TurbineUdpIn => ["turbine", "udp", "in"],
            Self::TurbineUdpOut => ["turbine", "udp", "out"],
            Self::RepairUdpIn => ["repair", "udp", "in"],
            Self::RepairUdpOut => ["repair", "udp", "out"],
            Self::ServeRepairUdpIn => ["serve_repair", "udp", "in"],
            Self::ServeRepairUdpOut => ["serve_repair", "udp", "out"],
            Self::TpuQuicIn => ["tpu", "quic", "in"],
            Self::TpuQuicOut => ["tpu", "quic", "out"],
            Self::VoteUdpIn => ["tpu_vote", "udp", "in"],
            Self::VoteUdpOut => ["tpu_vote", "udp", "out"],
        }
    }
}

/// The sockets' counters.
#[derive(Debug, Default)]
pub struct Traffic {
    messages: [AtomicU64; WAYS.len()],
    bytes: [AtomicU64; WAYS.len()],
    /// Incoming connections refused because there are too many.
    pub refused_connections: AtomicU64,
    /// Incoming connections whose handshake failed or took too long.
    pub failed_handshakes: AtomicU64,
    /// Streams that broke off or took too long.
    pub refused_streams: AtomicU64,
    /// Messages not sent because their peer could not be reached in time.
    pub unsent: AtomicU64,
}

impl Traffic {
    /// Counts a message.
    pub fn count(&self, way: Way, bytes: usize) {
        self.messages[way as usize].fetch_add(1, Ordering::Relaxed);
        self.bytes[way as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Messages and bytes so far.
    #[must_use]
    pub fn counted(&self, way: Way) -> (u64, u64) {
        let load = |counters: &[AtomicU64; WAYS.len()]| counters[way as usize].load(Ordering::Relaxed);
        (load(&self.messages), load(&self.bytes))
    }
}

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
    /// Transactions received over UDP.
    TpuUdpIn,
    /// Transactions received on QUIC streams.
    TpuQuicIn,
    /// Transactions sent on QUIC streams.
    TpuQuicOut,
    /// Votes received over UDP.
    VoteUdpIn,
    /// Votes sent over UDP.
    VoteUdpOut,
    /// Frames of bulk sync received, with their lengths.
    SyncTcpIn,
    /// Frames of bulk sync sent, with their lengths.
    SyncTcpOut,
}

/// Every way.
pub const WAYS: [Way; 17] = [
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
    Way::TpuUdpIn,
    Way::TpuQuicIn,
    Way::TpuQuicOut,
    Way::VoteUdpIn,
    Way::VoteUdpOut,
    Way::SyncTcpIn,
    Way::SyncTcpOut,
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
            Self::TpuUdpIn => ["tpu", "udp", "in"],
            Self::TpuQuicIn => ["tpu", "quic", "in"],
            Self::TpuQuicOut => ["tpu", "quic", "out"],
            Self::VoteUdpIn => ["tpu_vote", "udp", "in"],
            Self::VoteUdpOut => ["tpu_vote", "udp", "out"],
            Self::SyncTcpIn => ["sync", "tcp", "in"],
            Self::SyncTcpOut => ["sync", "tcp", "out"],
        }
    }
}

sundog_types::reasons! {
    /// Why something from outside was refused.
    pub enum Refused {
        /// A connection beyond the capacity of its server.
        Connection = "connection",
        /// A connection beyond those that one IP address may have.
        ConnectionOfAddress = "connection_of_address",
        /// A connection beyond those that one identity may have.
        ConnectionOfIdentity = "connection_of_identity",
        /// A connection whose handshake failed or took too long.
        Handshake = "handshake",
        /// A connection whose certificate names no identity.
        Identity = "identity",
        /// A stream that broke off, took too long or carried nothing that could be a transaction.
        Stream = "stream",
        /// A shred beyond the rate of its peer.
        DatagramRate = "datagram_rate",
        /// A UDP datagram beyond the rate of its address.
        UdpRate = "udp_rate",
    }
}

sundog_types::reasons! {
    /// Why a message was not sent.
    pub enum Unsent {
        /// Its peer did not answer, or its connection ended.
        Unreachable = "unreachable",
        /// Its peer failed a moment ago and is left alone for a while.
        BackingOff = "backing_off",
        /// As many as may already wait for connections that are being opened.
        Waiting = "waiting",
        /// Its peer is slow: as much as may already waits on the connection.
        SlowPeer = "slow_peer",
        /// There is no place for another connection.
        LinksFull = "links_full",
        /// The system did not take it.
        Socket = "socket",
        /// Fault injection blocks or loses it.
        Fault = "fault",
    }
}

sundog_types::reasons! {
    /// Why a connection that this node opened ended.
    pub enum Ended {
        /// The peer is a new process that knows nothing of it.
        Reset = "reset",
        /// The peer closed it.
        Peer = "peer",
        /// The peer was silent for too long.
        Silence = "silence",
        /// The peer took too long to take what was sent.
        SlowPeer = "slow_peer",
        /// Another connection needed its place, or nobody needed it for a while.
        Pruned = "pruned",
        /// Another identity answered.
        Identity = "identity",
    }
}

/// The sockets' counters.
#[derive(Debug, Default)]
pub struct Traffic {
    messages: [AtomicU64; WAYS.len()],
    bytes: [AtomicU64; WAYS.len()],
    refused: [AtomicU64; Refused::COUNT],
    unsent: [AtomicU64; Unsent::COUNT],
    ended: [AtomicU64; Ended::COUNT],
    /// Links of bulk sync, and what was refused there.
    pub sync: super::sync::Tally,
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
    /// Counts something from outside that was refused.
    pub fn refuse(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How much was refused so far for a reason.
    #[must_use]
    pub fn refused(&self, why: Refused) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// Counts messages that were not sent.
    pub fn lose(&self, why: Unsent, messages: usize) {
        self.unsent[why as usize].fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// Messages not sent so far for a reason.
    #[must_use]
    pub fn unsent(&self, why: Unsent) -> u64 {
        self.unsent[why as usize].load(Ordering::Relaxed)
    }

    /// Counts a connection that ended.
    pub fn end(&self, why: Ended) {
        self.ended[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that ended so far for a reason.
    #[must_use]
    pub fn ended(&self, why: Ended) -> u64 {
        self.ended[why as usize].load(Ordering::Relaxed)
    }
}

//! What gossip counts.

use crate::{duplicates::ChunkDrops, push::received::Copies, trouble::TroubleKind};

sundog_types::reasons! {
    /// Why a datagram or a value was dropped. Every reason is a normal outcome and counted.
    pub enum DropReason {
        /// The datagram does not decode.
        Undecodable = "undecodable",
        /// A number is out of bounds, or parts contradict each other.
        OutOfBounds = "out_of_bounds",
        /// Only values of retired kinds, or none.
        NothingLeft = "nothing_left",
        /// A signature does not hold.
        BadSignature = "bad_signature",
        /// The wallclock is too far from ours.
        Wallclock = "wallclock",
        /// The address has not answered a ping yet.
        Unproven = "unproven",
        /// The address is missing, unusable or private.
        Address = "address",
        /// The node is on another chain (shred version).
        OtherChain = "other_chain",
        /// The origin's contact info is not known.
        UnknownOrigin = "unknown_origin",
        /// It speaks in our own name.
        OwnName = "own_name",
        /// An older value than the one that is kept.
        Stale = "stale",
        /// The very value that is kept.
        Duplicate = "duplicate",
        /// The table is full of nodes with as much stake or more, or its origin without stake has all its places.
        TableFull = "table_full",
        /// Only nodes with stake may say this in a large cluster.
        Unstaked = "unstaked",
        /// A prune that is not for us or too late, or a pong to no ping of ours.
        Unexpected = "unexpected",
        /// The output budget for answers to pulls is spent, or the caller's share of it.
        OverBudget = "over_budget",
        /// This address sent more datagrams than one peer may.
        AddressRate = "address_rate",
        /// All addresses together that nobody has proven sent more datagrams than they may.
        StrangerRate = "stranger_rate",
        /// Everybody together sent more datagrams than can be checked.
        PacketRate = "packet_rate",
        /// More pings than are answered.
        PingRate = "ping_rate",
        /// A node pulls or prunes more often than it may.
        IdentityRate = "identity_rate",
        /// An origin says more of a kind than it may.
        OriginRate = "origin_rate",
        /// More unknown nodes were named than are pinged: by this sender, at this address or on this host.
        Introductions = "introductions",
        /// Too many nodes without stake are known on one host.
        HostFull = "host_full",
        /// A pulled value that is older than its origin's values are kept.
        TooOld = "too_old",
        /// More was to be looked through for answers to pulls than may be.
        OverScan = "over_scan",
    }
}

const REASONS: usize = DropReason::ALL.len();

/// Counters of the gossip machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Datagrams taken in.
    pub packets: u64,
    /// Datagrams asked to be sent.
    pub sent: u64,
    /// Bytes asked to be sent.
    pub sent_bytes: u64,
    /// Values taken into the table that arrived by push.
    pub pushed_in: u64,
    /// Values taken into the table that arrived in answer to a pull.
    pub pulled_in: u64,
    /// Values pushed out, counted once for each receiver.
    pub pushed_out: u64,
    /// Values sent in answer to pulls.
    pub pulled_out: u64,
    /// Pull requests sent.
    pub pull_requests_out: u64,
    /// Pull requests answered.
    pub pull_requests_answered: u64,
    /// Pings sent.
    pub pings_out: u64,
    /// Pings answered.
    pub pings_answered: u64,
    /// Addresses newly proven by a pong.
    pub proven: u64,
    /// Answers to pulls that nobody had asked for; their values are taken as pushed ones.
    pub unasked: u64,
    /// Values older than their origin's are kept that were pulled and taken in, without being a sign of life.
    pub pulled_old: u64,
    /// Pushed copies that came in, by kind of value.
    pub copies: Copies,
    /// Prunes sent, counted by origin.
    pub prunes_sent: u64,
    /// The messages they were sent in.
    pub prune_messages_sent: u64,
    /// Prunes obeyed, counted by origin.
    pub prunes_obeyed: u64,
    /// Values that left the table because their origin fell silent.
    pub expired: u64,
    /// Nodes evicted for nodes with more stake.
    pub evicted: u64,
    /// Things we were to say that nobody would take: too large, or out of bounds.
    pub unsayable: u64,
    /// Own values that were said anew because others held one of an earlier life of ours in their place.
    pub said_anew: u64,
    /// Own slots that were not said because too many waited.
    pub slots_unsaid: u64,
    /// Slots told that others have, counted once for each node.
    pub slots_told: u64,
    /// Parts of others' epoch slots that were not read because too much of one value would have had to be inflated.
    pub slots_unread: u64,
    /// Others' epoch slots that were not read because too many nodes are remembered.
    pub slots_unheard: u64,
    /// Proofs of duplicate slots that were put together of chunks and told.
    pub proofs_told: u64,
    /// Chunks of such proofs, and proofs, that went no further, by reason.
    pub chunks: ChunkDrops,
    troubles: [u64; TroubleKind::COUNT],
    dropped: [u64; REASONS],
}

impl Metrics {
    /// How often an operator was told of a kind of trouble.
    #[must_use]
    pub const fn troubles(&self, kind: TroubleKind) -> u64 {
        self.troubles[kind as usize]
    }

    /// Counts a trouble that was told.
    pub const fn trouble(&mut self, kind: TroubleKind) {
        self.troubles[kind as usize] += 1;
    }

    /// How many datagrams or values were dropped for `why`.
    #[must_use]
    pub const fn dropped(&self, why: DropReason) -> u64 {
        self.dropped[why as usize]
    }

    /// Counts a drop; also for those that [`crate::check()`] reports before the machine sees anything.
    pub const fn drop_one(&mut self, why: DropReason) {
        self.dropped[why as usize] += 1;
    }
}

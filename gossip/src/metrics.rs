//! What gossip counts.

use crate::push::received::Copies;

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
        /// The table is full of nodes with more stake.
        TableFull = "table_full",
        /// Only nodes with stake may say this in a large cluster.
        Unstaked = "unstaked",
        /// A prune that is not for us or too late, or a pong to no ping of ours.
        Unexpected = "unexpected",
        /// The output budget for answers to pulls is spent.
        OverBudget = "over_budget",
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
    dropped: [u64; REASONS],
}

impl Metrics {
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

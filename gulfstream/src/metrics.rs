//! What Gulf Stream counts.

sundog_types::reasons! {
    /// Why a transaction was dropped, or not kept. Every reason is a normal outcome and counted.
    pub enum DropReason {
        /// More than one packet can carry (reference 1.1).
        TooLarge = "too_large",
        /// The bytes are no transaction.
        Malformed = "malformed",
        /// A message version that is neither legacy nor 0.
        Version = "version",
        /// The number of signatures is zero, more than twelve, or not what the message requires.
        SignatureCount = "signature_count",
        /// An index or a count in the message leads nowhere (reference 1.8).
        Unsanitary = "unsanitary",
        /// A legacy message without instructions.
        NoInstructions = "no_instructions",
        /// More instructions than allowed.
        TooManyInstructions = "too_many_instructions",
        /// An account is named twice.
        AccountTwice = "account_twice",
        /// More accounts than one transaction may lock.
        TooManyLocks = "too_many_locks",
        /// A signature does not hold.
        BadSignature = "bad_signature",
        /// The peer sends more than its share.
        RateLimited = "rate_limited",
        /// The same was seen a moment ago.
        Duplicate = "duplicate",
        /// The lane to the signature checks is full.
        LaneFull = "lane_full",
        /// Not a vote, on the lane of votes.
        NotAVote = "not_a_vote",
        /// An older vote of a voter whose newer one is held.
        OldVote = "old_vote",
        /// The votes held are of voters with more stake.
        VotesFull = "votes_full",
        /// Forwarded to a node that does not lead soon, or a vote sent to one.
        NotLeadingSoon = "not_leading_soon",
        /// The buffer is full of better paying ones.
        Outbid = "outbid",
        /// Held for too long.
        Stale = "stale",
        /// More relayed for clients than the budget allows.
        RelayBudget = "relay_budget",
        /// No address of a coming leader is known.
        NoLeader = "no_leader",
        /// Too many sent by RPC are waiting already: sent once, not repeated.
        RetriesFull = "retries_full",
        /// Sent by RPC, and expired before it landed.
        Expired = "expired",
    }
}

const REASONS: usize = DropReason::ALL.len();

/// Counters of the Gulf Stream machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Packets that came in, by any way.
    pub received: u64,
    /// Packets handed to signature checks.
    pub checks: u64,
    /// Transactions that passed them.
    pub verified: u64,
    /// Transactions put into the buffer or among the ballots.
    pub held: u64,
    /// Transactions handed to the leader loop.
    pub taken: u64,
    /// Transactions that the leader loop gave back.
    pub given_back: u64,
    /// Transactions sent to a leader, once for each leader.
    pub forwarded: u64,
    /// Transactions sent by RPC that were sent again.
    pub retried: u64,
    /// Transactions sent by RPC that were seen to land.
    pub landed: u64,
    dropped: [u64; REASONS],
}

impl Metrics {
    /// What was dropped for this reason.
    #[must_use]
    pub fn dropped(&self, why: DropReason) -> u64 {
        self.dropped[why as usize]
    }

    /// Counts one more.
    pub(crate) fn drop(&mut self, why: DropReason) {
        self.dropped[why as usize] += 1;
    }
}

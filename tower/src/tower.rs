//! One's own votes, and whether the next one is allowed.

use crate::lockouts::{Lockout, Lockouts};
use crate::threshold;
use sundog_types::{Hash, Pubkey, Slot, vote::VoteOnWire};

/// Why the tower abstained. Every variant is a normal outcome, not a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abstain {
    /// The block is not newer than the last vote.
    NotNewer {
        /// The last vote, or the root if there is none.
        last: Slot,
    },
    /// A vote that is not an ancestor of the block still binds.
    LockedOut {
        /// That vote.
        by: Slot,
        /// The last slot at which it binds.
        until: Slot,
    },
    /// Not enough stake is behind the vote that would be buried deep.
    Threshold {
        /// That vote.
        slot: Slot,
        /// Stake behind it, in lamports.
        stake: u64,
        /// All stake, in lamports.
        total: u64,
    },
    /// Not enough stake is locked out of the last vote's fork to leave it.
    Switch {
        /// Stake that is, in lamports.
        stake: u64,
        /// All stake, in lamports.
        total: u64,
    },
    /// The last vote stands on an unconfirmed duplicate and the block is an ancestor of it.
    Rollback {
        /// The duplicate.
        duplicate: Slot,
    },
    /// Too few have the newest own block under this one (reference 8.5.3).
    Propagation {
        /// That own block.
        own: Slot,
        /// Stake that has it, in lamports.
        stake: u64,
        /// All stake, in lamports.
        total: u64,
    },
    /// Told to vote although its promises were lost: those that are visible may still bind.
    Waiting {
        /// The last slot at which one of the shallow ones binds.
        until: Slot,
    },
    /// More than a third of the stake has another bank hash for this block: see [`crate::Effect::Diverged`].
    Diverged {
        /// That block.
        slot: Slot,
    },
    /// There is no tower file, and what this voter promised in an earlier life may still come to light.
    Listening,
    /// Blocks that an earlier life executed are executed again first: the votes in them may be newer than the tower.
    Recalling,
    /// A vote of the own account that the tower does not know was seen: its file was lost or is an older one, or
    /// another instance votes.
    Forgotten {
        /// The newest such vote.
        last: Slot,
    },
}

impl Abstain {
    /// How many kinds of reasons there are.
    pub const KINDS: usize = 11;

    /// The place of the kind in an array of counters.
    #[must_use]
    pub fn index(&self) -> usize {
        match self {
            Self::NotNewer { .. } => 0,
            Self::LockedOut { .. } => 1,
            Self::Threshold { .. } => 2,
            Self::Switch { .. } => 3,
            Self::Rollback { .. } => 4,
            Self::Propagation { .. } => 5,
            Self::Waiting { .. } => 6,
            Self::Diverged { .. } => 7,
            Self::Listening => 8,
            Self::Forgotten { .. } => 9,
            Self::Recalling => 10,
        }
    }

    /// The kind's name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        [
            "not_newer",
            "locked_out",
            "threshold",
            "switch",
            "rollback",
            "propagation",
            "waiting",
            "diverged",
            "listening",
            "forgotten",
            "recalling",
        ][self.index()]
    }
}

/// What a vote is cast for.
#[derive(Clone, Copy, Debug)]
pub struct Ballot {
    /// The block's slot.
    pub slot: Slot,
    /// Its bank hash.
    pub hash: Hash,
    /// Its block id; zero for an own block.
    pub block_id: Hash,
    /// Whether the vote leaves the fork of the last one.
    pub switch: bool,
}

/// A voter's tower: its lockouts and its last vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tower {
    lockouts: Lockouts,
    last_vote: Option<VoteOnWire>,
    last_timestamp: i64,
}

impl Tower {
    /// A tower without votes above `root`.
    #[must_use]
    pub fn new(root: Slot) -> Self {
        Self { lockouts: Lockouts::new(Some(root)), last_vote: None, last_timestamp: 0 }
    }

    /// A tower as a file or an account tells it. `last_vote` is left out if it is not the stack's newest.
    #[must_use]
    pub fn restore(lockouts: Lockouts, last_vote: Option<VoteOnWire>, last_timestamp: i64) -> Self {
        let newest = lockouts.last_voted().map(Slot::get);
        let last_vote = last_vote.filter(|vote| newest.is_some() && vote.last_slot() == newest);
        Self { lockouts, last_vote, last_timestamp }
    }

    /// The stack.
    #[must_use]
    pub fn lockouts(&self) -> &Lockouts {
        &self.lockouts
    }

    /// The last vote as it was sent, if it is known: after taking over the account's tower its hash may
    /// not be.
    #[must_use]
    pub fn last_vote(&self) -> Option<&VoteOnWire> {
        self.last_vote.as_ref()
    }

    /// Seconds since the Unix epoch that the last vote carried; 0 before any.
    #[must_use]
    pub fn last_timestamp(&self) -> i64 {
        self.last_timestamp
    }

    /// Raises the root and forgets the votes up to it that `is_settled` knows to be on the root's fork.
    pub fn raise_root(&mut self, root: Slot, is_settled: impl Fn(&Lockout) -> bool) {
        self.lockouts.raise_root(root, is_settled);
        if self.lockouts.last_voted().is_none() {
            self.last_vote = None;
        }
    }

    /// Whether a vote for `slot` keeps every promise.
    ///
    /// # Errors
    /// The promise that it would break.
    pub fn allows(&self, slot: Slot, is_ancestor: impl Fn(Slot) -> bool) -> Result<(), Abstain> {
        if !self.lockouts.is_recent(slot) {
            let last = self.lockouts.last_voted().or(self.lockouts.root()).unwrap_or(slot);
            return Err(Abstain::NotNewer { last });
        }
        match self.lockouts.forbidding(slot, is_ancestor) {
            Some(vote) => Err(Abstain::LockedOut { by: vote.slot, until: vote.last_locked_out() }),
            None => Ok(()),
        }
    }

    /// Whether enough stake is behind the votes that a vote for `slot` would bury deep. `voted` answers
    /// how much stake voted for an ancestor of `slot` or above it.
    ///
    /// # Errors
    /// The vote that has too little.
    pub fn supported(&self, slot: Slot, voted: impl Fn(Slot) -> u64, total: u64) -> Result<(), Abstain> {
        let failed = threshold::failures(&self.lockouts, slot, |slot| Some(voted(slot)), total);
        match failed.into_iter().find(threshold::Failed::forbids) {
            Some(failed) => Err(Abstain::Threshold { slot: failed.slot, stake: failed.stake, total }),
            None => Ok(()),
        }
    }

    /// Casts a vote at `seconds` since the Unix epoch. The timestamp is left out of the vote when the
    /// clock went back.
    ///
    /// # Panics
    /// If the ballot is not newer than the last vote: callers ask [`Self::allows`] first.
    pub fn cast(&mut self, vote_account: Pubkey, ballot: Ballot, seconds: i64) -> VoteOnWire {
        assert!(self.lockouts.is_recent(ballot.slot), "a vote is newer than the last");
        self.lockouts.vote(ballot.slot);
        let timestamp = (seconds >= self.last_timestamp).then_some(seconds);
        self.last_timestamp = timestamp.unwrap_or(self.last_timestamp);
        let vote = VoteOnWire {
            vote_account,
            slots: self.lockouts.to_parts(),
            root: self.lockouts.root().map(Slot::get),
            hash: ballot.hash,
            block_id: ballot.block_id,
            timestamp,
            switch: ballot.switch,
        };
        self.last_vote = Some(vote.clone());
        vote
    }

    /// The last vote once more, one second later.
    pub fn refresh(&mut self) -> Option<VoteOnWire> {
        let vote = self.last_vote.as_mut()?;
        let seconds = vote.timestamp.unwrap_or(self.last_timestamp).saturating_add(1);
        vote.timestamp = Some(seconds);
        // The proof was for leaving the fork before; the vote stays where it is.
        vote.switch = false;
        self.last_timestamp = seconds;
        Some(vote.clone())
    }
}

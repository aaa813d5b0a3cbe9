//! Whether a voter knows what it has promised.
//!
//! The tower file says it, and where the file is there, votes go on as soon as the blocks that the earlier life executed
//! are executed again: an outdated file is known by the votes in them. Without a file, nothing is voted for until the
//! node has caught up with the cluster and would have seen its earlier votes, in blocks or in gossip. A vote of its own
//! account that promises what this life did not shows that promises are lost: the file is missing or older than the last
//! vote, or another instance votes. Then it refuses to vote. Told to vote all the same, it takes over the tower that it sees, and
//! waits until the shallow lockouts in it have run out; the deep ones had more than two thirds of the stake behind
//! them and bind as ever.

use crate::lockouts::{Lockout, Lockouts};
use crate::threshold;
use crate::tower::Abstain;
use std::collections::BTreeMap;
use sundog_types::Slot;

/// Own votes remembered at most, each with its stack; full: the oldest goes, and is known all the same. A vote lands within
/// so many blocks or never.
const OURS_MAX: usize = 512;

/// What is known of earlier promises at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// There is no tower file, and there may have been an earlier life: vote for nothing until [`crate::Input::CaughtUp`].
    pub listen: bool,
    /// Blocks of an earlier life are executed again: vote for nothing until [`crate::Input::Recalled`].
    pub recall: bool,
    /// The operator says to vote although promises may be lost, after the visible ones have run out.
    pub told: bool,
    /// Votes up to here are no news: the operators agreed to restart the cluster below the newest, and to forget them.
    pub known_to: Option<Slot>,
}

/// What is made of that since.
#[derive(Clone, Debug)]
pub struct Standing {
    told: bool,
    listens: bool,
    recalls: bool,
    /// The newest vote that was seen and is not known.
    lost: Option<Slot>,
    /// The last slot at which a shallow lockout that was seen binds.
    until: Slot,
    /// Votes up to here are known: the file had them, or they are so old that they are no longer kept.
    known_to: Option<Slot>,
    /// Votes of this life above that: what was promised with each, by its slot.
    ours: BTreeMap<Slot, Lockouts>,
}

impl Standing {
    /// At the start; `last` is the newest vote of the tower file.
    #[must_use]
    pub fn new(start: Start, last: Option<Slot>) -> Self {
        let Start { listen, recall, told, known_to } = start;
        let known_to = known_to.max(last);
        Self { told, listens: listen, recalls: recall, lost: None, until: Slot::ZERO, known_to, ours: BTreeMap::new() }
    }

    /// This life voted, and has promised this since.
    pub fn voted(&mut self, stack: &Lockouts) {
        self.ours.extend(stack.last_voted().map(|last| (last, stack.clone())));
        if self.ours.len() > OURS_MAX {
            self.known_to = self.known_to.max(self.ours.pop_first().map(|(slot, _)| slot));
        }
    }

    /// What the blocks of an earlier life tell is known.
    pub const fn recalled(&mut self) {
        self.recalls = false;
    }

    /// The node has caught up, and would have seen its earlier votes.
    pub const fn caught_up(&mut self) {
        self.listens = false;
    }

    /// Takes no vote before the shallow lockouts of a stack have run out.
    pub fn wait_for(&mut self, stack: &Lockouts) {
        let shallow = |vote: &&Lockout| vote.confirmations as usize <= threshold::DEPTH;
        self.until = self
            .until
            .max(stack.votes().iter().filter(shallow).map(Lockout::last_locked_out).max().unwrap_or_default());
    }

    /// Whether a tower of the account is no news: its file had it, or it promises nothing that this life did not.
    #[must_use]
    pub fn knows(&self, stack: &Lockouts) -> bool {
        let Some(last) = stack.last_voted() else { return true };
        Some(last) <= self.known_to || self.ours.get(&last).is_some_and(|ours| stack.promises_within(ours))
    }

    /// The own account's tower, as a block or a vote shows it. Whether it is to be taken over.
    ///
    /// A vote for a slot that this life voted for as well need not be this life's: while blocks are caught up with, an
    /// earlier life's vote is seen after the own one. If it promises nothing else, it does not matter whose it is.
    pub fn seen(&mut self, stack: &Lockouts) -> bool {
        let Some(last) = stack.last_voted() else { return false };
        if self.knows(stack) {
            return false;
        }
        let newer = Some(last) > self.lost;
        self.lost = self.lost.max(Some(last));
        self.wait_for(stack);
        // Votes on top of it may have landed nowhere. Up to a depth they bind it, and themselves, no longer than this.
        self.until = self.until.max(last.saturating_add(1 << threshold::DEPTH));
        newer && self.told
    }

    /// Whether a vote for `slot` is safe, as far as earlier lives are concerned.
    ///
    /// # Errors
    /// [`Abstain::Forgotten`], [`Abstain::Recalling`], [`Abstain::Listening`] or [`Abstain::Waiting`].
    pub fn allows(&self, slot: Slot) -> Result<(), Abstain> {
        match self.lost {
            Some(last) if !self.told => Err(Abstain::Forgotten { last }),
            _ if self.recalls => Err(Abstain::Recalling),
            _ if self.listens => Err(Abstain::Listening),
            Some(_) if slot <= self.until => Err(Abstain::Waiting { until: self.until }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(votes: &[(u64, u32)]) -> Lockouts {
        Lockouts::from_parts(votes, Some(0))
    }

    fn slot(slot: u64) -> Slot {
        Slot::new(slot)
    }

    #[test]
    fn with_its_file_it_votes_at_once() {
        let mut standing = Standing::new(Start::default(), Some(slot(9)));
        assert!(!standing.seen(&stack(&[(8, 2), (9, 1)])), "the file has it");
        assert_eq!(standing.allows(slot(10)), Ok(()));
        standing.voted(&stack(&[(9, 2), (10, 1)]));
        assert!(!standing.seen(&stack(&[(9, 2), (10, 1)])), "this life cast it");
        standing.seen(&stack(&[(10, 1)]));
        assert_eq!(standing.allows(slot(11)), Ok(()), "what is too old to be checked does not land with the rest");
    }

    #[test]
    fn a_vote_for_the_same_slot_with_other_promises_is_another_lifes() {
        for other in [stack(&[(7, 2), (10, 1)]), stack(&[(9, 3), (10, 1)])] {
            let mut standing = Standing::new(Start::default(), Some(slot(6)));
            standing.voted(&stack(&[(9, 2), (10, 1)]));
            standing.seen(&other);
            assert_eq!(standing.allows(slot(11)), Err(Abstain::Forgotten { last: slot(10) }), "{other:?}");
        }
    }

    #[test]
    fn nothing_is_voted_for_before_the_earlier_lifes_blocks_are_executed_again() {
        let mut standing = Standing::new(Start { recall: true, ..Start::default() }, Some(slot(9)));
        assert_eq!(standing.allows(slot(10)), Err(Abstain::Recalling));
        standing.recalled();
        assert_eq!(standing.allows(slot(10)), Ok(()));
    }

    #[test]
    fn a_vote_that_it_does_not_know_stops_it() {
        let mut standing = Standing::new(Start::default(), Some(slot(9)));
        assert!(!standing.seen(&stack(&[(9, 2), (12, 1)])), "nobody said to take it over");
        assert_eq!(standing.allows(slot(5_000)), Err(Abstain::Forgotten { last: slot(12) }), "for good");
    }

    #[test]
    fn another_lifes_vote_older_than_the_last_own_one_is_noticed_too() {
        let mut standing = Standing::new(Start::default(), Some(slot(9)));
        standing.voted(&stack(&[(9, 2), (20, 1)]));
        standing.seen(&stack(&[(9, 2), (12, 1)]));
        assert_eq!(standing.allows(slot(21)), Err(Abstain::Forgotten { last: slot(12) }));
    }

    #[test]
    fn what_a_restart_agreed_to_forget_is_no_news() {
        let mut standing = Standing::new(Start { known_to: Some(slot(50)), ..Start::default() }, None);
        assert!(!standing.seen(&stack(&[(49, 2), (50, 1)])));
        assert_eq!(standing.allows(slot(41)), Ok(()), "the cluster was restarted at 40");
        standing.seen(&stack(&[(51, 1)]));
        assert_eq!(standing.allows(slot(52)), Err(Abstain::Forgotten { last: slot(51) }), "another instance votes");
    }

    #[test]
    fn without_a_file_it_listens_first() {
        let mut standing = Standing::new(Start { listen: true, ..Start::default() }, None);
        assert_eq!(standing.allows(slot(1)), Err(Abstain::Listening));
        standing.caught_up();
        assert_eq!(standing.allows(slot(1)), Ok(()), "it never voted");
        standing.seen(&stack(&[(40, 1)]));
        assert_eq!(standing.allows(slot(41)), Err(Abstain::Forgotten { last: slot(40) }));
    }

    #[test]
    fn told_to_vote_it_waits_for_the_shallow_lockouts_that_it_sees() {
        let mut standing = Standing::new(Start { listen: true, told: true, ..Start::default() }, None);
        assert!(standing.seen(&stack(&[(10, 31), (33, 8), (40, 1)])), "the tower is taken over");
        assert!(!standing.seen(&stack(&[(10, 31), (33, 8), (40, 1)])), "once");
        standing.caught_up();
        assert_eq!(standing.allows(slot(296)), Err(Abstain::Waiting { until: slot(296) }), "40 and 2^8");
        assert!(standing.seen(&stack(&[(10, 31), (33, 9), (41, 1)])), "a newer one");
        assert_eq!(standing.allows(slot(297)), Err(Abstain::Waiting { until: slot(297) }));
        assert_eq!(standing.allows(slot(298)), Ok(()));
        standing.wait_for(&stack(&[(10, 31), (300, 3)]));
        assert_eq!(standing.allows(slot(308)), Err(Abstain::Waiting { until: slot(308) }), "this life's own, at 300");
    }

    #[test]
    fn own_votes_remembered_are_bounded() {
        let mut standing = Standing::new(Start::default(), None);
        (1..=5_000).for_each(|vote| standing.voted(&stack(&[(vote, 1)])));
        assert_eq!(standing.ours.len(), OURS_MAX);
        standing.seen(&stack(&[(3, 1)]));
        standing.seen(&stack(&[(5_000, 1)]));
        assert_eq!(standing.allows(slot(5_001)), Ok(()));
    }
}

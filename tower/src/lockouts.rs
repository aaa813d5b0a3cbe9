//! The stack of votes that a voter is still bound by.

use sundog_types::Slot;

/// Votes on the stack at most; one more makes the oldest the root (reference 8.1).
pub const MAX_LOCKOUTS: usize = 31;

/// A vote and how often it has been confirmed by votes on top of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lockout {
    /// The slot voted for.
    pub slot: Slot,
    /// How many votes deep it lies, itself included; at least 1.
    pub confirmations: u32,
}

impl Lockout {
    /// For how many slots after its own the vote binds: two to the number of confirmations.
    #[must_use]
    pub fn slots(&self) -> u64 {
        1 << self.confirmations.min(MAX_LOCKOUTS as u32)
    }

    /// The last slot at which the vote still binds.
    #[must_use]
    pub fn last_locked_out(&self) -> Slot {
        self.slot.saturating_add(self.slots())
    }

    /// Whether the vote still binds at `slot`.
    #[must_use]
    pub fn binds_at(&self, slot: Slot) -> bool {
        self.last_locked_out() >= slot
    }
}

/// A voter's stack of votes, oldest first, and the root below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lockouts {
    votes: Vec<Lockout>,
    root: Option<Slot>,
}

impl Lockouts {
    /// No votes yet, above `root`.
    #[must_use]
    pub fn new(root: Option<Slot>) -> Self {
        Self { votes: Vec::new(), root }
    }

    /// A stack as an account or a file tells it. Entries that break the order of a stack (falling slots,
    /// at or below the root, no confirmation, beyond [`MAX_LOCKOUTS`]) are left out.
    #[must_use]
    pub fn from_parts(votes: &[(u64, u32)], root: Option<u64>) -> Self {
        let mut this = Self::new(root.map(Slot::new));
        for &(slot, confirmations) in votes.iter().take(MAX_LOCKOUTS) {
            let slot = Slot::new(slot);
            let above = this.last_voted().is_none_or(|last| slot > last);
            // A root of 0 is what a fresh cluster starts from, and slot 0 itself is never voted for again.
            let above_root = root.is_none_or(|root| slot.get() > root);
            if above && above_root && confirmations > 0 {
                this.votes.push(Lockout { slot, confirmations });
            }
        }
        this
    }

    /// Votes for `slot`; older or equal slots change nothing. Returns the new root if the oldest vote
    /// became one.
    pub fn vote(&mut self, slot: Slot) -> Option<Slot> {
        if self.last_voted().is_some_and(|last| slot <= last) {
            return None;
        }
        while self.votes.last().is_some_and(|vote| !vote.binds_at(slot)) {
            self.votes.pop();
        }
        let rooted = (self.votes.len() == MAX_LOCKOUTS).then(|| self.votes.remove(0).slot);
        if rooted.is_some() {
            self.root = rooted;
        }
        self.votes.push(Lockout { slot, confirmations: 1 });
        let depth = self.votes.len();
        for (place, vote) in self.votes.iter_mut().enumerate() {
            if depth > place + vote.confirmations as usize {
                vote.confirmations += 1;
            }
        }
        assert!(self.votes.is_sorted_by(|a, b| a.slot < b.slot), "votes ascend");
        rooted
    }

    /// Raises the root to `root` and forgets the votes up to it that `is_settled` knows to be on the root's
    /// fork. A vote on another fork still binds until it expires, whatever the others have rooted.
    pub fn raise_root(&mut self, root: Slot, is_settled: impl Fn(&Lockout) -> bool) {
        if self.root.is_none_or(|old| root > old) {
            self.root = Some(root);
            self.votes.retain(|vote| vote.slot > root || !is_settled(vote));
        }
    }

    /// The newest vote's slot.
    #[must_use]
    pub fn last_voted(&self) -> Option<Slot> {
        self.votes.last().map(|vote| vote.slot)
    }

    /// The vote `depth` places below the newest one, which is at depth 0.
    #[must_use]
    pub fn nth_recent(&self, depth: usize) -> Option<Lockout> {
        self.votes.iter().rev().nth(depth).copied()
    }

    /// Whether `slot` is newer than every vote, or than the root if there is none.
    #[must_use]
    pub fn is_recent(&self, slot: Slot) -> bool {
        self.last_voted().or(self.root).is_none_or(|last| slot > last)
    }

    /// The vote that forbids a vote for `slot`: one that would still bind there and is neither `slot` nor
    /// an ancestor of it.
    #[must_use]
    pub fn forbidding(&self, slot: Slot, is_ancestor: impl Fn(Slot) -> bool) -> Option<Lockout> {
        let mut after = self.clone();
        after.vote(slot);
        after.votes.into_iter().find(|vote| vote.slot != slot && !is_ancestor(vote.slot))
    }

    /// Whether every promise of this stack is also one of `other`'s, as deep there or deeper. What lies at or below the
    /// other's root is settled.
    #[must_use]
    pub fn promises_within(&self, other: &Self) -> bool {
        let within = |vote: &Lockout| {
            let there = other.votes.binary_search_by_key(&vote.slot, |kept| kept.slot).map(|place| other.votes[place]);
            there.is_ok_and(|kept| kept.confirmations >= vote.confirmations)
        };
        self.votes.iter().filter(|vote| Some(vote.slot) > other.root).all(within)
    }

    /// The votes, oldest first.
    #[must_use]
    pub fn votes(&self) -> &[Lockout] {
        &self.votes
    }

    /// The newest slot that can never be taken back.
    #[must_use]
    pub fn root(&self) -> Option<Slot> {
        self.root
    }

    /// Slots and confirmation counts, oldest first, as votes carry them.
    #[must_use]
    pub fn to_parts(&self) -> Vec<(u64, u32)> {
        self.votes.iter().map(|vote| (vote.slot.get(), vote.confirmations)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(votes: &[u64], expect: &str) {
        let mut stack = Lockouts::default();
        for &slot in votes {
            stack.vote(Slot::new(slot));
        }
        let text: Vec<String> = stack.votes().iter().map(|v| format!("{}:{}", v.slot, v.confirmations)).collect();
        assert_eq!(text.join(" "), expect);
    }

    #[test]
    fn consecutive_votes_deepen() {
        check(&[1, 2, 3], "1:3 2:2 3:1");
    }

    #[test]
    fn a_gap_pops_expired_votes() {
        check(&[1, 2, 9], "9:1");
    }

    #[test]
    fn partial_expiry_keeps_the_deep() {
        check(&[1, 2, 3, 7], "1:3 7:1");
    }

    #[test]
    fn an_older_slot_changes_nothing() {
        check(&[5, 3, 5], "5:1");
    }

    #[test]
    fn the_32nd_vote_in_a_row_makes_the_first_the_root() {
        let mut stack = Lockouts::default();
        for slot in 1..=31 {
            assert_eq!(stack.vote(Slot::new(slot)), None);
        }
        assert_eq!(stack.vote(Slot::new(32)), Some(Slot::new(1)));
        assert_eq!((stack.votes().len(), stack.root()), (MAX_LOCKOUTS, Some(Slot::new(1))));
    }

    #[test]
    fn parts_that_break_the_order_are_left_out() {
        let stack = Lockouts::from_parts(&[(3, 4), (2, 3), (5, 0), (9, 1), (1, 1)], Some(2));
        assert_eq!(stack.to_parts(), [(3, 4), (9, 1)]);
        let long: Vec<(u64, u32)> = (1..100).map(|slot| (slot, 1)).collect();
        assert_eq!(Lockouts::from_parts(&long, None).votes().len(), MAX_LOCKOUTS);
    }
}

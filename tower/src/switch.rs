//! Whether enough stake is bound to other forks to leave one's own.
//!
//! Leaving is safe when more than 38 % of the stake cannot come back to the fork that is left: then no
//! supermajority can still form on it (reference 8.5.4).

use std::collections::{BTreeMap, BTreeSet};
use sundog_types::{Pubkey, Slot};

/// Share of stake that must be locked out of the last vote's fork, exclusive.
pub const THRESHOLD: f64 = 0.38;

/// A vote of somebody as a block knows it: the slot and the last slot at which it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The slot voted for.
    pub start: Slot,
    /// The last slot at which the vote binds.
    pub end: Slot,
    /// The account that voted.
    pub voter: Pubkey,
}

/// What the check answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The candidate descends from the last vote, or there is none: nothing is left.
    SameFork,
    /// Enough stake is locked out of the fork that would be left.
    Proven,
    /// Not enough stake is.
    Failed {
        /// Stake found locked out, in lamports.
        stake: u64,
        /// All stake, in lamports.
        total: u64,
    },
    /// The last vote stands on an unconfirmed duplicate block, and the candidate is an ancestor of it:
    /// build there, but there is nothing to vote for.
    Rollback {
        /// The newest duplicate under the last vote.
        duplicate: Slot,
    },
}

/// A question to [`check`].
pub struct Question<'a> {
    /// The parent of every known block above the root.
    pub parents: &'a dyn Fn(Slot) -> Option<Slot>,
    /// Own root.
    pub root: Slot,
    /// The slot of the last vote.
    pub last_vote: Slot,
    /// Whether its block is among the known ones, in the version that was voted for. Otherwise (restored after a
    /// restart) nothing is known of its fork, and every other one counts as another.
    pub known: bool,
    /// If that block was thrown away on somebody's word, its ancestors: so much of its fork is known all the same.
    pub purged: Option<&'a BTreeSet<Slot>>,
    /// The block to switch to.
    pub candidate: Slot,
    /// The newest unconfirmed duplicate among the last vote's block and its ancestors.
    pub duplicate: Option<Slot>,
    /// The tips: executed blocks that no executed block is built on, with the lockouts they know.
    pub tips: Vec<(Slot, &'a [Interval])>,
    /// Newest votes for known blocks that were heard of outside of blocks.
    pub heard: &'a BTreeMap<Pubkey, Slot>,
    /// Stake of each vote account in the candidate's bank, in lamports.
    pub stakes: &'a BTreeMap<Pubkey, u64>,
    /// All stake in the candidate's bank, in lamports.
    pub total: u64,
}

impl Question<'_> {
    /// Ancestors of a known slot; empty for an unknown one.
    fn ancestors(&self, slot: Slot) -> BTreeSet<Slot> {
        std::iter::successors((self.parents)(slot), |&slot| (self.parents)(slot)).collect()
    }
}

/// Answers the question.
#[must_use]
pub fn check(question: &Question<'_>) -> Switch {
    let last = question.last_vote;
    let under_last =
        if question.known { question.ancestors(last) } else { question.purged.cloned().unwrap_or_default() };
    let under_candidate = question.ancestors(question.candidate);
    if let Some(duplicate) = question.duplicate
        && under_last.contains(&question.candidate)
    {
        return Switch::Rollback { duplicate };
    }
    let descends = |slot: Slot, under: &BTreeSet<Slot>| question.known && (slot == last || under.contains(&last));
    if descends(question.candidate, &under_candidate) {
        return Switch::SameFork;
    }
    // Many voters stand at few blocks.
    let mut asked = BTreeMap::new();
    let counts_at = |block: Slot| {
        let under_block = question.ancestors(block);
        if descends(block, &under_block) {
            return false;
        }
        if under_last.is_empty() {
            return true;
        }
        let shared = under_block.iter().rev().find(|slot| under_last.contains(slot));
        shared.is_some_and(|shared| under_candidate.contains(shared))
    };
    let mut counts_at = |block: Slot| *asked.entry(block).or_insert_with(|| counts_at(block));
    let mut counted = BTreeSet::new();
    let mut stake = 0_u64;
    let mut count = |voter: &Pubkey| {
        if counted.insert(*voter) {
            stake = stake.saturating_add(question.stakes.get(voter).copied().unwrap_or(0));
        }
        stake as f64 / question.total as f64 > THRESHOLD
    };
    for (tip, intervals) in &question.tips {
        if *tip <= question.root || !counts_at(*tip) {
            continue;
        }
        for vote in *intervals {
            let elsewhere = vote.start > question.root && !under_last.contains(&vote.start);
            if vote.end >= last && elsewhere && count(&vote.voter) {
                return Switch::Proven;
            }
        }
    }
    for (voter, &slot) in question.heard {
        if slot > last && counts_at(slot) && count(voter) {
            return Switch::Proven;
        }
    }
    Switch::Failed { stake, total: question.total }
}

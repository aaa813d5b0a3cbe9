//! What the machine counts.

use crate::decision::Reset;
use crate::tower::Abstain;

/// Why an input changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The slot is not above the root.
    BelowRoot,
    /// The block or vote is known.
    Known,
    /// Another version of the slot's block is in the tree.
    OtherVersion,
    /// The parent is not in the tree, or has another bank hash.
    UnknownParent,
    /// The tree is full of blocks that must stay.
    TreeFull,
    /// The voter has no stake.
    Unstaked,
    /// The voter has newer votes, more than are remembered.
    Stale,
}

impl DropReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 7] = [
        Self::BelowRoot,
        Self::Known,
        Self::OtherVersion,
        Self::UnknownParent,
        Self::TreeFull,
        Self::Unstaked,
        Self::Stale,
    ];

    /// The reason's name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BelowRoot => "below_root",
            Self::Known => "known",
            Self::OtherVersion => "other_version",
            Self::UnknownParent => "unknown_parent",
            Self::TreeFull => "tree_full",
            Self::Unstaked => "unstaked",
            Self::Stale => "stale",
        }
    }
}

/// Counters since the machine was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Executed blocks taken into the tree.
    pub blocks: u64,
    /// Votes decided and saved.
    pub votes: u64,
    /// Votes sent again because they did not land.
    pub refreshed: u64,
    /// Votes that left the fork of the vote before.
    pub switches: u64,
    /// Times the block to build on changed.
    pub resets: u64,
    /// The same, by [`Reset::index`].
    pub resets_by: [u64; Reset::KINDS],
    /// Votes at the tip of the own fork because the last one could not land any more.
    pub super_refreshed: u64,
    /// Confirmed blocks that a root left behind.
    pub abandoned: u64,
    /// Times the root moved.
    pub roots: u64,
    /// Times the account's tower was newer than the own one and was taken over.
    pub adopted: u64,
    /// Votes heard outside of blocks that counted.
    pub votes_heard: u64,
    /// Blocks forgotten because the tree was full.
    pub evicted: u64,
    /// Blocks not voted for, by [`Abstain::index`].
    pub abstained: [u64; Abstain::KINDS],
    /// Inputs that changed nothing, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
}

impl Metrics {
    pub(crate) fn drop(&mut self, why: DropReason) {
        self.dropped[why as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{}", reason.name());
        }
    }
}

//! What was decided last: where to build, whether to vote, and why.

use crate::fork_choice::BlockKey;
use crate::switch::Switch;
use crate::tower::Abstain;
use sundog_types::Slot;

/// Why one builds where one builds.
///
/// ```text
///  last vote                          heaviest block              build on
///  none, or at or below the root      any                         Heaviest
///  on its fork                        descends from it            Heaviest
///  on another fork, proven            any                         Switched
///  on another fork, not proven        own fork valid              OwnFork    (its heaviest tip)
///                                     own fork a duplicate        Deepest    (its longest chain)
///  on an unconfirmed duplicate        an ancestor of the vote     Rollback   (that ancestor: a way out must grow)
///  its block was thrown away          its slot, other version     OtherVersion
///                                     anything else               Purged     (left without proof)
///  its block is unknown               any                         Stray
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The heaviest block; it is on the last vote's fork.
    Heaviest,
    /// The heaviest block; enough stake is bound to leave the last vote's fork for it.
    Switched,
    /// The heaviest block on the last vote's fork: to leave it is not allowed yet, and unless somebody builds there the
    /// votes that are bound to it never land.
    OwnFork,
    /// The tip of the longest chain on the last vote's fork, which stands on an unconfirmed duplicate: it may be
    /// confirmed by votes that only a block on it can carry.
    Deepest,
    /// The heaviest block, an ancestor of the last vote, which stands on an unconfirmed duplicate.
    Rollback {
        /// The duplicate.
        duplicate: Slot,
    },
    /// The heaviest block is of the last voted slot, in the version that the cluster chose.
    OtherVersion,
    /// The heaviest block; the last vote's block was thrown away because the cluster chose another version.
    Purged,
    /// The heaviest block; the last vote is from an earlier life and its block is not known here.
    Stray,
}

impl Reset {
    /// The kinds' names in metrics and logs.
    pub const NAMES: [&str; Self::KINDS] =
        ["heaviest", "switched", "own_fork", "deepest", "rollback", "other_version", "purged", "stray"];

    /// How many kinds there are.
    pub const KINDS: usize = 8;

    /// The place of the kind in an array of counters.
    #[must_use]
    pub fn index(&self) -> usize {
        match self {
            Self::Heaviest => 0,
            Self::Switched => 1,
            Self::OwnFork => 2,
            Self::Deepest => 3,
            Self::Rollback { .. } => 4,
            Self::OtherVersion => 5,
            Self::Purged => 6,
            Self::Stray => 7,
        }
    }

    /// The kind's name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// What became of the question whether to vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There was nothing to vote for, or no account with stake to vote with.
    Nothing,
    /// The tower of the vote before is being written: asked again when it is durable.
    Saving,
    /// A vote for this block's slot was decided.
    Vote(Slot),
    /// No vote.
    Abstain(Abstain),
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The heaviest block of all.
    pub best: BlockKey,
    /// Whether the last vote's fork may be left for it.
    pub switch: Switch,
    /// Whether to vote, and why not.
    pub vote: Verdict,
    /// The block to build on.
    pub build_on: BlockKey,
    /// Why there.
    pub reset: Reset,
}

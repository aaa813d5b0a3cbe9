//! What can be wrong.

use sundog_types::{Hash, Slot};

/// A rule that was broken, with the facts. Stakes are in lamports; nodes are places in the list of voters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two honest nodes, or one in two lives, rooted blocks on different forks.
    #[error("node {} rooted slot {} and node {} slot {}, which is on another fork", roots[0].0, roots[0].1, roots[1].0, roots[1].1)]
    RootConflict {
        /// Who, and which slot.
        roots: [(usize, Slot); 2],
    },
    /// A root is not a descendant of the same node's root before.
    #[error("node {node} went from root {from} to {to}, which does not descend from it")]
    RootWentBack {
        /// Who.
        node: usize,
        /// The root before.
        from: Slot,
        /// The root now.
        to: Slot,
    },
    /// Two blocks on different forks are optimistically confirmed.
    #[error("node {node} saw slot {} confirmed, while slot {} on another fork was already", slots[1], slots[0])]
    ConfirmedConflict {
        /// Who saw the second.
        node: usize,
        /// Both slots.
        slots: [Slot; 2],
    },
    /// A confirmed block is not on the rooted fork.
    #[error("node {node} rooted slot {root}, which leaves the confirmed slot {confirmed} behind")]
    Abandoned {
        /// Who.
        node: usize,
        /// The confirmed slot.
        confirmed: Slot,
        /// The root.
        root: Slot,
    },
    /// A node says that a block is confirmed which too few voted for.
    #[error("node {node} takes slot {slot} for confirmed by {stake} of {total}")]
    Unconfirmed {
        /// Who.
        node: usize,
        /// The block's slot.
        slot: Slot,
        /// Stake that voted for exactly it.
        stake: u64,
        /// All stake.
        total: u64,
    },
    /// An honest node voted for, rooted or confirmed a block that nobody executed.
    #[error("node {node} speaks of a block of slot {slot} that nobody executed: {hash}")]
    UnknownBlock {
        /// Who.
        node: usize,
        /// The slot.
        slot: Slot,
        /// The bank hash.
        hash: Hash,
    },
    /// A vote for an older slot than the vote before, or an older root.
    #[error("node {node} voted for slot {slot} on root {root} after slot {before} on root {root_before}")]
    WentBack {
        /// Who.
        node: usize,
        /// The vote before.
        before: Slot,
        /// The root that came with it.
        root_before: Slot,
        /// The vote.
        slot: Slot,
        /// Its root.
        root: Slot,
    },
    /// Two votes for one slot, for two versions of its block.
    #[error("node {node} voted for two versions of slot {slot}")]
    VotedTwice {
        /// Who.
        node: usize,
        /// The slot.
        slot: Slot,
    },
    /// A vote that still binds is missing from the tower of a later vote, or is not on its fork.
    #[error(
        "node {node} voted for slot {voted} while its vote for slot {promise} bound it to another fork until {until}"
    )]
    PromiseBroken {
        /// Who.
        node: usize,
        /// The vote that binds.
        promise: Slot,
        /// The last slot at which it does.
        until: Slot,
        /// The later vote.
        voted: Slot,
    },
    /// A tower says less of a vote than it promised, or is no tower.
    #[error("node {node} voted for slot {voted} with {slots:?}, which is not what its votes add up to")]
    NoTower {
        /// Who.
        node: usize,
        /// The vote.
        voted: Slot,
        /// Slots and counts, as sent.
        slots: Vec<(u64, u32)>,
    },
    /// A vote off the fork of the vote before it, while no evidence allowed that.
    #[error("node {node} left slot {from} for slot {to} when {stake} of {total} were bound to other forks")]
    NoSwitchProof {
        /// Who.
        node: usize,
        /// The vote before.
        from: Slot,
        /// The vote.
        to: Slot,
        /// Stake that could be seen to be bound to other forks.
        stake: u64,
        /// All stake.
        total: u64,
    },
    /// A vote buries another deep which too few stand behind.
    #[error("node {node} voted for slot {voted} and buried slot {buried}, which {stake} of {total} stand behind")]
    Buried {
        /// Who.
        node: usize,
        /// The vote.
        voted: Slot,
        /// The vote eight below it.
        buried: Slot,
        /// Stake that had voted for it or above.
        stake: u64,
        /// All stake.
        total: u64,
    },
    /// The same content gave two bank hashes.
    #[error("node {node} executed slot {slot} and got {}, others {}", hashes[1], hashes[0])]
    HashesDiffer {
        /// Who.
        node: usize,
        /// The slot.
        slot: Slot,
        /// What the first got, and what this one got.
        hashes: [Hash; 2],
    },
    /// One block was said to have two parents.
    #[error("slot {slot} {hash} is built on slots {} and {}", parents[0], parents[1])]
    TwoParents {
        /// The slot.
        slot: Slot,
        /// The bank hash.
        hash: Hash,
        /// Slots of both parents.
        parents: [Slot; 2],
    },
    /// A node stopped voting because it takes itself for diverged, while all execute alike.
    #[error("node {node} stopped voting at slot {slot}: it says that others have another result for it")]
    FalseAlarm {
        /// Who.
        node: usize,
        /// The slot.
        slot: Slot,
    },
    /// After all faults had healed, not all honest nodes had a new root in time.
    #[error("no common new root by slot {by}: healed at {healed}, roots {roots:?}, the newest then {root}")]
    Stuck {
        /// When everything was healed.
        healed: Slot,
        /// The slot by which it had to be: the longest remaining lockout and 64 slots later.
        by: Slot,
        /// The newest root when it healed.
        root: Slot,
        /// The roots of the honest nodes.
        roots: Vec<Slot>,
    },
}

impl Violation {
    /// The kind in one word, for tables.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RootConflict { .. } => "root_conflict",
            Self::RootWentBack { .. } => "root_went_back",
            Self::ConfirmedConflict { .. } => "confirmed_conflict",
            Self::Abandoned { .. } => "abandoned",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::UnknownBlock { .. } => "unknown_block",
            Self::WentBack { .. } => "went_back",
            Self::VotedTwice { .. } => "voted_twice",
            Self::PromiseBroken { .. } => "promise_broken",
            Self::NoTower { .. } => "no_tower",
            Self::NoSwitchProof { .. } => "no_switch_proof",
            Self::Buried { .. } => "buried",
            Self::HashesDiffer { .. } => "hashes_differ",
            Self::TwoParents { .. } => "two_parents",
            Self::FalseAlarm { .. } => "false_alarm",
            Self::Stuck { .. } => "stuck",
        }
    }
}

//! Whether enough of the others stand behind a vote before it is buried deep.
//!
//! A vote with eight on top of it binds for 512 slots. It goes that deep only if more than two thirds of the stake
//! voted for the same slot or above it, so that a voter alone on its fork stays free to leave it.

use crate::lockouts::Lockouts;
use sundog_types::Slot;

/// Depth at which a failed check forbids the vote, counted from the newest vote at depth 0.
pub const DEPTH: usize = 8;

/// Share of stake that must be behind the vote at [`DEPTH`], exclusive.
pub const SIZE: f64 = 2.0 / 3.0;

/// The checks that are made: depth and share. Only [`DEPTH`] forbids; the shallow ones are for information.
const CHECKS: [(usize, f64); 3] = [(4, 0.38), (5, 0.38), (DEPTH, SIZE)];

/// A check that did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How deep in the stack it was made.
    pub depth: usize,
    /// The vote at that depth.
    pub slot: Slot,
    /// Stake behind that vote, in lamports.
    pub stake: u64,
}

impl Failed {
    /// Whether the vote must not be cast.
    #[must_use]
    pub fn forbids(&self) -> bool {
        self.depth >= DEPTH
    }
}

/// What would fail if `candidate` were voted for on top of `stack`. `voted` answers how much stake voted
/// for a slot or above it as the candidate's bank knows; `None` if it knows of no such vote.
pub fn failures(
    stack: &Lockouts,
    candidate: Slot,
    voted: impl Fn(Slot) -> Option<u64>,
    total_stake: u64,
) -> Vec<Failed> {
    let mut after = stack.clone();
    after.vote(candidate);
    let mut failed = Vec::new();
    for (depth, size) in CHECKS {
        let Some(vote) = after.nth_recent(depth) else {
            continue;
        };
        let Some(stake) = voted(vote.slot) else {
            failed.push(Failed { depth, slot: vote.slot, stake: 0 });
            continue;
        };
        // A vote that gets no deeper commits to nothing new.
        let unchanged = stack.votes().contains(&vote);
        if !unchanged && stake as f64 / total_stake as f64 <= size {
            failed.push(Failed { depth, slot: vote.slot, stake });
        }
    }
    failed
}

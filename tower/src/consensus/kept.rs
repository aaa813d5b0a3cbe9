//! What is kept of an executed block.

use crate::block::{Block, VoterState};
use crate::lockouts::Lockouts;
use crate::switch::Interval;
use std::collections::BTreeMap;
use std::sync::Arc;
use sundog_types::{Hash, Pubkey, Slot};

/// What later decisions need of a block.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) hash: Hash,
    pub(super) block_id: Hash,
    pub(super) mine: bool,
    /// The newest own block among this one and its ancestors above the root of the time.
    pub(super) newest_own: Option<Slot>,
    /// Blocks between it and the block of the start.
    pub(super) height: u64,
    /// Stake by the newest vote that would still bind after a vote for this block.
    weights: BTreeMap<Slot, u64>,
    /// Lockouts that the bank knows; only while nothing is built on the block.
    pub(super) intervals: Vec<Interval>,
    /// Stake by vote account; shared along a chain while it does not change.
    pub(super) stakes: Arc<BTreeMap<Pubkey, u64>>,
    pub(super) total: u64,
    /// The own vote account, if the bank knows it.
    pub(super) own: Option<VoterState>,
}

impl Kept {
    /// The root of a start: nothing is known of it but its hash.
    pub(super) fn root(hash: Hash) -> Self {
        Self {
            hash,
            block_id: Hash::default(),
            mine: false,
            newest_own: None,
            height: 0,
            weights: BTreeMap::new(),
            intervals: Vec::new(),
            stakes: Arc::default(),
            total: 0,
            own: None,
        }
    }

    pub(super) fn new(block: &Block, parent: &Self, vote_account: Option<Pubkey>) -> Self {
        let voters = || block.votes.iter().filter(|voter| voter.stake > 0);
        let mut weights = BTreeMap::<Slot, u64>::new();
        let mut intervals = Vec::new();
        for voter in voters() {
            let mut stack = Lockouts::from_parts(&voter.lockouts, voter.root);
            intervals.extend(stack.votes().iter().map(|vote| Interval {
                start: vote.slot,
                end: vote.last_locked_out(),
                voter: voter.vote_account,
            }));
            stack.vote(block.slot);
            if let Some(vote) = stack.nth_recent(1) {
                let weight = weights.entry(vote.slot).or_default();
                *weight = weight.saturating_add(voter.stake);
            }
        }
        let stakes: BTreeMap<Pubkey, u64> = voters().map(|v| (v.vote_account, v.stake)).collect();
        let same = stakes == *parent.stakes;
        Self {
            hash: block.hash,
            block_id: block.block_id,
            mine: block.mine,
            newest_own: if block.mine { Some(block.slot) } else { parent.newest_own },
            height: parent.height + 1,
            weights,
            intervals,
            stakes: if same { Arc::clone(&parent.stakes) } else { Arc::new(stakes) },
            total: block.total_stake,
            own: block.votes.iter().find(|voter| Some(voter.vote_account) == vote_account).cloned(),
        }
    }

    /// Stake that voted for `slot`, an ancestor of the block, or above it. Whoever voted on this fork for a
    /// newer slot voted above it.
    pub(super) fn voted(&self, slot: Slot) -> u64 {
        self.weights.range(slot..).map(|(_, stake)| stake).sum()
    }
}

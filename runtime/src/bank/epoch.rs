//! The turn of an epoch: stakes, epoch stakes, and the rewards that follow it (reference 5.2, 16.16).
//!
//! Without inflation no lamports are paid, but the reference goes through all motions: it opens the
//! EpochRewards sysvar for a block, and moves the observed credits of stake accounts forward.

use super::{Bank, new::EPOCH_REWARDS};
use crate::stakes::{CREDITS_OBSERVED_AT, Delegation};
use serde::{Deserialize, Serialize};
use solana_account::WritableAccount;
use solana_vote_interface::state::VoteStateV4;
use std::sync::Arc;
use sundog_types::{Hash, Pubkey, stakes::EpochStakes};

/// Epochs of stakes that are kept before the newest.
const EPOCH_STAKES_BEHIND: u64 = 5;

/// Rewards that the next block distributes. All fit into one block: more than 4,096 stake accounts would
/// be spread over several by the reference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PendingRewards {
    /// The block height at which they are distributed.
    pub(crate) at_block_height: u64,
    parent_blockhash: Hash,
    points: u128,
    /// The credits that each stake account has observed then.
    credits: Vec<(Pubkey, u64)>,
}

impl Bank {
    pub(super) fn enter_epoch(&mut self, parent_epoch: u64) {
        debug_assert!(parent_epoch < self.place.epoch);
        self.stakes.enter(self.place.epoch);
        self.begin_rewards();
    }

    /// Fixes the stakes of the epoch whose leader schedule is due, if they are not yet.
    pub(super) fn fix_epoch_stakes(&mut self) {
        let epoch = self.parameters.epoch_schedule.get_leader_schedule_epoch(self.place.slot);
        if self.epoch_stakes.contains_key(&epoch) {
            return;
        }
        let oldest = epoch.saturating_sub(EPOCH_STAKES_BEHIND);
        self.epoch_stakes.retain(|kept, _| *kept >= oldest);
        self.epoch_stakes.insert(epoch, Arc::new(self.stakes.snapshot(epoch)));
    }

    fn begin_rewards(&mut self) {
        let mut points = 0u128;
        let mut credits = Vec::new();
        for (key, delegation) in self.stakes.delegations() {
            if let Some(vote) = self.stakes.votes().get(&delegation.voter) {
                let (earned, observed) = self.earned(delegation, vote);
                points += earned;
                credits.push((*key, observed));
            }
        }
        if points == 0 {
            credits.clear();
        }
        let rewards = PendingRewards {
            at_block_height: self.place.block_height + 1,
            parent_blockhash: self.place.parent_blockhash,
            points,
            credits,
        };
        self.write_epoch_rewards(&rewards, true);
        self.rewards = Some(Arc::new(rewards));
    }

    /// Points of a delegation, and the credits it has observed then.
    fn earned(&self, delegation: &Delegation, vote: &VoteStateV4) -> (u128, u64) {
        let before = delegation.credits_observed;
        if vote.credits() <= before {
            return (0, vote.credits());
        }
        let mut points = 0u128;
        let mut observed = before;
        for (epoch, credits, earlier) in &vote.epoch_credits {
            let stake = delegation.status(*epoch, self.stakes.history(), self.stakes.warmup()).effective;
            let earned = if before < *earlier {
                credits.saturating_sub(*earlier)
            } else if before < *credits {
                credits.saturating_sub(observed)
            } else {
                0
            };
            observed = observed.max(*credits);
            points += u128::from(stake) * u128::from(earned);
        }
        (points, observed)
    }

    pub(super) fn distribute_rewards(&mut self) {
        let Some(rewards) = self.rewards.clone() else {
            return;
        };
        if self.place.block_height < rewards.at_block_height {
            return;
        }
        self.rewards = None;
        for (key, observed) in &rewards.credits {
            let Some(mut account) = self.account(key) else {
                continue;
            };
            let Some(place) = account.data_as_mut_slice().get_mut(CREDITS_OBSERVED_AT..CREDITS_OBSERVED_AT + 8) else {
                continue;
            };
            place.copy_from_slice(&observed.to_le_bytes());
            self.store(*key, account);
        }
        self.write_epoch_rewards(&rewards, false);
    }

    fn write_epoch_rewards(&mut self, rewards: &PendingRewards, active: bool) {
        let partitions = 1u64;
        let (total, distributed) = (0u64, 0u64);
        let head = (rewards.at_block_height, partitions, rewards.parent_blockhash, rewards.points);
        let data = bincode::serialize(&(head, total, distributed, active)).expect("plain numbers always encode");
        self.write_sysvar(EPOCH_REWARDS, data);
    }

    /// Whether rewards are still to be distributed; the stake program refuses changes then.
    #[must_use]
    pub fn rewards_pending(&self) -> bool {
        self.rewards.is_some()
    }

    /// The stakes that hold for an epoch, if they are fixed and not forgotten.
    #[must_use]
    pub fn epoch_stakes(&self, epoch: sundog_types::Epoch) -> Option<Arc<EpochStakes>> {
        self.epoch_stakes.get(&epoch.get()).cloned()
    }

    /// The stakes that hold in this bank's epoch.
    ///
    /// # Panics
    /// Never: they are fixed an epoch ahead.
    #[must_use]
    pub fn current_epoch_stakes(&self) -> Arc<EpochStakes> {
        Arc::clone(self.epoch_stakes.get(&self.place.epoch).expect("the stakes of an epoch are fixed before it"))
    }
}

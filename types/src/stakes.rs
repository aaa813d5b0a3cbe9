//! Who may vote and lead in an epoch, and with how much weight.

use crate::Pubkey;
use std::collections::BTreeMap;

/// One vote account's part in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteStake {
    /// The node that votes with it.
    pub node: Pubkey,
    /// The key that must sign its votes in this epoch.
    pub authorized_voter: Pubkey,
    /// Effective delegated stake, in lamports.
    pub stake: u64,
}

/// The stakes that hold for one epoch: fixed a whole epoch ahead (reference 5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochStakes {
    /// By vote account. Accounts without stake are not listed.
    pub by_vote_account: BTreeMap<Pubkey, VoteStake>,
}

impl EpochStakes {
    /// All stake of the epoch, in lamports.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_vote_account.values().map(|v| v.stake).fold(0, u64::saturating_add)
    }

    /// Stake of a vote account, 0 if it has none.
    #[must_use]
    pub fn of_vote_account(&self, vote_account: &Pubkey) -> u64 {
        self.by_vote_account.get(vote_account).map_or(0, |v| v.stake)
    }

    /// Stake of a node over all its vote accounts, 0 if it has none.
    #[must_use]
    pub fn of_node(&self, node: &Pubkey) -> u64 {
        let own = self.by_vote_account.values().filter(|vote| vote.node == *node);
        own.map(|vote| vote.stake).fold(0, u64::saturating_add)
    }

    /// Stake by node identity: what Turbine and gossip weigh by.
    #[must_use]
    pub fn by_node(&self) -> BTreeMap<Pubkey, u64> {
        let mut nodes = BTreeMap::<Pubkey, u64>::new();
        for vote in self.by_vote_account.values() {
            let stake = nodes.entry(vote.node).or_default();
            *stake = stake.saturating_add(vote.stake);
        }
        nodes
    }
}

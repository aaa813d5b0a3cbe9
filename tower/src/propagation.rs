//! Whether the cluster has this node's own blocks.
//!
//! A leader that nobody hears must not go on alone: it neither votes for what stands on its last block nor begins
//! another window until nodes with more than a third of the stake have it (reference 8.5.3, 8.6). A voter has a block if
//! it voted for it or for what descends from it, or says in gossip that it has it; who has a block has all below it.

use std::collections::{BTreeMap, BTreeSet};
use sundog_types::{Pubkey, Slot, stakes::EpochStakes};

/// Own blocks watched at most. A node leads fewer between two roots, and the newest on a fork speaks for those below
/// it. Full: the oldest is forgotten, which is to say taken for propagated.
pub const MAX_OWN_BLOCKS: usize = 256;

/// Who has one own block.
#[derive(Clone, Debug, Default)]
struct Support {
    /// The newest own block below it, if that was watched.
    below: Option<Slot>,
    voters: BTreeSet<Pubkey>,
    /// Their stake, in lamports.
    stake: u64,
    /// All stake when it was counted last, in lamports.
    total: u64,
    enough: bool,
}

/// How much of the stake has an own block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Stake that has it, in lamports.
    pub stake: u64,
    /// All stake, in lamports.
    pub total: u64,
    /// Whether that is more than a third, or was.
    pub enough: bool,
}

/// Own blocks above the root, and who has them.
#[derive(Clone, Debug, Default)]
pub struct Propagation {
    own: BTreeMap<Slot, Support>,
}

impl Propagation {
    /// Watches an own block from now on. `below` is the newest own block under it.
    pub fn watch(&mut self, slot: Slot, below: Option<Slot>) {
        self.own.insert(slot, Support { below, ..Support::default() });
        if self.own.len() > MAX_OWN_BLOCKS {
            self.own.pop_first();
        }
    }

    /// A voter has the own block of `slot`, and so all own blocks below it.
    pub fn support(&mut self, slot: Slot, voter: &Pubkey, stakes: &EpochStakes) {
        let stake = stakes.of_vote_account(voter);
        let mut at = Some(slot).filter(|_| stake > 0);
        let mut enough = false;
        while let Some(own) = at.and_then(|slot| self.own.get_mut(&slot)) {
            if own.enough {
                return;
            }
            if !enough && !own.voters.insert(*voter) {
                return;
            }
            if !enough {
                own.stake = own.stake.saturating_add(stake);
                own.total = stakes.total();
                enough = u128::from(own.stake) * 3 > u128::from(own.total);
            }
            own.enough = enough;
            if enough {
                own.voters = BTreeSet::new();
            }
            at = own.below;
        }
    }

    /// Whether it is of interest who else has the own block of `slot`.
    #[must_use]
    pub fn is_waiting(&self, slot: Slot) -> bool {
        self.own.get(&slot).is_some_and(|own| !own.enough)
    }

    /// How far the own block of `slot` has spread; `None` if it is not watched: rooted, or not an own one.
    #[must_use]
    pub fn spread(&self, slot: Slot) -> Option<Spread> {
        self.own.get(&slot).map(|own| Spread { stake: own.stake, total: own.total, enough: own.enough })
    }

    /// Forgets own blocks that `keep` does not want: those at or below a root, or thrown away.
    pub fn retain(&mut self, keep: impl Fn(Slot) -> bool) {
        self.own.retain(|slot, _| keep(*slot));
    }

    /// How many own blocks are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.len()
    }

    /// Whether no own block is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::stakes::VoteStake;

    fn key(number: u8) -> Pubkey {
        Pubkey::new_from_array([number; 32])
    }

    fn stakes(stakes: &[u64]) -> EpochStakes {
        let voters = (1_u8..).zip(stakes).map(|(number, &stake)| {
            (key(number), VoteStake { node: key(number), authorized_voter: key(number), stake })
        });
        EpochStakes { by_vote_account: voters.collect() }
    }

    #[test]
    fn more_than_a_third_of_the_stake_makes_a_block_propagated() {
        let (stakes, slot) = (stakes(&[20, 13, 1, 65]), Slot::new(9));
        let mut propagation = Propagation::default();
        propagation.watch(slot, None);
        propagation.support(slot, &key(1), &stakes);
        propagation.support(slot, &key(1), &stakes);
        propagation.support(slot, &key(2), &stakes);
        let spread = propagation.spread(slot).expect("watched");
        assert_eq!(spread, Spread { stake: 33, total: 99, enough: false }, "a third is not more than a third");
        propagation.support(slot, &key(9), &stakes);
        assert!(propagation.is_waiting(slot), "without stake nobody counts");
        propagation.support(slot, &key(3), &stakes);
        assert!(!propagation.is_waiting(slot));
    }

    #[test]
    fn who_has_a_block_has_the_own_blocks_below_it() {
        let (stakes, slot) = (stakes(&[10, 10, 10]), Slot::new);
        let mut propagation = Propagation::default();
        propagation.watch(slot(3), None);
        propagation.watch(slot(7), Some(slot(3)));
        propagation.support(slot(3), &key(1), &stakes);
        propagation.support(slot(7), &key(2), &stakes);
        assert!(propagation.is_waiting(slot(7)) && !propagation.is_waiting(slot(3)));
        propagation.support(slot(7), &key(1), &stakes);
        assert!(!propagation.is_waiting(slot(7)));
    }

    #[test]
    fn the_oldest_own_block_is_let_go_when_too_many_wait() {
        let mut propagation = Propagation::default();
        for slot in 0..=MAX_OWN_BLOCKS as u64 {
            propagation.watch(Slot::new(slot), slot.checked_sub(1).map(Slot::new));
        }
        assert_eq!(propagation.len(), MAX_OWN_BLOCKS);
        assert_eq!(propagation.spread(Slot::ZERO), None);
        propagation.support(Slot::new(9), &key(1), &stakes(&[1]));
        assert!(!propagation.is_waiting(Slot::new(1)), "the way down ends where it is forgotten");
        propagation.retain(|slot| slot > Slot::new(200));
        assert_eq!(propagation.len(), 56);
    }
}

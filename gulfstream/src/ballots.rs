//! Votes that wait for this node to lead: the newest of each voter, most stake first.

use crate::{DropReason, VerifiedTransaction};
use std::collections::BTreeMap;
use sundog_types::{Pubkey, Slot, vote::parse_vote};

/// Voters whose vote is held: more than any cluster has had. When full, the one with least stake loses.
pub const BALLOTS_MAX: usize = 4_096;

/// Stake of the voter's node when the vote came, then who it is.
type Rank = (u64, Pubkey);

/// One vote for each voter. A newer vote holds all that an older one says, so only that is kept.
#[derive(Default)]
pub(crate) struct Ballots {
    ranked: BTreeMap<Rank, (Slot, VerifiedTransaction)>,
    by_voter: BTreeMap<Pubkey, Rank>,
}

impl Ballots {
    /// Offers a vote; `stake` is what stands behind its payer, the voter's node.
    ///
    /// # Errors
    /// Why it is not held. When another one had to go for it, that is told as `Ok(true)`.
    pub(crate) fn offer(&mut self, stake: u64, vote: VerifiedTransaction) -> Result<bool, DropReason> {
        let parsed = parse_vote(vote.transaction()).filter(|_| vote.is_vote());
        let parsed = parsed.ok_or(DropReason::NotAVote)?;
        let slot = Slot::new(parsed.last_slot);
        // The payer must have signed; a stranger can name a vote account but not pay as its node.
        let voter = vote.payer();
        if let Some(rank) = self.by_voter.get(&voter) {
            // A vote for the same slot is a refreshed one, with a younger blockhash.
            if self.ranked.get(rank).is_some_and(|(held, _)| *held > slot) {
                return Err(DropReason::OldVote);
            }
            self.ranked.remove(rank);
            self.by_voter.remove(&voter);
        }
        let rank = (stake, voter);
        let full = self.ranked.len() >= BALLOTS_MAX;
        if full {
            let least = *self.ranked.first_key_value().expect("full").0;
            if rank <= least {
                return Err(DropReason::VotesFull);
            }
            self.ranked.remove(&least);
            self.by_voter.remove(&least.1);
        }
        self.ranked.insert(rank, (slot, vote));
        self.by_voter.insert(voter, rank);
        Ok(full)
    }

    /// The vote with most stake behind it, if it is no larger than `bytes_max`.
    pub(crate) fn take_best(&mut self, bytes_max: usize) -> Option<VerifiedTransaction> {
        let (rank, (_, vote)) = self.ranked.last_key_value()?;
        if vote.packet().len() > bytes_max {
            return None;
        }
        let rank = *rank;
        self.by_voter.remove(&rank.1);
        self.ranked.remove(&rank).map(|(_, vote)| vote)
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.ranked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn when_full_the_voter_with_least_stake_loses() {
        let mut ballots = Ballots::default();
        for voter in 0..BALLOTS_MAX as u64 {
            assert_eq!(ballots.offer(10, samples::unsigned_vote(voter, 1)), Ok(false));
        }
        let newcomer = samples::unsigned_vote(u64::MAX, 1);
        assert_eq!(ballots.offer(9, newcomer.clone()), Err(DropReason::VotesFull));
        assert_eq!(ballots.offer(11, newcomer.clone()), Ok(true));
        assert_eq!((ballots.len(), ballots.by_voter.len()), (BALLOTS_MAX, BALLOTS_MAX));
        assert_eq!(ballots.take_best(9_999), Some(newcomer));
    }

    #[test]
    fn a_refreshed_vote_for_the_same_slot_is_taken() {
        let mut ballots = Ballots::default();
        assert_eq!(ballots.offer(1, samples::unsigned_vote(1, 5)), Ok(false));
        assert_eq!(ballots.offer(1, samples::unsigned_vote(1, 5)), Ok(false));
        assert_eq!(ballots.offer(1, samples::unsigned_vote(1, 4)), Err(DropReason::OldVote));
        assert_eq!(ballots.len(), 1);
    }
}

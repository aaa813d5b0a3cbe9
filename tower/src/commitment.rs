//! How far the cluster stands behind a block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use sundog_types::{Hash, Pubkey, Slot, stakes::EpochStakes};

/// Votes remembered per voter. A vote confirms its block within a few slots or not at all; a voter that
/// floods pushes out only its own older votes.
pub const MAX_VOTES_PER_VOTER: usize = 64;

/// Electorates kept: those of the root's epoch and of the next are fixed by the root, and a fork that is not rooted yet may
/// be some epochs ahead of it.
pub const MAX_ELECTORATES: usize = 8;

/// Share of stake that shows that a block has spread, exclusive (reference 8.6).
const PROPAGATED: f64 = 1.0 / 3.0;

/// Share of stake that settles which version of a block is the real one, exclusive (reference 8.8).
const DUPLICATE: f64 = 0.52;

/// Share of stake that confirms a block, exclusive (reference 8.9).
const OPTIMISTIC: f64 = 2.0 / 3.0;

/// How much of the stake voted for a block. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A third or less.
    Low,
    /// More than a third: some honest node has it, and no other version of it can be confirmed.
    Propagated,
    /// More than 52 %: no other version of it can get there.
    Duplicate,
    /// More than two thirds: confirmed.
    Optimistic,
}

/// What became of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It counts.
    New,
    /// The voter's vote for this block is counted already.
    Known,
    /// The voter has no stake in this epoch.
    Unstaked,
    /// The voter has [`MAX_VOTES_PER_VOTER`] newer votes, or the slot is below the root.
    Stale,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    /// With the block id that each told.
    voters: BTreeMap<Pubkey, Hash>,
    stake: u64,
}

/// Who counts from some slot on, and how much they have together.
#[derive(Clone, Debug, Default)]
struct Electorate {
    stakes: Arc<EpochStakes>,
    total: u64,
}

/// Counts votes for exact blocks, each by the stakes of its slot's epoch.
#[derive(Clone, Debug, Default)]
pub struct Commitment {
    root: Slot,
    /// By the first slot that each holds for: that of the root, and those after it that are known.
    electorates: BTreeMap<Slot, Electorate>,
    /// For a slot of which nothing is known.
    nobody: Electorate,
    tallies: BTreeMap<(Slot, Hash), Tally>,
    by_voter: BTreeMap<Pubkey, BTreeSet<(Slot, Hash)>>,
}

impl Commitment {
    /// Nothing counted yet above `root`.
    #[must_use]
    pub fn new(root: Slot) -> Self {
        Self { root, ..Self::default() }
    }

    /// Who counts from a slot on, and for how much. Votes that were counted are weighed again; `false` if nothing
    /// changed. The first ones count from the beginning. Full: the oldest are forgotten.
    pub fn set_electorate(&mut self, from: Slot, stakes: &Arc<EpochStakes>) -> bool {
        let known = &self.at(from).stakes;
        if Arc::ptr_eq(known, stakes) || known == stakes {
            return false;
        }
        let from = if self.electorates.is_empty() { Slot::ZERO } else { from };
        self.electorates.insert(from, Electorate { stakes: Arc::clone(stakes), total: stakes.total() });
        if self.electorates.len() > MAX_ELECTORATES {
            self.electorates.pop_first();
        }
        let mut tallies = std::mem::take(&mut self.tallies);
        for ((slot, _), tally) in tallies.range_mut((from, Hash::default())..) {
            let electorate = self.electorate(*slot);
            tally.voters.retain(|voter, _| electorate.of_vote_account(voter) > 0);
            tally.stake = tally.voters.keys().map(|v| electorate.of_vote_account(v)).sum();
        }
        tallies.retain(|_, tally| !tally.voters.is_empty());
        for (voter, votes) in &mut self.by_voter {
            votes.retain(|key| tallies.get(key).is_some_and(|tally| tally.voters.contains_key(voter)));
        }
        self.by_voter.retain(|_, votes| !votes.is_empty());
        self.tallies = tallies;
        true
    }

    fn at(&self, slot: Slot) -> &Electorate {
        self.electorates.range(..=slot).next_back().map_or(&self.nobody, |(_, electorate)| electorate)
    }

    /// Who counts for a block of `slot`.
    #[must_use]
    pub fn electorate(&self, slot: Slot) -> &EpochStakes {
        &self.at(slot).stakes
    }

    /// Whether a voter counts for any slot from the root on, as far as is known.
    #[must_use]
    pub fn has_stake(&self, voter: &Pubkey) -> bool {
        self.electorates.values().any(|electorate| electorate.stakes.of_vote_account(voter) > 0)
    }

    /// Counts a vote that tells no block id.
    pub fn count(&mut self, voter: Pubkey, slot: Slot, hash: Hash) -> Counted {
        self.count_version(voter, (slot, hash), Hash::default())
    }

    /// Counts a vote with the block id that it tells, or zero.
    pub fn count_version(&mut self, voter: Pubkey, key: (Slot, Hash), block_id: Hash) -> Counted {
        let stake = self.electorate(key.0).of_vote_account(&voter);
        if stake == 0 {
            return Counted::Unstaked;
        }
        if key.0 < self.root {
            return Counted::Stale;
        }
        let oldest_stake = self.by_voter.get(&voter).and_then(BTreeSet::first).map_or(0, |(oldest, _)| {
            // It may be of an epoch in which the voter had another stake.
            self.electorate(*oldest).of_vote_account(&voter)
        });
        let votes = self.by_voter.entry(voter).or_default();
        if votes.contains(&key) {
            let told = self.tallies.get_mut(&key).and_then(|tally| tally.voters.get_mut(&voter));
            if let Some(told) = told.filter(|told| **told == Hash::default()) {
                *told = block_id;
            }
            return Counted::Known;
        }
        if votes.len() >= MAX_VOTES_PER_VOTER {
            if votes.first().is_some_and(|oldest| key < *oldest) {
                return Counted::Stale;
            }
            if let Some(oldest) = votes.pop_first() {
                Self::withdraw(&mut self.tallies, oldest, &voter, oldest_stake);
            }
        }
        votes.insert(key);
        let tally = self.tallies.entry(key).or_default();
        tally.voters.insert(voter, block_id);
        tally.stake = tally.stake.saturating_add(stake);
        Counted::New
    }

    fn withdraw(tallies: &mut BTreeMap<(Slot, Hash), Tally>, key: (Slot, Hash), voter: &Pubkey, stake: u64) {
        let Some(tally) = tallies.get_mut(&key) else {
            return;
        };
        if tally.voters.remove(voter).is_some() {
            tally.stake = tally.stake.saturating_sub(stake);
        }
        if tally.voters.is_empty() {
            tallies.remove(&key);
        }
    }

    /// How much of the stake voted for exactly this block.
    #[must_use]
    pub fn level(&self, slot: Slot, hash: Hash) -> Level {
        let stake = self.tallies.get(&(slot, hash)).map_or(0, |tally| tally.stake);
        let above = |share: f64| stake > (self.total(slot) as f64 * share) as u64;
        match () {
            () if above(OPTIMISTIC) => Level::Optimistic,
            () if above(DUPLICATE) => Level::Duplicate,
            () if above(PROPAGATED) => Level::Propagated,
            () => Level::Low,
        }
    }

    /// Who voted for exactly this block, each with the block id of its vote; zero for one that told none.
    pub fn voters(&self, slot: Slot, hash: Hash) -> impl Iterator<Item = (&Pubkey, Hash)> + '_ {
        self.tallies
            .get(&(slot, hash))
            .into_iter()
            .flat_map(|tally| tally.voters.iter().map(|(voter, id)| (voter, *id)))
    }

    /// The versions of a slot's block that were voted for.
    pub fn versions(&self, slot: Slot) -> impl Iterator<Item = Hash> + '_ {
        let versions = (slot, Hash::default())..=(slot, Hash::new_from_array([u8::MAX; 32]));
        self.tallies.range(versions).map(|((_, hash), _)| *hash)
    }

    /// All stake that counts for a block of `slot`, in lamports.
    #[must_use]
    pub fn total(&self, slot: Slot) -> u64 {
        self.at(slot).total
    }

    /// The version of a slot's block that more than 52 % voted for.
    #[must_use]
    pub fn settled(&self, slot: Slot) -> Option<Hash> {
        self.versions(slot).find(|&hash| self.level(slot, hash) >= Level::Duplicate)
    }

    /// Forgets votes below `root`, and who counted for them alone. Whether anybody did.
    pub fn set_root(&mut self, root: Slot) -> bool {
        self.root = root;
        let holds_from = self.electorates.range(..=root).next_back().map(|(from, _)| *from);
        let before = self.electorates.len();
        self.electorates = self.electorates.split_off(&holds_from.unwrap_or_default());
        let first = (root, Hash::default());
        self.tallies = self.tallies.split_off(&first);
        for votes in self.by_voter.values_mut() {
            *votes = votes.split_off(&first);
        }
        self.by_voter.retain(|_, votes| !votes.is_empty());
        self.electorates.len() < before
    }

    /// How many votes are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_voter.values().map(BTreeSet::len).sum()
    }

    /// Whether no vote is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_voter.is_empty()
    }
}

/// Whether more than 52 % of `total` stake is behind a version of a block.
pub(crate) fn is_duplicate_confirmed(stake: u64, total: u64) -> bool {
    stake > (total as f64 * DUPLICATE) as u64
}

/// The newest slot that more than two thirds of `total` stake have at or below their root.
#[must_use]
pub fn supermajority_root(roots: impl IntoIterator<Item = (u64, Slot)>, total: u64) -> Option<Slot> {
    let mut roots: Vec<(Slot, u64)> = roots.into_iter().map(|(stake, slot)| (slot, stake)).collect();
    roots.sort_unstable();
    let mut behind = 0_u64;
    for (slot, stake) in roots.into_iter().rev() {
        behind = behind.saturating_add(stake);
        if behind > (total as f64 * OPTIMISTIC) as u64 {
            return Some(slot);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::stakes::VoteStake;

    fn key(number: u8) -> Pubkey {
        Pubkey::new_from_array([number; 32])
    }

    fn electorate(stakes: &[u64]) -> Arc<EpochStakes> {
        let voters = (1_u8..).zip(stakes).map(|(number, &stake)| {
            (key(number), VoteStake { node: key(number), authorized_voter: key(number), stake })
        });
        Arc::new(EpochStakes { by_vote_account: voters.collect() })
    }

    fn commitment(stakes: &[u64]) -> Commitment {
        let mut commitment = Commitment::new(Slot::new(0));
        commitment.set_electorate(Slot::ZERO, &electorate(stakes));
        commitment
    }

    const HASH: Hash = Hash::new_from_array([5; 32]);

    #[test]
    fn two_thirds_exactly_do_not_confirm() {
        let mut commitment = commitment(&[1_000, 1_000, 1_000]);
        for voter in 1..=2 {
            commitment.count(key(voter), Slot::new(4), HASH);
        }
        assert_eq!(commitment.level(Slot::new(4), HASH), Level::Duplicate);
        let voters: Vec<Pubkey> = commitment.voters(Slot::new(4), HASH).map(|(voter, _)| *voter).collect();
        assert_eq!(voters, [key(1), key(2)]);
        assert_eq!(commitment.settled(Slot::new(4)), Some(HASH));
        commitment.count(key(3), Slot::new(4), HASH);
        assert_eq!(commitment.level(Slot::new(4), HASH), Level::Optimistic);
    }

    #[test]
    fn a_vote_counts_once_and_only_with_stake() {
        let mut commitment = commitment(&[10]);
        assert_eq!(commitment.count(key(1), Slot::new(4), HASH), Counted::New);
        assert_eq!(commitment.count(key(1), Slot::new(4), HASH), Counted::Known);
        assert_eq!(commitment.count(key(2), Slot::new(4), HASH), Counted::Unstaked);
        commitment.set_root(Slot::new(9));
        assert_eq!(commitment.count(key(1), Slot::new(4), HASH), Counted::Stale);
        assert!(commitment.is_empty());
    }

    #[test]
    fn more_than_a_third_is_a_level_of_its_own_and_the_version_voted_for_is_kept() {
        let mut commitment = commitment(&[34, 33, 33]);
        let block = (Slot::new(4), HASH);
        commitment.count(key(1), block.0, block.1);
        assert_eq!(commitment.level(block.0, block.1), Level::Propagated);
        assert_eq!(commitment.count_version(key(1), block, Hash::new_from_array([8; 32])), Counted::Known);
        let told: Vec<Hash> = commitment.voters(block.0, block.1).map(|(_, id)| id).collect();
        assert_eq!(told, [Hash::new_from_array([8; 32])], "what the chain could not tell, gossip did");
    }

    #[test]
    fn a_flooding_voter_pushes_out_only_its_own_votes() {
        let mut commitment = commitment(&[10, 10, 1]);
        for voter in 1..=2 {
            commitment.count(key(voter), Slot::new(4), HASH);
        }
        assert_eq!(commitment.level(Slot::new(4), HASH), Level::Optimistic);
        for slot in 1_000..9_000 {
            commitment.count(key(3), Slot::new(slot), HASH);
        }
        assert_eq!(commitment.len(), 2 + MAX_VOTES_PER_VOTER);
        assert_eq!(commitment.level(Slot::new(4), HASH), Level::Optimistic);
        assert_eq!(commitment.count(key(3), Slot::new(5), HASH), Counted::Stale);
    }

    #[test]
    fn a_new_electorate_weighs_old_votes_again() {
        let mut commitment = commitment(&[10, 30]);
        commitment.count(key(1), Slot::new(4), HASH);
        assert_eq!(commitment.level(Slot::new(4), HASH), Level::Low);
        assert!(commitment.set_electorate(Slot::ZERO, &electorate(&[30, 10])));
        assert_eq!(commitment.level(Slot::new(4), HASH), Level::Optimistic);
    }

    #[test]
    fn each_vote_weighs_what_its_slots_epoch_says() {
        let mut commitment = commitment(&[10, 30]);
        let (old, new) = (Slot::new(99), Slot::new(100));
        assert!(commitment.set_electorate(new, &electorate(&[30, 0, 10])));
        assert!(!commitment.set_electorate(Slot::new(140), &electorate(&[30, 0, 10])), "the same goes on");
        for voter in 1..=3 {
            commitment.count(key(voter), old, HASH);
            commitment.count(key(voter), new, HASH);
        }
        let voters = |commitment: &Commitment, slot| commitment.voters(slot, HASH).count();
        assert_eq!((voters(&commitment, old), voters(&commitment, new)), (2, 2));
        assert_eq!((commitment.total(old), commitment.total(new)), (40, 40));
        let mut first_alone = Commitment::new(Slot::ZERO);
        first_alone.set_electorate(Slot::ZERO, &electorate(&[10, 30]));
        first_alone.count(key(1), old, HASH);
        first_alone.count(key(1), new, HASH);
        assert_eq!([old, new].map(|slot| first_alone.level(slot, HASH)), [Level::Low, Level::Low]);
        first_alone.set_electorate(new, &electorate(&[30, 0, 10]));
        assert_eq!([old, new].map(|slot| first_alone.level(slot, HASH)), [Level::Low, Level::Optimistic]);
        assert!(first_alone.has_stake(&key(2)), "for the slots below");
        first_alone.set_root(new);
        assert!(!first_alone.has_stake(&key(2)) && first_alone.has_stake(&key(3)));
    }

    #[test]
    fn the_oldest_electorates_are_forgotten_when_there_are_too_many() {
        let mut commitment = commitment(&[1]);
        for from in 1..=2 * MAX_ELECTORATES as u64 {
            assert!(commitment.set_electorate(Slot::new(from * 100), &electorate(&[1 + from])));
        }
        assert_eq!(commitment.electorates.len(), MAX_ELECTORATES);
        assert_eq!((commitment.total(Slot::new(99)), commitment.total(Slot::new(1_699))), (0, 17));
    }

    #[test]
    fn the_supermajority_root_is_the_newest_that_two_thirds_passed() {
        let roots = [(1_000, Slot::new(9)), (600, Slot::new(7)), (400, Slot::new(8))];
        assert_eq!(supermajority_root(roots, 2_000), Some(Slot::new(8)));
        assert_eq!(supermajority_root(roots[..1].to_vec(), 2_000), None);
    }
}

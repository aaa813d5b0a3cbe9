//! When this node and the others disagree: about what a block does, or about what was confirmed.
//!
//! Two bank hashes for one slot are either two versions of the block, which fetching the other one resolves, or two
//! results of the same block, which nothing resolves. Votes name the version by its block id, so that the two can be
//! told apart.

use super::{Consensus, MAX_MARKED_SLOTS};
use crate::block::Effect;
use crate::commitment::Level;
use crate::fork_choice::BlockKey;
use sundog_types::{Effects, Hash, Pubkey, Slot};

/// Slots that the votes for a block are given to arrive before more than a third for another result is the last word:
/// the two thirds that have this node's may only be slower.
const SETTLING_SLOTS: u64 = 8;

/// Share of stake for another result that leaves too little for this node's to be settled, exclusive.
const HOPELESS: f64 = 0.48;

/// Another result for a block than this node has.
struct Dissent {
    theirs: Hash,
    voters: Vec<Pubkey>,
    stake: u64,
}

impl Consensus {
    /// More than a third of the stake has another result for the very block that is executed here. With `blind`, votes
    /// that do not tell the version count too.
    fn dissent(&self, slot: Slot, blind: bool) -> Option<Dissent> {
        let kept = self.forks.get(slot).filter(|kept| kept.block_id != Hash::default())?;
        let same = |id: Hash| id == kept.block_id || (blind && id == Hash::default());
        let others = self.commitment.versions(slot).filter(|hash| *hash != kept.hash);
        let dissents = others.map(|theirs| {
            let voters = self.commitment.voters(slot, theirs).filter(|(_, id)| same(*id));
            let voters: Vec<Pubkey> = voters.map(|(voter, _)| *voter).collect();
            let electorate = self.commitment.electorate(slot);
            let stake = voters.iter().map(|voter| electorate.of_vote_account(voter)).fold(0, u64::saturating_add);
            Dissent { theirs, voters, stake }
        });
        let most = dissents.max_by_key(|dissent| dissent.stake)?;
        (u128::from(most.stake) * 3 > u128::from(self.commitment.total(slot))).then_some(most)
    }

    /// Whether others executed the block of `slot` with another result; it is judged when their votes had time.
    pub(super) fn suspect(&mut self, slot: Slot) -> bool {
        let suspicious = self.dissent(slot, false).is_some();
        if suspicious {
            self.suspects.insert(slot);
        }
        suspicious
    }

    /// Stops voting for good if the others have another result for a block than this node.
    pub(super) fn judge(&mut self, out: &mut Effects<Effect>) {
        for slot in std::mem::take(&mut self.suspects) {
            let Some(dissent) = self.dissent(slot, false).filter(|_| self.diverged.is_none()) else {
                continue;
            };
            let ours = self.key_of(slot).map_or(Level::Low, |(slot, hash)| self.commitment.level(slot, hash));
            if ours >= Level::Duplicate {
                continue;
            }
            let had_time = self.forks.highest() >= slot.saturating_add(SETTLING_SLOTS);
            if had_time || dissent.stake as f64 > self.commitment.total(slot) as f64 * HOPELESS {
                self.diverge(slot, out);
            } else {
                self.suspects.insert(slot);
            }
        }
    }

    /// Tells of the first block with two results: all that is built on it has two as well.
    fn diverge(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        let below = self.forks.ancestors(slot).filter(|slot| *slot > self.forks.root());
        let first = below.filter_map(|slot| Some((slot, self.dissent(slot, true)?))).last();
        let found = first.or_else(|| Some((slot, self.dissent(slot, false)?)));
        let Some((slot, Dissent { theirs, voters, stake })) = found else {
            return;
        };
        let ours = self.key_of(slot).map_or_else(Hash::default, |(_, hash)| hash);
        self.diverged = Some(slot);
        out.push(Effect::Diverged { slot, ours, theirs, stake, total: self.commitment.total(slot), voters });
    }

    /// Remembers that more than two thirds voted for a block, executed here or not.
    pub(super) fn note_optimistic(&mut self, key: BlockKey) {
        self.optimistic.insert(key);
        if self.optimistic.len() > MAX_MARKED_SLOTS {
            self.optimistic.pop_first();
        }
    }

    /// Tells of confirmed blocks that a root leaves behind. To be asked while the tree still holds what is below it.
    pub(super) fn abandon(&mut self, root: Slot, out: &mut Effects<Effect>) {
        let above = self.optimistic.split_off(&(root.next(), Hash::default()));
        for (slot, hash) in std::mem::replace(&mut self.optimistic, above) {
            let on_chain = slot == root || self.forks.is_ancestor(slot, root);
            if slot > self.forks.root() && !(on_chain && self.key_of(slot) == Some((slot, hash))) {
                self.metrics.abandoned += 1;
                out.push(Effect::Abandoned { slot, hash, root });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Block, Input, RootBlock, VoterState};
    use crate::consensus::ConsensusConfig;
    use std::sync::Arc;
    use sundog_types::stakes::{EpochStakes, VoteStake};
    use sundog_types::{Machine as _, Now, sign};

    const NOW: Now = Now { mono_us: 0, unix_ms: 0 };

    fn hash(version: u8, slot: u64) -> Hash {
        let mut bytes = [version; 32];
        bytes[..8].copy_from_slice(&slot.to_le_bytes());
        Hash::new_from_array(bytes)
    }

    fn account(number: u8) -> Pubkey {
        Pubkey::new_from_array([number; 32])
    }

    /// However many blocks have another result elsewhere, those that wait to be judged are in the tree and young.
    #[test]
    fn suspects_are_no_more_than_the_slots_that_votes_are_waited_for() {
        let stakes = [40, 60];
        let voters = (1_u8..).zip(stakes).map(|(number, stake)| {
            (account(number), VoteStake { node: account(number), authorized_voter: account(number), stake })
        });
        let stakes = Arc::new(EpochStakes { by_vote_account: voters.collect() });
        let root = RootBlock { slot: Slot::ZERO, hash: hash(0, 0) };
        let signer = Arc::new(sign::Identity::new(solana_keypair::Keypair::new_from_array([7; 32])));
        let mut machine = Consensus::new(ConsensusConfig::default(), None, root, None, signer);
        let mut out = Vec::new();
        let mut most = 0;
        for slot in 1..=400 {
            let state = |(vote_account, vote): (&Pubkey, &VoteStake)| VoterState {
                vote_account: *vote_account,
                stake: vote.stake,
                lockouts: Vec::new(),
                root: None,
                last_timestamp: 0,
            };
            let block = Block {
                slot: Slot::new(slot),
                parent: Slot::new(slot - 1),
                parent_hash: hash(0, slot - 1),
                hash: hash(0, slot),
                block_id: hash(1, slot),
                mine: false,
                votes: stakes.by_vote_account.iter().map(state).collect(),
                total_stake: 100,
                epoch_stakes: Arc::clone(&stakes),
            };
            machine.handle(NOW, Input::Frozen(block), &mut out);
            let (vote_account, slot) = (account(1), Slot::new(slot));
            let vote = Input::VoteSeen { vote_account, slot, hash: hash(9, slot.get()), block_id: hash(1, slot.get()) };
            machine.handle(NOW, vote, &mut out);
            most = most.max(machine.suspects.len() as u64);
            if slot.get() == SETTLING_SLOTS {
                assert_eq!(machine.diverged(), None, "the others may only be slower");
            }
        }
        assert_eq!(most, SETTLING_SLOTS);
        assert_eq!(machine.diverged(), Some(Slot::new(1)));
        assert!(machine.suspects.is_empty(), "once it is known, nothing more is suspected: {:?}", machine.suspects);
    }
}

//! What comes in: blocks, marks and votes, each bounded and checked for what a bug or a liar could do.

use super::{Consensus, MAX_MARKED_SLOTS};
use crate::block::{Block, Effect, VoterState};
use crate::commitment::{Counted, Level, is_duplicate_confirmed};
use crate::consensus::kept::Kept;
use crate::fork_choice::BlockKey;
use crate::lockouts::Lockouts;
use crate::metrics::DropReason;
use crate::switch::Switch;
use crate::threshold;
use crate::tower::Tower;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use sundog_types::{Effects, Hash, Now, Pubkey, Slot, stakes::EpochStakes, vote::VoteOnWire};

/// While the last vote's fork may not be left, votes that are heard of are looked at together, so often: any may be the
/// proof that is missing.
const DECIDE_AGAIN: Duration = Duration::from_millis(100);

impl Consensus {
    pub(super) fn frozen(&mut self, now: Now, block: Block, out: &mut Effects<Effect>) {
        if let Err(why) = self.admit(&block) {
            return self.metrics.drop(why);
        }
        let key = (block.slot, block.hash);
        let parent = self.forks.get_mut(block.parent).expect("admitted");
        let parent_key = (block.parent, parent.hash);
        let parent_own = parent.newest_own;
        let kept = Kept::new(&block, parent, self.vote_account);
        parent.intervals = Vec::new();
        self.forks.insert(block.slot, block.parent, kept);
        self.choice.add(key, parent_key);
        let below = parent_own.filter(|own| *own > self.forks.root());
        self.metrics.blocks += 1;
        self.epoch(block.slot, &block.epoch_stakes);
        if self.duplicates.contains(&block.slot) {
            self.choice.mark_invalid(&key);
        }
        self.spread(&block, below);
        self.count_landed(&block, out);
        self.confirm_under(block.slot);
        self.weigh(key, out);
        if let Some(chosen) = self.commitment.settled(block.slot).filter(|hash| *hash != block.hash) {
            // Its votes were here before the block.
            self.weigh((block.slot, chosen), out);
        }
        if let Some(own) = block.votes.iter().find(|v| Some(v.vote_account) == self.vote_account) {
            self.own_vote(own);
        }
        self.note_roots(&block);
        self.settle(out);
        self.decide(now, out);
        self.refresh(now, out);
    }

    /// Whose votes for slots from `first` on count, and for how much.
    pub(super) fn epoch(&mut self, first: Slot, stakes: &Arc<EpochStakes>) {
        if self.commitment.set_electorate(first, stakes) {
            self.forget_unstaked();
        }
    }

    /// Forgets the votes of those who have no stake from the root on.
    pub(super) fn forget_unstaked(&mut self) {
        let Self { commitment, heard, choice, .. } = self;
        heard.retain(|voter, _| commitment.has_stake(voter));
        choice.retain_voters(|voter| commitment.has_stake(voter));
    }

    /// Watches an own block, and counts whoever voted for the block before it was executed here.
    fn spread(&mut self, block: &Block, below: Option<Slot>) {
        if block.mine {
            self.propagation.watch(block.slot, below);
            if let Some(account) = self.vote_account {
                self.propagation.support(block.slot, &account, self.commitment.electorate(block.slot));
            }
        }
        let Some(own) = self.newest_own(block.slot).filter(|own| self.propagation.is_waiting(*own)) else {
            return;
        };
        for (voter, _) in self.commitment.voters(block.slot, block.hash) {
            self.propagation.support(own, voter, self.commitment.electorate(own));
        }
    }

    /// Whoever has the block of `slot` has the own blocks below it. Whether that makes one propagated.
    fn has_block(&mut self, slot: Slot, voter: &Pubkey) -> bool {
        let Some(own) = self.newest_own(slot).filter(|own| self.propagation.is_waiting(*own)) else {
            return false;
        };
        self.propagation.support(own, voter, self.commitment.electorate(own));
        !self.propagation.is_waiting(own)
    }

    pub(super) fn announced(&mut self, now: Now, node: Pubkey, slot: Slot, out: &mut Effects<Effect>) {
        if self.is_propagated(slot) {
            return;
        }
        let accounts = self.commitment.electorate(slot).by_vote_account.iter().filter(|(_, vote)| vote.node == node);
        let accounts: Vec<Pubkey> = accounts.map(|(account, _)| *account).collect();
        // Once it is enough, nobody else's say is of interest.
        if accounts.iter().any(|account| self.has_block(slot, account)) {
            self.decide(now, out);
        }
    }

    /// Whether a block has a place in the tree; makes one if the tree is full.
    fn admit(&mut self, block: &Block) -> Result<(), DropReason> {
        if block.slot <= self.forks.root() {
            return Err(DropReason::BelowRoot);
        }
        if let Some(known) = self.forks.get(block.slot) {
            let same = known.hash == block.hash;
            return Err(if same { DropReason::Known } else { DropReason::OtherVersion });
        }
        let parent = self.forks.get(block.parent).filter(|parent| parent.hash == block.parent_hash);
        if parent.is_none() || block.parent >= block.slot {
            return Err(DropReason::UnknownParent);
        }
        if self.forks.len() < self.config.max_blocks {
            return Ok(());
        }
        let needed =
            [block.parent, self.choice.best_overall().0, self.reset.0, self.last_vote().unwrap_or(self.forks.root())];
        let mut leaves = self.forks.leaves().map(|(slot, _)| slot);
        let leaf = leaves.find(|slot| !needed.contains(slot)).ok_or(DropReason::TreeFull)?;
        drop(leaves);
        self.remove_leaf(leaf);
        self.metrics.evicted += 1;
        Ok(())
    }

    /// Forgets a block that nothing is built on. A block below it that becomes a tip knows from then on what it knew of
    /// votes for itself and below: they bind, whichever block told of them, and may be what allows to leave a fork.
    pub(super) fn remove_leaf(&mut self, leaf: Slot) {
        let parent = self.forks.ancestors(leaf).next();
        let Some(mut kept) = self.forks.remove_leaf(leaf) else { return };
        self.choice.remove_leaf(&(leaf, kept.hash));
        let Some(parent) = parent.filter(|parent| self.forks.is_leaf(*parent)) else { return };
        kept.intervals.retain(|vote| vote.start <= parent);
        self.forks.get_mut(parent).expect("it is a leaf").intervals = kept.intervals;
    }

    /// Counts the newest vote of every account in the block: for the fork choice and as confirmation. On
    /// chain a vote carries no hash any more; it was checked against the block's own ancestors.
    fn count_landed(&mut self, block: &Block, out: &mut Effects<Effect>) {
        let voters = || block.votes.iter().filter(|voter| voter.stake > 0);
        let newest = |voter: &VoterState| {
            let slot = Slot::new(voter.lockouts.last()?.0);
            Some((voter.vote_account, self.key_of(slot)?))
        };
        // Walked once, not for every voter: of those who are away, the votes lie deep.
        let line: BTreeSet<Slot> = self.forks.ancestors(block.slot).collect();
        let votes: Vec<(Pubkey, BlockKey)> =
            voters().filter_map(newest).filter(|(_, key)| line.contains(&key.0)).collect();
        let Self { choice, commitment, .. } = &mut *self;
        choice.vote(votes.iter().copied(), |voter, slot| commitment.electorate(slot).of_vote_account(voter));
        for (voter, key) in votes {
            self.has_block(key.0, &voter);
            if self.commitment.count(voter, key.0, key.1) == Counted::New {
                self.weigh(key, out);
            }
        }
    }

    /// Takes over the account's tower if it holds votes that are not known and the operator said so.
    pub(super) fn own_vote(&mut self, own: &VoterState) {
        if !self.standing.seen(&Lockouts::from_parts(&own.lockouts, own.root)) {
            return;
        }
        if self.pending.is_some() {
            self.unclaimed = Some(own.clone());
        } else {
            self.take_over(own);
        }
    }

    /// Makes the account's tower the own one if it is newer. What only the own one had promised is waited for.
    pub(super) fn take_over(&mut self, own: &VoterState) {
        let mut stack = Lockouts::from_parts(&own.lockouts, own.root);
        if stack.last_voted() <= self.tower.lockouts().last_voted() {
            return;
        }
        self.standing.wait_for(self.tower.lockouts());
        let floor = self.tower.lockouts().root().max(Some(self.forks.root()));
        stack.raise_root(floor.expect("the tree has a root"), |vote| vote.confirmations as usize > threshold::DEPTH);
        self.durable_root = stack.root();
        let last_slot = stack.last_voted().unwrap_or_default();
        let hash = self.key_of(last_slot).map_or_else(Hash::default, |(_, hash)| hash);
        let last_vote = VoteOnWire {
            vote_account: own.vote_account,
            slots: stack.to_parts(),
            root: stack.root().map(Slot::get),
            hash,
            block_id: Hash::default(),
            timestamp: Some(own.last_timestamp),
            switch: false,
        };
        let timestamp = own.last_timestamp.max(self.tower.last_timestamp());
        // Without the hash it could not be sent again; but it has landed, so it need not be.
        let last_vote = Some(last_vote).filter(|_| hash != Hash::default());
        self.tower = Tower::restore(stack, last_vote, timestamp);
        self.metrics.adopted += 1;
    }

    pub(super) fn dead(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        if slot <= self.forks.root() {
            return self.metrics.drop(DropReason::BelowRoot);
        }
        if self.forks.contains(slot) || !mark(&mut self.dead, slot) {
            return self.metrics.drop(DropReason::Known);
        }
        if let Some(hash) = self.commitment.settled(slot) {
            self.tell_other_version((slot, hash), out);
        }
    }

    pub(super) fn duplicate(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        if slot <= self.forks.root() {
            return self.metrics.drop(DropReason::BelowRoot);
        }
        if !mark(&mut self.duplicates, slot) {
            return self.metrics.drop(DropReason::Known);
        }
        if let Some(key) = self.key_of(slot) {
            self.choice.mark_invalid(&key);
            self.decide(now, out);
        }
    }

    pub(super) fn vote_seen(
        &mut self,
        now: Now,
        voter: Pubkey,
        (key, block_id): (BlockKey, Hash),
        out: &mut Effects<Effect>,
    ) {
        match self.commitment.count_version(voter, key, block_id) {
            Counted::New => self.metrics.votes_heard += 1,
            Counted::Known => return self.metrics.drop(DropReason::Known),
            Counted::Unstaked => return self.metrics.drop(DropReason::Unstaked),
            Counted::Stale => return self.metrics.drop(DropReason::Stale),
        }
        let newest = self.heard.entry(voter).or_insert(key);
        *newest = key.max(*newest);
        let spread = self.has_block(key.0, &voter);
        let held = self.decision.as_ref().is_some_and(|decision| matches!(decision.switch, Switch::Failed { .. }));
        let again = held && self.decided.is_none_or(|at| now.since(at) >= DECIDE_AGAIN);
        if self.weigh(key, out) || spread || again || !self.suspects.is_empty() {
            self.decide(now, out);
        }
    }

    /// Draws the consequences of a new vote for a block, or of the block itself: which version is the real
    /// one, and whether it is confirmed. Whether the fork choice changed is told.
    pub(super) fn weigh(&mut self, key: BlockKey, out: &mut Effects<Effect>) -> bool {
        let (slot, hash) = key;
        let level = self.commitment.level(slot, hash);
        if level < Level::Propagated || slot <= self.forks.root() {
            return false;
        }
        let own = self.key_of(slot);
        let diverges = own.is_some_and(|own| own != key) && self.suspect(slot);
        if level == Level::Optimistic {
            self.note_optimistic(key);
        }
        if diverges || level < Level::Duplicate {
            return false;
        }
        match own {
            Some(own) if own == key => {}
            // Two versions have 52 % only if more than 4 % of the stake lies. The first that was seen with them stays, or
            // the two would be exchanged for each other for ever.
            Some(own) if self.commitment.level(slot, own.1) >= Level::Duplicate => return false,
            Some(_) => {
                self.tell_other_version(key, out);
                return false;
            }
            None => {
                if self.dead.contains(&slot) {
                    self.tell_other_version(key, out);
                }
                return false;
            }
        }
        if level == Level::Optimistic && slot > self.confirmed {
            self.confirmed = slot;
            out.push(Effect::Confirmed { slot, hash });
        }
        // Once it is confirmed, every further vote for it would walk all above it for nothing.
        let confirmed = self.choice.get(&key).is_some_and(|standing| standing.duplicate_confirmed);
        !confirmed && !self.choice.mark_valid(&key).is_empty()
    }

    /// Confirms the newest block under a tip that the tip's bank knows more than 52 % of the stake to stand behind,
    /// whichever of its descendants each of them voted for (reference 8.8). Voters who follow each other up a fork may
    /// never meet in one slot, and without this a duplicate deep under all of them would stay out of the fork choice.
    fn confirm_under(&mut self, tip: Slot) {
        let Some(kept) = self.forks.get(tip) else { return };
        let settled = |slot: &Slot| is_duplicate_confirmed(kept.voted(*slot), kept.total);
        let bound = self.forks.ancestors(tip).find(settled);
        // A bank forgets votes that bind no more. When blocks are few, all may have run out before the next one came, and
        // nobody would ever confirm what everybody stands on; but the newest votes of all that landed are known.
        let behind = |slot: &Slot| {
            let standing = self.key_of(*slot).and_then(|key| self.choice.get(&key));
            standing.is_some_and(|standing| is_duplicate_confirmed(standing.stake_subtree, kept.total))
        };
        let open = self.duplicates.range(bound.unwrap_or_default()..tip).rev();
        let latest = open.copied().filter(|slot| self.forks.is_ancestor(*slot, tip)).find(behind);
        let Some(key) = bound.max(latest).and_then(|slot| self.key_of(slot)) else { return };
        if self.choice.get(&key).is_some_and(|standing| !standing.duplicate_confirmed) {
            self.choice.mark_valid(&key);
        }
    }

    fn tell_other_version(&mut self, (slot, hash): BlockKey, out: &mut Effects<Effect>) {
        if mark(&mut self.told_versions, slot) {
            out.push(Effect::OtherVersion { slot, hash });
        }
    }
}

/// Remembers a slot; `false` if it is known. Full: the oldest goes.
fn mark(slots: &mut BTreeSet<Slot>, slot: Slot) -> bool {
    let new = slots.insert(slot);
    if slots.len() > MAX_MARKED_SLOTS {
        slots.pop_first();
    }
    new
}

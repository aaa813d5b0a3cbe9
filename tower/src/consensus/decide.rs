//! Where to build, and whether to vote: the heaviest block against everything that was promised.

use super::{Consensus, MAX_LANDING_BLOCKS, Pending};
use crate::block::Effect;
use crate::decision::{Decision, Reset, Verdict};
use crate::fork_choice::BlockKey;
use crate::metrics::DropReason;
use crate::saved::SavedTower;
use crate::switch::{self, Switch};
use crate::tower::{Abstain, Ballot};
use sundog_types::{Effects, Hash, Now, Pubkey, Slot};

impl Consensus {
    /// Chooses the block to build on, and votes for the heaviest block if every promise allows it.
    pub(super) fn decide(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.judge(out);
        let best = self.choice.best_overall();
        let switch = self.switch_to(best);
        let (build_on, reset) = self.build_on(best, switch);
        let revives = self.revives(build_on, reset);
        let (candidate, proof) = if revives { (build_on, Switch::SameFork) } else { (best, switch) };
        let vote = self.verdict(candidate.0, proof);
        self.decided = Some(now);
        self.decision = Some(Decision { best, switch, vote, build_on, reset });
        self.reset_to(build_on, reset, out);
        match (vote, self.vote_account) {
            (Verdict::Vote(_), Some(account)) => {
                self.metrics.super_refreshed += u64::from(revives);
                self.cast(now, account, (candidate, proof == Switch::Proven), out);
            }
            (Verdict::Abstain(Abstain::NotNewer { .. }), _) => {}
            (Verdict::Abstain(why), _) => self.abstain(candidate.0, why, out),
            _ => {}
        }
    }

    fn verdict(&self, slot: Slot, switch: Switch) -> Verdict {
        if self.pending.is_some() {
            return Verdict::Saving;
        }
        let has_account = self.forks.get(slot).is_some_and(|kept| kept.own.is_some());
        if slot <= self.forks.root() || self.vote_account.is_none() || !has_account {
            return Verdict::Nothing;
        }
        self.may_vote(slot, switch).map_or_else(Verdict::Abstain, |()| Verdict::Vote(slot))
    }

    fn abstain(&mut self, slot: Slot, why: Abstain, out: &mut Effects<Effect>) {
        if self.told != Some((slot, why.index())) {
            self.told = Some((slot, why.index()));
            self.metrics.abstained[why.index()] += 1;
            out.push(Effect::Abstained { slot, why });
        }
    }

    fn reset_to(&mut self, key: BlockKey, why: Reset, out: &mut Effects<Effect>) {
        if self.reset != key {
            self.reset = key;
            self.metrics.resets += 1;
            self.metrics.resets_by[why.index()] += 1;
            out.push(Effect::Reset { slot: key.0 });
        }
    }

    /// The block to build on, and why: the table is at [`Reset`].
    fn build_on(&self, best: BlockKey, switch: Switch) -> (BlockKey, Reset) {
        let lost = self.last_vote().filter(|_| self.last_vote_is_lost());
        match switch {
            Switch::SameFork => (best, Reset::Heaviest),
            Switch::Proven if lost == Some(best.0) => (best, Reset::OtherVersion),
            Switch::Proven if lost.is_some() => (best, Reset::Purged),
            Switch::Proven => (best, Reset::Switched),
            Switch::Rollback { duplicate } => (best, Reset::Rollback { duplicate }),
            Switch::Failed { .. } => match self.last_vote_key().and_then(|key| self.choice.get(&key)) {
                Some(standing) if standing.is_candidate() => (standing.best, Reset::OwnFork),
                Some(standing) => (standing.deepest, Reset::Deepest),
                // The reference builds on nothing new then; but a block on the heaviest fork breaks no promise.
                None => (best, Reset::Stray),
            },
        }
    }

    /// Whether the last vote's block was thrown away because the cluster chose another version of it.
    fn last_vote_is_lost(&self) -> bool {
        let Some(last) = self.last_vote().filter(|_| self.last_vote_key().is_none()) else {
            return false;
        };
        self.purged.as_ref().is_some_and(|purged| purged.slot == last) || self.is_chosen_elsewhere(last)
    }

    /// Whether the cluster chose the version of a slot that is here, which is not the one voted for.
    fn is_chosen_elsewhere(&self, last: Slot) -> bool {
        self.key_of(last).and_then(|key| self.choice.get(&key)).is_some_and(|standing| standing.duplicate_confirmed)
    }

    /// Whether the last vote's fork may be left for the heaviest block.
    fn switch_to(&self, best: BlockKey) -> Switch {
        let (Some(last_vote), Some(kept)) = (self.last_vote(), self.forks.get(best.0)) else {
            return Switch::SameFork;
        };
        let key = self.last_vote_key();
        if key.is_some() && (best.0 == last_vote || self.forks.is_ancestor(last_vote, best.0)) {
            return Switch::SameFork;
        }
        if self.last_vote_is_lost() {
            let purged = self.purged.as_ref();
            if let Some(purged) = purged.filter(|purged| purged.under.contains(&best.0)) {
                return Switch::Rollback { duplicate: purged.duplicate };
            }
            // The version voted for can never be confirmed: nothing is left behind (reference 8.5.4). If it is only
            // said so, the promise stands until enough of the others are seen to be bound elsewhere.
            if purged.is_none_or(|purged| purged.proven) || self.is_chosen_elsewhere(last_vote) {
                return Switch::Proven;
            }
        }
        let standing = key.and_then(|key| self.choice.get(&key));
        let duplicate = standing.and_then(|standing| standing.latest_invalid_ancestor);
        let known = |(_, key): &(_, &BlockKey)| self.key_of(key.0) == Some(**key);
        let heard = self.heard.iter().filter(known).map(|(v, key)| (*v, key.0)).collect();
        let tips = self.forks.leaves().map(|(slot, kept)| (slot, kept.intervals.as_slice()));
        switch::check(&switch::Question {
            parents: &|slot| self.forks.ancestors(slot).next(),
            root: self.forks.root(),
            last_vote,
            known: key.is_some(),
            purged: self.purged.as_ref().filter(|purged| purged.slot == last_vote).map(|purged| &purged.under),
            candidate: best.0,
            duplicate,
            tips: tips.collect(),
            heard: &heard,
            stakes: &kept.stakes,
            total: kept.total,
        })
    }

    /// Whether the last vote can land no more, not even when it is sent again, while its fork may not be left: then the
    /// tip of that fork is voted for instead, which binds no longer than what was promised (reference 8.5.5).
    fn revives(&self, tip: BlockKey, reset: Reset) -> bool {
        let Some(last) = self.last_vote().filter(|last| reset == Reset::OwnFork && *last < tip.0) else {
            return false;
        };
        let landed = self.landed_in(tip.0);
        let expired = self.height(tip.0).saturating_sub(self.height(last)) > MAX_LANDING_BLOCKS;
        expired && landed.is_some_and(|landed| landed < last)
    }

    /// The newest own vote that a block knows.
    pub(super) fn landed_in(&self, tip: Slot) -> Option<Slot> {
        let own = self.forks.get(tip)?.own.as_ref()?;
        own.lockouts.last().map(|(slot, _)| Slot::new(*slot))
    }

    /// Blocks between a known block and the one of the start.
    pub(super) fn height(&self, slot: Slot) -> u64 {
        self.forks.get(slot).map_or(0, |kept| kept.height)
    }

    fn may_vote(&self, slot: Slot, switch: Switch) -> Result<(), Abstain> {
        self.standing.allows(slot)?;
        if let Switch::Rollback { duplicate } = switch {
            // An ancestor of the last vote is no newer either; but this says why it is the candidate.
            return Err(Abstain::Rollback { duplicate });
        }
        let checks = self.config.checks;
        let is_ancestor = |old| !checks.lockout || self.forks.is_ancestor(old, slot);
        self.tower.allows(slot, is_ancestor)?;
        if let Some(slot) = self.diverged {
            return Err(Abstain::Diverged { slot });
        }
        match switch {
            Switch::SameFork | Switch::Proven | Switch::Rollback { .. } => {}
            Switch::Failed { .. } if !checks.switch => {}
            Switch::Failed { stake, total } => return Err(Abstain::Switch { stake, total }),
        }
        let kept = self.forks.get(slot).expect("the candidate is in the tree");
        if checks.threshold {
            self.tower.supported(slot, |voted| kept.voted(voted), kept.total)?;
        }
        let own = self.newest_own(slot).filter(|_| checks.propagation && !kept.mine);
        match own.and_then(|own| Some((own, self.propagation.spread(own)?))) {
            Some((own, spread)) if !spread.enough => {
                Err(Abstain::Propagation { own, stake: spread.stake, total: spread.total })
            }
            _ => Ok(()),
        }
    }

    fn cast(&mut self, now: Now, account: Pubkey, (block, switch): (BlockKey, bool), out: &mut Effects<Effect>) {
        let kept = self.forks.get(block.0).expect("the candidate is in the tree");
        let block_id = if kept.mine { Hash::default() } else { kept.block_id };
        let ballot = Ballot { slot: block.0, hash: block.1, block_id, switch };
        let seconds = i64::try_from(now.unix_ms / 1_000).unwrap_or(i64::MAX);
        let vote = self.tower.cast(account, ballot, seconds);
        self.standing.voted(self.tower.lockouts());
        self.purged = None;
        self.metrics.votes += 1;
        self.metrics.switches += u64::from(switch);
        self.next_save += 1;
        let id = self.next_save;
        let bytes = SavedTower::of(&self.tower).encode(&*self.signer);
        self.pending = Some(Pending { id, slot: block.0, vote });
        out.push(Effect::Save { id, bytes });
    }

    /// The tower is durable: the vote may leave, and the root that it made stands.
    pub(super) fn saved(&mut self, now: Now, id: u64, out: &mut Effects<Effect>) {
        let Some(pending) = self.pending.take_if(|pending| pending.id == id) else {
            return self.metrics.drop(DropReason::Known);
        };
        let Pending { slot, vote, .. } = pending;
        out.push(Effect::Vote { vote, blockhash_of: slot, last_slot: slot });
        self.sent_on = Some(slot);
        self.durable_root = self.tower.lockouts().root();
        if let Some(own) = self.unclaimed.take() {
            self.take_over(&own);
        }
        self.settle(out);
        self.decide(now, out);
        self.refresh(now, out);
    }
}

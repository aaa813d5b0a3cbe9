//! The machine: blocks and votes in; votes, roots and the block to build on out.

mod admit;
mod kept;
mod settle;

use crate::block::{Effect, Input, RootBlock};
use crate::commitment::Commitment;
use crate::fork_choice::{BlockKey, ForkChoice, Standing};
use crate::forks::{Forks, MAX_BLOCKS};
use crate::metrics::{DropReason, Metrics};
use crate::saved::SavedTower;
use crate::switch::{self, Switch};
use crate::threshold;
use crate::tower::{Abstain, Ballot, Tower};
use kept::Kept;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use sundog_types::{Effects, Hash, Machine, Now, Pubkey, Slot, sign::Sign, vote::VoteOnWire};

/// Slots remembered as dead or as duplicates at most, of each; full: the oldest goes. They only matter
/// above the root, and a leader's slots are few.
pub const MAX_MARKED_SLOTS: usize = 1_024;

/// A vote this many slots behind the tip cannot land any more: banks remember no older blocks.
const MAX_LANDING_DISTANCE: u64 = 512;

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// How long a vote may take to land before it is sent again.
    pub refresh_after: Duration,
    /// Blocks in the tree at most, the root included.
    pub max_blocks: usize,
    /// Which checks stand before a vote. A node that takes part in a cluster has all.
    pub checks: Checks,
}

/// The checks before a vote. One is left out only to show in a simulation what it is for: without it, promises break and
/// conflicting blocks get rooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// No vote while an earlier one forbids it.
    pub lockout: bool,
    /// No vote that buries another deep which too few stand behind.
    pub threshold: bool,
    /// No vote off the last vote's fork without proof.
    pub switch: bool,
    /// No vote on an own block that too few have.
    pub propagation: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self { lockout: true, threshold: true, switch: true, propagation: true }
    }
}

impl Default for ConsensusConfig {
    fn default() -> Self {
        Self { refresh_after: Duration::from_secs(5), max_blocks: MAX_BLOCKS, checks: Checks::default() }
    }
}

/// A vote that waits for its tower to be durable.
#[derive(Clone, Debug)]
struct Pending {
    id: u64,
    slot: Slot,
    vote: VoteOnWire,
}

/// Tower BFT for one node.
pub struct Consensus {
    config: ConsensusConfig,
    vote_account: Option<Pubkey>,
    signer: Arc<dyn Sign>,
    forks: Forks<Kept>,
    choice: ForkChoice,
    commitment: Commitment,
    tower: Tower,
    /// The root of the newest tower that is durable (or on chain).
    durable_root: Option<Slot>,
    pending: Option<Pending>,
    next_save: u64,
    refresh_at: Option<Now>,
    /// Newest votes heard of outside of blocks, one per voter with stake.
    heard: BTreeMap<Pubkey, BlockKey>,
    electorate_of: Slot,
    dead: BTreeSet<Slot>,
    duplicates: BTreeSet<Slot>,
    told_versions: BTreeSet<Slot>,
    reset: BlockKey,
    confirmed: Slot,
    /// The newest supermajority root seen.
    settled: Slot,
    finalized: Slot,
    told: Option<(Slot, usize)>,
    metrics: Metrics,
}

impl Consensus {
    /// A machine that starts at an executed, final block. Without a vote account it follows without
    /// voting. `saved` is what [`SavedTower::decode`] read; without it the tower is taken from the vote
    /// account as blocks show it, and promises that did not land are forgotten: feed it the blocks that
    /// are known already before it may vote.
    #[must_use]
    pub fn new(
        config: ConsensusConfig,
        vote_account: Option<Pubkey>,
        root: RootBlock,
        saved: Option<SavedTower>,
        signer: Arc<dyn Sign>,
    ) -> Self {
        assert!(config.max_blocks >= 64, "a tree that holds no full tower is of no use");
        let key = (root.slot, root.hash);
        let mut tower = match (saved, vote_account) {
            (Some(saved), Some(account)) => saved.tower(account),
            _ => Tower::new(root.slot),
        };
        let durable_root = tower.lockouts().root();
        // A start above the tower's root: others have rooted past it. Which of its votes were on their fork
        // is not known. Those buried deep had more than two thirds behind them, so they were; the others
        // bind until they expire.
        tower.raise_root(root.slot, |vote| vote.confirmations as usize > threshold::DEPTH);
        Self {
            config,
            vote_account,
            signer,
            forks: Forks::new(root.slot, Kept::root(root.hash)),
            choice: ForkChoice::new(key),
            commitment: Commitment::new(root.slot),
            tower,
            durable_root,
            pending: None,
            next_save: 0,
            refresh_at: None,
            heard: BTreeMap::new(),
            electorate_of: root.slot,
            dead: BTreeSet::new(),
            duplicates: BTreeSet::new(),
            told_versions: BTreeSet::new(),
            reset: key,
            confirmed: root.slot,
            settled: root.slot,
            finalized: root.slot,
            told: None,
            metrics: Metrics::default(),
        }
    }

    /// What was counted since the machine was made.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The own tower.
    #[must_use]
    pub fn tower(&self) -> &Tower {
        &self.tower
    }

    /// The fork choice, to be looked at.
    #[must_use]
    pub fn fork_choice(&self) -> &ForkChoice {
        &self.choice
    }

    /// The newest root.
    #[must_use]
    pub fn root(&self) -> Slot {
        self.forks.root()
    }

    /// The block to build on: the root until [`Effect::Reset`] says otherwise.
    #[must_use]
    pub fn reset_block(&self) -> (Slot, Hash) {
        self.reset
    }

    /// How many votes heard and slots marked are remembered; the tree is bounded apart from that.
    #[must_use]
    pub fn remembered(&self) -> usize {
        let marked = self.dead.len() + self.duplicates.len() + self.told_versions.len();
        self.commitment.len() + self.heard.len() + marked
    }

    fn key_of(&self, slot: Slot) -> Option<BlockKey> {
        self.forks.get(slot).map(|kept| (slot, kept.hash))
    }

    /// The last vote's block while it matters: above the root.
    fn last_vote(&self) -> Option<Slot> {
        self.tower.lockouts().last_voted().filter(|&slot| slot > self.forks.root())
    }

    /// The last vote's block if it is in the tree, in the version that was voted for.
    fn last_vote_key(&self) -> Option<BlockKey> {
        let key = self.key_of(self.last_vote()?)?;
        let other = |vote: &VoteOnWire| vote.hash != key.1 && vote.hash != Hash::default();
        (!self.tower.last_vote().is_some_and(other)).then_some(key)
    }

    /// Chooses the block to build on, and votes for the heaviest block if every promise allows it.
    fn decide(&mut self, now: Now, out: &mut Effects<Effect>) {
        let best = self.choice.best_overall();
        let switch = self.switch_to(best.0);
        self.reset_to(self.build_on(best, switch), out);
        if self.pending.is_some() || best.0 <= self.forks.root() {
            return;
        }
        let Some(account) = self.vote_account else {
            return;
        };
        if self.forks.get(best.0).is_none_or(|kept| kept.own.is_none()) {
            return;
        }
        match self.may_vote(best.0, switch) {
            Ok(()) => self.cast(now, account, (best, switch == Switch::Proven), out),
            Err(Abstain::NotNewer { .. }) => {}
            Err(why) => self.abstain(best.0, why, out),
        }
    }

    fn abstain(&mut self, slot: Slot, why: Abstain, out: &mut Effects<Effect>) {
        if self.told != Some((slot, why.index())) {
            self.told = Some((slot, why.index()));
            self.metrics.abstained[why.index()] += 1;
            out.push(Effect::Abstained { slot, why });
        }
    }

    fn reset_to(&mut self, key: BlockKey, out: &mut Effects<Effect>) {
        if self.reset != key {
            self.reset = key;
            self.metrics.resets += 1;
            out.push(Effect::Reset { slot: key.0 });
        }
    }

    /// The block to build on: the heaviest, unless one is bound to another fork.
    fn build_on(&self, best: BlockKey, switch: Switch) -> BlockKey {
        let Switch::Failed { .. } = switch else {
            return best;
        };
        let own = self.last_vote_key().and_then(|key| self.choice.get(&key));
        match own {
            Some(standing) if standing.is_candidate() => standing.best,
            Some(standing) => standing.deepest,
            None => best,
        }
    }

    /// Whether the last vote's fork may be left for `candidate`.
    fn switch_to(&self, candidate: Slot) -> Switch {
        let Some(last_vote) = self.last_vote() else {
            return Switch::SameFork;
        };
        let Some(kept) = self.forks.get(candidate) else {
            return Switch::SameFork;
        };
        if candidate == last_vote || self.forks.is_ancestor(last_vote, candidate) {
            return Switch::SameFork;
        }
        let key = self.key_of(last_vote);
        let standing = key.and_then(|key| self.choice.get(&key));
        let duplicate = standing.and_then(|standing| standing.latest_invalid_ancestor);
        let known = |(_, key): &(_, &BlockKey)| self.key_of(key.0) == Some(**key);
        let heard = self.heard.iter().filter(known).map(|(v, key)| (*v, key.0)).collect();
        let tips = self.forks.leaves().map(|(slot, kept)| (slot, kept.intervals.as_slice()));
        switch::check(&switch::Question {
            parents: &|slot| self.forks.ancestors(slot).next(),
            root: self.forks.root(),
            last_vote,
            candidate,
            duplicate,
            tips: tips.collect(),
            heard: &heard,
            stakes: &kept.stakes,
            total: kept.total,
        })
    }

    fn may_vote(&self, slot: Slot, switch: Switch) -> Result<(), Abstain> {
        let checks = self.config.checks;
        let is_ancestor = |old| !checks.lockout || self.forks.is_ancestor(old, slot);
        self.tower.allows(slot, is_ancestor)?;
        match switch {
            Switch::SameFork | Switch::Proven => {}
            Switch::Failed { .. } if !checks.switch => {}
            Switch::Failed { stake, total } => return Err(Abstain::Switch { stake, total }),
            Switch::Rollback { duplicate } => return Err(Abstain::Rollback { duplicate }),
        }
        let kept = self.forks.get(slot).expect("the heaviest block is in the tree");
        if !checks.threshold {
            return Ok(());
        }
        self.tower.supported(slot, |voted| kept.voted(voted), kept.total)
    }

    fn cast(&mut self, now: Now, account: Pubkey, (block, switch): (BlockKey, bool), out: &mut Effects<Effect>) {
        let kept = self.forks.get(block.0).expect("the heaviest block is in the tree");
        let block_id = if kept.mine { Hash::default() } else { kept.block_id };
        let ballot = Ballot { slot: block.0, hash: block.1, block_id, switch };
        let seconds = i64::try_from(now.unix_ms / 1_000).unwrap_or(i64::MAX);
        let vote = self.tower.cast(account, ballot, seconds);
        self.metrics.votes += 1;
        self.metrics.switches += u64::from(switch);
        self.next_save += 1;
        let id = self.next_save;
        let bytes = SavedTower::of(&self.tower).encode(&*self.signer);
        self.pending = Some(Pending { id, slot: block.0, vote });
        out.push(Effect::Save { id, bytes });
    }

    /// The tower is durable: the vote may leave, and the root that it made stands.
    fn saved(&mut self, now: Now, id: u64, out: &mut Effects<Effect>) {
        let Some(pending) = self.pending.take_if(|pending| pending.id == id) else {
            return self.metrics.drop(DropReason::Known);
        };
        let Pending { slot, vote, .. } = pending;
        out.push(Effect::Vote { vote, blockhash_of: slot, last_slot: slot });
        self.refresh_at = Some(now.after(self.config.refresh_after));
        self.durable_root = self.tower.lockouts().root();
        self.settle(out);
        self.decide(now, out);
    }

    /// Whether the heaviest block builds on the last vote's block without having the vote.
    fn is_missing_in(&self, tip: Slot, vote: Slot) -> bool {
        let landed = self.forks.get(tip).and_then(|kept| kept.own.as_ref());
        let landed = landed.and_then(|own| own.lockouts.last()).map(|&(slot, _)| slot);
        let close = vote.saturating_add(MAX_LANDING_DISTANCE) >= tip;
        landed.is_none_or(|slot| slot < vote.get()) && close
    }

    /// The heaviest block on the last vote's fork: where the vote is looked for, and sent again if it is missing. The
    /// heaviest of all may be on a fork that everybody is bound not to vote for, and then only votes that land on this
    /// one end the waiting.
    fn voted_tip(&self) -> Slot {
        let standing = self.last_vote_key().and_then(|key| self.choice.get(&key));
        let tip = |standing: Standing| if standing.is_candidate() { standing.best } else { standing.deepest };
        standing.map_or(self.choice.best_overall(), tip).0
    }

    fn refresh(&mut self, now: Now, out: &mut Effects<Effect>) {
        let tip = self.voted_tip();
        let Some(last) = self.last_vote().filter(|&last| self.is_missing_in(tip, last)) else {
            self.refresh_at = None;
            return;
        };
        self.refresh_at = Some(now.after(self.config.refresh_after));
        let on_fork = tip == last || self.forks.is_ancestor(last, tip);
        if self.pending.is_some() || !on_fork || self.last_vote_key().is_none() {
            return;
        }
        let Some(vote) = self.tower.refresh() else {
            return;
        };
        self.metrics.refreshed += 1;
        out.push(Effect::Vote { vote, blockhash_of: tip, last_slot: last });
    }

    /// After a restart, or when the landed vote turned out to be on another fork: wait for it again.
    fn watch_last_vote(&mut self, now: Now) {
        let tip = self.voted_tip();
        let last = self.last_vote().filter(|&last| self.is_missing_in(tip, last));
        if self.refresh_at.is_none() && last.is_some() && self.tower.last_vote().is_some() {
            self.refresh_at = Some(now.after(self.config.refresh_after));
        }
    }
}

impl Machine for Consensus {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Frozen(block) => self.frozen(now, block, out),
            Input::Dead(slot) => self.dead(slot, out),
            Input::Duplicate(slot) => self.duplicate(now, slot, out),
            Input::VoteSeen { vote_account, slot, hash } => {
                self.vote_seen(now, vote_account, (slot, hash), out);
            }
            Input::Announced { .. } | Input::Forgotten(_) => {}
            Input::Saved { id } => self.saved(now, id, out),
        }
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.refresh_at.is_some_and(|at| now.reached(at)) {
            self.refresh(now, out);
        }
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.refresh_at
    }
}

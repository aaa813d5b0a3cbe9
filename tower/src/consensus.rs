//! The machine: blocks and votes in; votes, roots and the block to build on out.

mod admit;
mod decide;
mod diverge;
mod kept;
mod lost;
mod refresh;
mod settle;

use crate::block::{Effect, Input, RootBlock, VoterState};
use crate::commitment::Commitment;
use crate::decision::Decision;
use crate::fork_choice::{BlockKey, ForkChoice};
use crate::forks::{Forks, MAX_BLOCKS};
use crate::lockouts::Lockouts;
use crate::metrics::Metrics;
use crate::propagation::Propagation;
use crate::saved::SavedTower;
use crate::standing::{Standing, Start};
use crate::threshold;
use crate::tower::Tower;
use kept::Kept;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use sundog_types::{Effects, Hash, Machine, Now, Pubkey, Slot, sign::Sign, vote::VoteOnWire};

/// Slots remembered as dead or as duplicates at most, of each; full: the oldest goes. They only matter
/// above the root, and a leader's slots are few.
pub const MAX_MARKED_SLOTS: usize = 1_024;

/// A vote this many blocks below the tip is the oldest that can land: banks remember no older ones.
const MAX_LANDING_BLOCKS: u64 = 512;

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// The least time between two times that a vote is sent again.
    pub refresh_after: Duration,
    /// Blocks in the tree at most, the root included.
    pub max_blocks: usize,
    /// Which checks stand before a vote. A node that takes part in a cluster has all.
    pub checks: Checks,
    /// What is known of earlier promises.
    pub start: Start,
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
        Self {
            refresh_after: Duration::from_secs(5),
            max_blocks: MAX_BLOCKS,
            checks: Checks::default(),
            start: Start::default(),
        }
    }
}

/// A vote that waits for its tower to be durable.
#[derive(Clone, Debug)]
struct Pending {
    id: u64,
    slot: Slot,
    vote: VoteOnWire,
}

/// The last vote's block after it was thrown away: what was known of it.
#[derive(Clone, Debug)]
struct Purged {
    slot: Slot,
    /// Its ancestors down to the root of the time.
    under: BTreeSet<Slot>,
    /// The slot that another version was chosen for.
    duplicate: Slot,
    /// Whether votes chose it.
    proven: bool,
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
    standing: Standing,
    /// The root of the newest tower that is durable (or on chain).
    durable_root: Option<Slot>,
    pending: Option<Pending>,
    /// An own vote to be taken over once the pending tower is durable.
    unclaimed: Option<VoterState>,
    next_save: u64,
    refresh_at: Option<Now>,
    /// When a vote was last sent again; at first, when the machine was first asked.
    refreshed: Option<Now>,
    /// The block whose last blockhash the last vote was sent with in this life.
    sent_on: Option<Slot>,
    decision: Option<Decision>,
    /// When that was.
    decided: Option<Now>,
    propagation: Propagation,
    purged: Option<Purged>,
    /// Blocks that more than a third of the stake has another result for: not judged yet. All are in the tree.
    suspects: BTreeSet<Slot>,
    diverged: Option<Slot>,
    /// Blocks above the root that more than two thirds voted for, the newest [`MAX_MARKED_SLOTS`].
    optimistic: BTreeSet<BlockKey>,
    /// Newest votes heard of outside of blocks, one per voter with stake.
    heard: BTreeMap<Pubkey, BlockKey>,
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
    /// voting. `saved` is what [`SavedTower::decode`] read; without it, [`ConsensusConfig::start`] says whether it may vote
    /// at once.
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
        let standing = Standing::new(config.start, tower.lockouts().last_voted());
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
            standing,
            durable_root,
            pending: None,
            unclaimed: None,
            next_save: 0,
            refresh_at: None,
            refreshed: None,
            sent_on: None,
            decision: None,
            decided: None,
            propagation: Propagation::default(),
            purged: None,
            suspects: BTreeSet::new(),
            diverged: None,
            optimistic: BTreeSet::new(),
            heard: BTreeMap::new(),
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
        let marked = self.dead.len() + self.duplicates.len() + self.told_versions.len() + self.optimistic.len();
        self.commitment.len() + self.heard.len() + marked + self.propagation.len()
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

    /// Whether a tower of the own account is no news: it promises nothing that this life or its file does not know of.
    #[must_use]
    pub fn knows_vote(&self, votes: &[(u64, u32)], root: Option<u64>) -> bool {
        self.standing.knows(&Lockouts::from_parts(votes, root))
    }

    /// What was decided last; nothing before the first block.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// The block whose execution differs from that of the others, if that was found: no more votes then.
    #[must_use]
    pub fn diverged(&self) -> Option<Slot> {
        self.diverged
    }

    /// The newest own block among that of `slot` and its ancestors above the root.
    #[must_use]
    pub fn newest_own(&self, slot: Slot) -> Option<Slot> {
        self.forks.get(slot)?.newest_own.filter(|own| *own > self.forks.root())
    }

    /// Whether enough of the others have the newest own block on the way to `slot`; so too if there is none above the
    /// root.
    #[must_use]
    pub fn is_propagated(&self, slot: Slot) -> bool {
        self.newest_own(slot).is_none_or(|own| !self.propagation.is_waiting(own))
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
            Input::VoteSeen { vote_account, slot, hash, block_id } => {
                self.vote_seen(now, vote_account, ((slot, hash), block_id), out);
            }
            Input::Epoch { first, stakes } => self.epoch(first, &stakes),
            Input::Announced { node, slot } => self.announced(now, node, slot, out),
            Input::Forgotten { slot, proven } => self.forgotten(now, (slot, proven), out),
            Input::OwnVote(own) => self.own_vote(&own),
            Input::CaughtUp => {
                self.standing.caught_up();
                self.decide(now, out);
            }
            Input::Recalled => {
                self.standing.recalled();
                self.decide(now, out);
            }
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

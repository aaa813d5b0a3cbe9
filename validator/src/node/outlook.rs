//! The node's tower and its forks, as readers see them.

use super::{Node, View};
use std::sync::Arc;
use sundog_rpc::votes::{Abstention, BLOCKS_MAX, ForkBlock, ForksFacts, TowerFacts, TowerVote};
use sundog_tower::{Abstain, ForkChoice, Tower};
use sundog_types::{Hash, Slot, schedule::Leaders};

/// A node's votes and forks at one moment.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// Its votes.
    pub tower: Arc<TowerFacts>,
    /// Its forks.
    pub forks: Arc<ForksFacts>,
}

/// What an outlook is made of: while this is the same, so is the outlook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    blocks: u64,
    in_tree: usize,
    root: Slot,
    confirmed: Slot,
    builds_on: Slot,
    votes: u64,
    abstained: Option<(Slot, Abstain)>,
}

impl Node {
    pub(super) fn outlook_mark(&self) -> Mark {
        Mark {
            blocks: self.consensus.metrics().blocks,
            in_tree: self.consensus.fork_choice().len(),
            root: self.consensus.root(),
            confirmed: self.roots.confirmed,
            builds_on: self.consensus.reset_block().0,
            votes: self.consensus.metrics().votes,
            abstained: self.counters.last_abstained,
        }
    }

    /// How the tower and the forks stand.
    pub(super) fn outlook(&self) -> Outlook {
        Outlook { tower: Arc::new(self.tower_facts()), forks: Arc::new(self.forks_facts()) }
    }

    fn tower_facts(&self) -> TowerFacts {
        let choice = self.consensus.fork_choice();
        let heaviest = choice.best_overall().0;
        let account = self.voter.as_ref().map(|voter| voter.account);
        let landed = account.and_then(|account| {
            let bank = &self.forks.get(heaviest)?.bank;
            let own = bank.vote_accounts().into_iter().find(|known| known.pubkey == account)?;
            own.lockouts.last().map(|(slot, _)| *slot)
        });
        let abstained = self.counters.last_abstained.map(|(slot, why)| Abstention {
            slot: slot.get(),
            reason: why.name().to_owned(),
            why: reason(&why),
        });
        TowerFacts {
            identity: self.identity.to_string(),
            vote_account: account.map(|account| account.to_string()),
            landed,
            heaviest: heaviest.get(),
            builds_on: self.consensus.reset_block().0.get(),
            abstained,
            ..votes_of(self.consensus.tower())
        }
    }

    fn forks_facts(&self) -> ForksFacts {
        let choice = self.consensus.fork_choice();
        let (blocks, left_out) = fork_blocks(choice, &self.leaders);
        let stakes = self.forks.get(self.forks.root()).map(|root| root.bank.current_epoch_stakes());
        ForksFacts {
            root: choice.root().0.get(),
            confirmed: self.roots.confirmed.get(),
            finalized: self.forks.root().get(),
            heaviest: choice.best_overall().0.get(),
            own_vote: self.consensus.tower().lockouts().last_voted().map(Slot::get),
            total_stake: stakes.map_or(0, |stakes| stakes.total()),
            blocks,
            left_out,
        }
    }
}

/// The blocks of a tree with the stake behind each, the newest [`BLOCKS_MAX`], and how many are left out.
#[must_use]
pub fn fork_blocks(choice: &ForkChoice, leaders: &Leaders) -> (Vec<ForkBlock>, usize) {
    let left_out = choice.len().saturating_sub(BLOCKS_MAX);
    let mut blocks: Vec<ForkBlock> = choice
        .iter()
        .map(|((slot, hash), standing)| ForkBlock {
            slot: slot.get(),
            bank_hash: hash.to_string(),
            parent: standing.parent.map(|(parent, _)| parent.get()),
            leader: leaders.leader(slot).map(|leader| leader.to_string()),
            stake_at: standing.stake_at,
            stake_above: standing.stake_subtree,
            voters: Vec::new(),
            valid: standing.is_candidate(),
            settled: standing.duplicate_confirmed,
        })
        .collect();
    blocks.sort_unstable_by_key(|block| block.slot);
    blocks.drain(..left_out);
    for (voter, (slot, hash), _) in choice.latest_votes() {
        let Ok(place) = blocks.binary_search_by_key(&slot.get(), |block| block.slot) else { continue };
        if blocks[place].bank_hash == hash.to_string() {
            blocks[place].voters.push(voter.to_string());
        }
    }
    (blocks, left_out)
}

/// The part of the facts that a tower alone knows.
#[must_use]
pub fn votes_of(tower: &Tower) -> TowerFacts {
    let vote = |lockout: &sundog_tower::Lockout| TowerVote {
        slot: lockout.slot.get(),
        confirmation_count: lockout.confirmations,
        expires: lockout.last_locked_out().get(),
    };
    let hash = tower.last_vote().map(|vote| vote.hash).filter(|hash| *hash != Hash::default());
    TowerFacts {
        root: tower.lockouts().root().map(Slot::get),
        votes: tower.lockouts().votes().iter().map(vote).collect(),
        voted_hash: hash.map(|hash| hash.to_string()),
        voted_at: tower.last_timestamp(),
        ..TowerFacts::default()
    }
}

/// Why a block was not voted for, for people. Stakes are in SOL.
fn reason(why: &Abstain) -> String {
    let share = |stake: u64, total: u64| 100.0 * stake as f64 / total.max(1) as f64;
    match *why {
        Abstain::NotNewer { last } => format!("it is not newer than the last vote, {last}"),
        Abstain::LockedOut { by, until } => format!("the vote for {by} binds until {until} and is not under it"),
        Abstain::Threshold { slot, stake, total } => {
            format!("the vote for {slot} would be buried deep, and only {:.1} % stand behind it", share(stake, total))
        }
        Abstain::Switch { stake, total } => {
            format!(
                "it is on another fork, and only {:.1} % are locked out of ours; 38 % are needed",
                share(stake, total)
            )
        }
        Abstain::Rollback { duplicate } => {
            format!("the last vote stands on {duplicate}, of which there are two versions")
        }
        Abstain::Propagation { own, stake, total } => {
            format!("only {:.1} % have the own block {own} under it; a third is needed", share(stake, total))
        }
        Abstain::Listening => "there is no tower file, and votes of an earlier life are looked for".to_owned(),
        Abstain::Forgotten { last } => {
            format!("the own vote for {last} is not in the tower: its file was lost or is an older one")
        }
        Abstain::Waiting { until } => format!("votes of an earlier life may bind until {until}"),
        Abstain::Diverged { slot } => format!("the others have another bank hash for {slot}"),
    }
}

impl View {
    /// The node's tower.
    #[must_use]
    pub fn tower(&self) -> Arc<TowerFacts> {
        Arc::clone(&self.outlook.tower)
    }

    /// The node's forks.
    #[must_use]
    pub fn forks(&self) -> Arc<ForksFacts> {
        Arc::clone(&self.outlook.forks)
    }
}

//! The node's tower and its forks, as readers see them.
//!
//! The node keeps what it knows as it is; it becomes text when somebody asks.

use super::{Node, View};
use std::sync::Arc;
use sundog_rpc::votes::{Abstention, BLOCKS_MAX, ForkBlock, ForksFacts, LastDecision, TowerFacts, TowerVote};
use sundog_runtime::Bank;
use sundog_tower::{Abstain, Decision, ForkChoice, Tower, Verdict};
use sundog_types::{Hash, Pubkey, Slot, schedule::Leaders};

/// A node's votes and forks at one moment.
#[derive(Clone)]
pub struct Outlook {
    identity: Pubkey,
    account: Option<Pubkey>,
    tower: Tower,
    choice: ForkChoice,
    decision: Option<Decision>,
    abstained: Option<(Slot, Abstain)>,
    /// The heaviest block's state: which own votes have landed.
    heaviest: Option<Arc<Bank>>,
    confirmed: Slot,
    finalized: Slot,
    total_stake: u64,
}

/// What an outlook is made of: while this is the same, so is the outlook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    blocks: u64,
    in_tree: usize,
    root: Slot,
    confirmed: Slot,
    finalized: Slot,
    heard: u64,
    votes: u64,
    decision: Option<Decision>,
    abstained: Option<(Slot, Abstain)>,
}

impl Node {
    pub(super) fn outlook_mark(&self) -> Mark {
        let counted = self.consensus.metrics();
        Mark {
            blocks: counted.blocks,
            in_tree: self.consensus.fork_choice().len(),
            root: self.consensus.root(),
            confirmed: self.roots.confirmed,
            finalized: self.forks.root(),
            heard: counted.votes_heard,
            votes: counted.votes,
            decision: self.consensus.decision().copied(),
            abstained: self.counters.last_abstained,
        }
    }

    /// How the tower and the forks stand.
    pub(super) fn outlook(&self) -> Outlook {
        let choice = self.consensus.fork_choice();
        let root = self.forks.get(self.forks.root());
        Outlook {
            identity: self.identity,
            account: self.voter.as_ref().map(|voter| voter.account),
            tower: self.consensus.tower().clone(),
            choice: choice.clone(),
            decision: self.consensus.decision().copied(),
            abstained: self.counters.last_abstained,
            heaviest: self.forks.get(choice.best_overall().0).map(|frozen| Arc::clone(&frozen.bank)),
            confirmed: self.roots.confirmed,
            finalized: self.forks.root(),
            total_stake: root.map_or(0, |root| root.bank.current_epoch_stakes().total()),
        }
    }
}

impl Outlook {
    fn tower_facts(&self) -> TowerFacts {
        let landed = self.account.and_then(|account| {
            let known = self.heaviest.as_ref()?.vote_accounts();
            let own = known.into_iter().find(|known| known.pubkey == account)?;
            own.lockouts.last().map(|(slot, _)| *slot)
        });
        TowerFacts {
            identity: self.identity.to_string(),
            vote_account: self.account.map(|account| account.to_string()),
            landed,
            decision: self.decision.as_ref().map(last_decision),
            abstained: self.abstained.map(|(slot, why)| Abstention {
                slot: slot.get(),
                reason: why.name().to_owned(),
                why: reason(&why),
            }),
            ..votes_of(&self.tower)
        }
    }

    fn forks_facts(&self, leaders: &Leaders) -> ForksFacts {
        let (blocks, left_out) = fork_blocks(&self.choice, leaders);
        ForksFacts {
            root: self.choice.root().0.get(),
            confirmed: self.confirmed.get(),
            finalized: self.finalized.get(),
            heaviest: self.choice.best_overall().0.get(),
            own_vote: self.tower.lockouts().last_voted().map(Slot::get),
            total_stake: self.total_stake,
            blocks,
            left_out,
            tower_unreadable: None,
        }
    }
}

/// The blocks of a tree with the stake behind each, the newest [`BLOCKS_MAX`], and how many are left out.
#[must_use]
pub fn fork_blocks(choice: &ForkChoice, leaders: &Leaders) -> (Vec<ForkBlock>, usize) {
    let left_out = choice.len().saturating_sub(BLOCKS_MAX);
    let mut known: Vec<_> = choice.iter().collect();
    known.sort_unstable_by_key(|(key, _)| *key);
    known.drain(..left_out);
    let mut blocks: Vec<ForkBlock> = known
        .iter()
        .map(|((slot, hash), standing)| ForkBlock {
            slot: slot.get(),
            bank_hash: hash.to_string(),
            parent: standing.parent.map(|(parent, _)| parent.get()),
            leader: leaders.leader(*slot).map(|leader| leader.to_string()),
            stake_at: standing.stake_at,
            stake_above: standing.stake_subtree,
            voters: Vec::new(),
            valid: standing.is_candidate(),
            settled: standing.duplicate_confirmed,
        })
        .collect();
    for (voter, voted, _) in choice.latest_votes() {
        if let Ok(place) = known.binary_search_by_key(&voted, |(key, _)| *key) {
            blocks[place].voters.push(voter.to_string());
        }
    }
    blocks.iter_mut().for_each(|block| block.voters.sort_unstable());
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

fn last_decision(decision: &Decision) -> LastDecision {
    let (verdict, why) = match &decision.vote {
        Verdict::Nothing => {
            ("nothing", "there is no block above the root to vote for, or no stake to vote with".into())
        }
        Verdict::Saving => ("saving", "the vote before is being written to disk".into()),
        Verdict::Vote(slot) => ("vote", format!("voted for {slot}")),
        Verdict::Abstain(Abstain::NotNewer { last }) => {
            ("not_newer", format!("voted for {last}, waits for a newer block"))
        }
        Verdict::Abstain(why) => (why.name(), reason(why)),
    };
    LastDecision {
        heaviest: decision.best.0.get(),
        verdict: verdict.to_owned(),
        why,
        builds_on: decision.build_on.0.get(),
        builds_because: decision.reset.name().to_owned(),
    }
}

/// Why a block was not voted for, for people.
fn reason(why: &Abstain) -> String {
    let share = |stake: u64, total: u64| 100.0 * stake as f64 / total.max(1) as f64;
    match *why {
        Abstain::NotNewer { last } => format!("it is not newer than the last vote, {last}"),
        Abstain::LockedOut { by, until } => {
            format!("the vote for {by} binds until {until}, and it is not built on {by}")
        }
        Abstain::Threshold { slot, stake, total } => {
            format!(
                "only {:.1} % of the stake voted for {slot}, and a vote on top would lock that deep; two thirds are needed",
                share(stake, total)
            )
        }
        Abstain::Switch { stake, total } => format!(
            "it is on another fork than the last vote, and only {:.1} % of the stake is bound to other forks; to leave takes more than 38 %",
            share(stake, total)
        ),
        Abstain::Rollback { duplicate } => {
            format!(
                "it goes back before {duplicate}, of which there are two versions, and the last vote stands on that"
            )
        }
        Abstain::Propagation { own, stake, total } => format!(
            "only {:.1} % of the stake has the own block {own} that it is built on; a third is needed",
            share(stake, total)
        ),
        Abstain::Listening => "there is no tower file, and votes of an earlier life are looked for".to_owned(),
        Abstain::Recalling => "blocks from before the restart are executed again first".to_owned(),
        Abstain::Forgotten { last } => format!(
            "the own vote for {last} is not in the tower: its file was lost or is an older one (see the log for what to do)"
        ),
        Abstain::Waiting { until } => format!("votes of an earlier life may bind until {until}"),
        Abstain::Diverged { slot } => {
            format!("more than a third of the stake has another bank hash for {slot} (see the log for both)")
        }
    }
}

impl View {
    /// The node's tower.
    #[must_use]
    pub fn tower(&self) -> TowerFacts {
        self.outlook.as_ref().map(|outlook| outlook.tower_facts()).unwrap_or_default()
    }

    /// The node's forks.
    #[must_use]
    pub fn forks(&self) -> ForksFacts {
        self.outlook.as_ref().map(|outlook| outlook.forks_facts(&self.leaders)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_tower::Reset;

    const PAGE: &str = include_str!("../../../docs/tower.md");

    fn every_reason() -> [Abstain; Abstain::KINDS] {
        let [last, by, until, slot] = [1, 2, 3, 4].map(Slot::new);
        let (stake, total) = (381, 1_000);
        [
            Abstain::NotNewer { last },
            Abstain::LockedOut { by, until },
            Abstain::Threshold { slot, stake, total },
            Abstain::Switch { stake, total },
            Abstain::Rollback { duplicate: slot },
            Abstain::Propagation { own: slot, stake, total },
            Abstain::Waiting { until },
            Abstain::Diverged { slot },
            Abstain::Listening,
            Abstain::Forgotten { last },
            Abstain::Recalling,
        ]
    }

    #[test]
    fn every_reason_is_said_with_its_facts_and_documented() {
        for (place, why) in every_reason().iter().enumerate() {
            assert_eq!(why.index(), place, "each kind once");
            assert!(PAGE.contains(&format!("`{}`", why.name())), "docs/tower.md lacks {}", why.name());
        }
        let said = every_reason().map(|why| reason(&why));
        assert_eq!(said[1], "the vote for 2 binds until 3, and it is not built on 2");
        assert!(said[2].starts_with("only 38.1 % of the stake voted for 4"), "{}", said[2]);
        assert!(said[3].contains("only 38.1 % of the stake is bound to other forks"), "{}", said[3]);
        assert!(said[9].contains("the own vote for 1 is not in the tower"), "{}", said[9]);
    }

    #[test]
    fn every_place_to_build_on_is_documented() {
        for name in Reset::NAMES {
            assert!(PAGE.contains(&format!("`{name}`")), "docs/tower.md lacks {name}");
        }
    }

    #[test]
    fn a_tree_is_told_from_its_newest_blocks_with_voters_at_the_version_they_voted_for() {
        let key = |slot: u64| (Slot::new(slot), Hash::new_from_array([slot as u8; 32]));
        let last = BLOCKS_MAX as u64 + 2;
        let mut choice = ForkChoice::new(key(0));
        (1..=last).for_each(|slot| assert!(choice.add(key(slot), key(slot - 1))));
        let [one, other] = [7, 8].map(|byte| Pubkey::new_from_array([byte; 32]));
        choice.vote([(one, key(last)), (other, key(last - 1))], |_, _| 10);
        let (blocks, left_out) = fork_blocks(&choice, &Leaders::new(Default::default()));
        assert_eq!((blocks.len(), left_out, blocks[0].slot), (BLOCKS_MAX, 3, 3));
        let [below, top] = &blocks[blocks.len() - 2..] else { panic!("two") };
        assert_eq!((below.stake_at, below.stake_above, top.stake_at, top.stake_above), (10, 20, 10, 10));
        assert_eq!((&below.voters, &top.voters), (&vec![other.to_string()], &vec![one.to_string()]));
        assert_eq!((top.parent, top.valid), (Some(last - 1), true));
    }
}

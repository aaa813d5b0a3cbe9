//! A start without a tower file: when this node would have seen what it voted for in an earlier life.

use super::{Effect, Job, Node};
use solana_transaction::versioned::VersionedTransaction;
use std::time::Duration;
use sundog_runtime::Bank;
use sundog_tower::{Abstain, VoterState};
use sundog_types::{
    Effects, Now, Pubkey, Slot,
    vote::{self, ParsedVote},
};

/// A chain whose votes and shreds are all below this slot is new: nobody can have rooted any of it.
const NEW_CHAIN_SLOTS: u64 = 31;
/// So long after its genesis was made, a chain of which nothing is heard is new.
const NEW_CHAIN_FOR: Duration = Duration::from_secs(60);
/// So long gossip pulls eagerly: after that, the values in its peers' tables are here.
const LISTEN_FOR: Duration = Duration::from_secs(5);
/// So near to what more than a third of the stake votes for, a node has caught up.
const NEAR_SLOTS: u64 = 32;
/// After this a node that hears of no votes at all goes on: nobody votes.
const SILENCE: Duration = Duration::from_secs(60);

/// What the node waits for before it tells the tower that it has caught up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Returning {
    /// There was no tower file, and the tower was not told yet.
    listens: bool,
    /// When the genesis was made, in milliseconds since the Unix epoch.
    genesis_ms: u64,
    /// Why the tower abstained last, as far as earlier lives are concerned: told when it changes.
    told: Option<usize>,
}

impl Returning {
    pub(super) const fn new(listens: bool, genesis_ms: u64) -> Self {
        Self { listens, genesis_ms, told: None }
    }
}

/// An account's tower, as a bank knows it.
pub(super) fn tower_in(bank: &Bank, account: Pubkey) -> Option<VoterState> {
    let known = bank.vote_accounts().into_iter().find(|known| known.pubkey == account)?;
    Some(VoterState {
        vote_account: known.pubkey,
        stake: known.stake,
        lockouts: known.lockouts,
        root: known.root,
        last_timestamp: known.last_timestamp.1,
    })
}

impl Node {
    /// A vote in this node's name that others hold: of an earlier life, or of another instance. What is no news is not
    /// even checked.
    pub(super) fn hear_own_vote(&mut self, transaction: VersionedTransaction, out: &mut Effects<Effect>) {
        let Some(parsed) = vote::parse_vote(&transaction) else { return };
        let known = self.consensus.knows_vote(&parsed.voted.slots, parsed.voted.root);
        if !known && self.is_own_account(&parsed.vote_account) && self.node_behind(&parsed).is_some() {
            self.check(Job::CheckVote { transaction: Box::new(transaction) }, out);
        }
    }

    fn is_own_account(&self, account: &Pubkey) -> bool {
        self.voter.as_ref().is_some_and(|voter| voter.account == *account)
    }

    /// Tells the tower of a checked vote if it is the own account's.
    pub(super) fn own_vote_seen(&mut self, now: Now, parsed: &ParsedVote, out: &mut Effects<Effect>) {
        if self.is_own_account(&parsed.vote_account) {
            let own = VoterState {
                vote_account: parsed.vote_account,
                stake: 0,
                lockouts: parsed.voted.slots.clone(),
                root: parsed.voted.root,
                last_timestamp: parsed.voted.timestamp.unwrap_or_default(),
            };
            self.consensus(now, sundog_tower::Input::OwnVote(own), out);
        }
    }

    /// Tells the tower once that votes of an earlier life would have been seen by now.
    pub(super) fn tell_caught_up(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.returning.listens && (self.is_new_chain(now) || self.would_have_seen(now)) {
            self.returning.listens = false;
            self.consensus(now, sundog_tower::Input::CaughtUp, out);
        }
    }

    fn is_new_chain(&self, now: Now) -> bool {
        let heard = self.newest_votes.values().copied().max().unwrap_or_default().max(self.highest_seen);
        let young = now.unix_ms.abs_diff(self.returning.genesis_ms) <= NEW_CHAIN_FOR.as_millis() as u64;
        self.forks.root() == Slot::ZERO
            && heard <= Slot::new(NEW_CHAIN_SLOTS)
            && self.saw_supermajority
            && (young || now.since(self.started) >= LISTEN_FOR)
    }

    fn would_have_seen(&self, now: Now) -> bool {
        let here = now.since(self.started);
        let tip = self.leading.reset().map_or(self.forks.root(), |reset| reset.slot);
        match self.voted_beyond(1) {
            Some(voted) => self.saw_supermajority && here >= LISTEN_FOR && voted <= tip.saturating_add(NEAR_SLOTS),
            None => here >= SILENCE,
        }
    }

    /// Counts a refusal to vote, and says what to do when an earlier life is the reason.
    pub(super) fn abstained(&mut self, slot: Slot, why: Abstain) {
        self.counters.abstained(slot, why);
        if self.returning.told.replace(why.index()) == Some(why.index()) {
            return;
        }
        match why {
            Abstain::Forgotten { last } => tracing::error!(
                %last,
                "this node does not vote: its vote account voted for a slot that its tower file knows nothing of, so the file was lost or is an older one, or another instance votes; put the newest tower file into the ledger directory and start again, or, if it is lost for good and no other instance runs, start with --vote-without-tower true, which waits until the votes that can be seen have run out"
            ),
            Abstain::Waiting { until } => {
                tracing::warn!(%slot, %until, "this node votes without its tower file once the lockouts that can be seen have run out");
            }
            Abstain::Listening => {
                tracing::info!(%slot, "there is no tower file: votes of an earlier life are looked for before the first vote");
            }
            _ => {}
        }
    }
}

//! Whether the cluster has this node's own blocks: a leader whose last block nobody has does not go on alone.
//!
//! A block counts as propagated when nodes with more than a third of the epoch's stake have voted for it or for what
//! descends from it, or say in gossip that they have it (reference 8.6).

use super::{Effect, Event, Node, leading::WINDOW_SLOTS};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_runtime::Bank;
use sundog_types::{Effects, Now, Pubkey, Slot};

/// Own slots watched at a time. A node leads fewer between two roots; more: the oldest is taken for propagated.
const WATCHED_MAX: usize = 256;

/// Nodes noted for one block. A node with stake counts once, and a third of the stake ends the count.
const NODES_MAX: usize = 8_192;

/// An own block that too few nodes have is sent again after this, then after twice as long, and so on
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// up to so many doublings (reference 8.6).
const AGAIN_DOUBLINGS: u32 = 6;
/// Data shreds of a block that are sent again in one turn: what a busy node sends in a tenth of a second.
const AGAIN_SHREDS_MAX: usize = 2_048;

struct Support {
    nodes: BTreeSet<Pubkey>,
    /// Their stake, in lamports.
    stake: u64,
    /// When to send the block again.
    again: Now,
    /// How often that was done.
    sent: u32,
}

/// Own blocks above the root that are not propagated yet, and who has them.
#[derive(Default)]
pub(super) struct Propagation {
    waiting: BTreeMap<Slot, Support>,
}

impl Propagation {
    /// Watches an own block from now on.
    fn watch(&mut self, now: Now, slot: Slot) {
        let again = now.after(AGAIN_AFTER);
        self.waiting.insert(slot, Support { nodes: BTreeSet::new(), stake: 0, again, sent: 0 });
        if self.waiting.len() > WATCHED_MAX {
            self.waiting.pop_first();
        }
    }

    /// A node has the block. Whether that makes it propagated.
    fn support(&mut self, slot: Slot, node: Pubkey, (stake, total): (u64, u64)) -> bool {
        let Some(support) = self.waiting.get_mut(&slot) else { return false };
        if stake == 0 || support.nodes.len() >= NODES_MAX || !support.nodes.insert(node) {
            return false;
        }
        support.stake = support.stake.saturating_add(stake);
        let enough = u128::from(support.stake) * 3 > u128::from(total);
        if enough {
            self.waiting.remove(&slot);
        }
        enough
    }

    /// Whether the block is to be sent again now; counts that it is.
    fn sends_again(&mut self, now: Now, slot: Slot) -> bool {
        let Some(support) = self.waiting.get_mut(&slot).filter(|support| now.reached(support.again)) else {
            return false;
        };
        support.sent += 1;
        support.again = now.after(AGAIN_AFTER * (1 << support.sent.min(AGAIN_DOUBLINGS)));
        true
    }

    /// Forgets blocks at or below the root.
    pub(super) fn set_root(&mut self, root: Slot) {
        self.waiting.retain(|slot, _| *slot > root);
    }

    /// Whether it is of interest that this node has the block. To look up a node's stake takes long in a large cluster.
    fn lacks(&self, slot: Slot, node: &Pubkey) -> bool {
        self.waiting.get(&slot).is_some_and(|support| !support.nodes.contains(node))
    }

    fn is_waiting(&self, slot: Slot) -> bool {
        self.waiting.contains_key(&slot)
    }

    /// The slots that are not propagated, ascending.
    fn waiting(&self) -> impl Iterator<Item = Slot> {
        self.waiting.keys().copied()
    }
}

impl Node {
    /// An own block is frozen: this node has it.
    pub(super) fn propagation_began(&mut self, now: Now, slot: Slot) {
        self.propagation.watch(now, slot);
        self.has_block(slot, self.identity);
    }

    /// A node has the block of `slot`.
    pub(super) fn has_block(&mut self, slot: Slot, node: Pubkey) {
        if !self.propagation.lacks(slot, &node) {
            return;
        }
        let Some(root) = self.forks.get(self.forks.root()) else { return };
        let stakes = root.bank.current_epoch_stakes();
        let weight = (stakes.of_node(&node), stakes.total());
        self.propagation.support(slot, node, weight);
    }

    /// A node voted for the block of `slot`: it has all own blocks on the way there.
    pub(super) fn has_voted_for(&mut self, slot: Slot, node: Pubkey) {
        let own: Vec<Slot> = self.propagation.waiting().take_while(|own| *own <= slot).collect();
        for own in own {
            if self.forks.descends(slot, own) {
                self.has_block(own, node);
            }
        }
    }

    /// The votes that have landed in a block.
    pub(super) fn note_voters(&mut self, bank: &Bank) {
        if self.propagation.waiting.is_empty() {
            return;
        }
        for account in bank.vote_accounts() {
            if let Some((last, _)) = account.lockouts.last() {
                self.has_voted_for(Slot::new(*last), account.node);
            }
        }
    }

    /// Whether a slot may be begun on `parent`: the last own block on the way there is propagated, or so young that it
    /// may still be on its way.
    pub(super) fn may_build_on(&self, parent: Slot, slot: Slot) -> bool {
        self.last_own(parent).is_none_or(|own| {
            let young = slot.since(own).is_none_or(|distance| distance.get() < WINDOW_SLOTS);
            young || !self.propagation.is_waiting(own)
        })
    }

    /// The newest own block on the way from the root to `tip`.
    fn last_own(&self, tip: Slot) -> Option<Slot> {
        let mut at = tip;
        while at > self.forks.root() {
            let frozen = self.forks.get(at)?;
            if frozen.mine {
                return Some(at);
            }
            at = frozen.bank.parent_slot();
        }
        None
    }

    /// Sends the last own block on the fork that is built on once more, if too few nodes have it for too long.
    pub(super) fn spread_again(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Some(own) = self.leading.reset().and_then(|reset| self.last_own(reset.slot)) else { return };
        if !self.propagation.sends_again(now, own) {
            return;
        }
        let mut shreds = self.ledger.data_shreds(own).unwrap_or_default();
        shreds.truncate(AGAIN_SHREDS_MAX);
        self.counters.spread_again += 1;
        self.turbine(now, sundog_turbine::Input::OwnAgain { shreds }, out);
    }

    /// Tells that a slot is left out because nobody has the last own block.
    pub(super) fn tell_unpropagated(&mut self, parent: Slot, slot: Slot, out: &mut Effects<Effect>) {
        self.counters.unpropagated += 1;
        if let Some(last) = self.last_own(parent) {
            out.push(Effect::Event(Event::Unpropagated { slot, last }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now { mono_us: 0, unix_ms: 0 };

    fn node(number: u8) -> Pubkey {
        Pubkey::from([number; 32])
    }

    #[test]
    fn more_than_a_third_of_the_stake_makes_a_block_propagated() {
        let mut propagation = Propagation::default();
        propagation.watch(START, Slot::new(9));
        assert!(!propagation.support(Slot::new(9), node(1), (20, 99)));
        assert!(!propagation.support(Slot::new(9), node(1), (20, 99)), "a node counts once");
        assert!(!propagation.support(Slot::new(9), node(2), (13, 99)), "exactly a third is not enough");
        assert!(propagation.is_waiting(Slot::new(9)));
        assert!(!propagation.support(Slot::new(9), node(3), (0, 99)), "without stake nobody counts");
        assert!(propagation.support(Slot::new(9), node(4), (1, 99)));
        assert!(!propagation.is_waiting(Slot::new(9)));
    }

    #[test]
    fn a_block_that_nobody_has_is_sent_again_ever_more_seldom() {
        let mut propagation = Propagation::default();
        propagation.watch(START, Slot::new(9));
        let at = |seconds| START.after(Duration::from_secs(seconds));
        let sent: Vec<u64> = (0..1_000).filter(|second| propagation.sends_again(at(*second), Slot::new(9))).collect();
        assert_eq!(sent, [5, 15, 35, 75, 155, 315, 635, 955]);
    }

    #[test]
    fn the_oldest_block_is_let_go_when_too_many_wait() {
        let mut propagation = Propagation::default();
        for slot in 0..=WATCHED_MAX as u64 {
            propagation.watch(START, Slot::new(slot));
        }
        assert_eq!(propagation.waiting().count(), WATCHED_MAX);
        assert!(!propagation.is_waiting(Slot::ZERO));
        propagation.set_root(Slot::new(200));
        assert_eq!(propagation.waiting().next(), Some(Slot::new(201)));
    }
}

//! Ancestor hashes: what the cluster confirmed below a block that is dead here, asked of several peers.
//!
//! ```text
//!   a block is dead or muddled here --every half second one--> Turbine: AskAncestors --> over half of a sample agree
//!                                                                                            |
//!   lowest slot where this node has another bank hash, or none as it is dead or muddled <----+
//!        |
//!        +--> thrown away, any other version is fetched
//! ```
//!
//! A block that is dead may be bad, or may be good and built on another version of its parent than this node has. Most
//! often the way back along the chained block ids says which (see [`super::lost`]), but it begins at a block whose
//! block id voters told, and none need have: votes of other clients may carry none, votes of an hour ago are gone, and
//! those who vote on may each be on another slot. Peers that have the chain always know.

use super::{Effect, Event, Node};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_types::{Effects, Hash, Now, Slot, store::Batch};

/// Dead slots that are asked about in turn. More: the highest waits, the lowest is nearest to where it began.
const ASKED_MAX: usize = 256;
/// A slot is asked about again after this time, the second time after twice as long, and so on.
const AGAIN: Duration = Duration::from_secs(5);

/// What was asked, and what is noted for others who ask.
#[derive(Debug, Default)]
pub(super) struct Ancestors {
    /// When a slot was asked about last, and how often.
    asked: BTreeMap<Slot, (Now, u32)>,
    /// Up to here the ledger says what the cluster settled on.
    noted: Slot,
}

impl Ancestors {
    /// The slot to ask about now.
    fn due(&mut self, now: Now, dead: impl Iterator<Item = Slot>) -> Option<Slot> {
        let waits = |slot: &Slot| self.asked.get(slot).is_some_and(|(at, times)| now.since(*at) < AGAIN * *times);
        let slot = dead.take(ASKED_MAX).find(|slot| !waits(slot))?;
        let (at, times) = self.asked.entry(slot).or_insert((now, 0));
        (*at, *times) = (now, times.saturating_add(1));
        if self.asked.len() > ASKED_MAX {
            self.asked.pop_last();
        }
        Some(slot)
    }

    pub(super) fn set_root(&mut self, root: Slot) {
        self.asked = self.asked.split_off(&root.next());
    }
}

impl Node {
    /// Asks about the lowest block that is dead or muddled here and was not asked about lately.
    pub(super) fn ask_ancestors(&mut self, now: Now, out: &mut Effects<Effect>) {
        let tower = self.roots.tower();
        let dead = self.dead.range(tower.next()..).copied();
        let stuck: BTreeSet<Slot> = dead.chain(self.turbine.muddled_from(tower.next())).collect();
        if let Some(slot) = self.ancestors.due(now, stuck.into_iter()) {
            self.turbine(now, sundog_turbine::Input::AskAncestors(slot), out);
        }
    }

    /// Over half of those asked agree on these hashes, from a slot downwards: gives up the lowest block that is another.
    pub(super) fn ancestors_agreed(&mut self, now: Now, hashes: &[(Slot, Hash)], out: &mut Effects<Effect>) {
        let tower = self.roots.tower();
        for (slot, hash) in hashes.iter().rev().copied().filter(|(slot, _)| *slot > tower) {
            let here = self.forks.get(slot).map(|frozen| frozen.bank.hash());
            let stuck = here.is_none() && (self.dead.contains(&slot) || self.turbine.is_muddled(slot));
            if !stuck && here.is_none_or(|here| here == hash) {
                continue;
            }
            let chosen = self.consensus.chosen_version(slot).map(|(chosen, _)| chosen);
            if here.is_some() && here == chosen {
                // The votes are signed, the answers are only somebody's word.
                return;
            }
            self.counters.lost_by_ancestors += 1;
            let why = format!("peers agree that the cluster confirmed {hash} here; it is fetched afresh");
            out.push(Effect::Event(Event::Duplicate { slot, why }));
            if stuck {
                self.fetch_again(now, slot, out);
            } else {
                self.lose(now, (slot, false), None, out);
            }
            return;
        }
    }

    /// Notes in the ledger which blocks the cluster settled on, for peers that ask: those under the highest block that
    /// more than 52 % of the stake stands behind.
    pub(super) fn note_settled(&mut self, out: &mut Effects<Effect>) {
        let choice = self.consensus.fork_choice();
        let settled = |slot: &Slot, hash: Hash| choice.get(&(*slot, hash)).is_some_and(|s| s.duplicate_confirmed);
        let slots: Vec<Slot> =
            self.forks.iter().map(|(slot, _)| slot).filter(|slot| *slot > self.ancestors.noted).collect();
        let hash = |slot: Slot| self.forks.get(slot).map(|frozen| frozen.bank.hash()).unwrap_or_default();
        let Some(highest) = slots.into_iter().rev().find(|slot| settled(slot, hash(*slot))) else { return };
        let mut batch = Batch::default();
        for slot in self.forks.chain_to(highest).into_iter().filter(|slot| *slot > self.ancestors.noted) {
            sundog_ledger::put_settled(&mut batch, slot, &hash(slot));
        }
        self.ancestors.noted = highest;
        out.push(Effect::Write { batch, durable: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::lost::tests::Alone;

    const START: Now = Now { mono_us: 1, unix_ms: 1 };

    #[test]
    fn dead_slots_are_asked_about_from_the_lowest_on_and_ever_more_seldom() {
        let mut ancestors = Ancestors::default();
        let dead = || [7, 8, 9].map(Slot::new).into_iter();
        let mut ask = |seconds| {
            let now = START.after(Duration::from_secs(seconds));
            std::iter::from_fn(|| ancestors.due(now, dead()).map(Slot::get)).collect::<Vec<_>>()
        };
        assert_eq!(ask(0), [7, 8, 9]);
        assert_eq!(ask(4), Vec::<u64>::new());
        assert_eq!(ask(5), [7, 8, 9]);
        assert_eq!(ask(10), Vec::<u64>::new());
        assert_eq!(ask(15), [7, 8, 9]);
    }

    #[test]
    fn of_too_many_dead_slots_the_lowest_are_asked_about() {
        let mut ancestors = Ancestors::default();
        let dead = || (0..2 * ASKED_MAX as u64).map(Slot::new);
        while ancestors.due(START, dead()).is_some() {}
        assert_eq!(ancestors.asked.len(), ASKED_MAX);
        assert!(ancestors.asked.contains_key(&Slot::ZERO));
        ancestors.set_root(Slot::new(9));
        assert_eq!(ancestors.asked.len(), ASKED_MAX - 10);
    }

    const OTHER: Hash = Hash::new_from_array([9; 32]);

    #[test]
    fn the_lowest_block_with_another_hash_is_thrown_away_unless_it_is_what_was_voted_for() {
        let mut alone = Alone::new();
        let (own, chosen, root) = (alone.lowest_own(), alone.chosen(), alone.node.roots.tower());
        let here = |alone: &Alone, slot| (slot, alone.hash(slot).expect("it is executed"));
        let [own_here, chosen_here] = [own, chosen].map(|slot| here(&alone, slot));
        let agreed = |alone: &mut Alone, hashes: &[(Slot, Hash)]| {
            alone.node.ancestors_agreed(alone.now, hashes, &mut alone.out);
            (alone.said().0.len(), alone.node.counters.lost_by_ancestors)
        };
        assert_eq!(agreed(&mut alone, &[own_here, chosen_here]), (0, 0), "all is as it is here");
        assert_eq!(agreed(&mut alone, &[(root, OTHER)]), (0, 0), "what is rooted is not asked about");
        assert_eq!(agreed(&mut alone, &[(own, OTHER), (chosen, OTHER)]), (0, 0), "against signed votes");
        let built_on = alone.node.forks.subtree(own).len();
        assert_eq!(agreed(&mut alone, &[(own, OTHER), chosen_here]), (built_on, 1));
        assert!(alone.hash(own).is_none() && alone.hash(chosen).is_some());
    }

    #[test]
    fn a_dead_block_on_a_chain_that_is_as_here_is_fetched_again() {
        let mut alone = Alone::new();
        let (chosen, dead) = (alone.chosen(), alone.node.forks.highest().saturating_add(3));
        alone.node.mark_dead(alone.now, dead, "torn".to_owned(), &mut alone.out);
        let hashes = [(dead, OTHER), (chosen, alone.hash(chosen).expect("it is executed"))];
        alone.node.ancestors_agreed(alone.now, &hashes, &mut alone.out);
        assert!(!alone.node.dead.contains(&dead) && alone.said().0.is_empty());
        assert_eq!(alone.node.counters.lost_by_ancestors, 1);
    }
}

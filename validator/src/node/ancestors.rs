//! Ancestor hashes: what the cluster confirmed below a block that is dead here, asked of several peers.
//!
//! ```text
//!   a block is dead here --every half second one--> Turbine: AskAncestors --> over half of a sample agree
//!                                                                                  |
//!   lowest slot where this node has another bank hash, or none as it is dead <-----+
//!        |
//!        +--> thrown away, any other version is fetched
//! ```
//!
//! A block that is dead may be bad, or may be good and built on another version of its parent than this node has. Most
//! often the way back along the chained block ids says which (see [`super::lost`]), but it begins at a block whose
//! block id voters told, and none need have: votes of other clients may carry none, votes of an hour ago are gone, and
//! those who vote on may each be on another slot. Peers that have the chain always know.

use super::{Effect, Event, Node};
use std::{collections::BTreeMap, time::Duration};
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
    /// Asks about the lowest block that is dead here and was not asked about lately.
    pub(super) fn ask_ancestors(&mut self, now: Now, out: &mut Effects<Effect>) {
        let tower = self.roots.tower();
        let dead = self.dead.range(tower.next()..).copied();
        if let Some(slot) = self.ancestors.due(now, dead) {
            self.turbine(now, sundog_turbine::Input::AskAncestors(slot), out);
        }
    }

    /// Over half of those asked agree on these hashes, from a slot downwards: gives up the lowest block that is another.
    pub(super) fn ancestors_agreed(&mut self, now: Now, hashes: &[(Slot, Hash)], out: &mut Effects<Effect>) {
        let tower = self.roots.tower();
        for (slot, hash) in hashes.iter().rev().copied().filter(|(slot, _)| *slot > tower) {
            let here = self.forks.get(slot).map(|frozen| frozen.bank.hash());
            let dead = here.is_none() && self.dead.contains(&slot);
            if !dead && here.is_none_or(|here| here == hash) {
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
            if dead {
                self.fetch_again(now, slot, out);
            } else {
                self.lose(now, slot, None, out);
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
}

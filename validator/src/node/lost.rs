//! Blocks that lost: the cluster chose another version of a slot than the one that is here.
//!
//! ```text
//!   votes of 52 %, with a block id ----> other_version ----+
//!   a chosen block that names its -----> trace ------------+--> lose: banks, own block on them, shreds, transactions
//!   parent by another block id                             |      | tower: Forgotten     | Turbine: Choose
//!   bulk sync brings another version --> give_way ---------+      v                      v
//!   a block is dead here, and peers ---> ancestors_agreed -+   build elsewhere        fetch, replay
//!   agree on another bank hash below
//! ```
//!
//! Votes for a slot may be long gone when a node comes back that has the version that lost. But every block names its
//! parent's block id, in a shred that its leader signed: from a block that is chosen, the way back says which versions
//! were. Where votes tell no block id, several peers are asked for ancestor hashes ([`super::ancestors`]).
//!
//! What is thrown away leaves the ledger with a write that is not made durable at once: a crash may bring all of it
//! back, never a part, since writes keep their order. Then it is found out once more, in one of these ways.

use super::{Effect, Event, Node};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_turbine::pin::PINS_MAX;
use sundog_types::{Effects, Hash, Now, Slot};

/// Blocks that are followed back at most from one that was chosen: no vote counts further from the root.
const TRACE_MAX: usize = 512;
/// A version that is fetched by its block id has so long to come. One that is real comes within a second or two.
const CHOSEN_FOR: Duration = Duration::from_secs(10);
/// Block ids that are remembered because nobody could bring them. More: those of the lowest slot may be tried again.
const GIVEN_UP_MAX: usize = 256;

/// Versions that are fetched by their block id, and those that nobody had.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// As many as Turbine remembers.
    slots: BTreeMap<Slot, (Hash, Now)>,
    given_up: BTreeSet<(Slot, Hash)>,
}

impl Fetched {
    /// Notes that a version is fetched.
    fn begin(&mut self, now: Now, slot: Slot, block_id: Option<Hash>) {
        self.slots.remove(&slot);
        self.slots.extend(block_id.map(|block_id| (slot, (block_id, now))));
        if self.slots.len() > PINS_MAX {
            self.slots.pop_last();
        }
    }

    /// Those that did not come in time, and are given up now.
    fn late(&mut self, now: Now, is_here: impl Fn(Slot, Hash) -> bool) -> Vec<Slot> {
        self.slots.retain(|slot, (block_id, _)| !is_here(*slot, *block_id));
        let late = |(_, since): &(Hash, Now)| now.since(*since) >= CHOSEN_FOR;
        let late: Vec<(Slot, Hash)> =
            self.slots.iter().filter(|(_, fetched)| late(fetched)).map(|(slot, (id, _))| (*slot, *id)).collect();
        for version in &late {
            self.slots.remove(&version.0);
            self.given_up.insert(*version);
            if self.given_up.len() > GIVEN_UP_MAX {
                self.given_up.pop_first();
            }
        }
        late.into_iter().map(|(slot, _)| slot).collect()
    }

    fn is_given_up(&self, slot: Slot, block_id: Hash) -> bool {
        self.given_up.contains(&(slot, block_id))
    }

    pub(super) fn set_root(&mut self, root: Slot) {
        self.slots = self.slots.split_off(&root.next());
        self.given_up.retain(|(slot, _)| *slot > root);
    }
}

impl Node {
    /// More than 52 % of the stake voted for another version of a slot than the one that is here, or that is dead here.
    pub(super) fn other_version(&mut self, now: Now, (slot, hash): (Slot, Hash), out: &mut Effects<Effect>) {
        let chosen = self.consensus.chosen_version(slot).filter(|(chosen, _)| *chosen == hash);
        let block_id = chosen.and_then(|(_, block_id)| block_id).filter(|id| !self.fetched.is_given_up(slot, *id));
        let why = format!("the cluster voted for another version, {hash}, than this node has; it is fetched afresh");
        out.push(Effect::Event(Event::Duplicate { slot, why }));
        if block_id.is_none() || block_id != self.held_version(slot) {
            return self.lose(now, slot, block_id, out);
        }
        // It is the very same block. Executed here with another result, it stays: the tower judges that. Dead here, its
        // parent may be another one than it was built on.
        if self.forks.get(slot).is_none() && !self.trace(now, (slot, block_id.unwrap_or_default()), out) {
            self.replay_renew(slot);
            self.turbine(now, sundog_turbine::Input::Forget(slot), out);
        }
    }

    /// The block id of the version that is here, if it is whole.
    fn held_version(&self, slot: Slot) -> Option<Hash> {
        let frozen = self.forks.get(slot).and_then(|frozen| frozen.block_id);
        frozen.or_else(|| self.turbine.block_id(slot))
    }

    /// Follows what was voted for, and is not executed here, back to where another version is.
    pub(super) fn trace_versions(&mut self, now: Now, out: &mut Effects<Effect>) {
        for slot in self.wanted() {
            if let Some((_, Some(block_id))) = self.consensus.chosen_version(slot) {
                self.trace(now, (slot, block_id), out);
            }
        }
    }

    /// Follows a chosen block back to its first ancestor of which another version is here, and gives that up. Whether
    /// there was one.
    fn trace(&mut self, now: Now, chosen: (Slot, Hash), out: &mut Effects<Effect>) -> bool {
        let (mut slot, mut block_id) = chosen;
        for _ in 0..TRACE_MAX {
            if slot <= self.roots.tower() || self.fetched.is_given_up(slot, block_id) {
                return false;
            }
            match self.held_version(slot) {
                Some(held) if held != block_id => {
                    self.lose(now, slot, Some(block_id), out);
                    return true;
                }
                Some(_) if self.forks.get(slot).is_none() => {}
                _ => return false,
            }
            let (Some(parent), Some(parent_id)) = (self.turbine.parent(slot), self.turbine.parent_id(slot)) else {
                return false;
            };
            (slot, block_id) = (parent, parent_id);
        }
        false
    }

    /// Bulk sync brings another version of a slot than the one that is here, on a chain that its peers call final. Makes
    /// room for it, unless that is a lie, or it is too late. Whether there is room now.
    pub(super) fn give_way(
        &mut self,
        now: Now,
        (slot, block_id): (Slot, Option<Hash>),
        out: &mut Effects<Effect>,
    ) -> bool {
        let mut tell = |why: &str| out.push(Effect::Event(Event::Duplicate { slot, why: why.to_owned() }));
        let Some(executed) = self.forks.get(slot).map(|frozen| frozen.bank.hash()) else {
            self.make_room_for(now, (slot, block_id), out);
            return true;
        };
        if self.consensus.chosen_version(slot).is_some_and(|(hash, _)| hash == executed) {
            tell("a peer of bulk sync calls another version final than the one that the cluster voted for");
            self.sync_dead(now, slot, out);
            return false;
        }
        if slot <= self.roots.tower() {
            tell("the peers of bulk sync call another version final than the one that this node rooted");
            self.counters.lost_too_late += 1;
            return false;
        }
        tell("the peers of bulk sync have another version on their final chain: it takes the place of the one here");
        self.lose(now, slot, block_id, out);
        true
    }

    /// Forgets what was gathered of a slot and is not executed, for a version that is whole. Nothing of it may stay in
    /// the ledger: parts of two versions are a dead block.
    fn make_room_for(&mut self, now: Now, (slot, block_id): (Slot, Option<Hash>), out: &mut Effects<Effect>) {
        if self.turbine.slot_status(slot).is_some() {
            self.throw_away(slot, out);
        }
        self.replay_renew(slot);
        let choose = sundog_turbine::Input::Choose { slot, block_id, lost: None, fetch: false };
        let other = self.turbine.is_chosen(slot);
        self.turbine(now, if other { choose } else { sundog_turbine::Input::Forget(slot) }, out);
    }

    /// Throws away what is here of a slot, and all that was built on it, and fetches the version with this block id; if
    /// it is not known, any other.
    pub(super) fn lose(&mut self, now: Now, slot: Slot, block_id: Option<Hash>, out: &mut Effects<Effect>) {
        if slot <= self.roots.tower() {
            self.counters.lost_too_late += 1;
            return;
        }
        self.fetched.begin(now, slot, block_id);
        let gone = self.forks.subtree(slot);
        self.set_aside_children(now, slot, &gone, out);
        for at in gone.iter().copied().filter(|at| *at != slot).chain([slot]) {
            let lost = self.held_version(at);
            self.throw_away(at, out);
            let (chosen, fetch) = if at == slot { (block_id, true) } else { (None, false) };
            let input = sundog_turbine::Input::Choose { slot: at, block_id: chosen, lost, fetch };
            self.turbine(now, input, out);
        }
        self.lead_rooted(now, out);
        self.consensus(now, sundog_tower::Input::Forgotten(slot), out);
        self.recalled(slot, false, out);
        self.lead_again(now, out);
        self.view.touch();
    }

    /// Fetches a block that is dead afresh, in whichever version comes: its parent may have been another one.
    pub(super) fn fetch_again(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        self.throw_away(slot, out);
        self.turbine(now, sundog_turbine::Input::Forget(slot), out);
        self.consensus(now, sundog_tower::Input::Forgotten(slot), out);
    }

    /// Gives up what nobody could bring: more than a third of the stake lied about its block id, or its leader did in
    /// what names it. Any other version is fetched then; if that is executed to another bank hash than was voted for, it
    /// loses in turn. The reference never fetches by block id: it fetches any version, executes it, compares the bank
    /// hash, and if that is wrong throws it away and begins anew.
    pub(super) fn give_up_versions(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.sync.is_syncing() {
            return;
        }
        let (forks, turbine) = (&self.forks, &self.turbine);
        let is_here = |slot: Slot, id: Hash| forks.get(slot).is_some() || turbine.block_id(slot) == Some(id);
        for slot in self.fetched.late(now, is_here) {
            self.counters.versions_given_up += 1;
            let input = sundog_turbine::Input::Choose { slot, block_id: None, lost: None, fetch: true };
            self.turbine(now, input, out);
        }
    }

    /// Blocks that build on what is lost, and are not executed or could not be: they may belong to the version that is
    /// to come. Their shreds are in the ledger, and are taken up again with it.
    fn set_aside_children(&mut self, now: Now, slot: Slot, gone: &BTreeSet<Slot>, out: &mut Effects<Effect>) {
        let on_lost = |parent: Slot| parent == slot || gone.contains(&parent);
        let mut aside = self.replays.on(&on_lost);
        let dead = self.dead.iter().filter_map(|dead| Some((*dead, self.turbine.parent(*dead)?)));
        let dead: Vec<(Slot, Slot)> = dead.filter(|(_, parent)| on_lost(*parent)).collect();
        aside.extend(&dead);
        for (child, parent) in aside {
            self.replay_renew(child);
            self.replays.put_off(child, parent);
        }
        for (child, _) in dead.into_iter().filter(|(child, _)| *child != slot) {
            self.consensus(now, sundog_tower::Input::Forgotten(child), out);
        }
    }

    /// Forgets a block, in memory and in the ledger.
    fn throw_away(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        let shreds = self.turbine.length(slot).unwrap_or_default();
        self.replay_renew(slot);
        self.transactions_in_block.remove(&slot);
        self.propagation.forget(slot);
        if let Some(frozen) = self.forks.remove(slot) {
            self.counters.lost += 1;
            self.leading.lose(slot);
            out.push(Effect::Event(Event::Lost { slot, hash: frozen.bank.hash() }));
        }
        match self.ledger.forget(slot, shreds) {
            Ok(batch) => out.push(Effect::Write { batch, durable: None }),
            Err(error) => tracing::error!(%error, %slot, "a block that lost cannot be removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Frozen, forks::Forks};
    use std::sync::Arc;
    use sundog_runtime::Bank;
    use sundog_types::Pubkey;

    #[test]
    fn a_version_that_nobody_brings_is_given_up_and_not_fetched_by_its_id_again() {
        let mut fetched = Fetched::default();
        let (start, id) = (Now { mono_us: 1, unix_ms: 1 }, Hash::new_from_array([7; 32]));
        (1..=2).for_each(|slot| fetched.begin(start, Slot::new(slot), Some(id)));
        fetched.begin(start, Slot::new(3), None);
        let here = |slot: Slot, _: Hash| slot == Slot::new(1);
        assert!(fetched.late(start.after(CHOSEN_FOR / 2), here).is_empty());
        assert_eq!(fetched.late(start.after(CHOSEN_FOR), here), [Slot::new(2)]);
        assert_eq!([1, 2, 3].map(|slot| fetched.is_given_up(Slot::new(slot), id)), [false, true, false]);
        assert!(fetched.late(start.after(CHOSEN_FOR * 9), here).is_empty(), "once");
        fetched.set_root(Slot::new(2));
        assert!(!fetched.is_given_up(Slot::new(2), id));
    }

    #[test]
    fn what_is_fetched_and_given_up_is_remembered_up_to_bounds() {
        let mut fetched = Fetched::default();
        let (start, nowhere) = (Now { mono_us: 1, unix_ms: 1 }, |_: Slot, _: Hash| false);
        for round in 0..10 {
            (0..2 * PINS_MAX as u64)
                .for_each(|slot| fetched.begin(start, Slot::new(round * 100 + slot), Some(Hash::default())));
            assert_eq!(fetched.slots.len(), PINS_MAX);
            assert_eq!(fetched.late(start.after(CHOSEN_FOR), nowhere).len(), PINS_MAX);
        }
        assert_eq!(fetched.given_up.len(), GIVEN_UP_MAX);
    }

    #[test]
    fn a_block_goes_with_all_that_is_built_on_it_and_nothing_else() {
        let world = crate::sim::World::new(crate::sim::WorldConfig::default());
        let node = world.hosts[0].node.as_ref().expect("it runs");
        let root = node.forks().get(Slot::ZERO).expect("genesis").clone();
        let mut forks = Forks::new(root);
        for (slot, parent) in [(1, 0), (2, 1), (3, 2), (4, 1), (5, 3), (6, 4)] {
            let parent = &forks.get(Slot::new(parent)).expect("added before").bank;
            let mut bank = Bank::child(parent, Slot::new(slot), Pubkey::default());
            while bank.tick_height() < bank.max_tick_height() {
                bank.register_tick(&Hash::default());
            }
            bank.freeze();
            assert!(forks.insert(Frozen { bank: Arc::new(bank), mine: false, block_id: None, transactions: 0 }));
        }
        let gone = forks.subtree(Slot::new(2));
        assert_eq!(gone.iter().map(|slot| slot.get()).collect::<Vec<_>>(), [2, 3, 5]);
        assert!(forks.subtree(Slot::new(9)).is_empty());
        assert!(gone.iter().rev().all(|slot| forks.remove(*slot).is_some()));
        assert_eq!(forks.iter().map(|(slot, _)| slot.get()).collect::<Vec<_>>(), [0, 1, 4, 6]);
        assert!(forks.remove(Slot::ZERO).is_none(), "the root stays");
    }
}

//! Blocks that lost: the cluster chose another version of a slot than the one that is here.
//!
//! ```text
//!   votes of 52 %, with a block id --> other_version --+
//!                                                      +--> lose: banks, own block on them, shreds, transactions
//!   a chosen block that names its --> trace -----------+        | tower: Forgotten     | Turbine: Choose
//!   parent by another block id                                  v                      v
//!                                                         build elsewhere        fetch, replay
//! ```
//!
//! Votes for a slot may be long gone when a node comes back that has the version that lost. But every block names its
//! parent's block id, in a shred that its leader signed: from a block that is chosen, the way back says which versions
//! were.

use super::{Effect, Event, Node};
use std::collections::BTreeSet;
use sundog_types::{Effects, Hash, Now, Slot};

/// Blocks that are followed back at most from one that was chosen: no vote counts further from the root.
const TRACE_MAX: usize = 512;

impl Node {
    /// More than 52 % of the stake voted for another version of a slot than the one that is here, or that is dead here.
    pub(super) fn other_version(&mut self, now: Now, (slot, hash): (Slot, Hash), out: &mut Effects<Effect>) {
        let chosen = self.consensus.chosen_version(slot).filter(|(chosen, _)| *chosen == hash);
        let block_id = chosen.and_then(|(_, block_id)| block_id);
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
            if slot <= self.roots.tower() {
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

    /// Throws away what is here of a slot, and all that was built on it, and fetches the version with this block id; if
    /// it is not known, any other.
    fn lose(&mut self, now: Now, slot: Slot, block_id: Option<Hash>, out: &mut Effects<Effect>) {
        if slot <= self.roots.tower() {
            self.counters.lost_too_late += 1;
            return;
        }
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
        self.lead_again(now, out);
        self.view.touch();
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
    use crate::node::{Frozen, forks::Forks};
    use std::sync::Arc;
    use sundog_runtime::Bank;
    use sundog_types::{Hash, Pubkey, Slot};

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

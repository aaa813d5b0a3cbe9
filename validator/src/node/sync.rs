//! Catching up: bulk sync brings finalised blocks, Turbine gathers them like any others, replay executes them.
//!
//! ```text
//!   heard votes, roots --Chain--> sync --Block--> turbine --Data--> replay --frozen--> applied --Chain--> sync
//! ```

use super::{Done, Effect, Event, Job, Node};
use std::collections::BTreeMap;
use sundog_ledger::Ledger;
use sundog_turbine::sync::{self, ChainState, Load, LoadWhat, Progress, StoredBlock};
use sundog_types::{
    Effects, Hash, Machine as _, Now, Pubkey, Slot,
    shred::{Shred, Signed},
};

/// A node keeps up if its tip is no further than this behind what more than a third of the stake voted for: 64 slots
/// from which a fetch begins, and as many that a root lags behind.
const KEEPS_UP_SLOTS: u64 = 128;

/// Time between two lines in the log about refusals, microseconds: a link that is refused costs its peer little. The
/// metrics count them all.
const REFUSAL_LINES_EVERY_US: u64 = 1_000_000;

/// When the next refusal may be a line in the log.
#[derive(Default)]
struct RefusalLines {
    next_us: u64,
    left_out: u64,
}

impl RefusalLines {
    /// Whether this refusal is told, and then how many since the last one were not.
    fn tell(&mut self, now: Now) -> Option<u64> {
        if now.mono_us < self.next_us {
            self.left_out += 1;
            return None;
        }
        self.next_us = now.mono_us.saturating_add(REFUSAL_LINES_EVERY_US);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// How bulk sync stands in this node.
#[derive(Default)]
pub(super) struct Catching {
    /// The last block that was handed on and is executed, or the root if that is newer.
    applied: Slot,
    /// Blocks above the root that were handed on and are not executed yet, and who served them. Bounded by the
    /// machine's window.
    released: BTreeMap<Slot, Pubkey>,
    /// The lowest slot from which on the ledger has every finalised block.
    lowest: Slot,
    /// What the machine was told last.
    told: ChainState,
    /// The last report, while the node catches up.
    progress: Option<Progress>,
    /// The lowest slot that any peer has, while this node needs an older one.
    stranded: Option<Slot>,
    refused: RefusalLines,
    refused_by: RefusalLines,
}

impl Catching {
    pub(super) fn from(root: Slot, lowest: Slot) -> Self {
        Self { applied: root, lowest, ..Self::default() }
    }

    /// Forgets what waits for blocks that are not above the root: they were left, or were executed in another way.
    pub(super) fn set_root(&mut self, root: Slot) {
        self.released = self.released.split_off(&root.next());
    }

    /// The lowest slot from which on the ledger has every finalised block.
    pub(super) const fn lowest(&self) -> Slot {
        self.lowest
    }

    /// The lowest slot that any peer has, while this node needs an older one.
    pub(super) const fn stranded(&self) -> Option<Slot> {
        self.stranded
    }

    /// The last report, while the node catches up.
    pub(super) const fn progress(&self) -> Option<Progress> {
        self.progress
    }
}

/// Reads what a peer asked for. Whatever cannot be read is not there. `unwritten`: slots that are rooted, and not marked so
/// in the ledger yet; the root that peers are told of is one of them.
#[must_use]
pub fn load(ledger: &Ledger, unwritten: &[Slot], load: Load) -> Done {
    let lowest = ledger.lowest_slot().ok().flatten().unwrap_or_default();
    let stored = |slot, shreds| StoredBlock { slot, shreds };
    let (blocks, next) = match load.what {
        LoadWhat::Range { from, count, bytes_max } => match ledger.rooted_blocks(from, count, bytes_max, unwritten) {
            Ok(stretch) => (stretch.blocks.into_iter().map(|b| stored(b.slot, b.shreds)).collect(), stretch.next),
            Err(error) => {
                tracing::error!(%error, %from, "blocks that a peer asks for cannot be read");
                (Vec::new(), from)
            }
        },
        LoadWhat::Block { slot, block_id } => {
            let shreds = if may_be_final(ledger, unwritten, slot) { whole(ledger, slot, block_id) } else { None };
            (shreds.map(|shreds| stored(slot, shreds)).into_iter().collect(), slot.saturating_add(1))
        }
    };
    Done::Loaded { id: load.id, blocks, next, lowest }
}

/// Whether the block of a slot is on the rooted chain, or beyond it. What was left below the root is nobody's chain: who
/// showed it would vouch for whoever serves blocks that build on it.
fn may_be_final(ledger: &Ledger, unwritten: &[Slot], slot: Slot) -> bool {
    let root = unwritten.last().copied().or_else(|| ledger.root().ok().flatten()).unwrap_or_default();
    slot > root || unwritten.contains(&slot) || ledger.is_rooted(slot).unwrap_or(false)
}

/// The data shreds of the block with this id, if all of them are here. Its last shred is read before the others: a peer
/// that asks for blocks that are not here costs little.
fn whole(ledger: &Ledger, slot: Slot, block_id: Hash) -> Option<Vec<bytes::Bytes>> {
    let last = Shred::raw(ledger.highest_data_shred(slot).ok()??).parse().ok()?;
    if !last.last_in_slot() || last.merkle_root().ok()? != block_id {
        return None;
    }
    let shreds = ledger.data_shreds(slot).ok()?;
    (shreds.len() as u64 == u64::from(last.index().get()) + 1).then_some(shreds)
}

impl Node {
    /// Hands bulk sync an input.
    pub(super) fn sync(&mut self, now: Now, input: sync::Input, out: &mut Effects<Effect>) {
        let mut effects = Vec::new();
        self.sync.handle(now, input, &mut effects);
        self.sync_effects(now, effects, out);
    }

    pub(super) fn sync_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        let mut effects = Vec::new();
        self.sync.handle_timeout(now, &mut effects);
        self.sync_effects(now, effects, out);
    }

    fn sync_effects(&mut self, now: Now, effects: Vec<sync::Effect>, out: &mut Effects<Effect>) {
        use sync::Effect as E;
        for effect in effects {
            match effect {
                E::Dial { .. } | E::Send { .. } | E::Close { .. } => out.push(Effect::Sync(effect)),
                E::Load(load) => {
                    let (ledger, unwritten) = (self.ledger.clone(), self.roots.unwritten());
                    out.push(Effect::Run(Job::Load { load, ledger, unwritten }));
                }
                E::Check(check) => out.push(Effect::Run(Job::CheckRange(check))),
                E::Block { from, slot, shreds } => self.sync_block(now, (from, slot), shreds, out),
                E::RepairFrom(slot) => self.turbine(now, sundog_turbine::Input::RepairFrom(slot), out),
                E::Progress(progress) => {
                    self.catching.progress = Some(progress);
                    self.catching.stranded = None;
                    out.push(Effect::Event(Event::CatchingUp { progress }));
                    self.view.touch();
                }
                E::CaughtUp { at } => {
                    self.catching.released.clear();
                    self.catching.stranded = None;
                    if self.catching.progress.take().is_some() {
                        out.push(Effect::Event(Event::CaughtUp { slot: at }));
                    }
                    self.view.touch();
                }
                E::Stranded { lowest, applied } => {
                    self.catching.stranded = Some(lowest);
                    self.view.touch();
                    out.push(Effect::Event(Event::Stranded { lowest, applied }));
                }
                E::Refused { peer, address, why } => {
                    if let Some(left_out) = self.catching.refused.tell(now) {
                        tracing::warn!(%peer, %address, %why, left_out, "a peer was refused in bulk sync");
                    }
                }
                E::RefusedBy { peer, address, why, detail } => {
                    if let Some(left_out) = self.catching.refused_by.tell(now) {
                        tracing::warn!(%peer, %address, %why, ?detail, left_out, "a peer refuses bulk sync with this node");
                    }
                }
            }
        }
    }

    /// Takes a block that its leader signed. What is here of the slot gives way, unless it is this very block.
    fn sync_block(
        &mut self,
        now: Now,
        (from, slot): (Pubkey, Slot),
        shreds: Vec<Shred<Signed>>,
        out: &mut Effects<Effect>,
    ) {
        if slot <= self.forks.root() {
            return;
        }
        self.catching.released.insert(slot, from);
        let block_id = shreds.last().map(Shred::<Signed>::merkle_root);
        // What was executed counts: what was gathered since may be another version.
        let held = match self.forks.get(slot) {
            Some(frozen) => frozen.block_id.or_else(|| self.turbine.block_id(slot)),
            None if self.dead.contains(&slot) => None,
            None => self.turbine.block_id(slot),
        };
        if held.is_some() && held == block_id {
            self.sync_applied(now, slot, out);
            return;
        }
        if self.give_way(now, (slot, block_id), out) {
            self.turbine(now, sundog_turbine::Input::Synced { from, shreds }, out);
        }
    }

    /// A block is executed: if bulk sync brought it, that is how far the node has come.
    pub(super) fn sync_applied(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        if self.forks.get(slot).is_some() && self.catching.released.remove(&slot).is_some() {
            self.catching.applied = self.catching.applied.max(slot);
            self.tell_chain(now, out);
        }
    }

    /// A block can never become valid: whoever served it is to blame.
    pub(super) fn sync_dead(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        if self.catching.released.remove(&slot).is_some() {
            self.sync(now, sync::Input::Dead { slot }, out);
        }
    }

    /// Tells bulk sync where the chain stands, if that changed.
    ///
    /// A node that keeps up stands at its tip. One that does not stands at its root, until bulk sync has brought it
    /// further: what it has beyond may be a fork that the others left.
    pub(super) fn tell_chain(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.wait.is_some() {
            return;
        }
        let root = self.forks.root();
        let tip = self.leading.reset().map_or(root, |reset| reset.slot).max(root);
        let heard = self.voted_beyond(1).unwrap_or_default();
        let keeps_up = heard > Slot::ZERO && heard <= tip.saturating_add(KEEPS_UP_SLOTS) && !self.sync.is_syncing();
        self.catching.applied = self.catching.applied.max(root);
        let id = |slot: Slot| self.forks.get(slot).and_then(|frozen| frozen.block_id);
        let applied = if keeps_up { tip } else { self.catching.applied };
        let kept_from = Slot::new(root.get().saturating_sub(self.config.ledger_slots));
        let state = ChainState {
            root,
            root_id: id(root),
            lowest: self.catching.lowest.max(kept_from),
            highest: self.forks.highest(),
            applied,
            applied_id: id(applied),
            heard,
        };
        if state != self.catching.told {
            self.catching.told = state;
            self.sync(now, sync::Input::Chain(state), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::lost::tests::Alone;
    use solana_keypair::Keypair;
    use std::{sync::Arc, time::Duration};
    use sundog_ledger::MemoryStore;
    use sundog_turbine::Shredder;
    use sundog_types::{
        shred::{Parsed, signature_holds},
        sign::Identity,
        store::{Batch, Store as _},
    };

    /// Blocks in slots 5 to 8, of which 6 and 7 are rooted; the id of each.
    fn ledger() -> (Ledger, BTreeMap<u64, Hash>) {
        let store = Arc::new(MemoryStore::default());
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let (mut batch, mut ids) = (Batch::default(), BTreeMap::new());
        for slot in 5..9 {
            let mut shredder = Shredder::new(Slot::new(slot), Slot::new(slot - 1), 7, Hash::default()).expect("near");
            let sets = shredder.shred(&[1], 0, true, &leader).expect("short");
            sets.iter().for_each(|set| sundog_ledger::put_shreds(&mut batch, &set.data));
            ids.insert(slot, shredder.chained_root());
        }
        sundog_ledger::set_root(&mut batch, Slot::new(7), &[Slot::new(6)]);
        store.commit(&batch, true).expect("memory");
        (Ledger::new(store), ids)
    }

    fn loaded(ledger: &Ledger, slot: u64, block_id: Hash) -> usize {
        let what = LoadWhat::Block { slot: Slot::new(slot), block_id };
        let Done::Loaded { blocks, .. } = load(ledger, &[], Load { id: 1, what }) else { panic!("reads are answered") };
        blocks.len()
    }

    #[test]
    fn what_is_rooted_and_not_written_yet_is_shown_like_any_finalised_block() {
        let (ledger, ids) = ledger();
        let unwritten = [Slot::new(8)];
        let shown = |what| match load(&ledger, &unwritten, Load { id: 1, what }) {
            Done::Loaded { blocks, .. } => blocks.iter().map(|block| block.slot.get()).collect::<Vec<_>>(),
            _ => panic!("reads are answered"),
        };
        assert_eq!(shown(LoadWhat::Range { from: Slot::new(5), count: 9, bytes_max: usize::MAX }), [6, 7, 8]);
        assert_eq!(shown(LoadWhat::Range { from: Slot::new(5), count: 3, bytes_max: usize::MAX }), [6, 7]);
        assert_eq!(shown(LoadWhat::Block { slot: Slot::new(8), block_id: ids[&8] }), [8]);
        assert_eq!(shown(LoadWhat::Block { slot: Slot::new(5), block_id: ids[&5] }), [0; 0]);
        // Left by a root that is not written: it is as little final as one that was left by a written one.
        assert!(!may_be_final(&ledger, &[Slot::new(12)], Slot::new(8)));
    }

    #[test]
    fn a_block_is_shown_by_its_id_unless_the_rooted_chain_left_it() {
        let (ledger, ids) = ledger();
        let held: Vec<usize> = ids.iter().map(|(slot, id)| loaded(&ledger, *slot, *id)).collect();
        assert_eq!(held, [0, 1, 1, 1], "5 was left, 8 is beyond the root");
        assert_eq!(loaded(&ledger, 6, ids[&7]), 0);
    }

    #[test]
    fn a_block_of_which_a_shred_is_missing_is_not_shown() {
        let store = Arc::new(MemoryStore::default());
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let mut shredder = Shredder::new(Slot::new(5), Slot::new(4), 7, Hash::default()).expect("near");
        let sets = shredder.shred(&[1; 60_000], 0, true, &leader).expect("short");
        let shreds: Vec<_> = sets.iter().flat_map(|set| set.data.clone()).collect();
        let ledger = Ledger::new(Arc::clone(&store) as _);
        let held = [&shreds[1..], &shreds[..1]].map(|part| {
            let mut batch = Batch::default();
            sundog_ledger::put_shreds(&mut batch, part);
            store.commit(&batch, true).expect("memory");
            loaded(&ledger, 5, shredder.chained_root())
        });
        assert_eq!(held, [0, 1]);
    }

    #[test]
    fn slots_at_the_end_of_time_may_be_asked_for() {
        let (ledger, ids) = ledger();
        assert_eq!(loaded(&ledger, u64::MAX, ids[&6]), 0);
        let what = LoadWhat::Range { from: Slot::new(u64::MAX), count: u64::MAX, bytes_max: usize::MAX };
        assert!(matches!(load(&ledger, &[], Load { id: 1, what }), Done::Loaded { blocks, .. } if blocks.is_empty()));
    }

    #[test]
    fn a_flood_of_refusals_is_one_line_a_second_that_says_how_many_there_were() {
        let mut lines = RefusalLines::default();
        let start = Now { mono_us: 5_000_000, unix_ms: 0 };
        let told: Vec<_> = (0..2_500).filter_map(|ms| lines.tell(start.after(Duration::from_millis(ms)))).collect();
        assert_eq!(told, [0, 999, 999]);
    }

    #[test]
    fn of_the_block_that_is_executed_nothing_is_done_and_another_version_takes_its_place() {
        let mut alone = Alone::new();
        let slot = alone.lowest_own();
        let shreds = alone.node.ledger.data_shreds(slot).expect("memory");
        let same: Vec<_> = shreds.into_iter().map(|shred| Shred::raw(shred).parse().expect("stored")).collect();
        let leader = alone.node.leaders.leader(slot).expect("known");
        let verify = |shred: Shred<Parsed>| shred.verify(&leader, signature_holds).expect("it is the leader's");
        let same: Vec<Shred<Signed>> = same.into_iter().map(verify).collect();
        let from = Pubkey::default();
        alone.node.forks.get_mut(slot).expect("it is executed").block_id =
            same.last().map(Shred::<Signed>::merkle_root);
        alone.node.sync_block(alone.now, (from, slot), same, &mut alone.out);
        assert_eq!((alone.node.catching.applied >= slot, alone.said().0), (true, Vec::new()));
        let other = alone.version(slot, 7);
        let id = other.last().map(Shred::<Signed>::merkle_root);
        alone.node.sync_block(alone.now, (from, slot), other, &mut alone.out);
        assert!(alone.said().0.contains(&slot) && alone.node.turbine.block_id(slot) == id);
        assert_eq!(alone.node.catching.released.get(&slot), Some(&from), "it waits for its execution");
    }

    #[test]
    fn who_serves_another_version_than_was_voted_for_is_to_blame_and_rooted_slots_are_not_looked_at() {
        let mut alone = Alone::new();
        let (chosen, root) = (alone.chosen(), alone.node.forks.root());
        for slot in [chosen, root] {
            let (here, other) = (alone.hash(slot), alone.version(slot, 7));
            alone.node.sync_block(alone.now, (Pubkey::default(), slot), other, &mut alone.out);
            assert_eq!(alone.hash(slot), here);
            assert!(alone.node.catching.released.is_empty(), "nothing of slot {slot} is waited for");
        }
    }
}

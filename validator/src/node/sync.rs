//! Catching up: bulk sync brings finalised blocks, Turbine gathers them like any others, replay executes them.
//!
//! ```text
//!   heard votes, roots --Chain--> sync --Block--> turbine --Data--> replay --frozen--> applied --Chain--> sync
//! ```

use super::{Done, Effect, Event, Job, Node};
use std::collections::BTreeMap;
use sundog_ledger::Ledger;
use sundog_turbine::{
    Status,
    sync::{self, ChainState, Load, LoadWhat, Progress, StoredBlock},
};
use sundog_types::{
    Effects, Hash, Machine as _, Now, Pubkey, Slot,
    shred::{Shred, Signed},
};

/// A node keeps up if its tip is no further than this behind what more than a third of the stake voted for: 64 slots
/// from which a fetch begins, and as many that a root lags behind.
const KEEPS_UP_SLOTS: u64 = 128;

/// How bulk sync stands in this node.
#[derive(Default)]
pub(super) struct Catching {
    /// The last block that was handed on and is executed, or the root if that is newer.
    applied: Slot,
    /// Blocks that were handed on and are not executed yet, and who served them. Bounded by the machine's window.
    released: BTreeMap<Slot, Pubkey>,
    /// The lowest slot from which on the ledger has every finalised block.
    lowest: Slot,
    /// What the machine was told last.
    told: ChainState,
    /// The last report, while the node catches up.
    progress: Option<Progress>,
}

impl Catching {
    pub(super) fn from(root: Slot, lowest: Slot) -> Self {
        Self { applied: root, lowest, ..Self::default() }
    }

    /// The last report, while the node catches up.
    pub(super) const fn progress(&self) -> Option<Progress> {
        self.progress
    }
}

/// Reads what a peer asked for. Whatever cannot be read is not there.
#[must_use]
pub fn load(ledger: &Ledger, load: Load) -> Done {
    let lowest = ledger.lowest_slot().ok().flatten().unwrap_or_default();
    let stored = |slot, shreds| StoredBlock { slot, shreds };
    let (blocks, next) = match load.what {
        LoadWhat::Range { from, count, bytes_max } => match ledger.rooted_blocks(from, count, bytes_max) {
            Ok(stretch) => (stretch.blocks.into_iter().map(|b| stored(b.slot, b.shreds)).collect(), stretch.next),
            Err(error) => {
                tracing::error!(%error, %from, "blocks that a peer asks for cannot be read");
                (Vec::new(), from)
            }
        },
        LoadWhat::Block { slot, block_id } => {
            let shreds = ledger.data_shreds(slot).unwrap_or_default();
            let held = shreds.last().is_some_and(|last| root_of(last.clone()) == Some(block_id));
            (held.then(|| stored(slot, shreds)).into_iter().collect(), slot.next())
        }
    };
    Done::Loaded { id: load.id, blocks, next, lowest }
}

/// The Merkle root of the set that a stored shred belongs to.
fn root_of(shred: bytes::Bytes) -> Option<Hash> {
    Shred::raw(shred).parse().ok()?.merkle_root().ok()
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
                E::Load(load) => out.push(Effect::Run(Job::Load { load, ledger: self.ledger.clone() })),
                E::Check(check) => out.push(Effect::Run(Job::CheckRange(check))),
                E::Block { from, slot, shreds } => self.sync_block(now, (from, slot), shreds, out),
                E::RepairFrom(slot) => self.turbine(now, sundog_turbine::Input::RepairFrom(slot), out),
                E::Progress(progress) => {
                    self.catching.progress = Some(progress);
                    out.push(Effect::Event(Event::CatchingUp { progress }));
                    self.view.touch();
                }
                E::CaughtUp { at } => {
                    self.catching.released.clear();
                    if self.catching.progress.take().is_some() {
                        out.push(Effect::Event(Event::CaughtUp { slot: at }));
                    }
                    self.view.touch();
                }
                E::Stranded { lowest, applied } => out.push(Effect::Event(Event::Stranded { lowest, applied })),
                E::Refused { peer, address, why } => {
                    tracing::warn!(%peer, %address, %why, "a peer was refused in bulk sync");
                }
                E::RefusedBy { peer, address, why } => {
                    tracing::warn!(%peer, %address, %why, "a peer refuses bulk sync with this node");
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
        let here = match self.turbine.slot_status(slot) {
            Some(Status::Complete(held)) => held.is_some() && held == block_id && !self.dead.contains(&slot),
            _ => self.forks.get(slot).is_some_and(|frozen| frozen.block_id.is_some() && frozen.block_id == block_id),
        };
        if here {
            self.sync_applied(now, slot, out);
            return;
        }
        if self.forks.get(slot).is_some() {
            let why = "the cluster finalised another version than this node executed".to_owned();
            out.push(Effect::Event(Event::Duplicate { slot, why }));
            return;
        }
        self.replay_renew(slot);
        self.turbine(now, sundog_turbine::Input::Forget(slot), out);
        self.turbine(now, sundog_turbine::Input::Synced { from, shreds }, out);
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

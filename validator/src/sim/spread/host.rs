//! One node of the world.

use super::{actor::Actor, library::Shelf};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};
use sundog_turbine::{DeadReason, DuplicateReason, Effect, Turbine};
use sundog_types::{
    Hash, Now, Pubkey, Slot,
    sign::{Identity, Sign as _},
};

/// One node of the world.
pub struct SpreadHost {
    /// Its machine.
    pub turbine: Turbine,
    /// Its key.
    pub identity: Arc<Identity>,
    /// Its stake, in lamports.
    pub stake: u64,
    /// Whether it runs. What is sent to a dead node is lost.
    pub alive: bool,
    /// What its machine told.
    pub told: Told,
    /// What it sent.
    pub traffic: Traffic,
    /// What it stored.
    pub shelf: Arc<Shelf>,
    pub(super) actor: Option<Box<dyn Actor>>,
    /// The millisecond for which its timer is set.
    pub(super) timer: Option<u64>,
    /// When its pool is done with all that it was given.
    pub(super) pool_free: Now,
}

impl SpreadHost {
    /// Its identity.
    #[must_use]
    pub fn key(&self) -> Pubkey {
        self.identity.identity()
    }
}

/// A block that is complete at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Since when.
    pub at: Now,
    /// Data shreds.
    pub shreds: u32,
    /// How many of them came by erasure decoding.
    pub recovered: u32,
    /// How many of them came by repair.
    pub repaired: u32,
    /// The root of its last FEC set.
    pub block_id: Option<Hash>,
}

/// A leader contradicted itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// In which slot.
    pub slot: Slot,
    /// How.
    pub why: DuplicateReason,
    /// The proof for gossip, if there is one.
    pub proof: Option<Bytes>,
}

/// What a machine told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Blocks that are complete; how the first time, if a block was fetched again.
    pub complete: BTreeMap<Slot, Completed>,
    /// Slots given up.
    pub dead: BTreeMap<Slot, DeadReason>,
    /// Contradictions, in order.
    pub duplicates: Vec<Contradiction>,
    /// How often a block was complete that had been before, without having been forgotten: never.
    pub completed_again: u64,
}

impl Told {
    pub(super) fn note(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::Complete { slot, shreds, recovered, repaired, block_id, .. } => match self.complete.entry(slot) {
                Entry::Occupied(_) => self.completed_again += 1,
                Entry::Vacant(entry) => {
                    entry.insert(Completed { at: now, shreds, recovered, repaired, block_id });
                }
            },
            Effect::Dead { slot, why } => {
                self.dead.insert(slot, why);
            }
            Effect::Duplicate { slot, why, proof, .. } => self.duplicates.push(Contradiction { slot, why, proof }),
            _ => {}
        }
    }
}

/// What a node sent, payloads of datagrams only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes in all.
    pub bytes: u64,
    /// Shreds to roots and children.
    pub shreds: u64,
    /// Repair requests, without pongs.
    pub requests: u64,
    /// Shreds served.
    pub served: u64,
}

//! What left the nodes for the tree, as anyone who listens on the wire sees it.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use sundog_gossip::wire::{Protocol, value::CrdsData};
use sundog_types::{
    FecSetIndex, Now, Pubkey, Signature, Slot,
    shred::{Kind, View, wire::LAST_IN_SLOT},
};

/// A shred on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it left.
    pub at: Now,
    /// The number of the node it left.
    pub from: usize,
    /// Its payload.
    pub bytes: Bytes,
}

/// Listens to the wire.
#[derive(Default)]
pub struct Wire {
    /// What leaders signed: one signature stands for one FEC set.
    signed: BTreeMap<(Slot, FecSetIndex), Signature>,
    signed_twice: BTreeSet<Slot>,
    /// Slots whose last data shred has left.
    ended: BTreeSet<Slot>,
    /// Every shred that left, while somebody wants to know.
    kept: Option<Vec<Sent>>,
    /// Who accused the leader of which slot in gossip, and when, while somebody wants to know.
    accusations: Option<BTreeSet<(Slot, Pubkey, u64)>>,
}

impl Wire {
    /// Notes a shred that leaves a node.
    pub(super) fn note(&mut self, at: Now, from: usize, bytes: &Bytes) {
        if let Some(kept) = &mut self.kept {
            kept.push(Sent { at, from, bytes: bytes.clone() });
        }
        let Ok(shred) = View::read(bytes) else { return };
        let signature = *self.signed.entry((shred.slot(), shred.fec_set_index())).or_insert(shred.signature());
        if signature != shred.signature() {
            self.signed_twice.insert(shred.slot());
        }
        if shred.kind() == Kind::Data && shred.flags() & LAST_IN_SLOT == LAST_IN_SLOT {
            self.ended.insert(shred.slot());
        }
    }

    /// Notes what a node says in gossip.
    pub(super) fn note_gossip(&mut self, bytes: &[u8]) {
        let Some(accusations) = &mut self.accusations else { return };
        let Ok(Protocol::PushMessage(_, values) | Protocol::PullResponse(_, values)) = Protocol::decode(bytes) else {
            return;
        };
        for value in &values {
            if let CrdsData::DuplicateShred(_, chunk) = value.data() {
                accusations.insert((Slot::new(chunk.slot), chunk.from, chunk.wallclock));
            }
        }
    }

    /// Listens for accusations from now on.
    pub fn keep_accusations(&mut self) {
        self.accusations.get_or_insert_default();
    }

    /// Who published a proof in gossip against the leader of which slot, and when by its clock, in milliseconds, since
    /// [`Self::keep_accusations`].
    #[must_use]
    pub fn accusations(&self) -> Vec<(Slot, Pubkey, u64)> {
        self.accusations.iter().flatten().copied().collect()
    }

    /// Keeps every shred from now on.
    pub fn keep(&mut self) {
        self.kept.get_or_insert_default();
    }

    /// The shreds that left since [`Self::keep`], in the order of leaving.
    #[must_use]
    pub fn kept(&self) -> &[Sent] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// The FEC sets of a slot of which a shred has left.
    #[must_use]
    pub fn sets(&self, slot: Slot) -> usize {
        self.signed.range((slot, FecSetIndex::new(0))..=(slot, FecSetIndex::new(u32::MAX))).count()
    }

    /// Whether the last data shred of a slot has left.
    #[must_use]
    pub fn ended(&self, slot: Slot) -> bool {
        self.ended.contains(&slot)
    }

    /// The slots of which two versions left, signed by their leader.
    #[must_use]
    pub const fn signed_twice(&self) -> &BTreeSet<Slot> {
        &self.signed_twice
    }
}

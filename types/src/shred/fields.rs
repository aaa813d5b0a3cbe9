//! Reads the fields of a shred that was parsed.

use super::{
    Kind, Shred, ShredId, Variant, View, sealed,
    variant::DATA_HEADERS,
    wire::{DATA_COMPLETE, LAST_IN_SLOT, REFERENCE_TICK_MASK},
};
use crate::{FecSetIndex, Hash, ShredIndex, Signature, Slot};
use bytes::Bytes;

impl<S: sealed::State> Shred<S> {
    /// Its fields.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View::known(&self.payload, self.state.variant())
    }

    /// Its bytes, without a nonce.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Gives up the type for the bytes.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Kind, proof length, and whether it is resigned.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.state.variant()
    }

    /// Data or code.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.variant().kind()
    }

    /// Slot, index and kind.
    #[must_use]
    pub fn id(&self) -> ShredId {
        self.view().id()
    }

    /// Its slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.view().slot()
    }

    /// Its number among the shreds of its kind in the slot.
    #[must_use]
    pub fn index(&self) -> ShredIndex {
        self.view().index()
    }

    /// The chain it belongs to.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.view().version()
    }

    /// The set it belongs to.
    #[must_use]
    pub fn fec_set_index(&self) -> FecSetIndex {
        self.view().fec_set_index()
    }

    /// The leader's signature of the set's root.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.view().signature()
    }

    /// The slot that this one builds on, in a data shred.
    #[must_use]
    pub fn parent(&self) -> Option<Slot> {
        self.view().parent()
    }

    /// Flags and reference tick of a data shred; 0 in a code shred.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.view().flags()
    }

    /// Whether an entry batch ends here.
    #[must_use]
    pub fn data_complete(&self) -> bool {
        self.flags() & DATA_COMPLETE != 0
    }

    /// Whether the block ends here.
    #[must_use]
    pub fn last_in_slot(&self) -> bool {
        self.flags() & LAST_IN_SLOT == LAST_IN_SLOT
    }

    /// Ticks of the slot when the batch was shredded, at most 63.
    #[must_use]
    pub fn reference_tick(&self) -> u8 {
        self.flags() & REFERENCE_TICK_MASK
    }

    /// The piece of the entry batch that it carries; empty for a code shred.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match self.kind() {
            Kind::Data => &self.payload[DATA_HEADERS..self.view().data_end()],
            Kind::Code => &[],
        }
    }

    /// Like [`Shred::data`], sharing the bytes.
    #[must_use]
    pub fn data_bytes(&self) -> Bytes {
        match self.kind() {
            Kind::Data => self.payload.slice(DATA_HEADERS..self.view().data_end()),
            Kind::Code => Bytes::new(),
        }
    }

    /// What of it takes part in the erasure code.
    #[must_use]
    pub fn erasure_shard(&self) -> &[u8] {
        &self.payload[self.variant().shard_range()]
    }

    /// Data shreds of its set, in a code shred.
    #[must_use]
    pub fn num_data(&self) -> u16 {
        self.view().num_data()
    }

    /// Code shreds of its set, in a code shred.
    #[must_use]
    pub fn num_code(&self) -> u16 {
        self.view().num_code()
    }

    /// Its number among the code shreds of its set.
    #[must_use]
    pub fn position(&self) -> u16 {
        self.view().position()
    }

    /// Its place among the leaves of its set: data first, then code.
    ///
    /// # Panics
    /// Never: parsing refuses a shred before its set.
    #[must_use]
    pub fn leaf_index(&self) -> usize {
        self.view().leaf_index().expect("parsing refuses a shred before its set")
    }

    /// The Merkle root of the FEC set before.
    #[must_use]
    pub fn chained_merkle_root(&self) -> Hash {
        self.view().chained_root()
    }

    /// The Merkle proof: 20 bytes for each level, the leaf's first.
    #[must_use]
    pub fn proof(&self) -> &[u8] {
        &self.payload[self.variant().proof_range()]
    }

    /// Whether it ends with a retransmitter's signature.
    #[must_use]
    pub fn resigned(&self) -> bool {
        self.variant().resigned()
    }

    /// The signature of the node that passed it on; zero as the leader made it.
    #[must_use]
    pub fn retransmitter_signature(&self) -> Option<Signature> {
        let bytes = &self.payload[self.variant().retransmitter_range()];
        <[u8; 64]>::try_from(bytes).ok().map(Signature::from)
    }

    /// Whether two shreds differ in more than who passed them on (reference 3.14).
    #[must_use]
    pub fn differs_from<T: sealed::State>(&self, other: &Shred<T>) -> bool {
        let (ours, theirs) = (self.variant(), other.variant());
        self.payload[..ours.retransmitter_range().start] != other.payload[..theirs.retransmitter_range().start]
    }
}

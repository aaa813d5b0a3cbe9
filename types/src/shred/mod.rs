//! The shred format: how a piece of a block looks on the wire, and how its bytes become trusted.
//!
//! ```text
//!   Bytes --> Shred<Raw> --parse--> Shred<Parsed> --verify, trust--> Shred<Signed>
//!      \                                                                   ^
//!       View (fields at fixed places) --> filter                          seal (whole sets: made or recovered)
//! ```
//!
//! A [`Shred`] is a handle on bytes: cloning it copies no payload, parsing allocates nothing.

mod drop;
mod error;
pub mod filter;
mod gates;
pub mod merkle;
pub mod seal;
pub mod variant;
mod version;
pub mod wire;

pub use drop::DropReason;
pub use error::ShredError;
pub use filter::{FilterContext, filter, highest_slot};
pub use gates::{Gate, Gates};
pub use variant::{Kind, MAX_SHREDS_PER_SLOT, SHREDS_PER_KIND, ShredId, Variant};
pub use version::shred_version;
pub use wire::{CodeHeader, CommonHeader, DataHeader, View};

use crate::{
    FecSetIndex, Hash, Pubkey, ShredIndex, Signature, Slot,
    sign::{Sign, SignRole},
};
use bytes::{Bytes, BytesMut};
use std::sync::OnceLock;
use variant::DATA_HEADERS;
use wire::{DATA_COMPLETE, LAST_IN_SLOT, REFERENCE_TICK_MASK};

/// Most code shreds in a set (reference 3.8).
const MAX_CODE_PER_SET: u16 = 256;

/// A shred: its bytes, and as its type what is known of them.
#[derive(Clone, Debug)]
pub struct Shred<S> {
    payload: Bytes,
    state: S,
}

/// Nothing is known.
#[derive(Clone, Copy, Debug)]
pub struct Raw(());

/// The fields are possible and agree with each other. Anybody can have made it.
#[derive(Clone, Debug)]
pub struct Parsed {
    variant: Variant,
    /// Computed when it is first asked for.
    root: OnceLock<Option<Hash>>,
}

/// The leader of its slot signed the root that it hashes to.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    variant: Variant,
    root: Hash,
}

mod sealed {
    pub trait State {
        fn variant(&self) -> super::Variant;
    }
}

impl sealed::State for Parsed {
    fn variant(&self) -> Variant {
        self.variant
    }
}

impl sealed::State for Signed {
    fn variant(&self) -> Variant {
        self.variant
    }
}

/// A Merkle root that a leader is known to have signed. Only a verification (or the signing itself) makes one; it
/// spares the other shreds of the set the signature check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedRoot {
    slot: Slot,
    fec_set_index: FecSetIndex,
    root: Hash,
    signature: Signature,
}

impl VerifiedRoot {
    /// The slot, whose leader signed.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The set.
    #[must_use]
    pub fn fec_set_index(&self) -> FecSetIndex {
        self.fec_set_index
    }

    /// The root of the set's tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The leader's signature of it.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.signature
    }
}

/// The check of a leader's or retransmitter's signature that the network uses: strict Ed25519.
#[must_use]
pub fn signature_holds(signer: &Pubkey, message: &[u8], signature: &Signature) -> bool {
    signature.verify(signer.as_ref(), message)
}

impl Shred<Raw> {
    /// A datagram, or what of one may be a shred.
    #[must_use]
    pub fn raw(payload: Bytes) -> Self {
        Self {
            payload,
            state: Raw(()),
        }
    }

    /// Checks all that can be seen without hashing (reference 3.2 to 3.4, 3.8, 3.12). Bytes after the shred are cut.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(mut self) -> Result<Shred<Parsed>, ShredError> {
        let unreadable = |reason| ShredError::Unreadable(self.payload.len(), reason);
        let view = View::read(&self.payload).map_err(unreadable)?;
        if view.index().get() >= MAX_SHREDS_PER_SLOT {
            return Err(ShredError::Index(view.kind(), view.index()));
        }
        match view.kind() {
            Kind::Data => check_data(view)?,
            Kind::Code => check_code(view)?,
        }
        let variant = view.variant();
        self.payload.truncate(variant.size());
        Ok(Shred {
            payload: self.payload,
            state: Parsed {
                variant,
                root: OnceLock::new(),
            },
        })
    }
}

fn check_data(view: View<'_>) -> Result<(), ShredError> {
    let body = DATA_HEADERS..=DATA_HEADERS + view.variant().capacity();
    if !body.contains(&view.data_end()) {
        return Err(ShredError::DataEnd(view.data_end()));
    }
    let ends = view.flags() & LAST_IN_SLOT;
    if ends == LAST_IN_SLOT & !DATA_COMPLETE {
        return Err(ShredError::Flags(view.flags()));
    }
    let slot = view.slot();
    let parent_fits = |parent| parent < slot || slot == Slot::ZERO;
    if !view.parent().is_some_and(parent_fits) {
        return Err(ShredError::Parent(slot));
    }
    view.leaf_index()
        .map(|_| ())
        .ok_or(ShredError::Place(Kind::Data))
}

fn check_code(view: View<'_>) -> Result<(), ShredError> {
    if view.num_code() > MAX_CODE_PER_SET {
        return Err(ShredError::NumCode(view.num_code()));
    }
    let last = |first: u32, count: u16| first.checked_add(u32::from(count).checked_sub(1)?);
    let fits = |last: Option<u32>| last.is_some_and(|last| last < MAX_SHREDS_PER_SLOT);
    let first_code = view.index().get().checked_sub(view.position().into());
    let whole = fits(last(view.fec_set_index().get(), view.num_data()))
        && fits(first_code.and_then(|first| last(first, view.num_code())))
        && view.position() < view.num_code();
    if whole {
        Ok(())
    } else {
        Err(ShredError::Place(Kind::Code))
    }
}

impl Shred<Parsed> {
    /// The root that the shred and its proof lead to; hashed once, then remembered.
    ///
    /// # Errors
    /// [`ShredError::Proof`] if the proof is too short for the shred's place.
    pub fn merkle_root(&self) -> Result<Hash, ShredError> {
        self.state
            .root
            .get_or_init(|| merkle::root_of(self.view()))
            .ok_or(ShredError::Proof)
    }

    /// Checks the leader's signature with `check(signer, message, signature)`; [`signature_holds`] is the check to
    /// use unless the answer is known already.
    ///
    /// # Errors
    /// If there is no root, or `check` denies that the leader signed it.
    pub fn verify(
        self,
        leader: &Pubkey,
        check: impl FnOnce(&Pubkey, &[u8], &Signature) -> bool,
    ) -> Result<Shred<Signed>, ShredError> {
        let root = self.merkle_root()?;
        if check(leader, root.as_ref(), &self.signature()) {
            Ok(self.sign_off(root))
        } else {
            Err(ShredError::Signature {
                leader: *leader,
                slot: self.slot(),
            })
        }
    }

    /// Takes it as signed because its root is one that was verified.
    ///
    /// # Errors
    /// Gives the shred back if it has another root or signature, or belongs elsewhere: then it needs its own check.
    pub fn trust(self, verified: &VerifiedRoot) -> Result<Shred<Signed>, Self> {
        let same = self.slot() == verified.slot
            && self.fec_set_index() == verified.fec_set_index
            && self.signature() == verified.signature
            && self.merkle_root() == Ok(verified.root);
        if same {
            Ok(self.sign_off(verified.root))
        } else {
            Err(self)
        }
    }

    /// Takes it as signed because it comes from this node's own ledger, where only signed shreds are put. Never use
    /// it on what came from another node.
    ///
    /// # Errors
    /// [`ShredError::Proof`] if it has no root.
    pub fn trust_own_ledger(self) -> Result<Shred<Signed>, ShredError> {
        let root = self.merkle_root()?;
        Ok(self.sign_off(root))
    }

    fn sign_off(self, root: Hash) -> Shred<Signed> {
        Shred {
            payload: self.payload,
            state: Signed {
                variant: self.state.variant,
                root,
            },
        }
    }
}

impl Shred<Signed> {
    /// The root of its set's tree.
    #[must_use]
    pub fn merkle_root(&self) -> Hash {
        self.state.root
    }

    /// What its verification says about the whole set.
    #[must_use]
    pub fn verified_root(&self) -> VerifiedRoot {
        VerifiedRoot {
            slot: self.slot(),
            fec_set_index: self.fec_set_index(),
            root: self.state.root,
            signature: self.signature(),
        }
    }

    /// Replaces the retransmitter's signature. The bytes are copied if anybody else holds them.
    ///
    /// # Errors
    /// [`ShredError::NotResigned`] if the variant has no such field.
    pub fn set_retransmitter_signature(self, signature: &Signature) -> Result<Self, ShredError> {
        if !self.resigned() {
            return Err(ShredError::NotResigned);
        }
        let mut payload = match self.payload.try_into_mut() {
            Ok(payload) => payload,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        payload[self.state.variant.retransmitter_range()].copy_from_slice(signature.as_ref());
        Ok(Self {
            payload: payload.freeze(),
            state: self.state,
        })
    }

    /// Signs as the node that passes it on (reference 3.14); a variant without that field stays as it is.
    #[must_use]
    pub fn resign(self, signer: &dyn Sign) -> Self {
        if !self.resigned() {
            return self;
        }
        let signature = signer.sign(SignRole::ShredRoot, self.state.root.as_ref());
        self.set_retransmitter_signature(&signature)
            .expect("it has the field")
    }
}

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
        self.view()
            .leaf_index()
            .expect("parsing refuses a shred before its set")
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
        self.payload[..ours.retransmitter_range().start]
            != other.payload[..theirs.retransmitter_range().start]
    }
}

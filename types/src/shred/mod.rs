//! The shred format: how a piece of a block looks on the wire, and how its bytes become trusted.
//!
//! ```text
//!   Bytes --> Shred<Raw> --parse--> Shred<Parsed> --verify, trust--> Shred<Signed>
//!      \                                                                   ^
//!       View (fields at fixed places) --> filter                          seal (whole sets: made or recovered)
//! ```
//!
//! A [`Shred`] is a handle on bytes: cloning it copies no payload, parsing allocates nothing.

pub mod bare;
mod drop;
mod error;
mod fields;
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
    FecSetIndex, Hash, Pubkey, Signature, Slot,
    sign::{Sign, SignRole},
};
use bytes::{Bytes, BytesMut};
use std::sync::OnceLock;
use variant::DATA_HEADERS;
use wire::{DATA_COMPLETE, LAST_IN_SLOT};

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
    crate::sign::verify(signer, message, signature)
}

impl Shred<Raw> {
    /// A datagram, or what of one may be a shred.
    #[must_use]
    pub fn raw(payload: Bytes) -> Self {
        Self { payload, state: Raw(()) }
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
        Ok(Shred { payload: self.payload, state: Parsed { variant, root: OnceLock::new() } })
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
    view.leaf_index().map(|_| ()).ok_or(ShredError::Place(Kind::Data))
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
    if whole { Ok(()) } else { Err(ShredError::Place(Kind::Code)) }
}

/// Hashes the roots of many shreds side by side, where the processor can. Each remembers its own.
pub fn hash_roots<'a>(shreds: impl IntoIterator<Item = &'a Shred<Parsed>>) {
    let shreds: Vec<_> = shreds.into_iter().collect();
    let views: Vec<View<'_>> = shreds.iter().map(|shred| shred.view()).collect();
    for (shred, root) in shreds.into_iter().zip(merkle::roots_of(&views)) {
        // One that has been hashed before has the same.
        let _ = shred.state.root.set(root);
    }
}

impl Shred<Parsed> {
    /// The root that the shred and its proof lead to; hashed once, then remembered.
    ///
    /// # Errors
    /// [`ShredError::Proof`] if the proof is too short for the shred's place.
    pub fn merkle_root(&self) -> Result<Hash, ShredError> {
        self.state.root.get_or_init(|| merkle::root_of(self.view())).ok_or(ShredError::Proof)
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
            Err(ShredError::Signature { leader: *leader, slot: self.slot() })
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
        if same { Ok(self.sign_off(verified.root)) } else { Err(self) }
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
        Shred { payload: self.payload, state: Signed { variant: self.state.variant, root } }
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

    /// A copy that keeps no buffer alive but its own: a received shred may be a slice of a much larger one.
    #[must_use]
    pub fn compact(&self) -> Self {
        Self { payload: Bytes::copy_from_slice(&self.payload), state: self.state }
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
        Ok(Self { payload: payload.freeze(), state: self.state })
    }

    /// Signs as the node that passes it on (reference 3.14); a variant without that field stays as it is.
    #[must_use]
    pub fn resign(self, signer: &dyn Sign) -> Self {
        if !self.resigned() {
            return self;
        }
        let signature = signer.sign(SignRole::ShredRoot, self.state.root.as_ref());
        self.set_retransmitter_signature(&signature).expect("it has the field")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        seal::tests::{leader, unsigned},
        *,
    };
    use proptest::prelude::*;

    fn set(resigned: bool) -> Vec<Shred<Signed>> {
        seal::sign(unsigned(resigned, 7), &leader(1)).expect("a whole set")
    }

    /// What a node does with a datagram: no panic, and nothing passes that the leader did not sign.
    fn take(datagram: &[u8]) -> Result<Shred<Signed>, ShredError> {
        if let Ok(view) = View::read(datagram) {
            let gates = Gates::since_genesis(crate::Epoch::new(1));
            let context =
                FilterContext { root: Slot::ZERO, max_slot: Slot::new(100), shred_version: view.version(), gates };
            let _ = filter(view, &context);
        }
        let shred = Shred::raw(Bytes::copy_from_slice(datagram)).parse()?;
        let _ = (shred.data(), shred.proof(), shred.erasure_shard(), shred.parent(), shred.id());
        let _ = (shred.leaf_index(), shred.retransmitter_signature(), shred.data_bytes());
        shred.verify(&leader(1).identity(), signature_holds)
    }

    #[test]
    fn a_verified_root_spares_the_rest_of_its_set_the_check() {
        let shreds = set(false);
        let root = shreds[40].verified_root();
        for shred in &shreds {
            let parsed = Shred::raw(shred.payload().clone()).parse().expect("parses");
            assert_eq!(parsed.trust(&root).expect("same root").merkle_root(), root.root());
        }
        let other = seal::sign(unsigned(false, 8), &leader(1)).expect("a whole set");
        let parsed = Shred::raw(other[0].payload().clone()).parse().expect("parses");
        assert!(parsed.trust(&root).is_err());
    }

    #[test]
    fn roots_hashed_together_are_those_that_each_shred_leads_to() {
        let mut shreds = Vec::new();
        for (number, resigned) in (0..3_u8).zip([false, true, false]) {
            for (at, shred) in
                seal::sign(unsigned(resigned, number), &leader(1)).expect("a set").into_iter().enumerate()
            {
                let mut bytes = shred.payload().to_vec();
                if at % 5 == 0 {
                    let place = 100 + 17 * at;
                    bytes[place] ^= 1;
                }
                // Some claim a lower tree, some a place that such a tree does not have.
                let lower = at % 7 == 3;
                if lower {
                    bytes[64] -= 1 + number;
                }
                shreds.extend(Shred::raw(Bytes::from(bytes)).parse().ok());
            }
        }
        shreds.rotate_left(50);
        assert!(shreds.len() > 150);
        let each: Vec<_> = shreds.iter().map(|shred| merkle::root_of(shred.view())).collect();
        assert!(each.contains(&None) && each.iter().flatten().collect::<std::collections::BTreeSet<_>>().len() > 20);
        let views: Vec<_> = shreds.iter().map(Shred::view).collect();
        assert_eq!(merkle::roots_of(&views), each);
        assert_eq!(merkle::roots_of(&[]), []);
        hash_roots(&shreds);
        assert!(shreds.iter().zip(each).all(|(shred, root)| shred.merkle_root().ok() == root));
    }

    #[test]
    fn a_shred_signed_by_another_is_refused_by_name() {
        let shred = set(false).swap_remove(0);
        let parsed = Shred::raw(shred.into_payload()).parse().expect("parses");
        let other = leader(2).identity();
        let error = parsed.verify(&other, signature_holds).expect_err("another leader");
        assert_eq!(DropReason::from(error), DropReason::BadSignature);
    }

    #[test]
    fn parsing_shares_the_datagrams_bytes() {
        let mut datagram = set(false)[3].payload().to_vec();
        datagram.extend([1, 2, 3, 4]);
        let datagram = Bytes::from(datagram);
        let shred = Shred::raw(datagram.clone()).parse().expect("parses");
        assert_eq!(shred.payload().as_ptr(), datagram.as_ptr());
        assert_eq!(shred.payload().len(), variant::DATA_SHRED_SIZE);
    }

    #[test]
    fn a_retransmitters_signature_changes_no_other_holder() {
        let shred = set(true).swap_remove(0);
        let resigned = shred.clone().resign(&leader(5));
        assert_eq!(shred.retransmitter_signature(), Some(Signature::default()));
        let signature = resigned.retransmitter_signature().expect("resigned");
        let root = shred.merkle_root();
        assert!(signature_holds(&leader(5).identity(), root.as_ref(), &signature));
        assert!(!resigned.differs_from(&shred));
        assert!(take(resigned.payload()).is_ok());
    }

    #[test]
    fn reasons_have_distinct_names_and_their_place() {
        let names = DropReason::ALL.iter().map(|reason| reason.name());
        assert_eq!(names.collect::<std::collections::BTreeSet<_>>().len(), DropReason::COUNT);
        assert!(DropReason::ALL.iter().enumerate().all(|(place, reason)| reason.index() == place));
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..1_300)) {
            prop_assert!(take(&bytes).is_err());
        }

        #[test]
        fn random_bodies_under_a_valid_variant_are_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 1_228..1_300),
            family in prop::sample::select(vec![0x60_u8, 0x70, 0x90, 0xb0]),
            proof in 0..16_u8,
        ) {
            bytes[64] = family | proof;
            prop_assert!(take(&bytes).is_err());
        }

        #[test]
        fn a_cut_shred_is_refused(place in 0..64_usize, resigned: bool, keep in 0..1_203_usize) {
            let set = set(resigned);
            prop_assert!(take(&set[place].payload()[..keep]).is_err());
        }

        #[test]
        fn a_changed_bit_is_noticed(
            place in 0..64_usize,
            resigned: bool,
            bit in 0..1_228_usize * 8,
        ) {
            let set = set(resigned);
            let mut bytes = set[place].payload().to_vec();
            let byte = bit / 8 % bytes.len();
            bytes[byte] ^= 1 << (bit % 8);
            let free = set[place].variant().retransmitter_range();
            prop_assert_eq!(take(&bytes).is_ok(), free.contains(&byte));
        }
    }
}

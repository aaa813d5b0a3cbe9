//! What we say ourselves.

use crate::{
    check::DUPLICATE_PLACES,
    config::GossipConfig,
    wire::{
        contact::ContactInfo,
        duplicate::DuplicateProof,
        kinds::Vote,
        value::{CrdsData, CrdsValue, Label, VALUE_BYTES_MAX},
    },
};
use solana_transaction::versioned::VersionedTransaction;
use std::sync::Arc;
use sundog_types::{
    Now, Pubkey, Slot,
    peer::{Addresses, Version},
    sign::Sign,
};

/// Places for votes that a publisher uses (reference 6.4).
pub const VOTES: u8 = 12;

/// Signs what we say and remembers which place our next vote takes.
pub struct Publisher {
    signer: Arc<dyn Sign>,
    me: Pubkey,
    addresses: Addresses,
    version: Version,
    outset_us: u64,
    /// The slot of the vote in each place.
    votes: [Option<Slot>; VOTES as usize],
    next_vote: u8,
    /// The slot of the proof whose chunk is in each place. Full: a newer proof takes the places of the oldest.
    duplicates: Vec<Option<Slot>>,
    next_duplicate: u16,
}

impl Publisher {
    /// Speaks with the signer's identity.
    #[must_use]
    pub fn new(config: &GossipConfig, signer: Arc<dyn Sign>) -> Self {
        Self {
            me: signer.identity(),
            signer,
            addresses: config.contact.addresses,
            version: config.contact.version,
            outset_us: config.contact.outset_us,
            votes: [None; VOTES as usize],
            next_vote: 0,
            duplicates: vec![None; usize::from(DUPLICATE_PLACES)],
            next_duplicate: 0,
        }
    }

    /// When we started, in microseconds since the Unix epoch.
    #[must_use]
    pub const fn outset_us(&self) -> u64 {
        self.outset_us
    }

    /// We listen elsewhere.
    pub const fn move_to(&mut self, addresses: &Addresses) {
        self.addresses = *addresses;
    }

    /// Our contact info on a chain.
    #[must_use]
    pub fn contact(&self, shred_version: u16) -> CrdsData {
        let mut info = ContactInfo::new(self.me, self.outset_us, shred_version, &self.addresses);
        info.version = self.version;
        CrdsData::ContactInfo(Box::new(info))
    }

    /// Our vote in its place: that of the same slot, if that vote is sent anew, else that of our oldest.
    /// `None` if it is no legacy vote transaction.
    #[must_use]
    pub fn vote(&mut self, transaction: VersionedTransaction, slot: Slot) -> Option<CrdsData> {
        let vote = Vote::new(self.me, transaction.into_legacy_transaction()?, 0)?;
        let same = (0..VOTES).find(|index| self.votes[usize::from(*index)] == Some(slot));
        let index = same.unwrap_or_else(|| {
            let index = self.next_vote;
            self.next_vote = (index + 1) % VOTES;
            index
        });
        self.votes[usize::from(index)] = Some(slot);
        Some(CrdsData::Vote(index, vote))
    }

    /// The chunks of a proof that the leader of `slot` made two versions of it, in their places. None if such a proof
    /// was published already and its places were not needed since: one for each slot is enough.
    #[must_use]
    pub fn duplicate(&mut self, slot: Slot, proof: &DuplicateProof) -> Vec<CrdsData> {
        if self.duplicates.contains(&Some(slot)) {
            return Vec::new();
        }
        let mut chunks = Vec::new();
        for chunk in proof.chunks(self.me, slot.get(), 0) {
            let place = self.next_duplicate;
            self.next_duplicate = (place + 1) % DUPLICATE_PLACES;
            self.duplicates[usize::from(place)] = Some(slot);
            chunks.push(CrdsData::DuplicateShred(place, chunk));
        }
        chunks
    }

    /// What `data` will be filed under.
    #[must_use]
    pub fn label(&self, data: &CrdsData) -> Label {
        Label { origin: self.me, ..data.label() }
    }

    /// Signs `data` as said by us now, later than what we said `before` under the same label.
    ///
    /// # Panics
    /// If the value does not fit a datagram: whoever makes it must see to that.
    #[must_use]
    pub fn sign(&self, now: Now, mut data: CrdsData, before: Option<u64>) -> CrdsValue {
        let wallclock = before.map_or(now.unix_ms, |before| now.unix_ms.max(before + 1));
        data.restamp(self.me, wallclock);
        let value = CrdsValue::sign(data, &*self.signer);
        assert!(value.bytes().len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.bytes().len());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Contact;
    use solana_keypair::Keypair;
    use sundog_types::sign::Identity;

    fn publisher() -> Publisher {
        let contact = Contact { addresses: Addresses::default(), version: Version::default(), outset_us: 1 };
        let signer = Arc::new(Identity::new(Keypair::new_from_array([1; 32])));
        Publisher::new(&GossipConfig::new(7, contact), signer)
    }

    fn proof() -> DuplicateProof {
        DuplicateProof { first: vec![1; 1_203], second: vec![2; 1_203] }
    }

    #[test]
    fn the_chunks_of_a_proof_make_it_whole_again_and_a_slot_needs_one_proof() {
        let mut publisher = publisher();
        let chunks = publisher.duplicate(Slot::new(9), &proof());
        let chunks: Vec<_> = chunks
            .iter()
            .map(|data| match data {
                CrdsData::DuplicateShred(_, chunk) => chunk,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(chunks.len(), 3);
        assert_eq!(DuplicateProof::join(&chunks), Some(proof()));
        assert!(publisher.duplicate(Slot::new(9), &proof()).is_empty());
    }

    #[test]
    fn a_full_ring_gives_the_places_of_the_oldest_proof_to_the_newest() {
        let mut publisher = publisher();
        let proofs = u64::from(DUPLICATE_PLACES) / 3 + 1;
        for slot in 0..proofs {
            for data in publisher.duplicate(Slot::new(slot), &proof()) {
                let label = publisher.label(&data);
                assert!(matches!(data, CrdsData::DuplicateShred(place, _) if place < DUPLICATE_PLACES), "{label:?}");
            }
        }
        assert_eq!(publisher.duplicates.len(), usize::from(DUPLICATE_PLACES));
        assert!(publisher.duplicate(Slot::new(proofs - 1), &proof()).is_empty(), "still published");
        // The ring is not a multiple of three: the newest proof overwrote one chunk of the oldest.
        assert!(publisher.duplicate(Slot::new(0), &proof()).is_empty());
        assert_eq!(publisher.duplicate(Slot::new(proofs), &proof()).len(), 3);
        assert_eq!(publisher.duplicate(Slot::new(0), &proof()).len(), 3);
    }
}

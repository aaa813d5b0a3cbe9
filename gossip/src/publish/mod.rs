//! What we say ourselves.

mod earlier;
mod slots;
mod votes;

use crate::{
    check::{DUPLICATE_PLACES, sanitise_data},
    config::GossipConfig,
    machine::Gossip,
    table::Stakes,
    wire::{
        contact::ContactInfo,
        duplicate::DuplicateProof,
        kinds::{LowestSlot, Vote},
        slots::EpochSlots,
        value::{CrdsData, CrdsValue, Label, VALUE_BYTES_MAX},
    },
};
use earlier::{Earlier, Echo};
use slots::OwnSlots;
use solana_transaction::versioned::VersionedTransaction;
use std::{sync::Arc, time::Duration};
use sundog_types::{
    Now, Pubkey, Slot,
    peer::{Addresses, Version},
    sign::Sign,
};
use votes::OwnVotes;

/// Bytes of a value before its data.
const SIGNATURE_BYTES: usize = 64;

/// Why something that we were to say is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// It does not fit a datagram.
    #[error("a value of {0} bytes does not fit a datagram; say less")]
    TooLarge(usize),
    /// Nobody would take it.
    #[error("a number is out of bounds or parts contradict each other; correct the value")]
    Invalid,
}

/// The lowest slot we have, as it is and as it was said.
#[derive(Clone, Copy, Debug, Default)]
struct OwnLowest {
    is: Slot,
    said: Slot,
    spoken: bool,
}

/// Signs what we say and remembers which places our next values take.
pub struct Publisher {
    signer: Arc<dyn Sign>,
    me: Pubkey,
    addresses: Addresses,
    version: Version,
    outset_us: u64,
    /// Our stake, in lamports; `None` while no stakes are known.
    stake: Option<u64>,
    votes: OwnVotes,
    slots: OwnSlots,
    lowest: OwnLowest,
    /// The slot of the proof whose chunk is in each place. Full: a newer proof takes the places of the oldest.
    duplicates: Vec<Option<Slot>>,
    next_duplicate: u16,
    /// The newest chunk of an earlier life that was heard: its wallclock and place.
    earlier_duplicate: Option<(u64, u16)>,
    earlier: Earlier,
}

impl Publisher {
    /// Speaks with the signer's identity.
    #[must_use]
    pub fn new(config: &GossipConfig, signer: Arc<dyn Sign>, now: Now) -> Self {
        Self {
            me: signer.identity(),
            signer,
            addresses: config.contact.addresses,
            version: config.contact.version,
            outset_us: config.contact.outset_us,
            stake: None,
            votes: OwnVotes::default(),
            slots: OwnSlots::new(now),
            lowest: OwnLowest::default(),
            duplicates: vec![None; usize::from(DUPLICATE_PLACES)],
            next_duplicate: 0,
            earlier_duplicate: None,
            earlier: Earlier::default(),
        }
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let duplicates = self.duplicates.capacity() * size_of::<Option<Slot>>();
        self.slots.held_bytes() + self.earlier.held_bytes() + duplicates
    }

    /// When we started, in microseconds since the Unix epoch.
    #[must_use]
    pub const fn outset_us(&self) -> u64 {
        self.outset_us
    }

    /// We listen elsewhere: a new instance, or the echo of what we said at the old address could look like a namesake.
    pub const fn move_to(&mut self, addresses: &Addresses) {
        self.addresses = *addresses;
        self.outset_us = self.outset_us.saturating_add(1);
    }

    /// Only nodes with stake say which slots they have.
    pub fn set_stakes(&mut self, stakes: &Stakes) {
        self.stake = (!stakes.is_empty()).then(|| stakes.get(&self.me).copied().unwrap_or(0));
    }

    /// Our contact info on a chain.
    #[must_use]
    pub fn contact(&self, shred_version: u16) -> CrdsData {
        let mut info = ContactInfo::new(self.me, self.outset_us, shred_version, &self.addresses);
        info.version = self.version;
        CrdsData::ContactInfo(Box::new(info))
    }

    /// Our vote in its place. `None` if it is no legacy vote transaction.
    #[must_use]
    pub fn vote(&mut self, now: Now, transaction: VersionedTransaction, slot: Slot) -> Option<CrdsData> {
        let vote = Vote::new(self.me, transaction.into_legacy_transaction()?, 0)?;
        Some(CrdsData::Vote(self.votes.place(slot, now.unix_ms), vote))
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

    /// These slots are whole now.
    pub fn complete(&mut self, slots: &[Slot]) {
        self.slots.complete(slots);
    }

    /// This is the lowest slot we have now.
    pub const fn lowest(&mut self, slot: Slot) {
        self.lowest.is = slot;
    }

    /// What is due to be said of our slots.
    fn slots(&mut self, now: Now) -> Vec<CrdsData> {
        let said = match self.stake {
            None => Vec::new(),
            Some(0) => {
                self.slots.discard();
                Vec::new()
            }
            Some(_) => self.slots.due(now),
        };
        let epoch_slots =
            |(place, parts)| CrdsData::EpochSlots(place, EpochSlots { from: self.me, parts, wallclock: 0 });
        said.into_iter().map(epoch_slots).collect()
    }

    fn lowest_due(&mut self) -> Option<CrdsData> {
        let OwnLowest { is, said, .. } = self.lowest;
        if is == said {
            return None;
        }
        self.lowest = OwnLowest { is, said: is, spoken: true };
        Some(CrdsData::LowestSlot(0, LowestSlot::new(self.me, is.get(), 0)))
    }

    /// Takes a value in our own name that is none of ours in this life, and goes on behind it; `present`: what we say
    /// in its place.
    fn hear(&mut self, now: Now, value: &CrdsValue, present: Option<&CrdsValue>) {
        if self.earlier.hear(now, value, present) != Echo::Earlier {
            return;
        }
        let wallclock = value.wallclock();
        match value.data() {
            CrdsData::Vote(place, vote) => {
                self.votes.hear_earlier(*place, Slot::new(vote.slot().unwrap_or(0)), wallclock);
            }
            CrdsData::EpochSlots(place, _) => self.slots.hear_earlier(*place, wallclock),
            CrdsData::LowestSlot(_, said) if !self.lowest.spoken => self.lowest.said = Slot::new(said.lowest),
            CrdsData::DuplicateShred(place, _) => {
                let silent = self.duplicates.iter().all(Option::is_none);
                if silent && self.earlier_duplicate.is_none_or(|earlier| earlier < (wallclock, *place)) {
                    self.earlier_duplicate = Some((wallclock, *place));
                    self.next_duplicate = (*place + 1) % DUPLICATE_PLACES;
                }
            }
            _ => {}
        }
    }

    /// What `data` will be filed under.
    #[must_use]
    pub fn label(&self, data: &CrdsData) -> Label {
        Label { origin: self.me, ..data.label() }
    }

    /// Signs `data` as said by us now, later than what we said `before` under the same label.
    ///
    /// # Errors
    /// [`Unsayable`] when others would not take it.
    pub fn try_sign(&self, now: Now, mut data: CrdsData, before: Option<u64>) -> Result<CrdsValue, Unsayable> {
        let wallclock = before.map_or(now.unix_ms, |before| now.unix_ms.max(before + 1));
        data.restamp(self.me, wallclock);
        sanitise_data(&data).map_err(|_| Unsayable::Invalid)?;
        let bytes = SIGNATURE_BYTES + data.encode().len();
        if bytes > VALUE_BYTES_MAX { Err(Unsayable::TooLarge(bytes)) } else { Ok(CrdsValue::sign(data, &*self.signer)) }
    }

    /// [`Self::try_sign`] for what this crate makes itself.
    ///
    /// # Panics
    /// If others would not take the value: whoever makes it must see to that.
    #[must_use]
    pub fn sign(&self, now: Now, data: CrdsData, before: Option<u64>) -> CrdsValue {
        self.try_sign(now, data, before).expect("what this crate makes can be said")
    }
}

/// What [`Publisher::held_bytes`] never exceeds.
pub const PUBLISHER_BYTES_MAX: usize =
    slots::OWN_SLOTS_BYTES_MAX + earlier::EARLIER_BYTES_MAX + DUPLICATE_PLACES as usize * size_of::<Option<Slot>>();

impl Gossip {
    /// Signs and files something we say, to be pushed at once.
    pub(crate) fn publish(&mut self, now: Now, data: CrdsData) {
        let before = self.said_before(&data);
        self.publish_after(now, data, before);
    }

    /// Says all chunks of a proof with one wallclock, by which others know that they belong together.
    pub(crate) fn publish_proof(&mut self, now: Now, slot: Slot, proof: &DuplicateProof) {
        let chunks = self.publisher.duplicate(slot, proof);
        let before = chunks.iter().filter_map(|chunk| self.said_before(chunk)).max();
        for chunk in chunks {
            self.publish_after(now, chunk, before);
        }
    }

    /// Says what is due of our slots, and anew what others do not take because of our earlier life.
    pub(crate) fn publish_due(&mut self, now: Now) {
        for data in self.publisher.slots(now) {
            self.publish(now, data);
        }
        self.metrics.slots_unsaid = self.publisher.slots.forgotten;
        if let Some(data) = self.publisher.lowest_due() {
            self.publish(now, data);
        }
        for (kind, index) in self.publisher.earlier.losing(now) {
            let present = self.table.get(&Label { origin: self.me, kind, index });
            if let Some(data) = present.map(|filed| filed.value.data().clone()) {
                self.metrics.said_anew += 1;
                self.publish(now, data);
            }
        }
    }

    /// Takes a value in our own name from outside.
    pub(crate) fn hear_earlier_life(&mut self, now: Now, value: &CrdsValue) {
        let present = self.table.get(&value.label()).map(|filed| &filed.value);
        self.publisher.hear(now, value, present);
    }

    /// The latest wallclock that was said under the label of `data`, by this life or an earlier one.
    fn said_before(&self, data: &CrdsData) -> Option<u64> {
        let label = self.publisher.label(data);
        let filed = self.table.get(&label).map(|filed| filed.value.wallclock());
        filed.max(self.publisher.earlier.floor(&label))
    }

    fn publish_after(&mut self, now: Now, data: CrdsData, before: Option<u64>) {
        match self.publisher.try_sign(now, data, before) {
            Ok(value) if self.config.roster.as_ref().is_some_and(|roster| !roster.tracks(&self.me)) => {
                // Of what this node says only the contact info is used: it asks for more with it.
                if value.contact().is_some() {
                    self.untracked = Some(value);
                }
            }
            Ok(value) => {
                self.table.offer(now, value);
                self.push_within(now, Duration::ZERO);
            }
            Err(_) => self.metrics.unsayable += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Contact;
    use solana_keypair::Keypair;
    use sundog_types::sign::Identity;

    const NOW: Now = Now { mono_us: 1, unix_ms: 1_000_000 };

    fn publisher() -> Publisher {
        let contact = Contact { addresses: Addresses::default(), version: Version::default(), outset_us: 1 };
        let signer = Arc::new(Identity::new(Keypair::new_from_array([1; 32])));
        Publisher::new(&GossipConfig::new(7, contact), signer, NOW)
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
        assert!(publisher.held_bytes() <= PUBLISHER_BYTES_MAX);
        assert!(publisher.duplicate(Slot::new(proofs - 1), &proof()).is_empty(), "still published");
        // The ring is not a multiple of three: the newest proof overwrote one chunk of the oldest.
        assert!(publisher.duplicate(Slot::new(0), &proof()).is_empty());
        assert_eq!(publisher.duplicate(Slot::new(proofs), &proof()).len(), 3);
        assert_eq!(publisher.duplicate(Slot::new(0), &proof()).len(), 3);
    }
}

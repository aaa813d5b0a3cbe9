//! What we say ourselves.

use crate::{
    config::GossipConfig,
    wire::{
        contact::ContactInfo,
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

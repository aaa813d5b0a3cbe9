//! One FEC set while it is gathered.

use bytes::Bytes;
use sundog_types::{
    Hash, Signature,
    shred::{Kind, SHREDS_PER_KIND, Shred, Signed, View},
};

const DATA_MASK: u64 = u32::MAX as u64;

/// What a set says to a shred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It lacked it and has it now.
    Taken,
    /// It had it, or had seen it in the second version.
    Seen,
    /// It belongs to a second version of the set, which the leader signed too.
    Second,
    /// It belongs to a third version.
    Third,
}

/// Shreds of one FEC set. Which were seen is remembered after their bytes are let go.
#[derive(Debug)]
pub(crate) struct Set {
    root: Hash,
    signature: Signature,
    witness: Bytes,
    /// By place among the leaves: data in the low half, code in the high.
    seen: u64,
    second: Option<(Hash, u64)>,
    shreds: Vec<Option<Shred<Signed>>>,
    tick: Option<u8>,
    corrupt: bool,
}

impl Set {
    /// An empty set of the version that `shred` belongs to.
    pub(crate) fn new(shred: &Shred<Signed>) -> Self {
        Self {
            root: shred.merkle_root(),
            signature: shred.signature(),
            witness: shred.payload().clone(),
            seen: 0,
            second: None,
            shreds: Vec::new(),
            tick: None,
            corrupt: false,
        }
    }

    /// What [`Set::take`] would say, without taking it.
    pub(crate) fn judge(&self, shred: &Shred<Signed>) -> Offer {
        let bit = 1_u64 << shred.leaf_index();
        if shred.merkle_root() == self.root {
            return if self.seen & bit == 0 { Offer::Taken } else { Offer::Seen };
        }
        match self.second {
            None => Offer::Second,
            Some((root, seen)) if root == shred.merkle_root() => {
                if seen & bit == 0 {
                    Offer::Second
                } else {
                    Offer::Seen
                }
            }
            Some(_) => Offer::Third,
        }
    }

    /// Whether a shred that claims this set's signature has a place that was seen. Costs no hashing.
    pub(crate) fn has_seen(&self, shred: View<'_>) -> bool {
        let place = shred.leaf_index().filter(|place| *place < 2 * SHREDS_PER_KIND);
        place.is_some_and(|place| self.seen & (1 << place) != 0) && shred.signature() == self.signature
    }

    /// Notes a shred for which [`Set::judge`] said [`Offer::Second`].
    pub(crate) fn note_second(&mut self, shred: &Shred<Signed>) {
        let (_, seen) = self.second.get_or_insert((shred.merkle_root(), 0));
        *seen |= 1 << shred.leaf_index();
    }

    /// Takes a shred for which [`Set::judge`] said [`Offer::Taken`].
    pub(crate) fn take(&mut self, shred: &Shred<Signed>) {
        let place = shred.leaf_index();
        let had_all = self.has_all_data();
        self.seen |= 1 << place;
        if shred.kind() == Kind::Data {
            self.tick = Some(shred.reference_tick());
        } else if had_all {
            return;
        }
        self.shreds.resize(2 * SHREDS_PER_KIND, None);
        self.shreds[place] = Some(shred.clone());
        if self.has_all_data() {
            self.shreds.truncate(SHREDS_PER_KIND);
        }
    }

    /// The root that its leader signed first.
    pub(crate) fn root(&self) -> Hash {
        self.root
    }

    /// A shred of it, to prove that there is a second version.
    pub(crate) fn witness(&self) -> &Bytes {
        &self.witness
    }

    /// Ticks of the slot when its batch was made, if a data shred told.
    pub(crate) fn tick(&self) -> Option<u8> {
        self.tick
    }

    /// Whether all its data shreds were seen.
    pub(crate) fn has_all_data(&self) -> bool {
        self.seen & DATA_MASK == DATA_MASK
    }

    /// Whether the data shred at this place was seen.
    pub(crate) fn has_data(&self, place: u32) -> bool {
        self.seen & (1 << place) != 0
    }

    /// Whether it holds bytes.
    pub(crate) fn holds_bytes(&self) -> bool {
        !self.shreds.is_empty()
    }

    /// The data shred at this place, if its bytes are held.
    pub(crate) fn data(&self, place: u32) -> Option<&Shred<Signed>> {
        self.shreds.get(place as usize)?.as_ref().filter(|shred| shred.kind() == Kind::Data)
    }

    /// How many more shreds of any kind make it whole.
    pub(crate) fn lacks(&self) -> u32 {
        let data_missing = (!self.seen & DATA_MASK).count_ones();
        if self.corrupt {
            return data_missing;
        }
        (SHREDS_PER_KIND as u32).saturating_sub(self.seen.count_ones()).min(data_missing)
    }

    /// The shreds to decode it from, if there are enough and data is missing.
    pub(crate) fn recoverable(&self) -> Option<Vec<Shred<Signed>>> {
        let ready = !self.corrupt && !self.has_all_data() && self.lacks() == 0;
        let shreds = || self.shreds.iter().flatten().cloned().collect::<Vec<_>>();
        ready.then(shreds).filter(|shreds| shreds.len() >= SHREDS_PER_KIND)
    }

    /// Notes that decoding contradicted the root. Its data shreds are still good, one by one.
    pub(crate) fn mark_corrupt(&mut self) {
        self.corrupt = true;
    }

    /// Lets go of its bytes.
    pub(crate) fn release(&mut self) {
        self.shreds = Vec::new();
    }
}

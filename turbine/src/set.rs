//! One FEC set while it is gathered, and what is remembered of it afterwards.

use crate::{conflict::Conflict, effect::DuplicateReason};
use sundog_types::{
    Hash, Signature,
    shred::{Kind, SHREDS_PER_KIND, Shred, Signed, View},
};

/// Data shreds of a set.
pub(crate) const SET: u32 = SHREDS_PER_KIND as u32;
const DATA_MASK: u64 = u32::MAX as u64;
/// Bytes of the table of a set that holds shreds.
pub(crate) const TABLE_BYTES: usize = 2 * SHREDS_PER_KIND * size_of::<Option<Shred<Signed>>>();

/// What a set says to a shred.
#[derive(Debug)]
pub(crate) enum Offer {
    /// It lacks it.
    Taken,
    /// It lacks it, though its leader signed the root twice.
    TakenFrom(Conflict),
    /// It had it, or had seen it in the second version.
    Seen,
    /// It has it, but its leader signed the root twice.
    SeenFrom(Conflict),
    /// It belongs to a second version of the set, which the leader signed too.
    Second(Conflict),
    /// It belongs to a third version.
    Third,
}

#[derive(Debug)]
struct Second {
    root: Hash,
    signature: Signature,
    seen: u64,
}

/// Shreds of one FEC set. Which were seen is remembered after their bytes are let go: the set is then a mark.
#[derive(Debug)]
pub(crate) struct Set {
    witness: Shred<Signed>,
    /// By place among the leaves: data in the low half, code in the high.
    seen: u64,
    second: Option<Second>,
    /// Another signature of the same root.
    twice: Option<Signature>,
    shreds: Vec<Option<Shred<Signed>>>,
    tick: Option<u8>,
}

impl Set {
    /// An empty set of the version that `shred` belongs to.
    pub(crate) fn new(shred: &Shred<Signed>) -> Self {
        Self { witness: shred.clone(), seen: 0, second: None, twice: None, shreds: Vec::new(), tick: None }
    }

    /// What becomes of a shred of this set. A second version is noted.
    pub(crate) fn offer(&mut self, shred: &Shred<Signed>) -> Offer {
        let bit = 1_u64 << shred.leaf_index();
        if shred.merkle_root() == self.root() {
            return self.offer_own(shred, bit);
        }
        match &mut self.second {
            None => {
                let conflict = Conflict::between(&self.witness, shred, DuplicateReason::ForkedSet);
                let (root, signature) = (shred.merkle_root(), shred.signature());
                self.second = Some(Second { root, signature, seen: bit });
                Offer::Second(conflict)
            }
            Some(second) if second.root != shred.merkle_root() => Offer::Third,
            Some(second) if second.seen & bit != 0 => Offer::Seen,
            Some(second) => {
                second.seen |= bit;
                Offer::Second(Conflict::between(&self.witness, shred, DuplicateReason::ForkedSet))
            }
        }
    }

    fn offer_own(&mut self, shred: &Shred<Signed>, bit: u64) -> Offer {
        let (lacks, signature) = (self.seen & bit == 0, shred.signature());
        if signature == self.witness.signature() || self.twice.is_some() {
            return if lacks { Offer::Taken } else { Offer::Seen };
        }
        self.twice = Some(signature);
        let conflict = Conflict::signed_twice(&self.witness.signature(), shred);
        if lacks { Offer::TakenFrom(conflict) } else { Offer::SeenFrom(conflict) }
    }

    /// Whether a shred that claims a signature of this set has a place that was seen. Costs no hashing.
    pub(crate) fn has_seen(&self, shred: View<'_>) -> bool {
        let Some(place) = shred.leaf_index().filter(|place| *place < 2 * SHREDS_PER_KIND) else {
            return false;
        };
        let (bit, signature) = (1_u64 << place, shred.signature());
        let own = signature == self.witness.signature() || self.twice == Some(signature);
        let second = self.second.as_ref().filter(|second| second.signature == signature);
        own && self.seen & bit != 0 || second.is_some_and(|second| second.seen & bit != 0)
    }

    /// Takes a shred that it lacks. `hold`: its bytes, too.
    pub(crate) fn take(&mut self, shred: &Shred<Signed>, hold: bool) {
        let place = shred.leaf_index();
        let had_all = self.has_all_data();
        self.seen |= 1 << place;
        if shred.kind() == Kind::Data {
            self.tick = Some(shred.reference_tick());
        } else if had_all {
            return;
        }
        if !hold {
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
        self.witness.merkle_root()
    }

    /// The root of the set before it, as it says.
    pub(crate) fn chained(&self) -> Hash {
        self.witness.chained_merkle_root()
    }

    /// A shred of it, to prove that there is a second version.
    pub(crate) fn witness(&self) -> &Shred<Signed> {
        &self.witness
    }

    /// A code shred of it, if one is held.
    pub(crate) fn code(&self) -> Option<&Shred<Signed>> {
        let held = self.shreds.iter().skip(SHREDS_PER_KIND).flatten();
        held.chain([&self.witness]).find(|shred| shred.kind() == Kind::Code)
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

    /// The shreds whose bytes are held.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Shred<Signed>> {
        self.shreds.iter().flatten()
    }

    /// How many more shreds of any kind make it whole.
    pub(crate) fn lacks(&self) -> u32 {
        let data_missing = (!self.seen & DATA_MASK).count_ones();
        SET.saturating_sub(self.seen.count_ones()).min(data_missing)
    }

    /// The shreds to decode it from, if there are enough and data is missing.
    pub(crate) fn recoverable(&self) -> Option<Vec<Shred<Signed>>> {
        self.is_recoverable().then(|| self.shreds.iter().flatten().cloned().collect())
    }

    /// Whether there are enough shreds to decode it, and data is missing.
    pub(crate) fn is_recoverable(&self) -> bool {
        let enough = || self.shreds.iter().flatten().count() >= SHREDS_PER_KIND;
        !self.has_all_data() && self.lacks() == 0 && enough()
    }

    /// Bytes of shreds held, beside the witness.
    pub(crate) fn held_bytes(&self) -> usize {
        let table = if self.holds_bytes() { TABLE_BYTES } else { 0 };
        table + self.shreds.iter().flatten().map(|shred| shred.payload().len()).sum::<usize>()
    }

    /// Lets go of its bytes.
    pub(crate) fn release(&mut self) {
        if self.holds_bytes() {
            self.shreds = Vec::new();
            self.witness = self.witness.compact();
        }
    }
}

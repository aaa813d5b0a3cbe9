//! FEC sets that are being decoded on the pool, and those that wait for it.

use crate::{
    gather::SETS_MAX,
    recover::{Codec, RecoverJob},
};
use std::collections::{BTreeMap, BTreeSet};
use sundog_types::{
    FecSetIndex, Hash, Slot,
    shred::{SHREDS_PER_KIND, Shred, Signed, variant::CODE_SHRED_SIZE},
};

/// Sets that may be on the pool: some 7 ms of one core, and 5 MB. More wait, the nearest to the root goes first; they
/// are sets whose bytes are held, so there are no more of them than of those.
pub const DECODING_MAX: usize = 64;
/// Bytes of a set on the pool: what goes in and what comes out.
const JOB_BYTES: usize = 2 * SHREDS_PER_KIND * (CODE_SHRED_SIZE + size_of::<Shred<Signed>>());
/// Bytes that may be held.
pub(crate) const DECODING_BYTES_MAX: usize = DECODING_MAX * JOB_BYTES + SETS_MAX * 32;

/// A set of a slot.
pub(crate) type SetKey = (Slot, FecSetIndex);

/// Which sets are being decoded.
#[derive(Debug)]
pub(crate) struct Decoding {
    codec: Codec,
    next_id: u64,
    /// Each with the root of the version that is decoded.
    jobs: BTreeMap<u64, (SetKey, Hash)>,
    busy: BTreeSet<SetKey>,
    waiting: BTreeSet<SetKey>,
}

impl Decoding {
    pub(crate) fn new() -> Self {
        Self { codec: Codec::new(), next_id: 0, jobs: BTreeMap::new(), busy: BTreeSet::new(), waiting: BTreeSet::new() }
    }

    /// Notes that a set can be decoded. Full: the farthest from the root has to ask again, with its next shred.
    pub(crate) fn want(&mut self, set: SetKey) {
        if !self.busy.contains(&set) {
            self.waiting.insert(set);
        }
        if self.waiting.len() > SETS_MAX {
            self.waiting.pop_last();
        }
    }

    /// The next set to start with, if there is room on the pool.
    pub(crate) fn next(&mut self) -> Option<SetKey> {
        (self.jobs.len() < DECODING_MAX).then(|| self.waiting.pop_first()).flatten()
    }

    /// The job that decodes a set.
    pub(crate) fn start(&mut self, set: SetKey, shreds: Vec<Shred<Signed>>) -> RecoverJob {
        let id = self.next_id;
        self.next_id += 1;
        let root = shreds.first().map(Shred::<Signed>::merkle_root).unwrap_or_default();
        self.jobs.insert(id, (set, root));
        self.busy.insert(set);
        RecoverJob { id, shreds, codec: self.codec }
    }

    /// Which set a finished job was for, and its root. `None`: it was not asked for.
    pub(crate) fn finish(&mut self, id: u64) -> Option<(SetKey, Hash)> {
        let (set, root) = self.jobs.remove(&id)?;
        self.busy.remove(&set);
        Some((set, root))
    }

    /// Sets on the pool.
    pub(crate) fn under_way(&self) -> usize {
        self.jobs.len()
    }

    /// Forgets what waits for the root or below it.
    pub(crate) fn set_root(&mut self, root: Slot) {
        self.waiting = self.waiting.split_off(&(root.next(), FecSetIndex::ZERO));
    }

    /// Bytes of memory held, about.
    pub(crate) fn held_bytes(&self) -> usize {
        JOB_BYTES * self.jobs.len() + 32 * self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_not_flooded_and_the_nearest_set_goes_first() {
        let mut decoding = Decoding::new();
        let set = |number| (Slot::new(number), FecSetIndex::ZERO);
        for number in (1..=DECODING_MAX as u64 + 2).rev() {
            decoding.want(set(number));
            decoding.want(set(number));
        }
        let mut started = Vec::new();
        while let Some(key) = decoding.next() {
            started.push(key);
            decoding.start(key, Vec::new());
        }
        assert_eq!(started.len(), DECODING_MAX);
        assert_eq!((started[0], decoding.under_way()), (set(1), DECODING_MAX));
        decoding.want(set(1));
        assert_eq!(decoding.finish(0).map(|(key, _)| key), Some(set(1)));
        assert_eq!(decoding.finish(0), None, "once");
        assert_eq!(decoding.next(), Some(set(DECODING_MAX as u64 + 1)), "what is on the pool does not wait, too");
        assert!(decoding.held_bytes() <= DECODING_BYTES_MAX);
        decoding.set_root(Slot::new(1_000));
        assert_eq!(decoding.next(), None);
        for number in 0..=SETS_MAX as u64 {
            decoding.want((Slot::new(2_000 + number), FecSetIndex::ZERO));
        }
        assert_eq!(decoding.waiting.len(), SETS_MAX);
    }
}

//! Which version of a slot is gathered, once the cluster has chosen one.
//!
//! ```text
//!   the block id that was voted for
//!            |
//!   [ 0 ] <- [ 32 ] <- [ 64 = last ]      every FEC set names the root of the one before it
//!     ?        ?          ok               what is not reached yet may come, but is neither stored nor executed
//!     ?        ok         ok               a set that is reached and has another root is dropped and asked for anew
//!     ok       ok         ok               all is reached: the block is handed on
//! ```

use std::collections::BTreeMap;
use sundog_types::{
    FecSetIndex, Hash,
    shred::{Kind, MAX_SHREDS_PER_SLOT, SHREDS_PER_KIND, Shred, Signed},
};

/// Slots of which a version is chosen that are remembered, above the root: sixteen windows of leaders who fork all their
/// slots. Full: the one farthest from the root is forgotten, and gathered as it comes.
pub const PINS_MAX: usize = 64;
/// Versions of a slot that lost, as far as they are remembered. More: the oldest may come again, and loses again.
const LOST_MAX: usize = 4;
/// Bytes of a pin: what it expects of each set of a slot stands beside the block's own bytes.
pub(crate) const PIN_BYTES: usize =
    size_of::<Pin>() + 64 + LOST_MAX * size_of::<Hash>() + MAX_SHREDS_PER_SLOT as usize / SHREDS_PER_KIND * 48;

/// What a shred is to the version that is gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// It is of that version.
    Surely,
    /// That is not known before the sets after it are.
    Perhaps,
    /// It is of another.
    No,
}

/// The version of a slot that is gathered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pin {
    /// The root of its last set. `None`: whichever comes first, but for those that lost.
    block_id: Option<Hash>,
    lost: Vec<Hash>,
    /// Roots of its sets, from the last one on backwards, as far as they are known.
    expected: BTreeMap<FecSetIndex, Hash>,
}

impl Pin {
    /// Chooses a version, and notes one that lost.
    pub(crate) fn choose(&mut self, block_id: Option<Hash>, lost: Option<Hash>) {
        self.block_id = block_id;
        self.expected.clear();
        if let Some(lost) = lost.filter(|lost| !self.lost.contains(lost)) {
            self.lost.insert(0, lost);
            self.lost.truncate(LOST_MAX);
        }
        // What is chosen has not lost, whatever was said before.
        self.lost.retain(|lost| Some(*lost) != block_id);
    }

    /// What a shred is to the version that is gathered. With the first that is the end of a version which did not lose,
    /// that one is chosen, if none is yet.
    pub(crate) fn judge(&mut self, shred: &Shred<Signed>) -> Belongs {
        let (set, root) = (shred.fec_set_index(), shred.merkle_root());
        if self.lost.contains(&root) {
            return Belongs::No;
        }
        let is_last = shred.kind() == Kind::Data && shred.last_in_slot();
        if is_last {
            self.block_id.get_or_insert(root);
        }
        if self.expected.is_empty() && self.block_id == Some(root) {
            self.expected.insert(set, root);
        }
        self.look(set, root, is_last)
    }

    fn look(&self, set: FecSetIndex, root: Hash, is_last: bool) -> Belongs {
        match self.expected.get(&set) {
            Some(expected) if *expected == root => Belongs::Surely,
            Some(_) => Belongs::No,
            None if is_last || self.last().is_some_and(|last| set > last) => Belongs::No,
            None => Belongs::Perhaps,
        }
    }

    /// Its last set, once known.
    pub(crate) fn last(&self) -> Option<FecSetIndex> {
        self.expected.last_key_value().map(|(set, _)| *set)
    }

    /// The earliest set whose root is known, and that root.
    pub(crate) fn reached(&self) -> Option<(FecSetIndex, Hash)> {
        self.expected.first_key_value().map(|(set, root)| (*set, *root))
    }

    /// Whether the set with this root is of the version.
    pub(crate) fn has(&self, set: FecSetIndex, root: Hash) -> bool {
        self.expected.get(&set) == Some(&root)
    }

    /// Notes what the set before one that is reached must be.
    pub(crate) fn expect(&mut self, set: FecSetIndex, root: Hash) {
        self.expected.insert(set, root);
    }

    /// Whether the roots of all its sets are known.
    pub(crate) fn is_whole(&self) -> bool {
        self.expected.contains_key(&FecSetIndex::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        effect::{Effect, Origin},
        gather::{Bounds, Gather},
        shredder::Shredder,
    };
    use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
    use rand_chacha::ChaCha8Rng;
    use solana_keypair::Keypair;
    use std::time::Duration;
    use sundog_types::{Now, Slot, sign::Identity};

    const NOW: Now = Now { mono_us: 1, unix_ms: 1 };
    const SLOT: Slot = Slot::new(9);

    /// A version of a slot: what it holds, its shreds, and its block id.
    struct Version {
        bytes: Vec<u8>,
        shreds: Vec<Shred<Signed>>,
        id: Hash,
    }

    /// A version of so many batches of a set each, the first `common` as everybody else's.
    fn version(fill: u8, batches: u8, common: u8) -> Version {
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let mut shredder = Shredder::new(SLOT, Slot::new(8), 7, Hash::default()).unwrap();
        let (mut bytes, mut shreds) = (Vec::new(), Vec::new());
        for batch in 0..batches {
            let content = [if batch < common { batch } else { fill }; 900];
            bytes.extend_from_slice(&content);
            let sets = shredder.shred(&content, batch, batch + 1 == batches, &leader).unwrap();
            shreds.extend(sets.into_iter().flat_map(|set| set.data.into_iter().chain(set.code)));
        }
        Version { bytes, shreds, id: shredder.chained_root() }
    }

    fn gather() -> Gather {
        Gather::new(Bounds { slots: 100, sets: 100, marks: 100 }, Duration::ZERO)
    }

    /// What came out: the bytes, and the block id at the end.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Outcome {
        bytes: Vec<u8>,
        complete: Option<Option<Hash>>,
        stored: Vec<Hash>,
        dead: bool,
    }

    fn feed<'a>(gather: &mut Gather, shreds: impl IntoIterator<Item = &'a Shred<Signed>>, to: &mut Outcome) {
        for shred in shreds {
            let mut out = Vec::new();
            if let Ok(crate::gather::Outcome::Taken { keep: true }) = gather.insert(NOW, shred, Origin::Own, &mut out) {
                to.stored.push(shred.merkle_root());
            }
            to.stored.extend(gather.take_ripe().iter().map(Shred::<Signed>::merkle_root));
            for effect in out {
                match effect {
                    Effect::Data { batch, .. } => to.bytes.extend_from_slice(&batch),
                    Effect::Complete { block_id, .. } => to.complete = Some(block_id),
                    Effect::Dead { .. } => to.dead = true,
                    _ => {}
                }
            }
        }
    }

    /// Both versions come in any order, some shreds again and again as repair brings them.
    fn mixed(seed: u64, chosen: &Version, other: &Version, tell_id: bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut gather = gather();
        let before = &other.shreds[..rng.gen_range(0..other.shreds.len())];
        let mut first = Outcome::default();
        feed(&mut gather, before, &mut first);
        gather.choose(SLOT, tell_id.then_some(chosen.id), Some(other.id));
        let mut outcome = Outcome::default();
        for _ in 0..8 {
            let mut all: Vec<_> = chosen.shreds.iter().chain(&other.shreds).collect();
            all.shuffle(&mut rng);
            feed(&mut gather, all, &mut outcome);
        }
        assert_eq!(outcome.complete, Some(Some(chosen.id)), "seed {seed}");
        assert!(outcome.bytes == chosen.bytes && !outcome.dead, "seed {seed}: it is that version and no mix");
        let roots: Vec<Hash> = chosen.shreds.iter().map(Shred::<Signed>::merkle_root).collect();
        assert!(outcome.stored.iter().all(|root| roots.contains(root)), "seed {seed}: nothing else is stored");
        for shred in chosen.shreds.iter().filter(|shred| shred.kind() == Kind::Data) {
            assert!(outcome.stored.contains(&shred.merkle_root()), "seed {seed}: all of it is stored");
        }
    }

    #[test]
    fn of_two_versions_that_come_mixed_the_chosen_one_is_gathered_and_nothing_else() {
        let lengths = [(1, 1), (3, 3), (2, 5), (5, 2), (6, 6)];
        for seed in 0..60 {
            let (ours, theirs) = lengths[seed as usize % lengths.len()];
            mixed(seed, &version(100, theirs, 0), &version(200, ours, 0), true);
        }
    }

    #[test]
    fn versions_that_part_in_the_middle_are_told_apart_too() {
        for seed in 0..30 {
            mixed(seed, &version(100, 5, 3), &version(200, 5, 3), true);
            mixed(seed, &version(100, 3, 2), &version(200, 6, 2), true);
            mixed(seed, &version(100, 6, 2), &version(200, 3, 2), true);
        }
    }

    #[test]
    fn without_the_id_any_version_is_gathered_but_the_one_that_lost() {
        for seed in 0..30 {
            mixed(seed, &version(100, 4, 1), &version(200, 4, 1), false);
            mixed(seed, &version(100, 2, 0), &version(200, 5, 0), false);
        }
    }

    #[test]
    fn a_version_that_was_chosen_wrongly_is_given_up_for_another() {
        let (right, wrong) = (version(100, 3, 1), version(200, 3, 1));
        let mut gather = gather();
        gather.choose(SLOT, None, Some(right.id));
        let mut outcome = Outcome::default();
        feed(&mut gather, &wrong.shreds, &mut outcome);
        assert_eq!(outcome.complete, Some(Some(wrong.id)));
        gather.choose(SLOT, Some(right.id), Some(wrong.id));
        let mut outcome = Outcome::default();
        feed(&mut gather, wrong.shreds.iter().chain(&right.shreds).rev(), &mut outcome);
        feed(&mut gather, &right.shreds, &mut outcome);
        assert_eq!(outcome.complete, Some(Some(right.id)), "what is chosen has not lost");
    }

    #[test]
    fn choices_are_forgotten_with_the_root_and_of_too_many_the_farthest_first() {
        let mut gather = gather();
        let chosen = |gather: &mut Gather, slot: u64| gather.choose(Slot::new(slot), Some(Hash::default()), None);
        (0..2 * PINS_MAX as u64).rev().for_each(|slot| chosen(&mut gather, 10 + slot));
        let held = gather.held_bytes();
        chosen(&mut gather, 1_000);
        assert_eq!((held / PIN_BYTES, gather.held_bytes()), (PINS_MAX, held));
        gather.set_root(Slot::new(10 + PINS_MAX as u64));
        assert!(gather.held_bytes() < PIN_BYTES);
    }
}

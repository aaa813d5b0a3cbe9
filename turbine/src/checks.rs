//! Shreds that wait for their leader's signature to be checked, and the roots for which that is done.

use crate::{
    effect::{Judged, Origin, VerifyItem},
    metrics::DropReason,
};
use std::collections::BTreeMap;
use sundog_types::{
    FecSetIndex, Hash, Pubkey, Signature, Slot,
    shred::{DropReason as ShredDrop, Parsed, Shred, Signed, VerifiedRoot},
};

/// Shreds that may wait for a verification: some 10 MB, more than a second's worth of a busy cluster. Full: the set
/// farthest from the root loses.
pub const WAITING_MAX: usize = 8_192;
/// FEC sets whose verified roots are remembered: some 15 MB. Full: the set farthest from the root loses, and is
/// verified again when more of it comes.
pub const VERIFIED_MAX: usize = 65_536;
/// Versions of a set that are looked at: two prove that a leader equivocates.
const VERSIONS_MAX: usize = 2;

type Key = (Slot, FecSetIndex, Hash, Signature);

#[derive(Debug)]
struct Waiting {
    key: Key,
    leader: Pubkey,
    shreds: Vec<(Shred<Parsed>, Origin)>,
}

/// What becomes of a shred that is offered.
#[derive(Debug)]
pub(crate) enum Offered {
    /// Its root was verified before.
    Trusted(Shred<Signed>),
    /// It waits, and this must be checked.
    Ask(u64, VerifyItem),
    /// It waits for a check that is under way.
    Waits,
}

/// What a verification brought.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) signed: Vec<(Shred<Signed>, Origin)>,
    pub(crate) refused: usize,
}

/// One signature check for each FEC set.
#[derive(Debug)]
pub(crate) struct Checks {
    capacity: usize,
    next_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    ids: BTreeMap<Key, u64>,
    count: usize,
    verified: BTreeMap<(Slot, FecSetIndex), Vec<VerifiedRoot>>,
}

impl Checks {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            next_id: 0,
            waiting: BTreeMap::new(),
            ids: BTreeMap::new(),
            count: 0,
            verified: BTreeMap::new(),
        }
    }

    /// Shreds that wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Takes a shred of `leader`'s slot.
    pub(crate) fn offer(&mut self, shred: Shred<Parsed>, leader: Pubkey, origin: Origin) -> Judged<Offered> {
        let mut shred = shred;
        let set = (shred.slot(), shred.fec_set_index());
        let roots = self.verified.get(&set).map_or(&[][..], Vec::as_slice);
        for root in roots {
            shred = match shred.trust(root) {
                Ok(signed) => return Ok(Offered::Trusted(signed)),
                Err(other) => other,
            };
        }
        if roots.len() >= VERSIONS_MAX {
            return Err(DropReason::TooManyVersions.into());
        }
        let root = shred.merkle_root().map_err(|_| ShredDrop::BadProof)?;
        let signature = shred.signature();
        let key = (set.0, set.1, root, signature);
        self.make_room(&key)?;
        self.count += 1;
        if let Some(waiting) = self.ids.get(&key).and_then(|id| self.waiting.get_mut(id)) {
            if waiting.shreds.iter().any(|(other, _)| other.id() == shred.id()) {
                self.count -= 1;
                return Err(DropReason::Seen.into());
            }
            waiting.shreds.push((shred, origin));
            return Ok(Offered::Waits);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.ids.insert(key, id);
        self.waiting.insert(id, Waiting { key, leader, shreds: vec![(shred, origin)] });
        Ok(Offered::Ask(id, VerifyItem { leader, root, signature }))
    }

    fn make_room(&mut self, key: &Key) -> Judged<()> {
        while self.count >= self.capacity {
            let (_, id) = self.ids.last_key_value().filter(|(far, _)| *far > key).ok_or(DropReason::WaitingFull)?;
            self.remove(*id);
        }
        Ok(())
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.ids.remove(&waiting.key);
        self.count -= waiting.shreds.len();
        Some(waiting)
    }

    /// Takes the outcome of a check.
    pub(crate) fn settle(&mut self, id: u64, valid: bool) -> Released {
        let mut released = Released::default();
        let Some(Waiting { leader, shreds, .. }) = self.remove(id) else {
            return released;
        };
        for (shred, origin) in shreds {
            match shred.verify(&leader, |_, _, _| valid) {
                Ok(signed) => released.signed.push((signed, origin)),
                Err(_) => released.refused += 1,
            }
        }
        if let Some((signed, _)) = released.signed.first() {
            self.remember(signed.verified_root());
        }
        released
    }

    /// Remembers a root so that no other shred of its set needs a check.
    pub(crate) fn remember(&mut self, root: VerifiedRoot) {
        let set = (root.slot(), root.fec_set_index());
        let roots = self.verified.entry(set).or_default();
        if roots.len() < VERSIONS_MAX && !roots.contains(&root) {
            roots.push(root);
        }
        if self.verified.len() > VERIFIED_MAX {
            self.verified.pop_last();
        }
    }

    /// Forgets which versions of a slot's sets were seen.
    pub(crate) fn forget(&mut self, slot: Slot) {
        let from = (slot, FecSetIndex::ZERO);
        let until = (slot.next(), FecSetIndex::ZERO);
        let sets: Vec<_> = self.verified.range(from..until).map(|(set, _)| *set).collect();
        for set in sets {
            self.verified.remove(&set);
        }
    }

    /// Forgets what concerns the root and the slots below it.
    pub(crate) fn set_root(&mut self, root: Slot) {
        let above = (root.next(), FecSetIndex::ZERO);
        self.verified = self.verified.split_off(&above);
        let rooted: Vec<u64> = self.ids.iter().take_while(|(key, _)| key.0 <= root).map(|(_, id)| *id).collect();
        for id in rooted {
            self.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shredder::Shredder;
    use solana_keypair::Keypair;
    use sundog_types::sign::{Identity, Sign as _};

    fn shred(slot: u64, signer: &Identity) -> Shred<Signed> {
        let (slot, parent) = (Slot::new(slot), Slot::new(slot - 1));
        let mut shredder = Shredder::new(slot, parent, 7, Hash::default()).unwrap();
        let sets = shredder.shred(&[1], 0, true, signer).unwrap();
        sets[0].data[0].clone()
    }

    #[test]
    fn verified_roots_are_bounded_and_the_farthest_is_forgotten() {
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let mut checks = Checks::new(8);
        let root = shred(5, &leader).verified_root();
        // Filling it for real would take minutes of signing: stand-ins under other slots share one root.
        for slot in 0..VERIFIED_MAX as u64 {
            checks.verified.insert((Slot::new(10 + slot), FecSetIndex::ZERO), vec![root]);
        }
        checks.remember(root);
        assert_eq!(checks.verified.len(), VERIFIED_MAX);
        assert!(checks.verified.contains_key(&(Slot::new(5), FecSetIndex::ZERO)));
        let far = shred(1_000_000, &leader).verified_root();
        checks.remember(far);
        assert!(!checks.verified.contains_key(&(Slot::new(1_000_000), FecSetIndex::ZERO)));
        checks.set_root(Slot::new(10 + VERIFIED_MAX as u64));
        assert!(checks.verified.is_empty());
    }

    #[test]
    fn a_check_that_fails_releases_nothing_and_one_that_was_forgotten_changes_nothing() {
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let mut checks = Checks::new(8);
        let parsed = Shred::raw(shred(5, &leader).into_payload()).parse().unwrap();
        let key = leader.identity();
        let Ok(Offered::Ask(id, item)) = checks.offer(parsed.clone(), key, Origin::Turbine) else {
            panic!("the first shred of a set is checked");
        };
        assert!(item.check());
        assert!(checks.offer(parsed.clone(), key, Origin::Turbine).is_err(), "it waits already");
        let released = checks.settle(id, false);
        assert_eq!((released.signed.len(), released.refused, checks.len()), (0, 1, 0));
        assert_eq!(checks.settle(id, true).signed.len(), 0);
        assert!(matches!(checks.offer(parsed, key, Origin::Turbine), Ok(Offered::Ask(..))));
        checks.set_root(Slot::new(5));
        assert_eq!(checks.len(), 0);
    }
}

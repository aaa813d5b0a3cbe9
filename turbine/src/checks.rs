//! Shreds that wait for their leader's signature to be checked, and the roots for which that is done.
//!
//! Who forges shreds can invent a new root and signature for each, so the number of checks that wait is his choice,
//! not the leader's. Two rooms bound that: one for shreds, one for checks under way. Both are divided between senders
//! (`Shares`), and a shred that finds its sender's share used up is refused: **nothing that waits is pushed out**,
//! neither by nearer slots nor by more senders. What is verified is kept elsewhere, out of reach of what is not.

use crate::{
    effect::{Judged, Origin, VerifyItem},
    metrics::DropReason,
    shares::{Share, Shares},
};
use std::collections::BTreeMap;
use sundog_types::{
    FecSetIndex, Hash, Pubkey, Signature, Slot,
    shred::{DropReason as ShredDrop, Parsed, Shred, Signed, VerifiedRoot},
};

/// Shreds that may wait for a verification: some 12 MB, more than a second's worth of a busy cluster.
pub const WAITING_MAX: usize = 8_192;
/// Checks that may be under way: 50 ms of one core, so a flood delays honest shreds by no more.
pub const CHECKS_MAX: usize = 1_024;
/// FEC sets whose verified roots are remembered: some 20 MB. Full: the set farthest from the root loses, and is
/// verified again when more of it comes.
pub const VERIFIED_MAX: usize = 65_536;
/// Signed versions of a set that are looked at: two roots prove that a leader equivocates, and one may be signed twice.
const VERSIONS_MAX: usize = 3;
/// Bytes of a remembered set: its place in the tables, and its roots.
const VERIFIED_BYTES: usize = 64 + VERSIONS_MAX * size_of::<VerifiedRoot>();

/// Bytes that may be held.
pub(crate) const CHECKS_BYTES_MAX: usize =
    WAITING_MAX * WAITING_BYTES + CHECKS_MAX * CHECK_BYTES + VERIFIED_MAX * VERIFIED_BYTES;
/// Bytes of a shred that waits, and of a check.
const WAITING_BYTES: usize = 1_228 + size_of::<(Shred<Parsed>, Origin, Share)>() + 64;
const CHECK_BYTES: usize = size_of::<Waiting>() + 256;

type Key = (Slot, FecSetIndex, Signature, Hash);

#[derive(Debug)]
struct Waiting {
    key: Key,
    leader: Pubkey,
    /// Who came first pays for the check.
    share: Share,
    shreds: Vec<(Shred<Parsed>, Origin, Share)>,
}

/// A shred to be judged, and what is known of it.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) shred: Shred<Parsed>,
    pub(crate) leader: Pubkey,
    pub(crate) origin: Origin,
    pub(crate) share: Share,
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
    next_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    ids: BTreeMap<Key, u64>,
    shreds: Shares,
    checks: Shares,
    verified: BTreeMap<(Slot, FecSetIndex), Vec<VerifiedRoot>>,
    verified_max: usize,
}

impl Checks {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            next_id: 0,
            waiting: BTreeMap::new(),
            ids: BTreeMap::new(),
            shreds: Shares::new(waiting_max),
            checks: Shares::new(waiting_max.min(CHECKS_MAX)),
            verified: BTreeMap::new(),
            verified_max: VERIFIED_MAX,
        }
    }

    /// Shreds that wait.
    pub(crate) fn len(&self) -> usize {
        self.shreds.used()
    }

    /// Checks under way.
    pub(crate) fn under_way(&self) -> usize {
        self.checks.used()
    }

    /// Bytes of memory held, about.
    pub(crate) fn held_bytes(&self) -> usize {
        WAITING_BYTES * self.len() + CHECK_BYTES * self.under_way() + VERIFIED_BYTES * self.verified.len()
    }

    /// Takes a shred. What costs nothing is looked at before its Merkle path is hashed: whether its signature is one
    /// that is verified already, and if not, whether there is room to wait.
    pub(crate) fn offer(&mut self, candidate: Candidate) -> Judged<Offered> {
        let Candidate { shred, leader, origin, share } = candidate;
        let (slot, set, signature) = (shred.slot(), shred.fec_set_index(), shred.signature());
        let roots = self.verified.get(&(slot, set)).map_or(&[][..], Vec::as_slice);
        if let Some(root) = roots.iter().find(|root| root.signature() == signature) {
            // One signature holds for one root only.
            return shred.trust(root).map(Offered::Trusted).map_err(|_| ShredDrop::BadProof.into());
        }
        if roots.len() >= VERSIONS_MAX {
            return Err(DropReason::TooManyVersions.into());
        }
        let same =
            (slot, set, signature, Hash::new_from_array([0; 32]))..=(slot, set, signature, Hash::from([0xff; 32]));
        let may_join = self.ids.range(same).next().is_some();
        if !self.shreds.has_room(share) || !may_join && !self.checks.has_room(share) {
            return Err(DropReason::WaitingFull.into());
        }
        let root = shred.merkle_root().map_err(|_| ShredDrop::BadProof)?;
        let key = (slot, set, signature, root);
        if let Some(waiting) = self.ids.get(&key).and_then(|id| self.waiting.get_mut(id)) {
            if waiting.shreds.iter().any(|(other, ..)| other.id() == shred.id()) {
                return Err(DropReason::Seen.into());
            }
            self.shreds.take(share);
            waiting.shreds.push((shred, origin, share));
            return Ok(Offered::Waits);
        }
        if !self.checks.has_room(share) {
            return Err(DropReason::WaitingFull.into());
        }
        self.shreds.take(share);
        self.checks.take(share);
        let id = self.next_id;
        self.next_id += 1;
        self.ids.insert(key, id);
        self.waiting.insert(id, Waiting { key, leader, share, shreds: vec![(shred, origin, share)] });
        Ok(Offered::Ask(id, VerifyItem { leader, root, signature }))
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.ids.remove(&waiting.key);
        self.checks.give_back(waiting.share);
        for (.., share) in &waiting.shreds {
            self.shreds.give_back(*share);
        }
        Some(waiting)
    }

    /// Takes the outcome of a check.
    pub(crate) fn settle(&mut self, id: u64, valid: bool) -> Released {
        let mut released = Released::default();
        let Some(Waiting { leader, shreds, .. }) = self.remove(id) else {
            return released;
        };
        for (shred, origin, _) in shreds {
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
    fn remember(&mut self, root: VerifiedRoot) {
        let set = (root.slot(), root.fec_set_index());
        let roots = self.verified.entry(set).or_default();
        if roots.len() < VERSIONS_MAX && !roots.contains(&root) {
            roots.push(root);
        }
        if self.verified.len() > self.verified_max {
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

    /// Forgets the verified roots of the root and the slots below it. What waits for them is let go when its check is
    /// done: till then it keeps its place, so that no more checks are under way than may be.
    pub(crate) fn set_root(&mut self, root: Slot) {
        let above = (root.next(), FecSetIndex::ZERO);
        self.verified = self.verified.split_off(&above);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{effect::Sender, shredder::Shredder};
    use solana_keypair::Keypair;
    use sundog_types::{
        shred::signature_holds,
        sign::{Identity, Sign as _, Verifier},
    };

    fn leader() -> Identity {
        Identity::new(Keypair::new_from_array([1; 32]))
    }

    fn set(slot: u64, fill: u8) -> Vec<Shred<Parsed>> {
        let (slot, parent) = (Slot::new(slot), Slot::new(slot - 1));
        let mut shredder = Shredder::new(slot, parent, 7, Hash::default()).unwrap();
        let sets = shredder.shred(&[fill; 2_000], 0, true, &leader()).unwrap();
        sets[0].data.iter().map(|shred| parse(shred.payload().to_vec())).collect()
    }

    fn parse(bytes: Vec<u8>) -> Shred<Parsed> {
        Shred::raw(bytes.into()).parse().unwrap()
    }

    /// A shred with a signature that the leader never made.
    fn forge(shred: &Shred<Parsed>, number: u32) -> Shred<Parsed> {
        let mut bytes = shred.payload().to_vec();
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        parse(bytes)
    }

    fn peer(number: u8) -> Share {
        Share::Staked(Pubkey::new_from_array([number; 32]))
    }

    fn offer(checks: &mut Checks, shred: &Shred<Parsed>, share: Share) -> Judged<Offered> {
        let origin = Origin::Turbine(Sender::Peer(Pubkey::default()));
        checks.offer(Candidate { shred: shred.clone(), leader: leader().identity(), origin, share })
    }

    #[test]
    fn verified_roots_are_bounded_and_the_farthest_is_forgotten() {
        let mut checks = Checks::new(8);
        checks.verified_max = 100;
        let signed = |slot| set(slot, 1).swap_remove(0).verify(&leader().identity(), signature_holds).unwrap();
        let root = signed(5).verified_root();
        // Stand-ins under other slots share one root.
        for slot in 0..100 {
            checks.verified.insert((Slot::new(10 + slot), FecSetIndex::ZERO), vec![root]);
        }
        checks.remember(root);
        assert_eq!(checks.verified.len(), 100);
        assert!(checks.verified.contains_key(&(Slot::new(5), FecSetIndex::ZERO)));
        checks.remember(signed(1_000_000).verified_root());
        assert!(!checks.verified.contains_key(&(Slot::new(1_000_000), FecSetIndex::ZERO)));
        checks.set_root(Slot::new(110));
        assert!(checks.verified.is_empty());
    }

    #[test]
    fn a_check_that_fails_releases_nothing_and_one_that_is_unknown_changes_nothing() {
        let mut checks = Checks::new(8);
        let shred = set(5, 1).swap_remove(0);
        let Ok(Offered::Ask(id, item)) = offer(&mut checks, &shred, peer(1)) else {
            panic!("the first shred of a set is checked");
        };
        assert!(item.check(&Verifier::without_memory()));
        assert!(offer(&mut checks, &shred, peer(1)).is_err(), "it waits already");
        let released = checks.settle(id, false);
        assert_eq!((released.signed.len(), released.refused, checks.len()), (0, 1, 0));
        assert_eq!(checks.settle(id, true).signed.len(), 0);
        assert!(matches!(offer(&mut checks, &shred, peer(1)), Ok(Offered::Ask(..))));
    }

    #[test]
    fn a_flood_of_forged_signatures_leaves_honest_sets_their_place() {
        let mut checks = Checks::new(WAITING_MAX);
        let near = set(5, 1);
        let honest = set(9, 2);
        let Ok(Offered::Ask(id, _)) = offer(&mut checks, &honest[0], peer(1)) else { panic!("room") };
        let mut under_way = 1;
        for number in 0..3_000 {
            for (sender, share) in [Share::Udp, Share::Unstaked, peer(66)].into_iter().enumerate() {
                let forged = forge(&near[number as usize % 32], number * 3 + sender as u32);
                under_way += usize::from(offer(&mut checks, &forged, share).is_ok());
            }
        }
        assert_eq!(checks.under_way(), under_way);
        assert!(under_way < CHECKS_MAX, "{under_way}");
        for shred in &honest[1..] {
            assert!(matches!(offer(&mut checks, shred, peer(1)), Ok(Offered::Waits)), "the set waits on");
        }
        for slot in 100..110 {
            let found = offer(&mut checks, &set(slot, 3)[0], peer(2));
            assert!(matches!(found, Ok(Offered::Ask(..))), "other honest senders find room");
        }
        assert_eq!(checks.settle(id, true).signed.len(), honest.len());
        assert!(checks.held_bytes() < 4 << 20);
    }

    #[test]
    fn a_known_signature_under_another_body_costs_no_check() {
        let mut checks = Checks::new(8);
        let shreds = set(5, 1);
        let Ok(Offered::Ask(id, _)) = offer(&mut checks, &shreds[0], peer(1)) else { panic!("room") };
        checks.settle(id, true);
        assert!(matches!(offer(&mut checks, &shreds[1], peer(1)), Ok(Offered::Trusted(_))));
        let mut bytes = shreds[2].payload().to_vec();
        bytes[200] ^= 1;
        let refused = offer(&mut checks, &parse(bytes), peer(1)).map(|_| ());
        assert_eq!(refused, Err(ShredDrop::BadProof.into()));
        assert_eq!(checks.len(), 0);
    }
}

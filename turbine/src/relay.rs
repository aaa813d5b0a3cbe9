//! The signatures of the nodes that passed resigned shreds on (reference 3.14): whose tree parent is known, takes
//! those shreds with the parent's signature only.

use crate::{
    effect::{Judged, Sender, VerifyItem},
    metrics::DropReason,
    shares::{Share, Shares},
};
use std::collections::BTreeMap;
use sundog_types::{
    FecSetIndex, Hash, Pubkey, Signature, Slot,
    shred::{Shred, Signed},
};

/// Shreds that may wait for this check. They are the last FEC sets of blocks, and signed by their leader already.
/// Divided between senders like what waits for leaders' signatures.
pub const RELAY_WAITING_MAX: usize = 1_024;
/// Parents' signatures that are remembered: some 3 MB, a block has up to 64. Full: the slot farthest from the root
/// loses, and its next shred is checked again.
pub const RELAYS_MAX: usize = 16_384;
/// Where the ids of these checks begin, apart from those of leaders' signatures.
const FIRST_ID: u64 = 1 << 63;
/// Bytes of a remembered signature.
const RELAY_BYTES: usize = 44 + 96 + 64;
/// Bytes that may be held.
pub(crate) const RELAY_BYTES_MAX: usize = RELAYS_MAX * RELAY_BYTES + RELAY_WAITING_MAX * 2_048;

type Key = (Slot, FecSetIndex, Pubkey);

#[derive(Debug)]
struct Waiting {
    key: Key,
    root: Hash,
    signature: Signature,
    shreds: Vec<(Shred<Signed>, Sender, Share)>,
}

/// What becomes of a resigned shred.
#[derive(Debug)]
pub(crate) enum Relayed {
    /// Its parent is known to have signed it.
    Holds(Shred<Signed>),
    /// It waits, and this must be checked.
    Ask(u64, VerifyItem),
    /// It waits for a check that is under way.
    Waits,
}

/// What is known of retransmitters' signatures.
#[derive(Debug)]
pub(crate) struct Relays {
    next_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    shares: Shares,
    good: BTreeMap<Key, (Hash, Signature)>,
    good_max: usize,
}

impl Relays {
    pub(crate) fn new() -> Self {
        Self {
            next_id: FIRST_ID,
            waiting: BTreeMap::new(),
            shares: Shares::new(RELAY_WAITING_MAX),
            good: BTreeMap::new(),
            good_max: RELAYS_MAX,
        }
    }

    /// Whether an answer with this id is for a check of a leader's signature, not one of these.
    pub(crate) const fn is_foreign(id: u64) -> bool {
        id < FIRST_ID
    }

    /// Takes a shred that `parent` should have passed on.
    pub(crate) fn offer(
        &mut self,
        shred: Shred<Signed>,
        parent: Pubkey,
        (from, share): (Sender, Share),
    ) -> Judged<Relayed> {
        let signature = shred.retransmitter_signature().ok_or(DropReason::BadRetransmitter)?;
        let key = (shred.slot(), shred.fec_set_index(), parent);
        let root = shred.merkle_root();
        if self.good.get(&key) == Some(&(root, signature)) {
            return Ok(Relayed::Holds(shred));
        }
        if !self.shares.has_room(share) {
            return Err(DropReason::WaitingFull.into());
        }
        let same = |waiting: &&mut Waiting| (waiting.key, waiting.root, waiting.signature) == (key, root, signature);
        if let Some(waiting) = self.waiting.values_mut().find(same) {
            if waiting.shreds.iter().any(|(other, ..)| other.id() == shred.id()) {
                return Err(DropReason::Seen.into());
            }
            waiting.shreds.push((shred, from, share));
            self.shares.take(share);
            return Ok(Relayed::Waits);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.shares.take(share);
        self.waiting.insert(id, Waiting { key, root, signature, shreds: vec![(shred, from, share)] });
        Ok(Relayed::Ask(id, VerifyItem { leader: parent, root, signature }))
    }

    /// Takes the outcome of a check: the shreds that waited for it.
    pub(crate) fn settle(&mut self, id: u64, valid: bool) -> Vec<(Shred<Signed>, Sender)> {
        let Some(Waiting { key, root, signature, shreds }) = self.waiting.remove(&id) else {
            return Vec::new();
        };
        for (.., share) in &shreds {
            self.shares.give_back(*share);
        }
        if valid {
            self.good.insert(key, (root, signature));
            if self.good.len() > self.good_max {
                self.good.pop_last();
            }
        }
        shreds.into_iter().map(|(shred, from, _)| (shred, from)).collect()
    }

    /// Forgets the root and what is below it.
    pub(crate) fn set_root(&mut self, root: Slot) {
        self.good = self.good.split_off(&(root.next(), FecSetIndex::ZERO, Pubkey::default()));
    }

    /// Shreds that wait.
    pub(crate) fn len(&self) -> usize {
        self.shares.used()
    }

    /// Bytes of memory held, about.
    pub(crate) fn held_bytes(&self) -> usize {
        self.good.len() * RELAY_BYTES + self.shares.used() * 2_048
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shredder;
    use solana_keypair::Keypair;
    use sundog_types::sign::{Identity, Sign as _, Verifier};

    fn node(number: u8) -> Identity {
        Identity::new(Keypair::new_from_array([number; 32]))
    }

    fn set(slot: u64) -> Vec<Shred<Signed>> {
        let (slot, parent) = (Slot::new(slot), Slot::new(slot - 1));
        let mut shredder = Shredder::new(slot, parent, 7, Hash::default()).unwrap();
        shredder.shred(&[1], 0, true, &node(1)).unwrap().swap_remove(0).data
    }

    const FROM: (Sender, Share) = (Sender::Peer(Pubkey::new_from_array([2; 32])), Share::Unstaked);

    #[test]
    fn a_parents_signature_is_checked_once_for_a_set() {
        let (mut relays, parent) = (Relays::new(), node(2).identity());
        let shreds: Vec<_> = set(5).into_iter().map(|shred| shred.resign(&node(2))).collect();
        let Ok(Relayed::Ask(id, item)) = relays.offer(shreds[0].clone(), parent, FROM) else { panic!("unknown yet") };
        assert!(!Relays::is_foreign(id) && item.check(&Verifier::without_memory()));
        assert!(matches!(relays.offer(shreds[1].clone(), parent, FROM), Ok(Relayed::Waits)));
        assert_eq!(relays.offer(shreds[1].clone(), parent, FROM).map(|_| ()), Err(DropReason::Seen.into()));
        assert_eq!(relays.settle(id, true).len(), 2);
        assert!(matches!(relays.offer(shreds[2].clone(), parent, FROM), Ok(Relayed::Holds(_))));
        let other = shreds[3].clone().resign(&node(3));
        assert!(matches!(relays.offer(other, parent, FROM), Ok(Relayed::Ask(..))), "another's signature is checked");
        relays.set_root(Slot::new(5));
        assert!(relays.good.is_empty());
    }

    #[test]
    fn what_is_remembered_and_what_waits_is_bounded() {
        let (mut relays, parent) = (Relays::new(), node(2).identity());
        relays.good_max = 2;
        for slot in 5..9 {
            let shred = set(slot).swap_remove(0).resign(&node(2));
            let Ok(Relayed::Ask(id, _)) = relays.offer(shred, parent, FROM) else { panic!("unknown") };
            relays.settle(id, true);
        }
        assert_eq!(relays.good.keys().map(|key| key.0.get()).collect::<Vec<_>>(), [5, 6]);
        relays.shares = Shares::new(9);
        let shred = set(50).swap_remove(0);
        let asked = (10..30).filter(|number| relays.offer(shred.clone().resign(&node(*number)), parent, FROM).is_ok());
        assert_eq!(asked.count(), 3);
        assert_eq!(relays.len(), 3);
        assert!(relays.held_bytes() <= RELAY_BYTES_MAX);
    }
}

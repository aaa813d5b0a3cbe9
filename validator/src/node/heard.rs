//! What other nodes say in gossip about votes, slots and lying leaders, and what this node makes of it.

use super::{Effect, Event, Job, Node};
use bytes::Bytes;
use solana_transaction::versioned::VersionedTransaction;
use std::collections::{BTreeMap, BTreeSet};
use sundog_gossip::wire::duplicate::DuplicateProof;
use sundog_turbine::proof;
use sundog_types::{
    Effects, Now, Pubkey, Slot,
    shred::{Parsed, Shred, signature_holds},
    vote,
};

/// Slots above the root with a proof that are remembered. More: the lowest goes, and may be proven again.
const PROVEN_MAX: usize = 1_024;

/// Proofs of one slot that are checked at a time: that many liars can hide an honest node's proof, but not those of the
/// nodes after it.
const CHECKING_MAX: usize = 8;

/// The lowest slot is said anew each time it rises by so many, not with every root.
const LOWEST_STEP: u64 = 64;

/// Two shreds that a node in gossip says prove its leader's lie; nothing of that is certain yet.
pub struct ProofCheck {
    /// The slot.
    pub slot: Slot,
    /// Who leads it.
    pub leader: Pubkey,
    /// The chain.
    pub shred_version: u16,
    /// The shreds, as they were on the wire.
    pub shreds: Box<DuplicateProof>,
}

impl ProofCheck {
    /// The proof's bytes if the shreds are of this slot, signed by its leader, and contradict each other as
    /// reference 6.5 says.
    #[must_use]
    pub fn run(self) -> Option<Bytes> {
        let parse = |bytes: &[u8]| Shred::raw(Bytes::copy_from_slice(bytes)).parse().ok();
        let (first, second) = (parse(&self.shreds.first)?, parse(&self.shreds.second)?);
        let signed = |shred: &Shred<Parsed>| shred.clone().verify(&self.leader, signature_holds).is_ok();
        let proves = first.slot() == self.slot && proof::conflicts(&first, &second, self.shred_version, signed).is_ok();
        proves.then(|| proof::encode(&self.shreds.first, &self.shreds.second))
    }
}

/// Slots above the root of which it is proven that their leader made two versions.
#[derive(Default)]
pub(super) struct Proven {
    slots: BTreeSet<Slot>,
    /// Proofs that are being checked, by slot: of several, because some may be lies.
    checking: BTreeMap<Slot, usize>,
}

impl Proven {
    fn add(&mut self, slot: Slot) -> bool {
        let new = self.slots.insert(slot);
        if self.slots.len() > PROVEN_MAX {
            self.slots.pop_first();
        }
        new
    }

    pub(super) fn set_root(&mut self, root: Slot) {
        self.slots.retain(|slot| *slot > root);
    }
}

impl Node {
    /// A vote that gossip brought. Only those who may vote are worth a look at the signatures.
    pub(super) fn hear_vote(&mut self, transaction: VersionedTransaction, out: &mut Effects<Effect>) {
        let Some(parsed) = vote::parse_vote(&transaction) else { return };
        if self.node_behind(&parsed).is_some() {
            self.check(Job::CheckVote { transaction: Box::new(transaction) }, out);
        } else {
            self.counters.strange_votes += 1;
        }
    }

    /// A node says that it has these slots.
    pub(super) fn hear_slots(&mut self, now: Now, from: Pubkey, slots: Vec<Slot>, out: &mut Effects<Effect>) {
        for slot in &slots {
            self.consensus(now, sundog_tower::Input::Announced { node: from, slot: *slot }, out);
        }
        self.turbine(now, sundog_turbine::Input::Announced { from, slots }, out);
    }

    /// A node says that the leader of `slot` made two versions of it.
    pub(super) fn hear_duplicate(&mut self, slot: Slot, shreds: Box<DuplicateProof>, out: &mut Effects<Effect>) {
        let known = slot <= self.forks.root() || self.proven.slots.contains(&slot);
        let Some(leader) = self.leaders.leader(slot).filter(|_| !known) else { return };
        let checking = self.proven.checking.get(&slot).copied().unwrap_or_default();
        let check = ProofCheck { slot, leader, shred_version: self.config.shred_version, shreds };
        if checking < CHECKING_MAX && self.check(Job::CheckProof(check), out) {
            self.proven.checking.insert(slot, checking + 1);
        } else {
            self.counters.unchecked += 1;
        }
    }

    /// A proof that gossip brought is checked: `proof` if it holds.
    pub(super) fn proof_checked(&mut self, now: Now, slot: Slot, proof: Option<Bytes>, out: &mut Effects<Effect>) {
        if let Some(checking) = self.proven.checking.remove(&slot).filter(|checking| *checking > 1) {
            self.proven.checking.insert(slot, checking - 1);
        }
        match proof {
            Some(proof) => {
                let why = "a node in gossip proves that its leader made two versions".to_owned();
                if self.duplicate_proven(now, slot, proof, out) {
                    out.push(Effect::Event(Event::Duplicate { slot, why }));
                }
            }
            None => self.counters.false_proofs += 1,
        }
    }

    /// It is certain that the leader of `slot` made two versions of it. Whether that is news.
    pub(super) fn duplicate_proven(&mut self, now: Now, slot: Slot, proof: Bytes, out: &mut Effects<Effect>) -> bool {
        if slot <= self.forks.root() || !self.proven.add(slot) {
            return false;
        }
        self.remember_duplicate(slot, proof, out);
        self.consensus(now, sundog_tower::Input::Duplicate(slot), out);
        true
    }

    /// Tells gossip what this node has and what of others it wants to hear.
    pub(super) fn tell_gossip_root(&mut self, now: Now, out: &mut Effects<Effect>) {
        let slot = self.forks.root();
        let Some(root) = self.forks.get(slot) else { return };
        let schedule = root.bank.epoch_schedule().clone();
        let window = schedule.get_slots_in_epoch(schedule.get_epoch(slot.get()));
        self.gossip(now, sundog_gossip::Input::Root { slot, window }, out);
        let kept_from = Slot::new(slot.get().saturating_sub(self.config.ledger_slots).next_multiple_of(LOWEST_STEP));
        self.gossip(now, sundog_gossip::Input::Lowest(self.catching.lowest().max(kept_from)), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_proven_slot_is_forgotten_when_there_are_too_many() {
        let mut proven = Proven::default();
        for slot in 0..=PROVEN_MAX as u64 {
            assert!(proven.add(Slot::new(slot)));
        }
        assert_eq!(proven.slots.len(), PROVEN_MAX);
        assert!(!proven.slots.contains(&Slot::ZERO));
        assert!(!proven.add(Slot::new(7)), "it is known");
    }
}

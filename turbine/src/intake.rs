//! What becomes of an arriving shred: refused, or verified, gathered, passed on.
//!
//! Refusals come in the order of their cost. All of the first part costs no cryptography; a Merkle path is 7 hashes,
//! a signature 50 microseconds on the pool:
//!
//! 1. size and variant, chain, slot too far ahead, epoch or leader unknown, slot rooted
//! 2. index, parent, flags, place in an aligned FEC set, erasure numbers
//! 3. own slot come back, shred seen already, no place for its set, impossible fields
//! 4. the sender's share of what may wait is used up, unless the signature is known
//! 5. the Merkle path, against the root that was signed, or else to learn what should be signed
//! 6. the leader's signature, once for each FEC set
//! 7. the signature of the tree parent, if the shred has one and the parent is known
//!
//! Only then may it take a place that another shred had.

use crate::{
    block::Status,
    checks::{Candidate, Offered},
    effect::{DeadReason, Effect, Judged, Origin, SendKind},
    gather::Outcome,
    machine::Turbine,
    metrics::{DropReason, PLACES},
    recover::RecoverError,
    relay::{Relayed, Relays},
    shares::Share,
    shredder::FecSet,
    spread::Receiver,
    timeline::How,
};
use bytes::Bytes;
use sundog_types::{
    FecSetIndex, Now, Pubkey, Slot,
    shred::{
        DropReason as ShredDrop, FilterContext, Gate, Gates, Shred, Signed, View, filter, hash_roots, highest_slot,
    },
    sign::SignRole,
};

impl Turbine {
    /// Takes a datagram that should be a shred.
    pub(crate) fn arrive(&mut self, now: Now, bytes: Bytes, origin: Origin, out: &mut Vec<Effect>) {
        match self.admit(bytes, origin) {
            Err(why) => self.metrics.refuse(why),
            Ok(Offered::Waits) => {}
            Ok(Offered::Ask(id, item)) => {
                self.metrics.verifications += 1;
                out.push(Effect::Verify { id, items: vec![item] });
            }
            Ok(Offered::Trusted(shred)) => self.welcome(now, shred, origin, out),
        }
    }

    /// Judges a datagram, cheapest checks first.
    fn admit(&mut self, bytes: Bytes, origin: Origin) -> Judged<Offered> {
        let view = View::read(&bytes)?;
        let (slot, set) = (view.slot(), view.fec_set_index());
        let mut context = self.filter_context(slot);
        if view.version() != context.shred_version {
            return Err(ShredDrop::ShredVersion.into());
        }
        if slot > context.max_slot {
            return Err(ShredDrop::SlotTooFar.into());
        }
        if slot <= context.root {
            return Err(ShredDrop::SlotRooted.into());
        }
        context.gates = self.spread.gates(slot).ok_or(DropReason::UnknownEpoch)?;
        let leader = self.spread.leader(slot).ok_or(DropReason::UnknownLeader)?;
        filter(view, &context)?;
        if leader == self.me && matches!(origin, Origin::Turbine(_)) {
            return Err(DropReason::OwnSlot.into());
        }
        // What repair or the ledger brought first is still to be passed on when Turbine brings it (reference 4.6).
        let is_late = matches!(origin, Origin::Turbine(_)) && !self.spread.was_sent(view);
        if !is_late && self.gather.block(slot).is_some_and(|block| block.has_seen(view)) {
            return Err(DropReason::Seen.into());
        }
        self.gather.has_place(slot, set)?;
        let shred = Shred::raw(bytes).parse().map_err(ShredDrop::from)?;
        let share = Share::of(origin, |peer| self.spread.has_stake(slot, peer));
        self.checks.offer(Candidate { shred, leader, origin, share })
    }

    fn filter_context(&self, slot: Slot) -> FilterContext {
        FilterContext {
            root: self.gather.root(),
            max_slot: highest_slot(self.tip, self.spread.slots_in_epoch(self.tip)),
            shred_version: self.versions.of(slot),
            gates: Gates::NONE,
        }
    }

    /// Takes the answer of the pool.
    pub(crate) fn verified(&mut self, now: Now, id: u64, valid: &[bool], out: &mut Vec<Effect>) {
        let valid = valid == [true];
        if !Relays::is_foreign(id) {
            return self.relayed(now, id, valid, out);
        }
        let released = self.checks.settle(id, valid);
        for _ in 0..released.refused {
            self.metrics.refuse(ShredDrop::BadSignature);
        }
        for (shred, origin) in released.signed {
            if shred.slot() > self.gather.root() {
                self.welcome(now, shred, origin, out);
            } else {
                self.metrics.refuse(ShredDrop::SlotRooted);
            }
        }
    }

    /// Takes a shred that its leader signed. If it says who passed it on, and that is known, it is asked whether he did.
    fn welcome(&mut self, now: Now, shred: Shred<Signed>, origin: Origin, out: &mut Vec<Effect>) {
        let slot = shred.slot();
        let (Origin::Turbine(from), true) = (origin, shred.resigned()) else {
            return self.accept(now, shred, origin, out);
        };
        let rule = self.spread.gates(slot).is_some_and(|gates| gates.has(Gate::RetransmitterSignature));
        let asked = rule && self.spread.is_staked(slot);
        let Some(parent) = asked.then(|| self.spread.parent_of(now, shred.id())).flatten() else {
            return self.accept(now, shred, origin, out);
        };
        let share = Share::of(origin, |peer| self.spread.has_stake(slot, peer));
        match self.relays.offer(shred, parent, (from, share)) {
            Err(why) => self.metrics.refuse(why),
            Ok(Relayed::Waits) => {}
            Ok(Relayed::Ask(id, item)) => {
                self.metrics.relay_verifications += 1;
                out.push(Effect::Verify { id, items: vec![item] });
            }
            Ok(Relayed::Holds(shred)) => self.accept(now, shred, origin, out),
        }
    }

    fn relayed(&mut self, now: Now, id: u64, valid: bool, out: &mut Vec<Effect>) {
        for (shred, from) in self.relays.settle(id, valid) {
            if !valid {
                self.metrics.refuse(DropReason::BadRetransmitter);
            } else if shred.slot() > self.gather.root() {
                self.accept(now, shred, Origin::Turbine(from), out);
            } else {
                self.metrics.refuse(ShredDrop::SlotRooted);
            }
        }
    }

    /// Gathers and passes on.
    fn accept(&mut self, now: Now, shred: Shred<Signed>, origin: Origin, out: &mut Vec<Effect>) {
        let shred = match origin {
            Origin::Own | Origin::Stored => shred,
            _ => self.resign(shred),
        };
        let (slot, set) = (shred.slot(), shred.fec_set_index());
        let keep = match self.gather.insert(now, &shred, origin, out) {
            Err(why) if why != DropReason::Seen => {
                if let (DropReason::NotChosen, Origin::Repair(server)) = (why, origin) {
                    self.repair.has_other_version(now, server, &shred);
                }
                return self.metrics.refuse(why);
            }
            Err(why) | Ok(Outcome::Contradicts(why)) => {
                self.metrics.refuse(why);
                self.pass_on(now, &shred, origin, out);
                return;
            }
            Ok(Outcome::Taken { keep }) => keep,
        };
        let depth = self.pass_on(now, &shred, origin, out);
        self.note_arrival(now, &shred, (origin, depth), out);
        match origin {
            Origin::Repair(_) => self.metrics.repaired += 1,
            Origin::Recovered => self.metrics.recovered += 1,
            Origin::Synced(_) => self.metrics.synced += 1,
            _ => {}
        }
        if keep && origin != Origin::Stored {
            self.keep.push(shred);
        }
        self.keep.append(&mut self.gather.take_ripe());
        if origin != Origin::Recovered {
            self.decode(slot, set, out);
        }
    }

    fn note_arrival(&mut self, now: Now, shred: &Shred<Signed>, came: (Origin, u8), out: &mut Vec<Effect>) {
        let slot = shred.slot();
        let how = match came {
            (Origin::Own, _) => How::Own,
            (Origin::Turbine(from), layer) => How::Turbine { layer, from },
            (Origin::Repair(from), _) => How::Repair { from },
            (Origin::Recovered, _) => How::Recovered,
            (Origin::Stored, _) => How::Stored,
            (Origin::Synced(from), _) => How::Synced { from },
        };
        let leader = self.spread.leader(slot).unwrap_or_default();
        self.arrivals.note(now, leader, shred, how);
        if matches!(self.gather.block(slot).map(|block| block.status), Some(Status::Complete(_)))
            && let Some(timeline) = self.arrivals.complete(now, slot)
        {
            out.push(Effect::Timeline { slot, timeline: Box::new(timeline) });
        }
    }

    /// Has a set decoded as soon as it can be.
    fn decode(&mut self, slot: Slot, set: FecSetIndex, out: &mut Vec<Effect>) {
        if self.gather.is_recoverable(slot, set) {
            self.decoding.want((slot, set));
        }
        self.start_decoding(out);
    }

    fn start_decoding(&mut self, out: &mut Vec<Effect>) {
        while let Some((slot, set)) = self.decoding.next() {
            if let Some(shreds) = self.gather.recoverable(slot, set) {
                out.push(Effect::Recover(self.decoding.start((slot, set), shreds)));
            }
        }
    }

    /// Takes what the pool decoded. If the set was let go meanwhile, or another version of it is gathered now, that is
    /// of no use.
    pub(crate) fn recovered(
        &mut self,
        now: Now,
        id: u64,
        outcome: Result<Vec<Shred<Signed>>, RecoverError>,
        out: &mut Vec<Effect>,
    ) {
        let Some(((slot, set), root)) = self.decoding.finish(id) else {
            return;
        };
        if self.gather.version(slot, set) != Some(root) {
            self.metrics.decoded_too_late += 1;
            return self.decode(slot, set, out);
        }
        if !self.gather.is_recoverable(slot, set) {
            self.metrics.decoded_too_late += 1;
        } else if let Some(shreds) = self.sound(outcome) {
            self.metrics.sets_recovered += 1;
            for shred in shreds {
                self.accept(now, shred, Origin::Recovered, out);
            }
        } else {
            self.metrics.sets_corrupt += 1;
            self.gather.kill(slot, DeadReason::CorruptSet, out);
        }
        self.start_decoding(out);
    }

    /// Decoded shreds, if each is one that would be let in from outside. `None`: the leader made the set wrong.
    fn sound(&mut self, outcome: Result<Vec<Shred<Signed>>, RecoverError>) -> Option<Vec<Shred<Signed>>> {
        let shreds = outcome.ok()?;
        let mut sound = Vec::with_capacity(shreds.len());
        for shred in shreds {
            let mut context = self.filter_context(shred.slot());
            context.gates = self.spread.gates(shred.slot())?;
            match filter(shred.view(), &context) {
                Ok(()) => sound.push(shred),
                Err(why) => {
                    self.metrics.refuse(why);
                    return None;
                }
            }
        }
        Some(sound)
    }

    /// Signs a shred as the one who passes it on, if it has a place for that.
    fn resign(&mut self, shred: Shred<Signed>) -> Shred<Signed> {
        if !shred.resigned() {
            return shred;
        }
        let root = shred.merkle_root();
        let signature = match self.resigned {
            Some((signed, signature)) if signed == root => signature,
            _ => self.signer.sign(SignRole::ShredRoot, root.as_ref()),
        };
        self.resigned = Some((root, signature));
        shred.set_retransmitter_signature(&signature).expect("the variant has the field")
    }

    /// Passes a shred on, unless it was, or came in a way that others have, too. This node's depth in its tree.
    fn pass_on(&mut self, now: Now, shred: &Shred<Signed>, origin: Origin, out: &mut Vec<Effect>) -> u8 {
        let kind = match origin {
            Origin::Repair(_) | Origin::Stored | Origin::Synced(_) => return 0,
            Origin::Own => {
                let receivers = self.spread.broadcast(now, shred).into_iter().collect();
                self.send(shred, SendKind::Broadcast, receivers, out);
                return 0;
            }
            Origin::Turbine(_) => SendKind::Retransmit,
            Origin::Recovered => SendKind::RetransmitRecovered,
        };
        let Some(part) = self.spread.part(now, shred) else {
            return 0;
        };
        if kind == SendKind::Retransmit {
            self.metrics.received_by_place[usize::from(part.place.layer()).min(PLACES - 1)] += 1;
        }
        match self.spread.may_send(self.tip, shred) {
            Ok(()) => self.send(shred, kind, part.children, out),
            Err(_) => self.metrics.unsent_again += 1,
        }
        part.depth
    }

    fn send(&mut self, shred: &Shred<Signed>, kind: SendKind, receivers: Vec<Receiver>, out: &mut Vec<Effect>) {
        for Receiver { to, addresses, layer } in receivers {
            let Some(addresses) = addresses else {
                self.metrics.unsent_without_address += 1;
                continue;
            };
            match kind {
                SendKind::Broadcast => self.metrics.sent_broadcast += 1,
                SendKind::Retransmit => self.metrics.sent_retransmit += 1,
                SendKind::RetransmitRecovered => self.metrics.sent_retransmit_recovered += 1,
            }
            out.push(Effect::Send { to, addresses, shred: shred.payload().clone(), kind, layer });
        }
    }

    /// Takes a set that this node made as leader.
    pub(crate) fn own(&mut self, now: Now, set: FecSet, out: &mut Vec<Effect>) {
        for shred in set.data.into_iter().chain(set.code) {
            self.accept(now, shred, Origin::Own, out);
        }
    }

    /// Sends shreds of an own block once more. What others made is none of this node's business.
    pub(crate) fn own_again(&mut self, now: Now, shreds: Vec<Bytes>, out: &mut Vec<Effect>) {
        let signed = |bytes| Shred::raw(bytes).parse().ok()?.trust_own_ledger().ok();
        for shred in shreds.into_iter().filter_map(signed) {
            if self.spread.leader(shred.slot()) == Some(self.signer.identity()) {
                self.pass_on(now, &shred, Origin::Own, out);
            }
        }
    }

    /// Takes shreds out of this node's ledger.
    pub(crate) fn stored(&mut self, now: Now, shreds: Vec<Bytes>, out: &mut Vec<Effect>) {
        let parsed: Vec<_> =
            shreds.into_iter().map(|bytes| Shred::raw(bytes).parse().map_err(ShredDrop::from)).collect();
        hash_roots(parsed.iter().flatten());
        for parsed in parsed {
            match parsed.and_then(|shred| shred.trust_own_ledger().map_err(ShredDrop::from)) {
                Ok(shred) if shred.slot() <= self.gather.root() => self.metrics.refuse(ShredDrop::SlotRooted),
                Ok(shred) => self.accept(now, shred, Origin::Stored, out),
                Err(why) => self.metrics.refuse(why),
            }
        }
    }

    /// Takes shreds that bulk sync checked.
    pub(crate) fn synced(&mut self, now: Now, from: Pubkey, shreds: Vec<Shred<Signed>>, out: &mut Vec<Effect>) {
        for shred in shreds {
            if shred.slot() > self.gather.root() {
                self.accept(now, shred, Origin::Synced(from), out);
            } else {
                self.metrics.refuse(ShredDrop::SlotRooted);
            }
        }
    }
}

//! Turbine as a machine: what arrives is judged, gathered, passed on, and what is missing is asked for.

use crate::{
    block::Status,
    checks::{Checks, Offered},
    config::TurbineConfig,
    effect::{Effect, Input, Judged, Origin, RepairKind, SendKind},
    gather::{Bounds, Gather},
    metrics::{DropReason, Metrics, PLACES},
    recover::{Codec, RecoverError, RecoverJob},
    pace::Pace,
    peers::RepairPeer,
    repair::{Repair, TICK},
    repair_wire::{PING_RESPONSE_BYTES, Ping, split_shred_response},
    serve::{Serve, ServedKind, ShredSource},
    shredder::FecSet,
    spread::{Receiver, Spread, SpreadConfig},
    tree_cache::TreeCache,
};
use bytes::Bytes;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};
use sundog_types::{
    Effects, FecSetIndex, Hash, Machine, Now, Pubkey, Signature, Slot,
    shred::{DropReason as ShredDrop, FilterContext, Shred, Signed, View, filter, highest_slot},
    sign::{Sign, SignRole},
};

/// Spreads and gathers shreds, repairs, and serves repair.
pub struct Turbine {
    config: TurbineConfig,
    signer: Arc<dyn Sign>,
    me: Pubkey,
    spread: Spread,
    checks: Checks,
    gather: Gather,
    repair: Repair,
    serve: Serve,
    codec: Arc<Codec>,
    recovering: BTreeMap<u64, (Slot, FecSetIndex)>,
    next_recovery: u64,
    tip: Slot,
    next_tick: Option<Now>,
    /// The retransmitter signature made last: the shreds of a set share it.
    resigned: Option<(Hash, Signature)>,
    /// Shreds to store, gathered while one input is taken.
    keep: Vec<Shred<Signed>>,
    metrics: Metrics,
}

impl Turbine {
    /// A node that knows no peers, no epochs, and root 0. `seed` feeds nonces, the choice of peers, and ping tokens.
    #[must_use]
    pub fn new(config: TurbineConfig, signer: Arc<dyn Sign>, source: Arc<dyn ShredSource>, seed: [u8; 32]) -> Self {
        Self::with_trees(config, signer, source, seed, Arc::default())
    }

    /// [`Turbine::new`] with trees that it shares with others that see the same cluster.
    #[must_use]
    pub fn with_trees(
        config: TurbineConfig,
        signer: Arc<dyn Sign>,
        source: Arc<dyn ShredSource>,
        seed: [u8; 32],
        trees: Arc<TreeCache>,
    ) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let mut draw = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let pace = Pace {
            tick: config.tick,
            ticks_per_slot: config.ticks_per_slot,
            patience: config.patience,
            budget: config.repair_budget,
        };
        let me = signer.identity();
        let bounds = Bounds { slots: config.slots_max, sets: config.sets_max };
        Self {
            config,
            me,
            spread: Spread::new(me, SpreadConfig::of(&config), trees),
            checks: Checks::new(config.waiting_max),
            gather: Gather::new(bounds, config.patience),
            repair: Repair::new(Arc::clone(&signer), pace, draw()),
            serve: Serve::new(Arc::clone(&signer), source, draw()),
            signer,
            codec: Arc::new(Codec::new()),
            recovering: BTreeMap::new(),
            next_recovery: 0,
            tip: Slot::ZERO,
            next_tick: None,
            resigned: None,
            keep: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// What was counted since the start.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The Merkle root of a complete block's last FEC set, while the slot is above the root.
    #[must_use]
    pub fn block_id(&self, slot: Slot) -> Option<Hash> {
        match self.slot_status(slot)? {
            Status::Complete(block_id) => block_id,
            Status::Gathering | Status::Dead(_) => None,
        }
    }

    /// How far a slot is; `None` if nothing of it is here, or it is not above the root.
    #[must_use]
    pub fn slot_status(&self, slot: Slot) -> Option<Status> {
        self.gather.block(slot).map(|block| block.status)
    }

    /// Those that repair may ask, and how they have answered.
    pub fn repair_peers(&self) -> impl Iterator<Item = &RepairPeer> {
        self.repair.peers()
    }

    /// The peers that this node will most likely send shreds of a slot to, by stake: keep connections to them warm. At
    /// most [`WARM_MAX`](crate::spread::WARM_MAX); none if the slot's epoch is not known.
    #[must_use]
    pub fn warm(&self, slot: Slot) -> Vec<Pubkey> {
        self.spread.warm(slot)
    }

    /// Judges a datagram that should be a shred, cheapest checks first.
    fn admit(&mut self, bytes: Bytes, origin: Origin) -> Judged<Offered> {
        let view = View::read(&bytes)?;
        let slot = view.slot();
        let gates = self.spread.gates(slot).ok_or(DropReason::UnknownEpoch)?;
        let context = FilterContext {
            root: self.gather.root(),
            max_slot: highest_slot(self.tip, self.spread.slots_in_epoch(self.tip)),
            shred_version: self.config.shred_version,
            gates,
        };
        filter(view, &context)?;
        if slot <= context.root {
            return Err(ShredDrop::SlotRooted.into());
        }
        let leader = self.spread.leader(slot).ok_or(DropReason::UnknownEpoch)?;
        if leader == self.me && origin == Origin::Turbine {
            return Err(DropReason::OwnSlot.into());
        }
        if self.gather.block(slot).is_some_and(|block| block.has_seen(view)) {
            return Err(DropReason::Seen.into());
        }
        let shred = Shred::raw(bytes).parse().map_err(ShredDrop::from)?;
        self.checks.offer(shred, leader, origin)
    }

    fn arrive(&mut self, now: Now, bytes: Bytes, origin: Origin, out: &mut Vec<Effect>) {
        match self.admit(bytes, origin) {
            Err(why) => self.metrics.refuse(why),
            Ok(Offered::Waits) => {}
            Ok(Offered::Ask(id, item)) => {
                self.metrics.verifications += 1;
                out.push(Effect::Verify { id, items: vec![item] });
            }
            Ok(Offered::Trusted(shred)) => self.accept(now, shred, origin, out),
        }
    }

    /// Takes a shred that its leader signed.
    fn accept(&mut self, now: Now, shred: Shred<Signed>, origin: Origin, out: &mut Vec<Effect>) {
        let shred = match origin {
            Origin::Own | Origin::Stored => shred,
            Origin::Turbine | Origin::Repair | Origin::Recovered => self.resign(shred),
        };
        let taken = match self.gather.insert(now, &shred, origin, out) {
            Err(why) => return self.metrics.refuse(why),
            Ok(taken) => taken,
        };
        self.pass_on(now, &shred, origin, out);
        let Some(taken) = taken else { return };
        match origin {
            Origin::Repair => self.metrics.repaired += 1,
            Origin::Recovered => self.metrics.recovered += 1,
            _ => {}
        }
        let (slot, set) = (shred.slot(), shred.fec_set_index());
        if taken.keep && origin != Origin::Stored {
            self.keep.push(shred);
        }
        if origin != Origin::Recovered {
            self.recover(slot, set, out);
        }
    }

    fn recover(&mut self, slot: Slot, set: FecSetIndex, out: &mut Vec<Effect>) {
        let Some(shreds) = self.gather.recoverable(slot, set) else {
            return;
        };
        if self.recovering.values().any(|key| *key == (slot, set)) {
            return;
        }
        let id = self.next_recovery;
        self.next_recovery += 1;
        self.recovering.insert(id, (slot, set));
        out.push(Effect::Recover(RecoverJob { id, shreds, codec: Arc::clone(&self.codec) }));
    }

    fn synced(&mut self, now: Now, shreds: Vec<Shred<Signed>>, out: &mut Vec<Effect>) {
        for shred in shreds {
            if shred.slot() > self.gather.root() {
                self.accept(now, shred, Origin::Repair, out);
            }
        }
    }

    fn recovered(
        &mut self,
        now: Now,
        id: u64,
        outcome: Result<Vec<Shred<Signed>>, RecoverError>,
        out: &mut Vec<Effect>,
    ) {
        let Some((slot, set)) = self.recovering.remove(&id) else {
            return;
        };
        if self.gather.recoverable(slot, set).is_none() {
            return;
        }
        match outcome {
            Ok(shreds) => {
                self.metrics.sets_recovered += 1;
                for shred in shreds {
                    self.accept(now, shred, Origin::Recovered, out);
                }
            }
            Err(_) => {
                self.metrics.sets_corrupt += 1;
                self.gather.mark_corrupt(slot, set);
            }
        }
    }

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

    fn pass_on(&mut self, now: Now, shred: &Shred<Signed>, origin: Origin, out: &mut Vec<Effect>) {
        let (kind, receivers) = match origin {
            Origin::Repair | Origin::Stored => return,
            Origin::Own => (SendKind::Broadcast, self.spread.broadcast(now, shred).into_iter().collect()),
            Origin::Turbine | Origin::Recovered => {
                let Some(part) = self.spread.part(now, shred) else {
                    return;
                };
                if let Err(why) = self.spread.may_send(self.tip, shred) {
                    return self.metrics.refuse(why);
                }
                if origin == Origin::Turbine {
                    let place = usize::from(part.place.layer()).min(PLACES - 1);
                    self.metrics.received_by_place[place] += 1;
                    (SendKind::Retransmit, part.children)
                } else {
                    (SendKind::RetransmitRecovered, part.children)
                }
            }
        };
        self.send(shred, kind, receivers, out);
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

    fn own(&mut self, now: Now, set: FecSet, out: &mut Vec<Effect>) {
        for shred in set.data.into_iter().chain(set.code) {
            self.accept(now, shred, Origin::Own, out);
        }
    }

    fn stored(&mut self, now: Now, shreds: Vec<Bytes>, out: &mut Vec<Effect>) {
        for bytes in shreds {
            let parsed = Shred::raw(bytes).parse().map_err(ShredDrop::from);
            match parsed.and_then(|shred| shred.trust_own_ledger().map_err(ShredDrop::from)) {
                Ok(shred) if shred.slot() <= self.gather.root() => self.metrics.refuse(ShredDrop::SlotRooted),
                Ok(shred) => self.accept(now, shred, Origin::Stored, out),
                Err(why) => self.metrics.refuse(why),
            }
        }
    }

    fn verified(&mut self, now: Now, id: u64, valid: &[bool], out: &mut Vec<Effect>) {
        let released = self.checks.settle(id, valid == [true]);
        for _ in 0..released.refused {
            self.metrics.refuse(ShredDrop::BadSignature);
        }
        for (shred, origin) in released.signed {
            if shred.slot() > self.gather.root() {
                self.accept(now, shred, origin, out);
            }
        }
    }

    fn response(&mut self, now: Now, from: SocketAddr, bytes: Bytes, out: &mut Vec<Effect>) {
        if bytes.len() == PING_RESPONSE_BYTES {
            let ping = Ping::decode_response(&bytes).ok_or(DropReason::BadPing);
            match ping.and_then(|ping| self.repair.pong(now, from, &ping)) {
                Ok(bytes) => {
                    self.metrics.pongs_sent += 1;
                    out.push(Effect::SendRepair { to: from, bytes, kind: RepairKind::Pong });
                }
                Err(why) => self.metrics.refuse(why),
            }
            return;
        }
        let answer = split_shred_response(&bytes).ok_or(DropReason::ResponseTooShort);
        match answer.and_then(|(shred, nonce)| self.repair.answered(now, from, nonce, &shred).map(|_| shred)) {
            Ok(shred) => self.arrive(now, shred, Origin::Repair, out),
            Err(why) => self.metrics.refuse(why),
        }
    }

    fn request(&mut self, now: Now, from: SocketAddr, bytes: &Bytes, out: &mut Vec<Effect>) {
        match self.serve.answer(now, from, bytes) {
            Err(why) => self.metrics.refuse(why),
            Ok(answers) => {
                for (bytes, kind) in answers {
                    self.metrics.served_bytes += bytes.len() as u64;
                    match kind {
                        ServedKind::Shred => self.metrics.served += 1,
                        ServedKind::Ancestors => self.metrics.served_ancestors += 1,
                        ServedKind::Ping => self.metrics.pings_sent += 1,
                    }
                    out.push(Effect::SendServed { to: from, bytes, kind });
                }
            }
        }
    }

    fn set_root(&mut self, root: Slot) {
        self.spread.set_root(root);
        self.gather.set_root(root);
        self.checks.set_root(root);
        self.repair.set_root(root);
    }

    /// Sets the timer, the gauges, and hands out what is to be stored.
    fn settle(&mut self, now: Now, from: usize, out: &mut Vec<Effect>) {
        if !self.keep.is_empty() {
            out.push(Effect::Store { shreds: std::mem::take(&mut self.keep) });
        }
        for effect in &out[from..] {
            match effect {
                Effect::SendRepair { kind, .. } if *kind != RepairKind::Pong => self.metrics.repair_requests += 1,
                Effect::Complete { .. } => self.metrics.complete += 1,
                Effect::Dead { .. } => self.metrics.dead += 1,
                Effect::Duplicate { .. } => self.metrics.duplicate_slots += 1,
                _ => {}
            }
        }
        self.metrics.slots_held = self.gather.len() as u64;
        self.metrics.waiting = self.checks.len() as u64;
        self.metrics.sets_evicted = self.gather.sets_evicted;
        self.metrics.slots_evicted = self.gather.slots_evicted;
        let tally = self.repair.tally;
        self.metrics.repair_over_budget = tally.over_budget;
        self.metrics.repair_searches_over_budget = tally.searches_over_budget;
        self.metrics.repair_unanswered = tally.unanswered;
        self.metrics.repair_given_up = tally.given_up;
        if !self.repair.has_work(&self.gather) {
            self.next_tick = None;
        } else if self.next_tick.is_none() {
            self.next_tick = Some(now.after(TICK));
        }
    }
}

impl Machine for Turbine {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        let from = out.len();
        match input {
            Input::Shred { bytes, from: _ } => self.arrive(now, bytes, Origin::Turbine, out),
            Input::Synced { shreds, .. } => self.synced(now, shreds, out),
            Input::RepairFrom(slot) => self.repair.set_from(slot),
            Input::Recovered { id, outcome } => self.recovered(now, id, outcome, out),
            Input::RepairResponse { from, bytes } => self.response(now, from, bytes, out),
            Input::RepairRequest { from, bytes } => self.request(now, from, &bytes, out),
            Input::Verified { id, valid } => self.verified(now, id, &valid, out),
            Input::Own { set } => self.own(now, set, out),
            Input::Stored { shreds } => self.stored(now, shreds, out),
            Input::Epoch(info) => self.spread.set_epoch(info),
            Input::Peers(peers) => {
                self.spread.set_peers(&peers);
                self.repair.set_peers(&peers, self.config.shred_version);
                self.serve.set_peers(&peers);
            }
            Input::Root(root) => self.set_root(root),
            Input::Tip(tip) => self.tip = self.tip.max(tip),
            Input::Wanted(slots) => self.repair.set_wanted(slots),
            Input::Forget(slot) => {
                self.checks.forget(slot);
                self.gather.renew(now, slot);
            }
        }
        self.settle(now, from, out);
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        if !self.next_tick.is_some_and(|due| now.reached(due)) {
            return;
        }
        let from = out.len();
        self.repair.tick(now, self.tip, &mut self.gather, out);
        self.next_tick = None;
        self.settle(now, from, out);
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.next_tick
    }
}

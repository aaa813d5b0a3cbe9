//! Turbine as a machine: what arrives is judged, gathered, passed on, and what is missing is asked for.

use crate::{
    ancestry::Ancestry,
    arrivals::{ARRIVALS_BYTES_MAX, Arrivals},
    block::Status,
    checks::Checks,
    config::{TurbineConfig, Versions},
    decoding::Decoding,
    effect::{Effect, Input, Origin, RepairKind},
    gather::{Bounds, Gather},
    metrics::{DropReason, Metrics},
    pace::Pace,
    peers::RepairPeer,
    relay::Relays,
    repair::{Repair, TICK},
    repair_wire::{PING_RESPONSE_BYTES, Ping, split_shred_response},
    serve::{Serve, ServedKind, ShredSource},
    spread::{Spread, SpreadConfig},
    tree_cache::TreeCache,
};
use bytes::Bytes;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{net::SocketAddr, sync::Arc};
use sundog_types::{
    Effects, Hash, Machine, Now, Pubkey, Signature, Slot,
    shred::{Shred, Signed},
    sign::Sign,
};

/// Spreads and gathers shreds, repairs, and serves repair.
pub struct Turbine {
    pub(crate) config: TurbineConfig,
    pub(crate) versions: Versions,
    pub(crate) signer: Arc<dyn Sign>,
    pub(crate) me: Pubkey,
    pub(crate) spread: Spread,
    pub(crate) checks: Checks,
    pub(crate) gather: Gather,
    pub(crate) repair: Repair,
    ancestry: Ancestry,
    serve: Serve,
    pub(crate) relays: Relays,
    pub(crate) decoding: Decoding,
    pub(crate) arrivals: Arrivals,
    pub(crate) tip: Slot,
    next_tick: Option<Now>,
    /// The retransmitter signature made last: the shreds of a set share it.
    pub(crate) resigned: Option<(Hash, Signature)>,
    /// Shreds to store, gathered while one input is taken.
    pub(crate) keep: Vec<Shred<Signed>>,
    pub(crate) metrics: Metrics,
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
        let bounds = Bounds { slots: config.slots_max, sets: config.sets_max, marks: config.marks_max };
        Self {
            versions: Versions::new(config.shred_version, Vec::new()),
            config,
            me,
            spread: Spread::new(me, SpreadConfig::of(&config), trees),
            checks: Checks::new(config.waiting_max),
            gather: Gather::new(bounds, config.patience),
            repair: Repair::new(Arc::clone(&signer), pace, draw()),
            serve: Serve::new(Arc::clone(&signer), source, draw()),
            ancestry: Ancestry::new(Arc::clone(&signer), draw()),
            signer,
            relays: Relays::new(),
            decoding: Decoding::new(),
            arrivals: Arrivals::new(ARRIVALS_BYTES_MAX),
            tip: Slot::ZERO,
            next_tick: None,
            resigned: None,
            keep: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// Takes shreds of blocks from before a restart of the cluster by the version that they have.
    pub fn set_versions(&mut self, versions: Versions) {
        self.versions = versions;
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

    /// Whether one version of a slot was chosen, or one was said to have lost.
    #[must_use]
    pub fn is_chosen(&self, slot: Slot) -> bool {
        self.gather.is_pinned(slot)
    }

    /// Slots from this one on whose shreds contradict each other before they are whole, the lowest first. What is here may be
    /// of a version that nobody has the rest of, and what others have may not fit to it. Not those of which a version was
    /// chosen.
    pub fn muddled_from(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        self.gather.open_from(slot).filter(|slot| self.gather.is_muddled(*slot))
    }

    /// Whether that is how a slot is.
    #[must_use]
    pub fn is_muddled(&self, slot: Slot) -> bool {
        self.gather.is_muddled(slot)
    }

    /// What a slot builds on, as its shreds say, while it is above the root.
    #[must_use]
    pub fn parent(&self, slot: Slot) -> Option<Slot> {
        self.gather.block(slot)?.parent
    }

    /// How many data shreds a slot has, once its end is here, while it is above the root.
    #[must_use]
    pub fn length(&self, slot: Slot) -> Option<u32> {
        self.gather.block(slot)?.length()
    }

    /// The block id of its parent, as the first FEC set of a slot says, while the slot is above the root.
    #[must_use]
    pub fn parent_id(&self, slot: Slot) -> Option<Hash> {
        self.gather.block(slot)?.chained()
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

    /// Bytes of memory that the machine holds, about: shreds and what is remembered of them. Never more than
    /// [`HELD_BYTES_MAX`](crate::HELD_BYTES_MAX), whatever arrives. Counts all of it, so ask now and then.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.gather.held_bytes()
            + self.checks.held_bytes()
            + self.relays.held_bytes()
            + self.decoding.held_bytes()
            + self.arrivals.held_bytes()
            + self.spread.held_bytes()
    }

    fn response(&mut self, now: Now, from: SocketAddr, bytes: Bytes, out: &mut Vec<Effect>) {
        if bytes.len() == PING_RESPONSE_BYTES {
            return self.pinged(now, from, &bytes, out);
        }
        let nonce = bytes.last_chunk().map(|nonce| u32::from_le_bytes(*nonce));
        if nonce.is_some_and(|nonce| self.ancestry.is_awaited(nonce)) {
            match self.ancestry.answered(from, &bytes) {
                Ok(agreed) => out.extend(agreed),
                Err(why) => self.metrics.refuse(why),
            }
            return;
        }
        let answer = split_shred_response(&bytes).ok_or(DropReason::ResponseTooShort);
        match answer
            .and_then(|(shred, nonce)| self.repair.answered(now, from, nonce, &shred).map(|server| (shred, server)))
        {
            Ok((shred, server)) => self.arrive(now, shred, Origin::Repair(server), out),
            Err(why) => self.metrics.refuse(why),
        }
    }

    fn pinged(&mut self, now: Now, from: SocketAddr, bytes: &[u8], out: &mut Vec<Effect>) {
        let ping = Ping::decode_response(bytes).or_else(|| Ping::decode_ancestor_response(bytes));
        let pong = ping.ok_or(DropReason::BadPing).and_then(|ping| Ok((ping, self.repair.pong(now, from, &ping)?)));
        match pong {
            Ok((ping, bytes)) => {
                self.metrics.pongs_sent += 1;
                out.push(Effect::SendRepair { to: from, bytes, kind: RepairKind::Pong });
                self.ancestry.ponged(now, &ping.from);
            }
            Err(why) => self.metrics.refuse(why),
        }
    }

    fn ask_ancestors(&mut self, now: Now, slot: Slot, out: &mut Vec<Effect>) {
        if slot > self.gather.root() {
            let peers = self.repair.peers().copied().collect();
            let asked = self.ancestry.ask(now, slot, peers, out);
            self.repair.note_asked(now, &asked);
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

    fn set_root(&mut self, root: Slot, out: &mut Vec<Effect>) {
        let timelines = self.arrivals.set_root(root).into_iter();
        out.extend(timelines.map(|t| Effect::Timeline { slot: t.slot, timeline: Box::new(t) }));
        self.relays.set_root(root);
        self.decoding.set_root(root);
        self.spread.set_root(root);
        self.gather.set_root(root);
        self.checks.set_root(root);
        self.repair.set_root(root);
        self.ancestry.set_root(root);
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
                Effect::Duplicate { proof, .. } => {
                    self.metrics.conflicts += 1;
                    self.metrics.proofs += u64::from(proof.is_some());
                }
                _ => {}
            }
        }
        self.metrics.slots_held = self.gather.len() as u64;
        self.metrics.waiting = (self.checks.len() + self.relays.len()) as u64;
        self.metrics.checks_under_way = self.checks.under_way() as u64;
        self.metrics.sets_decoding = self.decoding.under_way() as u64;
        let (held, marks) = self.gather.sets();
        (self.metrics.sets_held, self.metrics.marks_held) = (held as u64, marks as u64);
        self.metrics.marks_forgotten = self.gather.marks_forgotten;
        self.metrics.duplicate_slots = self.gather.duplicate_slots;
        self.metrics.sets_evicted = self.gather.sets_evicted;
        self.metrics.slots_evicted = self.gather.slots_evicted;
        self.metrics.stray_sets = self.gather.strays;
        let tally = self.repair.tally;
        self.metrics.repair_over_budget = tally.over_budget;
        self.metrics.repair_searches_over_budget = tally.searches_over_budget;
        self.metrics.repair_unanswered = tally.unanswered;
        self.metrics.repair_given_up = tally.given_up;
        let ends = self.ancestry.ends;
        (self.metrics.ancestors_asked, self.metrics.ancestors_refused) = (ends.asked, ends.refused);
        (self.metrics.ancestors_agreed, self.metrics.ancestors_split) = (ends.agreed, ends.split);
        self.metrics.ancestors_unknown = ends.unknown;
        if !self.repair.has_work(&self.gather) && self.ancestry.is_idle() {
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
            Input::Shred { bytes, from } => self.arrive(now, bytes, Origin::Turbine(from), out),
            Input::Synced { from, shreds } => self.synced(now, from, shreds, out),
            Input::RepairFrom(slot) => self.repair.set_from(slot),
            Input::Recovered { id, outcome } => self.recovered(now, id, outcome, out),
            Input::RepairResponse { from, bytes } => self.response(now, from, bytes, out),
            Input::RepairRequest { from, bytes } => self.request(now, from, &bytes, out),
            Input::Verified { id, valid } => self.verified(now, id, &valid, out),
            Input::Own { set } => self.own(now, set, out),
            Input::OwnAgain { shreds } => self.own_again(now, shreds, out),
            Input::Stored { shreds } => self.stored(now, shreds, out),
            Input::Epoch(info) => self.spread.set_epoch(info),
            Input::Peers(peers) => {
                self.spread.set_peers(&peers);
                self.repair.set_peers(&peers, self.config.shred_version);
                self.serve.set_peers(&peers);
            }
            Input::Root(root) => self.set_root(root, out),
            Input::Tip(tip) => self.tip = self.tip.max(tip),
            Input::Announced { from, slots } => {
                self.metrics.announced += slots.len() as u64;
                self.repair.announce(from, &slots);
            }
            Input::Wanted(slots) => self.repair.set_wanted(slots),
            Input::AskAncestors(slot) => self.ask_ancestors(now, slot, out),
            Input::Forget(slot) => {
                self.checks.forget(slot);
                self.arrivals.forget(slot);
                self.gather.renew(now, slot);
            }
            Input::Choose { slot, block_id, lost, fetch } => {
                self.metrics.chosen += 1;
                self.checks.forget(slot);
                self.arrivals.forget(slot);
                self.gather.choose(slot, block_id, lost);
                if fetch {
                    self.gather.renew(now, slot);
                }
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
        self.ancestry.ask_again(now, out);
        let silent = self.ancestry.expire(now);
        self.repair.note_silent(&silent);
        self.next_tick = None;
        self.settle(now, from, out);
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.next_tick
    }
}

//! What becomes of each message that comes in.

use crate::{
    limits::{Host, Sender, Trust},
    machine::{Effect, Gossip},
    metrics::DropReason,
    ping::{Place, PongError},
    pull::{CALLER_SKEW_MS, Caller, Request},
    push::{Parcel, gossip_place, is_fresh},
    registry::Outdated,
    table::Offered,
    wire::{
        Carrier, CrdsFilter, Ping, Pong, Protocol, Prune,
        contact::ContactInfo,
        pack,
        value::{CrdsData, CrdsValue},
    },
};
use solana_transaction::versioned::VersionedTransaction;
use std::net::SocketAddr;
use sundog_types::{Effects, Now, Pubkey};

/// A prune is obeyed no later than this after its wallclock, in milliseconds.
const PRUNE_LATE_MS: u64 = 500;

/// A known caller's contact info is filed when it is so much newer than the known one, in milliseconds.
const CALLER_NEWS_MS: u64 = 5_000;

/// How a value came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// A peer thought it was news.
    Push,
    /// We had asked for it.
    Pull,
    /// It is the caller of a pull request.
    Caller,
}

/// How a value came, and from where.
#[derive(Clone, Copy, Debug)]
struct Came {
    route: Route,
    from: Sender,
}

impl Gossip {
    /// Whether a datagram that came is worth checking; to be asked before [`crate::check()`], which is expensive.
    /// Refusals are counted.
    ///
    /// # Errors
    /// Those of [`crate::limits::Intake::accept`].
    pub fn accept(&mut self, now: Now, from: SocketAddr, bytes: usize) -> Result<(), DropReason> {
        let sender = self.sender(now, &from);
        let verdict = self.intake.accept(now, sender, bytes);
        if let Err(why) = verdict {
            self.metrics.drop_one(why);
        }
        verdict
    }

    pub(crate) fn sender(&self, now: Now, from: &SocketAddr) -> Sender {
        let trust = if self.pings.has_proven(from) || self.intake.was_asked(now, from) {
            Trust::Peer
        } else if self.intake.was_pinged(now, from) {
            Trust::Pinged
        } else {
            Trust::Stranger
        };
        Sender { host: Host::of(from), trust }
    }

    pub(crate) fn take_message(&mut self, now: Now, from: SocketAddr, message: Protocol, out: &mut Effects<Effect>) {
        self.look_at(now, from, &message, out);
        let sender = self.sender(now, &from);
        match message {
            Protocol::PullRequest(filter, caller) => {
                self.take_pull(now, from, (&filter, *caller), out);
            }
            Protocol::PullResponse(_, values) => {
                let route = self.route_of_answer(now, &from);
                for value in values {
                    self.take_value(now, value, Came { route, from: sender }, out);
                }
            }
            Protocol::PushMessage(relayer, values) => {
                let relayer = self.proven_relayer(now, from, &relayer);
                for value in values {
                    let label = value.label();
                    let refused = self.take_value(now, value, Came { route: Route::Push, from: sender }, out);
                    self.note_copy(now, &label, relayer, refused);
                }
            }
            Protocol::PruneMessage(_, prune) => self.take_prune(now, &prune),
            Protocol::PingMessage(ping) => self.take_ping(now, from, &ping, out),
            Protocol::PongMessage(pong) => self.take_pong(now, from, &pong, out),
        }
    }

    /// Anybody may send an answer. One that nobody asked for is as good as a push: its values must be fresh, and are no
    /// sign that their origins live.
    fn route_of_answer(&mut self, now: Now, from: &SocketAddr) -> Route {
        if self.intake.was_asked(now, from) {
            return Route::Pull;
        }
        self.metrics.unasked += 1;
        Route::Push
    }

    /// Takes a value in; why not, if not, which is counted.
    fn take_value(&mut self, now: Now, value: CrdsValue, came: Came, out: &mut Effects<Effect>) -> Option<DropReason> {
        let refused = self.admit(now, value, came, out).err();
        if let Some(why) = refused {
            self.metrics.drop_one(why);
        }
        refused
    }

    /// Takes a value in if it comes from where it says, belongs to our chain and is news.
    fn admit(&mut self, now: Now, value: CrdsValue, came: Came, out: &mut Effects<Effect>) -> Result<(), DropReason> {
        if value.origin() == self.me {
            self.hear_own_name(&value, out);
            self.hear_earlier_life(now, &value);
            if let CrdsData::Vote(_, vote) = value.data() {
                let transaction = VersionedTransaction::from(vote.transaction.clone());
                out.push(Effect::Vote { from: vote.from, transaction });
            }
            return Err(self.refuse(now, &value, came, DropReason::OwnName));
        }
        if self.config.roster.as_ref().is_some_and(|roster| !roster.tracks(&value.origin())) {
            return Err(DropReason::UnknownOrigin);
        }
        if came.route == Route::Push && !is_fresh(value.wallclock(), now.unix_ms) {
            return Err(DropReason::Wallclock);
        }
        if !self.gate.may_enter(value.data()) {
            return Err(DropReason::Unstaked);
        }
        // What would not be taken anyhow must not cost a ping.
        match self.table.compare(&value) {
            Offered::New | Offered::Newer => {}
            Offered::Duplicate => return Err(DropReason::Duplicate),
            _ => return Err(self.refuse(now, &value, came, DropReason::Stale)),
        }
        if came.route == Route::Pull && self.is_old(now, &value) && self.table.contact(&value.origin()).is_none() {
            return Err(self.refuse(now, &value, came, DropReason::TooOld));
        }
        match value.contact() {
            Some(contact) => self.admit_contact(now, (&value, contact), came.from, out)?,
            None => self.admit_origin(&value)?,
        }
        if !self.intake.takes_value(now, value.origin(), value.label().kind) {
            return Err(DropReason::OriginRate);
        }
        self.file(now, value, came.route, out)
    }

    /// Remembers a pulled value that is not wanted, so that the next filters say so; the reason.
    fn refuse(&mut self, now: Now, value: &CrdsValue, came: Came, why: DropReason) -> DropReason {
        if came.route == Route::Pull {
            self.table.refuse(now, *value.hash());
        }
        why
    }

    /// Whether a value is older than those of its origin are kept.
    fn is_old(&self, now: Now, value: &CrdsValue) -> bool {
        let age = now.unix_ms.saturating_sub(value.wallclock());
        u128::from(age) > self.table.lasts(&value.origin()).as_millis()
    }

    fn admit_origin(&self, value: &CrdsValue) -> Result<(), DropReason> {
        if self.config.roster.is_some() {
            return Ok(());
        }
        let contact = self.table.contact(&value.origin()).ok_or(DropReason::UnknownOrigin)?;
        if contact.shred_version == self.shred_version { Ok(()) } else { Err(DropReason::OtherChain) }
    }

    fn admit_contact(
        &mut self,
        now: Now,
        (value, contact): (&CrdsValue, &ContactInfo),
        from: Sender,
        out: &mut Effects<Effect>,
    ) -> Result<(), DropReason> {
        let known = self.table.contact(&contact.pubkey).is_some();
        let other_chain = self.shred_version != 0 && contact.shred_version != self.shred_version;
        // A node that we know may say that it left for another chain.
        if other_chain && !known {
            return Err(DropReason::OtherChain);
        }
        let place = gossip_place(contact, self.space).ok_or(DropReason::Address)?;
        if self.hear_of(now, place, from, out)? {
            return Ok(());
        }
        let age = |info: &ContactInfo| (info.outset, info.wallclock);
        let waits = self.waiting.get(&place).and_then(|(_, old)| old.contact());
        if waits.is_none_or(|old| age(contact) > age(old)) {
            self.waiting.note(now, place, value.clone());
        }
        Err(DropReason::Unproven)
    }

    /// Whether the place that calls has proven itself; pings it if it is time to.
    fn meet(&mut self, now: Now, place: Place, out: &mut Effects<Effect>) -> bool {
        let standing = self.pings.meet(now, place);
        self.ping(now, place, standing.ping, out);
        standing.proven
    }

    /// Whether the place that `from` names has proven itself. If it has not and is not asked to either, that is an error.
    pub(crate) fn hear_of(
        &mut self,
        now: Now,
        place: Place,
        from: Sender,
        out: &mut Effects<Effect>,
    ) -> Result<bool, DropReason> {
        let unmet = !self.pings.is_proven(now, &place) && !self.pings.is_asked(&place);
        if unmet && !self.intake.heeds_introduction(now, from) {
            return Err(DropReason::Introductions);
        }
        let staked = self.table.stake(&place.0) > 0;
        let standing = self.pings.hear_of(now, place, staked);
        self.ping(now, place, standing.ping, out);
        if standing.proven || self.pings.is_asked(&place) {
            return Ok(standing.proven);
        }
        Err(DropReason::Introductions)
    }

    fn ping(&mut self, now: Now, place: Place, ping: Option<Ping>, out: &mut Effects<Effect>) {
        if let Some(ping) = ping {
            self.intake.note_pinged(now, place.1);
            self.send_ping(place.1, ping, out);
        }
    }

    fn file(&mut self, now: Now, value: CrdsValue, route: Route, out: &mut Effects<Effect>) -> Result<(), DropReason> {
        let known = self.table.contact(&value.origin());
        let before = known.map(ContactInfo::gossip);
        let renewed = known.zip(value.contact()).is_some_and(|(known, contact)| contact.says_the_same(known));
        if let Some(why) = self.table.offer(now, value.clone()).refusal() {
            return Err(why);
        }
        match route {
            Route::Pull => {
                self.metrics.pulled_in += 1;
                if self.is_old(now, &value) {
                    self.metrics.pulled_old += 1;
                } else {
                    self.table.touch(now, &value.origin());
                }
            }
            Route::Push | Route::Caller => self.metrics.pushed_in += 1,
        }
        self.push_within(now, self.config.push_delay);
        match value.data() {
            CrdsData::ContactInfo(contact) => {
                // Most contact infos only say that a node is still there: in a large cluster a hundred in each round,
                // none of which is worth making the list of peers anew at once.
                self.registry.outdate(if renewed { Outdated::Seen } else { Outdated::Peers });
                self.note_contact(contact, before, out);
            }
            CrdsData::Vote(_, vote) => out.push(Effect::Vote {
                from: vote.from,
                transaction: VersionedTransaction::from(vote.transaction.clone()),
            }),
            CrdsData::EpochSlots(_, slots) => self.hear_slots(slots, out),
            CrdsData::DuplicateShred(place, chunk) => self.hear_duplicate(*place, chunk, out),
            CrdsData::LowestSlot(..) => self.registry.outdate(Outdated::Seen),
            _ => {}
        }
        Ok(())
    }

    /// A contact info was taken in; `before`: the node's gossip address before, if the node was known.
    fn note_contact(&mut self, contact: &ContactInfo, before: Option<Option<SocketAddr>>, out: &mut Effects<Effect>) {
        let Some(address) = contact.gossip() else {
            return;
        };
        self.meet_entrypoint(contact);
        let moved = before != Some(Some(address));
        if contact.shred_version != self.shred_version || !self.push.welcome(contact.pubkey, address) || !moved {
            return;
        }
        let label = self.publisher.label(&CrdsData::ContactInfo(Box::new(contact.clone())));
        if let Some(own) = self.table.get(&label) {
            let parcel = Parcel { to: vec![address], values: vec![own.value.bytes().clone()] };
            self.send_parcel(&parcel, out);
        }
    }

    fn take_pull(
        &mut self,
        now: Now,
        from: SocketAddr,
        (filter, caller): (&CrdsFilter, CrdsValue),
        out: &mut Effects<Effect>,
    ) {
        match self.may_answer(now, from, &caller, out) {
            Ok(proven) => {
                let sender = self.sender(now, &from);
                let (node, wallclock) = (caller.origin(), caller.wallclock());
                // Two pings for one request could be longer than the request.
                let listens_here = caller.contact().is_some_and(|contact| contact.gossip() == Some(from));
                if (proven || listens_here) && self.is_news(&caller) {
                    self.take_value(now, caller, Came { route: Route::Caller, from: sender }, out);
                }
                if !proven {
                    self.metrics.drop_one(DropReason::Unproven);
                } else if self.intake.answers_pull(now, node) {
                    self.answer_pull(now, (from, node), (filter, wallclock), out);
                } else {
                    self.metrics.drop_one(DropReason::IdentityRate);
                }
            }
            Err(why) => self.metrics.drop_one(why),
        }
    }

    /// Whether a caller is new to us, or was here so long ago that others should hear of it again. Eager
    /// callers sign anew for each request, which is not worth spreading.
    fn is_news(&self, caller: &CrdsValue) -> bool {
        let Some(contact) = caller.contact() else {
            return false;
        };
        let untracked = self.config.roster.as_ref().is_some_and(|roster| !roster.tracks(&contact.pubkey));
        if untracked || self.quiet {
            return false;
        }
        self.table.contact(&contact.pubkey).is_none_or(|known| {
            let older = contact.wallclock.saturating_sub(known.wallclock);
            contact.outset != known.outset || older >= CALLER_NEWS_MS
        })
    }

    /// Whether a caller is one of us, and whether it has proven the address it calls from.
    fn may_answer(
        &mut self,
        now: Now,
        from: SocketAddr,
        caller: &CrdsValue,
        out: &mut Effects<Effect>,
    ) -> Result<bool, DropReason> {
        let Some(contact) = caller.contact() else {
            return Err(DropReason::OtherChain);
        };
        if contact.pubkey == self.me {
            self.hear_own_name(caller, out);
            return Err(DropReason::OwnName);
        }
        // Who does not know its chain yet may learn it from the answer; the reference refuses that too.
        let same_chain = [0, self.shred_version].contains(&contact.shred_version);
        if self.shred_version != 0 && !same_chain {
            return Err(DropReason::OtherChain);
        }
        if contact.wallclock.abs_diff(now.unix_ms) > CALLER_SKEW_MS {
            return Err(DropReason::Wallclock);
        }
        if !self.space.allows(&from) {
            return Err(DropReason::Address);
        }
        Ok(self.meet(now, (contact.pubkey, from), out))
    }

    fn answer_pull(
        &mut self,
        now: Now,
        (to, node): (SocketAddr, Pubkey),
        (filter, wallclock): (&CrdsFilter, u64),
        out: &mut Effects<Effect>,
    ) {
        let caller = Caller { host: Host::of(&to), staked: self.table.stake(&node) > 0, wallclock };
        let request = Request { filter, caller, shred_version: self.shred_version, gate: &self.gate };
        let answer = self.pull.answer(now, &request, &self.table, &mut self.rng);
        self.metrics.pull_requests_answered += 1;
        self.metrics.pulled_out += answer.values.len() as u64;
        for _ in 0..answer.over_budget {
            self.metrics.drop_one(DropReason::OverBudget);
        }
        if answer.over_scan {
            self.metrics.drop_one(DropReason::OverScan);
        }
        for datagram in pack(Carrier::PullResponse, &self.me, &answer.values) {
            self.send(to, datagram, out);
        }
    }

    fn take_prune(&mut self, now: Now, prune: &Prune) {
        let late = now.unix_ms > prune.wallclock.saturating_add(PRUNE_LATE_MS);
        if prune.destination != self.me || late {
            self.metrics.drop_one(DropReason::Unexpected);
            return;
        }
        if !self.intake.heeds_prune(now, prune.pubkey) {
            self.metrics.drop_one(DropReason::IdentityRate);
            return;
        }
        self.obey_prune(prune);
    }

    /// Answers a ping; a pong is as long as the ping.
    fn take_ping(&mut self, now: Now, from: SocketAddr, ping: &Ping, out: &mut Effects<Effect>) {
        if !self.space.allows(&from) {
            self.metrics.drop_one(DropReason::Address);
            return;
        }
        let sender = self.sender(now, &from);
        if !self.intake.answers_ping(now, sender) {
            self.metrics.drop_one(DropReason::PingRate);
            return;
        }
        self.metrics.pings_answered += 1;
        let pong = Pong::answer(&ping.token, &*self.signer);
        self.send(from, Protocol::PongMessage(pong).encode().into(), out);
        // An entrypoint pings in place of an answer. Now it will answer, so ask again at once.
        if self.entrypoints.ask_after_ping(now, from) {
            self.send_pull(now, from, out);
        }
    }

    fn take_pong(&mut self, now: Now, from: SocketAddr, pong: &Pong, out: &mut Effects<Effect>) {
        let staked = self.table.stake(&pong.from) > 0;
        if let Err(why) = self.pings.pong(now, from, (pong, staked)) {
            self.metrics.drop_one(match why {
                PongError::Unasked => DropReason::Unexpected,
                PongError::HostFull => DropReason::HostFull,
            });
            return;
        }
        self.metrics.proven += 1;
        if let Some(value) = self.waiting.remove(&(pong.from, from)) {
            let sender = self.sender(now, &from);
            self.take_value(now, value, Came { route: Route::Pull, from: sender }, out);
        }
    }
}

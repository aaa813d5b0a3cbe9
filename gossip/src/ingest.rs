//! What becomes of each message that comes in.

use crate::{
    machine::{Effect, Gossip},
    metrics::DropReason,
    ping::Place,
    pull::{CALLER_SKEW_MS, Request},
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
use sundog_types::{Effects, Now};

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

impl Gossip {
    pub(crate) fn take_message(&mut self, now: Now, from: SocketAddr, message: Protocol, out: &mut Effects<Effect>) {
        match message {
            Protocol::PullRequest(filter, caller) => {
                self.take_pull(now, from, (&filter, *caller), out);
            }
            Protocol::PullResponse(_, values) => {
                for value in values {
                    self.take_value(now, value, Route::Pull, out);
                }
            }
            Protocol::PushMessage(relayer, values) => {
                let relayer = self.proven_relayer(now, from, &relayer);
                for value in values {
                    let label = value.label();
                    let refused = self.take_value(now, value, Route::Push, out);
                    self.note_copy(now, &label, relayer, refused);
                }
            }
            Protocol::PruneMessage(_, prune) => self.take_prune(now, &prune),
            Protocol::PingMessage(ping) => self.take_ping(now, from, &ping, out),
            Protocol::PongMessage(pong) => self.take_pong(now, from, &pong, out),
        }
    }

    /// Takes a value in; why not, if not, which is counted.
    fn take_value(
        &mut self,
        now: Now,
        value: CrdsValue,
        route: Route,
        out: &mut Effects<Effect>,
    ) -> Option<DropReason> {
        let refused = self.admit(now, value, route, out).err();
        if let Some(why) = refused {
            self.metrics.drop_one(why);
        }
        refused
    }

    /// Takes a value in if it comes from where it says, belongs to our chain and is news.
    fn admit(&mut self, now: Now, value: CrdsValue, route: Route, out: &mut Effects<Effect>) -> Result<(), DropReason> {
        if value.origin() == self.me {
            self.hear_own_name(&value, out);
            if route == Route::Pull {
                self.table.refuse(now, *value.hash());
            }
            return Err(DropReason::OwnName);
        }
        if self.config.roster.as_ref().is_some_and(|roster| !roster.tracks(&value.origin())) {
            return Err(DropReason::UnknownOrigin);
        }
        if route == Route::Push && !is_fresh(value.wallclock(), now.unix_ms) {
            return Err(DropReason::Wallclock);
        }
        if !self.gate.may_enter(value.data()) {
            return Err(DropReason::Unstaked);
        }
        // What would not be taken anyhow must not cost a ping.
        match self.table.compare(&value) {
            Offered::New | Offered::Newer => {}
            Offered::Duplicate => return Err(DropReason::Duplicate),
            _ => {
                if route == Route::Pull {
                    self.table.refuse(now, *value.hash());
                }
                return Err(DropReason::Stale);
            }
        }
        match value.contact() {
            Some(contact) => {
                let contact = contact.clone();
                self.admit_contact(now, &value, &contact, out)?;
            }
            None => self.admit_origin(&value)?,
        }
        self.file(now, value, route, out)
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
        value: &CrdsValue,
        contact: &ContactInfo,
        out: &mut Effects<Effect>,
    ) -> Result<(), DropReason> {
        let known = self.table.contact(&contact.pubkey).is_some();
        let other_chain = self.shred_version != 0 && contact.shred_version != self.shred_version;
        // A node that we know may say that it left for another chain.
        if other_chain && !known {
            return Err(DropReason::OtherChain);
        }
        let place = gossip_place(contact, self.space).ok_or(DropReason::Address)?;
        if self.meet(now, place, out) {
            return Ok(());
        }
        self.waiting.note(now, place, value.clone());
        Err(DropReason::Unproven)
    }

    /// Whether the place has proven itself; pings it if it is time to.
    fn meet(&mut self, now: Now, place: Place, out: &mut Effects<Effect>) -> bool {
        let standing = self.pings.meet(now, place);
        if let Some(ping) = standing.ping {
            self.send_ping(place.1, ping, out);
        }
        standing.proven
    }

    fn file(&mut self, now: Now, value: CrdsValue, route: Route, out: &mut Effects<Effect>) -> Result<(), DropReason> {
        let before = self.table.contact(&value.origin()).map(ContactInfo::gossip);
        if let Some(why) = self.table.offer(now, value.clone()).refusal() {
            return Err(why);
        }
        match route {
            Route::Pull => {
                self.metrics.pulled_in += 1;
                let lasts = self.table.lasts(&value.origin()).as_millis();
                if u128::from(now.unix_ms.saturating_sub(value.wallclock())) <= lasts {
                    self.table.touch(now, &value.origin());
                }
            }
            Route::Push | Route::Caller => self.metrics.pushed_in += 1,
        }
        self.push_within(now, self.config.push_delay);
        match value.data() {
            CrdsData::ContactInfo(contact) => self.note_contact(contact, before, out),
            CrdsData::Vote(_, vote) => out.push(Effect::Vote {
                from: vote.from,
                transaction: VersionedTransaction::from(vote.transaction.clone()),
            }),
            _ => {}
        }
        Ok(())
    }

    /// A contact info was taken in; `before`: the node's gossip address before, if the node was known.
    fn note_contact(&mut self, contact: &ContactInfo, before: Option<Option<SocketAddr>>, out: &mut Effects<Effect>) {
        self.registry.outdate(Outdated::Peers);
        let Some(address) = contact.gossip() else {
            return;
        };
        for entrypoint in &mut self.entrypoints {
            if entrypoint.address == address {
                entrypoint.identity = Some(contact.pubkey);
                if self.shred_version == 0 {
                    self.shred_version = contact.shred_version;
                }
            }
        }
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

    fn hear_own_name(&self, value: &CrdsValue, out: &mut Effects<Effect>) {
        if let Some(contact) = value.contact()
            && contact.outset > self.publisher.outset_us()
        {
            let (outset_us, gossip) = (contact.outset, contact.gossip());
            out.push(Effect::AnotherInstance { outset_us, gossip });
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
                let wallclock = caller.wallclock();
                if self.is_news(&caller) {
                    self.take_value(now, caller, Route::Caller, out);
                }
                if proven {
                    self.answer_pull(now, from, (filter, wallclock), out);
                } else {
                    self.metrics.drop_one(DropReason::Unproven);
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
        if self.config.roster.as_ref().is_some_and(|roster| !roster.tracks(&contact.pubkey)) {
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
        to: SocketAddr,
        (filter, wallclock): (&CrdsFilter, u64),
        out: &mut Effects<Effect>,
    ) {
        let request = Request { filter, wallclock, shred_version: self.shred_version, gate: &self.gate };
        let answer = self.pull.answer(now, &request, &self.table, &mut self.rng);
        self.metrics.pull_requests_answered += 1;
        self.metrics.pulled_out += answer.values.len() as u64;
        for _ in 0..answer.over_budget {
            self.metrics.drop_one(DropReason::OverBudget);
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
        self.obey_prune(prune);
    }

    /// Answers a ping; a pong is as long as the ping.
    fn take_ping(&mut self, now: Now, from: SocketAddr, ping: &Ping, out: &mut Effects<Effect>) {
        if !self.space.allows(&from) {
            self.metrics.drop_one(DropReason::Address);
            return;
        }
        self.metrics.pings_answered += 1;
        let pong = Pong::answer(&ping.token, &*self.signer);
        self.send(from, Protocol::PongMessage(pong).encode().into(), out);
        // An entrypoint pings in place of an answer. Now it will answer, so ask again at once.
        let asked = self.entrypoints.iter_mut().any(|e| e.address == from && e.ask_after_ping(now));
        if asked {
            self.send_pull(now, from, out);
        }
    }

    fn take_pong(&mut self, now: Now, from: SocketAddr, pong: &Pong, out: &mut Effects<Effect>) {
        if !self.pings.pong(now, from, pong) {
            self.metrics.drop_one(DropReason::Unexpected);
            return;
        }
        self.metrics.proven += 1;
        if let Some(value) = self.waiting.remove(&(pong.from, from)) {
            self.take_value(now, value, Route::Pull, out);
        }
    }
}

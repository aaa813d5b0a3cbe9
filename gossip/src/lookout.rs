//! What the machine keeps an eye on beside its tables: ways into the cluster, its own clock, other chains, namesakes.

use crate::{
    clocks::{OFF_MS, ahead_ms},
    machine::{Effect, Gossip},
    registry::Outdated,
    trouble::Trouble,
    wire::{Carrier, Protocol, contact::ContactInfo, pack, value::CrdsValue},
};
use std::{net::SocketAddr, time::Duration};
use sundog_types::{Effects, Now};

/// Entrypoints may be silent for so long before an operator is told: known peers were asked by then.
const SILENCE_TOLD_AFTER: Duration = Duration::from_secs(5);

impl Gossip {
    /// Asks entrypoints and known peers whose turn it is.
    pub(crate) fn ask_entrypoints(&mut self, now: Now, out: &mut Effects<Effect>) {
        let alone = self.is_alone();
        for address in self.entrypoints.due(now, alone) {
            if self.space.allows(&address) {
                self.send_pull(now, address, out);
            }
        }
    }

    /// Whether nobody else is known.
    fn is_alone(&self) -> bool {
        self.table.origins().all(|origin| *origin == self.me)
    }

    /// Reads what nodes say of themselves, before any of it is refused: a clock that is far off, ours or theirs, makes
    /// values be refused, and so does another chain.
    pub(crate) fn look_at(&mut self, now: Now, from: SocketAddr, message: &Protocol, out: &mut Effects<Effect>) {
        let values = match message {
            Protocol::PullRequest(_, caller) => std::slice::from_ref(&**caller),
            Protocol::PullResponse(_, values) | Protocol::PushMessage(_, values) => &values[..],
            _ => return,
        };
        let me = self.me;
        let asks = matches!(message, Protocol::PullRequest(..));
        for contact in values.iter().filter_map(CrdsValue::contact).filter(|contact| contact.pubkey != me) {
            if self.look_at_clock(now, from, contact, out) && asks && self.intake.answers_pull(now, contact.pubkey) {
                self.show_clock(from, out);
            }
            self.look_at_chain(now, from, contact, out);
        }
    }

    /// Compares clocks with a node that speaks for itself from where it says it listens, and has proven that. Whether the
    /// two are too far apart to talk.
    fn look_at_clock(&mut self, now: Now, from: SocketAddr, contact: &ContactInfo, out: &mut Effects<Effect>) -> bool {
        if contact.gossip() != Some(from) || !self.space.allows(&from) {
            return false;
        }
        let place = (contact.pubkey, from);
        let far = ahead_ms(now, contact.wallclock).unsigned_abs() > OFF_MS.unsigned_abs();
        // Who is far off is refused before anybody would ask it to prove its address.
        let proven = if far {
            let sender = self.sender(now, &from);
            self.hear_of(now, place, sender, out) == Ok(true)
        } else {
            self.pings.is_proven(now, &place)
        };
        if proven {
            self.clocks.note(now, contact.pubkey, contact.wallclock);
        }
        proven && far
    }

    /// Tells of an entrypoint or a node with stake that is on another chain now. Anybody can sign that it listens at an
    /// entrypoint's address, so that is believed only of what comes from there.
    fn look_at_chain(&mut self, now: Now, from: SocketAddr, contact: &ContactInfo, out: &mut Effects<Effect>) {
        let (theirs, ours) = (contact.shred_version, self.shred_version);
        let other = ours != 0 && theirs != 0 && theirs != ours;
        let Some(address) = contact.gossip().filter(|_| other) else { return };
        let fresh = ahead_ms(now, contact.wallclock).unsigned_abs() <= OFF_MS.unsigned_abs();
        let matters = (address == from && self.entrypoints.has(address)) || self.table.stake(&contact.pubkey) > 0;
        if fresh && matters {
            self.tell(now, Trouble::OtherShredVersion { address, theirs, ours }, out);
        }
    }

    /// Shows our clock to a node whose clock is so far from ours that we refuse what it asks: it may be its own that is
    /// wrong, and nothing else would tell it.
    fn show_clock(&mut self, to: SocketAddr, out: &mut Effects<Effect>) {
        if let Some(own) = self.own_contact() {
            let values = [own.bytes().clone()];
            for datagram in pack(Carrier::PullResponse, &self.me, &values) {
                self.send(to, datagram, out);
            }
        }
    }

    /// Our contact info as others get it.
    fn own_contact(&self) -> Option<CrdsValue> {
        let label = self.publisher.label(&self.publisher.contact(self.shred_version));
        self.table.get(&label).map(|filed| filed.value.clone())
    }

    /// A contact info was taken in: is it an entrypoint's? Whoever has no chain yet adopts that of an entrypoint.
    pub(crate) fn meet_entrypoint(&mut self, contact: &ContactInfo) {
        if self.entrypoints.meet(contact) && self.shred_version == 0 {
            self.shred_version = contact.shred_version;
            self.registry.outdate(Outdated::Peers);
        }
    }

    /// Something was said in our name. If it is by an instance that started after us, we are the one to stop; of two
    /// that started in the same microsecond, the one whose address is lower. Our own former life started before us.
    pub(crate) fn hear_own_name(&self, value: &CrdsValue, out: &mut Effects<Effect>) {
        let Some(other) = value.contact() else { return };
        let ours = self.own_contact().and_then(|own| own.contact().and_then(ContactInfo::gossip));
        let rank = (other.outset, other.gossip());
        if rank > (self.publisher.outset_us(), ours) {
            out.push(Effect::AnotherInstance { outset_us: other.outset, gossip: other.gossip() });
        }
    }

    /// Looks whether there is something that an operator should know.
    pub(crate) fn look_around(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.entrypoints.forget_silent(now, &self.table);
        self.clocks.forget_old(now);
        if let Some(off) = self.clocks.off(|node| self.entrypoints.is(node)) {
            self.tell(now, Trouble::ClockOff(off), out);
        }
        let silent = self.entrypoints.silent_for(now).filter(|silent| *silent >= SILENCE_TOLD_AFTER);
        if let Some(silent) = silent.filter(|_| self.is_alone()) {
            let (entrypoints, known) = (self.entrypoints.len(), self.entrypoints.known_len());
            self.tell(now, Trouble::EntrypointsSilent { entrypoints, silent, known }, out);
        }
    }

    fn tell(&mut self, now: Now, trouble: Trouble, out: &mut Effects<Effect>) {
        if self.told.tell(now, trouble.kind()) {
            self.metrics.trouble(trouble.kind());
            out.push(Effect::Trouble(trouble));
        }
    }
}

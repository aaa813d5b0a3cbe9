//! Single blocks, fetched by their id: the node knows that it lacks them.

use super::{
    book::Offence,
    effect::{Effect, LinkId},
    machine::Sync,
    requests::Purpose,
    wire::Message,
};
use std::collections::BTreeSet;
use sundog_types::{Hash, Now, Pubkey, Slot};

/// Single blocks that may be wanted at a time. Full: newcomers are given up; whoever wants them asks again.
pub const WANTED_MAX: usize = 32;
/// Peers that are asked for a single block before it is given up.
const WANTED_TRIES: usize = 16;

/// A single block to fetch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    pub(crate) tried: BTreeSet<Pubkey>,
    pub(crate) under_way: bool,
}

impl Sync {
    /// A single block is wanted.
    pub(super) fn want(&mut self, slot: Slot, block_id: Hash) {
        let known = self
            .epochs
            .values()
            .any(|epoch| slot.since(epoch.first_slot).is_some_and(|place| epoch.leaders.get(place.get()).is_some()));
        if known && (self.wants.len() < WANTED_MAX || self.wants.contains_key(&(slot, block_id))) {
            self.wants.entry((slot, block_id)).or_default();
        } else {
            self.metrics.wanted_given_up += 1;
        }
    }

    pub(super) fn fetch_wanted(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.wants.is_empty() {
            return;
        }
        self.dial(now, self.config.probe_peers, out);
        let asked = self.book.dialing() > 0 || self.links.dialed().any(|(_, link)| link.held.is_none());
        let more = asked || self.has_candidate(now);
        let idle = self.wants.iter().filter(|(_, want)| !want.under_way).map(|(key, _)| *key);
        for key in idle.collect::<Vec<_>>() {
            let tried = |peer: &Pubkey| self.wants.get(&key).is_some_and(|want| want.tried.contains(peer));
            let able = self.links.servers().filter(|(_, link, held)| held.lowest <= key.0 && !tried(&link.peer));
            let servers: Vec<_> = able.map(|(id, link, held)| (id, link.peer, held.root)).collect();
            let free = servers.iter().find(|server| self.requests.on(server.0) < self.config.requests_per_peer);
            let tries = self.wants.get(&key).map_or(0, |want| want.tried.len());
            if tries >= WANTED_TRIES || servers.is_empty() && !more {
                self.wants.remove(&key);
                self.metrics.wanted_given_up += 1;
            } else if let Some(server) = free.copied() {
                self.ask_wanted(now, key, server, out);
            } else if servers.is_empty() && !asked {
                self.make_room(now, out);
            }
        }
    }

    fn ask_wanted(&mut self, now: Now, key: (Slot, Hash), server: (LinkId, Pubkey, Slot), out: &mut Vec<Effect>) {
        if let Some(want) = self.wants.get_mut(&key) {
            want.tried.insert(server.1);
            want.under_way = true;
        }
        let id = self.next_id();
        self.requests.start(now, id, server, (Purpose::Want(key.0, key.1), key.0.saturating_add(1)));
        self.send(server.0, &Message::GetBlock { id, slot: key.0, block_id: key.1 }, out);
    }

    /// All linked peers were asked in vain, but there are others: hangs up on one with which nothing is under way.
    fn make_room(&mut self, now: Now, out: &mut Vec<Effect>) {
        let unused = self.links.dialed().find(|(id, _)| self.requests.on(*id) == 0);
        let Some((id, peer)) = unused.map(|(id, link)| (id, link.peer)).filter(|_| !self.is_syncing()) else { return };
        self.lose(now, id, out);
        self.book.mark(now, peer, Offence::Unhelpful);
        out.push(Effect::Close { link: id });
    }
}

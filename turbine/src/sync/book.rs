//! Whom to dial: the registry, what peers told, and who is left alone for a while.

use super::{config::PEERS_MAX, wire::PeerEntry};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use sundog_types::{Now, Pubkey, peer::Peer};

/// Peers that are remembered because they failed: more than a cluster has staked nodes. Full: the one whose time is
/// over first is forgotten.
pub const MARKS_MAX: usize = 4_096;
/// The longest time for which a peer is left alone.
const BAN_MAX: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
struct Mark {
    until: Now,
    offences: u32,
}

/// How badly a peer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// It has no room now, or nothing to give: left alone for the same time each time.
    Unhelpful,
    /// It does not listen, goes away, is silent or lies: twice as long each time.
    Bad,
    /// It is on another chain: the longest time.
    Foreign,
}

/// Whom to dial.
#[derive(Debug)]
pub(crate) struct Book {
    me: Pubkey,
    shred_version: u16,
    ban: Duration,
    registry: Arc<Vec<Peer>>,
    listed: BTreeSet<Pubkey>,
    learned: BTreeMap<Pubkey, SocketAddr>,
    marks: BTreeMap<Pubkey, Mark>,
    dialing: BTreeMap<Pubkey, (SocketAddr, Now)>,
    rng: ChaCha8Rng,
}

impl Book {
    pub(crate) fn new(me: Pubkey, shred_version: u16, ban: Duration, seed: [u8; 32]) -> Self {
        Self {
            me,
            shred_version,
            ban,
            registry: Arc::default(),
            listed: BTreeSet::new(),
            learned: BTreeMap::new(),
            marks: BTreeMap::new(),
            dialing: BTreeMap::new(),
            rng: ChaCha8Rng::from_seed(seed),
        }
    }

    pub(crate) fn set_registry(&mut self, peers: Arc<Vec<Peer>>) {
        self.listed = peers.iter().map(|peer| peer.identity).collect();
        self.registry = peers;
    }

    /// Remembers peers that a peer named. Full: newcomers are not taken.
    pub(crate) fn learn(&mut self, peers: Vec<PeerEntry>) {
        for peer in peers {
            if self.learned.len() < PEERS_MAX && peer.address.port() != 0 {
                self.learned.entry(peer.identity).or_insert(peer.address);
            }
        }
    }

    /// Peers to name to others: those of the registry that may serve blocks.
    pub(crate) fn known(&mut self) -> Vec<(Pubkey, SocketAddr)> {
        let usable = |peer: &Peer| Self::address(peer, self.shred_version).map(|address| (peer.identity, address));
        let count = self.registry.len();
        let start = if count == 0 { 0 } else { self.rng.gen_range(0..count) };
        let around = self.registry[start..].iter().chain(&self.registry[..start]);
        around.filter_map(usable).take(PEERS_MAX).collect()
    }

    fn address(peer: &Peer, shred_version: u16) -> Option<SocketAddr> {
        peer.addresses.serve_repair.filter(|_| peer.shred_version == shred_version)
    }

    /// A peer to dial now: staked ones before others, those that peers named last, at random within each.
    pub(crate) fn choose(&mut self, now: Now, linked: impl Fn(&Pubkey) -> bool) -> Option<(Pubkey, SocketAddr)> {
        let free = |peer: &Pubkey| {
            let marked = self.marks.get(peer).is_some_and(|mark| !now.reached(mark.until));
            *peer != self.me && !marked && !self.dialing.contains_key(peer) && !linked(peer)
        };
        let count = self.registry.len();
        let start = if count == 0 { 0 } else { self.rng.gen_range(0..count) };
        let around = || self.registry[start..].iter().chain(&self.registry[..start]);
        let usable = |staked: bool| {
            around().filter(move |peer| (peer.stake > 0) == staked).find_map(|peer| {
                let address = Self::address(peer, self.shred_version)?;
                free(&peer.identity).then_some((peer.identity, address))
            })
        };
        let named = || self.learned.iter().find(|(peer, _)| free(peer)).map(|(peer, address)| (*peer, *address));
        usable(true).or_else(|| usable(false)).or_else(named)
    }

    /// Notes that a peer is being dialed.
    pub(crate) fn dial(&mut self, peer: Pubkey, address: SocketAddr, deadline: Now) {
        self.dialing.insert(peer, (address, deadline));
    }

    /// A link came of a dial: whether it leads to the peer that was dialed. If another one is there, the entry that
    /// led to it is left alone, not the one that is there: anybody can claim to listen where others do.
    pub(crate) fn arrived(&mut self, now: Now, peer: &Pubkey, address: SocketAddr) -> bool {
        if self.dialing.get(peer).is_some_and(|dial| dial.0 == address) {
            self.dialing.remove(peer);
            return true;
        }
        let meant = self.dialing.iter().find(|(_, dial)| dial.0 == address).map(|(meant, _)| *meant);
        if let Some(meant) = meant {
            self.dialing.remove(&meant);
            self.mark(now, meant, Offence::Bad);
        }
        false
    }

    /// Forgets a dial that failed. Whether it was under way.
    pub(crate) fn dial_failed(&mut self, peer: &Pubkey) -> bool {
        self.dialing.remove(peer).is_some()
    }

    pub(crate) fn dialing(&self) -> usize {
        self.dialing.len()
    }

    /// Dials that took too long.
    pub(crate) fn overdue(&self, now: Now) -> Vec<Pubkey> {
        self.dialing.iter().filter(|(_, dial)| now.reached(dial.1)).map(|(peer, _)| *peer).collect()
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        self.dialing.values().map(|dial| dial.1).min()
    }

    /// Leaves a peer alone for a while.
    pub(crate) fn mark(&mut self, now: Now, peer: Pubkey, offence: Offence) {
        let offences = self.marks.get(&peer).map_or(0, |mark| mark.offences);
        let growing = self.ban.saturating_mul(1 << offences.min(16)).min(BAN_MAX);
        let (time, offences) = match offence {
            Offence::Unhelpful => (self.ban, offences),
            Offence::Bad => (growing, offences.saturating_add(1)),
            Offence::Foreign => (BAN_MAX, offences),
        };
        if self.marks.len() >= MARKS_MAX && !self.marks.contains_key(&peer) {
            let first = self.marks.iter().min_by_key(|(_, mark)| mark.until).map(|(peer, _)| *peer);
            first.and_then(|peer| self.marks.remove(&peer));
        }
        self.marks.insert(peer, Mark { until: now.after(time), offences });
    }

    /// Forgets what a peer did: a range of its blocks was executed.
    pub(crate) fn forgive(&mut self, peer: &Pubkey) {
        self.marks.remove(peer);
    }

    /// When the next peer that is left alone may be dialed again.
    pub(crate) fn next_free(&self, now: Now) -> Option<Now> {
        let listed = |peer: &Pubkey| self.learned.contains_key(peer) || self.listed.contains(peer);
        let waiting = self.marks.iter().filter(|(peer, mark)| !now.reached(mark.until) && listed(peer));
        waiting.map(|(_, mark)| mark.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::{
        Slot,
        peer::{Addresses, Version},
    };

    const BAN: Duration = Duration::from_secs(10);

    fn key(number: u16) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        Pubkey::new_from_array(bytes)
    }

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    fn peer(number: u16, stake: u64) -> Peer {
        Peer {
            identity: key(number),
            addresses: Addresses { serve_repair: Some(address(number)), ..Addresses::default() },
            stake,
            last_seen: now(0),
            shred_version: 7,
            version: Version::default(),
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        }
    }

    fn now(seconds: u64) -> Now {
        Now { mono_us: seconds * 1_000_000, unix_ms: seconds * 1_000 }
    }

    fn book(peers: Vec<Peer>) -> Book {
        let mut book = Book::new(key(0), 7, BAN, [1; 32]);
        book.set_registry(Arc::new(peers));
        book
    }

    fn named(number: u16) -> PeerEntry {
        PeerEntry { identity: key(number), address: address(number), root: Slot::ZERO, highest: Slot::ZERO }
    }

    #[test]
    fn staked_peers_of_this_chain_come_first_and_this_node_never() {
        let other_chain = Peer { shred_version: 8, ..peer(4, 9) };
        let silent = Peer { addresses: Addresses::default(), ..peer(5, 9) };
        let mut book = book(vec![peer(0, 9), peer(1, 0), peer(2, 5), other_chain, silent]);
        book.learn(vec![named(3)]);
        let mut order = Vec::new();
        while let Some((peer, address)) = book.choose(now(1), |_| false) {
            book.dial(peer, address, now(6));
            order.push(peer);
        }
        assert_eq!(order, [key(2), key(1), key(3)]);
        assert_eq!(book.overdue(now(6)).len(), 3);
        assert!(book.dial_failed(&key(2)) && !book.dial_failed(&key(2)));
        assert_eq!(book.choose(now(1), |peer| *peer == key(2)), None, "it is linked");
    }

    #[test]
    fn a_peer_that_fails_again_is_left_alone_twice_as_long_up_to_ten_minutes() {
        let mut book = book(vec![peer(1, 5)]);
        let mut time = 0;
        for wait in [10, 20, 40, 80, 160, 320, 600, 600] {
            book.mark(now(time), key(1), Offence::Bad);
            assert_eq!(book.next_free(now(time)), Some(now(time + wait)));
            assert_eq!(book.choose(now(time + wait - 1), |_| false), None);
            time += wait;
            assert!(book.choose(now(time), |_| false).is_some());
        }
        book.mark(now(time), key(1), Offence::Unhelpful);
        assert_eq!(book.next_free(now(time)), Some(now(time + 10)), "want of room is no offence");
        book.forgive(&key(1));
        book.mark(now(time), key(1), Offence::Bad);
        assert_eq!(book.next_free(now(time)), Some(now(time + 10)));
        book.mark(now(time), key(1), Offence::Foreign);
        assert_eq!(book.next_free(now(time)), Some(now(time + 600)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut book = book(vec![]);
        book.learn((1..1_000).map(named).collect());
        assert_eq!(book.learned.len(), PEERS_MAX);
        for number in 0..MARKS_MAX as u16 + 10 {
            book.mark(now(number.into()), key(number), Offence::Bad);
        }
        assert_eq!(book.marks.len(), MARKS_MAX);
        assert!(!book.marks.contains_key(&key(9)) && book.marks.contains_key(&key(10)), "the oldest are forgotten");
    }

    #[test]
    fn an_entry_that_leads_to_somebody_else_is_blamed_and_not_who_is_there() {
        let mut book = book(vec![peer(1, 1), peer(2, 1)]);
        book.dial(key(1), address(2), now(5));
        assert!(!book.arrived(now(1), &key(2), address(2)));
        assert!(book.marks.contains_key(&key(1)) && !book.marks.contains_key(&key(2)));
        book.dial(key(2), address(2), now(5));
        assert!(book.arrived(now(1), &key(2), address(2)));
        assert_eq!(book.dialing(), 0);
    }
}

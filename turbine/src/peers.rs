//! Whom repair asks: peers by stake, those first that say that they have the slot and that have answered quickly.

use crate::announced::Announced;
use indexmap::IndexMap;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use sundog_types::{Now, Pubkey, Slot, peer::Peer};

/// Peers that may be asked: more than any cluster has validators. More: those with the least stake are left out.
pub const PEERS_MAX: usize = 8_192;
/// A peer whose answers take no longer than this, on average, is fast.
pub const FAST: Duration = Duration::from_millis(100);
/// Requests in a row without an answer in time after which a peer counts as silent.
pub const SILENT: u32 = 16;
/// Of a thousand requests, those that a fast peer must answer in time. Else whoever is near could draw most requests
/// to itself and leave them lying.
pub const RELIABLE: u32 = 500;
/// A peer that has pinged may be owed a pong for so long after it was last asked.
const ASKED_LIFE: Duration = Duration::from_secs(10);
/// Least time between two pongs to a peer.
const PONG_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer of a peer is waited for whose answer time is not known.
const TIMEOUT_UNKNOWN: Duration = Duration::from_millis(250);
/// Weight of a new measurement in the average: one in this many.
const SMOOTHING: u32 = 8;
/// How often the draw is repeated when it hits the peer that was asked last, or one that no longer has the slot.
const REDRAWS: usize = 4;
/// Peers that hold another version of a slot than the chosen one, remembered of all slots. Full: the one of the slot
/// farthest from the root is asked again.
pub const STRAYS_MAX: usize = 2_048;
/// How long such a peer is not asked for the slot: it may be about to change over, too.
const STRAY_LIFE: Duration = Duration::from_secs(2);
/// Of so many requests for a slot that peers announced, one goes to any peer: what is announced may be a lie, and who
/// announces nothing may have the slot too.
const ANY_PEER: u32 = 8;

/// How a peer has answered so far. Also the order of [`SHARES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Answers quickly, and most of the time.
    Fast,
    Slow,
    /// Never answered, and not yet silent.
    New,
    Silent,
}

/// Shares of the requests that the classes get, as far as they have members: fast peers six times what slow ones get;
/// newcomers enough to be measured soon; silent ones just enough that they are found to be back.
const SHARES: [u32; 4] = [24, 4, 4, 1];

/// A peer that repair may ask, and how it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairPeer {
    /// Who it is.
    pub identity: Pubkey,
    /// Its `serve_repair` address.
    pub address: SocketAddr,
    /// Its stake, in lamports.
    pub stake: u64,
    /// The lowest slot that it still has, as it says; it is not asked for slots below.
    pub lowest_slot: Slot,
    /// Requests sent to it.
    pub asked: u64,
    /// Requests that it answered, also late.
    pub answered: u64,
    /// Requests that it did not answer in time. Not holding a shred is a reason too.
    pub unanswered: u64,
    /// Answers that carried a nonce it had been sent, but not what was asked for.
    pub wrong: u64,
    /// Of a thousand requests, those answered in time, as a moving average in which the newest weighs an eighth.
    pub reliability: u32,
    /// Time from request to answer, as a moving average in which the newest weighs an eighth. `None`: no answer yet.
    pub answer_time: Option<Duration>,
}

impl RepairPeer {
    /// A peer that has not been asked yet.
    pub(crate) const fn unasked((identity, address): (Pubkey, SocketAddr), stake: u64, lowest_slot: Slot) -> Self {
        Self {
            identity,
            address,
            stake,
            lowest_slot,
            asked: 0,
            answered: 0,
            unanswered: 0,
            wrong: 0,
            reliability: 1_000,
            answer_time: None,
        }
    }
}

#[derive(Debug)]
struct Server {
    peer: RepairPeer,
    /// Requests in a row without an answer in time.
    silent: u32,
    asked_at: Option<Now>,
    ponged_at: Option<Now>,
}

impl Server {
    fn new(peer: &Peer, address: SocketAddr) -> Self {
        let peer = RepairPeer::unasked((peer.identity, address), peer.stake, peer.lowest_slot);
        Self { peer, silent: 0, asked_at: None, ponged_at: None }
    }

    fn class(&self) -> Class {
        match self.peer.answer_time {
            _ if self.silent >= SILENT => Class::Silent,
            None => Class::New,
            Some(time) if time <= FAST && self.peer.reliability >= RELIABLE => Class::Fast,
            Some(_) => Class::Slow,
        }
    }

    fn rate(&mut self, outcome: u32) {
        self.peer.reliability = (self.peer.reliability * (SMOOTHING - 1) + outcome) / SMOOTHING;
    }
}

/// The peers of one class: sums of the weights up to and with each, and its place among the servers.
type Members = Vec<(u64, usize)>;

/// A class by its share, then a peer of it by its stake; its place among the servers.
fn draw(classes: &[Members; 4], rng: &mut ChaCha8Rng) -> Option<usize> {
    let share = |class: usize| if classes[class].is_empty() { 0 } else { SHARES[class] };
    let total: u32 = (0..SHARES.len()).map(share).sum();
    if total == 0 {
        return None;
    }
    let mut ticket = rng.gen_range(0..total);
    let drawn = (0..SHARES.len()).find(|class| {
        let hit = ticket < share(*class);
        ticket = ticket.saturating_sub(share(*class));
        hit
    })?;
    let members = &classes[drawn];
    let weight = rng.gen_range(0..members.last()?.0);
    let place = members.partition_point(|(weights, _)| *weights <= weight);
    members.get(place).map(|(_, server)| *server)
}

fn add(classes: &mut [Members; 4], server: &Server, place: usize) {
    let members = &mut classes[server.class() as usize];
    let before = members.last().map_or(0, |(weights, _)| *weights);
    members.push((before.saturating_add(server.peer.stake.saturating_add(1)), place));
}

/// Peers that repair may ask.
#[derive(Debug, Default)]
pub(crate) struct RepairPeers {
    servers: IndexMap<Pubkey, Server>,
    announced: Announced,
    /// Until when peers are not asked for a slot of which they hold another version.
    strays: BTreeMap<(Slot, Pubkey), Now>,
    /// The least of the servers' lowest slots: nobody has what is below.
    lowest_slot: Slot,
    classes: [Members; 4],
    /// Whether the classes are to be made anew: done at the next draw, so once in a tick at most.
    stale: bool,
}

impl RepairPeers {
    /// Takes the registry: those on this chain that serve repair. What is known of their answers stays.
    pub(crate) fn set(&mut self, peers: &[Peer], me: Pubkey, shred_version: u16) {
        let mut before = std::mem::take(&mut self.servers);
        let fit = |peer: &&Peer| peer.identity != me && peer.shred_version == shred_version;
        let mut fit: Vec<_> =
            peers.iter().filter(fit).filter_map(|peer| Some((peer, peer.addresses.serve_repair?))).collect();
        if fit.len() > PEERS_MAX {
            fit.sort_by_key(|(peer, _)| (std::cmp::Reverse(peer.stake), peer.identity));
            fit.truncate(PEERS_MAX);
        }
        for (peer, address) in fit {
            let mut server = before.swap_remove(&peer.identity).unwrap_or_else(|| Server::new(peer, address));
            server.peer.address = address;
            server.peer.stake = peer.stake;
            server.peer.lowest_slot = peer.lowest_slot;
            self.servers.insert(peer.identity, server);
        }
        self.lowest_slot = self.iter().map(|peer| peer.lowest_slot).min().unwrap_or_default();
        self.stale = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// All peers, with how they answered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RepairPeer> {
        self.servers.values().map(|server| &server.peer)
    }

    /// A peer says that it has these slots whole.
    pub(crate) fn announce(&mut self, peer: Pubkey, slots: &[Slot]) {
        let stake = self.servers.get(&peer).map_or(0, |server| server.peer.stake);
        self.announced.note(peer, stake, slots);
    }

    /// A peer holds another version of a slot than the chosen one.
    pub(crate) fn has_other_version(&mut self, now: Now, peer: Pubkey, slot: Slot) {
        self.strays.insert((slot, peer), now.after(STRAY_LIFE));
        if self.strays.len() > STRAYS_MAX {
            self.strays.pop_last();
        }
    }

    fn is_stray(&self, now: Now, slot: Slot, peer: &Pubkey) -> bool {
        self.strays.get(&(slot, *peer)).is_some_and(|until| !now.reached(*until))
    }

    /// What was announced of slots up to the root is of no interest any more.
    pub(crate) fn set_root(&mut self, root: Slot) {
        self.strays.retain(|(slot, _), _| *slot > root);
        self.announced.set_root(root);
    }

    /// Draws whom to ask for something of a slot, and counts it as asked: one of those that announced the slot, if any
    /// of them can be expected to answer; if possible not the one that was asked last. `None`: nobody has it.
    pub(crate) fn pick(
        &mut self,
        now: Now,
        rng: &mut ChaCha8Rng,
        slot: Slot,
        last: Option<Pubkey>,
    ) -> Option<RepairPeer> {
        if self.is_empty() || slot < self.lowest_slot {
            return None;
        }
        if self.stale {
            self.sort_into_classes();
        }
        let anybody = rng.gen_range(0..ANY_PEER) == 0;
        let announcer = if anybody { None } else { self.draw_announcer(now, rng, (slot, last)) };
        let place = announcer.or_else(|| self.draw_any(now, rng, (slot, last)))?;
        let server = &mut self.servers[place];
        server.peer.asked += 1;
        server.asked_at = Some(now);
        Some(server.peer)
    }

    fn draw_announcer(&self, now: Now, rng: &mut ChaCha8Rng, (slot, last): (Slot, Option<Pubkey>)) -> Option<usize> {
        let mut classes: [Members; 4] = Default::default();
        let may_ask = |peer: &&Pubkey| Some(**peer) != last && !self.is_stray(now, slot, peer);
        for peer in self.announced.of(slot).filter(may_ask) {
            let Some((place, _, server)) = self.servers.get_full(peer) else {
                continue;
            };
            if server.silent < SILENT && server.peer.lowest_slot <= slot {
                add(&mut classes, server, place);
            }
        }
        draw(&classes, rng)
    }

    fn draw_any(&self, now: Now, rng: &mut ChaCha8Rng, (slot, last): (Slot, Option<Pubkey>)) -> Option<usize> {
        let has = |server: &Server| server.peer.lowest_slot <= slot && !self.is_stray(now, slot, &server.peer.identity);
        let repeated = |server: &Server| Some(server.peer.identity) == last;
        for _ in 0..=REDRAWS {
            let place = draw(&self.classes, rng)?;
            if !repeated(&self.servers[place]) && has(&self.servers[place]) {
                return Some(place);
            }
        }
        let (count, from) = (self.servers.len(), rng.gen_range(0..self.servers.len()));
        let mut again = None;
        for place in (0..count).map(|step| (from + step) % count) {
            let server = &self.servers[place];
            if has(server) && !repeated(server) && server.silent < SILENT {
                return Some(place);
            }
            if has(server) && (again.is_none() || repeated(server)) {
                again = Some(place);
            }
        }
        again
    }

    fn sort_into_classes(&mut self) {
        self.classes.iter_mut().for_each(Vec::clear);
        for (place, server) in self.servers.values().enumerate() {
            add(&mut self.classes, server, place);
        }
        self.stale = false;
    }

    /// How long an answer of this peer is waited for: twice what its answers take, and a little more.
    pub(crate) fn timeout(&self, identity: &Pubkey) -> Duration {
        let time = self.servers.get(identity).and_then(|server| server.peer.answer_time);
        time.map_or(TIMEOUT_UNKNOWN, |time| time * 2 + Duration::from_millis(50))
    }

    fn update(&mut self, identity: &Pubkey, change: impl FnOnce(&mut Server)) {
        if let Some(server) = self.servers.get_mut(identity) {
            let before = server.class();
            change(server);
            self.stale |= server.class() != before;
        }
    }

    /// A request was answered after this time.
    pub(crate) fn answered(&mut self, identity: &Pubkey, took: Duration) {
        self.update(identity, |server| {
            server.silent = 0;
            server.peer.answered += 1;
            let before = server.peer.answer_time.unwrap_or(took);
            server.rate(1_000);
            server.peer.answer_time = Some((before * (SMOOTHING - 1) + took) / SMOOTHING);
        });
    }

    /// A request was not answered in time.
    pub(crate) fn unanswered(&mut self, identity: &Pubkey) {
        self.update(identity, |server| {
            server.silent = server.silent.saturating_add(1);
            server.peer.unanswered += 1;
            server.rate(0);
        });
    }

    /// A request was answered with something else.
    pub(crate) fn answered_wrongly(&mut self, identity: &Pubkey) {
        self.update(identity, |server| {
            server.peer.wrong += 1;
            server.rate(0);
        });
    }

    /// Whether a ping of this peer, from there, may be an answer to what it was asked, and was not answered just now.
    pub(crate) fn may_ping(&self, now: Now, identity: &Pubkey, from: SocketAddr) -> bool {
        self.servers.get(identity).is_some_and(|server| {
            same_host(server.peer.address, from)
                && server.asked_at.is_some_and(|asked| now.since(asked) < ASKED_LIFE)
                && server.ponged_at.is_none_or(|ponged| now.since(ponged) >= PONG_PAUSE)
        })
    }

    /// A peer was asked past [`Self::pick`].
    pub(crate) fn note_asked(&mut self, now: Now, identity: &Pubkey) {
        self.update(identity, |server| {
            server.peer.asked += 1;
            server.asked_at = Some(now);
        });
    }

    /// A ping of this peer was answered.
    pub(crate) fn ponged(&mut self, now: Now, identity: &Pubkey) {
        self.update(identity, |server| {
            server.silent = 0;
            server.ponged_at = Some(now);
        });
    }
}

/// Whether two addresses are on one host. Ports may differ: address translation changes them on the way.
pub(crate) fn same_host(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip().to_canonical() == other.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use sundog_types::peer::{Addresses, Version};

    const NOW: Now = Now { mono_us: 1_000_000, unix_ms: 1_000_000 };
    const SLOT: Slot = Slot::new(100);

    fn node(number: u32) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Pubkey::from(bytes)
    }

    fn peer(number: u32, stake: u64) -> Peer {
        let address = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 1));
        Peer {
            identity: node(number),
            addresses: Addresses { serve_repair: Some(address), ..Addresses::default() },
            stake,
            last_seen: NOW,
            shred_version: 7,
            version: Version::default(),
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        }
    }

    fn peers(list: &[Peer]) -> (RepairPeers, ChaCha8Rng) {
        let mut peers = RepairPeers::default();
        peers.set(list, node(0), 7);
        (peers, ChaCha8Rng::from_seed([1; 32]))
    }

    /// How often each of the numbers is drawn in 2,000 draws.
    fn drawn<const N: usize>(peers: &mut RepairPeers, rng: &mut ChaCha8Rng, numbers: [u32; N]) -> [u32; N] {
        let mut times = [0; N];
        for _ in 0..2_000 {
            let peer = peers.pick(NOW, rng, SLOT, None).unwrap();
            if let Some(place) = numbers.iter().position(|number| node(*number) == peer.identity) {
                times[place] += 1;
            }
        }
        times
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn peers_with_another_version_are_remembered_up_to_a_bound_the_farthest_slots_first_forgotten() {
        let (mut peers, _) = peers(&[peer(1, 900), peer(2, 100)]);
        for slot in 0..STRAYS_MAX as u64 + 10 {
            peers.has_other_version(NOW, node(1), SLOT.saturating_add(slot));
        }
        let last = SLOT.saturating_add(STRAYS_MAX as u64 + 9);
        assert_eq!(peers.strays.len(), STRAYS_MAX);
        assert!(peers.is_stray(NOW, SLOT, &node(1)) && !peers.is_stray(NOW, last, &node(1)));
        assert!(!peers.is_stray(NOW, SLOT, &node(2)) && !peers.is_stray(NOW.after(STRAY_LIFE), SLOT, &node(1)));
        peers.set_root(SLOT.saturating_add(9));
        assert_eq!(peers.strays.len(), STRAYS_MAX - 10);
    }

    #[test]
    fn stake_decides_among_peers_alike_and_strangers_are_never_asked() {
        let myself = peer(0, 1_000_000);
        let elsewhere = Peer { shred_version: 8, ..peer(3, 1_000_000) };
        let deaf = Peer { addresses: Addresses::default(), ..peer(4, 1_000_000) };
        let (mut peers, mut rng) = peers(&[peer(1, 900), peer(2, 100), myself, elsewhere, deaf]);
        let [much, little, none @ ..] = drawn(&mut peers, &mut rng, [1, 2, 0, 3, 4]);
        assert_eq!(none, [0; 3]);
        assert!((1_700..1_900).contains(&much) && much + little == 2_000, "{much} {little}");
        assert!(peers.pick(NOW, &mut rng, SLOT, Some(node(1))).is_some_and(|peer| peer.identity == node(2)));
    }

    #[test]
    fn fast_peers_are_asked_six_times_as_often_as_slow_ones_whatever_their_stake() {
        let (mut peers, mut rng) = peers(&[peer(1, 1), peer(2, 1_000_000), peer(3, 3)]);
        peers.answered(&node(1), ms(20));
        peers.answered(&node(2), ms(300));
        peers.answered(&node(3), ms(90));
        let [small, slow, large] = drawn(&mut peers, &mut rng, [1, 2, 3]);
        assert!((5..8).contains(&((small + large) / slow)), "{small} {slow} {large}");
        assert!(large > small, "stake decides within the class");
    }

    #[test]
    fn a_newcomer_is_tried_and_one_that_stays_silent_is_asked_rarely() {
        let (mut peers, mut rng) = peers(&[peer(1, 1_000), peer(2, 1_000_000)]);
        peers.answered(&node(1), ms(20));
        let [_, new] = drawn(&mut peers, &mut rng, [1, 2]);
        assert!((200..400).contains(&new), "{new}");
        for _ in 0..SILENT {
            peers.unanswered(&node(2));
        }
        let [_, silent] = drawn(&mut peers, &mut rng, [1, 2]);
        assert!((30..140).contains(&silent), "{silent}");
        (0..6).for_each(|_| peers.answered(&node(2), ms(10)));
        let [_, back] = drawn(&mut peers, &mut rng, [1, 2]);
        assert!(back > 1_900, "{back}");
    }

    #[test]
    fn a_near_peer_that_leaves_most_requests_lying_is_not_preferred() {
        let (mut peers, mut rng) = peers(&[peer(1, 1_000), peer(2, 1)]);
        peers.answered(&node(1), ms(300));
        for _ in 0..10 {
            peers.answered(&node(2), ms(5));
            (0..3).for_each(|_| peers.unanswered(&node(2)));
        }
        let [honest, near] = drawn(&mut peers, &mut rng, [1, 2]);
        assert!(near < 20 && honest > 1_980, "{honest} {near}: by stake alone");
        (0..8).for_each(|_| peers.answered(&node(2), ms(5)));
        let [_, near] = drawn(&mut peers, &mut rng, [1, 2]);
        assert!(near > 1_600, "{near}");
    }

    #[test]
    fn the_answer_time_is_an_average_that_sets_the_timeout() {
        let (mut peers, _) = peers(&[peer(1, 1)]);
        assert_eq!(peers.timeout(&node(1)), TIMEOUT_UNKNOWN);
        peers.answered(&node(1), ms(80));
        peers.answered(&node(1), ms(160));
        assert_eq!(peers.iter().next().unwrap().answer_time, Some(ms(90)));
        assert_eq!(peers.timeout(&node(1)), ms(230));
        peers.unanswered(&node(1));
        peers.answered_wrongly(&node(1));
        let seen = *peers.iter().next().unwrap();
        assert_eq!((seen.answered, seen.unanswered, seen.wrong), (2, 1, 1));
    }

    #[test]
    fn a_new_registry_keeps_what_is_known_and_holds_so_many_peers_at_most() {
        let (mut peers, mut rng) = peers(&[peer(1, 1)]);
        peers.answered(&node(1), ms(20));
        let many: Vec<_> = (1..=PEERS_MAX as u32 + 5).map(|number| peer(number, (number % 7 + 1).into())).collect();
        peers.set(&many, node(0), 7);
        assert_eq!(peers.iter().count(), PEERS_MAX);
        assert!(peers.iter().all(|peer| peer.stake > 1 || peer.answered == 0));
        peers.set(&[peer(1, 5)], node(0), 7);
        assert!(peers.pick(NOW, &mut rng, SLOT, None).is_some());
        peers.set(&[], node(0), 7);
        assert!(peers.is_empty() && peers.pick(NOW, &mut rng, SLOT, None).is_none());
    }

    #[test]
    fn peers_that_announced_the_slot_are_asked_seven_times_in_eight_and_the_rest_goes_by_stake() {
        let (mut peers, mut rng) = peers(&[peer(1, 10), peer(2, 1_000_000), peer(3, 30)]);
        peers.announce(node(1), &[SLOT, SLOT.next()]);
        peers.announce(node(3), &[SLOT]);
        peers.announce(node(9), &[SLOT]);
        let [small, other, large] = drawn(&mut peers, &mut rng, [1, 2, 3]);
        assert!((150..350).contains(&other) && large > small && small > 200, "{small} {other} {large}");
        (0..SILENT).for_each(|_| peers.unanswered(&node(1)));
        (0..SILENT).for_each(|_| peers.unanswered(&node(3)));
        let [small, other, large] = drawn(&mut peers, &mut rng, [1, 2, 3]);
        assert!(small + large < 600 && other > 1_400, "who announces and stays silent loses: {small} {other} {large}");
        peers.set_root(SLOT);
        peers.announce(node(1), &[SLOT]);
        assert_eq!(peers.announced.of(SLOT).count(), 0);
    }

    #[test]
    fn who_no_longer_has_a_slot_is_not_asked_for_it_even_if_nobody_else_is_there() {
        let pruned = Peer { lowest_slot: SLOT.next(), ..peer(1, 1_000_000) };
        let (mut peers, mut rng) = peers(&[pruned, peer(2, 1)]);
        peers.announce(node(1), &[SLOT]);
        assert_eq!(drawn(&mut peers, &mut rng, [1, 2]), [0, 2_000]);
        assert!(peers.pick(NOW, &mut rng, SLOT, Some(node(2))).is_some_and(|peer| peer.identity == node(2)));
        peers.set(&[pruned], node(0), 7);
        assert!(peers.pick(NOW, &mut rng, SLOT, None).is_none());
        assert!(peers.pick(NOW, &mut rng, SLOT.next(), None).is_some());
    }
}

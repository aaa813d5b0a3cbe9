//! Who is pushed to: a few peers for each stake bucket, changed little by little (reference 6.10).
//!
//! What a node with much stake says is passed on to peers with much stake rather than to others, because they are the
//! ones who need it and who can be trusted to pass it on. So there is a set of peers for each bucket of
//! min(own stake, origin's stake). Buckets above our own stake's never occur and are not kept.
//!
//! Drawn by stake alone, hardly one peer in a hundred would be without stake, and what stakers say would cross to those
//! without at so few places that some hear late. So a quarter of the places goes to peers drawn evenly, which the
//! reference does not do. Nobody can tell from outside, and nobody is sent more.

use crate::{pull::stake_bucket, recent::held_by, table::ORIGINS_MAX};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use sundog_types::{Now, Pubkey, peer::Peer};

/// Buckets that stakes fall into.
pub const BUCKETS: usize = 25;

/// Peers of one bucket: some more than [`crate::push::FANOUT`], because peers ask not to be sent some origins.
pub const ACTIVE_MAX: usize = 12;

/// Of these, drawn evenly rather than by stake.
pub const EVEN: usize = ACTIVE_MAX / 4;

/// Peers replaced in one rotation while some are only there because they became known first. Everybody meets the same
/// ones first: if all kept them for long, few others would be pushed to.
pub const FIRST_MET_LEAVE: usize = 4;

/// Origins that the peers of one bucket may have pruned: twice the nodes of a full table, because only known origins
/// can be pruned and they stay noted while the table changes. Full: further ones are not noted, and their values
/// go on being pushed.
///
/// The reference keeps a Bloom filter of up to 4 KB for each of the 300 peers. A set holds what was really pruned and
/// nothing else: no origin is withheld by mistake, it costs nothing before the first prune, and one look finds
/// all the peers of a bucket that pruned an origin.
pub const PRUNED_MAX: usize = 2 * ORIGINS_MAX;

/// A peer not seen for this long is chosen rarely, or never if it has no stake.
const SILENT_AFTER: Duration = Duration::from_secs(60);

/// Addresses of active peers are looked up this often, and when one is known to have changed.
const PLACES_LAST: Duration = Duration::from_secs(1);

/// Draws by chance before all candidates are weighed one by one.
const TRIES: usize = 64;

/// Candidates looked at for one bucket in one rotation; those not proven are pinged and passed over.
const LOOKS: usize = 4 * ACTIVE_MAX;

#[derive(Clone, Debug)]
struct Active {
    peer: Pubkey,
    /// Where it can be pushed to; `None` while that is not known or not proven.
    address: Option<SocketAddr>,
    /// Values pushed to it since it is here.
    pushed: u64,
    chosen: Chosen,
}

/// Why a peer is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    /// There was room when it became known.
    First,
    /// By lot.
    Evenly,
    /// By lot, weighted by stake.
    ByStake,
}

/// The peers of one bucket, the oldest first.
#[derive(Clone, Debug, Default)]
struct Entry {
    peers: Vec<Active>,
    /// Which peers asked not to be sent an origin: a bit for each place in `peers`.
    pruned: BTreeMap<Pubkey, u16>,
    looked_up: Option<Now>,
}

/// The peers of all buckets up to that of our own stake.
pub struct ActiveSet {
    entries: Vec<Entry>,
    own_stake: u64,
}

/// Whom a rotation may choose from.
pub struct Candidates<'a> {
    /// When.
    pub now: Now,
    /// Ourselves, never chosen.
    pub me: Pubkey,
    /// The peers, by identity.
    pub peers: &'a [Peer],
    /// The bucket of the largest stake there is.
    pub top: u32,
}

impl Candidates<'_> {
    /// Sixteen times (min(bucket, k) + 1)^2; a sixteenth of that for who is silent.
    fn weight(&self, peer: &Peer, k: u32, taken: &[Active]) -> u64 {
        let Some(address) = peer.addresses.gossip else {
            return 0;
        };
        let is = |active: &Active| active.peer == peer.identity || active.address == Some(address);
        let silent = self.now.since(peer.last_seen) > SILENT_AFTER;
        if peer.identity == self.me || (silent && peer.stake == 0) || taken.iter().any(is) {
            return 0;
        }
        let rank = u64::from(stake_bucket(peer.stake).min(k)) + 1;
        rank * rank * if silent { 1 } else { 16 }
    }

    /// A peer that is not taken yet, by weight. In a large cluster a few peers drawn by chance and accepted by weight
    /// usually do; who is chosen follows the same law as when everybody is weighed.
    fn draw(&self, k: u32, taken: &[Active], rng: &mut ChaCha8Rng) -> Option<&Peer> {
        let most = 16 * (u64::from(self.top.min(k)) + 1).pow(2);
        let tries = if self.peers.len() > TRIES { TRIES } else { 0 };
        for _ in 0..tries {
            let peer = &self.peers[rng.gen_range(0..self.peers.len())];
            if rng.gen_range(0..most) < self.weight(peer, k, taken) {
                return Some(peer);
            }
        }
        let mut total = 0;
        let mut chosen = None;
        for peer in self.peers {
            let weight = self.weight(peer, k, taken);
            total += weight;
            if weight > 0 && rng.gen_range(0..total) < weight {
                chosen = Some(peer);
            }
        }
        chosen
    }

    fn knows(&self, peer: &Pubkey) -> bool {
        self.peers.binary_search_by_key(peer, |known| known.identity).is_ok()
    }
}

impl Entry {
    /// Lets the peer at a place go, and with it what it pruned.
    fn remove(&mut self, place: usize) -> Active {
        let below = (1u16 << place) - 1;
        self.pruned.retain(|_, bits| {
            *bits = (*bits & below) | ((*bits >> 1) & !below);
            *bits != 0
        });
        self.peers.remove(place)
    }

    /// The place of the oldest of those met first, or of all.
    fn next_to_leave(&self) -> usize {
        self.peers.iter().position(|active| active.chosen == Chosen::First).unwrap_or(0)
    }

    /// Fills up with candidates that are fit, and lets the oldest peer go for one more; several of those met first.
    fn rotate(
        &mut self,
        k: u32,
        candidates: &Candidates<'_>,
        fit: &mut dyn FnMut(&Peer) -> bool,
        rng: &mut ChaCha8Rng,
    ) {
        for place in (0..self.peers.len()).rev() {
            if !candidates.knows(&self.peers[place].peer) {
                self.remove(place);
            }
        }
        let first_met = self.peers.iter().filter(|active| active.chosen == Chosen::First).count();
        let mut left = first_met.clamp(1, FIRST_MET_LEAVE);
        let mut changed = false;
        for _ in 0..LOOKS {
            if left == 0 {
                break;
            }
            let leaves = (self.peers.len() == ACTIVE_MAX).then(|| self.next_to_leave());
            let stays = |(place, active): &(usize, &Active)| Some(*place) != leaves && active.chosen == Chosen::Evenly;
            let even = self.peers.iter().enumerate().filter(stays).count() < EVEN;
            let (k, chosen) = if even { (0, Chosen::Evenly) } else { (k, Chosen::ByStake) };
            let Some(peer) = candidates.draw(k, &self.peers, rng) else {
                break;
            };
            if fit(peer) {
                self.peers.push(Active { peer: peer.identity, address: peer.addresses.gossip, pushed: 0, chosen });
                changed = true;
                if let Some(place) = leaves {
                    self.remove(place);
                    left -= 1;
                }
            }
        }
        if !changed && !self.peers.is_empty() {
            // Nobody else is there. The oldest starts anew without its prunes, or a small cluster would never mend
            // what was pruned in favour of a relayer that left.
            let oldest = self.remove(0);
            self.peers.push(oldest);
        }
        self.looked_up = None;
    }
}

impl ActiveSet {
    /// Nobody yet, and no stake of our own.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: vec![Entry::default()], own_stake: 0 }
    }

    /// Our stake changed. New buckets begin with the peers of the highest one so far.
    pub fn set_own_stake(&mut self, lamports: u64) {
        self.own_stake = lamports;
        let buckets = stake_bucket(lamports) as usize + 1;
        assert!(buckets <= BUCKETS);
        let mut highest = self.entries.last().cloned().unwrap_or_default();
        highest.pruned.clear();
        self.entries.resize(buckets, highest);
    }

    /// The bucket for values of an origin with this stake.
    #[must_use]
    pub const fn bucket(&self, origin_stake: u64) -> usize {
        let stake = if origin_stake < self.own_stake { origin_stake } else { self.own_stake };
        stake_bucket(stake) as usize
    }

    /// Adds a peer that became known or moved wherever there is room; whether it is active anywhere.
    pub fn welcome(&mut self, peer: Pubkey, address: SocketAddr) -> bool {
        let mut active = false;
        for entry in &mut self.entries {
            if let Some(known) = entry.peers.iter_mut().find(|active| active.peer == peer) {
                known.address = None;
                entry.looked_up = None;
                active = true;
            } else if entry.peers.len() < ACTIVE_MAX {
                entry.peers.push(Active { peer, address: Some(address), pushed: 0, chosen: Chosen::First });
                entry.looked_up = None;
                active = true;
            }
        }
        active
    }

    /// In each bucket lets the peer that was active longest go if others wait, and fills up by weight with those whom
    /// `fit` accepts.
    pub fn rotate(&mut self, candidates: &Candidates<'_>, fit: &mut dyn FnMut(&Peer) -> bool, rng: &mut ChaCha8Rng) {
        for (k, entry) in (0..).zip(&mut self.entries) {
            entry.rotate(k, candidates, fit, rng);
        }
    }

    /// A peer asks not to be sent what `origin` says; whether that was noted.
    pub fn prune(&mut self, peer: &Pubkey, origin: &Pubkey, origin_stake: u64) -> bool {
        let bucket = self.bucket(origin_stake);
        let entry = &mut self.entries[bucket];
        let Some(place) = entry.peers.iter().position(|active| active.peer == *peer) else {
            return false;
        };
        if entry.pruned.len() >= PRUNED_MAX && !entry.pruned.contains_key(origin) {
            return false;
        }
        let bits = entry.pruned.entry(*origin).or_default();
        let new = *bits & (1 << place) == 0;
        *bits |= 1 << place;
        new
    }

    /// Calls `push` with the address of each peer that a value of `origin` goes to, at most `fanout`.
    pub fn receivers(&mut self, bucket: usize, (origin, fanout): (&Pubkey, usize), mut push: impl FnMut(SocketAddr)) {
        let entry = &mut self.entries[bucket];
        let pruned = entry.pruned.get(origin).copied().unwrap_or(0);
        let mut left = fanout;
        for (place, active) in entry.peers.iter_mut().enumerate() {
            let willing = pruned & (1 << place) == 0 && active.peer != *origin;
            if let Some(address) = active.address.filter(|_| willing) {
                if left == 0 {
                    return;
                }
                left -= 1;
                active.pushed += 1;
                push(address);
            }
        }
    }

    /// Looks up where the peers of a bucket can be pushed to, unless that was done lately.
    pub fn look_up(&mut self, now: Now, bucket: usize, place: impl Fn(&Pubkey) -> Option<SocketAddr>) {
        let entry = &mut self.entries[bucket];
        if entry.looked_up.is_some_and(|at| now.since(at) < PLACES_LAST) {
            return;
        }
        entry.looked_up = Some(now);
        for active in &mut entry.peers {
            active.address = place(&active.peer);
        }
    }

    /// The peers of each bucket, with how many values were pushed to each since it is active there.
    pub fn peers(&self) -> impl Iterator<Item = (usize, Pubkey, u64)> {
        let entries = self.entries.iter().enumerate();
        entries.flat_map(|(bucket, entry)| entry.peers.iter().map(move |active| (bucket, active.peer, active.pushed)))
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let of =
            |entry: &Entry| entry.peers.capacity() * size_of::<Active>() + held_by::<Pubkey, u16>(entry.pruned.len());
        self.entries.capacity() * size_of::<Entry>() + self.entries.iter().map(of).sum::<usize>()
    }

    /// How many origins are noted as pruned, in all buckets.
    #[must_use]
    pub fn pruned_len(&self) -> usize {
        self.entries.iter().map(|entry| entry.pruned.len()).sum()
    }
}

/// What [`ActiveSet::held_bytes`] never exceeds; a list that grows has room for twice what is in it.
pub const ACTIVE_BYTES_MAX: usize = BUCKETS
    * (2 * size_of::<Entry>() + 2 * (ACTIVE_MAX + 1) * size_of::<Active>() + held_by::<Pubkey, u16>(PRUNED_MAX));

impl Default for ActiveSet {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use sundog_types::{
        Slot,
        peer::{Addresses, Version},
    };

    const NOW: Now = Now { mono_us: 1_000_000_000, unix_ms: 1_760_000_000_000 };
    const SOL: u64 = 1_000_000_000;

    fn key(number: usize) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Pubkey::new_from_array(bytes)
    }

    fn address(number: usize) -> SocketAddr {
        SocketAddr::new((0x0a00_0000 + u32::try_from(number).expect("small")).to_be_bytes().into(), 8_000)
    }

    fn peer(number: usize, stake: u64) -> Peer {
        Peer {
            identity: key(number),
            addresses: Addresses { gossip: Some(address(number)), ..Addresses::default() },
            stake,
            last_seen: NOW,
            shred_version: 7,
            version: Version::default(),
            outset_us: 1,
            lowest_slot: Slot::ZERO,
        }
    }

    fn candidates(peers: &[Peer]) -> Candidates<'_> {
        Candidates { now: NOW, me: key(0), peers, top: 20 }
    }

    /// How often each bucket's peers are drawn, of 20,000 draws, beside what the weights say.
    fn assert_drawn_by_weight(each: usize) {
        let stakes = [0, 5 * SOL, 100 * SOL, 1_000_000 * SOL];
        let peers: Vec<Peer> =
            stakes.iter().flat_map(|stake| vec![*stake; each]).zip(1..).map(|(stake, n)| peer(n, stake)).collect();
        let candidates = candidates(&peers);
        let mut rng = ChaCha8Rng::from_seed([3; 32]);
        for k in [0, 2, 5, 20] {
            let mut drawn = [0u64; 4];
            for _ in 0..20_000 {
                let peer = candidates.draw(k, &[], &mut rng).expect("there are some");
                drawn[stakes.iter().position(|stake| *stake == peer.stake).expect("one of them")] += 1;
            }
            let weights = [0, 3, 7, 20].map(|bucket: u32| u64::from(bucket.min(k) + 1).pow(2));
            for (drawn, weight) in drawn.into_iter().zip(weights) {
                let expected = 20_000 * weight / weights.iter().sum::<u64>();
                assert!(drawn.abs_diff(expected) < 60 + expected / 10, "k {k}: {drawn} drawn, {expected} expected");
            }
        }
    }

    #[test]
    fn peers_are_drawn_by_the_square_of_their_bucket_capped_at_the_set_s() {
        assert_drawn_by_weight(5);
        assert_drawn_by_weight(100);
    }

    #[test]
    fn we_ourselves_the_silent_and_second_nodes_of_an_address_are_not_drawn() {
        let silent = Now { mono_us: 0, ..NOW };
        let mut rng = ChaCha8Rng::from_seed([3; 32]);
        let peers = [peer(0, SOL), Peer { last_seen: silent, ..peer(1, 0) }, peer(2, SOL)];
        let mut taken = vec![Active { peer: key(9), address: Some(address(2)), pushed: 0, chosen: Chosen::First }];
        assert!(candidates(&peers).draw(3, &taken, &mut rng).is_none());
        taken[0].address = None;
        assert_eq!(candidates(&peers).draw(3, &taken, &mut rng).map(|peer| peer.identity), Some(key(2)));
        let nobody = [Peer { addresses: Addresses::default(), ..peer(4, SOL) }];
        assert!(candidates(&nobody).draw(3, &[], &mut rng).is_none());
        let staked = [Peer { last_seen: silent, ..peer(1, SOL) }];
        assert!(candidates(&staked).draw(3, &[], &mut rng).is_some(), "who has stake may come back");
    }

    fn receivers(set: &mut ActiveSet, origin: usize) -> Vec<SocketAddr> {
        let mut to = Vec::new();
        set.receivers(0, (&key(origin), 9), |address| to.push(address));
        to
    }

    #[test]
    fn a_full_set_takes_no_more_and_one_value_goes_to_the_fanout() {
        let mut set = ActiveSet::new();
        for number in 1..=ACTIVE_MAX {
            assert!(set.welcome(key(number), address(number)));
        }
        assert!(!set.welcome(key(99), address(99)), "full");
        assert_eq!(set.peers().count(), ACTIVE_MAX);
        assert_eq!(receivers(&mut set, 50), (1..=9).map(address).collect::<Vec<_>>());
        assert_eq!(receivers(&mut set, 3), [1, 2, 4, 5, 6, 7, 8, 9, 10].map(address), "never the origin itself");
        set.look_up(NOW, 0, |peer| (*peer != key(1)).then(|| address(1)));
        assert_eq!(receivers(&mut set, 50).len(), 9, "who is not proven is passed over");
        assert_eq!(set.peers().map(|(_, _, pushed)| pushed).sum::<u64>(), 27);
    }

    #[test]
    fn prunes_stay_with_the_peer_that_sent_them_when_others_leave() {
        let mut set = ActiveSet::new();
        for number in 1..=4 {
            set.welcome(key(number), address(number));
        }
        assert!(set.prune(&key(1), &key(50), 0) && set.prune(&key(3), &key(50), 0));
        assert!(!set.prune(&key(3), &key(50), 0), "known");
        assert!(!set.prune(&key(7), &key(50), 0), "not active");
        assert_eq!(receivers(&mut set, 50), [2, 4].map(address));
        set.entries[0].remove(1);
        assert_eq!(receivers(&mut set, 50), [4].map(address));
        set.entries[0].remove(0);
        assert_eq!(receivers(&mut set, 50), [4].map(address));
        set.entries[0].remove(0);
        assert_eq!(set.pruned_len(), 0, "nothing is kept for who left");
    }

    #[test]
    fn so_many_origins_can_be_pruned_and_no_more() {
        let mut set = ActiveSet::new();
        set.welcome(key(1), address(1));
        set.welcome(key(2), address(2));
        for origin in 0..PRUNED_MAX + 10 {
            assert_eq!(set.prune(&key(1), &key(100 + origin), 0), origin < PRUNED_MAX);
        }
        assert!(set.prune(&key(2), &key(100), 0), "the origin has its place already");
        assert_eq!(set.pruned_len(), PRUNED_MAX);
    }

    #[test]
    fn everything_full_is_within_the_stated_bytes() {
        let mut set = ActiveSet::new();
        set.set_own_stake(u64::MAX);
        for number in 1..=ACTIVE_MAX + 1 {
            set.welcome(key(number), address(number));
        }
        for bucket in 0..BUCKETS {
            let stake = (1 << bucket >> 1) * SOL;
            for origin in 0..PRUNED_MAX + 10 {
                set.prune(&key(1), &key(100 + origin), stake);
            }
        }
        assert_eq!(set.pruned_len(), BUCKETS * PRUNED_MAX);
        let held = set.held_bytes();
        assert!(held <= ACTIVE_BYTES_MAX && held > ACTIVE_BYTES_MAX / 2, "{held} of {ACTIVE_BYTES_MAX}");
    }

    #[test]
    fn a_rotation_replaces_one_fills_up_and_forgets_who_is_gone() {
        let mut rng = ChaCha8Rng::from_seed([3; 32]);
        let peers: Vec<Peer> = (1..=40).map(|number| peer(number, SOL)).collect();
        let mut set = ActiveSet::new();
        set.welcome(key(77), address(77));
        let odd = |peer: &Peer| peer.identity.as_array()[7] % 2 == 1;
        set.rotate(&candidates(&peers), &mut { odd }, &mut rng);
        let first: Vec<Pubkey> = set.peers().map(|(_, peer, _)| peer).collect();
        assert!(first.len() == ACTIVE_MAX && first.iter().all(|peer| peer.as_array()[7] % 2 == 1), "{first:?}");
        set.rotate(&candidates(&peers), &mut |_| true, &mut rng);
        let second: Vec<Pubkey> = set.peers().map(|(_, peer, _)| peer).collect();
        assert_eq!(second[..ACTIVE_MAX - 1], first[1..]);
        assert!(!first.contains(&second[ACTIVE_MAX - 1]));
        set.prune(&second[0], &key(50), SOL);
        set.rotate(&candidates(&peers), &mut |_| false, &mut rng);
        let third: Vec<Pubkey> = set.peers().map(|(_, peer, _)| peer).collect();
        assert_eq!((third.last(), set.pruned_len()), (second.first(), 0), "nobody else: the oldest starts anew");
    }

    #[test]
    fn a_quarter_of_the_places_is_for_peers_drawn_evenly_whatever_the_stakes() {
        let mut rng = ChaCha8Rng::from_seed([4; 32]);
        let stake = |number| if number <= 50 { 1_000_000 * SOL } else { 0 };
        let peers: Vec<Peer> = (1..=200).map(|number| peer(number, stake(number))).collect();
        let mut set = ActiveSet::new();
        set.set_own_stake(u64::MAX);
        let mut unstaked = 0;
        for rotation in 0..120 {
            set.rotate(&candidates(&peers), &mut |_| true, &mut rng);
            let entry = &set.entries[BUCKETS - 1];
            assert_eq!(entry.peers.len(), ACTIVE_MAX);
            let even = entry.peers.iter().filter(|active| active.chosen == Chosen::Evenly).count();
            assert_eq!(even, EVEN, "rotation {rotation}");
            let without = |active: &&Active| peers.iter().any(|peer| peer.identity == active.peer && peer.stake == 0);
            unstaked += entry.peers.iter().filter(without).count();
        }
        let expected = 120 * EVEN * 3 / 4;
        assert!(
            unstaked.abs_diff(expected) < expected / 4,
            "{unstaked} of {expected}: by stake it would be one in 100"
        );
    }

    #[test]
    fn who_was_only_met_first_leaves_sooner() {
        let mut rng = ChaCha8Rng::from_seed([3; 32]);
        let peers: Vec<Peer> = (1..=60).map(|number| peer(number, SOL)).collect();
        let mut set = ActiveSet::new();
        (1..=ACTIVE_MAX).for_each(|number| assert!(set.welcome(key(number), address(number))));
        let first = |set: &ActiveSet| set.entries[0].peers.iter().filter(|peer| peer.chosen == Chosen::First).count();
        for left in [8, 4, 0] {
            set.rotate(&candidates(&peers), &mut |_| true, &mut rng);
            assert_eq!((first(&set), set.peers().count()), (left, ACTIVE_MAX));
        }
    }

    #[test]
    fn buckets_follow_our_own_stake_and_new_ones_have_peers_at_once() {
        let mut set = ActiveSet::new();
        set.welcome(key(1), address(1));
        assert_eq!(set.bucket(u64::MAX), 0);
        set.set_own_stake(u64::MAX);
        assert_eq!(set.entries.len(), BUCKETS);
        assert_eq!((set.bucket(u64::MAX), set.bucket(3 * SOL), set.bucket(0)), (24, 2, 0));
        assert!(set.entries.iter().all(|entry| entry.peers.len() == 1));
        set.set_own_stake(SOL);
        assert_eq!((set.entries.len(), set.bucket(u64::MAX)), (2, 1));
    }
}

//! Who is pushed to: a few peers for each stake bucket, changed little by little (reference 6.10).
//!
//! What a node with much stake says is passed on to peers with much stake rather than to others, because they are the
//! ones who need it and who can be trusted to pass it on. So there is a set of peers for each bucket of
//! min(own stake, origin's stake). Buckets above our own stake's never occur and are not kept.

use crate::{pull::stake_bucket, table::ORIGINS_MAX};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use sundog_types::{Now, Pubkey, peer::Peer};

/// Buckets that stakes fall into.
pub const BUCKETS: usize = 25;

/// Peers of one bucket: some more than [`crate::push::FANOUT`], because peers ask not to be sent some origins.
pub const ACTIVE_MAX: usize = 12;

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
const LOOKS: usize = 2 * ACTIVE_MAX;

#[derive(Clone, Debug)]
struct Active {
    peer: Pubkey,
    /// Where it can be pushed to; `None` while that is not known or not proven.
    address: Option<SocketAddr>,
    /// Values pushed to it since it is here.
    pushed: u64,
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

    /// Fills up with candidates that are fit, and lets the oldest peer go for one more.
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
        let before = self.peers.len();
        for _ in 0..LOOKS {
            if self.peers.len() > ACTIVE_MAX {
                break;
            }
            let Some(peer) = candidates.draw(k, &self.peers, rng) else {
                break;
            };
            if fit(peer) {
                self.peers.push(Active { peer: peer.identity, address: peer.addresses.gossip, pushed: 0 });
            }
        }
        if self.peers.len() > ACTIVE_MAX {
            self.remove(0);
        } else if self.peers.len() == before && before > 0 {
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
                entry.peers.push(Active { peer, address: Some(address), pushed: 0 });
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

    /// How many origins are noted as pruned, in all buckets.
    #[must_use]
    pub fn pruned_len(&self) -> usize {
        self.entries.iter().map(|entry| entry.pruned.len()).sum()
    }
}

impl Default for ActiveSet {
    fn default() -> Self {
        Self::new()
    }
}

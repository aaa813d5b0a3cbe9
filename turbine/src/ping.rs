//! Who has shown that it can read at the address it asks from (reference 6.8, 7.1).

use crate::repair_wire::pong_hash;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sundog_types::{Hash, Now, Pubkey};

/// How long a pong counts.
pub const PONG_LIFE: Duration = Duration::from_secs(1_280);
/// A pong older than this is renewed while it still counts.
pub const PONG_FRESH: Duration = Duration::from_secs(1_280 / 8);
/// Least time between two pings to the same identity and address.
pub const PING_PAUSE: Duration = Duration::from_secs(2);
/// Proven addresses kept: some four times the validators of the largest cluster. Full: the oldest pong is forgotten.
pub const PROVEN_MAX: usize = 16_384;
/// Recent pings kept, only to space them out. Full: the oldest is forgotten, so a flood of invented senders can
/// make pings more frequent, but can push out nobody who has ponged.
pub const PINGED_MAX: usize = 16_384;
/// How long a token can be answered, at least; twice that at most.
const TOKEN_LIFE_US: u64 = 60_000_000;

type Key = (Pubkey, SocketAddr);

/// What is known of an identity at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It ponged from there, and not too long ago.
    pub proven: bool,
    /// Send it a ping with this token now.
    pub ping: Option<[u8; 32]>,
}

/// Remembers pongs by identity and address. Tokens are derived from a secret and the time, so pings cost no memory.
#[derive(Debug)]
pub struct PingCache {
    secret: [u8; 32],
    proven: BTreeMap<Key, Now>,
    oldest_proof: BTreeSet<(Now, Key)>,
    pinged: BTreeMap<Key, Now>,
    oldest_ping: VecDeque<(Now, Key)>,
}

impl PingCache {
    /// An empty cache with the secret that its tokens are made from.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            proven: BTreeMap::new(),
            oldest_proof: BTreeSet::new(),
            pinged: BTreeMap::new(),
            oldest_ping: VecDeque::new(),
        }
    }

    /// Whether it ponged from there, and not too long ago.
    #[must_use]
    pub fn proven(&self, now: Now, identity: Pubkey, address: SocketAddr) -> bool {
        self.proven.get(&(identity, address)).is_some_and(|ponged| now.since(*ponged) < PONG_LIFE)
    }

    /// How an asker stands, and whether to ping it. A ping that is handed out counts as sent.
    pub fn standing(&mut self, now: Now, identity: Pubkey, address: SocketAddr) -> Standing {
        let key = (identity, address);
        let proven = self.proven(now, identity, address);
        let age = self.proven.get(&key).map(|ponged| now.since(*ponged));
        let fresh = age.is_some_and(|age| age < PONG_FRESH);
        let ping = (!fresh && self.may_ping(now, key)).then(|| self.token(now.mono_us / TOKEN_LIFE_US, &key));
        Standing { proven, ping }
    }

    /// Whether a pong carries what the node at this address was asked for. Does not check its signature.
    #[must_use]
    pub fn expects(&self, now: Now, identity: Pubkey, address: SocketAddr, hash: &Hash) -> bool {
        let key = (identity, address);
        let period = now.mono_us / TOKEN_LIFE_US;
        [Some(period), period.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|period| pong_hash(&self.token(period, &key)) == *hash)
    }

    /// Takes a pong whose hash and signature are right.
    pub fn prove(&mut self, now: Now, identity: Pubkey, address: SocketAddr) {
        let key = (identity, address);
        if let Some(before) = self.proven.insert(key, now) {
            self.oldest_proof.remove(&(before, key));
        }
        self.oldest_proof.insert((now, key));
        if self.proven.len() > PROVEN_MAX
            && let Some((_, oldest)) = self.oldest_proof.pop_first()
        {
            self.proven.remove(&oldest);
        }
    }

    /// Identities and addresses that have ponged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.proven.len()
    }

    /// Whether nobody has ponged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.proven.is_empty()
    }

    fn may_ping(&mut self, now: Now, key: Key) -> bool {
        while let Some((sent, oldest)) = self.oldest_ping.front().copied()
            && (now.since(sent) >= PING_PAUSE || self.oldest_ping.len() >= PINGED_MAX)
        {
            self.oldest_ping.pop_front();
            self.pinged.remove(&oldest);
        }
        if self.pinged.contains_key(&key) {
            return false;
        }
        self.pinged.insert(key, now);
        self.oldest_ping.push_back((now, key));
        true
    }

    fn token(&self, period: u64, (identity, address): &Key) -> [u8; 32] {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Sha256::new()
            .chain_update(self.secret)
            .chain_update(period.to_le_bytes())
            .chain_update(identity)
            .chain_update(ip)
            .chain_update(address.port().to_le_bytes())
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1_000, unix_ms: ms }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn node(number: u32) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Pubkey::from(bytes)
    }

    #[test]
    fn an_address_is_proven_by_its_own_token_alone() {
        let mut cache = PingCache::new([1; 32]);
        let Standing { proven: false, ping: Some(token) } = cache.standing(at(0), node(1), address(1)) else {
            panic!("a stranger is pinged");
        };
        let hash = pong_hash(&token);
        assert!(cache.expects(at(10), node(1), address(1), &hash));
        assert!(!cache.expects(at(10), node(1), address(2), &hash), "another port");
        assert!(!cache.expects(at(10), node(2), address(1), &hash), "another identity");
        assert!(!cache.expects(at(120_000), node(1), address(1), &hash), "too late");
        cache.prove(at(10), node(1), address(1));
        assert_eq!(cache.standing(at(20), node(1), address(1)), Standing { proven: true, ping: None });
        assert!(!cache.standing(at(20), node(1), address(2)).proven);
    }

    #[test]
    fn pings_are_two_seconds_apart_and_old_pongs_are_renewed_and_expire() {
        let mut cache = PingCache::new([1; 32]);
        assert!(cache.standing(at(0), node(1), address(1)).ping.is_some());
        assert!(cache.standing(at(1_999), node(1), address(1)).ping.is_none());
        assert!(cache.standing(at(2_000), node(1), address(1)).ping.is_some());
        cache.prove(at(2_100), node(1), address(1));
        let renewed = cache.standing(at(2_100 + 160_000), node(1), address(1));
        assert!(renewed.proven && renewed.ping.is_some());
        assert!(!cache.standing(at(2_100 + 1_280_000), node(1), address(1)).proven);
    }

    #[test]
    fn a_full_cache_forgets_the_oldest_pong_and_strangers_push_out_nobody() {
        let mut cache = PingCache::new([1; 32]);
        for number in 0..=PROVEN_MAX as u32 {
            cache.prove(at(u64::from(number)), node(number), address(1));
        }
        assert_eq!(cache.len(), PROVEN_MAX);
        assert!(!cache.standing(at(20_000), node(0), address(1)).proven);
        for stranger in 0..2 * PINGED_MAX as u32 {
            assert!(cache.standing(at(20_000), node(1_000_000 + stranger), address(1)).ping.is_some());
        }
        assert!(cache.pinged.len() <= PINGED_MAX);
        assert_eq!(cache.len(), PROVEN_MAX);
        assert!(cache.standing(at(20_000), node(1), address(1)).proven);
    }
}

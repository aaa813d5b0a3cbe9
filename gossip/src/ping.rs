//! Proof that a node listens where it says: ping and pong (reference 6.8).
//!
//! Nothing larger than what an address sent is sent to it before it has answered a ping, so that nobody
//! can aim a flood at a third party.

use crate::{
    recent::{Recent, before},
    wire::{Ping, Pong, pong_hash},
};
use rand::RngCore as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use sundog_types::{Now, Pubkey, sign::Sign};

/// Addresses remembered as proven, and as many as asked: the reference's figure, 15 times the table's
/// nodes. Full: the oldest is forgotten and will be asked again.
pub const ADDRESSES_MAX: usize = 126_976;

/// How long a pong proves an address.
pub const PROOF_LASTS: Duration = Duration::from_secs(1_280);

/// A proof older than this is renewed when the node is next met.
const PROOF_AGES: Duration = Duration::from_secs(160);

/// A silent address is asked again after this, then twice, three times this and so on up to
/// [`ASK_AGAIN_MAX`]. The reference waits 20 s from the start; asking sooner at first makes a start on a
/// lossy network quick.
const ASK_AGAIN_FIRST: Duration = Duration::from_millis(200);

/// Longest time between two pings to an address.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(20);

/// Tokens are made with a secret of this age or the one before it.
const SECRET_LASTS: Duration = Duration::from_secs(60);

/// A node at an address.
pub type Place = (Pubkey, SocketAddr);

/// What is known of a node at an address.
#[derive(Debug)]
pub struct Standing {
    /// It has answered a ping lately.
    pub proven: bool,
    /// It should be sent this.
    pub ping: Option<Ping>,
}

/// Who has proven where it listens.
pub struct Pings {
    signer: Arc<dyn Sign>,
    rng: ChaCha8Rng,
    secrets: [[u8; 32]; 2],
    rotated: Now,
    /// Whether every address counts as proven.
    trusting: bool,
    asked: Recent<Place, u32>,
    proven: Recent<Place, ()>,
}

impl Pings {
    /// Nobody has proven anything.
    #[must_use]
    pub fn new(signer: Arc<dyn Sign>, rng: ChaCha8Rng, now: Now) -> Self {
        let mut pings = Self {
            signer,
            rng,
            secrets: [[0; 32]; 2],
            rotated: now,
            trusting: false,
            asked: Recent::new(ADDRESSES_MAX),
            proven: Recent::new(ADDRESSES_MAX),
        };
        for secret in &mut pings.secrets {
            pings.rng.fill_bytes(secret);
        }
        pings
    }

    /// From now on every address counts as proven: for worlds where membership is given.
    pub const fn trust_everybody(&mut self) {
        self.trusting = true;
    }

    /// Whether the place has proven itself.
    #[must_use]
    pub fn is_proven(&self, now: Now, place: &Place) -> bool {
        if self.trusting {
            return true;
        }
        self.proven.get(place).is_some_and(|(at, ())| now.since(at) < PROOF_LASTS)
    }

    /// Whether the place has proven itself, and a ping for it if it is time for one.
    pub fn meet(&mut self, now: Now, place: Place) -> Standing {
        if self.trusting {
            return Standing { proven: true, ping: None };
        }
        self.rotate_secrets(now);
        let age = self.proven.get(&place).map(|(at, ())| now.since(at));
        let proven = age.is_some_and(|age| age < PROOF_LASTS);
        let due = age.is_none_or(|age| age > PROOF_AGES);
        let ping = (due && self.may_ask(now, &place)).then(|| self.ask(now, place));
        Standing { proven, ping }
    }

    fn may_ask(&self, now: Now, place: &Place) -> bool {
        self.asked.get(place).is_none_or(|(at, times)| {
            let wait = ASK_AGAIN_FIRST.saturating_mul(*times);
            now.since(at) >= wait.min(ASK_AGAIN_MAX)
        })
    }

    fn ask(&mut self, now: Now, place: Place) -> Ping {
        let times = self.asked.get(&place).map_or(0, |(_, times)| *times);
        self.asked.note(now, place, times.saturating_add(1));
        Ping::new(token(&self.secrets[0], &place), &*self.signer)
    }

    /// Takes a pong that came from an address; whether it answers a ping of ours.
    pub fn pong(&mut self, now: Now, from: SocketAddr, pong: &Pong) -> bool {
        self.rotate_secrets(now);
        let place = (pong.from, from);
        let ours = |secret| pong_hash(&token(secret, &place)) == pong.hash;
        let answers = self.asked.get(&place).is_some() && self.secrets.iter().any(ours);
        if answers {
            self.asked.remove(&place);
            self.proven.note(now, place, ());
        }
        answers
    }

    /// Forgets proofs that lapsed and questions nobody answered.
    pub fn forget_old(&mut self, now: Now) {
        self.proven.forget_before(before(now, PROOF_LASTS));
        self.asked.forget_before(before(now, SECRET_LASTS));
    }

    fn rotate_secrets(&mut self, now: Now) {
        if now.since(self.rotated) >= SECRET_LASTS {
            self.rotated = now;
            self.secrets[1] = self.secrets[0];
            self.rng.fill_bytes(&mut self.secrets[0]);
        }
    }

    /// How many places are proven.
    #[must_use]
    pub fn proven_len(&self) -> usize {
        self.proven.len()
    }
}

fn token(secret: &[u8; 32], (pubkey, address): &Place) -> [u8; 32] {
    let hasher = Sha256::new().chain_update(secret).chain_update(pubkey);
    let hasher = match address.ip() {
        IpAddr::V4(ip) => hasher.chain_update(ip.octets()),
        IpAddr::V6(ip) => hasher.chain_update(ip.octets()),
    };
    hasher.chain_update(address.port().to_le_bytes()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use solana_keypair::Keypair;
    use sundog_types::sign::Identity;

    const START: Now = Now { mono_us: 0, unix_ms: 1_760_000_000_000 };

    fn pings() -> Pings {
        let signer = Arc::new(Identity::new(Keypair::new_from_array([1; 32])));
        Pings::new(signer, ChaCha8Rng::from_seed([7; 32]), START)
    }

    fn place(number: u32) -> Place {
        let identity = Identity::new(Keypair::new_from_array([2; 32])).identity();
        (identity, SocketAddr::new(IpAddr::from(number.to_be_bytes()), 8_000))
    }

    fn answer(ping: &Ping) -> Pong {
        Pong::answer(&ping.token, &Identity::new(Keypair::new_from_array([2; 32])))
    }

    #[test]
    fn a_pong_proves_the_address_it_comes_from_and_no_other() {
        let mut pings = pings();
        let ping = pings.meet(START, place(9)).ping.expect("first meeting");
        assert!(!pings.pong(START, place(8).1, &answer(&ping)));
        assert!(pings.pong(START, place(9).1, &answer(&ping)));
        assert!(!pings.pong(START, place(9).1, &answer(&ping)), "a ping is answered once");
        assert!(pings.is_proven(START, &place(9)));
        assert!(!pings.is_proven(START, &place(8)));
        assert!(!pings.is_proven(START.after(PROOF_LASTS), &place(9)));
    }

    #[test]
    fn a_silent_address_is_asked_ever_more_seldom() {
        let mut pings = pings();
        let mut asked = 0;
        for tick in 0..600 {
            let now = START.after(Duration::from_millis(tick * 100));
            asked += u32::from(pings.meet(now, place(9)).ping.is_some());
        }
        assert_eq!(asked, 24, "at 0, 0.2, 0.6, 1.2 and so on up to 55.2 s");
    }

    #[test]
    fn a_pong_is_good_for_the_secret_before_and_not_for_older_ones() {
        for (later, good) in [(59, true), (61, true), (119, true)] {
            let mut pings = pings();
            let ping = pings.meet(START, place(9)).ping.expect("first meeting");
            let now = START.after(Duration::from_secs(later));
            assert_eq!(pings.pong(now, place(9).1, &answer(&ping)), good, "{later} s");
        }
        let mut pings = pings();
        let ping = pings.meet(START, place(9)).ping.expect("first meeting");
        pings.meet(START.after(Duration::from_secs(61)), place(1));
        pings.meet(START.after(Duration::from_secs(122)), place(2));
        assert!(!pings.pong(START.after(Duration::from_secs(123)), place(9).1, &answer(&ping)));
    }

    #[test]
    fn a_full_cache_forgets_the_oldest_question() {
        let mut pings = pings();
        pings.asked = Recent::new(100);
        let first = pings.meet(START, place(0)).ping.expect("first meeting");
        for number in 1..=100 {
            pings.meet(START, place(number));
        }
        assert_eq!(pings.asked.len(), 100);
        assert!(!pings.pong(START, place(0).1, &answer(&first)));
    }
}

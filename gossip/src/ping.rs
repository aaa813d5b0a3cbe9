//! Proof that a node listens where it says: ping and pong (reference 6.8).
//!
//! Before an address has answered a ping, these rules keep anybody from aiming a flood at it:
//!
//! - It is sent nothing but pings and pongs, 132 bytes each. Only the entrypoints and known peers of the
//!   configuration are asked unproven.
//! - Whatever one datagram makes us send to addresses that have not answered is no longer than the datagram, whoever
//!   they are: a pong answers a ping of the same length, a ping stands in for the answer to a longer pull request, and a
//!   ping is caused by a contact info, none of which is shorter. So nothing is gained by going through us.
//! - Others may name an address that never sent anything. Pings caused by that are limited for each address and each
//!   host, in whichever nodes' names ([`HEARSAY_OF_ADDRESS`], [`HEARSAY_OF_HOST`]), and for each sender
//!   ([`crate::limits`]). A node that calls by itself, or has stake, does not depend on these limits: naming its address
//!   a thousand times in other names keeps nobody away.

use crate::{
    limits::{Buckets, Host, Rate},
    recent::{Recent, before, held_by},
    wire::{Ping, Pong, pong_hash},
};
use rand::RngCore as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// Pings to one address because others named it, in the name of whatever nodes without stake. Only one node can
/// listen there, so two or three are due; the rest is for a network that loses packets.
pub const HEARSAY_OF_ADDRESS: Rate = Rate { per_second: 1, burst: 8 };

/// Such pings to all addresses of one host together; see [`Host`].
pub const HEARSAY_OF_HOST: Rate = Rate { per_second: 8, burst: 64 };

/// Addresses, and hosts, whose share of such pings is counted apart. Full: newcomers share one.
pub const HEARSAY_MAX: usize = 16_384;

/// Nodes without stake that may be proven on one host at a time, so that nobody with one machine fills the table.
/// More are refused until proofs of others lapse.
pub const HOST_PROVEN_MAX: u32 = 512;

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
    proven: Proofs,
    hearsay: Buckets<SocketAddr>,
    hearsay_of_host: Buckets<Host>,
}

/// Why a pong proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PongError {
    /// It answers no ping of ours, or one of long ago.
    Unasked,
    /// [`HOST_PROVEN_MAX`] nodes are proven on its host.
    HostFull,
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
            proven: Proofs::new(ADDRESSES_MAX),
            hearsay: Buckets::new(HEARSAY_MAX),
            hearsay_of_host: Buckets::new(HEARSAY_MAX),
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
        self.proven.at(place).is_some_and(|at| now.since(at) < PROOF_LASTS)
    }

    /// Whether any node has proven that it listens at this address.
    #[must_use]
    pub fn has_proven(&self, address: &SocketAddr) -> bool {
        self.trusting || self.proven.addresses.contains_key(address)
    }

    /// Whether the place has proven itself, and a ping for it if it is time for one. For a place that was proven
    /// before, or that just sent us more than a ping.
    pub fn meet(&mut self, now: Now, place: Place) -> Standing {
        let (proven, due) = self.look(now, &place);
        let ping = due.then(|| self.ask(now, place));
        Standing { proven, ping }
    }

    /// The same for a place that others name. `staked`: its node has stake.
    pub fn hear_of(&mut self, now: Now, place: Place, staked: bool) -> Standing {
        let (proven, due) = self.look(now, &place);
        let ask = due && (proven || staked || self.may_ask_unbidden(now, place.1));
        let ping = ask.then(|| self.ask(now, place));
        Standing { proven, ping }
    }

    /// Whether this place was asked and has not answered yet.
    #[must_use]
    pub fn is_asked(&self, place: &Place) -> bool {
        self.asked.get(place).is_some()
    }

    /// Whether the place is proven, and whether a ping is due.
    fn look(&mut self, now: Now, place: &Place) -> (bool, bool) {
        if self.trusting {
            return (true, false);
        }
        self.rotate_secrets(now);
        let age = self.proven.at(place).map(|at| now.since(at));
        let proven = age.is_some_and(|age| age < PROOF_LASTS);
        let due = age.is_none_or(|age| age > PROOF_AGES);
        (proven, due && self.may_ask(now, place))
    }

    fn may_ask(&self, now: Now, place: &Place) -> bool {
        self.asked.get(place).is_none_or(|(at, times)| {
            let wait = ASK_AGAIN_FIRST.saturating_mul(*times);
            now.since(at) >= wait.min(ASK_AGAIN_MAX)
        })
    }

    fn may_ask_unbidden(&mut self, now: Now, address: SocketAddr) -> bool {
        self.hearsay.take(now, address, HEARSAY_OF_ADDRESS)
            && self.hearsay_of_host.take(now, Host::of(&address), HEARSAY_OF_HOST)
    }

    fn ask(&mut self, now: Now, place: Place) -> Ping {
        let times = self.asked.get(&place).map_or(0, |(_, times)| *times);
        self.asked.note(now, place, times.saturating_add(1));
        Ping::new(token(&self.secrets[0], &place), &*self.signer)
    }

    /// Takes a pong that came from an address. `staked`: its node has stake.
    ///
    /// # Errors
    /// [`PongError`] when it proves nothing.
    pub fn pong(&mut self, now: Now, from: SocketAddr, (pong, staked): (&Pong, bool)) -> Result<(), PongError> {
        self.rotate_secrets(now);
        let place = (pong.from, from);
        let ours = |secret| pong_hash(&token(secret, &place)) == pong.hash;
        if self.asked.get(&place).is_none() || !self.secrets.iter().any(ours) {
            return Err(PongError::Unasked);
        }
        let crowded = self.proven.on_host(&Host::of(&from)) >= HOST_PROVEN_MAX;
        if crowded && !staked && self.proven.at(&place).is_none() {
            return Err(PongError::HostFull);
        }
        self.asked.remove(&place);
        self.proven.add(now, place);
        Ok(())
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
        self.proven.at.len()
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.asked.held_bytes()
            + self.proven.held_bytes()
            + self.hearsay.held_bytes()
            + self.hearsay_of_host.held_bytes()
    }
}

/// What [`Pings::held_bytes`] never exceeds.
pub const PINGS_BYTES_MAX: usize = Recent::<Place, u32>::held_bytes_at(ADDRESSES_MAX)
    + Proofs::held_bytes_at(ADDRESSES_MAX, ADDRESSES_MAX, ADDRESSES_MAX)
    + Buckets::<SocketAddr>::held_bytes_at(HEARSAY_MAX)
    + Buckets::<Host>::held_bytes_at(HEARSAY_MAX);

/// Proven places with when they last proved it, counted by address and host. Full: the oldest proof is forgotten.
struct Proofs {
    capacity: usize,
    at: BTreeMap<Place, Now>,
    by_age: BTreeSet<(Now, Place)>,
    addresses: BTreeMap<SocketAddr, u32>,
    hosts: BTreeMap<Host, u32>,
}

impl Proofs {
    const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            at: BTreeMap::new(),
            by_age: BTreeSet::new(),
            addresses: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }

    fn at(&self, place: &Place) -> Option<Now> {
        self.at.get(place).copied()
    }

    fn on_host(&self, host: &Host) -> u32 {
        self.hosts.get(host).copied().unwrap_or(0)
    }

    fn add(&mut self, now: Now, place: Place) {
        self.remove(&place);
        if self.at.len() >= self.capacity
            && let Some((_, oldest)) = self.by_age.first().copied()
        {
            self.remove(&oldest);
        }
        self.at.insert(place, now);
        self.by_age.insert((now, place));
        *self.addresses.entry(place.1).or_default() += 1;
        *self.hosts.entry(Host::of(&place.1)).or_default() += 1;
    }

    fn remove(&mut self, place: &Place) {
        let Some(at) = self.at.remove(place) else { return };
        self.by_age.remove(&(at, *place));
        uncount(&mut self.addresses, &place.1);
        uncount(&mut self.hosts, &Host::of(&place.1));
    }

    fn forget_before(&mut self, moment: Now) {
        while let Some((at, place)) = self.by_age.first().copied() {
            if at.reached(moment) {
                break;
            }
            self.remove(&place);
        }
    }

    fn held_bytes(&self) -> usize {
        Self::held_bytes_at(self.at.len(), self.addresses.len(), self.hosts.len())
    }

    const fn held_bytes_at(places: usize, addresses: usize, hosts: usize) -> usize {
        held_by::<Place, Now>(places)
            + held_by::<(Now, Place), ()>(places)
            + held_by::<SocketAddr, u32>(addresses)
            + held_by::<Host, u32>(hosts)
    }
}

fn uncount<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
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
        assert!(pings.pong(START, place(8).1, (&answer(&ping), false)).is_err());
        assert!(pings.pong(START, place(9).1, (&answer(&ping), false)).is_ok());
        assert!(pings.pong(START, place(9).1, (&answer(&ping), false)).is_err(), "a ping is answered once");
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
            assert_eq!(pings.pong(now, place(9).1, (&answer(&ping), false)).is_ok(), good, "{later} s");
        }
        let mut pings = pings();
        let ping = pings.meet(START, place(9)).ping.expect("first meeting");
        pings.meet(START.after(Duration::from_secs(61)), place(1));
        pings.meet(START.after(Duration::from_secs(122)), place(2));
        assert!(pings.pong(START.after(Duration::from_secs(123)), place(9).1, (&answer(&ping), false)).is_err());
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
        assert!(pings.pong(START, place(0).1, (&answer(&first), false)).is_err());
    }

    fn at(host: u32, port: u16) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0000 + host), port))
    }

    fn node(number: u32) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Pubkey::new_from_array(bytes)
    }

    #[test]
    fn an_address_that_others_name_is_pinged_a_few_times_in_whatever_names() {
        let mut pings = pings();
        let mut heard = |seconds: u64, address| {
            let now = START.after(Duration::from_secs(seconds));
            (0..1_000).filter(|number| pings.hear_of(now, (node(*number), address), false).ping.is_some()).count()
        };
        assert_eq!(heard(0, at(1, 1)), 8);
        assert_eq!(heard(60, at(1, 1)), 8);
        let ports: usize = (0..1_000).map(|port| heard(120, at(2, port))).sum();
        assert_eq!(ports, 64, "all ports of a host share its limit");
        assert_eq!(heard(180, at(3, 1)), 8, "and other hosts do not");
    }

    #[test]
    fn naming_an_address_in_other_names_keeps_nobody_away() {
        let mut pings = pings();
        for number in 0..1_000 {
            pings.hear_of(START, (node(number), at(1, 1)), false);
        }
        assert!(pings.hear_of(START, (node(5_000), at(1, 1)), false).ping.is_none());
        assert!(pings.hear_of(START, (node(5_001), at(1, 1)), true).ping.is_some(), "it has stake");
        assert!(pings.meet(START, (node(5_002), at(1, 1))).ping.is_some(), "it called by itself");
    }

    /// Proves a place, if it may be.
    fn prove(pings: &mut Pings, number: u32, address: SocketAddr, staked: bool) -> Result<(), PongError> {
        let signer = Identity::new(Keypair::new_from_array({
            let mut secret = [7; 32];
            secret[..4].copy_from_slice(&number.to_le_bytes());
            secret
        }));
        let ping = pings.meet(START, (signer.identity(), address)).ping.expect("first meeting");
        pings.pong(START, address, (&Pong::answer(&ping.token, &signer), staked))
    }

    #[test]
    fn one_host_proves_so_many_nodes_without_stake_and_no_more() {
        let mut pings = pings();
        for number in 0..HOST_PROVEN_MAX {
            assert_eq!(prove(&mut pings, number, at(1, 1), false), Ok(()));
        }
        assert_eq!(prove(&mut pings, 5_000, at(1, 2), false), Err(PongError::HostFull));
        assert_eq!(prove(&mut pings, 5_001, at(1, 2), true), Ok(()));
        assert_eq!(prove(&mut pings, 5_002, at(2, 2), false), Ok(()));
        let later = START.after(PROOF_LASTS + Duration::from_secs(1));
        pings.forget_old(later);
        assert_eq!((pings.proven_len(), pings.proven.on_host(&Host::of(&at(1, 1)))), (0, 0));
        assert!(pings.proven.addresses.is_empty());
    }

    #[test]
    fn full_proofs_forget_the_oldest_and_hold_no_more_than_stated() {
        let mut proofs = Proofs::new(100);
        for number in 0..250u32 {
            let now = START.after(Duration::from_secs(u64::from(number)));
            proofs.add(now, (node(number), at(number, 1)));
        }
        assert_eq!((proofs.at.len(), proofs.addresses.len(), proofs.hosts.len()), (100, 100, 100));
        assert!(proofs.at(&(node(149), at(149, 1))).is_none());
        assert!(proofs.at(&(node(150), at(150, 1))).is_some());
        assert!(proofs.held_bytes() <= Proofs::held_bytes_at(100, 100, 100));
    }
}

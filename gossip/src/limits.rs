//! How much of what comes in is looked at: by address, by identity and by origin.
//!
//! Three sorts of senders are told apart. Who has proven its address, or was asked for an answer, has a bucket of
//! its own. Who was pinged, and may be about to prove it, has a small one. All others are strangers. The addresses of
//! both may be forged, for a forged request is enough to be pinged; so all that were pinged share one more bucket, and
//! all strangers another: no number of forged addresses takes the place of known peers, and who is pinged does not
//! compete with those that nobody answered.
//!
//! Nobody is punished for what a datagram turns out to be, say one with a bad signature: whoever can forge an address
//! could have honest peers sent away with it. Who sends much is limited, whatever it sends; and of known peers those
//! that bring nothing new in time are asked to stop ([`crate::push::received`]).

use crate::{
    metrics::DropReason,
    recent::{Recent, before, held_by},
    wire::{PACKET_BYTES, value::Kind},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use sundog_types::{Now, Pubkey};

/// So many a second on average, and so many at once after a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a second on average.
    pub per_second: u32,
    /// How many at once.
    pub burst: u32,
}

impl Rate {
    /// A rate.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }

    /// A part of it: one in so many on average, and of the burst.
    #[must_use]
    pub const fn part(self, of_rate: u32, of_burst: u32) -> Self {
        Self { per_second: self.per_second / of_rate, burst: self.burst / of_burst }
    }

    /// Nanoseconds that so many uses take up.
    fn cost(self, uses: u32) -> u64 {
        u64::from(uses) * 1_000_000_000 / u64::from(self.per_second.max(1))
    }

    /// Nanoseconds that all uses of a burst take up.
    fn whole(self) -> u64 {
        self.cost(self.burst)
    }
}

/// Limits of what gossip takes in. The defaults are several times what an honest node of a cluster of 10,000 sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketLimits {
    /// Datagrams from one proven host. A peer that passes every vote of 2,000 voters on to us alone sends about
    /// 1,500 a second.
    pub of_peer: Rate,
    /// Datagrams from one host that has not proven its address.
    pub of_stranger: Rate,
    /// Datagrams from all such hosts together, by length: a full one counts as ten ([`checks_of`]). So many from those
    /// that were pinged lately, and as many from others; each sort can cost half a core of signature checks.
    pub of_strangers: Rate,
    /// Datagrams from everybody: what the signature checks of a few cores can take.
    pub of_all: Rate,
    /// Pings from one host that are answered. An honest node asks once in 20 s at most.
    pub pings_of_host: Rate,
    /// Pings from all strangers that are answered; each costs a signature.
    pub pings_of_strangers: Rate,
    /// Pings from all proven hosts that are answered.
    pub pings_of_peers: Rate,
    /// Pull requests of one proven node that are answered. Agave asks 16 times a second if there is nobody else.
    pub pulls_of_peer: Rate,
    /// Prune messages of one node: of 10,000 origins at once, 32 in each.
    pub prunes_of_peer: Rate,
    /// Contact infos of unknown nodes from one proven host for which somebody is pinged.
    pub introductions_of_peer: Rate,
    /// Such contact infos from all strangers together.
    pub introductions_of_strangers: Rate,
    /// Votes of one node that are news. With slots of 400 ms an honest one casts 2.5 a second.
    pub votes_of_origin: Rate,
    /// Epoch slots of one node that are news: 5 a second, and a full ring at once when pulled.
    pub epoch_slots_of_origin: Rate,
    /// Chunks of duplicate proofs of one node that are news: a full ring at once when pulled.
    pub duplicates_of_origin: Rate,
    /// Values of each other kind of one node that are news: some are told in every round of 100 ms.
    pub others_of_origin: Rate,
}

impl Default for PacketLimits {
    fn default() -> Self {
        Self {
            of_peer: Rate::new(4_096, 1_024),
            of_stranger: Rate::new(128, 128),
            of_strangers: Rate::new(4_096, 2_048),
            of_all: Rate::new(65_536, 16_384),
            pings_of_host: Rate::new(16, 64),
            pings_of_strangers: Rate::new(1_024, 4_096),
            pings_of_peers: Rate::new(1_024, 4_096),
            pulls_of_peer: Rate::new(64, 128),
            prunes_of_peer: Rate::new(64, 512),
            introductions_of_peer: Rate::new(128, 256),
            introductions_of_strangers: Rate::new(128, 256),
            votes_of_origin: Rate::new(64, 128),
            epoch_slots_of_origin: Rate::new(16, 512),
            duplicates_of_origin: Rate::new(64, 1_024),
            others_of_origin: Rate::new(16, 32),
        }
    }
}

/// Who is behind an address as far as limits go: a host.
///
/// An address of IPv4 whatever the port, because ports cost nothing; 64 bits of one of IPv6, because that is what
/// anybody gets; and on this machine an address and a port, because localnets have all their nodes on one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(SocketAddr);

impl Host {
    /// The host of an address.
    #[must_use]
    pub const fn of(address: &SocketAddr) -> Self {
        let ip = address.ip().to_canonical();
        if ip.is_loopback() {
            return Self(SocketAddr::new(ip, address.port()));
        }
        let ip = match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !(u64::MAX as u128))),
        };
        Self(SocketAddr::new(ip, 0))
    }
}

/// What one sender has used up. A new one is full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// When it is full again, in nanoseconds of the monotonic axis.
    full_at: u64,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub const fn new() -> Self {
        Self { full_at: 0 }
    }

    /// Takes one use; whether there was one.
    pub fn take(&mut self, now: Now, rate: Rate) -> bool {
        self.take_many(now, rate, 1)
    }

    /// Takes so many uses at once; whether there were so many.
    pub fn take_many(&mut self, now: Now, rate: Rate, uses: u32) -> bool {
        let left = self.has(now, rate, uses);
        if left {
            self.full_at = nanos(now).saturating_add(self.used_after(now, rate, uses));
        }
        left
    }

    /// Whether there are so many uses.
    #[must_use]
    pub fn has(&self, now: Now, rate: Rate, uses: u32) -> bool {
        rate.per_second > 0 && self.used_after(now, rate, uses) <= rate.whole()
    }

    /// How many uses there are.
    #[must_use]
    pub fn left(&self, now: Now, rate: Rate) -> u64 {
        rate.whole().saturating_sub(self.used_after(now, rate, 0)) / rate.cost(1).max(1)
    }

    fn used_after(&self, now: Now, rate: Rate, uses: u32) -> u64 {
        self.full_at.saturating_sub(nanos(now)).saturating_add(rate.cost(uses))
    }

    const fn is_full(self, now: Now) -> bool {
        self.full_at <= nanos(now)
    }
}

const fn nanos(now: Now) -> u64 {
    now.mono_us.saturating_mul(1_000)
}

/// How seldom a full table of buckets is searched for those that are full again.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A bucket for each key, in bounded space. When the table is full, keys whose buckets are full again lose their
/// places; without such, newcomers share one bucket.
#[derive(Clone, Debug)]
pub struct Buckets<K> {
    capacity: usize,
    used: BTreeMap<K, Bucket>,
    others: Bucket,
    swept: Option<Now>,
}

impl<K: Ord + Copy> Buckets<K> {
    /// An empty table for so many keys.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, used: BTreeMap::new(), others: Bucket::new(), swept: None }
    }

    /// Takes one use of what the key has; whether there was any.
    pub fn take(&mut self, now: Now, key: K, rate: Rate) -> bool {
        self.take_many(now, key, (rate, 1))
    }

    /// Takes so many uses at once; whether there were so many.
    pub fn take_many(&mut self, now: Now, key: K, (rate, uses): (Rate, u32)) -> bool {
        if let Some(bucket) = self.used.get_mut(&key) {
            return bucket.take_many(now, rate, uses);
        }
        if !self.has_place(now) {
            return self.others.take_many(now, rate, uses);
        }
        self.used.entry(key).or_default().take_many(now, rate, uses)
    }

    /// How many uses the key has.
    #[must_use]
    pub fn left(&self, now: Now, key: &K, rate: Rate) -> u64 {
        let others = if self.used.len() >= self.capacity { self.others } else { Bucket::new() };
        self.used.get(key).copied().unwrap_or(others).left(now, rate)
    }

    fn has_place(&mut self, now: Now) -> bool {
        let due = self.swept.is_none_or(|at| now.since(at) >= SWEEP_EVERY);
        if self.used.len() >= self.capacity && due {
            self.swept = Some(now);
            self.used.retain(|_, bucket| !bucket.is_full(now));
        }
        self.used.len() < self.capacity
    }

    /// How many keys have a bucket.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether no key has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        Self::held_bytes_at(self.len())
    }

    /// Bytes that a table of so many keys holds, at most.
    #[must_use]
    pub const fn held_bytes_at(keys: usize) -> usize {
        held_by::<K, Bucket>(keys)
    }
}

/// Hosts with a bucket in each table: more than a cluster of 10,000 has.
pub const HOSTS_MAX: usize = 16_384;

/// Origins and kinds with a bucket: all kinds of a full table's nodes. Only known nodes get one.
pub const ORIGIN_KINDS_MAX: usize = 65_536;

/// Addresses remembered as asked: those of half a minute at the fastest. Full: the oldest is forgotten, and its answer
/// counts as unasked.
pub const ASKED_MAX: usize = 4_096;

/// Addresses remembered as pinged. Full: the oldest is forgotten, and its pong counts among the strangers'.
pub const PINGED_MAX: usize = 16_384;

/// How long an answer or a pong is waited for.
const EXPECTED_FOR: Duration = Duration::from_secs(20);

/// Bytes of a ping or pong, which have one signature; values that are worth anything are hardly shorter.
const SIGNED_BYTES: usize = 132;

/// How many signatures a datagram of so many bytes may bring to be checked, as far as its length tells. What strangers
/// send is counted so, because a full datagram of small values costs ten times what a ping costs.
#[must_use]
pub fn checks_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(SIGNED_BYTES)).unwrap_or(u32::MAX).max(1)
}

/// What is known of a sender's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A node there answered a ping, or we asked there for values.
    Peer,
    /// We pinged it lately.
    Pinged,
    /// Nothing: the address may be forged.
    Stranger,
}

/// Where a datagram came from.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Its host.
    pub host: Host,
    /// What is known of the address.
    pub trust: Trust,
}

/// What has been used up of the limits.
pub struct Intake {
    limits: PacketLimits,
    all: Bucket,
    strangers: Bucket,
    pinged_all: Bucket,
    peers: Buckets<Host>,
    pinged_hosts: Buckets<Host>,
    unknown: Buckets<Host>,
    pings: Buckets<Host>,
    pings_of_strangers: Bucket,
    pings_of_peers: Bucket,
    introductions: Buckets<Host>,
    introductions_of_strangers: Bucket,
    pulls: Buckets<Pubkey>,
    prunes: Buckets<Pubkey>,
    values: Buckets<(Pubkey, Kind)>,
    asked: Recent<SocketAddr, ()>,
    pinged: Recent<SocketAddr, ()>,
}

impl Intake {
    /// Nothing used up.
    #[must_use]
    pub fn new(limits: PacketLimits) -> Self {
        Self {
            limits,
            all: Bucket::default(),
            strangers: Bucket::default(),
            pinged_all: Bucket::default(),
            peers: Buckets::new(HOSTS_MAX),
            pinged_hosts: Buckets::new(HOSTS_MAX),
            unknown: Buckets::new(HOSTS_MAX),
            pings: Buckets::new(HOSTS_MAX),
            pings_of_strangers: Bucket::default(),
            pings_of_peers: Bucket::default(),
            introductions: Buckets::new(HOSTS_MAX),
            introductions_of_strangers: Bucket::default(),
            pulls: Buckets::new(HOSTS_MAX),
            prunes: Buckets::new(HOSTS_MAX),
            values: Buckets::new(ORIGIN_KINDS_MAX),
            asked: Recent::new(ASKED_MAX),
            pinged: Recent::new(PINGED_MAX),
        }
    }

    /// Whether a datagram of so many bytes is looked at.
    ///
    /// # Errors
    /// [`DropReason::Undecodable`] when it is longer than any datagram of the protocol, [`DropReason::AddressRate`],
    /// [`DropReason::StrangerRate`] or [`DropReason::PacketRate`] when the host, all strangers or everybody sent too
    /// much.
    pub fn accept(&mut self, now: Now, sender: Sender, bytes: usize) -> Result<(), DropReason> {
        if bytes > PACKET_BYTES {
            return Err(DropReason::Undecodable);
        }
        let limits = &self.limits;
        let (own, rate) = match sender.trust {
            Trust::Peer => (&mut self.peers, limits.of_peer),
            Trust::Pinged => (&mut self.pinged_hosts, limits.of_stranger),
            Trust::Stranger => (&mut self.unknown, limits.of_stranger),
        };
        if !own.take(now, sender.host, rate) {
            return Err(DropReason::AddressRate);
        }
        let shared = match sender.trust {
            Trust::Peer => None,
            Trust::Pinged => Some(&mut self.pinged_all),
            Trust::Stranger => Some(&mut self.strangers),
        };
        let checks = checks_of(bytes).min(limits.of_strangers.burst.max(1));
        if shared.is_some_and(|shared| !shared.take_many(now, limits.of_strangers, checks)) {
            return Err(DropReason::StrangerRate);
        }
        if self.all.take(now, limits.of_all) { Ok(()) } else { Err(DropReason::PacketRate) }
    }

    /// Whether a ping is answered.
    pub fn answers_ping(&mut self, now: Now, sender: Sender) -> bool {
        let (shared, rate) = match sender.trust {
            Trust::Peer => (&mut self.pings_of_peers, self.limits.pings_of_peers),
            Trust::Pinged | Trust::Stranger => (&mut self.pings_of_strangers, self.limits.pings_of_strangers),
        };
        self.pings.take(now, sender.host, self.limits.pings_of_host) && shared.take(now, rate)
    }

    /// Whether somebody is pinged because this sender named an address.
    pub fn heeds_introduction(&mut self, now: Now, sender: Sender) -> bool {
        match sender.trust {
            Trust::Peer => self.introductions.take(now, sender.host, self.limits.introductions_of_peer),
            Trust::Pinged | Trust::Stranger => {
                self.introductions_of_strangers.take(now, self.limits.introductions_of_strangers)
            }
        }
    }

    /// Whether a pull request of a node that has proven its address is answered.
    pub fn answers_pull(&mut self, now: Now, caller: Pubkey) -> bool {
        self.pulls.take(now, caller, self.limits.pulls_of_peer)
    }

    /// Whether a prune message of this node is looked at.
    pub fn heeds_prune(&mut self, now: Now, peer: Pubkey) -> bool {
        self.prunes.take(now, peer, self.limits.prunes_of_peer)
    }

    /// Whether one more piece of news of this kind is taken from a known node.
    pub fn takes_value(&mut self, now: Now, origin: Pubkey, kind: Kind) -> bool {
        let rate = match kind {
            Kind::Vote => self.limits.votes_of_origin,
            Kind::EpochSlots => self.limits.epoch_slots_of_origin,
            Kind::DuplicateShred => self.limits.duplicates_of_origin,
            _ => self.limits.others_of_origin,
        };
        self.values.take(now, (origin, kind), rate)
    }

    /// Notes that values were asked for at an address.
    pub fn note_asked(&mut self, now: Now, address: SocketAddr) {
        self.asked.note(now, address, ());
    }

    /// Notes that an address was pinged.
    pub fn note_pinged(&mut self, now: Now, address: SocketAddr) {
        self.pinged.note(now, address, ());
    }

    /// Whether values were asked for at this address lately.
    #[must_use]
    pub fn was_asked(&self, now: Now, address: &SocketAddr) -> bool {
        self.asked.get(address).is_some_and(|(at, ())| now.since(at) < EXPECTED_FOR)
    }

    /// Whether this address was pinged lately.
    #[must_use]
    pub fn was_pinged(&self, now: Now, address: &SocketAddr) -> bool {
        self.pinged.get(address).is_some_and(|(at, ())| now.since(at) < EXPECTED_FOR)
    }

    /// Forgets whom nothing is expected from any more.
    pub fn forget_old(&mut self, now: Now) {
        self.asked.forget_before(before(now, EXPECTED_FOR));
        self.pinged.forget_before(before(now, EXPECTED_FOR));
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let hosts = [&self.peers, &self.pinged_hosts, &self.unknown, &self.pings, &self.introductions];
        hosts.map(Buckets::held_bytes).iter().sum::<usize>()
            + self.pulls.held_bytes()
            + self.prunes.held_bytes()
            + self.values.held_bytes()
            + self.asked.held_bytes()
            + self.pinged.held_bytes()
    }
}

/// What [`Intake::held_bytes`] never exceeds.
pub const INTAKE_BYTES_MAX: usize = 5 * Buckets::<Host>::held_bytes_at(HOSTS_MAX)
    + 2 * Buckets::<Pubkey>::held_bytes_at(HOSTS_MAX)
    + Buckets::<(Pubkey, Kind)>::held_bytes_at(ORIGIN_KINDS_MAX)
    + Recent::<SocketAddr, ()>::held_bytes_at(ASKED_MAX)
    + Recent::<SocketAddr, ()>::held_bytes_at(PINGED_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now { mono_us: 0, unix_ms: 1_760_000_000_000 };
    const RATE: Rate = Rate::new(10, 3);

    fn address(number: u32, port: u16) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0000 + number), port))
    }

    fn sender(number: u32, trust: Trust) -> Sender {
        Sender { host: Host::of(&address(number, 1)), trust }
    }

    fn intake() -> Intake {
        Intake::new(PacketLimits::default())
    }

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let mut bucket = Bucket::default();
        assert_eq!((0..10).filter(|_| bucket.take(START, RATE)).count(), 3);
        let later = START.after(Duration::from_secs(1));
        assert!(bucket.is_full(later));
        let asked = (0..10_000).map(|ms| later.after(Duration::from_millis(ms)));
        let given = asked.filter(|now| bucket.take(*now, RATE)).count();
        assert!((100..=103).contains(&given), "{given} in ten seconds at ten a second");
        assert!(!Bucket::default().take(START, Rate::new(0, 9)), "a rate of nothing gives nothing");
    }

    #[test]
    fn a_full_table_never_grows_and_gives_the_places_of_the_silent_away() {
        let mut table = Buckets::new(50);
        let given = (0..1_000).filter(|key| table.take(START, *key, RATE)).count();
        assert_eq!((given, table.len()), (50 + 3, 50), "newcomers share one bucket");
        assert!(table.take(START.after(Duration::from_secs(1)), 2_000, RATE));
        assert_eq!(table.len(), 1, "everybody else was silent for long enough");
    }

    #[test]
    fn a_host_is_an_address_whatever_its_port_and_on_this_machine_a_port() {
        let host = |text: &str| Host::of(&text.parse().expect("an address"));
        assert_eq!(host("10.0.0.1:5"), host("10.0.0.1:6"));
        assert_eq!(host("10.0.0.1:5"), host("[::ffff:10.0.0.1]:6"));
        assert_ne!(host("10.0.0.1:5"), host("10.0.0.2:5"));
        assert_ne!(host("127.0.0.1:5"), host("127.0.0.1:6"));
        assert_eq!(host("[2001:db8::1]:5"), host("[2001:db8::ffff:1]:6"));
        assert_ne!(host("[2001:db8::1]:5"), host("[2001:db8:0:1::1]:5"));
    }

    #[test]
    fn no_number_of_forged_addresses_takes_the_place_of_a_known_peer() {
        let mut intake = intake();
        let forged = |number| sender(number, Trust::Stranger);
        let taken = (0..100_000).filter(|number| intake.accept(START, forged(*number), 100).is_ok()).count();
        assert_eq!((taken, intake.unknown.len()), (2_048, HOSTS_MAX));
        for trust in [Trust::Peer, Trust::Pinged] {
            assert_eq!(intake.accept(START, sender(5, trust), 100), Ok(()));
            assert_eq!(intake.accept(START, sender(200_000, trust), 100), Ok(()));
        }
    }

    #[test]
    fn full_datagrams_of_strangers_count_as_the_signatures_that_they_may_bring() {
        let stranger = |number| sender(number, Trust::Stranger);
        for (bytes, checks) in [(0, 1), (132, 1), (133, 2), (PACKET_BYTES, 10)] {
            assert_eq!(checks_of(bytes), checks, "{bytes} bytes");
            let mut intake = intake();
            let taken = (0..10_000).filter(|number| intake.accept(START, stranger(*number), bytes).is_ok()).count();
            assert_eq!(taken, 2_048 / checks as usize, "of {bytes} bytes");
        }
        let of_strangers = Rate::new(1, 1);
        let mut strict = Intake::new(PacketLimits { of_strangers, ..PacketLimits::default() });
        assert_eq!(strict.accept(START, stranger(1), PACKET_BYTES), Ok(()), "the least limit still lets some through");
    }

    #[test]
    fn no_number_of_forged_addresses_that_were_pinged_takes_the_place_of_a_known_peer() {
        let mut intake = intake();
        let forged = |number| sender(number, Trust::Pinged);
        let taken = (0..100_000).filter(|number| intake.accept(START, forged(*number), 100).is_ok()).count();
        assert_eq!(taken, 2_048);
        for trust in [Trust::Peer, Trust::Stranger] {
            assert_eq!(intake.accept(START, sender(5, trust), 100), Ok(()));
        }
    }

    #[test]
    fn one_host_alone_reaches_its_own_limit_first() {
        for (trust, burst) in [(Trust::Peer, 1_024), (Trust::Pinged, 128), (Trust::Stranger, 128)] {
            let mut intake = intake();
            let taken = (0..5_000).filter(|_| intake.accept(START, sender(1, trust), 1).is_ok()).count();
            assert_eq!(taken, burst, "{trust:?}");
            assert_eq!(intake.accept(START, sender(1, trust), 1), Err(DropReason::AddressRate));
            assert_eq!(intake.accept(START, sender(2, trust), 1), Ok(()));
        }
    }

    #[test]
    fn what_is_longer_than_a_datagram_is_not_looked_at() {
        let result = intake().accept(START, sender(1, Trust::Peer), PACKET_BYTES + 1);
        assert_eq!(result, Err(DropReason::Undecodable));
    }

    #[test]
    fn everything_full_is_within_the_stated_bytes() {
        let mut intake = intake();
        for number in 0..200_000_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            let node = Pubkey::new_from_array(bytes);
            for trust in [Trust::Peer, Trust::Pinged, Trust::Stranger] {
                let sender = sender(number, trust);
                let _ = intake.accept(START, sender, 1);
                intake.answers_ping(START, sender);
                intake.heeds_introduction(START, sender);
            }
            intake.answers_pull(START, node);
            intake.heeds_prune(START, node);
            intake.takes_value(START, node, Kind::Vote);
            intake.note_asked(START, address(number, 1));
            intake.note_pinged(START, address(number, 1));
        }
        assert_eq!(intake.held_bytes(), INTAKE_BYTES_MAX);
    }
}

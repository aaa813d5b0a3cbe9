//! A spy in gossip: it asks and listens from one UDP socket, has no stake, and says nothing but where it listens.
//!
//! ```text
//!   ip echo of an entrypoint (TCP) --> which chain, and how the world sees this machine
//!   one UDP socket <--> Gossip (the same machine as in a node), driven in the caller's thread
//! ```

use super::{clock::Clock, ip_echo};
use crate::node::VERSION;
use solana_keypair::Keypair;
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use sundog_gossip::{
    Contact, CrdsData, DropReason, Effect, Gossip, GossipConfig, Input, Trouble, config::ConfigError,
    registry::AddressSpace,
};
use sundog_types::{
    Machine as _, Now, Pubkey,
    peer::{Addresses, Version},
    sign::{Identity, Sign as _},
};

/// The largest datagram of the protocol (reference 1.1); room for one byte more shows the oversized ones.
const DATAGRAM_BYTES_MAX: usize = 1_232;
/// Answers to pulls come in bursts; a full buffer loses them.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// A node that is silent for longer than this leaves the list.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// Nodes of which votes are counted: as many as gossip keeps. Votes of further nodes are not counted.
const VOTERS_MAX: usize = sundog_gossip::table::ORIGINS_MAX;
/// Hashes that pull filters are made for at least, on a public cluster: other clients refuse less (reference 6.6).
const PUBLIC_PULL_ITEMS_MIN: usize = 65_536;

/// Why a spy cannot join.
#[derive(Debug, thiserror::Error)]
pub enum SpyError {
    /// There is nobody to ask.
    #[error("no entrypoint is given; name the gossip address of a node")]
    NoEntrypoint,
    /// The system gives no socket.
    #[error("no UDP socket on {ip}: {source}; free some sockets or allow more of them")]
    Socket {
        /// Where it was asked for.
        ip: IpAddr,
        /// What the system says.
        source: io::Error,
    },
    /// An entrypoint cannot be reached from here at all.
    #[error("{entrypoint} cannot be reached from here: {source}; check the address and this machine's network")]
    Route {
        /// The entrypoint.
        entrypoint: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The gossip settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A node as gossip shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its identity.
    pub identity: Pubkey,
    /// Where it listens, as far as it can be reached from here.
    pub addresses: Addresses,
    /// Its software.
    pub version: Version,
    /// Which chain it is on.
    pub shred_version: u16,
    /// When it started, in microseconds since the Unix epoch.
    pub outset_us: u64,
    /// How long ago something signed by it arrived.
    pub seen_ago: Duration,
    /// Votes heard from it.
    pub votes: u64,
    /// The newest slot it voted for.
    pub last_vote: Option<u64>,
}

impl Sighting {
    /// Whether the node takes no part in the chain: it takes no shreds, or is on no chain.
    #[must_use]
    pub const fn is_spy(&self) -> bool {
        self.shred_version == 0 || (self.addresses.tvu.is_none() && self.addresses.tvu_quic.is_none())
    }
}

/// A gossip machine with its socket.
pub struct Spy {
    socket: UdpSocket,
    clock: Clock,
    gossip: Gossip,
    space: AddressSpace,
    identity: Pubkey,
    address: SocketAddr,
    echoed: bool,
    trouble: Option<Trouble>,
    votes: BTreeMap<Pubkey, u64>,
    effects: Vec<Effect>,
}

impl Spy {
    /// Binds a socket and asks the first entrypoint that answers which chain it is on; if none does, the chain is
    /// adopted from the first contact info. Nothing is sent in gossip before [`Self::listen`].
    ///
    /// # Errors
    /// If the system gives no socket, or knows no way to the first entrypoint.
    pub fn join(entrypoints: &[SocketAddr]) -> Result<Self, SpyError> {
        let first = *entrypoints.first().ok_or(SpyError::NoEntrypoint)?;
        let local = is_local(first.ip());
        let (socket, mut address) = bind(first)?;
        let answer = entrypoints.iter().find_map(|entrypoint| ask(*entrypoint));
        let shred_version = answer.and_then(|(_, version)| version).unwrap_or(0);
        if let Some((ip, _)) = answer.filter(|(ip, _)| !is_local(*ip)) {
            address.set_ip(ip);
        }
        let clock = Clock::start();
        let now = clock.now();
        let addresses = Addresses { gossip: Some(address), ..Addresses::default() };
        let mut config = GossipConfig::new(
            shred_version,
            Contact { addresses, version: VERSION, outset_us: now.unix_ms.saturating_mul(1_000) },
        );
        config.entrypoints = entrypoints.to_vec();
        config.allow_private = local;
        config.limits.staked_lasts = SILENT_MAX;
        if !local {
            config.pull_items_min = PUBLIC_PULL_ITEMS_MIN;
        }
        let signer = Arc::new(Identity::new(Keypair::new()));
        let identity = signer.identity();
        // A fresh Ed25519 secret is 32 bytes from the system's generator.
        let seed = Keypair::new().to_bytes()[..32].try_into().expect("32 of 64 bytes");
        Ok(Self {
            socket,
            clock,
            gossip: Gossip::new(config, signer, seed, now)?,
            space: if local { AddressSpace::Private } else { AddressSpace::Public },
            identity,
            address,
            echoed: answer.is_some(),
            trouble: None,
            votes: BTreeMap::new(),
            effects: Vec::new(),
        })
    }

    /// Takes part in gossip for so long.
    pub fn listen(&mut self, how_long: Duration) {
        let end = self.clock.now().after(how_long);
        // One byte more than the largest datagram.
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        loop {
            let now = self.clock.now();
            let due = self.gossip.poll_timeout();
            if due.is_some_and(|due| now.reached(due)) {
                self.gossip.handle_timeout(now, &mut self.effects);
                self.carry_out();
            }
            if now.reached(end) {
                return;
            }
            let wait = due.map_or(end, |due| due.min(end)).since(now);
            // The system's clock of sockets is coarse, and zero would mean for ever.
            let _ = self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))));
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => self.take(from, &buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // What the network says of earlier datagrams; a node that does not answer shows by itself.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn take(&mut self, from: SocketAddr, bytes: &[u8]) {
        let now = self.clock.now();
        // It counts what it refuses.
        if self.gossip.accept(now, from, bytes.len()).is_err() {
            return;
        }
        match sundog_gossip::check(bytes) {
            Ok(packet) => {
                self.gossip.handle(now, Input::Packet { from, packet }, &mut self.effects);
                self.carry_out();
            }
            Err(why) => self.gossip.metrics_mut().drop_one(why),
        }
    }

    fn carry_out(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                // A full socket buffer drops it, as the network may.
                Effect::Send { to, bytes } => drop(self.socket.send_to(&bytes, to)),
                Effect::Vote { from, .. } if self.votes.len() < VOTERS_MAX || self.votes.contains_key(&from) => {
                    *self.votes.entry(from).or_default() += 1;
                }
                Effect::Trouble(Trouble::EntrypointsSilent { .. }) => {}
                Effect::Trouble(trouble) => self.trouble = Some(trouble),
                _ => {}
            }
        }
    }

    /// Who is there, by identity; this spy left out. Who fell silent is left out after a minute.
    #[must_use]
    pub fn sightings(&self) -> Vec<Sighting> {
        let now = self.clock.now();
        let others = self.gossip.table().origins().filter(|node| **node != self.identity);
        others.filter_map(|node| self.sighting(now, node)).collect()
    }

    fn sighting(&self, now: Now, node: &Pubkey) -> Option<Sighting> {
        let table = self.gossip.table();
        let contact = table.contact(node)?;
        let voted = table.values_of(node).filter_map(|(_, filed)| match filed.value.data() {
            CrdsData::Vote(_, vote) => vote.slot(),
            _ => None,
        });
        Some(Sighting {
            identity: *node,
            addresses: contact.sockets_if(|address| self.space.allows(address)),
            version: contact.version,
            shred_version: contact.shred_version,
            outset_us: contact.outset,
            seen_ago: table.seen(node).map_or(Duration::ZERO, |seen| now.since(seen)),
            last_vote: voted.max(),
            votes: self.votes.get(node).copied().unwrap_or(0),
        })
    }

    /// This spy's identity, made for the occasion.
    #[must_use]
    pub const fn identity(&self) -> Pubkey {
        self.identity
    }

    /// Where this spy says that it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The chain that is listened to; 0 while none is known.
    #[must_use]
    pub const fn shred_version(&self) -> u16 {
        self.gossip.shred_version()
    }

    /// Whether only nodes at public addresses are seen.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.space == AddressSpace::Public
    }

    /// What keeps this machine apart from others, if anything is known: its clock, or its chain.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// What is known about why nobody is seen: a sentence for people.
    #[must_use]
    pub fn silence(&self) -> String {
        if let Some(trouble) = &self.trouble {
            return trouble.to_string();
        }
        let metrics = self.gossip.metrics();
        let most = DropReason::ALL.iter().map(|why| (metrics.dropped(*why), why.name())).max();
        match (metrics.packets, most) {
            (0, Some((0, _)) | None) if self.echoed => {
                "its TCP port answers but nothing came over UDP; let UDP through between this machine and it".to_owned()
            }
            (0, Some((0, _)) | None) => {
                "check that a node runs there, that this is its gossip address, and that UDP gets through".to_owned()
            }
            (_, Some((count, why))) if count > 0 => {
                format!(
                    "datagrams came but nothing of use in them, most of them dropped as {why}; try another entrypoint"
                )
            }
            _ => "it answers but tells of nobody yet; give it more time".to_owned(),
        }
    }
}

/// A socket that reaches `first`, and the address that others see it at if nothing is between.
fn bind(first: SocketAddr) -> Result<(UdpSocket, SocketAddr), SpyError> {
    let unspecified: IpAddr = if first.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let fails = |ip| move |source| SpyError::Socket { ip, source };
    // Connecting sends nothing; it asks the system for the way.
    let way = UdpSocket::bind((unspecified, 0)).map_err(fails(unspecified))?;
    let connected = way.connect(first).and_then(|()| way.local_addr());
    let ip = connected.map_err(|source| SpyError::Route { entrypoint: first, source })?.ip();
    let at = if ip.is_loopback() { ip } else { unspecified };
    let socket = UdpSocket::bind((at, 0)).map_err(fails(at))?;
    let port = socket.local_addr().map_err(fails(at))?.port();
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    Ok((socket, SocketAddr::new(ip, port)))
}

/// How an entrypoint sees this machine, and which chain it is on.
fn ask(entrypoint: SocketAddr) -> Option<(IpAddr, Option<u16>)> {
    let answer = ip_echo::ask(entrypoint, &[], &[]).ok()?;
    Some((answer.public_ip, answer.shred_version))
}

/// Whether an address means something on this machine or in this house only.
#[must_use]
pub const fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread, time::Instant};

    fn somewhere() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = socket.local_addr().expect("bound");
        (socket, address)
    }

    #[test]
    fn two_spies_that_know_one_address_see_each_other_once_it_has_answered_a_ping() {
        let (_nobody, silent) = somewhere();
        let mut first = Spy::join(&[silent]).expect("a free port");
        let mut second = Spy::join(&[first.address()]).expect("a free port");
        let (one, two) = (first.identity(), second.identity());
        let deadline = Instant::now() + Duration::from_secs(30);
        let until_seen = move |spy: &mut Spy, wanted| {
            while Instant::now() < deadline && !spy.sightings().iter().any(|s| s.identity == wanted) {
                spy.listen(Duration::from_millis(20));
            }
            // The other may still need an answer.
            spy.listen(Duration::from_millis(500));
            spy.sightings().into_iter().map(|s| (s.identity, s.is_spy())).collect::<Vec<_>>()
        };
        let first = thread::spawn(move || until_seen(&mut first, two));
        assert_eq!(until_seen(&mut second, one), [(one, true)]);
        assert_eq!(first.join().expect("no panic"), [(two, true)]);
    }

    #[test]
    fn a_silent_entrypoint_is_explained() {
        let (_nobody, silent) = somewhere();
        let mut spy = Spy::join(&[silent]).expect("a free port");
        spy.listen(Duration::from_millis(300));
        assert!(spy.sightings().is_empty() && spy.silence().contains("UDP gets through"), "{}", spy.silence());
        assert!(matches!(Spy::join(&[]), Err(SpyError::NoEntrypoint)));
    }

    #[test]
    fn whatever_arrives_a_spy_goes_on() {
        let (nobody, silent) = somewhere();
        let mut spy = Spy::join(&[silent]).expect("a free port");
        for length in [0, 1, 40, DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX + 9] {
            nobody.send_to(&vec![7; length], spy.address()).expect("sent");
        }
        spy.listen(Duration::from_millis(300));
        assert!(spy.sightings().is_empty());
    }

    #[test]
    fn only_addresses_of_this_machine_or_house_are_local() {
        let local = |text: &str| is_local(text.parse().expect("an address"));
        assert!(["127.0.0.1", "10.1.2.3", "192.168.0.9", "172.16.0.1", "::1", "fd00::1"].into_iter().all(local));
        assert!(!["8.8.8.8", "2001:db8::1", "172.32.0.1"].into_iter().any(local));
    }
}

//! The ways into a cluster: entrypoints, and peers of an earlier life for when no entrypoint answers.
//!
//! An entrypoint is an address; who listens there is learned by asking it. It is asked at once and often at first,
//! then ever more seldom. It is asked anew when its node falls silent, moves away, or another one answers there.

use crate::{
    config::{GossipConfig, KnownPeer},
    table::Table,
    wire::contact::ContactInfo,
};
use std::{net::SocketAddr, time::Duration};
use sundog_types::{Now, Pubkey};

/// Known peers kept, the first ones of those given: enough that some still live where they were.
pub const KNOWN_MAX: usize = 512;

/// At first an entrypoint is asked this often,
const ASK_FIRST: Duration = Duration::from_millis(200);
/// so many times,
const ASK_EAGER: u32 = 25;
/// and then ever more seldom, down to this (the reference's figure).
const ASK_LAST: Duration = Duration::from_millis(7_500);

/// A node is asked anew when nothing was heard of it for so long: it speaks each 7.5 s, and news may get lost.
const SILENT_AFTER: Duration = Duration::from_secs(20);

/// How long entrypoints may take to answer before known peers are asked too.
const KNOWN_AFTER: Duration = Duration::from_secs(2);
/// Known peers asked at a time.
const KNOWN_AT_ONCE: usize = 4;

/// An address whose node is learned by asking it.
#[derive(Clone, Copy, Debug)]
struct Entrypoint {
    address: SocketAddr,
    /// Who it is, once known.
    identity: Option<Pubkey>,
    asked: u32,
    next: Now,
    pinged: Option<Now>,
}

impl Entrypoint {
    /// Whether to ask it now; counts the asking.
    fn ask(&mut self, now: Now) -> bool {
        if self.identity.is_some() || !now.reached(self.next) {
            return false;
        }
        self.next = now.after(back_off(self.asked.saturating_sub(ASK_EAGER)));
        self.asked += 1;
        true
    }

    fn forget(&mut self, now: Now) {
        self.identity = None;
        self.asked = 0;
        self.next = now;
    }
}

fn back_off(doublings: u32) -> Duration {
    ASK_FIRST.saturating_mul(1 << doublings.min(10)).min(ASK_LAST)
}

/// Whom to ask when nobody else is known.
pub struct Entrypoints {
    entrypoints: Vec<Entrypoint>,
    known: Vec<KnownPeer>,
    /// The next known peer to ask, counted over all passes.
    turn: usize,
    known_next: Now,
    /// Since when no entrypoint's node is known.
    silent_since: Option<Now>,
}

impl Entrypoints {
    /// Those of the settings, but ourselves.
    #[must_use]
    pub fn new(config: &GossipConfig, me: &Pubkey, now: Now) -> Self {
        let own = config.contact.addresses.gossip;
        let mut entrypoints: Vec<Entrypoint> = Vec::new();
        for address in &config.entrypoints {
            if Some(*address) != own && entrypoints.iter().all(|e| e.address != *address) {
                entrypoints.push(Entrypoint { address: *address, identity: None, asked: 0, next: now, pinged: None });
            }
        }
        let known = config.known.iter().filter(|peer| peer.identity != *me && Some(peer.gossip) != own);
        let known: Vec<KnownPeer> = known.copied().take(KNOWN_MAX).collect();
        Self { entrypoints, known, turn: 0, known_next: now, silent_since: Some(now) }
    }

    /// Addresses to ask now; counts the asking. `alone`: nobody else is known.
    pub fn due(&mut self, now: Now, alone: bool) -> Vec<SocketAddr> {
        let mut due: Vec<SocketAddr> = Vec::new();
        due.extend(self.entrypoints.iter_mut().filter_map(|e| e.ask(now).then_some(e.address)));
        let silent = self.silent_for(now);
        let known_too = self.entrypoints.is_empty() || silent.is_some_and(|silent| silent >= KNOWN_AFTER);
        if known_too && !self.known.is_empty() && now.reached(self.known_next) {
            // Whoever is alone goes through the whole list fast; otherwise one now and then, because two halves of a
            // cluster may not know of each other.
            let count = if alone { KNOWN_AT_ONCE.min(self.known.len()) } else { 1 };
            let passes = u32::try_from(self.turn / self.known.len()).unwrap_or(u32::MAX);
            self.known_next = now.after(if alone { back_off(passes) } else { ASK_LAST });
            for _ in 0..count {
                due.push(self.known[self.turn % self.known.len()].gossip);
                self.turn = self.turn.wrapping_add(1);
            }
        }
        due
    }

    /// An address pinged us, which an entrypoint does in place of an answer. Whether to ask it again at once; nobody can
    /// make us do that more often than we would ask by ourselves.
    pub fn ask_after_ping(&mut self, now: Now, from: SocketAddr) -> bool {
        self.entrypoints.iter_mut().any(|entrypoint| {
            let soon = entrypoint.pinged.is_some_and(|at| now.since(at) < ASK_FIRST);
            if entrypoint.address != from || soon || entrypoint.identity.is_some() {
                return false;
            }
            entrypoint.pinged = Some(now);
            true
        })
    }

    /// A contact info was taken in. Whether it is that of an entrypoint.
    pub fn meet(&mut self, contact: &ContactInfo) -> bool {
        let address = contact.gossip();
        let mut met = false;
        for entrypoint in self.entrypoints.iter_mut().filter(|e| Some(e.address) == address) {
            entrypoint.identity = Some(contact.pubkey);
            met = true;
        }
        if met {
            self.silent_since = None;
        }
        met
    }

    /// Whether an entrypoint has this address.
    #[must_use]
    pub fn has(&self, address: SocketAddr) -> bool {
        self.entrypoints.iter().any(|e| e.address == address)
    }

    /// Whether this node is an entrypoint.
    #[must_use]
    pub fn is(&self, node: &Pubkey) -> bool {
        self.entrypoints.iter().any(|e| e.identity == Some(*node))
    }

    /// Forgets who listens where: those that were not heard of for a while, or that listen elsewhere now.
    pub fn forget_silent(&mut self, now: Now, table: &Table) {
        for entrypoint in &mut self.entrypoints {
            let Some(node) = entrypoint.identity else { continue };
            let there = table.contact(&node).is_some_and(|contact| contact.gossip() == Some(entrypoint.address));
            let heard = table.seen(&node).is_some_and(|seen| now.since(seen) < SILENT_AFTER);
            if !there || !heard {
                entrypoint.forget(now);
            }
        }
        if self.silent_since.is_none() && self.entrypoints.iter().all(|e| e.identity.is_none()) {
            self.silent_since = Some(now);
        }
    }

    /// How long no entrypoint has answered; `None` if one has, or there are none.
    #[must_use]
    pub fn silent_for(&self, now: Now) -> Option<Duration> {
        self.silent_since.filter(|_| !self.entrypoints.is_empty()).map(|since| now.since(since))
    }

    /// Whether known peers are there to be asked when entrypoints are silent: how many.
    #[must_use]
    pub fn known_len(&self) -> usize {
        self.known.len()
    }

    /// How many entrypoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entrypoints.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entrypoints.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Contact,
        table::Limits,
        wire::value::{CrdsData, CrdsValue},
    };
    use solana_keypair::Keypair;
    use sundog_types::{
        peer::Addresses,
        sign::{Identity, Sign as _},
    };

    const START: Now = Now { mono_us: 0, unix_ms: 1_760_000_000_000 };
    const ME: Pubkey = Pubkey::new_from_array([9; 32]);

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn entrypoints(ports: &[u16], known: &[u16]) -> Entrypoints {
        let mut config = GossipConfig::new(1, Contact::default());
        config.entrypoints = ports.iter().map(|port| at(*port)).collect();
        let peer = |port: &u16| KnownPeer { identity: Pubkey::new_from_array([1; 32]), gossip: at(*port) };
        config.known = known.iter().map(peer).collect();
        Entrypoints::new(&config, &ME, START)
    }

    /// The addresses asked in so many seconds, with the tenths of seconds since the start.
    fn asked(entrypoints: &mut Entrypoints, seconds: u64, alone: bool) -> Vec<(u64, u16)> {
        let tick = |tenth: u64| START.after(Duration::from_millis(100 * tenth));
        (0..seconds * 10)
            .flat_map(|tenth| entrypoints.due(tick(tenth), alone).into_iter().map(move |a| (tenth, a.port())))
            .collect()
    }

    fn contact(secret: u8, port: u16) -> (ContactInfo, CrdsValue) {
        let signer = Identity::new(Keypair::new_from_array([secret; 32]));
        let addresses = Addresses { gossip: Some(at(port)), ..Addresses::default() };
        let mut info = ContactInfo::new(signer.identity(), 1, 1, &addresses);
        info.wallclock = START.unix_ms + u64::from(port);
        let value = CrdsValue::sign(CrdsData::ContactInfo(Box::new(info.clone())), &signer);
        (info, value)
    }

    #[test]
    fn a_silent_entrypoint_is_asked_often_at_first_and_each_seven_and_a_half_seconds_at_last() {
        let mut one = entrypoints(&[1], &[]);
        let times: Vec<u64> = asked(&mut one, 60, true).into_iter().map(|(tenth, _)| tenth).collect();
        assert_eq!(times[..4], [0, 2, 4, 6]);
        assert_eq!(times[times.len() - 1] - times[times.len() - 2], 75);
    }

    #[test]
    fn known_peers_are_asked_at_once_without_entrypoints_and_after_two_seconds_of_their_silence() {
        let first = |mut entrypoints: Entrypoints| {
            asked(&mut entrypoints, 5, true).into_iter().find(|(_, port)| *port >= 10).map(|(tenth, _)| tenth)
        };
        assert_eq!(first(entrypoints(&[], &[10, 11])), Some(0));
        assert_eq!(first(entrypoints(&[1, 2], &[10, 11])), Some(20));
        let mut met = entrypoints(&[1, 2], &[10, 11]);
        assert!(met.meet(&contact(5, 2).0));
        assert_eq!(first(met), None, "one entrypoint is enough");
    }

    #[test]
    fn a_node_alone_goes_through_all_known_peers_and_one_in_company_asks_one_now_and_then() {
        let ports: Vec<u16> = (10..110).collect();
        let mut alone = entrypoints(&[], &ports);
        let met: Vec<u16> = asked(&mut alone, 5, true).into_iter().map(|(_, port)| port).take(100).collect();
        assert_eq!(met, ports);
        assert_eq!(asked(&mut entrypoints(&[], &ports), 60, false).len(), 8);
    }

    #[test]
    fn more_known_peers_than_the_capacity_are_left_out() {
        let ports: Vec<u16> = (10..2_000).collect();
        assert_eq!(entrypoints(&[], &ports).known_len(), KNOWN_MAX);
    }

    #[test]
    fn an_entrypoint_that_fell_silent_or_moved_is_asked_again() {
        let mut table = Table::new(ME, Limits::default());
        let mut one = entrypoints(&[1], &[]);
        let (info, value) = contact(5, 1);
        table.offer(START, value);
        assert!(one.meet(&info) && one.is(&info.pubkey));
        one.forget_silent(START, &table);
        assert!(one.due(START, false).is_empty(), "it answered");
        let later = START.after(SILENT_AFTER);
        one.forget_silent(later, &table);
        assert_eq!(one.due(later, false), [at(1)], "not heard of for long");

        one.meet(&info);
        table.offer(later, contact(5, 2).1);
        one.forget_silent(later, &table);
        assert_eq!(one.due(later.after(ASK_LAST), false), [at(1)], "it listens elsewhere, so who listens there?");
        one.meet(&contact(6, 1).0);
        assert!(one.is(&contact(6, 1).0.pubkey), "another node took the address over");
    }
}

//! Rules made ready to be asked for every packet.

use super::{
    Done, Fate,
    rules::{Flow, Rules, RulesError, Treatment},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use sundog_types::Pubkey;

const FLOWS: usize = Flow::ALL.len();
/// What waits longer than this for a line's rate is lost, as in a router's buffer.
const BACKLOG_MAX: Duration = Duration::from_secs(1);

/// Rules by address and by identity.
pub struct Table {
    order: u64,
    by_address: HashMap<SocketAddr, usize>,
    by_identity: HashMap<Pubkey, usize>,
    peers: Vec<Peer>,
}

struct Peer {
    unheard: [bool; FLOWS],
    outbound: [Option<Treatment>; FLOWS],
    /// When the line of each protocol has sent what was given to it.
    free: Mutex<[Option<Instant>; FLOWS]>,
}

impl Peer {
    fn cut(&self, flow: Flow) -> bool {
        self.unheard[flow as usize] || self.outbound[flow as usize].is_some_and(|treatment| treatment.block)
    }

    /// How long a packet waits for the rate of its line; `None`: too long.
    fn wait(&self, flow: Flow, (kbit, bytes): (u32, usize), now: Instant) -> Option<Duration> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = &mut free[flow as usize];
        let start = free.map_or(now, |free| free.max(now));
        let takes = Duration::from_micros((bytes as u64).saturating_mul(8_000) / u64::from(kbit.max(1)));
        let wait = (start + takes).saturating_duration_since(now);
        if start.saturating_duration_since(now) > BACKLOG_MAX {
            return None;
        }
        *free = Some(start + takes);
        Some(wait)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn by_chance(percent: f64) -> bool {
    percent > 0.0 && rand::random::<f64>() * 100.0 < percent
}

impl Table {
    /// The table of these rules. Of two rules for one address the later holds.
    pub fn new(rules: &Rules) -> Result<Self, RulesError> {
        rules.validate()?;
        let (mut by_address, mut by_identity, mut peers) = (HashMap::new(), HashMap::new(), Vec::new());
        for (place, peer) in rules.peers.iter().enumerate() {
            let identity: Pubkey = peer.identity.parse().map_err(|_| RulesError::Identity(peer.identity.clone()))?;
            by_identity.insert(identity, place);
            by_address.extend(peer.addresses.iter().map(|address| (canonical(*address), place)));
            peers.push(Peer {
                unheard: Flow::ALL.map(|flow| peer.unheard.contains(&flow)),
                outbound: Flow::ALL.map(|flow| peer.outbound.get(&flow).copied()),
                free: Mutex::default(),
            });
        }
        Ok(Self { order: rules.order, by_address, by_identity, peers })
    }

    pub fn order(&self) -> u64 {
        self.order
    }

    fn at(&self, address: SocketAddr) -> Option<&Peer> {
        self.peers.get(*self.by_address.get(&canonical(address))?)
    }

    pub fn hears(&self, flow: Flow, from: SocketAddr) -> bool {
        self.at(from).is_none_or(|peer| !peer.unheard[flow as usize])
    }

    pub fn cuts_address(&self, flow: Flow, peer: SocketAddr) -> bool {
        self.at(peer).is_some_and(|peer| peer.cut(flow))
    }

    pub fn cuts_identity(&self, flow: Flow, peer: &Pubkey) -> bool {
        self.by_identity.get(peer).is_some_and(|place| self.peers[*place].cut(flow))
    }

    /// What becomes of a packet, and what is to be counted of it.
    pub fn fate(&self, (flow, to): (Flow, SocketAddr), bytes: usize, now: Instant) -> (Fate, [Option<Done>; 2]) {
        let treated = self.at(to).and_then(|peer| Some((peer, peer.outbound[flow as usize]?)));
        let Some((peer, treatment)) = treated else { return (Fate::Now, [None; 2]) };
        if treatment.block {
            return (Fate::Never, [Some(Done::Blocked), None]);
        }
        if by_chance(treatment.loss_percent) {
            return (Fate::Never, [Some(Done::Lost), None]);
        }
        let line = match treatment.rate_kbit {
            None => Duration::ZERO,
            Some(kbit) => match peer.wait(flow, (kbit, bytes), now) {
                Some(wait) => wait,
                None => return (Fate::Never, [Some(Done::Overflowed), None]),
            },
        };
        let after = || {
            let jitter = (rand::random::<f64>() * f64::from(treatment.jitter_ms) * 1_000.0) as u64;
            line + Duration::from_millis(treatment.delay_ms.into()) + Duration::from_micros(jitter)
        };
        let (first, twice) = (after(), by_chance(treatment.duplicate_percent));
        if first.is_zero() && !twice {
            return (Fate::Now, [None; 2]);
        }
        let delayed = (!first.is_zero()).then_some(Done::Delayed);
        (Fate::Later(first, twice.then(after)), [delayed, twice.then_some(Done::Duplicated)])
    }
}

#[cfg(test)]
mod tests {
    use super::{super::rules::PeerRules, *};
    use std::collections::BTreeMap;

    fn to(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn table(unheard: &[Flow], outbound: &[(Flow, Treatment)]) -> Table {
        let peer = PeerRules {
            identity: Pubkey::from([7; 32]).to_string(),
            addresses: vec![to(1), to(2)],
            unheard: unheard.iter().copied().collect(),
            outbound: outbound.iter().copied().collect::<BTreeMap<_, _>>(),
        };
        Table::new(&Rules { order: 1, peers: vec![peer] }).expect("good rules")
    }

    fn fate(table: &Table, flow: Flow, port: u16) -> Fate {
        table.fate((flow, to(port)), 1_000, Instant::now()).0
    }

    #[test]
    fn a_block_is_for_the_named_addresses_protocol_and_way_alone() {
        let table = table(&[Flow::Gossip], &[(Flow::Turbine, Treatment { block: true, ..Treatment::default() })]);
        assert!(!table.hears(Flow::Gossip, to(1)) && !table.hears(Flow::Gossip, to(2)));
        assert!(table.hears(Flow::Gossip, to(3)) && table.hears(Flow::Turbine, to(1)));
        assert_eq!(fate(&table, Flow::Turbine, 2), Fate::Never);
        assert_eq!((fate(&table, Flow::Turbine, 3), fate(&table, Flow::Gossip, 1)), (Fate::Now, Fate::Now));
    }

    #[test]
    fn an_address_written_as_ipv6_is_the_same() {
        let table = table(&[Flow::Gossip], &[]);
        let mapped = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), 1);
        assert!(!table.hears(Flow::Gossip, mapped));
    }

    #[test]
    fn connections_are_cut_by_a_block_of_either_way() {
        let block = Treatment { block: true, ..Treatment::default() };
        let peer = Pubkey::from([7; 32]);
        for table in [table(&[Flow::Sync], &[]), table(&[], &[(Flow::Sync, block)])] {
            assert!(table.cuts_identity(Flow::Sync, &peer) && table.cuts_address(Flow::Sync, to(1)));
            assert!(!table.cuts_identity(Flow::Gossip, &peer) && !table.cuts_identity(Flow::Sync, &Pubkey::default()));
        }
        let slow = table(&[], &[(Flow::Sync, Treatment { delay_ms: 5, ..Treatment::default() })]);
        assert!(!slow.cuts_identity(Flow::Sync, &peer));
    }

    #[test]
    fn about_the_given_share_is_lost_and_doubled() {
        let share = |treatment, is: fn(&Fate) -> bool| {
            let table = table(&[], &[(Flow::Votes, treatment)]);
            (0..10_000).filter(|_| is(&fate(&table, Flow::Votes, 1))).count()
        };
        let lost = share(Treatment { loss_percent: 30.0, ..Treatment::default() }, |fate| *fate == Fate::Never);
        let twice = share(Treatment { duplicate_percent: 30.0, ..Treatment::default() }, |fate| {
            *fate == Fate::Later(Duration::ZERO, Some(Duration::ZERO))
        });
        // Far beyond any chance: the deviation is 46.
        for count in [lost, twice] {
            assert!((2_500..3_500).contains(&count), "{count} of 10000");
        }
        assert_eq!(
            share(Treatment { loss_percent: 100.0, ..Treatment::default() }, |fate| *fate == Fate::Never),
            10_000
        );
    }

    #[test]
    fn a_delay_lies_between_its_bounds_and_varies() {
        let treatment = Treatment { delay_ms: 50, jitter_ms: 20, ..Treatment::default() };
        let table = table(&[], &[(Flow::Repair, treatment)]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let Fate::Later(after, None) = fate(&table, Flow::Repair, 1) else { panic!("it is delayed") };
            assert!((Duration::from_millis(50)..=Duration::from_millis(70)).contains(&after), "{after:?}");
            seen.insert(after);
        }
        assert!(seen.len() > 50);
    }

    #[test]
    fn a_line_is_as_fast_as_its_rate_and_loses_what_would_wait_too_long() {
        let table = table(&[], &[(Flow::Turbine, Treatment { rate_kbit: Some(80), ..Treatment::default() })]);
        let now = Instant::now();
        // 80 kilobits a second are ten packets of 1,000 bytes.
        let fates: Vec<Fate> = (0..20).map(|_| table.fate((Flow::Turbine, to(1)), 1_000, now).0).collect();
        assert_eq!(fates[0], Fate::Later(Duration::from_millis(100), None));
        assert_eq!(fates[9], Fate::Later(Duration::from_secs(1), None));
        assert_eq!(fates[11..], [Fate::Never; 9]);
        let later = now + Duration::from_secs(10);
        assert_eq!(table.fate((Flow::Turbine, to(1)), 1_000, later).0, Fate::Later(Duration::from_millis(100), None));
    }
}

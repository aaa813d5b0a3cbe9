//! Token buckets: so many a second on average, and so many at once.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// How much somebody may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second on average.
    pub per_second: u64,
    /// Messages at once after a silence.
    pub burst: u32,
}

impl Rate {
    /// The time that one message uses up.
    fn cost(self) -> Duration {
        Duration::from_nanos(1_000_000_000 / self.per_second.max(1))
    }
}

/// What one sender has used up. A new one is full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// When it is full again. `None`: it was never used.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one message's share; false if nothing is left. The rate may change from call to call.
    pub fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let cost = rate.cost();
        let used = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)) + cost;
        let left = used <= cost * rate.burst;
        if left {
            self.full_at = Some(now + used);
        }
        left
    }

    /// Whether it is as good as new.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

/// What UDP senders may send to one socket.
#[derive(Clone, Copy, Debug)]
pub struct UdpLimits {
    /// Datagrams of one address.
    pub of_address: Rate,
    /// Datagrams of all addresses together that the table has no place for.
    pub of_strangers: Rate,
    /// Addresses in the table.
    pub addresses_max: usize,
}

impl UdpLimits {
    /// An address may send what a full block of today's size needs (20,000 shreds a second), and at once a quarter
    /// of what the lane of shreds holds: no address alone can fill it. The table holds as many addresses as a large
    /// cluster has nodes, in less than a megabyte.
    pub const SHREDS: Self = Self {
        of_address: Rate { per_second: 20_000, burst: 4_096 },
        of_strangers: Rate { per_second: 20_000, burst: 4_096 },
        addresses_max: 8_192,
    };

    /// For gossip: at once a quarter of what its lane holds, and a second's worth as gossip itself allows a proven peer
    /// (`sundog_gossip::PacketLimits`), which is stricter with everybody else. The table holds more addresses than a
    /// cluster of 10,000 has; senders beyond share what half the lane holds.
    pub const GOSSIP: Self = Self {
        of_address: Rate { per_second: 4_096, burst: 1_024 },
        of_strangers: Rate { per_second: 8_192, burst: 2_048 },
        addresses_max: 16_384,
    };

    /// For transactions: an address may send what a busy leader executes in a second, and at once a quarter of what the
    /// lane holds; Gulf Stream's own limit for senders without stake follows.
    pub const TRANSACTIONS: Self = Self {
        of_address: Rate { per_second: 4_096, burst: 1_024 },
        of_strangers: Rate { per_second: 8_192, burst: 2_048 },
        addresses_max: 4_096,
    };
}

/// How seldom a full table is searched for addresses that were silent.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A bucket for each address that sends to a socket, in bounded space.
///
/// When the table is full, addresses whose buckets are full again lose their places; without such, newcomers share one
/// bucket. A sender on this machine is an address and a port, because localnets have all their nodes on one address;
/// elsewhere it is the address alone, because ports cost nothing.
pub struct AddressBuckets {
    limits: UdpLimits,
    buckets: HashMap<SocketAddr, Bucket>,
    strangers: Bucket,
    swept: Option<Instant>,
}

impl AddressBuckets {
    /// An empty table.
    #[must_use]
    pub fn new(limits: UdpLimits) -> Self {
        Self { limits, buckets: HashMap::new(), strangers: Bucket::default(), swept: None }
    }

    /// Whether a datagram from this address is within its rate.
    pub fn admit(&mut self, now: Instant, from: SocketAddr) -> bool {
        let key = if from.ip().is_loopback() { from } else { SocketAddr::new(canonical(from.ip()), 0) };
        if !self.buckets.contains_key(&key) && !self.has_place(now) {
            return self.strangers.take(now, self.limits.of_strangers);
        }
        self.buckets.entry(key).or_default().take(now, self.limits.of_address)
    }

    fn has_place(&mut self, now: Instant) -> bool {
        let full = |table: &Self| table.buckets.len() >= table.limits.addresses_max;
        if full(self) && self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_EVERY) {
            self.swept = Some(now);
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        !full(self)
    }
}

/// An IPv4 address also where it comes in the clothes of an IPv6 one.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    fn address(number: u32, port: u16) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0000 + number), port))
    }

    fn table(addresses_max: usize) -> AddressBuckets {
        AddressBuckets::new(UdpLimits { of_address: RATE, of_strangers: RATE, addresses_max })
    }

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let (start, mut bucket) = (Instant::now(), Bucket::default());
        let given = (0..10).filter(|_| bucket.take(start, RATE)).count();
        assert_eq!(given, 3);
        let later = start + Duration::from_secs(1);
        assert!(bucket.is_full(later));
        // For ten seconds somebody asks every millisecond.
        let asked = (0..10_000).map(|ms| later + Duration::from_millis(ms));
        let given = asked.filter(|now| bucket.take(*now, RATE)).count();
        assert!((100..=103).contains(&given), "{given} in ten seconds at ten a second");
    }

    #[test]
    fn a_flood_from_one_address_leaves_the_others_alone_whatever_its_ports() {
        let (now, mut table) = (Instant::now(), table(100));
        let flood = (0..1_000).filter(|port| table.admit(now, address(1, *port))).count();
        assert_eq!(flood, 3);
        assert!(table.admit(now, address(2, 1)));
        let mapped = SocketAddr::new("::ffff:10.0.0.1".parse().expect("an address"), 9);
        assert!(!table.admit(now, mapped), "the flooding address in other clothes");
    }

    #[test]
    fn nodes_on_this_machine_are_told_apart_by_their_ports() {
        let (now, mut table) = (Instant::now(), table(100));
        let nodes = (1..=20).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(nodes.filter(|from| table.admit(now, *from)).count(), 20);
    }

    #[test]
    fn no_address_alone_fills_a_quarter_of_the_lane_of_gossip() {
        let (now, mut table) = (Instant::now(), AddressBuckets::new(UdpLimits::GOSSIP));
        let flood = (0..100_000).filter(|_| table.admit(now, address(1, 9))).count();
        assert_eq!(flood, 1_024);
        assert!(table.admit(now, address(2, 9)));
    }

    #[test]
    fn a_full_table_never_grows_and_gives_the_places_of_the_silent_away() {
        let (start, mut table) = (Instant::now(), table(50));
        let admitted = (0..1_000).filter(|number| table.admit(start, address(*number, 1))).count();
        assert_eq!(admitted, 50 + 3, "newcomers share one bucket");
        assert_eq!(table.buckets.len(), 50);
        let later = start + Duration::from_secs(1);
        assert!(table.admit(later, address(2_000, 1)));
        assert_eq!(table.buckets.len(), 1, "everybody else was silent for long enough");
    }
}

//! How many connections peers may have, in all and from one address. Asked before a byte is read.

use super::Fault;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections of an address beyond its limit that are let in to be told so: a peer learns the reason, and a flood does
/// not.
const TOLD_PER_ADDRESS: usize = 1;
/// Connections beyond the limit for all that are let in to be told so.
const TOLD: usize = 8;

/// The places of accepted connections.
pub struct Places {
    all_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

impl Places {
    /// As many places as these limits say, and those to be told.
    pub fn new(all_max: usize, per_address_max: usize) -> Arc<Self> {
        let (all_max, per_address_max) = (all_max + TOLD, per_address_max + TOLD_PER_ADDRESS);
        Arc::new(Self { all_max, per_address_max, taken: Mutex::default() })
    }

    /// Takes a place for a connection from this address.
    ///
    /// # Errors
    /// If there is none, which of the limits it was.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Fault> {
        let address = network(address);
        let mut taken = self.taken();
        if taken.all >= self.all_max {
            return Err(Fault::LinksFull);
        }
        let here = taken.by_address.entry(address).or_insert(0);
        if *here >= self.per_address_max {
            return Err(Fault::AddressFull);
        }
        *here += 1;
        taken.all += 1;
        Ok(Place { places: Arc::clone(self), address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, given back when it is dropped.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: an IPv6 host usually has a whole /64 to choose from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_its_limit_and_gets_a_place_back() {
        let places = Places::new(100, 3);
        let taken: Vec<Place> = (0..4).map(|_| places.take(ip("10.0.0.1")).expect("a place")).collect();
        assert_eq!(places.take(ip("10.0.0.1")).err(), Some(Fault::AddressFull));
        assert_eq!(places.take(ip("::ffff:10.0.0.1")).err(), Some(Fault::AddressFull), "the same address");
        assert!(places.take(ip("10.0.0.2")).is_ok());
        drop(taken);
        assert!(places.take(ip("10.0.0.1")).is_ok());
        assert!(places.taken().by_address.is_empty(), "nothing is remembered of addresses without connections");
    }

    #[test]
    fn all_addresses_share_a_limit() {
        let places = Places::new(2, 3);
        let addresses = (0..10u8).map(|n| IpAddr::from([10, 0, 0, n]));
        let _taken: Vec<Place> = addresses.map(|address| places.take(address).expect("a place")).collect();
        assert_eq!(places.take(ip("10.0.1.1")).err(), Some(Fault::LinksFull));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let places = Places::new(100, 0);
        let _taken = places.take(ip("2001:db8::1")).expect("a place");
        assert_eq!(places.take(ip("2001:db8::2")).err(), Some(Fault::AddressFull));
        assert!(places.take(ip("2001:db8:0:1::1")).is_ok());
    }
}

//! Who is connected to this node, and who may still come.

use super::QuicLimits;
use crate::io::{bucket::Bucket, traffic::Refused};
use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex},
};
use sundog_types::Pubkey;

/// What one identity used up, over all its connections.
pub(super) type SharedBucket = Arc<Mutex<Bucket>>;

/// One identity's connections, the oldest first.
struct Guest<C> {
    connections: VecDeque<(u64, C)>,
    bucket: SharedBucket,
}

/// What happens to the connection of an identity that has as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    /// The oldest one is closed: a restarted node's is the newest.
    Replace,
    /// The new one is closed.
    Refuse,
}

/// A connection that was let in.
pub(super) struct Admitted<C> {
    /// Its number, to leave with.
    pub number: u64,
    pub bucket: SharedBucket,
    /// The connection whose place it took.
    pub replaced: Option<C>,
}

/// Everybody who is connected.
pub(super) struct Guests<C> {
    limits: QuicLimits,
    beyond: Beyond,
    addresses: HashMap<IpAddr, usize>,
    identities: HashMap<Pubkey, Guest<C>>,
    unstaked: usize,
    numbers: u64,
}

impl<C> Guests<C> {
    pub fn new(limits: QuicLimits, beyond: Beyond) -> Self {
        let (addresses, identities) = (HashMap::new(), HashMap::new());
        Self { limits, beyond, addresses, identities, unstaked: 0, numbers: 0 }
    }

    /// Lets a handshake from an address begin. What began must end with [`Self::part`].
    pub fn greet(&mut self, address: IpAddr) -> Result<(), Refused> {
        let count = self.addresses.entry(address).or_insert(0);
        if *count >= self.limits.per_address_max {
            return Err(Refused::ConnectionOfAddress);
        }
        *count += 1;
        Ok(())
    }

    /// A handshake or connection from an address ended.
    pub fn part(&mut self, address: IpAddr) {
        if let Some(count) = self.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// Lets an identity's connection in. What was let in must [`Self::leave`].
    pub fn enter(&mut self, identity: Pubkey, staked: bool, connection: C) -> Result<Admitted<C>, Refused> {
        if !staked && self.unstaked >= self.limits.unstaked_connections_max {
            return Err(Refused::Connection);
        }
        let guest = self
            .identities
            .entry(identity)
            .or_insert_with(|| Guest { connections: VecDeque::new(), bucket: SharedBucket::default() });
        let mut replaced = None;
        if guest.connections.len() >= self.limits.per_identity_max {
            if self.beyond == Beyond::Refuse {
                return Err(Refused::ConnectionOfIdentity);
            }
            replaced = guest.connections.pop_front().map(|(_, connection)| connection);
        }
        self.numbers += 1;
        self.unstaked += usize::from(!staked);
        guest.connections.push_back((self.numbers, connection));
        Ok(Admitted { number: self.numbers, bucket: Arc::clone(&guest.bucket), replaced })
    }

    /// A connection that was let in ended. `staked` as it was when it entered.
    pub fn leave(&mut self, identity: &Pubkey, staked: bool, number: u64) {
        self.unstaked -= usize::from(!staked);
        if let Some(guest) = self.identities.get_mut(identity) {
            guest.connections.retain(|(other, _)| *other != number);
            if guest.connections.is_empty() {
                self.identities.remove(identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QuicLimits =
        QuicLimits { unstaked_connections_max: 5, per_address_max: 3, per_identity_max: 2, ..QuicLimits::DEFAULT };

    fn identity(number: u8) -> Pubkey {
        Pubkey::from([number; 32])
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_a_place_back() {
        let mut guests = Guests::<u32>::new(LIMITS, Beyond::Refuse);
        let address = IpAddr::from([10, 0, 0, 1]);
        assert_eq!((0..10).filter(|_| guests.greet(address).is_ok()).count(), 3);
        assert!(guests.greet(IpAddr::from([10, 0, 0, 2])).is_ok());
        guests.part(address);
        assert_eq!(guests.greet(address), Ok(()));
        assert_eq!(guests.greet(address), Err(Refused::ConnectionOfAddress));
    }

    #[test]
    fn an_identity_has_so_many_connections_and_the_rule_says_which_one_goes() {
        for (beyond, expected) in [(Beyond::Refuse, Err(Refused::ConnectionOfIdentity)), (Beyond::Replace, Ok(Some(1)))]
        {
            let mut guests = Guests::new(LIMITS, beyond);
            for connection in 1..=2 {
                guests.enter(identity(1), true, connection).expect("there is room");
            }
            let third = guests.enter(identity(1), true, 3).map(|admitted| admitted.replaced);
            assert_eq!(third, expected);
            assert_eq!(guests.identities[&identity(1)].connections.len(), 2);
        }
    }

    #[test]
    fn identities_without_stake_leave_room_for_those_with() {
        let mut guests = Guests::new(LIMITS, Beyond::Replace);
        let unstaked = (0..100).filter_map(|number| guests.enter(identity(number), false, 0).ok()).collect::<Vec<_>>();
        assert_eq!(unstaked.len(), 5);
        let staked = guests.enter(identity(200), true, 0).expect("there is room for stake");
        guests.leave(&identity(200), true, staked.number);
        for (number, admitted) in (0..).zip(unstaked) {
            guests.leave(&identity(number), false, admitted.number);
        }
        assert!(guests.identities.is_empty());
        assert_eq!(guests.unstaked, 0);
    }
}

//! The seeded network: every datagram is delayed, and some are lost.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use sundog_types::peer::Addresses;

/// What a datagram suffers.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The least delay of a datagram.
    pub delay_min: Duration,
    /// The greatest delay of a datagram; datagrams overtake each other within it.
    pub delay_max: Duration,
    /// Datagrams lost, of a million.
    pub loss_ppm: u32,
}

impl Default for Network {
    /// A good network between cities: 5 to 25 ms, nothing lost.
    fn default() -> Self {
        Self { delay_min: Duration::from_millis(5), delay_max: Duration::from_millis(25), loss_ppm: 0 }
    }
}

/// A socket of a simulated node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Gossip.
    Gossip,
    /// Shreds, as QUIC datagrams.
    TvuQuic,
    /// Transactions, on QUIC streams.
    TpuQuic,
    /// Votes.
    TpuVote,
    /// Where this node asks for repair from.
    Repair,
    /// Where this node is asked for repair.
    ServeRepair,
}

const PORTS: [Port; 6] = [Port::Gossip, Port::TvuQuic, Port::TpuQuic, Port::TpuVote, Port::Repair, Port::ServeRepair];
const FIRST_PORT: u16 = 8_000;

impl Port {
    /// The address of this socket of the node with this number.
    #[must_use]
    pub fn address(self, node: usize) -> SocketAddr {
        let [high, low] = u16::try_from(node + 1).expect("fewer than 65,535 nodes").to_be_bytes();
        let place = PORTS.iter().position(|p| *p == self).expect("every port is listed");
        let port = FIRST_PORT + u16::try_from(place).expect("a handful");
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, high, low)), port)
    }

    /// The node and socket behind an address.
    #[must_use]
    pub fn resolve(address: SocketAddr) -> Option<(usize, Self)> {
        let IpAddr::V4(ip) = address.ip() else { return None };
        let [127, 1, high, low] = ip.octets() else { return None };
        let node = usize::from(u16::from_be_bytes([high, low])).checked_sub(1)?;
        let port = *PORTS.get(usize::from(address.port().checked_sub(FIRST_PORT)?))?;
        Some((node, port))
    }

    /// Everything that the node with this number advertises.
    #[must_use]
    pub fn advertised(node: usize) -> Addresses {
        Addresses {
            gossip: Some(Self::Gossip.address(node)),
            tvu_quic: Some(Self::TvuQuic.address(node)),
            tpu_quic: Some(Self::TpuQuic.address(node)),
            tpu_vote: Some(Self::TpuVote.address(node)),
            serve_repair: Some(Self::ServeRepair.address(node)),
            ..Addresses::default()
        }
    }
}

impl Network {
    /// The delay of a datagram, or `None` if it is lost.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Option<Duration> {
        let lost = rng.gen_range(0..1_000_000) < self.loss_ppm;
        let delay = self.draw_delay(rng);
        (!lost).then_some(delay)
    }

    /// The delay of what a transport repeats until it arrives.
    pub fn draw_delay(&self, rng: &mut ChaCha8Rng) -> Duration {
        let us = |d: Duration| u64::try_from(d.as_micros()).expect("a delay is short");
        Duration::from_micros(rng.gen_range(us(self.delay_min)..=us(self.delay_max.max(self.delay_min))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_back_to_its_node_and_socket() {
        for node in [0, 1, 254, 255, 5_000] {
            for port in PORTS {
                assert_eq!(Port::resolve(port.address(node)), Some((node, port)));
            }
        }
        assert_eq!(Port::resolve("127.0.0.1:8000".parse().unwrap()), None);
    }
}

//! Ports that stay a node's while it is down.
//!
//! A port that the system chose, for a socket bound to port 0, comes from the range that outgoing sockets get theirs from.
//! Whoever gives it up for a moment, as a node does that restarts, may find it taken. Ports below that range are nobody's
//! unless asked for by number; so they are chosen here, and a claim keeps others that choose here away from them:
//!
//! ```text
//!   10000                                              32768: the system gives away what is above
//!     | 12 ports | 12 ports | 12 ports | …               |
//!                 ^         ^ the last is bound for as long as the claim is held
//!                 +-- a node's
//! ```

use anyhow::bail;
use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    ops::Range,
};

/// Ports of a claim: more than a validator has sockets.
pub const PORTS: u16 = 11;
/// They lie in a stretch of so many; the last is the one that is held.
const STRETCH: u16 = PORTS + 1;
/// Ports below are left to programs that have theirs by convention, this one among them.
const LOWEST: u16 = 10_000;
/// Where the range of outgoing sockets begins on Linux unless the machine is set up otherwise.
const OUTGOING: u16 = 32_768;
/// What the machine is set up to: two numbers, first and last.
const OUTGOING_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Ports on loopback that no outgoing socket gets, and no other claim contains while this one is held.
#[derive(Debug)]
pub struct PortClaim {
    first: u16,
    /// Bound, so that another claim of this stretch fails, in whichever process.
    _held: UdpSocket,
}

impl PortClaim {
    /// Claims ports that are free for UDP and TCP, somewhere by chance.
    ///
    /// # Errors
    /// If there are none.
    pub fn take() -> anyhow::Result<Self> {
        let file = std::fs::read_to_string(OUTGOING_FILE).unwrap_or_default();
        Self::within(LOWEST..outgoing(&file), rand::random())
    }

    /// The port at a place below [`PORTS`].
    ///
    /// # Panics
    /// If the place is not below.
    #[must_use]
    pub fn port(&self, place: u16) -> u16 {
        assert!(place < PORTS, "a claim has {PORTS} ports");
        self.first + place
    }

    /// The first stretch within the range that is free, from the one that `chance` points at on and around.
    fn within(range: Range<u16>, chance: u16) -> anyhow::Result<Self> {
        let stretches = range.end.saturating_sub(range.start) / STRETCH;
        for tried in 0..stretches {
            let stretch = (chance % stretches + tried) % stretches;
            if let Ok(claim) = Self::stretch(range.start + stretch * STRETCH) {
                return Ok(claim);
            }
        }
        bail!(
            "no {STRETCH} ports in a row, of {} to {}, are free for UDP and TCP; stop the programs that use them",
            range.start,
            range.end
        )
    }

    fn stretch(first: u16) -> std::io::Result<Self> {
        // First the one that is held: from then on nobody else who claims looks at the others.
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, first + PORTS))?;
        for port in first..first + PORTS {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        }
        Ok(Self { first, _held: held })
    }
}

/// Where the range of outgoing sockets begins. A machine that gives them nearly every port leaves none that are safe; there
/// the usual ones are as good as any.
fn outgoing(file: &str) -> u16 {
    let low = file.split_whitespace().next().and_then(|low| low.parse().ok());
    low.filter(|low| *low >= LOWEST + 100 * STRETCH).unwrap_or(OUTGOING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn ports(claim: &PortClaim) -> Vec<u16> {
        (0..PORTS).map(|place| claim.port(place)).collect()
    }

    /// A stretch that is free, where nobody claims any but the test of this number.
    fn free_stretch(test: u16) -> Range<u16> {
        let from = LOWEST - 1_500 * (test + 1);
        let first = PortClaim::within(from..from + 1_000, rand::random()).expect("free ports").port(0);
        first..first + STRETCH
    }

    #[test]
    fn claims_are_below_the_ports_of_outgoing_sockets_and_share_none() {
        let below = outgoing(&std::fs::read_to_string(OUTGOING_FILE).unwrap_or_default());
        let claims: Vec<PortClaim> = (0..20).map(|_| PortClaim::take().expect("free ports")).collect();
        let all: Vec<u16> = claims.iter().flat_map(ports).collect();
        assert!(all.iter().all(|port| (LOWEST..below).contains(port)), "{all:?}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 20 * usize::from(PORTS));
        for port in all {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("its owner may bind it");
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("its owner may bind it");
        }
    }

    #[test]
    fn a_claim_is_kept_by_who_holds_it_though_nothing_listens_there() {
        let range = free_stretch(1);
        let claim = PortClaim::within(range.clone(), 0).expect("free ports");
        PortClaim::within(range.clone(), 0).expect_err("it is claimed");
        drop(claim);
        PortClaim::within(range, 0).expect("it is claimed no more");
    }

    #[test]
    fn a_stretch_with_a_taken_port_is_passed_over_whichever_it_is() {
        let range = free_stretch(2);
        let wide = range.start..range.start + 900;
        for port in [range.start, range.end - 2, range.end - 1] {
            let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
            let claim = PortClaim::within(wide.clone(), 0).expect("others are free");
            assert!(claim.port(0) >= range.end && wide.contains(&claim.port(PORTS - 1)), "{port}: {claim:?}");
            drop((taken, claim));
        }
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, range.start)).expect("a free port");
        let claim = PortClaim::within(wide, 0).expect("others are free");
        assert!(claim.port(0) >= range.end, "{claim:?}");
    }

    #[test]
    fn where_none_is_free_the_range_is_named() {
        let range = free_stretch(3);
        let _taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, range.start + 3)).expect("a free port");
        for chance in [0, 1, u16::MAX] {
            let error = PortClaim::within(range.clone(), chance).expect_err("one is taken").to_string();
            let named = [range.start, range.end].iter().all(|port| error.contains(&port.to_string()));
            assert!(named && error.contains("stop the programs"), "{error}");
        }
        PortClaim::within(range.start..range.start, 7).expect_err("an empty range has none");
    }

    #[test]
    fn the_system_says_where_outgoing_sockets_begin_and_else_it_is_the_usual_place() {
        assert_eq!(outgoing("40000\t60999\n"), 40_000);
        assert_eq!(outgoing("15000 60999"), 15_000);
        for unusable in ["", "x y", "1024 65535", "70000 80000"] {
            assert_eq!(outgoing(unusable), OUTGOING, "{unusable:?}");
        }
    }
}

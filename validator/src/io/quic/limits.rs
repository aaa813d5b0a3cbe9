//! What a QUIC port takes and keeps.

use crate::io::{bucket::Rate, standing::Standing};
use std::time::Duration;

/// Limits of a port. Every one has a counter in the metrics that tells when it acted.
#[derive(Clone, Copy, Debug)]
pub struct QuicLimits {
    /// Incoming connections, handshakes included.
    pub connections_max: usize,
    /// Of them, connections of identities without stake: the rest is kept for those with.
    pub unstaked_connections_max: usize,
    /// Incoming connections of one IP address, handshakes included.
    pub per_address_max: usize,
    /// Incoming connections of one identity.
    pub per_identity_max: usize,
    /// Handshakes under way from which on a newcomer must first prove its address, which costs it a round trip.
    pub unproven_handshakes_max: usize,
    /// Outgoing connections, and attempts at them.
    pub links_max: usize,
    /// Of them, connections that are opened before they are needed and kept.
    pub warm_max: usize,
    /// Messages that wait for one connection that is being opened.
    pub waiting_per_link_max: usize,
    /// Messages that wait for all connections that are being opened.
    pub waiting_max: usize,
    /// How long a peer may leave a full send buffer full before its connection is closed.
    pub slow_for: Duration,
    /// Shreds a second of an identity without stake.
    pub unstaked_per_second: u64,
    /// Shreds a second of an identity with the least stake.
    pub staked_per_second: u64,
    /// Shreds a second of an identity with all the stake; between, the share of the stake decides.
    pub line_per_second: u64,
}

impl QuicLimits {
    /// The limits of a public node.
    ///
    /// - Connections: reference 9.3 allows 2,500 for clients and validators together, and 8 of one identity. A cluster
    ///   has some thousands of nodes, of which a node hears from a few hundred.
    /// - Connections of one address: those of all nodes of a localnet, or of a house behind one router.
    /// - Warm connections: the children of one tree (200), and as many again as change from slot to slot are opened on
    ///   demand, which takes one round trip.
    /// - Waiting: 1,024 shreds are what one child is sent of a full block of today within a handshake; all together
    ///   are 20 MB.
    /// - Rates: a peer without stake is hardly ever a parent in a tree. One with stake may lead a slot and send all
    ///   of it to this node: 20,000 a second are a block of 4,000 data shreds, 4 MB, in 400 ms. 163,840 a second are
    ///   the largest block that can be: 32,768 data shreds (reference 3.8) and as many coding shreds in 400 ms.
    pub const DEFAULT: Self = Self {
        connections_max: 2_048,
        unstaked_connections_max: 1_536,
        per_address_max: 256,
        per_identity_max: 8,
        unproven_handshakes_max: 256,
        links_max: 1_024,
        warm_max: 256,
        waiting_per_link_max: 1_024,
        waiting_max: 16_384,
        slow_for: Duration::from_secs(2),
        unstaked_per_second: 2_000,
        staked_per_second: 20_000,
        line_per_second: 163_840,
    };

    /// How many shreds an identity may send. A burst is a tenth of a second's worth, but at least what a burst of a
    /// small block is.
    #[must_use]
    pub fn rate(&self, standing: Standing) -> Rate {
        let per_second = if standing.stake == 0 {
            self.unstaked_per_second
        } else {
            let more = u128::from(self.line_per_second.saturating_sub(self.staked_per_second));
            let share = more * u128::from(standing.stake) / u128::from(standing.total.max(standing.stake));
            self.staked_per_second + u64::try_from(share).expect("a share of 64 bits")
        };
        Rate { per_second, burst: u32::try_from(per_second / 10).unwrap_or(u32::MAX).max(1) }
    }
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_grows_with_the_share_of_the_stake_up_to_the_line_rate() {
        let rate = |stake, total| QuicLimits::DEFAULT.rate(Standing { known: true, stake, total }).per_second;
        assert_eq!(rate(0, 1_000_000), 2_000);
        assert_eq!(rate(1, 1_000_000_000), 20_000);
        assert_eq!(rate(500, 1_000), 20_000 + (163_840 - 20_000) / 2);
        assert_eq!(rate(u64::MAX, u64::MAX), 163_840);
        assert_eq!(rate(7, 0), 163_840, "a registry that is behind");
    }
}

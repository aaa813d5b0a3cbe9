//! What a gossip machine is told at its start.

use crate::{
    limits::PacketLimits,
    push::FANOUT,
    roster::Roster,
    table::{Limits, UNSTAKED_LASTS},
};
use std::{net::SocketAddr, time::Duration};
use sundog_types::{
    Pubkey,
    peer::{Addresses, Version},
};

/// What we say about ourselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contact {
    /// Where we listen.
    pub addresses: Addresses,
    /// Our software.
    pub version: Version,
    /// When this instance started, in microseconds since the Unix epoch.
    pub outset_us: u64,
}

/// A peer that was there in an earlier life of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownPeer {
    /// Who it was.
    pub identity: Pubkey,
    /// Where its gossip listened.
    pub gossip: SocketAddr,
}

/// The settings of a gossip machine.
#[derive(Clone, Debug)]
pub struct GossipConfig {
    /// The chain we are on. 0: adopt that of the first entrypoint that answers.
    pub shred_version: u16,
    /// Addresses of nodes to start from; their identities are learned.
    pub entrypoints: Vec<SocketAddr>,
    /// Peers of an earlier life, the best first: asked when every entrypoint is silent. At most
    /// [`crate::entrypoints::KNOWN_MAX`] are used.
    pub known: Vec<KnownPeer>,
    /// Whether loopback and private addresses are talked to.
    pub allow_private: bool,
    /// What we say about ourselves.
    pub contact: Contact,
    /// How much is kept of others.
    pub limits: Limits,
    /// How much of what comes in is looked at.
    pub packet_limits: PacketLimits,
    /// Peers that one value is pushed to.
    pub fanout: usize,
    /// Pull filters are made for at least so many hashes. The reference makes them for 65,536, and one
    /// implementation (Firedancer) refuses filters made for fewer; a small value covers a small cluster with
    /// one datagram, which is why a fresh node knows everybody at once.
    pub pull_items_min: usize,
    /// How often rounds are held: what is new is pushed, lists are renewed.
    pub round_every: Duration,
    /// How often a peer is pulled from. At least `round_every`.
    pub pull_every: Duration,
    /// How often in the first [`YOUNG_FOR`], when nearly everything is still unknown.
    pub pull_every_young: Duration,
    /// How often our contact info is signed anew and a peer of the active set replaced.
    pub refresh_every: Duration,
    /// How long a received value may wait so that others go in the same datagram.
    pub push_delay: Duration,
    /// Membership that is given rather than learned; only for worlds of thousands of machines.
    pub roster: Option<Roster>,
}

/// How long after its start a node pulls eagerly.
pub const YOUNG_FOR: Duration = Duration::from_secs(5);

/// A setting that contradicts another. Correct the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Pulls are driven by rounds.
    #[error("pull_every and pull_every_young must be at least round_every; raise them")]
    PullsFasterThanRounds,
    /// Contact infos must be renewed before they lapse.
    #[error("refresh_every must be below 15 s, or peers forget this node; lower it")]
    RefreshTooSlow,
    /// Nothing could be kept or sent.
    #[error("fanout, limits and round_every must not be zero; raise them")]
    Zero,
}

impl GossipConfig {
    /// The usual settings.
    #[must_use]
    pub fn new(shred_version: u16, contact: Contact) -> Self {
        Self {
            shred_version,
            entrypoints: Vec::new(),
            known: Vec::new(),
            allow_private: false,
            contact,
            limits: Limits::default(),
            packet_limits: PacketLimits::default(),
            fanout: FANOUT,
            pull_items_min: 512,
            round_every: Duration::from_millis(100),
            pull_every: Duration::from_millis(500),
            pull_every_young: Duration::from_millis(200),
            refresh_every: Duration::from_millis(7_500),
            push_delay: Duration::from_millis(5),
            roster: None,
        }
    }

    /// Checks relations between settings.
    ///
    /// # Errors
    /// [`ConfigError`] naming the settings that contradict each other.
    pub fn validate(self) -> Result<Self, ConfigError> {
        let zero =
            self.fanout == 0 || self.round_every.is_zero() || self.limits.origins == 0 || self.limits.values == 0;
        if zero {
            return Err(ConfigError::Zero);
        }
        if self.pull_every.min(self.pull_every_young) < self.round_every {
            return Err(ConfigError::PullsFasterThanRounds);
        }
        if self.refresh_every >= UNSTAKED_LASTS {
            return Err(ConfigError::RefreshTooSlow);
        }
        Ok(self)
    }
}

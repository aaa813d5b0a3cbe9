//! How bulk sync is set up.

use super::wire::Role;
use std::time::Duration;
use sundog_types::Hash;
use thiserror::Error;

/// Slots that one request asks for at most.
pub const RANGE_SLOTS_MAX: u64 = 100;
/// Peers that one message names at most.
pub const PEERS_MAX: usize = 64;
/// Bytes of blocks in one frame: it is closed with the shred that reaches this.
pub const FRAME_BYTES_AIM: usize = 4_000_000;

/// How bulk sync is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// Which chain: links to nodes of another are refused.
    pub genesis_hash: Hash,
    /// Which chain, and which restart of it (reference 3.11).
    pub shred_version: u16,
    /// What this node says that it does.
    pub role: Role,
    /// Bytes of a frame without its length field. 10 MB.
    pub frame_bytes_max: usize,
    /// Messages that a link may bring in a second; as many may come at once. 100.
    pub messages_per_second: u32,
    /// Links that other nodes may open from one address. 3.
    pub connections_per_address: usize,
    /// Links that other nodes may open. 64: with [`Self::served_bytes_per_second`] each still gets 1 MB a second.
    pub links_max: usize,
    /// Links that this node keeps while it fetches. 8: more add nothing, fewer give liars a larger part.
    pub peers_max: usize,
    /// Peers whose roots this node asks for at the start. 3.
    pub probe_peers: usize,
    /// Requests under way at one peer. 2: the next is there when the one before is answered.
    pub requests_per_peer: usize,
    /// Ranges that are asked for, checked or held at a time. 8: seconds of work for who executes them, and 62 MB of
    /// empty blocks.
    pub ranges_max: usize,
    /// Bytes of blocks that are on their way or held at a time; the next range needed comes in any case. 64 MB.
    pub bytes_max: usize,
    /// Bytes of blocks after which an answer ends, though the range does not. 16 MB.
    pub answer_bytes: usize,
    /// Bytes of blocks sent to other nodes in a second. 64 MB.
    pub served_bytes_per_second: u64,
    /// Slots beyond the last executed one up to which blocks are handed on. 256.
    pub window: u64,
    /// Slots behind its peers' roots from which on a node fetches blocks. 64.
    pub behind_slots: u64,
    /// Slots behind its peers' roots at which a node stops to fetch. 32.
    pub near_slots: u64,
    /// Time for the greeting, and for a dial. 5 s.
    pub handshake_timeout: Duration,
    /// Time for the next part of an answer. 5 s.
    pub answer_timeout: Duration,
    /// How often the side that dialed shows that it lives. 5 s.
    pub ping_every: Duration,
    /// A link on which nothing comes for so long is given up. 15 s.
    pub silence: Duration,
    /// A peer that failed is left alone for so long, twice as long each further time, up to ten minutes. 10 s.
    pub ban: Duration,
    /// Time without a block executed or handed on after which the peers with the highest claims are dropped and the
    /// fetch starts again from the root. 20 s.
    pub stall: Duration,
}

impl SyncConfig {
    /// What a node of this chain uses.
    #[must_use]
    pub const fn new(genesis_hash: Hash, shred_version: u16, role: Role) -> Self {
        Self {
            genesis_hash,
            shred_version,
            role,
            frame_bytes_max: 10_000_000,
            messages_per_second: 100,
            connections_per_address: 3,
            links_max: 64,
            peers_max: 8,
            probe_peers: 3,
            requests_per_peer: 2,
            ranges_max: 8,
            bytes_max: 64_000_000,
            answer_bytes: 16_000_000,
            served_bytes_per_second: 64_000_000,
            window: 256,
            behind_slots: 64,
            near_slots: 32,
            handshake_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
            ping_every: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            ban: Duration::from_secs(10),
            stall: Duration::from_secs(20),
        }
    }

    /// Checks the fields.
    ///
    /// # Errors
    /// What is wrong, and what would do.
    pub fn validate(self) -> Result<Self, SyncConfigError> {
        let counts = [
            self.messages_per_second as usize,
            self.connections_per_address,
            self.links_max,
            self.peers_max,
            self.probe_peers,
            self.requests_per_peer,
            self.ranges_max,
        ];
        let times = [self.handshake_timeout, self.answer_timeout, self.ping_every, self.silence, self.ban, self.stall];
        if counts.contains(&0) || times.contains(&Duration::ZERO) || self.window == 0 {
            return Err(SyncConfigError::Zero);
        }
        if self.served_bytes_per_second == 0 || self.answer_bytes == 0 || self.bytes_max == 0 {
            return Err(SyncConfigError::Zero);
        }
        if self.frame_bytes_max < FRAME_BYTES_AIM + FRAME_BYTES_AIM / 4 {
            return Err(SyncConfigError::Frame(self.frame_bytes_max));
        }
        if self.near_slots >= self.behind_slots {
            return Err(SyncConfigError::Near { near: self.near_slots, behind: self.behind_slots });
        }
        if self.ping_every * 2 > self.silence {
            return Err(SyncConfigError::Silence { ping: self.ping_every, silence: self.silence });
        }
        Ok(self)
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SyncConfigError {
    /// A limit of zero.
    #[error("a limit or a time of bulk sync is zero; all must be more")]
    Zero,
    /// Frames too short for what is sent.
    #[error("frames of at most {0} bytes are too short; use 5,000,000 or more")]
    Frame(usize),
    /// It would stop before it starts.
    #[error("a node that fetches from {behind} slots behind cannot stop at {near}; stop nearer")]
    Near {
        /// Where it stops.
        near: u64,
        /// Where it starts.
        behind: u64,
    },
    /// Healthy links would be given up.
    #[error("signs of life every {ping:?} are too few for links given up after {silence:?}; use half of that or less")]
    Silence {
        /// Between signs of life.
        ping: Duration,
        /// Until a link is given up.
        silence: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SyncConfig {
        SyncConfig::new(Hash::default(), 7, Role::Following)
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(config().validate(), Ok(config()));
    }

    #[test]
    fn limits_that_cannot_work_are_refused_by_name() {
        let zero = SyncConfig { peers_max: 0, ..config() };
        assert_eq!(zero.validate(), Err(SyncConfigError::Zero));
        let short = SyncConfig { frame_bytes_max: 1_000, ..config() };
        assert_eq!(short.validate(), Err(SyncConfigError::Frame(1_000)));
        let near = SyncConfig { near_slots: 64, ..config() };
        assert_eq!(near.validate(), Err(SyncConfigError::Near { near: 64, behind: 64 }));
        let silence = SyncConfig { silence: Duration::from_secs(9), ..config() };
        assert!(matches!(silence.validate(), Err(SyncConfigError::Silence { .. })));
    }
}

//! Bulk sync as a machine: serves blocks, and fetches them when the node is behind.

use super::{
    config::SyncConfig,
    effect::{Effect, Input},
    metrics::Metrics,
};
use sundog_types::{Effects, Machine, Now, Pubkey};

/// Serves finalised blocks to others, and fetches them when this node is far behind.
#[derive(Debug)]
pub struct Sync {
    config: SyncConfig,
    me: Pubkey,
    seed: [u8; 32],
    metrics: Metrics,
}

impl Sync {
    /// A node that knows no peers, no epochs and no chain. `seed` feeds the choice of peers.
    #[must_use]
    pub fn new(config: SyncConfig, me: Pubkey, seed: [u8; 32]) -> Self {
        Self { config, me, seed, metrics: Metrics::default() }
    }

    /// What was counted since the start.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether blocks are being fetched now.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        false
    }
}

impl Machine for Sync {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, _now: Now, _input: Input, _out: &mut Effects<Effect>) {
        let _ = (self.config, self.me, self.seed);
    }

    fn handle_timeout(&mut self, _now: Now, _out: &mut Effects<Effect>) {}

    fn poll_timeout(&self) -> Option<Now> {
        None
    }
}

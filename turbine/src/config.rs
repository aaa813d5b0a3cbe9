//! How Turbine is set up.

use crate::{
    checks::WAITING_MAX,
    gather::{MARKS_MAX, SETS_MAX, SLOTS_MAX},
    repair::BUDGET,
};
use std::time::Duration;
use sundog_types::Slot;
use thiserror::Error;

/// How Turbine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurbineConfig {
    /// The chain (reference 3.11).
    pub shred_version: u16,
    /// Children of a node in a tree, instead of the protocol's 200. All nodes of a cluster must agree on it.
    pub fanout: Option<usize>,
    /// The rule of public clusters (all but development ones): of the nodes at one IP address, one is sent to. All
    /// nodes of a cluster must agree on it.
    pub one_node_per_address: bool,
    /// Time from tick to tick.
    pub tick: Duration,
    /// Ticks of a slot.
    pub ticks_per_slot: u64,
    /// How long after its expected arrival a shred is asked for (reference 7.3: 250 ms).
    pub patience: Duration,
    /// Repair requests made in 10 ms.
    pub repair_budget: usize,
    /// Slots held above the root.
    pub slots_max: usize,
    /// FEC sets whose bytes are held.
    pub sets_max: usize,
    /// FEC sets whose bytes were let go, but of which it is known what was seen.
    pub marks_max: usize,
    /// Shreds that may wait for verification.
    pub waiting_max: usize,
}

/// The versions that shreds have: blocks made before a coordinated restart of the cluster keep theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    now: u16,
    earlier: Vec<(Slot, u16)>,
}

impl Versions {
    /// The version now, and those before: each with the last slot that has it, ascending.
    #[must_use]
    pub fn new(now: u16, earlier: Vec<(Slot, u16)>) -> Self {
        assert!(earlier.is_sorted_by_key(|(last, _)| *last), "versions follow each other");
        Self { now, earlier }
    }

    /// The version of the shreds of a slot.
    #[must_use]
    pub fn of(&self, slot: Slot) -> u16 {
        self.earlier.iter().find(|(last, _)| slot <= *last).map_or(self.now, |(_, version)| *version)
    }
}

impl TurbineConfig {
    /// What a node of the chain with 400 ms slots uses.
    #[must_use]
    pub const fn new(shred_version: u16) -> Self {
        Self {
            shred_version,
            fanout: None,
            one_node_per_address: false,
            tick: Duration::from_micros(6_250),
            ticks_per_slot: 64,
            patience: Duration::from_millis(250),
            repair_budget: BUDGET,
            slots_max: SLOTS_MAX,
            sets_max: SETS_MAX,
            marks_max: MARKS_MAX,
            waiting_max: WAITING_MAX,
        }
    }

    /// Checks the fields.
    ///
    /// # Errors
    /// What is wrong, and what would do.
    pub fn validate(self) -> Result<Self, ConfigError> {
        let positive = [self.repair_budget, self.slots_max, self.sets_max, self.marks_max, self.waiting_max];
        if positive.contains(&0) || self.fanout == Some(0) || self.ticks_per_slot == 0 {
            return Err(ConfigError::Zero);
        }
        if self.tick < Duration::from_micros(1) {
            return Err(ConfigError::Tick(self.tick));
        }
        Ok(self)
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A limit of zero.
    #[error("a limit, the fanout or the ticks of a slot are zero; all must be at least 1")]
    Zero,
    /// No time between ticks.
    #[error("ticks {0:?} apart are too close; use 1 microsecond or more")]
    Tick(Duration),
}

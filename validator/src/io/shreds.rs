//! How the shreds of a slot arrived, as facts that are served, printed and read by programs.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use sundog_ledger::{Ledger, LedgerError};
use sundog_turbine::{
    Sender,
    timeline::{How, Timeline, TimelineError},
};
use sundog_types::{Slot, shred::Kind};

/// Which way a shred came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Through its Turbine tree.
    Turbine,
    /// Computed from others of its FEC set.
    Recovered,
    /// Asked for.
    Repair,
    /// By bulk sync.
    Synced,
    /// Made by this node, which led.
    Own,
    /// Read back from the ledger after a restart.
    Stored,
}

impl Way {
    /// Every way, in the order in which they are shown.
    pub const ALL: [Self; 6] = [Self::Turbine, Self::Recovered, Self::Repair, Self::Synced, Self::Own, Self::Stored];

    /// Its name in lower case, as in the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turbine => "turbine",
            Self::Recovered => "recovered",
            Self::Repair => "repair",
            Self::Synced => "synced",
            Self::Own => "own",
            Self::Stored => "stored",
        }
    }
}

/// Data or code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShredKind {
    /// Carries a piece of the block.
    Data,
    /// Carries redundancy.
    Code,
}

impl fmt::Display for ShredKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Data => "data",
            Self::Code => "code",
        })
    }
}

/// A shred that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShredArrival {
    /// When, in milliseconds after the slot's first.
    pub at_ms: u32,
    /// Data or code.
    pub kind: ShredKind,
    /// Its index among the slot's shreds of its kind.
    pub index: u32,
    /// Which way.
    pub how: Way,
    /// This node's layer in the shred's tree; 0 is the root. Only for what came by Turbine.
    pub layer: Option<u8>,
    /// Who sent it: an identity in base58, or an address where no identity is proven.
    pub from: Option<String>,
    /// The sender's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How the shreds of a slot arrived at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotShreds {
    /// The slot.
    pub slot: u64,
    /// Its leader's identity in base58.
    pub leader: String,
    /// The leader's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_name: Option<String>,
    /// The slot of the block that this one builds on, once a shred told it.
    pub parent: Option<u64>,
    /// When the first shred came, in milliseconds since 1970.
    pub first_unix_ms: u64,
    /// When the block was complete, in milliseconds after the first shred.
    pub complete_ms: Option<u32>,
    /// Whether a proof is kept that the leader signed two versions of the slot.
    pub two_versions: bool,
    /// How many of `arrivals` came which way.
    pub counts: BTreeMap<Way, u32>,
    /// Arrivals beyond what is written down of a slot.
    pub left_out: u32,
    /// In the order of arrival.
    pub arrivals: Vec<ShredArrival>,
}

/// Why nothing can be told of a slot.
#[derive(Debug, thiserror::Error)]
pub enum ShredsError {
    /// Nothing is written down of it.
    #[error("slot {slot}: {why}")]
    Unknown {
        /// The slot.
        slot: Slot,
        /// Why, and what would be known.
        why: String,
    },
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What is written down does not decode.
    #[error(
        "slot {slot}: what the ledger holds of its shreds' arrival does not decode ({cause}); ask for another slot"
    )]
    Corrupt {
        /// The slot.
        slot: Slot,
        /// What the decoder says.
        cause: TimelineError,
    },
}

impl SlotShreds {
    /// What a ledger holds of a slot.
    ///
    /// # Errors
    /// If it holds nothing of it, or cannot be read.
    pub fn read(ledger: &Ledger, slot: Slot) -> Result<Self, ShredsError> {
        let Some(bytes) = ledger.timeline(slot)? else {
            return Err(ShredsError::Unknown { slot, why: missing(ledger, slot)? });
        };
        let timeline = Timeline::decode(&bytes).map_err(|cause| ShredsError::Corrupt { slot, cause })?;
        Ok(Self { two_versions: ledger.duplicate(slot)?.is_some(), ..Self::from(&timeline) })
    }
}

/// Why a ledger holds nothing of how a slot's shreds arrived.
fn missing(ledger: &Ledger, slot: Slot) -> Result<String, LedgerError> {
    let root = ledger.root()?.unwrap_or_default();
    let lowest = ledger.slots(Slot::new(1), root, 1)?.first().map_or(Slot::ZERO, |(slot, _)| *slot);
    Ok(if slot == Slot::ZERO {
        "genesis is no block of shreds; ask for a later slot".to_owned()
    } else if slot < lowest {
        format!("it is older than what this node keeps; ask for a slot from {lowest} to {root}")
    } else if slot > root {
        format!("it is not complete here, or still to come; this node's root is {root}, ask again in a moment")
    } else if ledger.slot_meta(slot)?.is_some() {
        "this node has the block, but did not write down how it came; ask another node".to_owned()
    } else {
        format!("it was skipped: no block of it is part of the chain; ask for another slot up to {root}")
    })
}

impl From<&Timeline> for SlotShreds {
    fn from(timeline: &Timeline) -> Self {
        let mut counts = BTreeMap::new();
        let arrival = |arrival: &sundog_turbine::timeline::Arrival| {
            let (how, layer, from) = told(&arrival.how);
            *counts.entry(how).or_default() += 1;
            let kind = if arrival.kind == Kind::Data { ShredKind::Data } else { ShredKind::Code };
            ShredArrival { at_ms: arrival.at_ms, kind, index: arrival.index, how, layer, from, name: None }
        };
        Self {
            arrivals: timeline.arrivals.iter().map(arrival).collect(),
            slot: timeline.slot.get(),
            leader: timeline.leader.to_string(),
            leader_name: None,
            parent: timeline.parent.map(Slot::get),
            first_unix_ms: timeline.first_unix_ms,
            complete_ms: timeline.complete_ms,
            two_versions: false,
            counts,
            left_out: timeline.left_out,
        }
    }
}

fn told(how: &How) -> (Way, Option<u8>, Option<String>) {
    match how {
        How::Turbine { layer, from: Sender::Peer(peer) } => (Way::Turbine, Some(*layer), Some(peer.to_string())),
        How::Turbine { layer, from: Sender::Address(at) } => (Way::Turbine, Some(*layer), Some(at.to_string())),
        How::Repair { from } => (Way::Repair, None, Some(from.to_string())),
        How::Synced { from } => (Way::Synced, None, Some(from.to_string())),
        How::Recovered => (Way::Recovered, None, None),
        How::Own => (Way::Own, None, None),
        How::Stored => (Way::Stored, None, None),
    }
}

//! Fetch finalised blocks in bulk from several peers at once: for a node that is far behind.

pub mod check;
pub mod config;
pub mod effect;
pub mod machine;
pub mod metrics;
pub mod progress;
pub mod refusal;
pub mod wire;

pub use check::{CheckedBlock, Fault, RangeCheck, RangeChecked};
pub use config::{FRAME_BYTES_AIM, PEERS_MAX, RANGE_SLOTS_MAX, SyncConfig, SyncConfigError};
pub use effect::{ChainState, Effect, Input, LinkId, Load, LoadWhat, StoredBlock};
pub use machine::Sync;
pub use metrics::Metrics;
pub use progress::Progress;
pub use refusal::Refusal;
pub use wire::{Held, Hello, Message, PROTOCOL, PeerEntry, Role, WireError};

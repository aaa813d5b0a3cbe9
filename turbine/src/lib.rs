//! Spread blocks as shreds down a tree, and gather them again: shreds, FEC sets, the tree, retransmission, repair.

pub mod metrics;
pub mod ping;
pub mod repair_wire;
pub mod serve;

pub use metrics::{DropReason, Metrics, Refusal};
pub use serve::{ServedKind, ShredSource};

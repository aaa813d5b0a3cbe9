//! Spread blocks as shreds down a tree, and gather them again: shreds, FEC sets, the tree, retransmission, repair.

pub mod metrics;
pub mod ping;
pub mod recover;
pub mod repair_wire;
pub mod serve;
pub mod shredder;
pub mod tree;

pub use metrics::{DropReason, Metrics, Refusal};
pub use recover::{Codec, RecoverError, codec_supported};
pub use serve::{ServedKind, ShredSource};
pub use shredder::{FecSet, Shredder, ShredderError};
pub use tree::{ClusterNodes, Hop, Place, TreeRng, WeightedShuffle};

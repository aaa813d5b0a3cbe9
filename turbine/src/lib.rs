//! Spread blocks as shreds down a tree, and gather them again: shreds, FEC sets, the tree, retransmission, repair.
//!
//! # Design
//!
//! ```text
//!  leader:    batch -> Shredder -> FecSet --Own--> +---------+ --Send--> root of the shred's tree
//!  network:   shred ------------------------Shred> |         | --Send--> children in the tree
//!             answer, ping -------RepairResponse-> | Turbine | --SendRepair--> requests, pongs
//!             request, pong -------RepairRequest-> |         | --SendServed--> shreds, pings
//!  pool:      signatures ---------------Verified-> |         | --Verify--> pool
//!  node:      Epoch, Peers, Root, Tip, Wanted ---> +---------+ --Store, Data, Complete, Dead, Duplicate--> node
//!
//!  inside:    filter -> checks (one signature for each FEC set) -> gather (sets -> slots -> ordered batches)
//!                                                                  |    ^
//!                                                     spread (tree)+    + recover (any 32 of 64)
//!                                                     repair: what gather lacks, asked for when overdue
//!                                                     serve: what the ledger holds, for whoever ponged
//! ```
//!
//! [`Turbine`] is one machine. What arrives is refused as cheaply as possible: header fields, then what is held
//! already and what has no place, then the Merkle path, and only then a signature, once for each FEC set, on the pool.
//! What waits for that is divided between senders, so a flood of forged shreds leaves room for honest ones, and only a
//! verified shred takes the place of another: then the FEC set farthest from replay loses, in slots from the root and in
//! sets from its slot's first, so that no leader's own slots can take all there is.
//!
//! **Decoding** is work for the pool, too, as soon as 32 of a set's 64 shreds are here. What comes back is passed on
//! like what was received. A set that does not decode to what was signed makes its slot dead.
//!
//! **Repair** looks at every slot that is being gathered, the nearest to the root first. A missing shred is asked for
//! when the ticks that were over when its neighbours were made have passed, and 250 ms more; all of a slot is overdue
//! when the clock is some slots ahead. A parent of which nothing is here is searched for with orphan requests, up to
//! eleven ancestors at a time: so a node far behind finds the whole chain, then fetches it from the root upwards. Peers
//! that announced a slot are asked for it first; those that dropped it are not asked.
//!
//! **Contradictions** of a leader are an outcome, each kind reported once for a slot with the two shreds, as
//! [`Effect::Duplicate`]: two versions of an FEC set, a root signed twice, two erasure codes, a shred beyond the last,
//! two parents, a broken chain between neighbouring sets. The first pair that others believe comes with its [`proof`].
//! Two versions of a set are both passed on, so that everybody learns of them; the first is kept, and the slot given up
//! if it was not complete. A third version is dropped.
//!
//! **Timelines** tell who looks at a slot how its shreds came: [`Timeline`].
//!
//! # Invariants
//! - Batches of a slot leave in order, from index 0, without gaps, and `Complete` comes after the last.
//! - Nothing unsigned is kept, stored or passed on, or pushes anything out. A shred is passed on at most once.
//! - A resigned shred that came by Turbine carries the signature of this node's parent in its tree, where the epoch has
//!   that rule and this node has stake; it leaves with this node's own.
//! - An address that has not ponged gets a ping at most, and that is shorter than its request.
//! - All that is held is bounded by [`HELD_BYTES_MAX`], and what is farthest from replay makes room for what is nearer.
//!
//! # What this crate does not know
//! Sockets, clocks, the signature pool, the ledger's tables (it reads them through [`ShredSource`]), entries, banks,
//! votes, gossip (it says what proves a contradiction, not whom to tell).

pub mod ancestry;
pub mod announced;
pub mod arrivals;
pub mod block;
pub mod checks;
pub mod config;
mod conflict;
pub mod decoding;
pub mod effect;
pub mod gather;
mod held;
mod intake;
pub mod kernel;
pub mod machine;
pub mod metrics;
pub mod pace;
mod passed;
pub mod peers;
pub mod pin;
pub mod ping;
pub mod proof;
pub mod quota;
pub mod recover;
pub mod relay;
pub mod repair;
pub mod repair_wire;
pub mod serve;
mod set;
mod shares;
pub mod shredder;
mod shuffle;
pub mod spread;
pub mod sync;
pub mod timeline;
pub mod tree;
pub mod tree_cache;

/// Bytes of memory that a [`Turbine`] holds at most with the default capacities, whatever arrives: some 440 MB if
/// nothing is rooted for hours and all FEC sets are full, some 20 MB while blocks are rooted as they come. The trees'
/// part is that of a cluster of 5,000 nodes. What repair and its server remember, some 20 MB, comes on top.
pub const HELD_BYTES_MAX: usize = gather::GATHER_BYTES_MAX
    + checks::CHECKS_BYTES_MAX
    + relay::RELAY_BYTES_MAX
    + decoding::DECODING_BYTES_MAX
    + arrivals::ARRIVALS_BYTES_MAX
    + spread::SPREAD_BYTES_MAX;

const _: () = assert!(HELD_BYTES_MAX < 480 << 20);

pub use block::Status;
pub use config::{ConfigError, TurbineConfig, Versions};
pub use effect::{
    DeadReason, DuplicateReason, Effect, EpochInfo, Input, RepairKind, Route, SendKind, Sender, VerifyItem,
};
pub use machine::Turbine;
pub use metrics::{DropReason, Metrics, Refusal};
pub use peers::RepairPeer;
pub use recover::{Codec, RecoverError, RecoverJob};
pub use serve::{ServedKind, ShredSource};
pub use shredder::{FecSet, Shredder, ShredderError};
pub use shuffle::WeightedShuffle;
pub use timeline::{Arrival, How, Timeline, TimelineError};
pub use tree::{ClusterNodes, Hop, Order, Place, TreeRng};
pub use tree_cache::TreeCache;

//! Keep time by hashing, and record what happened when.
//!
//! # Design
//!
//! ```text
//!  Start{hash, since}   +----------+  Tick{height, hash}
//! --------------------> |          | ---------------------> node: register, shred
//!  Record{mixins}       | Recorder |  Recorded{entries}
//! --------------------> |  (Chain) | ---------------------> node: commit, shred
//!  time                 |          |  Refused{why}
//! --------------------> +----------+ ---------------------> node: give back
//!
//!  entries of a block --> verify_ticks (cheap, first) --> verify_entries (parallel) --> execute
//! ```
//!
//! [`Chain`] is the hash chain with the rules of where a record fits before a tick. [`Recorder`] is
//! the machine that paces a chain by the clock while this node leads or waits to lead. The verifier
//! checks the chains of others: tick counts first, since they bound the work, then the hashes.
//!
//! # Invariants
//! - Hashes between two ticks sum up to `hashes_per_tick`: the last one is always left for the tick.
//! - One call of the recorder does a bounded number of hashes and ticks.
//! - A record is only accepted into the slot and the generation it was meant for.
//! - Verification never makes more hashes than the block may hold.
//!
//! # What this crate does not know
//! Banks, leaders, shreds; what the transactions do; what time it is.

mod chain;
mod mixin;
mod recorder;
mod verify;

pub use chain::{Chain, Step};
pub use mixin::mixin;
pub use recorder::{
    HASHES_PER_CALL_MAX, MIXINS_PER_RECORD_MAX, Metrics, Recorder, RecorderConfig, RecorderEffect, RecorderInput,
    Refusal, TICKS_PER_CALL_MAX,
};
pub use verify::{
    EntryFault, LOW_POWER_HASHES_PER_TICK_MAX, TickFault, TickPosition, hash_budget, next_hash, verify_entries,
    verify_tick_hash_count, verify_ticks,
};

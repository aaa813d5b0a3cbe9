//! Carry transactions to the leaders that will need them: ingress limits, dedup, signature checks, scheduling, forwarding.
//!
//! # Design
//!
//! ```text
//!  packets --> limits --> seen? --> lanes --> Effect::Check --> (pool runs `check`) --> Input::Checked
//!              (per peer) (bounded) (votes                                                   |
//!                                    first)                       leading, or leading soon   | otherwise
//!                                                        take() <-- Buffer, Ballots <--------+-------> Effect::Forward
//!                                                       (leader)    (best price first)       |         to the next two leaders
//!                                                                        sent by RPC: Retries, every 2 s until landed or expired
//! ```
//!
//! There is no mempool that nodes share: everybody knows who leads next, so a transaction goes straight
//! there. [`check`] is the one place where a packet becomes a [`VerifiedTransaction`]; it is pure and the
//! caller runs it on its pool. [`Gulfstream`] is the machine around it.
//!
//! # Invariants
//! - Only what [`check`] accepted is held, forwarded, or handed to the leader loop.
//! - What was forwarded to us is never forwarded again.
//! - Votes have their own lane, their own checks in flight and their own buffer: no flood of
//!   transactions can keep them out.
//! - Every table has a capacity, and says who loses when it is full.
//!
//! # What this crate does not know
//! Banks: whether a blockhash is alive or a payer can pay. Sockets. Who leads beyond what it is told.

mod ballots;
mod buffer;
mod check;
mod dedup;
mod forward;
mod ingress;
mod lanes;
mod machine;
mod metrics;
mod ports;
mod price;
mod retry;
#[cfg(test)]
mod samples;

pub use ballots::BALLOTS_MAX;
pub use buffer::{BUFFER_MAX, HELD_FOR};
pub use check::{INSTRUCTIONS_MAX, LOCKS_MAX, VerifiedTransaction, check, check_packet, check_packets};
pub use dedup::{SEEN_FOR, SEEN_MAX};
pub use forward::{HOLD_SLOTS, LEADERS_FANOUT};
pub use ingress::{BUCKETS_MAX, IngressConfig};
pub use lanes::{CHECK_BATCH_MAX, CHECKS_MAX, CHECKS_RESERVED_FOR_VOTES, LANE_MAX, VOTE_LANE_MAX};
pub use machine::Gulfstream;
pub use metrics::{DropReason, Metrics};
pub use ports::{Effect, GulfstreamConfig, Input, Source};
pub use price::{Price, price};
pub use retry::{RETRIES_MAX, RETRY_EVERY};

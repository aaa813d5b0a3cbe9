//! The search: clusters of consensus machines alone, in virtual time, with everything going wrong, and a judge who
//! watches what they say.
//!
//! ```text
//!   seed --> Plan: stakes, liars, partitions, crashes, delays
//!                |
//!   leaders' blocks, votes --> network --> Host: Consensus + disk --> votes, roots, confirmations --> Checker
//!                ^                              |                                                       |
//!                +---------- Reset -------------+                                                   Violation
//! ```
//!
//! There are no banks, no shreds and no signatures: a block is its parent and the votes that landed in it, and its bank
//! hash is the hash of that. So one core plays hundreds of slots of five nodes in some hundredths of a second, and
//! thousands of seeds in a minute. What whole nodes make of the same faults is the business of [`crate::sim::World`].

mod chain;
pub mod checker;
mod config;
mod ending;
mod host;
mod outcome;
mod plan;
mod replay;
mod speech;
mod world;

pub use checker::{Checker, Violation, Voter};
pub use config::{Liars, VotesConfig};
pub use outcome::VotesOutcome;
pub use world::run;

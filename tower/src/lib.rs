//! Decide which fork to vote for, and never vote against a promise: lockouts, fork choice, commitment.
//!
//! # Design
//!
//! ```text
//!                       +------------------------------ Consensus ------------------------------+
//!  Frozen{votes} -----> | Forks ---> ForkChoice ---best---> switch, Tower, threshold            | --> Reset
//!  Dead, Duplicate ---> |   (one block a slot)   (weight)     |  refused: Abstained             | --> Abstained
//!  VoteSeen ----------> | Commitment --2/3--> Confirmed       v  allowed: SavedTower            | --> Save{id}
//!  Saved{id} ---------> |     vote leaves <------------- durable                                | --> Vote, Root
//!                       +-----------------------------------------------------------------------+
//! ```
//!
//! A vote is a promise: voting for a slot locks the voter to its fork for two slots, and every vote on top
//! doubles that ([`lockouts`]). The heaviest subtree ([`fork_choice`]) says where the cluster is going; the
//! tower says whether one may go there ([`tower`], [`switch`], [`threshold`]). A vote for a block and 31 on top of it
//! make it the root. [`consensus`] puts the parts together as one machine.
//!
//! # Invariants
//! - A vote is never cast on a fork that an unexpired lockout forbids.
//! - A vote leaves only after the tower that holds it is durable, and so does the root that it makes.
//! - The root only moves forward, to a descendant, and only to a block that was executed here.
//! - What is confirmed, finalized or rooted only rises.
//!
//! # What this crate does not know
//! Sockets, clocks, files, banks, gossip, and the key that signs votes: it says what to vote, and the shell
//! makes the transaction.
#![doc = ""]
#![doc = include_str!("../ESSAY.md")]

pub mod block;
pub mod commitment;
pub mod consensus;
pub mod decision;
pub mod fork_choice;
pub mod forks;
pub mod lockouts;
pub mod metrics;
pub mod propagation;
pub mod saved;
pub mod standing;
pub mod switch;
pub mod threshold;
pub mod tower;

pub use block::{Block, Effect, Input, RootBlock, VoterState};
pub use consensus::{Checks, Consensus, ConsensusConfig};
pub use decision::{Decision, Reset, Verdict};
pub use fork_choice::ForkChoice;
pub use lockouts::{Lockout, Lockouts};
pub use metrics::{DropReason, Metrics};
pub use saved::{SavedError, SavedTower};
pub use standing::Start;
pub use tower::{Abstain, Tower};

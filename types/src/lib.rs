//! Name the things every crate talks about: slots and their distances, entries, the shred format, stakes, leader schedule, peers, the machine contract.
//!
//! # Design
//!
//! ```text
//!            bytes                    values                      decisions
//!  wire ----------------> Shred, Entry, Vote, Peer ----> Machine::handle(now, input, out) ----> effects
//!            (parsed once, here)      (this crate)              (the protocol crates)
//! ```
//!
//! Everything that two protocol crates both need is vocabulary and lives here, so that no protocol
//! crate has to import its sibling. The most important item is [`Machine`]: protocols are values,
//! time and randomness come in as arguments, and everything that must happen in the world leaves as
//! an effect.
//!
//! # Invariants
//! - Nothing here opens a socket, reads a clock, starts a thread or touches a file.
//! - A length that comes from the wire never drives an allocation.
//! - A slot is not an epoch is not a tick height: positions on different axes have different types.
//!
//! # What this crate does not know
//! Any protocol's rules: who may vote, what is retransmitted, when to repair.

pub mod entry;
pub mod hard_forks;
pub mod kernel;
pub mod machine;
pub mod peer;
pub mod position;
pub mod reasons;
pub mod schedule;
pub mod shred;
pub mod sign;
pub mod stakes;
pub mod store;
pub mod transaction;
pub mod vote;

pub use hard_forks::HardForks;
pub use machine::{Effects, Machine, Now};
pub use position::{Delta, Epoch, FecSetIndex, ShredIndex, Slot, TickHeight};
pub use solana_address::Address as Pubkey;
pub use solana_hash::Hash;
pub use solana_signature::Signature;

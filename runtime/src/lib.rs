//! Execute transactions against accounts: banks that fork, fees, programs.
//!
//! # Design
//!
//! ```text
//!  genesis --> Bank 0 --child--> Bank --child--> Bank        execute(&self) --> Executed
//!                 |                 \                          commit(&mut self, Executed)
//!                 |                  `--child--> Bank          register_tick, freeze --> hash
//!              root_batch                                      Arc::new(bank): read by all
//!                 v
//!          RootedAccounts (store + cache) <---- what no bank on the way down has changed
//! ```
//!
//! A [`Bank`] is the state of one fork after one block: what the block changed, and a link to its
//! parent. Executing changes nothing, so that a leader can let Proof of History accept an entry
//! before it commits the result; banks that are frozen are shared and never change. When a bank is
//! rooted, its changes and those of its parents go to the store, and the links are cut.
//!
//! What takes time, and what is done about it:
//!
//! - Plain transfers do not need the SVM; `svm::plain` executes them, with the SVM's outcome.
//! - An account that a bank did not change may be in any of the unrooted banks below. `layers` finds it by an index
//!   over all of them, and so does the cache of statuses find a signature: `runs`.
//! - A freeze hashes what the block changed, sixteen accounts at a time: `kernel`.
//! - Account data is shared, never copied to be read; compiled programs are shared by all banks.
//!
//! The SVM, its builtin programs and its feature gates stay behind the private module `svm`; no other
//! module names their types.
//!
//! # Invariants
//! - The hash of a bank depends on its parent, its ticks and its transactions alone: not on threads, not
//!   on how transactions were cut into batches.
//! - A batch is committed on the state it was executed on, or not at all.
//! - A transaction lands at most once on a fork.
//! - The store changes only by [`Bank::root_batch`], so a restart finds a whole bank or none.
//!
//! # What this crate does not know
//! Shreds, sockets, votes' meaning for forks, who leads when; whether a transaction's signatures hold
//! (except [`verify_signatures`], which says so).

pub mod accounts;
pub mod bank;
pub mod blockhash_queue;
mod clock;
pub mod genesis;
mod kernel;
pub mod lattice;
mod layers;
mod precompiles;
mod runs;
pub mod stakes;
mod status_cache;
mod svm;
mod transaction;

pub use accounts::RootedAccounts;
pub use bank::{Bank, BankError, Committed, Executed, Fees, RestoreError, Simulation, VoteAccount};
pub use genesis::GenesisConfig;
pub use status_cache::Status;
pub use svm::{Balances, LAMPORTS_PER_SIGNATURE, Quote, TokenBalance};
pub use transaction::{Tx, verify_signatures};

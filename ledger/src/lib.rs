//! Remember blocks: what is stored of shreds, slots, transactions and roots, genesis, snapshots.
//!
//! # Design
//!
//! ```text
//!   node's decisions ---> put_shreds, put_meta, put_transactions, set_root, put_led, ...
//!                              |  (pure: they only add to a Batch)
//!                              v
//!                            Batch ----commit----> Store: a database, or MemoryStore in the simulator
//!                                                    |
//!   RPC, repair, restart <--- Ledger's typed reads <-+
//! ```
//!
//! Writing is a function from values to changes of a [`Batch`](sundog_types::store::Batch), so that
//! whoever decides can put several of them, and the accounts of `runtime`, into one atomic batch. No
//! write reads first: batches wait in a queue, and what a read finds may be older than what is queued.
//! Therefore a root is a mark of its own beside a slot's metadata, never a change of it.
//!
//! | space | key (integers big-endian, so that ranges are in order) | value |
//! |---|---|---|
//! | `FecSets` | slot, index of an FEC set | all its data shreds, without proofs, and each as how it differs from the last |
//! | `DataShreds` | slot, index | a shred of a set that was not whole, without the longest run of zeros in it |
//! | `Slots` | `m`, slot | [`SlotMeta`] |
//! | `Slots` | `r`, slot | nothing: the slot is rooted |
//! | `Slots` | `t`, slot | how its shreds arrived, as Turbine wrote it down |
//! | `Slots` | `d`, slot | the proof that its leader signed two versions of it |
//! | `Transactions` | slot, place | [`TransactionRecord`] |
//! | `Signatures` | signature, slot | place |
//! | `Addresses` | address, slot, place | signature, error, memo |
//! | `Singles` | a name | root, last led slot, genesis hash, format, how far was purged, coordinated restarts |
//!
//! Code shreds are not kept: data shreds answer every repair request and rebuild every block, and an
//! empty block is half as large without them.
//!
//! # Invariants
//! - Bytes that do not decode are an error with a name, never a panic and never "not there".
//! - A directory belongs to one genesis for good ([`Ledger::claim`]).
//! - Every read and every purge has a limit.
//!
//! # What this crate does not know
//! Files, which database keeps the keys, whether a block is valid, what a fork is.

mod error;
mod history;
mod keys;
mod memory;
mod meta;
mod packed;
mod packed_set;
mod purge;
mod read;
mod record;
mod restarts;
mod stretch;
mod write;

pub use error::LedgerError;
pub use history::{AddressRecord, HISTORY_LIMIT, HISTORY_SCAN_MAX, Page};
pub use memory::{MemoryStore, PENDING_MAX};
pub use meta::{Reward, RewardKind, SlotMeta};
pub use read::{Block, Ledger, Located, TRANSACTIONS_PER_BLOCK_MAX};
pub use record::{InnerInstruction, InnerInstructions, LoadedAddresses, StatusMeta, TokenBalance, TransactionRecord};
pub use restarts::{Restarts, put_restarts};
pub use stretch::{RootedBlock, Stretch};
pub use write::{put_duplicate, put_led, put_meta, put_settled, put_shreds, put_timeline, put_transactions, set_root};

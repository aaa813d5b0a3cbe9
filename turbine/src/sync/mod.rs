//! Fetch finalised blocks in bulk from several peers at once: for a node that is far behind.
//!
//! # Design
//!
//! ```text
//!                     +---------------------------- Sync ----------------------------+
//!  TCP:   Opened ---> | links:    greeting, limits, keepalive, refusals by name      | --Send, Close--> TCP
//!         Frame ----> |    |                                                         |
//!                     |    +--questions--> server: queue, budget, parts of 4 MB      | --Load--> ledger
//!  ledger: Loaded --> |    |                                                         |
//!                     |    +--answers----> requests -> ranges -> release, in order   | --Check--> pool
//!  pool:  Checked --> |                               |  who served what             | --Block--> gathering, execution
//!  node:  Peers ----> | book: whom to dial, whom not  |                              | --Dial--> TCP
//!         Chain ----> |                            dispute: whose block is wrong     | --RepairFrom, Progress,
//!         Epoch, Dead |                                                              |   CaughtUp, Stranded--> node
//!                     +--------------------------------------------------------------+
//! ```
//!
//! Turbine and repair carry the newest blocks shred by shred. A node that was away for an hour needs a million shreds
//! that its peers have in order on their disks, so it asks for them in bulk: over TCP, 100 slots at a time, from eight
//! peers side by side. [`Sync`] is both sides of that. The **server** answers who asks and never dials. The **client**
//! looks at the roots of three peers at the start, and again when the node hears that it is far behind. If they are
//! more than 64 slots ahead it fetches until it is within 32 of them, and hangs up: Turbine and repair go on.
//!
//! **Greeting.** The transport proves who is at the other end. Both sides say protocol, genesis hash, shred version,
//! what they hold and what they do; then the one that dialed asks, the other answers. Whoever breaks a rule gets a
//! last frame with the [`Refusal`]'s name, and the link closes. Every reason is counted.
//!
//! **Fetching.** The slots up to the highest root are cut into ranges. Eight are under way at a time, at most two at
//! a peer. An answer is checked on the pool ([`RangeCheck`]): every shred signed by the leader of its slot (one
//! signature for each FEC set, Merkle proofs for the rest), blocks whole, sets chained to sets, blocks chained to
//! blocks. Checked blocks leave in order, each on the one before it, at most [`SyncConfig::window`] slots ahead of
//! what is executed. Ranges of epochs whose leaders are not known yet wait: executing blocks makes them known.
//!
//! **Lies.** A signature shows who made a block, not that the block was finalised. So:
//! - A peer must have a block in the slot that it claims as its root, or it is dropped. That alone ends all claims
//!   that slots were skipped: somebody's root is beyond them, and the block there chains back.
//! - Where the blocks of two peers do not link, all are asked for the parent that the later block names, by its id.
//!   If anybody can show it, the later block's chain goes on farther, so what was released before is dropped, and who
//!   served it; it is fetched again from others. If nobody can, the later block and who served it are dropped.
//! - Who serves a wrong or dead block, or is silent for five seconds, is dropped and left alone for a time that
//!   doubles; who has no room for more links is only left alone for a while. Peers whose blocks came to lie below the root are forgiven.
//! - When nothing moves for 20 seconds, those with the highest claim are dropped, and the target falls to what the
//!   rest claims. So a liar can delay, never stop, as long as one honest peer can be reached.
//!
//! **Parents without a known id.** Genesis has no shreds: the first block names 32 zero bytes (reference 3.7), or what
//! its leader likes; any chained root is taken there. So it is for the first block after the node's own, if the node
//! does not know that one's id.
//!
//! **After a crash** the node goes on from what it has executed: nothing is kept but the ledger.
//!
//! # Invariants
//! - A block leaves only if its leader signed all of it, and builds on the block that left before it.
//! - Bytes that peers can make this node hold are bounded: [`SyncConfig::bytes_max`], two blocks of the largest size,
//!   and a frame. No length that a peer claims is ever allocated.
//! - Without links, wants and a reason to look around there is no timer: an idle node sleeps.

mod answers;
mod book;
pub mod check;
mod client;
pub mod config;
mod dispute;
pub mod effect;
mod links;
pub mod machine;
pub mod metrics;
pub mod progress;
mod ranges;
pub mod refusal;
mod requests;
mod server;
mod wanted;
pub mod wire;

pub use book::MARKS_MAX;
pub use check::{CheckedBlock, Fault, RangeCheck, RangeChecked};
pub use config::{FRAME_BYTES_AIM, PEERS_MAX, RANGE_SLOTS_MAX, SyncConfig, SyncConfigError};
pub use effect::{ChainState, Effect, Input, LinkId, Load, LoadWhat, StoredBlock};
pub use machine::Sync;
pub use metrics::Metrics;
pub use progress::Progress;
pub use ranges::DONE_MAX;
pub use refusal::Refusal;
pub use server::{LOADS_MAX, OPEN_PER_LINK};
pub use wanted::WANTED_MAX;
pub use wire::{Held, Hello, Message, PROTOCOL, PeerEntry, Role, WireError};

//! Turbine alone, among thousands of nodes: real [`Turbine`](sundog_turbine::Turbine) machines, real shreds, real
//! repair, in one thread and in virtual time. What a node would do with a block (execute it, vote) is left out.
//!
//! ```text
//!   leader: Shredder -> Own -> Turbine -+                 +-> Turbine -> Send, SendRepair, SendServed -+
//!                                       +-> queue by ms --+-> Actor (hostile) -> Sending --------------+--> loss, delay
//!                                       |                                                              |
//!                                       +--------------------------------------------------------------+
//!   Verify, Recover: done at once, and once for all nodes that ask the same (work.rs)
//!   Store: which shreds, not their bytes: those are shared (library.rs)
//! ```
//!
//! [`measure`] runs blocks through a world and makes a row of the table in `docs/turbine.md`.
//!
//! # Hostile runs
//!
//! 1. Make a [`SpreadWorld`] from a [`SpreadConfig`]; `note_copies: true` counts what is passed on.
//! 2. Blocks: [`SpreadWorld::block`] makes the FEC sets of a slot's leader, a different [`Block::version`] makes another
//!    version of it. Change or drop shreds as you like.
//! 3. [`SpreadWorld::publish`] sends a set down its trees, like an honest leader. [`SpreadWorld::hand_out`] puts any
//!    datagrams into any nodes' TVU: two versions to disjoint parts, floods, forgeries, garbage.
//! 4. [`SpreadWorld::replace`] puts an [`Actor`] in a node's place: it hears what the node would hear, ticks every
//!    10 ms, and sends what it likes. With [`Actor::also_honest`] the machine runs on beside it.
//! 5. [`SpreadWorld::set_tip`] once for each slot, as the clock would; [`SpreadWorld::set_wanted`] for what votes tell;
//!    [`SpreadWorld::run_for`] or [`SpreadWorld::run_until`].
//! 6. Look: `world.hosts[n].told` (complete, dead, duplicates with proofs), `.turbine.metrics()`, `.turbine.held_bytes()`,
//!    `.traffic`, and [`SpreadWorld::copies`]: how often a node sent a shred to a child (at most once each).

mod actor;
mod config;
mod host;
mod library;
mod measure;
mod queue;
mod stakes;
mod table;
mod work;
mod world;

pub use actor::{Actor, Datagram, Sending};
pub use config::{Block, SpreadConfig};
pub use host::{Completed, Contradiction, SpreadHost, Told, Traffic};
pub use library::{Library, Shelf};
pub use measure::{Plan, Row, measure};
pub use stakes::stakes;
pub use table::{PLACE, table};
pub use work::Work;
pub use world::{PassedOn, SHRED_VERSION, SpreadWorld};

//! The virtual world: whole nodes in one thread, one seeded queue of events, virtual time.
//!
//! ```text
//!   queue (time, order) --> Node::handle --> effects --> network (delay, loss) / work (drawn duration) / disk --> queue
//!                 every delivered event --> running hash: the witness that a seed gives one history
//! ```

mod bulk;
mod cast;
pub mod chaos;
mod clock;
mod cuts;
mod faults;
mod fork;
pub mod gossip;
mod host;
mod judge;
mod links;
mod network;
mod outcome;
pub mod page;
mod queue;
mod recovery;
mod reticent;
pub mod spread;
pub mod votes;
mod wire;
mod world;

pub use host::{Fault, Host};
pub use judge::OnViolation;
pub use links::SyncFault;
pub use network::{Network, Port};
pub use outcome::{NodeOutcome, Outcome};
pub use recovery::Recovery;
pub use wire::{Sent, Wire};
pub use world::{World, WorldConfig};

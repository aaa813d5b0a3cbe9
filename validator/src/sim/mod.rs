//! The virtual world: whole nodes in one thread, one seeded queue of events, virtual time.
//!
//! ```text
//!   queue (time, order) --> Node::handle --> effects --> network (delay, loss) / work (drawn duration) / disk --> queue
//!                 every delivered event --> running hash: the witness that a seed gives one history
//! ```

mod bulk;
mod cast;
mod clock;
mod cuts;
mod faults;
mod fork;
pub mod gossip;
mod host;
mod links;
mod network;
mod outcome;
pub mod page;
mod queue;
pub mod spread;
pub mod votes;
mod wire;
mod world;

pub use host::{Fault, Host};
pub use links::SyncFault;
pub use network::{Network, Port};
pub use outcome::{NodeOutcome, Outcome};
pub use wire::{Sent, Wire};
pub use world::{World, WorldConfig};

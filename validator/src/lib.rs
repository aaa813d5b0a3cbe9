//! Run it: the node composed of the machines, the virtual world that runs whole nodes, and the shell that knows sockets, threads, clocks and disks.
//!
//! # Design
//!
//! ```text
//!   node/  one value: Node = gossip + turbine + replay + tower + leader + gulfstream   (pure)
//!   sim/   N nodes, one seeded event queue, virtual time                               (pure)
//!   io/    sockets, threads, clocks, disks; drives one Node                            (the shell)
//! ```
//!
//! The same [`node::Node`] runs in both: inputs come from sockets or from the event queue, effects go
//! to threads or back into the queue.
//!
//! # Invariants
//! - Only `io/` and the command line know sockets, threads, clocks, files and async code.
//! - A tower is durable before its vote leaves; a slot is marked as led, durably, before its first shred.
//!
//! # What this crate does not know
//! Any protocol's rules: they live in the crates it composes.

pub mod cli;
pub mod config;
pub mod io;
mod kernel;
pub mod node;
pub mod payments;
pub mod sim;

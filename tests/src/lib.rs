//! Whole clusters in one thread, whole clusters in processes, frozen wire formats, stock clients, and the shape of this repository.
//!
//! # Design
//!
//! ```text
//!  architecture.rs   the repository's own shape                      reads files
//!  simulation/       whole nodes in virtual time, one thread         drives validator::sim
//!  integration.rs    blocks from half their shreds, votes of three   drives several crates
//!  processes/        a localnet of real processes on loopback        builds and runs the program
//!  vectors/          frozen bytes of the reference                   read by every crate's conformance tests
//!  clients/          stock wallets' libraries against a localnet     started by .ci/run
//! ```
//!
//! What can be said of one crate is tested in that crate. Here is what takes a cluster, a client, or the
//! whole repository to say.
//!
//! # Invariants
//! - The same seed gives the same history, so that a failure here can be replayed.
//! - Nothing is awaited by sleeping: virtual time moves by events, real processes are polled to a deadline.
//!
//! # What this crate does not know
//! Private parts: whatever it asserts, it sees from outside, as an operator or a client would.

//! The reference's own bytes and verdicts, whole family by family; formats that must not change; hostile bytes; and
//! clusters of machines.

#[path = "../cluster/mod.rs"]
mod cluster;
mod encodings;
mod frozen;
#[path = "../fuzz/mod.rs"]
mod fuzz;
mod judged;
mod messages;
mod proofs;
mod pulls;
mod samples;
mod vectors;

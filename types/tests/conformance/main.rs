//! Golden vectors of the reference, one module per family.

mod vectors;

mod entries;
mod leader_schedule;
mod shred_version;
mod votes;

//! Golden vectors of the reference, one module per family.

mod vectors;

mod encodings;
mod entries;
mod leader_schedule;
mod shred_version;
mod votes;

//! Golden vectors of the reference, one module per family.

mod vectors;

mod shred_version;
mod votes;

//! Shreds, recovery and the tree against what Agave 3.1.12 made, one module per family.

mod proofs;
mod repair;
mod shreds;
mod tree;
mod vectors;

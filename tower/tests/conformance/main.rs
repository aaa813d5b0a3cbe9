//! Golden vectors of the reference, one module per family, and the machine in small clusters.

mod cluster;
mod decisions;
mod fork_choice;
mod lockouts;
mod machine;
mod naive;
mod switching;
mod vectors;

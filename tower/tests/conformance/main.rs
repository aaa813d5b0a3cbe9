//! Golden vectors of the reference, one module per family.

mod fork_choice;
mod lockouts;
mod switching;
mod vectors;

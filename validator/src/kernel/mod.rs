//! What the operating system's C library is asked directly, since no crate with a safe interface asks it.

pub mod memory;

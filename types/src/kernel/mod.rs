//! Hot loops with vector instructions, chosen when the program runs: the same binary runs on every processor.
//!
//! Each kernel has a version without them, and a test that holds all versions against a library.

pub mod ed25519;
pub mod sha256;

//! The shred format.

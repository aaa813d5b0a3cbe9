//! The sundog command.
fn main() {}

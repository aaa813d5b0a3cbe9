//! Decide which fork to vote for, and never vote against a promise: lockouts, fork choice, commitment.

pub mod fork_choice;
pub mod forks;
pub mod lockouts;
pub mod switch;
pub mod threshold;

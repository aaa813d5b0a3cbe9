//! Execute transactions against accounts: banks that fork, fees, programs.

pub mod genesis;

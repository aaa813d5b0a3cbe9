//! The command line: one binary, one word per task.

mod bench;
mod genesis;
mod gossip;
mod keygen;
mod ledger;
pub mod localnet;
mod screen;
mod sim;
mod validator;
mod votes;

use clap::{Parser, Subcommand};
use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

/// A real Solana cluster on your laptop that you can break, replay from a seed, and watch recover.
#[derive(Parser)]
#[command(name = "sundog", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster of validators on this machine, or act on the one that runs.
    Localnet(localnet::LocalnetArgs),
    /// Run one validator.
    Validator(Box<validator::ValidatorArgs>),
    /// Make a genesis.
    Genesis(genesis::GenesisArgs),
    /// Make or show a keypair in Solana's JSON format.
    Keygen(keygen::KeygenArgs),
    /// Look into a node's ledger.
    Ledger(ledger::LedgerArgs),
    /// Join gossip as a spy and list who is there, or draw who pushes to whom.
    Gossip(gossip::GossipArgs),
    /// Show a node's tower: its votes, how deep they lie, and until when each binds.
    Tower(votes::TowerArgs),
    /// Show the forks that a node knows: blocks, stake, votes, root.
    Forks(votes::ForksArgs),
    /// Run a cluster in virtual time: the same seed gives the same history.
    Sim(sim::SimArgs),
    /// Measure the parts, or a cluster.
    Bench(bench::BenchArgs),
}

/// Prints a line for the user. A reader that went away is no error.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Prints facts as JSON.
pub(crate) fn say_json(facts: &impl serde::Serialize) {
    say(serde_json::to_string_pretty(facts).expect("facts serialise"));
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Localnet(args) => localnet::run(args),
        Command::Validator(args) => validator::run(*args),
        Command::Genesis(args) => genesis::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Gossip(args) => gossip::run(&args),
        Command::Tower(args) => votes::tower(&args),
        Command::Forks(args) => votes::forks(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Bench(args) => bench::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.contains("Example"), "`sundog {}` has no example", command.get_name());
        }
    }
}

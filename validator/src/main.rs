//! The `sundog` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sundog_validator::cli::main()
}

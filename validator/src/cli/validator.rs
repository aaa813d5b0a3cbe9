//! `sundog validator`.

use super::say;
use crate::{
    config::{self, Settings},
    io::validator::{self, Supervision},
};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `sundog validator`.
#[derive(Args)]
#[command(after_help = "Examples:
  sundog validator --identity id.json --vote-account vote.json --genesis genesis.bin --ledger ledger
  sundog validator --config validator.toml
  sundog validator --print-config > validator.toml")]
pub struct ValidatorArgs {
    /// A TOML file with settings; flags and environment variables beat it.
    #[arg(long, value_name = "FILE", env = "SUNDOG_CONFIG")]
    config: Option<PathBuf>,
    /// Print every setting with its default and explanation, and end.
    #[arg(long)]
    print_config: bool,
    /// End when standard input is closed, as a supervisor's child does.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
    /// The fault rules that hold from the first packet on, as JSON.
    #[arg(long, hide = true, value_name = "JSON")]
    fault_rules: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Runs it until it is told to stop.
///
/// # Errors
/// If the settings, the ledger, the genesis or a port cannot be used.
pub fn run(args: ValidatorArgs) -> anyhow::Result<()> {
    if args.print_config {
        say(config::documented_defaults().trim_end());
        return Ok(());
    }
    let file = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    let settings = args.settings.over(file).over(Settings::defaults()).validate()?;
    crate::kernel::memory::share_arenas();
    let supervision = Supervision { stop_with_stdin: args.stop_with_stdin, fault_rules: args.fault_rules };
    validator::run(&settings, &supervision)
}

//! `sundog keygen`.

use super::{say, say_json};
use crate::io::files;
use clap::Args;
use serde::Serialize;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::path::PathBuf;

/// Arguments of `sundog keygen`.
#[derive(Args)]
#[command(after_help = "Examples:\n  sundog keygen identity.json\n  sundog keygen --show identity.json")]
pub struct KeygenArgs {
    /// The keypair file.
    file: PathBuf,
    /// Show the public key of an existing file instead of making one.
    #[arg(long)]
    show: bool,
    /// Replace a file that exists.
    #[arg(long, conflicts_with = "show")]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Facts {
    file: PathBuf,
    pubkey: String,
}

/// Runs it.
///
/// # Errors
/// If the file cannot be read, is no keypair, or must not be replaced.
pub fn run(args: &KeygenArgs) -> anyhow::Result<()> {
    let keypair = if args.show {
        files::read_keypair(&args.file)?
    } else {
        let keypair = Keypair::new();
        files::write_keypair(&args.file, &keypair, args.force)?;
        keypair
    };
    let facts = Facts { file: args.file.clone(), pubkey: keypair.pubkey().to_string() };
    if args.json {
        say_json(&facts);
    } else {
        say(&facts.pubkey);
    }
    Ok(())
}

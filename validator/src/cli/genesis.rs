//! `sundog genesis`.

use super::{say, say_json};
use crate::io::{files, pace};
use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use sundog_runtime::genesis::{GenesisConfig, GenesisValidator, LocalnetGenesis};

const LAMPORTS_PER_SOL: u64 = 1_000_000_000;
/// What an identity starts with: votes cost 5,000 lamports each, so this is weeks of them.
const IDENTITY_SOL: u64 = 500;

/// Arguments of `sundog genesis`.
#[derive(Args)]
#[command(after_help = "Example:
  sundog keygen id.json && sundog keygen vote.json && sundog keygen faucet.json
  sundog genesis --validator id.json,vote.json,1000 --faucet faucet.json --out genesis.bin")]
pub struct GenesisArgs {
    /// A validator: its identity's keypair file, its vote account's, and its stake in SOL. Repeat for more.
    #[arg(long = "validator", value_name = "IDENTITY,VOTE,SOL", required = true)]
    validators: Vec<String>,
    /// Keypair file of the faucet.
    #[arg(long, value_name = "FILE")]
    faucet: PathBuf,
    /// Where the genesis goes.
    #[arg(long, value_name = "FILE", default_value = "genesis.bin")]
    out: PathBuf,
    /// Length of a slot, milliseconds.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..=10_000))]
    slot_ms: u64,
    /// Slots in an epoch.
    #[arg(long, default_value_t = 8_192, value_parser = epoch_slots)]
    slots_per_epoch: u64,
    /// Hashes in a tick; 0 for one hash and sleep. Default: what costs a leader a fiftieth of a core here.
    #[arg(long)]
    hashes_per_tick: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The shortest epoch: the next one's leaders are fixed by a rooted block of this one, and a root takes 32 votes, more
/// when blocks are missing.
const EPOCH_SLOTS_MIN: u64 = 128;
/// The longest epoch: more than two of the public clusters'.
const EPOCH_SLOTS_MAX: u64 = 1_000_000;

/// The length of an epoch, as it is given on the command line.
///
/// # Errors
/// What is wrong with it, and what to give.
pub fn epoch_slots(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(slots @ EPOCH_SLOTS_MIN..=EPOCH_SLOTS_MAX) => Ok(slots),
        Ok(slots @ 0..EPOCH_SLOTS_MIN) => Err(format!(
            "an epoch of {slots} slots is too short: the next one's leaders are fixed by a rooted block of this one, and a root takes 32 votes and more; give {EPOCH_SLOTS_MIN} or more"
        )),
        Ok(slots) => Err(format!("an epoch of {slots} slots is too long; give {EPOCH_SLOTS_MAX} or less")),
        Err(_) => Err("it is no number of slots".to_owned()),
    }
}

/// A validator of a genesis, with its keys.
pub struct Founder {
    /// Its identity.
    pub identity: Keypair,
    /// Its vote account's key.
    pub vote: Keypair,
    /// Its stake in SOL.
    pub stake_sol: u64,
}

/// What a genesis is made of.
pub struct GenesisPlan {
    /// Who validates from the start.
    pub founders: Vec<Founder>,
    /// Who hands out SOL.
    pub faucet: solana_address::Address,
    /// Length of a slot.
    pub slot: Duration,
    /// Slots in an epoch.
    pub slots_per_epoch: u64,
    /// Hashes in a tick; `None` for sleep.
    pub hashes_per_tick: Option<u64>,
}

impl GenesisPlan {
    /// Makes the genesis of this moment.
    ///
    /// # Errors
    /// If the plan contradicts itself.
    pub fn build(&self) -> anyhow::Result<GenesisConfig> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let validators = self
            .founders
            .iter()
            .map(|founder| {
                let delegated = founder.stake_sol.checked_mul(LAMPORTS_PER_SOL).context("a stake is too large")?;
                Ok(GenesisValidator {
                    identity: founder.identity.pubkey(),
                    identity_lamports: IDENTITY_SOL * LAMPORTS_PER_SOL,
                    vote: founder.vote.pubkey(),
                    vote_authority: founder.vote.pubkey(),
                    vote_lamports: 0,
                    stake: Keypair::new().pubkey(),
                    delegated,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        let mut genesis = LocalnetGenesis::new(i64::try_from(now.as_secs())?, self.faucet, validators);
        genesis.tick_duration = self.slot / u32::try_from(genesis.ticks_per_slot)?;
        genesis.slots_per_epoch = self.slots_per_epoch;
        genesis.hashes_per_tick = self.hashes_per_tick;
        Ok(genesis.build()?)
    }
}

#[derive(Serialize)]
struct Facts {
    file: PathBuf,
    genesis_hash: String,
    shred_version: u16,
    hashes_per_tick: Option<u64>,
}

/// Runs it.
///
/// # Errors
/// If a file cannot be read or written, or the arguments contradict each other.
pub fn run(args: &GenesisArgs) -> anyhow::Result<()> {
    let slot = Duration::from_millis(args.slot_ms);
    let hashes_per_tick = match args.hashes_per_tick {
        Some(0) => None,
        Some(1) => bail!("a tick of one hash is no clock; give 0 to pace by sleeping, or at least 2"),
        Some(hashes) => Some(hashes),
        None => Some(pace::hashes_per_tick(slot / 64)),
    };
    let plan = GenesisPlan {
        founders: args.validators.iter().map(|text| founder(text)).collect::<anyhow::Result<_>>()?,
        faucet: files::read_keypair(&args.faucet)?.pubkey(),
        slot,
        slots_per_epoch: args.slots_per_epoch,
        hashes_per_tick,
    };
    let genesis = plan.build()?;
    files::write_whole(&args.out, &genesis.encode())?;
    let facts = Facts {
        file: args.out.clone(),
        genesis_hash: genesis.hash().to_string(),
        shred_version: sundog_types::shred::shred_version(&genesis.hash(), &[]),
        hashes_per_tick,
    };
    if args.json {
        say_json(&facts);
    } else {
        say(format_args!(
            "{}  genesis hash {}  shred version {}",
            facts.file.display(),
            facts.genesis_hash,
            facts.shred_version
        ));
    }
    Ok(())
}

fn founder(text: &str) -> anyhow::Result<Founder> {
    let parts: Vec<&str> = text.split(',').collect();
    let [identity, vote, sol] = parts[..] else {
        bail!("--validator {text}: give identity file, vote account file and stake in SOL, separated by commas");
    };
    let stake_sol = sol.parse().with_context(|| format!("--validator {text}: {sol} is no number of SOL"))?;
    Ok(Founder {
        identity: files::read_keypair(Path::new(identity))?,
        vote: files::read_keypair(Path::new(vote))?,
        stake_sol,
    })
}
